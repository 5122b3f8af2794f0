"""Scaler, PCA and classifier fitted to one training part."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from verger.insight.arrays import Float64Array, Indices, moments
from verger.insight.reduction import Reduction
from verger.insight.task import Task


@contextmanager
def ignore_warnings() -> Iterator[None]:
    """Without scikit-learn's warnings, which are no fault of the user's.

    A class is small, which the score says; a feature does not vary within one; a fit has come close enough when its
    steps are used up. For whoever starts the threads of a fit: filters are one for all threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, eq=False)
class FittedFold:
    """What one training part has taught.

    Attributes
    ----------
    reduction : Reduction
    size : float
        What the components are divided by.
    model : LogisticRegression
        Its ``classes_`` are the codes that the training part has.
    """

    reduction: Reduction
    size: float
    model: LogisticRegression


def reduction_of(task: Task, training: Indices) -> Reduction:
    """Scaler and PCA, fitted to one training part where the task gives none."""
    if task.given is not None:
        return task.given
    x = task.features[training]
    return Reduction.fit(x, max(1, min(task.n_components, len(x) - 1, x.shape[1])), task.standardize, task.seed)


def fit_fold(task: Task, training: Indices) -> FittedFold:
    """Fit scaler, PCA and classifier to one training part."""
    reduction = reduction_of(task, training)
    x = reduction.components(task.features[training])
    size = scale_of(x)
    return FittedFold(reduction, size, fit_logistic(x / size, task.codes[training]))


def fit_logistic(x: npt.NDArray[np.floating], y: Indices) -> LogisticRegression:
    """Multinomial logistic regression, with the penalty that suits components of size one."""
    return LogisticRegression(C=1.0, tol=1e-3, max_iter=200).fit(x, y)


def scale_of(components: npt.NDArray[np.floating]) -> float:
    """One number for all components: each keeps its share of the variance, and the penalty its meaning."""
    return float(np.sqrt(np.square(moments(components)[1]).mean())) or 1.0


def coefficients_of(found: LogisticRegression) -> tuple[Float64Array, Float64Array]:
    """Coefficients and intercepts, float64, of all classes of a fitted logistic regression."""
    coefficients, intercepts = found.coef_.astype(np.float64), found.intercept_.astype(np.float64)
    if len(coefficients) == 1:  # of two classes, scikit-learn keeps the logits of the second alone
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.append(0.0, intercepts)
    return coefficients, intercepts
