"""The first classifier: logistic regression on the components, and what its score is worth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from verger.components.pca import Pca
from verger.config import AnalysisSettings
from verger.insight import folds
from verger.insight.arrays import BoolArray, Indices
from verger.insight.classification import calibration, evaluation, novelty
from verger.insight.classification.evaluation import HeldOut, Score
from verger.insight.classification.novelty import Novelty
from verger.insight.evidence import MIN_HELD_OUT
from verger.insight.model import DOCUMENT, Model
from verger.insight.names import natural_key
from verger.insight.sample import Sample, stratified
from verger.insight.splits import max_photographs
from verger.insight.task import Task, classes_of, codes_of, task_of
from verger.storage.base import Storage
from verger.storage.uri import join

MAX_FITTED_LOGITS = 12_000_000
"""Photographs times classes that the kept model is fitted on, at most: all 200,000 of a sample up to 60 classes."""
MAX_MATRIX_CLASSES = 100
"""Classes up to which the whole confusion matrix is kept."""
MAX_CONFUSIONS = 500
"""Confusions that are kept in any case, the most frequent."""
MAX_NEAR_DUPLICATES = 0.05
"""Share of the held-out photographs with a near-duplicate in Training from which a score is weak evidence."""
FOREIGN_PCA_NOTE = (
    "scaler and PCA are those that run {} fitted; only the classifiers are fitted inside the training parts, and where "
    "that run had some of these photographs, the score may flatter a little"
)
"""Note where another run fitted the PCA."""
UNSEEN_LOGIT = -30.0
"""Logit of a class that the kept model was not fitted on. The highest logit is 0 or more, because those of the other
classes sum to 0."""


class ForeignPca(NamedTuple):
    """A PCA that another run fitted.

    Attributes
    ----------
    run_id : str
        Of that run.
    pca : Pca
        Whose components the run's table has.
    """

    run_id: str
    pca: Pca


class NoClassifierError(Exception):
    """The photographs allow no classifier; its text says why."""


@dataclass(frozen=True, eq=False)
class Classification:
    """A fitted classifier with its evaluation.

    Attributes
    ----------
    model : Model
        Fitted on all photographs of the sample that have a class, or on a sample of them.
    held_out : tuple of HeldOut
        Predictions by split, the most honest first; their rows are rows of the sample's photographs.
    scores : tuple of Score
        Of ``held_out``.
    calibration : dict or None
        Of the most honest split, as `calibration.calibrate` gives it.
    details : dict
        How the classifier was made, as the manifest has it.
    novelty : Novelty
        The threshold beyond which a photograph is none of the classes.
    note : str or None
        What else a reader of the score must know.
    near_duplicates_across : float or None
        Share of the photographs that the folders' own split holds out with a near-duplicate in Training. None before
        the audit, and for other splits.
    """

    model: Model
    held_out: tuple[HeldOut, ...]
    scores: tuple[Score, ...]
    calibration: dict[str, Any] | None
    details: dict[str, Any]
    novelty: Novelty
    note: str | None = None
    near_duplicates_across: float | None = None

    @property
    def weak_because(self) -> str | None:
        """Why the first score is weak evidence; None where it is not. A random split is no reason."""
        first, n_classes, leaked = self.scores[0], len(self.model.classes), self.near_duplicates_across or 0
        reasons = []
        if leaked >= MAX_NEAR_DUPLICATES:
            reasons.append(f"{leaked:.0%} of the held-out photographs have a near-duplicate in Training")
        if not first.beats_majority:
            reasons.append(f"always predicting the most frequent class is about as accurate ({first.majority:.1%})")
        if first.n_test < MIN_HELD_OUT:
            reasons.append(f"it rests on {first.n_test} held-out photographs, fewer than {MIN_HELD_OUT}")
        if 2 * first.n_classes_judged < n_classes:
            reasons.append(f"only {first.n_classes_judged:,} of {n_classes:,} classes are judged")
        elif first.n_test < first.unjudged:
            reasons.append(f"{first.unjudged:,} more photographs are not judged, whose classes were not trained on")
        return "; ".join(reasons) or None

    @property
    def random_folds(self) -> HeldOut:
        """The predictions of random folds.

        They are the best evidence against a label: similar photographs of the right class are in the training part.
        """
        return self.held_out[-1]

    def with_near_duplicates(self, seen_in_training: BoolArray) -> Classification:
        """The same, with what the audit has found about the held-out photographs.

        Parameters
        ----------
        seen_in_training : ndarray of bool, shape (n,)
            Which of the sample's photographs are held out and have a near-duplicate in Training.
        """
        if self.held_out[0].kind != "own":
            return replace(self, near_duplicates_across=None)
        share = float(seen_in_training[self.held_out[0].rows].mean())
        novelty = self.novelty.with_near_duplicates(share) if share >= MAX_NEAR_DUPLICATES else self.novelty
        return replace(self, near_duplicates_across=share, novelty=novelty)

    def summary(self) -> dict[str, Any]:
        """The manifest's ``classifier``, but for its path."""
        first = self.scores[0]
        return {
            **self.details,
            **{name: first.as_dict()[name] for name in ("split", "says", "n_test", "accuracy", "macro_f1")},
            "baselines": {
                "majority": round(first.majority, 4),
                "nearest_centroid": round(first.nearest_centroid, 4),
            },
            "optimistic": first.split == "random",
            "weak": self.weak_because is not None,
            "weak_because": self.weak_because,
            "note": self.note,
            "near_duplicates_across": self.near_duplicates_across and round(self.near_duplicates_across, 4),
            "scores": [score.as_dict() for score in self.scores],
            "temperature": self.model.temperature,
            "calibration_error": self.calibration and self.calibration["ece"],
            "none_of_these": self.novelty.summary,
        }

    def document(self) -> dict[str, Any]:
        """Everything that ``classifier.json`` says: the summary, the classes, and scores of each class."""
        held_out, names = self.held_out[0], self.model.classes
        codes, predicted, counts = evaluation.confusions(held_out)
        wrong = np.flatnonzero(codes != predicted)
        wrong = wrong[np.argsort(-counts[wrong], kind="stable")][:MAX_CONFUSIONS]
        confused = zip(codes[wrong], predicted[wrong], counts[wrong].tolist(), strict=True)
        matrix = None
        if len(names) <= MAX_MATRIX_CLASSES:
            cells = np.zeros((len(names), len(names)), np.int64)
            cells[codes, predicted] = counts
            matrix = cells.tolist()
        return {
            **self.summary(),
            "classes": names,
            "scale": self.model.scale,
            "by_class": [{"class": names[row.pop("code")], **row} for row in evaluation.scores_by_class(held_out)],
            "confusions": [
                {"class": names[one], "taken_for": names[other], "photographs": count} for one, other, count in confused
            ],
            "confusion_matrix": matrix,
            "calibration": self.calibration,
        }

    def save(self, folder: str, storage: Storage) -> None:
        """Write the model, the references of 'none of these', and last ``classifier.json``, which describes them.

        Parameters
        ----------
        folder : str
            Canonical URI.
        storage : Storage
            That the folder is in.
        """
        text = json.dumps(self.document(), indent=2, ensure_ascii=False, allow_nan=False)
        self.model.save(folder, storage)
        if self.novelty.references:
            self.novelty.references.save(folder, storage)
        storage.write(join(folder, DOCUMENT), (text + "\n").encode())


def classify(
    sample: Sample,
    config: AnalysisSettings,
    warn: Callable[[str], None] = lambda _: None,
    foreign_pca: ForeignPca | None = None,
) -> Classification:
    """Fit a classifier on the components of a run, and evaluate it.

    Parameters
    ----------
    sample : Sample
        Of the run.
    config : AnalysisSettings
        ``class_regex`` and ``group_regex`` give classes and groups; ``seed`` and ``standardized`` are the run's.
    warn : callable
        Called with a sentence on each setting that has no effect, and each part that could not be made.
    foreign_pca : ForeignPca, optional
        The run's PCA where another run fitted it: classifiers are then fitted and scored on its components.

    Raises
    ------
    NoClassifierError
        There are no two classes of two photographs each.
    """
    # The folds run in threads; threads within their many small products would only wait for one another.
    with threadpool_limits(1), folds.ignore_sklearn_warnings():
        classes = classes_of(sample.photographs["label"].to_pylist(), config.class_regex)
        names = _class_names(classes, sample, config.class_regex)
        codes = codes_of(classes, names)
        task = task_of(sample, codes, len(names), config, warn, foreign_pca and foreign_pca.pca)
        evaluated = evaluation.evaluate(task)
        if task.groups is not None and not any(one.kind == "grouped" for one in evaluated):
            warn(
                f"--group-regex '{config.group_regex}' puts most classes into one group each, so that they cannot be "
                "scored by groups"
            )
        held_out = tuple(replace(one, rows=sample.feature_rows[one.rows]) for one in evaluated)
        calibrated = calibration.calibrate(held_out[0])
        temperature = calibrated["temperature"] if calibrated else 1.0
        model, n_fitted = _fit_model(sample, codes, names, temperature, config.seed)
        n_without_class = sum(name is None for name in classes)
        details = {
            "n_classes": len(names),
            "class_regex": config.class_regex,
            "group_regex": config.group_regex,
            "n_groups": None if task.groups is None else len(np.unique(task.groups)),
            "n_photographs": n_fitted,
            "left_out": {
                "no_class": n_without_class,
                "alone_in_its_class": int((codes < 0).sum()) - n_without_class,
            },
            "sample": sample.description,
        }
        return Classification(
            model=model,
            held_out=held_out,
            scores=tuple(map(evaluation.score, held_out)),
            calibration=calibrated,
            details=details,
            novelty=_novelty(task, evaluated, sample, codes, warn),
            note=foreign_pca and FOREIGN_PCA_NOTE.format(foreign_pca.run_id),
        )


def _novelty(
    task: Task, evaluated: list[HeldOut], sample: Sample, codes: Indices, warn: Callable[[str], None]
) -> Novelty:
    """By the most honest split that holds out enough photographs. Without a threshold the classifier is kept too."""
    enough = (one for one in evaluated if len(one.rows) >= novelty.MIN_JUDGED)
    try:
        return novelty.measure(task, next(enough, evaluated[-1]), sample.components, codes)
    except novelty.TooFewPhotographsError as error:
        return Novelty(None, {"absent": str(error)})
    except Exception as error:
        warn(f"no threshold of 'none of these' was set: {type(error).__name__}: {error}")
        return Novelty(None, {"absent": "it could not be measured; the warnings say why"})


def _class_names(classes: list[str | None], sample: Sample, pattern: str | None) -> list[str]:
    """The classes of at least two photographs with features, in natural order."""
    counts = Counter(classes[row] for row in sample.feature_rows.tolist())
    names = sorted((name for name, count in counts.items() if name is not None and count > 1), key=natural_key)
    if len(names) > 1:
        return names
    n_classes = len([name for name in counts if name is not None])
    if n_classes > 1:
        raise NoClassifierError(f"of {n_classes:,} classes, {len(names) or 'none'} has two photographs or more")
    if n_classes == 0 and pattern is not None and sample.photographs["label"].null_count < len(classes):
        raise NoClassifierError(f"no photograph has a class: --class-regex '{pattern}' matches no label")
    raise NoClassifierError("there is one class only" if n_classes else "no photograph has a class")


def _fit_model(sample: Sample, codes: Indices, names: list[str], temperature: float, seed: int) -> tuple[Model, int]:
    """The model that is kept, and the number of photographs that it is fitted on."""
    rows = np.flatnonzero(codes >= 0)
    ranks = np.random.default_rng(seed).random(len(rows))
    rows = rows[stratified(codes[rows], max_photographs(MAX_FITTED_LOGITS, len(names)), ranks, guaranteed=2)]
    x = sample.components[rows]
    mean, scale = x.mean(axis=0, dtype=np.float64), folds.common_scale(x)
    x -= mean.astype(np.float32)
    x /= np.float32(scale)
    fitted = folds.fit_logistic_regression(x, codes[rows])
    coefficients, intercepts = np.zeros((len(names), x.shape[1])), np.full(len(names), UNSEEN_LOGIT * temperature)
    coefficients[fitted.classes_], intercepts[fitted.classes_] = folds.all_coefficients(fitted)
    return Model(names, mean, scale, coefficients, intercepts, temperature), len(rows)
