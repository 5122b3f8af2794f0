"""How photographs are split into those that are fitted on and those that are held out; the most honest split first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from verger.insight.arrays import Indices
from verger.insight.sample import stratified
from verger.insight.task import Task

SplitKind = Literal["own", "grouped", "random"]
"""By the folders' own Training and Test, by whole groups, or at random."""
Folds = list[tuple[Indices, Indices]]
"""Rows of the task: a training part, and what is held out of it."""

N_FOLDS = 5
MAX_TRAINED = 8_000
"""Photographs in a training part, at most; of more, a sample by class is taken."""
MAX_TRAINED_VALUES = 12_000_000
"""Photographs times features in a training part, at most."""
MAX_TRAINED_LOGITS = 4_000_000
"""Photographs times classes in a training part, at most."""
_MAX_STRATIFIED_GROUPS = 5_000  # of more groups a random assignment is nearly stratified, and takes less time
_DESCRIPTIONS: dict[SplitKind, str] = {
    "own": "the photographs' own split: trained on Training, scored on {}",
    "grouped": "groups kept together: no group is on both sides",
    "random": "random split, optimistic: what looks alike may be on both sides",
}


@dataclass(frozen=True, eq=False)
class Split:
    """One way to hold photographs out.

    Attributes
    ----------
    kind : {"own", "grouped", "random"}
        How they are held out.
    description : str
        The same as a phrase for people.
    folds : list of (ndarray of int64, ndarray of int64)
        Rows of the task: a training part, and what is held out of it.
    """

    kind: SplitKind
    description: str
    folds: Folds


def possible_splits(task: Task) -> list[Split]:
    """The splits that the photographs allow.

    Parameters
    ----------
    task : Task
        At least two of its classes have two photographs each.

    Returns
    -------
    list of Split
        The most honest first: by the folders' own Training and Test, by groups, at random, which is always possible.
    """
    labelled = np.flatnonzero(task.codes >= 0)
    found = []
    if own := _own(task, labelled):
        found.append(own)
    if grouped := _grouped(task, labelled):
        found.append(Split("grouped", _DESCRIPTIONS["grouped"], grouped))
    return [*found, Split("random", _DESCRIPTIONS["random"], _random(task, labelled))]


def _own(task: Task, labelled: Indices) -> Split | None:
    """The folders' own split, where Training has at least half of the classes that are tested, and at least two."""
    names = np.array([name or "" for name in task.splits])[labelled]
    tested = next((name for name in ("Test", "Validation") if name in names), None)
    if tested is None:
        return None
    training, test = labelled[names == "Training"], labelled[names == tested]
    classes = np.unique(task.codes[test])
    shared = np.intersect1d(classes, task.codes[training])
    if len(shared) < 2 or 2 * len(shared) < len(classes) or not _share_no_group(task, training, test):
        return None
    return Split("own", _DESCRIPTIONS["own"].format(tested), [(training, test)])


def _share_no_group(task: Task, training: Indices, test: Indices) -> bool:
    return task.groups is None or not np.isin(task.groups[test], task.groups[training]).any()


def _grouped(task: Task, labelled: Indices) -> Folds | None:
    """Folds of whole groups, where at least half of the classes, and at least two, are in more than one fold."""
    if task.groups is None:
        return None
    groups, codes = task.groups[labelled], task.codes[labelled]
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return None
    splitter_class = StratifiedGroupKFold if n_groups <= _MAX_STRATIFIED_GROUPS else GroupKFold
    splitter = splitter_class(_n_folds(codes, n_groups), shuffle=True, random_state=task.seed)
    folds = [(labelled[training], labelled[test]) for training, test in splitter.split(codes, codes, groups)]
    shared = [np.intersect1d(task.codes[training], task.codes[test]) for training, test in folds]
    n_judged = len(np.unique(np.concatenate(shared)))
    return folds if n_judged > 1 and 2 * n_judged >= len(np.unique(codes)) else None


def _random(task: Task, labelled: Indices) -> Folds:
    codes = task.codes[labelled]
    splitter = StratifiedKFold(_n_folds(codes), shuffle=True, random_state=task.seed)
    return [(labelled[training], labelled[test]) for training, test in splitter.split(codes, codes)]


def _n_folds(codes: Indices, most: int = N_FOLDS) -> int:
    """No more folds than the largest class has photographs, as scikit-learn requires."""
    return min(N_FOLDS, most, max(2, int(np.bincount(codes).max())))


def bounded_folds(task: Task, folds: Folds) -> Folds:
    """Folds with bounded training parts, and without photographs that these cannot judge.

    Parameters
    ----------
    task : Task
        What the folds are of.
    folds : list of (ndarray of int64, ndarray of int64)
        Of a `Split`.

    Returns
    -------
    list of (ndarray of int64, ndarray of int64)
        A large training part is replaced by a sample by class. What is held out are photographs whose class is in the
        training part. Folds of fewer than two classes, or in which nothing is held out, are left out.
    """
    random = np.random.default_rng(task.seed)
    parts = [_bounded_training(task, training, random) for training, _ in folds]
    tests = [
        test[np.isin(task.codes[test], task.codes[training])] for training, (_, test) in zip(parts, folds, strict=True)
    ]
    return [
        (training, test)
        for training, test in zip(parts, tests, strict=True)
        if len(test) and len(np.unique(task.codes[training])) > 1
    ]


def _bounded_training(task: Task, rows: Indices, random: np.random.Generator) -> Indices:
    number = min(
        MAX_TRAINED, MAX_TRAINED_VALUES // task.features.shape[1], max_photographs(MAX_TRAINED_LOGITS, task.n_classes)
    )
    return rows[stratified(task.codes[rows], max(2, number), random.random(len(rows)), guaranteed=2)]


def max_photographs(max_logits: int, n_classes: int) -> int:
    """Photographs that a classifier may be fitted on within a bound of logits (photographs times classes).

    Parameters
    ----------
    max_logits : int
        The bound.
    n_classes : int
        Of n photographs at most n classes count, so that at least the square root of the bound is allowed.
    """
    return max(max_logits // n_classes, math.isqrt(max_logits))
