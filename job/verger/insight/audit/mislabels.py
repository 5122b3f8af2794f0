"""Photographs whose label is probably wrong, as a classifier that has not seen them says."""

from __future__ import annotations

from typing import Any

import numpy as np

from verger.insight.audit.issues import Inputs, Issues, Outcome, Predictions, Row, gravest, rows_of
from verger.insight.names import isolated
from verger.insight.sample import Sample

OWN = 0.1
"""Out-of-fold probability of its own class below which a photograph may be mislabelled."""
WEAK = 0.8
"""Out-of-fold accuracy below which suspected mislabels are weak evidence."""


def find(inputs: Inputs) -> Outcome:
    """Photographs that a classifier which has not seen them takes for another class."""
    predictions = inputs.predictions
    if predictions is None:
        return Outcome({"suspected_mislabel": Issues(None, [])}, {})
    about: dict[str, Any] = {
        "photographs_judged": len(predictions.rows),
        "accuracy": round(predictions.accuracy, 4),
        "weak": predictions.accuracy < WEAK or not predictions.beats_majority,
    }
    return Outcome({"suspected_mislabel": _mislabels(inputs.sample, predictions)}, {"suspected_mislabels": about})


def _mislabels(sample: Sample, held_out: Predictions) -> Issues:
    """The classifier must be as sure of the other class as it is, on average, of photographs that bear that name.

    That is confident learning. It must give their own name next to nothing, too.
    """
    names = held_out.classes
    rows, own = np.arange(len(held_out.rows)), held_out.probability[np.arange(len(held_out.rows)), held_out.codes]
    predicted = np.asarray(held_out.probability.argmax(axis=1), np.int64)
    sure = held_out.probability[rows, predicted]
    counts = np.bincount(held_out.codes, minlength=len(names))
    usual = np.bincount(held_out.codes, own, len(names)) / np.maximum(counts, 1)
    wanted = (predicted != held_out.codes) & (own < OWN) & (sure >= np.maximum(usual[predicted], 0.5))
    chosen = gravest(wanted, sure - own)
    listed: list[Row] = []
    for at, row in zip(chosen, rows_of(sample.photographs, held_out.rows[chosen]), strict=True):
        taken_for, named = (isolated(names[code]) for code in (predicted[at], held_out.codes[at]))
        message = f"taken for {taken_for} ({sure[at]:.2f}), not for {named} ({own[at]:.2f})"
        listed.append((row["path"], row["label"], None, round(float(sure[at] - own[at]), 4), message))
    return Issues(int(wanted.sum()), listed)
