"""Weights files of Keras, read without Keras: .h5 in three layouts, .keras, and .npz."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

INPUT_SIZE = "input_size"
"""Name of the array by which an .npz file says the input size."""


@dataclass
class FileContent:
    """The weights of the wanted layers that are in a file.

    Attributes
    ----------
    layers : dict of str to (dict of str to array)
        By layer, then by the name of the weight in the file, in the order in which the layer keeps its weights.
    input_size : int, optional
        Edge of the square input, pixels, if the file says it.
    """

    layers: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    input_size: int | None = None

    def add(self, layer: str, weight: str, array: Any) -> None:
        """Add one weight.

        Parameters
        ----------
        layer : str
            Its name.
        weight : str
            Its name in the file; a ``:0`` at the end is cut.
        array : array_like
            Its values; a dataset of h5py is read here.
        """
        self.layers.setdefault(layer, {})[weight.removesuffix(":0")] = np.asarray(array)


def parse(data: bytes, wanted: Collection[str]) -> FileContent:
    """Read the weights of some layers. Others, such as those of a classifier, are ignored.

    Parameters
    ----------
    data : bytes
        The file. Its format is recognised by its content.
    wanted : collection of str
        Names of the layers to read.

    Returns
    -------
    FileContent
        Layers that the file does not have are not in it.

    Raises
    ------
    ValueError
        The file has another format, or is damaged.
    """
    try:
        if data.startswith(b"\x89HDF"):
            with h5py.File(io.BytesIO(data)) as file:
                return _h5(file, wanted)
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return _keras(archive, wanted) if "config.json" in archive.namelist() else _npz(data, wanted)
    except Exception as error:  # for damaged files h5py, zipfile, zlib and numpy raise many types
        raise ValueError(f"cannot be read: {error}") from error
    raise ValueError("is no .h5, .keras or .npz file")


def _npz(data: bytes, wanted: Collection[str]) -> FileContent:
    found = FileContent()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for name in arrays.files:
            layer, _, weight = name.rpartition("/")
            if layer in wanted:
                found.add(layer, weight, arrays[name])
        if INPUT_SIZE in arrays.files:
            found.input_size = int(arrays[INPUT_SIZE])
    return found


def _keras(archive: zipfile.ZipFile, wanted: Collection[str]) -> FileContent:
    """A ZIP archive of the model's description and its weights in the layout of Keras 3."""
    config = json.loads(archive.read("config.json"))
    with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        found = _by_class(file, wanted, dict(_paths(config, "")))
    found.input_size = _input_size(config, wanted)
    return found


def _h5(file: h5py.File, wanted: Collection[str]) -> FileContent:
    """Whole models and weights alone in the layout of Keras 1 and 2, or weights alone in that of Keras 3."""
    root = file.get("model_weights", file)
    found = _by_layer(root, wanted) if "layer_names" in root.attrs else _by_class(file, wanted, {})
    if "model_config" in file.attrs:
        found.input_size = _input_size(json.loads(file.attrs["model_config"]), wanted)
    return found


def _by_layer(root: h5py.Group, wanted: Collection[str]) -> FileContent:
    """The layout of Keras 1 and 2: a group per layer, with an attribute that names its weights in order."""
    found = FileContent()
    for layer in map(_text, root.attrs["layer_names"]):
        group = root[layer]
        names = [_text(name) for name in group.attrs["weight_names"]]
        scopes = {name: name.split("/")[-2] if "/" in name else layer for name in names}
        # A model inside the model is one layer here. The names of its weights say which layer of it they belong to.
        nested = len(set(scopes.values())) > 1
        for name in names:
            owner = scopes[name] if nested else layer
            if owner in wanted:
                found.add(owner, name.split("/")[-1], group[name])
    return found


def _by_class(file: h5py.File, wanted: Collection[str], names: dict[str, str]) -> FileContent:
    """The layout of Keras 3: groups named by class and number, with numbered weights; newer files name the layer."""
    found = FileContent()
    for path, group in _groups(file):
        layer = _text(group.attrs.get("name", names.get(path, "")))
        if layer in wanted:
            for weight in sorted(group, key=int):
                found.add(layer, weight, group[weight])
    return found


def _groups(group: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    """Paths of the layers of a file in the layout of Keras 3, and their groups ``vars``."""
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            if name == "vars":
                yield group.name.strip("/"), item
            else:
                yield from _groups(item)


def _paths(model: dict[str, Any], folder: str) -> Iterator[tuple[str, str]]:
    """Path of the group of each layer of a model, and the layer's name."""
    seen: dict[str, int] = {}
    for layer in _layers(model):
        kind = _snake_case(layer["class_name"])
        number = seen[kind] = seen.get(kind, -1) + 1
        path = f"{folder}layers/{kind}_{number}" if number else f"{folder}layers/{kind}"
        yield path, layer["config"].get("name", "")
        yield from _paths(layer, f"{path}/")


def _snake_case(name: str) -> str:
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _layers(model: dict[str, Any]) -> list[dict[str, Any]]:
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    return layers if isinstance(layers, list) else []


def _input_size(model: dict[str, Any], wanted: Collection[str]) -> int | None:
    """Edge of the input of the model that has the wanted layers; it may be nested in another model."""
    layers = _layers(model)
    if any(layer["config"].get("name") in wanted for layer in layers):
        for layer in layers:
            match layer["config"].get("batch_shape") or layer["config"].get("batch_input_shape"):
                case [_, int(height), int(width), 3] if height == width:
                    return height
    sizes = (_input_size(layer, wanted) for layer in layers)
    return next((size for size in sizes if size), None)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
