"""How photographs are split into those that are fitted on and those that are held out, the most honest way first."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

from verger.insight.arrays import Indices
from verger.insight.sample import stratified
from verger.insight.task import Task

Kind = Literal["own", "grouped", "random"]
Folds = list[tuple[Indices, Indices]]

FOLDS = 5
TRAINED = 8_000
"""Photographs in a training part; the rest of it is left out, by class."""
TRAINED_NUMBERS = 12_000_000
"""Features in a training part."""
TRAINED_LOGITS = 4_000_000
"""Photographs times classes in a training part."""
_STRATIFIED_GROUPS = 5_000  # dealing more of them evenly takes longer than it is worth: chance does it too
_SAYS: dict[Kind, str] = {
    "own": "the photographs' own split: trained on Training, scored on {}",
    "grouped": "groups kept together: no group is on both sides",
    "random": "random split, optimistic: what looks alike may be on both sides",
}


def splits(task: Task) -> list[tuple[Kind, str, Folds]]:
    """The splits that the photographs allow, the most honest first: kind, the same in words, and folds."""
    labelled = np.flatnonzero(task.codes >= 0)
    found: list[tuple[Kind, str, Folds]] = []
    if own := _own(task, labelled):
        found.append(("own", *own))
    if grouped := _grouped(task, labelled):
        found.append(("grouped", _SAYS["grouped"], grouped))
    return [*found, ("random", _SAYS["random"], _random(task, labelled))]


def _own(task: Task, labelled: Indices) -> tuple[str, Folds] | None:
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


def _apart(task: Task, training: Indices, test: Indices) -> bool:
    """Whether no known group is on both sides: where one is, the photographs' own split is no honest one."""
    return task.groups is None or not np.isin(task.groups[test], task.groups[training]).any()


def _grouped(task: Task, labelled: Indices) -> Folds | None:
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


def _folds(codes: Indices, most: int = FOLDS) -> int:
    """So many folds as the largest class can be dealt to, as scikit-learn asks for."""
    return min(FOLDS, most, max(2, int(np.bincount(codes).max())))


def _random(task: Task, labelled: Indices) -> Folds:
    codes = task.codes[labelled]
    splitter = StratifiedKFold(_folds(codes), shuffle=True, random_state=task.seed)
    return [(labelled[a], labelled[b]) for a, b in splitter.split(codes, codes)]


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


def _training(task: Task, rows: Indices, random: np.random.Generator) -> Indices:
    """A training part, or a sample of it by class."""
    number = min(TRAINED, TRAINED_NUMBERS // task.features.shape[1], bounded(TRAINED_LOGITS, task.n_classes))
    return rows[stratified(task.codes[rows], max(2, number), random.random(len(rows)), first=2)]


def bounded(logits: int, classes: int) -> int:
    """So many photographs have no more logits than this; of n photographs, n classes at most count."""
    return max(logits // classes, math.isqrt(logits))
