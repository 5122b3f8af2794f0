"""Photographs that are far from the others of their label."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from verger.insight.arrays import Float64Array, category_codes
from verger.insight.audit.issues import AuditInput, CheckResult, IssueList, IssueRow, quoted, rows_as_dicts, worst_first
from verger.insight.sample import Sample

KINDS = ("outlier",)
MIN_DEVIATION = 4.0
"""Robust standard deviations from which a photograph is an outlier of its label."""
_OWN_STATISTICS_FROM = 10  # photographs of a label from which its statistics are its own
_MIN_LOG_DEVIATION = 0.1  # no label is taken to vary less


def find(given: AuditInput) -> CheckResult:
    """Find photographs that are unusually far from the mean of their label's other photographs.

    Parameters
    ----------
    given : AuditInput
        Its sample's components are looked at.
    """
    sample = given.sample
    deviation = deviations(sample)
    is_outlier = deviation >= MIN_DEVIATION
    rows = worst_first(is_outlier, deviation)
    listed: list[IssueRow] = [
        (
            photograph["path"],
            photograph["label"],
            None,
            round(float(deviation[row]), 2),
            f"{deviation[row]:.1f} robust standard deviations farther from the middle of {quoted(photograph['label'])} "
            "than is usual there",
        )
        for row, photograph in zip(rows, rows_as_dicts(sample.photographs, rows), strict=True)
    ]
    issues = {"outlier": IssueList(int(is_outlier.sum()), listed)}
    return CheckResult(issues, {"outliers": {"robust_standard_deviations": MIN_DEVIATION}})


def deviations(sample: Sample) -> Float64Array:
    """How unusual the distance of each photograph from the mean of its label's other photographs is.

    The label's median is subtracted from the logarithm of the distance, and the difference is divided by 1.4826 times
    the median absolute deviation: a few outliers do not move these statistics. Labels of few photographs share them.

    Parameters
    ----------
    sample : Sample
        Of the run.

    Returns
    -------
    ndarray of float64, shape (n,)
        Robust standard deviations, negative where a photograph is nearer than usual; 0 for one that is alone in its
        label.
    """
    label = category_codes(sample.photographs["label"])
    if len(label) == 0:
        return np.zeros(0)
    n, n_labels = len(label), int(label.max()) + 1
    counts = np.bincount(label, minlength=n_labels)
    membership = csr_array((np.ones(n, np.float32), (label, np.arange(n))), shape=(n_labels, n))
    means = (membership @ sample.components) / counts[:, None]
    distance = np.linalg.norm(sample.components - means[label], axis=1).astype(np.float64)
    distance *= counts[label] / np.maximum(counts[label] - 1, 1)  # to the mean of the others
    resolution = 1e-6 * float(np.sqrt(np.mean(sample.components**2, dtype=np.float64)))  # of float32
    logs = np.log(np.maximum(distance, resolution or 1.0))
    shared, alone = n_labels, n_labels + 1
    pool = np.where(counts >= _OWN_STATISTICS_FROM, np.arange(n_labels), shared)[label]
    pool[counts[label] < 2] = alone
    deviation = np.zeros(n)
    order = np.argsort(pool, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(pool[order])) + 1):
        if pool[rows[0]] != alone:
            difference = logs[rows] - np.median(logs[rows])
            deviation[rows] = difference / max(1.4826 * float(np.median(np.abs(difference))), _MIN_LOG_DEVIATION)
    return deviation
