"""Issues as the audit counts and lists them: the gravest first, at most so many of each kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.insight.arrays import BoolArray, Float32Array, Indices
from verger.insight.names import isolate
from verger.insight.sample import Sample

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("kind", pa.string()),
        ("other_path", pa.string()),
        ("score", pa.float64()),
        ("message", pa.string()),
    ]
)
MAX_LISTED = 1_000
"""Issues of a kind that are listed, the gravest first; more are counted only."""

IssueRow = tuple[str | None, str | None, str | None, float, str]
"""Path, label, other path, score, message."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier predicts of photographs that it was not fitted on.

    Attributes
    ----------
    classes : list of str
        In the order of the probabilities.
    rows : ndarray of int64, shape (m,)
        Rows of the sample's photographs.
    codes : ndarray of int64, shape (m,)
        The classes that their labels name.
    probabilities : ndarray of float32, shape (m, classes)
        Rows sum to one.
    accuracy : float
        Share of these photographs whose most probable class is their own.
    beats_majority : bool
        Whether that is more than always predicting the most frequent class would reach.
    """

    classes: list[str]
    rows: Indices
    codes: Indices
    probabilities: Float32Array
    accuracy: float
    beats_majority: bool


@dataclass(frozen=True, eq=False)
class AuditInput:
    """What every check gets.

    Attributes
    ----------
    sample : Sample
        Of the run.
    predictions : Predictions or None
        None where there is no classifier.
    standardize : bool
        Whether the run's PCA divides features by their standard deviations.
    """

    sample: Sample
    predictions: Predictions | None
    standardize: bool


@dataclass(frozen=True, slots=True)
class IssueList:
    """The issues of one kind.

    Attributes
    ----------
    found : int or None
        How many there are; None where the check could not look for them.
    rows : list of IssueRow
        The gravest, at most `MAX_LISTED`.
    """

    found: int | None
    rows: list[IssueRow]


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What one check has found.

    Attributes
    ----------
    issues : dict of str to IssueList
        By kind.
    details : dict
        Thresholds, and what was looked at, by the manifest's key.
    seen_in_training : ndarray of bool, shape (n,), optional
        Which photographs of the sample are in Test or Validation and have a near-duplicate in Training.
    """

    issues: dict[str, IssueList]
    details: dict[str, Any] = field(default_factory=dict)
    seen_in_training: BoolArray | None = None


def issue_table(kind: str, issues: IssueList) -> pa.Table:
    """The issues of one kind as a table.

    Parameters
    ----------
    kind : str
        Goes into each row.
    issues : IssueList
        Its rows are taken, in their order.

    Returns
    -------
    pyarrow.Table
        Of `SCHEMA`.
    """
    columns = list(zip(*issues.rows, strict=True)) or [()] * 5
    path, label, other, score, message = columns
    arrays = [path, label, [kind] * len(path), other, score, message]
    return pa.table([pa.array(values, of.type) for values, of in zip(arrays, SCHEMA, strict=True)], schema=SCHEMA)


def worst_first(is_issue: BoolArray, *scores: npt.NDArray[Any]) -> list[int]:
    """Rows of the gravest issues.

    Parameters
    ----------
    is_issue : ndarray of bool, shape (n,)
        Which rows are issues.
    *scores : ndarray, shape (n,)
        The larger, the graver. The first counts most; the others decide between rows that are equal in it.

    Returns
    -------
    list of int
        At most `MAX_LISTED`, the gravest first.
    """
    rows = np.flatnonzero(is_issue)
    order = np.lexsort(tuple(-score[rows].astype(np.float64) for score in reversed(scores)))
    return [int(row) for row in rows[order][:MAX_LISTED]]


def rows_as_dicts(photographs: pa.Table, rows: list[int] | Indices) -> list[dict[str, Any]]:
    """Path, label and split of some photographs.

    Parameters
    ----------
    photographs : pyarrow.Table
        With these columns.
    rows : list of int or ndarray of int64
        Which of its rows, in this order.
    """
    chosen = photographs.select(["path", "label", "split"]).take(pa.array(rows, pa.int64()))
    return list(chosen.to_pylist())


def quoted(name: str | None) -> str:
    """A label or split as it stands in a message.

    Parameters
    ----------
    name : str or None
        None where there is none.
    """
    return "nothing" if name is None else f"'{isolate(name)}'"
