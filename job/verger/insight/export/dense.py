"""Scaler, PCA and classifier multiplied out to one dense layer behind a network's features."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from verger.components.pca import Pca
from verger.insight.arrays import Float64Array
from verger.insight.folds import FittedFold, all_coefficients
from verger.insight.model import Model


class Dense(NamedTuple):
    """A dense layer: logits are ``features @ weights + bias``.

    Attributes
    ----------
    weights : ndarray of float64, shape (d, classes)
        A column a class.
    bias : ndarray of float64, shape (classes,)
        In the order of these columns.
    """

    weights: Float64Array
    bias: Float64Array


def of_run(pca: Pca, model: Model) -> Dense:
    """The layer of a finished run.

    Parameters
    ----------
    pca : Pca
        The run's.
    model : Model
        The run's classifier, whose temperature is in the layer too.
    """
    layer = _multiply_out(pca.mean, pca.scale, pca.components, model.mean, model.scale, model.coefficients)
    return Dense(layer.weights / model.temperature, (layer.bias + model.intercepts) / model.temperature)


def of_fold(fold: FittedFold) -> Dense:
    """The layer of a training part.

    Parameters
    ----------
    fold : FittedFold
        The layer's classes are those of its model.
    """
    reduction, (coefficients, intercepts) = fold.reduction, all_coefficients(fold.model)
    layer = _multiply_out(reduction.mean, reduction.scale, reduction.axes, 0.0, fold.scale, coefficients)
    return Dense(layer.weights, layer.bias + intercepts)


def _multiply_out(
    mean: npt.NDArray[np.floating],
    scale: npt.NDArray[np.floating] | None,
    axes: npt.NDArray[np.floating],
    component_mean: npt.NDArray[np.floating] | float,
    component_scale: float,
    coefficients: Float64Array,
) -> Dense:
    """The layer of ``(((features - mean) / scale) @ axes.T - component_mean) / component_scale @ coefficients.T``."""
    scaled = coefficients / component_scale
    weights = np.asarray(axes, np.float64).T @ scaled.T
    if scale is not None:
        weights /= np.asarray(scale, np.float64)[:, None]
    component_means = np.broadcast_to(component_mean, coefficients.shape[1:]).astype(np.float64)
    return Dense(weights, -np.asarray(mean, np.float64) @ weights - component_means @ scaled.T)
