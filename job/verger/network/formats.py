"""Weights files of Keras, read without Keras: .h5 in its three layouts, .keras, and .npz."""

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

# The name under which an .npz of ours says the input size.
INPUT_SIZE = "input_size"


@dataclass
class Found:
    """What a weights file holds of the wanted layers.

    Attributes
    ----------
    layers : dict of str to (dict of str to array)
        By layer, its weights in the order in which the layer keeps them, by the name that the file gives them.
    input_size : int, optional
        Edge of the square input, where the file says it.
    """

    layers: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    input_size: int | None = None

    def add(self, layer: str, weight: str, array: Any) -> None:
        """Keep one weight."""
        self.layers.setdefault(layer, {})[weight.removesuffix(":0")] = np.asarray(array)


def parse(data: bytes, wanted: Collection[str]) -> Found:
    """Read the weights of the ``wanted`` layers; others, as those of a classification head, are left.

    Parameters
    ----------
    data : bytes
        The file; what it is shows by its content.
    wanted : collection of str
        Names of layers.

    Raises
    ------
    ValueError
        The file is none of these, or damaged.
    """
    try:
        if data.startswith(b"\x89HDF"):
            with h5py.File(io.BytesIO(data)) as file:
                return _h5(file, wanted)
        if data.startswith(b"PK"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return _keras(archive, wanted) if "config.json" in archive.namelist() else _npz(data, wanted)
    except Exception as error:  # damaged files make h5py, zipfile, zlib and numpy raise nearly everything
        raise ValueError(f"cannot be read: {error}") from error
    raise ValueError("is no .h5, .keras or .npz file")


def _npz(data: bytes, wanted: Collection[str]) -> Found:
    found = Found()
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        for name in arrays.files:
            layer, _, weight = name.rpartition("/")
            if layer in wanted:
                found.add(layer, weight, arrays[name])
        if INPUT_SIZE in arrays.files:
            found.input_size = int(arrays[INPUT_SIZE])
    return found


def _keras(archive: zipfile.ZipFile, wanted: Collection[str]) -> Found:
    """A zip of the model's description and of its weights in Keras 3's layout."""
    config = json.loads(archive.read("config.json"))
    with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        found = _by_class(file, wanted, dict(_paths(config, "")))
    found.input_size = _input_size(config, wanted)
    return found


def _h5(file: h5py.File, wanted: Collection[str]) -> Found:
    """Whole models and weights alone, as Keras 1 and 2 laid them out, or weights alone of Keras 3."""
    root = file.get("model_weights", file)
    found = _by_layer(root, wanted) if "layer_names" in root.attrs else _by_class(file, wanted, {})
    if "model_config" in file.attrs:
        found.input_size = _input_size(json.loads(file.attrs["model_config"]), wanted)
    return found


def _by_layer(root: h5py.Group, wanted: Collection[str]) -> Found:
    """The older layout: a group a layer, an attribute that names its weights in order."""
    found = Found()
    for layer in map(_text, root.attrs["layer_names"]):
        group = root[layer]
        names = [_text(name) for name in group.attrs["weight_names"]]
        scopes = {name: name.split("/")[-2] if "/" in name else layer for name in names}
        # A model within the model is one layer of it, whose weights name layers of their own.
        nested = len(set(scopes.values())) > 1
        for name in names:
            owner = scopes[name] if nested else layer
            if owner in wanted:
                found.add(owner, name.split("/")[-1], group[name])
    return found


def _by_class(file: h5py.File, wanted: Collection[str], names: dict[str, str]) -> Found:
    """Keras 3's layout: groups named by class and number, numbered weights; newer ones tell the layer's name too."""
    found = Found()
    for path, group in _groups(file):
        layer = _text(group.attrs.get("name", names.get(path, "")))
        if layer in wanted:
            for weight in sorted(group, key=int):
                found.add(layer, weight, group[weight])
    return found


def _groups(group: h5py.Group) -> Iterator[tuple[str, h5py.Group]]:
    """The layers of a file in Keras 3's layout, and their ``vars``."""
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            if name == "vars":
                yield group.name.strip("/"), item
            else:
                yield from _groups(item)


def _paths(model: dict[str, Any], folder: str) -> Iterator[tuple[str, str]]:
    """The group of each layer of a model, and the layer's name."""
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
    """The edge of the input of the model that has the wanted layers, at whatever depth it stands."""
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
