"""Labels that have too few photographs."""

from __future__ import annotations

import pyarrow.compute as pc

from verger.insight.audit.issues import LISTED, Inputs, Issues, Outcome

THIN = 10
"""Photographs below which a label is thin."""


def find(inputs: Inputs) -> Outcome:
    """Labels of fewer than `THIN` photographs, the thinnest first."""
    counted = pc.value_counts(inputs.sample.named["label"]).to_pylist()
    thin = [(row["counts"], row["values"]) for row in counted if row["values"] is not None and row["counts"] < THIN]
    issues = Issues(len(thin), [_row(name, count) for count, name in sorted(thin)[:LISTED]])
    return Outcome({"thin_label": issues}, {"thin_labels": {"photographs_below": THIN}})


def _row(name: str, count: int) -> tuple[None, str, None, float, str]:
    few = "1 photograph" if count == 1 else f"{count} photographs"
    return None, name, None, float(count), f"{few}: too few to learn from, or to judge by"
