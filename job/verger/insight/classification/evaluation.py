"""How well classes are told apart, on photographs that neither scaler, PCA nor classifier was fitted on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from sklearn.neighbors import NearestCentroid

from verger.cores import available_cores
from verger.insight.arrays import Float32Array, Indices
from verger.insight.folds import fit_fold
from verger.insight.splits import Split, SplitKind, bounded_folds, possible_splits
from verger.insight.task import Task

_SIGNIFICANCE = 0.025  # one side of a 95 % interval


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Predictions of the photographs that one split holds out.

    Attributes
    ----------
    kind : {"own", "grouped", "random"}
        Of the split.
    description : str
        The split as a phrase for people.
    n_folds : int
        Folds of the split.
    rows : ndarray of int64, shape (m,)
        Rows of the task (of the sample, in a `Classification`), ascending.
    codes : ndarray of int64, shape (m,)
        Their classes.
    probabilities : ndarray of float32, shape (m, classes)
        By the classifier; rows sum to one.
    centroid_codes : ndarray of int64, shape (m,)
        Classes by the nearest centroid.
    majority_code : int
        The most frequent class of the task.
    n_train : int
        Photographs in the largest training part.
    unjudged : int
        Held-out photographs without a prediction, because their class is in no training part.
    parts : tuple of (ndarray of int64, ndarray of int64)
        Rows of the task: each training part, and what is held out of it.
    """

    kind: SplitKind
    description: str
    n_folds: int
    rows: Indices
    codes: Indices
    probabilities: Float32Array
    centroid_codes: Indices
    majority_code: int
    n_train: int
    unjudged: int
    parts: tuple[tuple[Indices, Indices], ...] = ()

    @property
    def predicted(self) -> Indices:
        """The most probable class of each row, shape (m,)."""
        return np.asarray(self.probabilities.argmax(axis=1), np.int64)


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of one split, an entry of the manifest's ``classifier.scores``.

    Attributes
    ----------
    split : {"own", "grouped", "random"}
        Its kind.
    says : str
        The split as a phrase for people.
    folds : int
        Its folds.
    n_train : int
        Photographs in the largest training part.
    n_test : int
        Photographs that are scored.
    unjudged : int
        Held-out photographs that are not, because their class is in no training part.
    n_classes_judged : int
        Classes of the photographs that are scored.
    accuracy : float
        Share of photographs whose class is predicted.
    macro_f1 : float
        Mean of the F1 of these classes.
    majority : float
        Accuracy of always predicting the most frequent class.
    nearest_centroid : float
        Accuracy of predicting the class of the nearest centroid.
    """

    split: SplitKind
    says: str
    folds: int
    n_train: int
    n_test: int
    unjudged: int
    n_classes_judged: int
    accuracy: float
    macro_f1: float
    majority: float
    nearest_centroid: float

    @property
    def beats_majority(self) -> bool:
        """Whether the accuracy is above that of the most frequent class, by a one-sided binomial test at 2.5 %."""
        correct = round(self.accuracy * self.n_test)
        return bool(binomtest(correct, self.n_test, self.majority, "greater").pvalue < _SIGNIFICANCE)

    def as_dict(self) -> dict[str, Any]:
        """For JSON, rounded to four decimals."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def evaluate(task: Task) -> list[HeldOut]:
    """Predict held-out photographs, by every split that the photographs allow.

    Parameters
    ----------
    task : Task
        At least two of its classes have two photographs each.

    Returns
    -------
    list of HeldOut
        The most honest split first; the last is by random folds, to be compared with the others.
    """
    return [held_out for split in possible_splits(task) if (held_out := _predict(task, split))]


def _predict(task: Task, split: Split) -> HeldOut | None:
    """Fit on each training part and predict what is held out; None where no class is in both."""
    folds = bounded_folds(task, split.folds)
    if not folds:
        return None
    with ThreadPoolExecutor(available_cores()) as pool:
        predictions = list(pool.map(lambda fold: _predict_fold(task, *fold), folds))
    rows, probabilities, centroid_codes = (np.concatenate(arrays) for arrays in zip(*predictions, strict=True))
    order = np.argsort(rows)
    rows = rows[order]
    return HeldOut(
        kind=split.kind,
        description=split.description,
        n_folds=len(split.folds),
        rows=rows,
        codes=task.codes[rows],
        probabilities=probabilities[order],
        centroid_codes=centroid_codes[order],
        majority_code=int(np.bincount(task.codes[task.codes >= 0]).argmax()),
        n_train=max(len(training) for training, _ in folds),
        unjudged=sum(len(test) for _, test in split.folds) - len(rows),
        parts=tuple(folds),
    )


def _predict_fold(task: Task, training: Indices, test: Indices) -> tuple[Indices, Float32Array, Indices]:
    """The rows that are held out, their probabilities, and their classes by the nearest centroid."""
    fold = fit_fold(task, training)
    known, unseen = (fold.reduction.transform(task.features[rows]) for rows in (training, test))
    probabilities = np.zeros((len(test), task.n_classes), np.float32)
    probabilities[:, fold.model.classes_] = fold.model.predict_proba(unseen / fold.scale)
    centroid_codes = NearestCentroid().fit(known, task.codes[training]).predict(unseen)
    return test, probabilities, centroid_codes


def score(held_out: HeldOut) -> Score:
    """Score predictions.

    Parameters
    ----------
    held_out : HeldOut
        Of one split.
    """
    codes = held_out.codes
    return Score(
        split=held_out.kind,
        says=held_out.description,
        folds=held_out.n_folds,
        n_train=held_out.n_train,
        n_test=len(held_out.rows),
        unjudged=held_out.unjudged,
        n_classes_judged=len(np.unique(codes)),
        accuracy=float(accuracy_score(codes, held_out.predicted)),
        macro_f1=float(np.mean([row["f1"] for row in scores_by_class(held_out)])),
        majority=float(np.mean(codes == held_out.majority_code)),
        nearest_centroid=float(accuracy_score(codes, held_out.centroid_codes)),
    )


def scores_by_class(held_out: HeldOut) -> list[dict[str, Any]]:
    """Precision, recall and F1 of every class that is held out.

    Parameters
    ----------
    held_out : HeldOut
        Of one split.

    Returns
    -------
    list of dict
        ``code``, ``photographs``, ``precision`` (None where the class is never predicted), ``recall`` and ``f1``, by
        ascending code, rounded to four decimals.
    """
    codes = np.unique(held_out.codes)
    columns = precision_recall_fscore_support(held_out.codes, held_out.predicted, labels=codes, zero_division=np.nan)
    return [
        {
            "code": int(code),
            "photographs": int(photographs),
            "precision": None if np.isnan(precision) else round(float(precision), 4),
            "recall": round(float(recall), 4),
            "f1": round(float(f1), 4),
        }
        for code, precision, recall, f1, photographs in zip(codes, *columns, strict=True)
    ]


def confusions(held_out: HeldOut) -> tuple[Indices, Indices, Indices]:
    """The non-zero cells of the confusion matrix, which is too large to be formed for many classes.

    Parameters
    ----------
    held_out : HeldOut
        Of one split.

    Returns
    -------
    codes : ndarray of int64, shape (c,)
        Classes, ascending.
    predicted : ndarray of int64, shape (c,)
        What photographs of these classes were predicted to be.
    counts : ndarray of int64, shape (c,)
        How many of them.
    """
    n_classes = held_out.probabilities.shape[1]
    cells, counts = np.unique(held_out.codes * n_classes + held_out.predicted, return_counts=True)
    return cells // n_classes, cells % n_classes, counts
