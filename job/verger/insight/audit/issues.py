"""Issues as the audit counts and lists them: the gravest first, at most so many rows of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.insight.arrays import Float64Array, Indices
from verger.insight.names import isolated
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
LISTED = 1_000
"""Rows of each kind, the gravest first; more are counted only."""

Row = tuple[str | None, str | None, str | None, float, str]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier says of photographs that it was not fitted on.

    Attributes
    ----------
    classes : list of str
    rows : ndarray of int64, shape (m,)
        Rows of the sample's photographs.
    codes : ndarray of int64, shape (m,)
        Their classes, as their labels say.
    probability : ndarray of float32, shape (m, classes)
    accuracy : float
        Share of these photographs whose most probable class is their own.
    beats_majority : bool
        Whether that is more than always saying the most frequent class would get.
    """

    classes: list[str]
    rows: Indices
    codes: Indices
    probability: npt.NDArray[np.float32]
    accuracy: float
    beats_majority: bool


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the checks look at.

    Attributes
    ----------
    sample : Sample
    predictions : Predictions or None
        None where there is no classifier.
    standardize : bool
        Whether the run divides features by their standard deviation.
    """

    sample: Sample
    predictions: Predictions | None
    standardize: bool


@dataclass(frozen=True, slots=True)
class Issues:
    """The issues of one kind.

    Attributes
    ----------
    found : int or None
        How many there are; None where nobody could look.
    rows : list of tuple
        The gravest: path, label, other path, score, message.
    """

    found: int | None
    rows: list[Row]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one check has found.

    Attributes
    ----------
    issues : dict of str to Issues
        By kind.
    about : dict
        Thresholds, and what was looked at, by the manifest's key.
    oddness : ndarray of float64, shape (n,), optional
        See `verger.insight.audit.checks.Audit`.
    seen : ndarray of bool, shape (n,), optional
        See there.
    """

    issues: dict[str, Issues]
    about: dict[str, Any]
    oddness: Float64Array | None = None
    seen: npt.NDArray[np.bool_] | None = None


def table_of(kind: str, issues: Issues) -> pa.Table:
    """The rows of one kind in `SCHEMA`."""
    columns = list(zip(*issues.rows, strict=True)) or [()] * 5
    path, label, other, score, message = columns
    arrays = [path, label, [kind] * len(path), other, score, message]
    return pa.table([pa.array(values, of.type) for values, of in zip(arrays, SCHEMA, strict=True)], schema=SCHEMA)


def gravest(wanted: npt.NDArray[np.bool_], *scores: npt.NDArray[Any]) -> list[int]:
    """Rows that are wanted, the largest scores first, at most `LISTED`; the first score counts most."""
    rows = np.flatnonzero(wanted)
    order = np.lexsort(tuple(-score[rows].astype(np.float64) for score in reversed(scores)))
    return [int(row) for row in rows[order][:LISTED]]


def rows_of(photographs: pa.Table, rows: Any) -> list[dict[str, Any]]:
    """Path, label and split of these rows."""
    wanted = photographs.select(["path", "label", "split"]).take(pa.array(rows, pa.int64()))
    return list(wanted.to_pylist())


def quoted(name: str | None) -> str:
    """A label or split as it stands in a message."""
    return "nothing" if name is None else f"'{isolated(name)}'"
