"""Photographs whose label is probably wrong, by a classifier that was not fitted on them."""

from __future__ import annotations

import numpy as np

from verger.insight.audit.issues import (
    AuditInput,
    CheckResult,
    IssueList,
    IssueRow,
    Predictions,
    rows_as_dicts,
    worst_first,
)
from verger.insight.names import isolate
from verger.insight.sample import Sample

KINDS = ("suspected_mislabel",)
MAX_OWN_PROBABILITY = 0.1
"""Predicted probability of its own class below which a photograph may be mislabelled."""
MIN_OTHER_PROBABILITY = 0.5
"""Predicted probability of another class from which it may be that one."""
WEAK_BELOW = 0.8
"""Accuracy below which suspected mislabels are weak evidence."""


def find(given: AuditInput) -> CheckResult:
    """Find photographs that the classifier takes for another class than their own.

    Parameters
    ----------
    given : AuditInput
        Without predictions nothing can be looked for.
    """
    predictions = given.predictions
    if predictions is None:
        return CheckResult({"suspected_mislabel": IssueList(None, [])})
    details = {
        "photographs_judged": len(predictions.rows),
        "accuracy": round(predictions.accuracy, 4),
        "weak": predictions.accuracy < WEAK_BELOW or not predictions.beats_majority,
    }
    return CheckResult({"suspected_mislabel": _mislabels(given.sample, predictions)}, {"suspected_mislabels": details})


def _mislabels(sample: Sample, predictions: Predictions) -> IssueList:
    """Confident learning (Northcutt, Jiang, Chuang 2021).

    The other class must be at least as probable as it is, on average, for photographs of that class.
    """
    names, codes, probabilities = predictions.classes, predictions.codes, predictions.probabilities
    rows = np.arange(len(codes))
    own = probabilities[rows, codes]
    predicted = np.asarray(probabilities.argmax(axis=1), np.int64)
    highest = probabilities[rows, predicted]
    counts = np.bincount(codes, minlength=len(names))
    average = np.bincount(codes, own, len(names)) / np.maximum(counts, 1)
    confident = highest >= np.maximum(average[predicted], MIN_OTHER_PROBABILITY)
    is_issue = (predicted != codes) & (own < MAX_OWN_PROBABILITY) & confident
    first = worst_first(is_issue, highest - own)
    listed: list[IssueRow] = []
    for row, photograph in zip(first, rows_as_dicts(sample.photographs, predictions.rows[first]), strict=True):
        taken_for, named = (isolate(names[code]) for code in (predicted[row], codes[row]))
        message = f"taken for {taken_for} ({highest[row]:.2f}), not for {named} ({own[row]:.2f})"
        score = round(float(highest[row] - own[row]), 4)
        listed.append((photograph["path"], photograph["label"], None, score, message))
    return IssueList(int(is_issue.sum()), listed)
