"""The classifier as it is kept: from components to probabilities, with NumPy alone."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.insight.arrays import Float64Array
from verger.storage.base import Storage, raise_if_corrupt
from verger.storage.uri import join

ARRAYS, DOCUMENT = "classifier.npz", "classifier.json"


@dataclass(frozen=True, eq=False)
class Model:
    """What turns components into probabilities, with NumPy alone.

    Attributes
    ----------
    classes : list of str
    mean : ndarray of float64, shape (k,)
    scale : float
        One number for all components.
    coefficients : ndarray of float64, shape (classes, k)
    intercepts : ndarray of float64, shape (classes,)
    temperature : float
        Logits are divided by it; 1 where there was too little to calibrate on.
    """

    classes: list[str]
    mean: Float64Array
    scale: float
    coefficients: Float64Array
    intercepts: Float64Array
    temperature: float

    def logits(self, components: npt.ArrayLike) -> Float64Array:
        """Of components, shape (n, k), as `verger.components.pca.Pca.transform` gives them."""
        x = np.subtract(components, self.mean, dtype=np.float64) / self.scale
        return np.asarray((x @ self.coefficients.T + self.intercepts) / self.temperature)

    def probabilities(self, components: npt.ArrayLike) -> Float64Array:
        """Shape (n, classes); rows sum to one."""
        return softmax(self.logits(components))

    def save(self, folder: str, storage: Storage) -> None:
        """Write ``classifier.npz``; the names of the classes are not in it."""
        sink = io.BytesIO()
        np.savez(
            sink,
            mean=self.mean,
            scale=np.float64(self.scale),
            coefficients=self.coefficients,
            intercepts=self.intercepts,
            temperature=np.float64(self.temperature),
        )
        storage.write(join(folder, ARRAYS), sink.getvalue())


def load(folder: str, storage: Storage) -> tuple[Model, dict[str, Any]]:
    """Read what a run keeps of its classifier: the model, and what is known of it.

    Raises
    ------
    NothingToReadError
        There is no classifier in ``folder``.
    StoreError
        It is damaged.
    """
    text, numbers = join(folder, DOCUMENT), join(folder, ARRAYS)
    with raise_if_corrupt(text):
        document = json.loads(storage.read(text))
        classes = list(document["classes"])
    with raise_if_corrupt(numbers), np.load(io.BytesIO(storage.read(numbers)), allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in ("mean", "coefficients", "intercepts")}
        scale, temperature = float(saved["scale"]), float(saved["temperature"])
    return Model(classes=classes, scale=scale, temperature=temperature, **arrays), document


def softmax(logits: Float64Array) -> Float64Array:
    """Probabilities of logits, row by row."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
