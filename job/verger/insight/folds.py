"""Scaler, PCA and classifier fitted to one training part."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from verger.insight.arrays import Float64Array, Indices, column_moments
from verger.insight.reduction import Reduction
from verger.insight.task import Task


@contextmanager
def ignore_sklearn_warnings() -> Iterator[None]:
    """Hide scikit-learn's warnings, which ask nothing of the user.

    They say that a class is small, which the score says too; that a feature does not vary; that a fit has used up its
    steps, when it has come close enough. Enter it in the thread that starts the others: filters are of the process.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@dataclass(frozen=True, eq=False)
class FittedFold:
    """Scaler, PCA and classifier of one training part.

    Attributes
    ----------
    reduction : Reduction
        Scaler and PCA.
    scale : float
        Components are divided by it.
    model : LogisticRegression
        Its ``classes_`` are the codes of the classes in the training part.
    """

    reduction: Reduction
    scale: float
    model: LogisticRegression


def fit_fold(task: Task, training: Indices) -> FittedFold:
    """Fit scaler, PCA and classifier to one training part.

    Parameters
    ----------
    task : Task
        What is to be classified.
    training : ndarray of int64, shape (n,)
        Rows of the task.
    """
    reduction = fit_reduction(task, training)
    components = reduction.transform(task.features[training])
    scale = common_scale(components)
    return FittedFold(reduction, scale, fit_logistic_regression(components / scale, task.codes[training]))


def fit_reduction(task: Task, training: Indices) -> Reduction:
    """Fit scaler and PCA to one training part, unless the task has fixed ones.

    Parameters
    ----------
    task : Task
        What is to be classified.
    training : ndarray of int64, shape (n,)
        Rows of the task.
    """
    if task.fixed_reduction is not None:
        return task.fixed_reduction
    x = task.features[training]
    return Reduction.fit(x, max(1, min(task.n_components, len(x) - 1, x.shape[1])), task.standardize, task.seed)


def fit_logistic_regression(components: npt.NDArray[np.floating], codes: Indices) -> LogisticRegression:
    """Fit multinomial logistic regression.

    Parameters
    ----------
    components : ndarray of float, shape (n, k)
        Divided by their `common_scale`, which the penalty C = 1 suits.
    codes : ndarray of int64, shape (n,)
        The class of each row.
    """
    return LogisticRegression(C=1.0, tol=1e-3, max_iter=200).fit(components, codes)


def common_scale(components: npt.NDArray[np.floating]) -> float:
    """One number to divide all components by, so that each keeps its share of the variance.

    Parameters
    ----------
    components : ndarray of float, shape (n, k)
        Of the photographs to fit on.

    Returns
    -------
    float
        Root of their mean variance; 1 where nothing varies.
    """
    return float(np.sqrt(np.square(column_moments(components)[1]).mean())) or 1.0


def all_coefficients(model: LogisticRegression) -> tuple[Float64Array, Float64Array]:
    """Coefficients and intercepts of all classes.

    Parameters
    ----------
    model : LogisticRegression
        Fitted. Of two classes, it has the logit of the second alone.

    Returns
    -------
    coefficients : ndarray of float64, shape (classes, k)
        A row a class, in the order of ``model.classes_``; of two classes, the first row is zeros.
    intercepts : ndarray of float64, shape (classes,)
        In the same order; of two classes, the first is 0.
    """
    coefficients, intercepts = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(coefficients) == 1:
        coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
        intercepts = np.append(0.0, intercepts)
    return coefficients, intercepts
