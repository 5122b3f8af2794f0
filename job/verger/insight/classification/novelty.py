"""From which distance on a photograph is none of the known classes, and how far that can be believed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from verger.cores import available_cores
from verger.insight.arrays import Float32Array, Indices
from verger.insight.classification.evaluation import HeldOut
from verger.insight.folds import reduction_of
from verger.insight.references import References
from verger.insight.sample import stratified
from verger.insight.splits import TRAINED_NUMBERS
from verger.insight.task import Task

FALSE_ALARMS = 0.05
"""Share of known photographs that the threshold takes for unknown ones."""
REFERENCES = 5_000
"""References photographs that others are compared with, at most."""
JUDGED = 5_000
"""References photographs that are held out, and unknown ones, at most."""
JUDGED_FROM = 50
"""Photographs of either kind below which nothing is said of them."""
CLASSES_FROM = 3
"""Classes below which none can be left out: two that are known must remain."""
FOLDS = 5
ROUNDS = 5
"""So often few photographs are dealt to the folds anew, as chance in the dealing weighs more there."""
WEAK_BELOW = 0.8
"""AUROC below which the evidence is weak."""
LEAST = 1e-5
"""Least threshold: what float32 tells apart, ten times over."""
DRAWS = 500
_CONFIDENCE = 0.95
_NTH = {3: "third", 4: "quarter", 5: "fifth"}


class TooFewError(Exception):
    """There are too few photographs for a threshold; its text says so."""


@dataclass(frozen=True, eq=False)
class NoveltyFold:
    """Photographs that are held against known ones.

    Attributes
    ----------
    training : ndarray of int64, shape (n,)
        Rows of the task: the known ones.
    judged : ndarray of int64, shape (m,)
    unknown : ndarray of bool, shape (m,)
        Which of these are of a class that is not known.
    """

    training: Indices
    judged: Indices
    unknown: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Novelty:
    """What is known, and from where on a photograph is none of it.

    Attributes
    ----------
    known : References or None
    figures : dict
        The threshold, and what is known of its worth, or only ``absent``, why there is none; the manifest's
        ``none_of_these``.
    """

    known: References | None
    figures: dict[str, Any]

    def beside(self, seen: float) -> Novelty:
        """The same, told that this share of what the own split holds out has a near-duplicate in Training.

        A threshold on such photographs is too tight, and its worth flattered.
        """
        if self.figures.get("split") != "own":
            return self
        says = f"{self.figures['says']}; {seen:.0%} of the held-out photographs have a near-duplicate in Training"
        return replace(
            self, figures={**self.figures, "weak": True, "says": f"{says}: more known ones will be beyond it"}
        )


def measure(task: Task, held: HeldOut, components: Float32Array, codes: Indices) -> Novelty:
    """Set the threshold on known photographs that were held out, and test it on classes that were left out.

    Parameters
    ----------
    task : Task
    held : HeldOut
        Its split is taken, training part by training part.
    components, codes : ndarray, shape (n, k) and (n,)
        Of the photographs of the run; -1 where one has no class.

    Raises
    ------
    TooFewError
        There is one component, or fewer than `JUDGED_FROM` known photographs could be held out.
    """
    if components.shape[1] < 2:
        raise TooFewError("one component has no directions that photographs could be compared by")
    number = _references(task)
    random = np.random.default_rng(task.seed)
    inside, outside = list(_inside(task, held, random)), list(_outside(task, held, random))
    with ThreadPoolExecutor(available_cores()) as pool:
        parts = list(pool.map(lambda fold: _distances(task, fold), [*inside, *outside]))
    distances = np.concatenate(parts[: len(inside)])
    if len(distances) < JUDGED_FROM:
        raise TooFewError(f"{len(distances)} photographs that were held out are too few to set a threshold on")
    rows = np.flatnonzero(codes >= 0)
    rows = rows[stratified(codes[rows], number, random.random(len(rows)))]
    figures = {
        "threshold": round(max(LEAST, float(np.quantile(distances, 1 - FALSE_ALARMS))), 6),
        "false_alarms": FALSE_ALARMS,
        "split": held.kind,
        "split_says": held.says,
        "n_references": len(rows),
        "n_held_out": len(distances),
        **_worth(task, outside, parts[len(inside) :]),
    }
    return Novelty(References.of(components[rows], codes[rows]), figures)


def _references(task: Task) -> int:
    return max(2, min(REFERENCES, TRAINED_NUMBERS // int(task.features.shape[1])))


def _inside(task: Task, held: HeldOut, random: np.random.Generator) -> Iterator[NoveltyFold]:
    """References photographs alone, held out as the classifier's were."""
    for training, test in held.parts:
        known = _drawn(task, training, _references(task), random)
        judged = test[np.isin(task.codes[test], task.codes[known])]
        judged = _drawn(task, judged, JUDGED // len(held.parts), random)
        yield NoveltyFold(known, judged, np.zeros(len(judged), bool))


def _outside(task: Task, held: HeldOut, random: np.random.Generator) -> Iterator[NoveltyFold]:
    """Classes left out, a fold of them at a time, beside known photographs that were held out of the same part."""
    classes = np.unique(task.codes[task.codes >= 0])
    if len(classes) < CLASSES_FROM:
        return
    folds = min(FOLDS, len(classes))
    rounds = int(np.clip(JUDGED // len(task.codes), 1, ROUNDS))
    for number in range(rounds * folds):
        if number % folds == 0:
            dealt = np.array_split(random.permutation(classes), folds)
        part = held.parts[number % len(held.parts)]
        left = dealt[number % folds]
        # Where a folder says what is unseen, unknown photographs are of it too: it may be of another camera.
        sought = part[1] if held.kind == "own" else np.arange(len(task.codes))
        unknown = sought[np.isin(task.codes[sought], left)]
        yield _without(task, part, left, unknown, JUDGED // (rounds * folds), random)


def _without(
    task: Task, part: tuple[Indices, Indices], left: Indices, unknown: Indices, number: int, random: np.random.Generator
) -> NoveltyFold:
    """A training part that lacks some classes, what was held out of it, and photographs of these classes."""
    training, test = (rows[~np.isin(task.codes[rows], left)] for rows in part)
    training = _drawn(task, training, _references(task), random)
    test = test[np.isin(task.codes[test], task.codes[training])]
    if task.groups is not None:  # a day that is known tells of all that was photographed on it
        unknown = unknown[~np.isin(task.groups[unknown], task.groups[training])]
    test, unknown = (_drawn(task, rows, number, random) for rows in (test, unknown))
    return NoveltyFold(training, np.concatenate([test, unknown]), np.arange(len(test) + len(unknown)) >= len(test))


def _drawn(task: Task, rows: Indices, number: int, random: np.random.Generator) -> Indices:
    """A sample by class."""
    return rows[stratified(task.codes[rows], number, random.random(len(rows)))]


def _distances(task: Task, fold: NoveltyFold) -> Float32Array:
    """How far the judged photographs of a trial are from its known ones."""
    if not len(fold.judged) or len(fold.training) < 2:
        return np.full(len(fold.judged), 2, np.float32)
    reduction = reduction_of(task, fold.training)
    known, judged = (reduction.components(task.features[rows]) for rows in (fold.training, fold.judged))
    return References.of(known, task.codes[fold.training]).distances(judged)


def _worth(task: Task, folds: list[NoveltyFold], parts: list[Float32Array]) -> dict[str, Any]:
    """How well distances part known photographs from those of classes that were left out."""
    nothing = dict.fromkeys(("auroc", "auroc_interval", "caught_at_5_percent", "caught_interval", "weak"))
    unknown = np.concatenate([np.zeros(0, bool), *(fold.unknown for fold in folds)])
    judged = np.concatenate([np.zeros(0, np.int64), *(fold.judged for fold in folds)])
    n_known, n_unknown = len(np.unique(judged[~unknown])), len(np.unique(judged[unknown]))
    counts = {"n_known": n_known, "n_unknown": n_unknown, "n_classes": len(np.unique(task.codes[task.codes >= 0]))}
    if counts["n_classes"] < CLASSES_FROM:
        return {**nothing, **counts, "says": f"not measured: of {counts['n_classes']} classes none can be left out"}
    if min(n_known, n_unknown) < JUDGED_FROM:
        says = f"not measured: {n_known:,} known and {n_unknown:,} unknown photographs are too few"
        return {**nothing, **counts, "says": says}
    auroc, caught, intervals = _intervals(np.concatenate(parts), unknown, task.codes[judged], task.seed)
    return {
        "auroc": round(auroc, 4),
        "auroc_interval": intervals[0],
        "caught_at_5_percent": round(caught, 4),
        "caught_interval": intervals[1],
        "weak": auroc < WEAK_BELOW,
        **counts,
        "says": f"measured on classes that were left out, a {_NTH[min(FOLDS, counts['n_classes'])]} of "
        f"{counts['n_classes']:,} at a time; 95% intervals, by drawing classes again",
    }


def _intervals(
    distances: Float32Array, unknown: npt.NDArray[np.bool_], codes: Indices, seed: int
) -> tuple[float, float, list[list[float]]]:
    """AUROC, the share of unknown photographs that is caught, and 95 % intervals of both.

    Photographs of a class are no independent evidence: whole classes are drawn with replacement (cluster bootstrap),
    known and unknown photographs of a class together, and the standard deviation over the draws is taken times
    Student's t of as many degrees of freedom as there are classes, less one. Where no draw differs from another, the
    interval is the exact one of as many classes without an exception (Clopper and Pearson).
    """
    at = np.unique(distances, return_inverse=True)[1]
    classes, cluster = np.unique(codes, return_inverse=True)
    number = len(classes)

    def drawn(weight: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """References and unknown photographs at each distance, in so many copies each."""
        return np.bincount(at, weight * ~unknown), np.bincount(at, weight * unknown)

    auroc, caught = parted(*drawn(np.ones(len(at))))
    draws = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), DRAWS)
    pairs = map(drawn, draws[:, cluster])
    found = np.array([parted(*pair) for pair in pairs if pair[0].any() and pair[1].any()])
    tail, spread = (1 - _CONFIDENCE) / 2, found.std(axis=0)
    reach = stdtrit(number - 1, 1 - tail) * np.sqrt(number / (number - 1)) * spread
    reach = np.where(spread > 1e-9, reach, 1 - tail ** (1 / number))
    low, high = (np.clip([auroc, caught] + sign * reach, 0, 1).round(4).tolist() for sign in (-1, 1))
    return auroc, caught, [list(ends) for ends in zip(low, high, strict=True)]


def parted(known: npt.NDArray[Any], unknown: npt.NDArray[Any]) -> tuple[float, float]:
    """AUROC, and the share of the unknown beyond all but `FALSE_ALARMS` of the known.

    Parameters
    ----------
    known, unknown : ndarray, shape (n,)
        How many photographs there are at each of n distances, the near ones first; of two that are equally far, each is
        half before the other.
    """
    until = np.cumsum(known) / known.sum()
    before = np.concatenate([[0.0], until[:-1]])
    share = unknown / unknown.sum()
    return float((before + until) / 2 @ share), float(share[before >= 1 - FALSE_ALARMS].sum())
