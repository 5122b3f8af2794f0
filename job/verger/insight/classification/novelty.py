"""The distance beyond which a photograph is none of the known classes, and how far that can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student_t

from verger.cores import available_cores
from verger.insight.arrays import BoolArray, Float32Array, Indices
from verger.insight.classification.evaluation import HeldOut
from verger.insight.folds import fit_reduction
from verger.insight.references import References
from verger.insight.sample import stratified
from verger.insight.splits import MAX_TRAINED_VALUES
from verger.insight.task import Task

FALSE_ALARMS = 0.05
"""Share of known photographs that are beyond the threshold."""
MAX_REFERENCES = 5_000
"""Known photographs that others are compared with, at most."""
MAX_JUDGED = 5_000
"""Known photographs that are judged, and unknown ones, at most."""
MIN_JUDGED = 50
"""Photographs of either sort below which nothing is measured."""
MIN_CLASSES = 3
"""Classes below which none can be left out, because two known ones must remain."""
N_FOLDS = 5
MAX_ROUNDS = 5
"""Times that the classes of few photographs are assigned to folds anew, to average the chance in it."""
WEAK_BELOW = 0.8
"""AUROC below which the evidence is weak."""
MIN_THRESHOLD = 1e-5
"""Ten times the distance that float32 resolves."""
N_DRAWS = 500
"""Of the bootstrap."""
_CONFIDENCE = 0.95
_FRACTION_NAMES = {3: "third", 4: "quarter", 5: "fifth"}


class TooFewPhotographsError(Exception):
    """There are too few photographs to set a threshold; its text says why."""


@dataclass(frozen=True, eq=False)
class NoveltyFold:
    """Known photographs, and others whose distance from them is measured.

    Attributes
    ----------
    training : ndarray of int64, shape (n,)
        Rows of the task: the known photographs.
    judged : ndarray of int64, shape (m,)
        Rows of the task: the others.
    is_unknown : ndarray of bool, shape (m,)
        Which of the others are of a class that is not among the known photographs.
    """

    training: Indices
    judged: Indices
    is_unknown: BoolArray


@dataclass(frozen=True, eq=False)
class Novelty:
    """The known photographs, and the distance from them beyond which a photograph is none of their classes.

    Attributes
    ----------
    references : References or None
        None where there is no threshold.
    summary : dict
        The manifest's ``none_of_these``: the threshold and what it is worth, or only ``absent``, why there is none.
    """

    references: References | None
    summary: dict[str, Any]

    def with_near_duplicates(self, share: float) -> Novelty:
        """The same, where many held-out photographs have a near-duplicate in Training.

        The threshold is too small then, and looks better than it is.

        Parameters
        ----------
        share : float
            Of the photographs that the folders' own split holds out.
        """
        if self.summary.get("split") != "own":
            return self
        says = f"{self.summary['says']}; {share:.0%} of the held-out photographs have a near-duplicate in Training"
        return replace(
            self, summary={**self.summary, "weak": True, "says": f"{says}: more known ones will be beyond it"}
        )


def measure(task: Task, held_out: HeldOut, components: Float32Array, codes: Indices) -> Novelty:
    """Set the threshold on known photographs that were held out, and test it on classes that are left out.

    Parameters
    ----------
    task : Task
        What is classified.
    held_out : HeldOut
        Its split is used, training part by training part.
    components : ndarray of float32, shape (n, k)
        Of the photographs of the run.
    codes : ndarray of int64, shape (n,)
        Their classes; -1 where one has none.

    Raises
    ------
    TooFewPhotographsError
        There is one component only, or fewer than `MIN_JUDGED` known photographs could be held out.
    """
    if components.shape[1] < 2:
        raise TooFewPhotographsError("one component has no directions that photographs could be compared by")
    number = _max_references(task)
    random = np.random.default_rng(task.seed)
    known, mixed = list(_known_folds(task, held_out, random)), list(_left_out_folds(task, held_out, random))
    with ThreadPoolExecutor(available_cores()) as pool:
        distances = list(pool.map(lambda fold: _distances(task, fold), [*known, *mixed]))
    known_distances = np.concatenate(distances[: len(known)])
    if len(known_distances) < MIN_JUDGED:
        raise TooFewPhotographsError(
            f"{len(known_distances)} photographs that were held out are too few to set a threshold on"
        )
    rows = np.flatnonzero(codes >= 0)
    rows = rows[stratified(codes[rows], number, random.random(len(rows)))]
    summary = {
        "threshold": round(max(MIN_THRESHOLD, float(np.quantile(known_distances, 1 - FALSE_ALARMS))), 6),
        "false_alarms": FALSE_ALARMS,
        "split": held_out.kind,
        "split_says": held_out.description,
        "n_references": len(rows),
        "n_held_out": len(known_distances),
        **_evaluate(task, mixed, distances[len(known) :]),
    }
    return Novelty(References.fit(components[rows], codes[rows]), summary)


def _max_references(task: Task) -> int:
    return max(2, min(MAX_REFERENCES, MAX_TRAINED_VALUES // int(task.features.shape[1])))


def _known_folds(task: Task, held_out: HeldOut, random: np.random.Generator) -> Iterator[NoveltyFold]:
    """Photographs of known classes, held out as for the classifier."""
    for training, test in held_out.parts:
        training = _draw(task, training, _max_references(task), random)
        judged = test[np.isin(task.codes[test], task.codes[training])]
        judged = _draw(task, judged, MAX_JUDGED // len(held_out.parts), random)
        yield NoveltyFold(training, judged, np.zeros(len(judged), bool))


def _left_out_folds(task: Task, held_out: HeldOut, random: np.random.Generator) -> Iterator[NoveltyFold]:
    """Photographs of classes that are left out, a fold of classes at a time, and held-out ones of known classes."""
    classes = np.unique(task.codes[task.codes >= 0])
    if len(classes) < MIN_CLASSES:
        return
    n_folds = min(N_FOLDS, len(classes))
    rounds = int(np.clip(MAX_JUDGED // len(task.codes), 1, MAX_ROUNDS))
    for number in range(rounds * n_folds):
        if number % n_folds == 0:
            folds_of_classes = np.array_split(random.permutation(classes), n_folds)
        part = held_out.parts[number % len(held_out.parts)]
        left_out = folds_of_classes[number % n_folds]
        # By the folders' own split, unknown photographs are of Test too: another camera may have taken it.
        candidates = part[1] if held_out.kind == "own" else np.arange(len(task.codes))
        unknown = candidates[np.isin(task.codes[candidates], left_out)]
        yield _leave_out(task, part, left_out, unknown, MAX_JUDGED // (rounds * n_folds), random)


def _leave_out(
    task: Task,
    part: tuple[Indices, Indices],
    left_out: Indices,
    unknown: Indices,
    number: int,
    random: np.random.Generator,
) -> NoveltyFold:
    """A training part without some classes; judged are what is held out of it, and photographs of these classes."""
    training, test = (rows[~np.isin(task.codes[rows], left_out)] for rows in part)
    training = _draw(task, training, _max_references(task), random)
    test = test[np.isin(task.codes[test], task.codes[training])]
    if task.groups is not None:  # photographs of one day resemble one another, whatever their class
        unknown = unknown[~np.isin(task.groups[unknown], task.groups[training])]
    test, unknown = (_draw(task, rows, number, random) for rows in (test, unknown))
    return NoveltyFold(training, np.concatenate([test, unknown]), np.arange(len(test) + len(unknown)) >= len(test))


def _draw(task: Task, rows: Indices, number: int, random: np.random.Generator) -> Indices:
    """A sample by class."""
    return rows[stratified(task.codes[rows], number, random.random(len(rows)))]


def _distances(task: Task, fold: NoveltyFold) -> Float32Array:
    """How far the judged photographs are from the nearest known one."""
    if not len(fold.judged) or len(fold.training) < 2:
        return np.full(len(fold.judged), 2, np.float32)
    reduction = fit_reduction(task, fold.training)
    known, judged = (reduction.transform(task.features[rows]) for rows in (fold.training, fold.judged))
    return References.fit(known, task.codes[fold.training]).distances(judged)


def _evaluate(task: Task, folds: list[NoveltyFold], distances: list[Float32Array]) -> dict[str, Any]:
    """How well the distance separates known photographs from those of classes that are left out."""
    unmeasured = dict.fromkeys(("auroc", "auroc_interval", "caught_at_5_percent", "caught_interval", "weak"))
    is_unknown = np.concatenate([np.zeros(0, bool), *(fold.is_unknown for fold in folds)])
    judged = np.concatenate([np.zeros(0, np.int64), *(fold.judged for fold in folds)])
    n_known, n_unknown = len(np.unique(judged[~is_unknown])), len(np.unique(judged[is_unknown]))
    n_classes = len(np.unique(task.codes[task.codes >= 0]))
    counts = {"n_known": n_known, "n_unknown": n_unknown, "n_classes": n_classes}
    if n_classes < MIN_CLASSES:
        return {**unmeasured, **counts, "says": f"not measured: of {n_classes} classes none can be left out"}
    if min(n_known, n_unknown) < MIN_JUDGED:
        says = f"not measured: {n_known:,} known and {n_unknown:,} unknown photographs are too few"
        return {**unmeasured, **counts, "says": says}
    auroc, caught, intervals = _intervals(np.concatenate(distances), is_unknown, task.codes[judged], task.seed)
    return {
        "auroc": round(auroc, 4),
        "auroc_interval": intervals[0],
        "caught_at_5_percent": round(caught, 4),
        "caught_interval": intervals[1],
        "weak": auroc < WEAK_BELOW,
        **counts,
        "says": f"measured on classes that were left out, a {_FRACTION_NAMES[min(N_FOLDS, n_classes)]} of "
        f"{n_classes:,} at a time; 95% intervals, by drawing classes again",
    }


def _intervals(
    distances: Float32Array, is_unknown: BoolArray, codes: Indices, seed: int
) -> tuple[float, float, list[list[float]]]:
    """AUROC, the share of unknown photographs beyond the threshold, and 95 % intervals of both.

    Photographs of one class are not independent, so whole classes are drawn with replacement (cluster bootstrap), known
    and unknown photographs together. The standard deviation over the draws is multiplied by Student's t with one degree
    of freedom fewer than there are classes. Where all draws agree, the interval is that of Clopper and Pearson for as
    many successes as there are classes.
    """
    rank = np.unique(distances, return_inverse=True)[1]
    classes, cluster = np.unique(codes, return_inverse=True)
    n_classes = len(classes)

    def counts_by_distance(copies: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Known and unknown photographs at each distance, each in so many copies."""
        return np.bincount(rank, copies * ~is_unknown), np.bincount(rank, copies * is_unknown)

    auroc, caught = auroc_and_caught(*counts_by_distance(np.ones(len(rank))))
    draws = np.random.default_rng(seed).multinomial(n_classes, np.full(n_classes, 1 / n_classes), N_DRAWS)
    counts = map(counts_by_distance, draws[:, cluster])
    found = np.array([auroc_and_caught(known, unknown) for known, unknown in counts if known.any() and unknown.any()])
    tail, deviation = (1 - _CONFIDENCE) / 2, found.std(axis=0)
    half_width = student_t.ppf(1 - tail, n_classes - 1) * np.sqrt(n_classes / (n_classes - 1)) * deviation
    half_width = np.where(deviation > 1e-9, half_width, 1 - tail ** (1 / n_classes))
    low, high = (np.clip([auroc, caught] + sign * half_width, 0, 1).round(4).tolist() for sign in (-1, 1))
    return auroc, caught, [list(ends) for ends in zip(low, high, strict=True)]


def auroc_and_caught(known: npt.NDArray[Any], unknown: npt.NDArray[Any]) -> tuple[float, float]:
    """How well a distance separates known from unknown photographs.

    It is what scikit-learn's ``roc_auc_score`` gives with sample weights, in a fortieth of the time: the bootstrap
    calls it 500 times.

    Parameters
    ----------
    known : ndarray, shape (n,)
        Known photographs at each of n distances, the smallest first.
    unknown : ndarray, shape (n,)
        Unknown photographs at the same distances.

    Returns
    -------
    auroc : float
        Probability that an unknown photograph is farther than a known one; equal distances count half.
    caught : float
        Share of the unknown photographs that are beyond all but `FALSE_ALARMS` of the known.
    """
    until = np.cumsum(known) / known.sum()
    before = np.concatenate([[0.0], until[:-1]])
    share = unknown / unknown.sum()
    return float((before + until) / 2 @ share), float(share[before >= 1 - FALSE_ALARMS].sum())
