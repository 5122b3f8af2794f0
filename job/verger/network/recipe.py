"""The layers of a convolutional network as data: their weights, their cost, folding, and random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Tensors = dict[str, np.ndarray]
"""Weights, float32, by canonical name: ``layer/weight``."""


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution with its batch normalisation and activation. Padding is ``SAME``.

    Attributes
    ----------
    name : str
        Keras' name of the layer.
    kernel : tuple of int
        Shape: (height, width, channels in, channels out); of a depthwise convolution (height, width, channels, 1).
    stride : int
        In both directions, pixels.
    norm : str, optional
        Name of the batch normalisation that follows. A convolution without one has a bias.
    activation : {"relu", "relu6", ""}
        Empty if there is none.
    depthwise : bool
        Whether each channel is convolved separately.
    """

    name: str
    kernel: tuple[int, int, int, int]
    stride: int = 1
    norm: str | None = None
    activation: Literal["relu", "relu6", ""] = ""
    depthwise: bool = False

    def __str__(self) -> str:
        """All of it in one line. It is part of the fingerprint, so it must not change."""
        kind = "depthwise" if self.depthwise else "conv"
        shape = "x".join(map(str, self.kernel))
        return f"{kind} {self.name} {shape} /{self.stride} {self.norm or 'bias'} {self.activation or 'linear'}"

    @property
    def channels(self) -> int:
        """Number of output channels."""
        return self.kernel[2] if self.depthwise else self.kernel[3]

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the weights by canonical name, ``layer/weight``, in the order in which Keras keeps them."""
        shapes: dict[str, tuple[int, ...]] = {
            f"{self.name}/{'depthwise_kernel' if self.depthwise else 'kernel'}": self.kernel
        }
        if self.norm is None:
            return shapes | {f"{self.name}/bias": (self.channels,)}
        norm = ("gamma", "beta", "moving_mean", "moving_variance")
        return shapes | {f"{self.norm}/{weight}": (self.channels,) for weight in norm}


Operation = Convolution | Literal["keep", "add", "max_pool"]
"""``keep`` remembers its input, ``add`` adds what was kept last; ``max_pool`` is 2x2 with stride 2 and no padding."""

Recipe = tuple[Operation, ...]
"""What a network does, from first to last."""

Folded = dict[str, tuple[np.ndarray, np.ndarray]]
"""Kernel and bias by layer, float32."""

EPSILON = 1e-3
"""Added to the variance in every batch normalisation of Keras' MobileNetV2."""


def convolutions(recipe: Recipe) -> list[Convolution]:
    """The layers of a recipe that have weights.

    Parameters
    ----------
    recipe : Recipe
        Any network.

    Returns
    -------
    list of Convolution
        In the order of the recipe.
    """
    return [operation for operation in recipe if isinstance(operation, Convolution)]


def shapes(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights of a network.

    Parameters
    ----------
    recipe : Recipe
        Any network.

    Returns
    -------
    dict of str to tuple of int
        By canonical name, in the order of the recipe.
    """
    return {name: shape for layer in convolutions(recipe) for name, shape in layer.weights.items()}


def output_shape(recipe: Recipe, size: int) -> tuple[int, int, int]:
    """Shape of a network's output for one photograph.

    Parameters
    ----------
    recipe : Recipe
        Any network.
    size : int
        Edge of the square input, pixels.

    Returns
    -------
    tuple of int
        Height, width, channels.
    """
    edge, channels, _ = _walk(recipe, size)
    return edge, edge, channels


def multiplications(recipe: Recipe, size: int) -> int:
    """Number of multiplications that a network needs for one photograph.

    Parameters
    ----------
    recipe : Recipe
        Any network.
    size : int
        Edge of the square input, pixels.

    Returns
    -------
    int
        Of the convolutions.
    """
    return _walk(recipe, size)[2]


def _walk(recipe: Recipe, size: int) -> tuple[int, int, int]:
    edge, channels, total = size, 3, 0
    for operation in recipe:
        if isinstance(operation, Convolution):
            edge = -(-edge // operation.stride)
            channels = operation.channels
            total += edge * edge * int(np.prod(operation.kernel))
        elif operation == "max_pool":
            edge //= 2
    return edge, channels, total


def fold(recipe: Recipe, tensors: Mapping[str, np.ndarray]) -> Folded:
    """Fold each batch normalisation into the convolution before it, in float64.

    Parameters
    ----------
    recipe : Recipe
        The network.
    tensors : mapping of str to array
        All its weights by canonical name, of the shapes that `shapes` gives. Variances are above ``-EPSILON``.

    Returns
    -------
    dict of str to (kernel, bias)
        float32, by layer. Kernels have the recipe's shapes, biases are (channels out,).
    """
    folded = {}
    for layer in convolutions(recipe):
        kernel, *rest = (tensors[name].astype(np.float64) for name in layer.weights)
        if layer.norm is None:
            (bias,) = rest
        else:
            gamma, beta, mean, variance = rest
            scale = gamma / np.sqrt(variance + EPSILON)
            kernel = kernel * (scale[:, None] if layer.depthwise else scale)
            bias = beta - mean * scale
        folded[layer.name] = kernel.astype(np.float32), bias.astype(np.float32)
    return folded


def random_tensors(recipe: Recipe, seed: int) -> Tensors:
    """Random weights, scaled so that features neither vanish nor explode (He et al. 2015, arXiv:1502.01852).

    Parameters
    ----------
    recipe : Recipe
        The network.
    seed : int
        Of the random numbers.

    Returns
    -------
    dict of str to float32 array
        By canonical name. Kernels are normal with variance 2 / fan-in; batch normalisations change nothing.
    """
    generator = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in shapes(recipe).items():
        weight = name.rpartition("/")[2]
        if weight.endswith("kernel"):
            fan_in = shape[0] * shape[1] * (1 if weight == "depthwise_kernel" else shape[2])
            values = generator.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
        else:
            values = np.full(shape, 1 if weight in ("gamma", "moving_variance") else 0, np.float32)
        tensors[name] = values
    return tensors
