"""The audit: the checks, which are registered here, and what all of them have found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from verger.insight.arrays import BoolArray
from verger.insight.audit import duplicates, mislabels, near_duplicates, outliers, thin_labels
from verger.insight.audit.issues import SCHEMA, AuditInput, CheckResult, Predictions, issue_table
from verger.insight.sample import Sample
from verger.storage.base import Storage
from verger.tables.rows import parquet_bytes


class Check(Protocol):
    """A module that looks for issues."""

    @property
    def KINDS(self) -> tuple[str, ...]:
        """The kinds of issues that it looks for."""

    def find(self, given: AuditInput) -> CheckResult:
        """Look for them.

        Parameters
        ----------
        given : AuditInput
            What every check gets.

        Returns
        -------
        CheckResult
            With an entry for each of ``KINDS``.
        """


CHECKS: tuple[Check, ...] = (duplicates, near_duplicates, outliers, mislabels, thin_labels)
"""All checks; a new one is added here."""
KINDS = tuple(kind for check in CHECKS for kind in check.KINDS)


@dataclass(frozen=True, eq=False)
class Audit:
    """What the checks have found.

    Attributes
    ----------
    table : pyarrow.Table
        Of `SCHEMA`, by kind in the order of `KINDS`, the gravest of each first, at most
        `verger.insight.audit.issues.MAX_LISTED` of each. The ``path`` of a thin label is null.
    found : dict of str to int or None
        Issues by kind, those that are not listed included; None where a check could not look for them.
    seen_in_training : ndarray of bool, shape (n,)
        Which photographs of the sample are in Test or Validation and have a near-duplicate in Training.
    details : dict
        Thresholds, and what was looked at, as the manifest has them.
    """

    table: pa.Table
    found: dict[str, int | None]
    seen_in_training: BoolArray
    details: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """The manifest's ``audit``, but for its path."""
        listed = {row["values"]: row["counts"] for row in pc.value_counts(self.table["kind"]).to_pylist()}
        counts = {kind: {"found": self.found[kind], "listed": listed.get(kind, 0)} for kind in KINDS}
        return {"counts": counts, **self.details}

    def save(self, path: str, storage: Storage) -> None:
        """Write the table as one Parquet file.

        Parameters
        ----------
        path : str
            Canonical URI of a file that is not there yet.
        storage : Storage
            That the file is to be in.
        """
        storage.publish_once(path, parquet_bytes(self.table))


def audit(sample: Sample, predictions: Predictions | None, standardize: bool) -> Audit:
    """Run all checks.

    Parameters
    ----------
    sample : Sample
        Of the run.
    predictions : Predictions or None
        Without them, wrong labels cannot be looked for.
    standardize : bool
        Whether the run's PCA divides features by their standard deviations; photographs are then compared by the
        divided ones.
    """
    given = AuditInput(sample, predictions, standardize)
    with threadpool_limits(1):  # the checks themselves use a thread a core
        results = [check.find(given) for check in CHECKS]
    issues = {kind: found for result in results for kind, found in result.issues.items()}
    details: dict[str, Any] = {"sample": sample.description}
    for result in results:
        details |= result.details
    return Audit(
        table=pa.concat_tables([SCHEMA.empty_table(), *(issue_table(kind, issues[kind]) for kind in KINDS)]),
        found={kind: issues[kind].found for kind in KINDS},
        seen_in_training=next(
            (result.seen_in_training for result in results if result.seen_in_training is not None),
            np.zeros(sample.photographs.num_rows, bool),
        ),
        details=details,
    )
