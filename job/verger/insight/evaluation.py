"""How well classes are told apart: on photographs that neither scaler, PCA nor classifier has seen, split by split."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import NearestCentroid

from verger.cores import available_cores
from verger.insight.reduction import Reduction
from verger.insight.sample import Numbers, Places, moments, stratified

Kind = Literal["own", "grouped", "random"]
Folds = list[tuple[Places, Places]]

FOLDS = 5
TRAINED = 8_000
"""Photographs in a training part; the rest of it is left out, by class."""
TRAINED_NUMBERS = 12_000_000
"""Features in a training part."""
TRAINED_LOGITS = 4_000_000
"""Photographs times classes in a training part."""
_BY_CHANCE = 0.025  # one side of a 95 % interval
_STRATIFIED_GROUPS = 5_000  # dealing more of them evenly takes longer than it is worth: chance does it too
_SAYS: dict[Kind, str] = {
    "own": "the photographs' own split: trained on Training, scored on {}",
    "grouped": "groups kept together: no group is on both sides",
    "random": "random split, optimistic: what looks alike may be on both sides",
}


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be told apart.

    Attributes
    ----------
    features : ndarray of float32, shape (n, d)
    codes : ndarray of int64, shape (n,)
        The class of each row; -1 where it has none.
    n_classes : int
    splits : list of str or None
        What folders say: ``Training``, ``Test``, ...
    groups : ndarray of int64, shape (n,), or None
        What belongs together; None where nobody has said it.
    n_components : int
        Of the PCA.
    standardize : bool
        Whether features are divided by their standard deviation before it.
    seed : int
    given : Reduction, optional
        Scaler and PCA that were fitted elsewhere; without them, they are fitted to each training part.
    """

    features: Numbers
    codes: Places
    n_classes: int
    splits: list[str | None]
    groups: Places | None
    n_components: int
    standardize: bool
    seed: int
    given: Reduction | None = None


@dataclass(frozen=True, eq=False)
class Held:
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
        Held-out photographs that do not count, as their class stands in no training part.
    parts : tuple of (ndarray of int64, ndarray of int64)
        Rows of the task: of each training part, and of what was held out of it.
    """

    kind: Kind
    says: str
    folds: int
    rows: Places
    codes: Places
    probability: Numbers
    centroid: Places
    majority: int
    n_train: int
    unjudged: int
    parts: tuple[tuple[Places, Places], ...] = ()

    @property
    def predicted(self) -> Places:
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


@contextmanager
def quietly() -> Iterator[None]:
    """Without scikit-learn's warnings, which are no fault of the user's.

    A class is small, which the score says; a feature does not vary within one; a fit has come close enough when its
    steps are used up. For whoever starts the threads of a fit: filters are one for all threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def evaluate(task: Task) -> list[Held]:
    """Predictions by every split that the photographs allow, the most honest first.

    The photographs' own Training and Test where they share classes; folds of whole groups where groups are known; and
    random folds, always, to be held against the others.
    """
    return [held for split in splits(task) if (held := _held(task, *split))]


def splits(task: Task) -> list[tuple[Kind, str, Folds]]:
    """The splits that the photographs allow, the most honest first: kind, the same in words, and folds."""
    labelled = np.flatnonzero(task.codes >= 0)
    found: list[tuple[Kind, str, Folds]] = []
    if own := _own(task, labelled):
        found.append(("own", *own))
    if grouped := _grouped(task, labelled):
        found.append(("grouped", _SAYS["grouped"], grouped))
    return [*found, ("random", _SAYS["random"], _random(task, labelled))]


def _own(task: Task, labelled: Places) -> tuple[str, Folds] | None:
    """The photographs' own split, where Training has at least half of the classes that are tested, and two."""
    names = np.array([name or "" for name in task.splits])[labelled]
    tested = next((name for name in ("Test", "Validation") if name in names), None)
    if tested is None:
        return None
    training, test = labelled[names == "Training"], labelled[names == tested]
    classes = np.unique(task.codes[test])
    shared = np.intersect1d(classes, task.codes[training])
    if len(shared) < 2 or 2 * len(shared) < len(classes) or not _apart(task, training, test):
        return None
    return _SAYS["own"].format(tested), [(training, test)]


def _apart(task: Task, training: Places, test: Places) -> bool:
    """Whether no known group is on both sides: where one is, the photographs' own split is no honest one."""
    return task.groups is None or not np.isin(task.groups[test], task.groups[training]).any()


def _grouped(task: Task, labelled: Places) -> Folds | None:
    """Folds of whole groups, where at least half of the classes, and two, stand in more than one fold."""
    if task.groups is None:
        return None
    groups, codes = task.groups[labelled], task.codes[labelled]
    number = len(np.unique(groups))
    if number < 2:
        return None
    folds = _folds(codes, number)
    few = number <= _STRATIFIED_GROUPS
    splitter = (StratifiedGroupKFold if few else GroupKFold)(folds, shuffle=True, random_state=task.seed)
    found = [(labelled[a], labelled[b]) for a, b in splitter.split(codes, codes, groups)]
    shared = [np.intersect1d(task.codes[training], task.codes[test]) for training, test in found]
    judged = len(np.unique(np.concatenate(shared)))
    return found if judged > 1 and 2 * judged >= len(np.unique(codes)) else None


def _folds(codes: Places, most: int = FOLDS) -> int:
    """So many folds as the largest class can be dealt to, as scikit-learn asks for."""
    return min(FOLDS, most, max(2, int(np.bincount(codes).max())))


def _random(task: Task, labelled: Places) -> Folds:
    codes = task.codes[labelled]
    splitter = StratifiedKFold(_folds(codes), shuffle=True, random_state=task.seed)
    return [(labelled[a], labelled[b]) for a, b in splitter.split(codes, codes)]


def _held(task: Task, kind: Kind, says: str, folds: Folds) -> Held | None:
    """Fit on each training part and predict what was held out; None where no class is on both sides."""
    able = judged(task, folds)
    if not able:
        return None
    with ThreadPoolExecutor(available_cores()) as pool:
        parts = list(pool.map(lambda part: _predicted(task, *part), able))
    rows, probability, centroid = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(rows)
    rows = rows[order]
    return Held(
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


def judged(task: Task, folds: Folds) -> Folds:
    """Of each fold what is fitted on, sampled by class where it is much, and what can be judged by that."""
    random = np.random.default_rng(task.seed)
    trained = [_training(task, training, random) for training, _ in folds]
    tested = [
        test[np.isin(task.codes[test], task.codes[training])]
        for training, (_, test) in zip(trained, folds, strict=True)
    ]
    return [
        part for part in zip(trained, tested, strict=True) if len(part[1]) and len(np.unique(task.codes[part[0]])) > 1
    ]


def _training(task: Task, rows: Places, random: np.random.Generator) -> Places:
    """A training part, or a sample of it by class."""
    number = min(TRAINED, TRAINED_NUMBERS // task.features.shape[1], bounded(TRAINED_LOGITS, task.n_classes))
    return rows[stratified(task.codes[rows], max(2, number), random.random(len(rows)), first=2)]


def bounded(logits: int, classes: int) -> int:
    """So many photographs have no more logits than this; of n photographs, n classes at most count."""
    return max(logits // classes, math.isqrt(logits))


@dataclass(frozen=True, eq=False)
class Taught:
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


def reduction_of(task: Task, training: Places) -> Reduction:
    """Scaler and PCA, fitted to one training part where the task gives none."""
    if task.given is not None:
        return task.given
    x = task.features[training]
    return Reduction.fit(x, max(1, min(task.n_components, len(x) - 1, x.shape[1])), task.standardize, task.seed)


def teach(task: Task, training: Places) -> Taught:
    """Fit scaler, PCA and classifier to one training part."""
    reduction = reduction_of(task, training)
    x = reduction.components(task.features[training])
    size = scale_of(x)
    return Taught(reduction, size, fitted(x / size, task.codes[training]))


def _predicted(task: Task, training: Places, test: Places) -> tuple[Places, Numbers, Places]:
    """What one training part has taught, and baselines, applied to what was held out."""
    taught = teach(task, training)
    known, unseen = (taught.reduction.components(task.features[rows]) for rows in (training, test))
    probability = np.zeros((len(test), task.n_classes), np.float32)
    probability[:, taught.model.classes_] = taught.model.predict_proba(unseen / taught.size)
    centroid = NearestCentroid().fit(known, task.codes[training]).predict(unseen)
    return test, probability, centroid


def fitted(x: npt.NDArray[np.floating], y: Places) -> LogisticRegression:
    """Multinomial logistic regression, with the penalty that suits components of size one."""
    return LogisticRegression(C=1.0, tol=1e-3, max_iter=200).fit(x, y)


def scale_of(components: npt.NDArray[np.floating]) -> float:
    """One number for all components: each keeps its share of the variance, and the penalty its meaning."""
    return float(np.sqrt(np.square(moments(components)[1]).mean())) or 1.0


def score(held: Held) -> Score:
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


def by_class(held: Held) -> list[dict[str, Any]]:
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


def confusions(held: Held) -> tuple[Places, Places, Places]:
    """The pairs of classes that there are, by class: which one was, which it was taken for, and how often."""
    size = held.probability.shape[1]
    pairs, counts = np.unique(held.codes * size + held.predicted, return_counts=True)
    return pairs // size, pairs % size, counts
