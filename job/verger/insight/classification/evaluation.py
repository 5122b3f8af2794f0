"""How well classes are told apart: on photographs that neither scaler, PCA nor classifier has seen, split by split."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import bdtrc
from sklearn.neighbors import NearestCentroid

from verger.cores import available_cores
from verger.insight.arrays import Float32Array, Indices
from verger.insight.folds import fit_fold
from verger.insight.splits import Folds, Kind, judged, splits
from verger.insight.task import Task

_BY_CHANCE = 0.025  # one side of a 95 % interval


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What was predicted of photographs that were held out.

    Attributes
    ----------
    kind : {"own", "grouped", "random"}
    says : str
        The split in words.
    folds : int
    rows : ndarray of int64, shape (m,)
        Which of the task's rows, ascending.
    codes : ndarray of int64, shape (m,)
        Their classes.
    probability : ndarray of float32, shape (m, classes)
    centroid : ndarray of int64, shape (m,)
        What the nearest centroid says.
    majority : int
        The most frequent class of all.
    n_train : int
        Photographs in the largest training part.
    unjudged : int
        HeldOut-out photographs that do not count, as their class stands in no training part.
    parts : tuple of (ndarray of int64, ndarray of int64)
        Rows of the task: of each training part, and of what was held out of it.
    """

    kind: Kind
    says: str
    folds: int
    rows: Indices
    codes: Indices
    probability: Float32Array
    centroid: Indices
    majority: int
    n_train: int
    unjudged: int
    parts: tuple[tuple[Indices, Indices], ...] = ()

    @property
    def predicted(self) -> Indices:
        """The most probable class of each row."""
        return np.asarray(self.probability.argmax(axis=1), np.int64)


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of one split, of the classes that were held out; ``majority`` and ``nearest_centroid``: baselines'."""

    split: Kind
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
        """Whether who always says the most frequent class would hardly (1 in 40) be right as often by chance."""
        right = round(self.accuracy * self.n_test)
        return right > 0 and float(bdtrc(right - 1, self.n_test, self.majority)) < _BY_CHANCE

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def evaluate(task: Task) -> list[HeldOut]:
    """Predictions by every split that the photographs allow, the most honest first.

    The photographs' own Training and Test where they share classes; folds of whole groups where groups are known; and
    random folds, always, to be held against the others.
    """
    return [held for split in splits(task) if (held := _held(task, *split))]


def _held(task: Task, kind: Kind, says: str, folds: Folds) -> HeldOut | None:
    """Fit on each training part and predict what was held out; None where no class is on both sides."""
    able = judged(task, folds)
    if not able:
        return None
    with ThreadPoolExecutor(available_cores()) as pool:
        parts = list(pool.map(lambda part: _predicted(task, *part), able))
    rows, probability, centroid = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(rows)
    rows = rows[order]
    return HeldOut(
        kind=kind,
        says=says,
        folds=len(folds),
        rows=rows,
        codes=task.codes[rows],
        probability=probability[order],
        centroid=centroid[order],
        majority=int(np.bincount(task.codes[task.codes >= 0]).argmax()),
        n_train=max(len(training) for training, _ in able),
        unjudged=sum(len(test) for _, test in folds) - len(rows),
        parts=tuple(able),
    )


def _predicted(task: Task, training: Indices, test: Indices) -> tuple[Indices, Float32Array, Indices]:
    """What one training part has taught, and baselines, applied to what was held out."""
    fold = fit_fold(task, training)
    known, unseen = (fold.reduction.components(task.features[rows]) for rows in (training, test))
    probability = np.zeros((len(test), task.n_classes), np.float32)
    probability[:, fold.model.classes_] = fold.model.predict_proba(unseen / fold.size)
    centroid = NearestCentroid().fit(known, task.codes[training]).predict(unseen)
    return test, probability, centroid


def score(held: HeldOut) -> Score:
    """Accuracy and macro F1 of what was held out, with the baselines' accuracies beside them."""
    predicted = held.predicted
    return Score(
        split=held.kind,
        says=held.says,
        folds=held.folds,
        n_train=held.n_train,
        n_test=len(held.rows),
        unjudged=held.unjudged,
        n_classes_judged=len(np.unique(held.codes)),
        accuracy=float((predicted == held.codes).mean()),
        macro_f1=float(np.mean([row["f1"] for row in by_class(held)])),
        majority=float(np.mean(held.codes == held.majority)),
        nearest_centroid=float((held.centroid == held.codes).mean()),
    )


def by_class(held: HeldOut) -> list[dict[str, Any]]:
    """Precision, recall and F1 of every class that was held out, by its code."""
    predicted, size = held.predicted, held.probability.shape[1]
    right = np.bincount(held.codes[predicted == held.codes], minlength=size)
    said, is_ = np.bincount(predicted, minlength=size), np.bincount(held.codes, minlength=size)
    return [
        {
            "code": int(code),
            "photographs": int(is_[code]),
            "precision": round(right[code] / said[code], 4) if said[code] else None,
            "recall": round(right[code] / is_[code], 4),
            "f1": round(2 * right[code] / (said[code] + is_[code]), 4),
        }
        for code in np.flatnonzero(is_)
    ]


def confusions(held: HeldOut) -> tuple[Indices, Indices, Indices]:
    """The pairs of classes that there are, by class: which one was, which it was taken for, and how often."""
    size = held.probability.shape[1]
    pairs, counts = np.unique(held.codes * size + held.predicted, return_counts=True)
    return pairs // size, pairs % size, counts
