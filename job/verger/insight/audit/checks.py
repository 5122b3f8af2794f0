"""The audit: all checks, which are registered here, and what they have found together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from verger.insight.arrays import Float64Array
from verger.insight.audit import duplicates, mislabels, near_duplicates, outliers, thin_labels
from verger.insight.audit.issues import SCHEMA, Inputs, Outcome, Predictions, table_of
from verger.insight.sample import Sample
from verger.storage.base import Storage
from verger.tables.store import parquet_bytes

CHECKS: tuple[tuple[tuple[str, ...], Callable[[Inputs], Outcome]], ...] = (
    (("duplicate", "duplicate_other_label"), duplicates.find),
    (("near_duplicate", "near_duplicate_across_splits"), near_duplicates.find),
    (("outlier",), outliers.find),
    (("suspected_mislabel",), mislabels.find),
    (("thin_label",), thin_labels.find),
)
"""The kinds of issues that each check finds, and the check."""
KINDS = tuple(kind for kinds, _ in CHECKS for kind in kinds)


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found.

    Attributes
    ----------
    table : pyarrow.Table
        `SCHEMA`, by kind in the order of `KINDS`, the gravest of each first, at most
        `verger.insight.audit.issues.LISTED` of each; a thin label's ``path`` is null.
    found : dict of str to int or None
        Photographs (or labels) of each kind, those that are not listed included; None where nobody has looked.
    oddness : ndarray of float64, shape (n,)
        How far each of the sample's photographs is from the middle of its label, in robust standard deviations.
    seen : ndarray of bool, shape (n,)
        Which of the sample's photographs are in Test or Validation and have a near-duplicate in Training.
    about : dict
        Thresholds, and what was looked at.
    """

    table: pa.Table
    found: dict[str, int | None]
    oddness: Float64Array
    seen: npt.NDArray[np.bool_]
    about: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        listed = {row["values"]: row["counts"] for row in pc.value_counts(self.table["kind"]).to_pylist()}
        counts = {kind: {"found": self.found[kind], "listed": listed.get(kind, 0)} for kind in KINDS}
        return {"counts": counts, **self.about}

    def save(self, path: str, storage: Storage) -> None:
        """Write the table as one Parquet file."""
        storage.publish_once(path, parquet_bytes(self.table))


def audit(sample: Sample, predictions: Predictions | None, standardize: bool) -> Audit:
    """Look for what spoils a table or a score.

    Parameters
    ----------
    sample : Sample
    predictions : Predictions, optional
        Without them, nothing is said of labels that may be wrong.
    standardize : bool
        Whether the run divides features by their standard deviation; photographs are then compared by what it makes of
        them.
    """
    with threadpool_limits(1):  # a thread a block of products
        outcomes = [check(Inputs(sample, predictions, standardize)) for _, check in CHECKS]
    issues = {kind: found for outcome in outcomes for kind, found in outcome.issues.items()}
    about: dict[str, Any] = {"sample": sample.stated}
    for outcome in outcomes:
        about |= outcome.about
    nothing = sample.photographs.num_rows
    oddness = next((outcome.oddness for outcome in outcomes if outcome.oddness is not None), np.zeros(nothing))
    seen = next((outcome.seen for outcome in outcomes if outcome.seen is not None), np.zeros(nothing, bool))
    table = pa.concat_tables([SCHEMA.empty_table(), *(table_of(kind, issues[kind]) for kind in KINDS)])
    return Audit(table, {kind: issues[kind].found for kind in KINDS}, oddness, seen, about)
