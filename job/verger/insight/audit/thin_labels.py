"""Labels of too few photographs."""

from __future__ import annotations

import pyarrow.compute as pc

from verger.insight.audit.issues import MAX_LISTED, AuditInput, CheckResult, IssueList, IssueRow

KINDS = ("thin_label",)
MIN_PHOTOGRAPHS = 10
"""Photographs below which a label is thin."""


def find(given: AuditInput) -> CheckResult:
    """Find labels of fewer than `MIN_PHOTOGRAPHS` photographs.

    Parameters
    ----------
    given : AuditInput
        Its catalogue is looked at.
    """
    counts = pc.value_counts(given.sample.catalogue["label"]).to_pylist()
    thin = sorted(
        (row["counts"], row["values"])
        for row in counts
        if row["values"] is not None and row["counts"] < MIN_PHOTOGRAPHS
    )
    issues = IssueList(len(thin), [_row(label, count) for count, label in thin[:MAX_LISTED]])
    return CheckResult({"thin_label": issues}, {"thin_labels": {"photographs_below": MIN_PHOTOGRAPHS}})


def _row(label: str, count: int) -> IssueRow:
    photographs = "1 photograph" if count == 1 else f"{count} photographs"
    return None, label, None, float(count), f"{photographs}: too few to learn from, or to judge by"
