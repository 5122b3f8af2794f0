"""Photographs that are far from the others of their label."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from verger.insight.arrays import Float64Array, codes
from verger.insight.audit.issues import Inputs, Issues, Outcome, Row, gravest, quoted, rows_of
from verger.insight.sample import Sample

FAR = 4.0
"""Robust standard deviations from which a photograph is an outlier of its label."""
_OWN_SPREAD = 10  # photographs of a label from which its own distances say what is far
_NARROW = 0.1  # deviation of log distances below which a label is not taken to be narrower still


def find(inputs: Inputs) -> Outcome:
    """Photographs that are `FAR` or more from the middle of their label."""
    oddness = _oddness(inputs.sample)
    issues = {"outlier": _outliers(inputs.sample, oddness)}
    return Outcome(issues, {"outliers": {"robust_standard_deviations": FAR}}, oddness=oddness)


def _oddness(sample: Sample) -> Float64Array:
    """Robust deviations of each photograph's distance to the middle of its label's others.

    Distances are judged by their logarithm, whose median and median absolute deviation a few odd photographs do not
    move; labels that are too small to have such figures of their own share theirs.
    """
    label = codes(sample.photographs["label"])
    if len(label) == 0:
        return np.zeros(0)
    n, labels = len(label), int(label.max()) + 1
    counts = np.bincount(label, minlength=labels)
    membership = csr_array((np.ones(n, np.float32), (label, np.arange(n))), shape=(labels, n))
    middle = (membership @ sample.components) / counts[:, None]
    distance = np.linalg.norm(sample.components - middle[label], axis=1).astype(np.float64)
    distance *= counts[label] / np.maximum(counts[label] - 1, 1)  # to the middle of the others
    least = 1e-6 * float(np.sqrt(np.mean(sample.components**2, dtype=np.float64)))  # what float32 can tell apart
    logs = np.log(np.maximum(distance, least or 1.0))
    pool = np.where(counts >= _OWN_SPREAD, np.arange(labels), labels)[label]
    pool[counts[label] < 2] = labels + 1  # alone: nothing to be odd beside
    odd = np.zeros(n)
    order = np.argsort(pool, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(pool[order])) + 1):
        if pool[rows[0]] <= labels:
            off = logs[rows] - np.median(logs[rows])
            odd[rows] = off / max(1.4826 * float(np.median(np.abs(off))), _NARROW)
    return odd


def _outliers(sample: Sample, oddness: Float64Array) -> Issues:
    wanted = oddness >= FAR
    rows = gravest(wanted, oddness)
    listed: list[Row] = [
        (row["path"], row["label"], None, round(float(oddness[at]), 2), _message(oddness[at], row["label"]))
        for at, row in zip(rows, rows_of(sample.photographs, rows), strict=True)
    ]
    return Issues(int(wanted.sum()), listed)


def _message(oddness: float, label: str | None) -> str:
    return f"{oddness:.1f} robust standard deviations farther from the middle of {quoted(label)} than is usual there"
