"""The first classifier: logistic regression on the components, and what it is worth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from verger.components.pca import Pca
from verger.config import AnalysisSettings
from verger.insight import folds, splits
from verger.insight.arrays import Indices
from verger.insight.classification import calibration, evaluation, novelty
from verger.insight.classification.evaluation import HeldOut, Score
from verger.insight.classification.novelty import Novelty
from verger.insight.model import DOCUMENT, Model
from verger.insight.names import natural
from verger.insight.sample import Sample, stratified
from verger.insight.task import Task, classes_of, task_of
from verger.storage.base import Storage
from verger.storage.uri import join

FITTED_LOGITS = 12_000_000
"""Photographs times classes that the final model is fitted on: all 200,000 up to 60 classes."""
MATRIX = 100
"""Classes up to which the confusion matrix is kept whole."""
CONFUSIONS = 500
"""Most frequent confusions that are kept in any case."""
FEW = 100
"""HeldOut-out photographs below which the headline is weak evidence."""
SEEN = 0.05
"""Share of them with a near-duplicate in Training from which it is."""
ELSEWHERE = (
    "scaler and PCA are those that run {} fitted; only the classifiers are fitted inside the training parts, and where "
    "that run had some of these photographs, the score may flatter a little"
)
"""Said where the PCA is another run's."""
UNLEARNT = -30.0
"""Logit of a class that the kept model has not seen: the highest is 0 or more, as all that it has seen add up to 0."""


class Given(NamedTuple):
    """A PCA, and the id of the run that fitted it."""

    run_id: str
    pca: Pca


class NothingToTellError(Exception):
    """The photographs allow no classifier; its text says why."""


@dataclass(frozen=True, eq=False)
class Classification:
    """A fitted classifier with its evaluation.

    Attributes
    ----------
    model : Model
        Fitted on all photographs of the sample that have a class.
    classes : list of str or None
        Of the sample's photographs, row by row.
    held : tuple of HeldOut
        By split, the most honest first; their rows are rows of the sample.
    scores : tuple of Score
        Of these.
    calibration : dict or None
        Of the most honest one.
    about : dict
        How it was made: patterns, numbers of photographs.
    novelty : Novelty
        From where on a photograph is none of the classes.
    note : str or None
        What a reader of the score must know of the kept model.
    near_duplicates_across : float or None
        Share of the photographs that the own split holds out that have a near-duplicate in Training, once the audit has
        told.
    """

    model: Model
    classes: list[str | None]
    held: tuple[HeldOut, ...]
    scores: tuple[Score, ...]
    calibration: dict[str, Any] | None
    about: dict[str, Any]
    novelty: Novelty
    note: str | None = None
    near_duplicates_across: float | None = None

    @property
    def weak_because(self) -> str | None:
        """Why the headline, random or not, is weak evidence; None where it is not."""
        headline, classes, seen = self.scores[0], len(self.model.classes), self.near_duplicates_across or 0
        reasons = []
        if seen >= SEEN:
            reasons.append(f"{seen:.0%} of the held-out photographs have a near-duplicate in Training")
        if not headline.beats_majority:
            reasons.append(f"always saying the most frequent class is right about as often ({headline.majority:.1%})")
        if headline.n_test < FEW:
            reasons.append(f"it rests on {headline.n_test} held-out photographs, fewer than {FEW}")
        if 2 * headline.n_classes_judged < classes:
            reasons.append(f"only {headline.n_classes_judged:,} of {classes:,} classes are judged")
        elif headline.n_test < headline.unjudged:
            reasons.append(f"{headline.unjudged:,} more photographs are not judged, whose classes were not trained on")
        return "; ".join(reasons) or None

    def beside(self, seen: npt.NDArray[np.bool_]) -> Classification:
        """The same, told which of the sample's photographs have a near-duplicate in Training: `audit.Audit.seen`."""
        if self.held[0].kind != "own":
            return replace(self, near_duplicates_across=None)
        share = float(seen[self.held[0].rows].mean())
        return replace(
            self, near_duplicates_across=share, novelty=self.novelty.beside(share) if share >= SEEN else self.novelty
        )

    @property
    def out_of_fold(self) -> HeldOut:
        """The predictions of random folds: a photograph's own kind is in the training part, so they tell its label."""
        return self.held[-1]

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        headline = self.scores[0]
        return {
            **self.about,
            **{name: headline.as_dict()[name] for name in ("split", "says", "n_test", "accuracy", "macro_f1")},
            "baselines": {
                "majority": round(headline.majority, 4),
                "nearest_centroid": round(headline.nearest_centroid, 4),
            },
            "optimistic": headline.split == "random",
            "weak": self.weak_because is not None,
            "weak_because": self.weak_because,
            "note": self.note,
            "near_duplicates_across": self.near_duplicates_across and round(self.near_duplicates_across, 4),
            "scores": [score.as_dict() for score in self.scores],
            "temperature": self.model.temperature,
            "calibration_error": self.calibration and self.calibration["ece"],
            "none_of_these": self.novelty.figures,
        }

    def document(self) -> dict[str, Any]:
        """All that is known of it, as JSON takes it; ``classifier.json``."""
        held, names = self.held[0], self.model.classes
        was, taken_for, counts = evaluation.confusions(held)
        wrong = np.flatnonzero(was != taken_for)
        wrong = wrong[np.argsort(-counts[wrong], kind="stable")][:CONFUSIONS]
        pairs = zip(was[wrong], taken_for[wrong], counts[wrong].tolist(), strict=True)
        few = len(names) <= MATRIX
        matrix = np.zeros((len(names), len(names)) if few else (0, 0), np.int64)
        if few:
            matrix[was, taken_for] = counts
        return {
            **self.summary(),
            "classes": names,
            "scale": self.model.scale,
            "by_class": [{"class": names[row.pop("code")], **row} for row in evaluation.by_class(held)],
            "confusions": [
                {"class": names[one], "taken_for": names[other], "photographs": count} for one, other, count in pairs
            ],
            "confusion_matrix": matrix.tolist() if few else None,
            "calibration": self.calibration,
        }

    def save(self, folder: str, storage: Storage) -> None:
        """Write what classifies, what is known, and, last, ``classifier.json``, which says how well."""
        text = json.dumps(self.document(), indent=2, ensure_ascii=False, allow_nan=False)
        self.model.save(folder, storage)
        if self.novelty.known:
            self.novelty.known.save(folder, storage)
        storage.write(join(folder, DOCUMENT), (text + "\n").encode())


def classify(
    sample: Sample,
    config: AnalysisSettings,
    warn: Callable[[str], None] = lambda _: None,
    given: Given | None = None,
) -> Classification:
    """Fit a classifier on the components of a run, and evaluate it.

    Parameters
    ----------
    sample : Sample
    config : AnalysisSettings
        ``class_regex`` says what of a label is the class, ``group_regex`` what of a path belongs together; ``seed`` and
        ``standardized`` are those of the run.
    warn : callable
        Told what of it could not be made, and which setting has no effect.
    given : Given, optional
        The run's PCA, where another run fitted it: the kept classifier works on its components, and so is scored.

    Raises
    ------
    NothingToTellError
        There are no two classes with two photographs each.
    """
    # A thread a fold: threads within its many small products would wait for one another longer than they compute.
    with threadpool_limits(1), folds.ignore_warnings():
        found = classes_of(sample.photographs["label"].to_pylist(), config.class_regex)
        names = _told_apart(found, sample, config.class_regex)
        number = {name: code for code, name in enumerate(names)}
        coded = np.array([number.get(name, -1) if name else -1 for name in found], np.int64)
        task = task_of(sample, coded, len(names), config, warn, given and given.pca)
        evaluated = evaluation.evaluate(task)
        if task.groups is not None and not any(held.kind == "grouped" for held in evaluated):
            warn(
                f"--group-regex '{config.group_regex}': most classes stand in one group alone, and cannot be judged so"
            )
        held = tuple(_on_sample(one, sample.featured) for one in evaluated)
        calibrated = calibration.calibrate(held[0])
        model, fitted_on = _fitted(sample, coded, names, calibrated["temperature"] if calibrated else 1.0, config.seed)
        about = {
            "n_classes": len(names),
            "class_regex": config.class_regex,
            "group_regex": config.group_regex,
            "n_groups": None if task.groups is None else len(np.unique(task.groups)),
            "n_photographs": fitted_on,
            "left_out": {
                "no_class": sum(name is None for name in found),
                "alone_in_its_class": int((coded < 0).sum()) - sum(name is None for name in found),
            },
            "sample": sample.stated,
        }
        novel = _novelty(task, evaluated, sample, coded, warn)
        scores, note = tuple(map(evaluation.score, held)), given and ELSEWHERE.format(given.run_id)
        return Classification(model, found, held, scores, calibrated, about, novel, note)


def _novelty(
    task: Task, evaluated: list[HeldOut], sample: Sample, coded: Indices, warn: Callable[[str], None]
) -> Novelty:
    """By the most honest split that holds out enough; what a classifier does without where it cannot be had."""
    enough = (held for held in evaluated if len(held.rows) >= novelty.JUDGED_FROM)
    try:
        return novelty.measure(task, next(enough, evaluated[-1]), sample.components, coded)
    except novelty.TooFewError as few:
        return Novelty(None, {"absent": str(few)})
    except Exception as error:
        warn(f"no threshold of 'none of these' was set: {type(error).__name__}: {error}")
        return Novelty(None, {"absent": "it could not be measured; the warnings say why"})


def _told_apart(found: list[str | None], sample: Sample, pattern: str | None) -> list[str]:
    """The classes that have two photographs at least among those that are evaluated."""
    counts = Counter(found[row] for row in sample.featured.tolist())
    names = sorted((name for name, count in counts.items() if name is not None and count > 1), key=natural)
    if len(names) > 1:
        return names
    have = len([name for name in counts if name is not None])
    if have > 1:
        raise NothingToTellError(f"of {have:,} classes, {len(names) or 'none'} has two photographs or more")
    if have == 0 and pattern is not None and sample.photographs["label"].null_count < len(found):
        raise NothingToTellError(f"no photograph has a class: --class-regex '{pattern}' matches no label")
    raise NothingToTellError("there is one class only" if have else "no photograph has a class")


def _on_sample(held: HeldOut, featured: Indices) -> HeldOut:
    return replace(held, rows=featured[held.rows])


def _fitted(sample: Sample, coded: Indices, names: list[str], temperature: float, seed: int) -> tuple[Model, int]:
    """The model that is kept, and the number of photographs it is fitted on: all that have a class, or a sample."""
    rows = np.flatnonzero(coded >= 0)
    ranks = np.random.default_rng(seed).random(len(rows))
    rows = rows[stratified(coded[rows], splits.bounded(FITTED_LOGITS, len(names)), ranks, first=2)]
    x = sample.components[rows]
    mean, scale = x.mean(axis=0, dtype=np.float64), folds.scale_of(x)
    x -= mean.astype(np.float32)
    x /= np.float32(scale)
    found = folds.fit_logistic(x, coded[rows])
    coefficients, intercepts = np.zeros((len(names), x.shape[1])), np.full(len(names), UNLEARNT * temperature)
    coefficients[found.classes_], intercepts[found.classes_] = folds.coefficients_of(found)
    return Model(names, mean, scale, coefficients, intercepts, temperature), len(rows)
