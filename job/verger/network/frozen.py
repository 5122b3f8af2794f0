"""The network as it is broadcast: a recipe and its tensors. Neither TensorFlow nor Spark is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verger.network.recipe import Folded, Recipe


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to RGB values of 0 to 255: reorder the channels, divide, then subtract a number per channel.

    Attributes
    ----------
    colour : {"rgb", "bgr"}
        Order of the channels.
    divide : float
        Every value is divided by it.
    subtract : tuple of float
        One number per channel, in the order of ``colour``.
    """

    colour: Literal["rgb", "bgr"] = "rgb"
    divide: float = 1.0
    subtract: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __str__(self) -> str:
        """All of it in one line. It is part of the fingerprint, so it must not change."""
        return f"{self.colour} / {self.divide} - {' '.join(map(str, self.subtract))}"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A network with its batch normalisation folded into the convolutions; picklable.

    Attributes
    ----------
    recipe : Recipe
        Its layers; empty for `pixels`.
    folded : dict of str to (kernel, bias)
        float32 arrays, by layer; the shapes are those that `recipe.fold` gives.
    preprocessing : Preprocessing
        What is done to the photographs first.
    input_size : int
        Edge of the square input, pixels.
    pooling : {"avg", "none"}
        ``avg`` over height and width, or ``none``: flattened, channels last.
    precision : {"float32", "bfloat16"}
        Of the convolutions. Preprocessing and pooling are always float32.
    """

    recipe: Recipe
    folded: Folded
    preprocessing: Preprocessing
    input_size: int
    pooling: str
    precision: str
