"""Weights of a network: where they come from, and whether they fit the network."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np

from verger.config import NetworkSettings
from verger.errors import NothingToReadError, StoreError, WeightsError
from verger.network import imagenet, mobilenet_v2
from verger.network.formats import INPUT_SIZE, FileContent, parse
from verger.network.recipe import EPSILON, Recipe, Tensors, random_tensors, shapes
from verger.storage.stores import Stores
from verger.storage.uri import canonical

# Made by scripts/bundle_weights.py; NOTICE says where they come from.
BUNDLED = "mobilenet_v2_1.0_224_no_top.int8.npz"
BUNDLED_SHA256 = "526aa0a5b17dda6763e0731664d3d6c347f27ff4fd5b3cc71e4c85e1b81e5df6"
_BUNDLED_SIZE = 224


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a network and where they come from.

    Attributes
    ----------
    source : str
        For people: a path, or how they were made.
    tensors : dict of str to float32 array
        By canonical name, ``layer/weight``: the same names for all kinds of files.
    sha256 : str, optional
        Of the file, in hexadecimal, if there is a file.
    input_size : int, optional
        Edge of the square input for which they were trained, pixels, if it is known.
    """

    source: str
    tensors: Tensors
    sha256: str | None = None
    input_size: int | None = None

    def __bool__(self) -> bool:
        """Whether there are any: `pixels` has none."""
        return bool(self.tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors, by canonical name."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal, over name, type, shape and little-endian values of each tensor, sorted by name."""
        total = hashlib.sha256()
        for name, tensor in sorted(self.tensors.items()):
            total.update(f"{name} {tensor.dtype.name} {tensor.shape}\n".encode())
            total.update(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")).tobytes())
        return total.hexdigest()

    def to_npz(self) -> bytes:
        """The weights as an .npz file: the same bytes for the same tensors. `load` reads it to the same fingerprint."""
        arrays = dict(sorted(self.tensors.items()))
        if self.input_size:
            arrays[INPUT_SIZE] = np.asarray(self.input_size)
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **arrays)
        return file.getvalue()


def load(config: NetworkSettings, layout: Recipe, stores: Stores, seed: int = 0) -> Weights:
    """Load the weights that a run asks for.

    Parameters
    ----------
    config : NetworkSettings
        ``weights``, ``weights_sha256``, ``weights_dir``, and what names a file of ``imagenet``.
    layout : Recipe
        The layers to look for. Random weights get its shapes; the shapes of others are compared by `check`.
    stores : Stores
        How a file is reached.
    seed : int
        Of random weights.

    Returns
    -------
    Weights
        Those of the layers of ``layout`` that were found.

    Raises
    ------
    WeightsError
        They cannot be found or read, or their SHA-256 is not ``weights_sha256``.
    """
    if config.weights == "random":
        _check_sha256(None, config.weights_sha256, "random")
        return Weights(f"random (seed {seed})", random_tensors(layout, seed))
    if config.weights == "bundled":
        return _bundled(config.weights_sha256)
    path, data = _read(config, stores)
    sha256 = hashlib.sha256(data).hexdigest()
    _check_sha256(sha256, config.weights_sha256, path)
    try:
        content = parse(data, {name.rpartition("/")[0] for name in shapes(layout)})
        tensors = _canonical(content, layout)
    except ValueError as error:
        raise WeightsError(f"weights {path}: {error}", "Give a .h5, .keras or .npz file of Keras") from error
    return Weights(path, tensors, sha256, content.input_size or _size_in_name(path))


def check(weights: Weights, recipe: Recipe, network: str) -> None:
    """Check that weights fit a network and are valid numbers.

    Parameters
    ----------
    weights : Weights
        The weights to check.
    recipe : Recipe
        The layers of the network.
    network : str
        Name of the network, for the message.

    Raises
    ------
    WeightsError
        Names the first tensor that is missing, has another shape, or holds invalid numbers.
    """
    where, advice = f"weights {weights.source}", "Give weights that fit --backbone and --alpha"
    for name, shape in shapes(recipe).items():
        tensor = weights.tensors.get(name)
        if not weights.tensors:
            raise WeightsError(f"{where}: no layer of {network} is in it", advice)
        if tensor is None:
            raise WeightsError(f"{where}: {network} needs {name}, which is not in it", advice)
        if tensor.shape != shape:
            raise WeightsError(f"{where}: {name} has shape {tensor.shape}, where {network} needs {shape}", advice)
        if not np.isfinite(tensor).all():
            raise WeightsError(f"{where}: {name} has values that are not finite", "Get the file again")
        if name.endswith("/moving_variance") and tensor.min() <= -EPSILON:
            raise WeightsError(f"{where}: {name} is negative, which no variance is", "Get the file again")


def _bundled(wanted_sha256: str | None) -> Weights:
    data = resources.files("verger.network").joinpath("data", BUNDLED).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != BUNDLED_SHA256:
        raise WeightsError(f"the bundled weights have SHA-256 {sha256}, not {BUNDLED_SHA256}", "Install verger again")
    _check_sha256(sha256, wanted_sha256, "bundled")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        tensors = unpack(dict(arrays))
    return Weights("bundled (MobileNetV2 trained on ImageNet, from 8-bit weights)", tensors, sha256, _BUNDLED_SIZE)


def unpack(arrays: Tensors) -> Tensors:
    """Unpack the bundled file of 8-bit weights.

    Parameters
    ----------
    arrays : dict of str to array
        ``layer/kernel`` int8, its ``layer/kernel_scale`` float32, and ``norm/beta`` float32. The other weights of
        batch normalisations are not stored: they are those that leave its input unchanged.

    Returns
    -------
    dict of str to float32 array
        By canonical name.
    """
    tensors = {}
    for name, shape in shapes(mobilenet_v2.recipe(1.0)).items():
        match name.rpartition("/")[2]:
            case "gamma":
                tensors[name] = np.ones(shape, np.float32)
            case "moving_mean":
                tensors[name] = np.zeros(shape, np.float32)
            case "moving_variance":
                tensors[name] = np.full(shape, 1 - EPSILON, np.float32)
            case "beta":
                tensors[name] = arrays[name]
            case _:
                tensors[name] = arrays[name].astype(np.float32) * arrays[f"{name}_scale"]
    return tensors


def _read(config: NetworkSettings, stores: Stores) -> tuple[str, bytes]:
    try:
        if config.weights == "imagenet":
            return imagenet.find(config, stores)
        path = canonical(config.weights)
        return path, stores.of(path).read(path)
    except (NothingToReadError, StoreError) as error:
        raise WeightsError(f"weights: {error.what}", "Check --weights and --weights-dir") from error


def _check_sha256(sha256: str | None, wanted: str | None, where: str) -> None:
    if wanted is not None and sha256 != wanted:
        has = f"SHA-256 {sha256}" if sha256 else "no SHA-256, for there is no file"
        raise WeightsError(f"weights {where}: {has}; --weights-sha256 says {wanted}", "Check which of the two is right")


def _canonical(content: FileContent, layout: Recipe) -> Tensors:
    """Weights by canonical name: as the file names them if it uses these names, else by Keras' order in a layer."""
    by_layer: dict[str, list[str]] = {}
    for name in shapes(layout):
        layer, _, weight = name.rpartition("/")
        by_layer.setdefault(layer, []).append(weight)
    tensors = {}
    for layer, weights in by_layer.items():
        arrays = content.layers.get(layer, {})
        if len(arrays) == len(weights) and set(arrays) != set(weights):
            arrays = dict(zip(weights, arrays.values(), strict=True))
        for weight in weights:
            if weight in arrays:
                tensors[f"{layer}/{weight}"] = _float32(arrays[weight], f"{layer}/{weight}")
    return tensors


def _float32(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind != "f":
        raise ValueError(f"{name} holds {array.dtype}, not floating-point numbers")
    return array.astype(np.float32)


def _size_in_name(path: str) -> int | None:
    """The input size in the name of a file of Keras, such as ``..._0.35_96_no_top.h5``."""
    stated = re.search(r"_(96|128|160|192|224)(?=[_.])", path.rpartition("/")[2])
    return int(stated[1]) if stated else None
