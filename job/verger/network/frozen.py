"""The network as it is broadcast: tensors and a recipe, without TensorFlow until a Python worker builds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from verger.network.recipe import Folded, Recipe


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to RGB values of 0 to 255: put in order, divided, and then a number a channel subtracted."""

    colour: Literal["rgb", "bgr"] = "rgb"
    divide: float = 1.0
    subtract: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __str__(self) -> str:
        """One line that tells all of it; goes into the fingerprint, so that it must stay as it is."""
        return f"{self.colour} / {self.divide} - {' '.join(map(str, self.subtract))}"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A network with its batch normalisation folded in; picklable.

    Attributes
    ----------
    recipe : Recipe
        Empty for pixels.
    folded : dict of str to (kernel, bias)
        float32, by layer.
    preprocessing : Preprocessing
    input_size : int
    pooling : str
        ``avg`` over height and width, or ``none``: flattened, channels last.
    precision : str
        ``float32`` or ``bfloat16``: of the convolutions; preprocessing and pooling are always float32.
    """

    recipe: Recipe
    folded: Folded
    preprocessing: Preprocessing
    input_size: int
    pooling: str
    precision: str

    def build(self, threads: int = 1) -> Callable[[np.ndarray], np.ndarray]:
        """Make a function of it, in the process in which it shall run.

        Parameters
        ----------
        threads : int
            Threads within an operation; operations follow one another.

        Returns
        -------
        callable
            uint8 (b, s, s, 3) to float32 (b, d).
        """
        if not self.recipe:
            return lambda photographs: photographs.reshape(len(photographs), -1).astype(np.float32)
        from verger.network import graph

        return graph.build(self, threads)
