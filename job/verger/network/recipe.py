"""The layers of a convolutional network as data: their weights, their cost, folding, random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, what normalises it, and its activation; padded as ``SAME``, height and width first.

    Attributes
    ----------
    name : str
        Keras' name of the layer.
    kernel : tuple of int
        height, width, channels in, channels out; of a depthwise one height, width, channels, 1.
    stride : int
    norm : str, optional
        Name of the batch normalisation that follows; without one, there is a bias.
    activation : str
        Empty where the layer is linear.
    depthwise : bool
        Each channel is convolved by itself.
    """

    name: str
    kernel: tuple[int, int, int, int]
    stride: int = 1
    norm: str | None = None
    activation: Literal["relu", "relu6", ""] = ""
    depthwise: bool = False

    def __str__(self) -> str:
        """One line that tells all of it; goes into the fingerprint, so that it must stay as it is."""
        kind = "depthwise" if self.depthwise else "conv"
        shape = "x".join(map(str, self.kernel))
        return f"{kind} {self.name} {shape} /{self.stride} {self.norm or 'bias'} {self.activation or 'linear'}"

    @property
    def channels(self) -> int:
        """Channels that come out."""
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


# "keep" remembers what comes in, "add" adds what was kept last; "max_pool" is 2x2 with stride 2, unpadded.
Operation = Convolution | Literal["keep", "add", "max_pool"]
Recipe = tuple[Operation, ...]
Folded = dict[str, tuple[np.ndarray, np.ndarray]]

# Of every batch normalisation in Keras' MobileNetV2.
EPSILON = 1e-3


def convolutions(recipe: Recipe) -> list[Convolution]:
    """The layers of a recipe that have weights."""
    return [operation for operation in recipe if isinstance(operation, Convolution)]


def shapes(recipe: Recipe) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights by canonical name."""
    return {name: shape for layer in convolutions(recipe) for name, shape in layer.weights.items()}


def output_shape(recipe: Recipe, size: int) -> tuple[int, int, int]:
    """Height, width and channels of what comes out, for a square input of ``size``."""
    edge, channels, _ = _walk(recipe, size)
    return edge, edge, channels


def multiplications(recipe: Recipe, size: int) -> int:
    """Multiplications for one photograph."""
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
    """Fold batch normalisation into the convolutions before it, in float64.

    Parameters
    ----------
    recipe : Recipe
    tensors : mapping of str to array
        Canonical tensors of just these shapes; variances above ``-EPSILON``.

    Returns
    -------
    dict of str to (kernel, bias)
        By layer, float32; kernels have the shapes of the recipe.
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
    """Seeded weights through which features neither vanish nor explode (He et al. 2015, arXiv:1502.01852)."""
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
