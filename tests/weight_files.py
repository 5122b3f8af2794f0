"""Weights files as the versions of Keras lay them out, written without Keras. All have a classifier too."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from verger.network import mobilenet_v2
from verger.network.recipe import Tensors, random_tensors

RECIPE = mobilenet_v2.recipe(0.35)
# What the layouts that describe their model say of its input.
SIZE = 96
_HEAD: Tensors = {"predictions/kernel": np.zeros((1280, 3), np.float32), "predictions/bias": np.zeros(3, np.float32)}
_INPUT = {"class_name": "InputLayer", "config": {"name": "input_layer", "batch_shape": [None, SIZE, SIZE, 3]}}
# A model around the backbone may take photographs of another size, and make them smaller.
_OUTER = {"class_name": "InputLayer", "config": {"name": "input_layer_1", "batch_shape": [None, 300, 300, 3]}}


def tensors() -> Tensors:
    """Seeded weights of RECIPE, with batch normalisations that do something."""
    generator = np.random.default_rng(2)
    return {
        name: tensor if name.endswith("kernel") else generator.uniform(0.5, 1.5, tensor.shape).astype(np.float32)
        for name, tensor in random_tensors(RECIPE, 1).items()
    }


def npz(tensors: Tensors) -> bytes:
    """Our own."""
    file = io.BytesIO()
    np.savez(file, **tensors, **_HEAD)
    return file.getvalue()


def h5_of_keras_2(tensors: Tensors) -> bytes:
    """Weights alone: a group a layer, weights named by layer and with a number of output."""
    return _h5(lambda file: _by_layer(file, tensors, "{layer}/{weight}:0"))


def h5_of_keras_1(tensors: Tensors) -> bytes:
    """Weights alone, with names of their own: those of vgg16 still have them."""
    return _h5(lambda file: _by_layer(file, tensors, "{layer}_{number}_W:0"))


def h5_model(tensors: Tensors) -> bytes:
    """A whole model."""

    def fill(file: h5py.File) -> None:
        file.attrs["model_config"] = json.dumps(_model([_INPUT, *_layers(tensors)]))
        _by_layer(file.create_group("model_weights"), tensors, "{layer}/{weight}")

    return _h5(fill)


def h5_model_in_model(tensors: Tensors) -> bytes:
    """A whole model of which the backbone is one layer; trainable weights come first."""

    def fill(file: h5py.File) -> None:
        file.attrs["model_config"] = json.dumps(_model([_OUTER, _model([_INPUT, *_layers(tensors)])]))
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = ["backbone", "dense"]
        names = sorted(tensors, key=lambda name: "moving" in name)
        _group(root, "backbone", {name: tensors[name] for name in names})
        _group(root, "dense", {f"sequential/dense/{name.rpartition('/')[2]}": _HEAD[name] for name in _HEAD})

    return _h5(fill)


def h5_of_keras_3(tensors: Tensors) -> bytes:
    """Weights alone: groups by class and number, which tell the layer's name."""
    return _h5(lambda file: _by_class(file, tensors, named=True))


def keras(tensors: Tensors) -> bytes:
    """A whole model, whose description alone tells the names."""
    return _zip(_model([_INPUT, *_layers(tensors)]), lambda file: _by_class(file, tensors, named=False))


def keras_model_in_model(tensors: Tensors) -> bytes:
    """The same, of which the backbone is one layer."""
    return _zip(
        _model([_OUTER, _model([_INPUT, *_layers(tensors)])]),
        lambda file: _by_class(file.create_group("layers/functional"), tensors, named=False),
    )


LAYOUTS: tuple[Callable[[Tensors], bytes], ...] = (
    npz,
    h5_of_keras_2,
    h5_of_keras_1,
    h5_model,
    h5_model_in_model,
    h5_of_keras_3,
    keras,
    keras_model_in_model,
)
DESCRIBED = (h5_model, h5_model_in_model, keras, keras_model_in_model)


def _held(tensors: Tensors) -> dict[str, Tensors]:
    layers: dict[str, Tensors] = {}
    for name, tensor in (tensors | _HEAD).items():
        layer, weight = name.split("/")
        layers.setdefault(layer, {})[weight] = tensor
    return layers


def _class(held: Tensors) -> tuple[str, str]:
    if "gamma" in held:
        return "BatchNormalization", "batch_normalization"
    if "depthwise_kernel" in held:
        return "DepthwiseConv2D", "depthwise_conv2d"
    return ("Conv2D", "conv2d") if next(iter(held.values())).ndim == 4 else ("Dense", "dense")


def _layers(tensors: Tensors) -> list[dict[str, Any]]:
    return [{"class_name": _class(held)[0], "config": {"name": layer}} for layer, held in _held(tensors).items()]


def _model(layers: list[dict[str, Any]]) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"name": "model", "layers": layers}}


def _h5(fill: Callable[[h5py.File], object]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as written:
        fill(written)
    return file.getvalue()


def _zip(model: dict[str, Any], fill: Callable[[h5py.File], object]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", _h5(fill))
    return file.getvalue()


def _by_layer(root: h5py.Group, tensors: Tensors, name: str) -> None:
    layers = _held(tensors)
    root.attrs["layer_names"] = [layer.encode() for layer in ["input_1", *layers]]
    _group(root, "input_1", {})
    for layer, held in layers.items():
        named = {
            name.format(layer=layer, weight=weight, number=number): array
            for number, (weight, array) in enumerate(held.items())
        }
        _group(root, layer, named)


def _group(root: h5py.Group, layer: str, weights: Tensors) -> None:
    group = root.create_group(layer)
    group.attrs["weight_names"] = [name.encode() for name in weights]
    for name, array in weights.items():
        group[name] = array


def _by_class(root: h5py.Group, tensors: Tensors, *, named: bool) -> None:
    seen: dict[str, int] = {}
    for layer, held in _held(tensors).items():
        kind = _class(held)[1]
        number = seen[kind] = seen.get(kind, -1) + 1
        group = root.create_group(f"layers/{kind}_{number}/vars" if number else f"layers/{kind}/vars")
        if named:
            group.attrs["name"] = layer
        for position, array in enumerate(held.values()):
            group[str(position)] = array
