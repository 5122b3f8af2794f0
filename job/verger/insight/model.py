"""The classifier as a run keeps it: from components to probabilities, with NumPy alone."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from verger.insight.arrays import Float64Array
from verger.storage.base import Storage, raise_if_corrupt
from verger.storage.uri import join
from verger.tables.manifest_parts import ClassifierSummary

ARRAYS, DOCUMENT = "classifier.npz", "classifier.json"
"""Files in a run's folder ``model``."""


class ClassifierDocument(ClassifierSummary):
    """What ``classifier.json`` says: the manifest's summary, and scores of each class."""

    classes: list[str] = Field(description="In the order of the probabilities.")
    by_class: list[dict[str, Any]] = Field(description="Photographs, precision, recall and F1 of each class.")
    confusions: list[dict[str, Any]] = Field(description="Which class was taken for which, the most frequent first.")
    confusion_matrix: list[list[int]] | None = Field(description="By class; null where there are too many.")
    calibration: dict[str, Any] | None = Field(
        description="Of the most honest split; null where too few photographs were held out."
    )


@dataclass(frozen=True, eq=False)
class Model:
    """Logistic regression on components, with a temperature.

    Attributes
    ----------
    classes : list of str
        In the order of the probabilities.
    mean : ndarray of float64, shape (k,)
        Subtracted from components.
    scale : float
        Components are divided by it.
    coefficients : ndarray of float64, shape (classes, k)
        A row a class.
    intercepts : ndarray of float64, shape (classes,)
        Added to the logits.
    temperature : float
        Logits are divided by it; 1 where there were too few photographs to calibrate on.
    """

    classes: list[str]
    mean: Float64Array
    scale: float
    coefficients: Float64Array
    intercepts: Float64Array
    temperature: float

    def logits(self, components: npt.ArrayLike) -> Float64Array:
        """Logits of components.

        Parameters
        ----------
        components : array_like, shape (n, k)
            As `verger.components.pca.Pca.transform` gives them.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            Divided by the temperature; a class a column, in the order of ``classes``.
        """
        x = np.subtract(components, self.mean, dtype=np.float64) / self.scale
        return np.asarray((x @ self.coefficients.T + self.intercepts) / self.temperature)

    def probabilities(self, components: npt.ArrayLike) -> Float64Array:
        """Probabilities of components.

        Parameters
        ----------
        components : array_like, shape (n, k)
            As for `logits`.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            Rows sum to one.
        """
        return softmax(self.logits(components))

    def save(self, folder: str, storage: Storage) -> None:
        """Write ``classifier.npz``; the names of the classes are not in it.

        Parameters
        ----------
        folder : str
            Canonical URI.
        storage : Storage
            That the folder is in.
        """
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


def load(folder: str, storage: Storage) -> tuple[Model, ClassifierDocument]:
    """Read what a run keeps of its classifier.

    Parameters
    ----------
    folder : str
        Canonical URI of the run's folder ``model``.
    storage : Storage
        That the folder is in.

    Returns
    -------
    model : Model
        The arrays of ``classifier.npz``, and the names of the classes.
    document : ClassifierDocument
        What ``classifier.json`` says.

    Raises
    ------
    NothingToReadError
        There is no classifier in ``folder``.
    StoreError
        It is damaged.
    """
    document_path, arrays_path = join(folder, DOCUMENT), join(folder, ARRAYS)
    with raise_if_corrupt(document_path):
        document = ClassifierDocument.model_validate_json(storage.read(document_path))
    with raise_if_corrupt(arrays_path), np.load(io.BytesIO(storage.read(arrays_path)), allow_pickle=False) as saved:
        arrays = {name: saved[name] for name in ("mean", "coefficients", "intercepts")}
        scale, temperature = float(saved["scale"]), float(saved["temperature"])
    return Model(classes=document.classes, scale=scale, temperature=temperature, **arrays), document


def softmax(logits: Float64Array) -> Float64Array:
    """Probabilities of logits.

    Parameters
    ----------
    logits : ndarray of float64, shape (n, classes)
        A row a photograph.

    Returns
    -------
    ndarray of float64, shape (n, classes)
        Rows sum to one.
    """
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))
