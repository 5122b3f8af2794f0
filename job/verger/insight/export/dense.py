"""Scaler, PCA and classifier as one dense layer behind a network's features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from verger.components.pca import Pca
from verger.insight.arrays import Float64Array
from verger.insight.folds import FittedFold, coefficients_of
from verger.insight.model import Model


class Dense(NamedTuple):
    """What makes logits of features: ``features @ weights + bias``.

    Attributes
    ----------
    weights : ndarray of float64, shape (d, classes)
    bias : ndarray of float64, shape (classes,)
    """

    weights: Float64Array
    bias: Float64Array


def of_run(pca: Pca, model: Model) -> Dense:
    """What a run has kept, the temperature of its probabilities included."""
    found = _collapsed(pca.mean, pca.scale, pca.components, model.mean, model.scale, model.coefficients)
    return Dense(found.weights / model.temperature, (found.bias + model.intercepts) / model.temperature)


def of_fold(fold: FittedFold) -> Dense:
    """What a training part has taught; its classes are the ``classes_`` of its model."""
    reduction, (coefficients, intercepts) = fold.reduction, coefficients_of(fold.model)
    found = _collapsed(reduction.mean, reduction.scale, reduction.axes, 0.0, fold.size, coefficients)
    return Dense(found.weights, found.bias + intercepts)


def _collapsed(
    mean: npt.NDArray[np.floating],
    scale: npt.NDArray[np.floating] | None,
    components: npt.NDArray[np.floating],
    middle: npt.NDArray[np.floating] | float,
    size: float,
    coefficients: Float64Array,
) -> Dense:
    """``((((f - mean) / scale) @ components.T) - middle) / size @ coefficients.T`` of features f, in float64."""
    lines = coefficients / size
    weights = np.asarray(components, np.float64).T @ lines.T
    if scale is not None:
        weights /= np.asarray(scale, np.float64)[:, None]
    away = np.broadcast_to(middle, coefficients.shape[1:]).astype(np.float64)
    return Dense(weights, -np.asarray(mean, np.float64) @ weights - away @ lines.T)
