"""The audit: which photographs to look at before the table is trusted, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from verger.insight.classifier import Classification
from verger.insight.labels import isolated
from verger.insight.sample import Places, Sample, codes
from verger.insight.similarity import Likeness, alike, unit_rows
from verger.storage.stores import storage_of
from verger.tables.store import parquet_bytes

KINDS = (
    "duplicate",
    "duplicate_other_label",
    "near_duplicate",
    "near_duplicate_across_splits",
    "outlier",
    "suspected_mislabel",
    "thin_label",
)
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
NEAR = 0.95
"""Cosine of features from which two photographs are near-duplicates; docs/classifier.md says why."""
THIN = 10
"""Photographs below which a label is thin."""
FAR = 4.0
"""Robust standard deviations from which a photograph is an outlier of its label."""
HELD = 1
"""The side of Test and Validation; Training is 0."""
OWN = 0.1
"""Out-of-fold probability of its own class below which a photograph may be mislabelled."""
WEAK = 0.8
"""Out-of-fold accuracy below which suspected mislabels are weak evidence."""
_OWN_SPREAD = 10  # photographs of a label from which its own distances say what is far
_NARROW = 0.1  # deviation of log distances below which a label is not taken to be narrower still

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found.

    Attributes
    ----------
    table : pyarrow.Table
        ``SCHEMA``, by kind in the order of `KINDS`, the gravest of each first, at most `LISTED` of each; a thin label's
        ``path`` is null.
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
    oddness: Floats
    seen: npt.NDArray[np.bool_]
    about: dict[str, Any]

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        listed = {row["values"]: row["counts"] for row in pc.value_counts(self.table["kind"]).to_pylist()}
        counts = {kind: {"found": self.found[kind], "listed": listed.get(kind, 0)} for kind in KINDS}
        return {"counts": counts, **self.about}

    def save(self, path: str) -> None:
        """Write the table as one Parquet file."""
        storage_of(path).publish_once(path, parquet_bytes(self.table))


Row = tuple[str | None, str | None, str | None, float, str]


@dataclass(frozen=True, slots=True)
class _Finding:
    """How many there are of one kind, and the gravest: path, label, other path, score, message."""

    found: int | None
    rows: list[Row]


def audit(sample: Sample, classification: Classification | None, standardize: bool) -> Audit:
    """Look for what spoils a table or a score.

    Parameters
    ----------
    sample : Sample
    classification : Classification, optional
        Without it, nothing is said of labels that may be wrong.
    standardize : bool
        Whether the run divides features by their standard deviation; photographs are then compared by what it makes of
        them.
    """
    with threadpool_limits(1):  # a thread a block of products
        oddness = _oddness(sample)
        compared, same = _distinct(sample)
        photographs = sample.photographs.take(sample.featured[compared])
        sides, between = _sides(photographs)
        near, across = alike(unit_rows(sample.features, standardize, compared), NEAR, sides)
    held = np.zeros(len(compared), bool) if across is None or sides is None else (across.nearest >= 0) & (sides == HELD)
    seen = np.zeros(sample.photographs.num_rows, bool)
    seen[sample.featured] = held[same]
    kinds = {
        **_duplicates(sample.named),
        "near_duplicate": _near(photographs, near),
        "near_duplicate_across_splits": _across(photographs, across, held),
        "outlier": _outliers(sample, oddness),
        "suspected_mislabel": _mislabels(sample, classification),
        "thin_label": _thin(sample.named),
    }
    about: dict[str, Any] = {
        "sample": sample.stated,
        "near_duplicates": {
            "cosine": NEAR,
            "pairs": near.pairs,
            "photographs_compared": len(compared),
            "across": between,
        },
        "outliers": {"robust_standard_deviations": FAR},
        "thin_labels": {"photographs_below": THIN},
    }
    if classification is not None:
        score = classification.scores[-1]
        about["suspected_mislabels"] = {
            "photographs_judged": len(classification.out_of_fold.rows),
            "accuracy": round(score.accuracy, 4),
            "weak": score.accuracy < WEAK or not score.beats_majority,
        }
    table = pa.concat_tables([SCHEMA.empty_table(), *(_table(kind, kinds[kind]) for kind in KINDS)])
    return Audit(table, {kind: kinds[kind].found for kind in KINDS}, oddness, seen, about)


def _table(kind: str, finding: _Finding) -> pa.Table:
    columns = list(zip(*finding.rows, strict=True)) or [()] * 5
    path, label, other, score, message = columns
    arrays = [path, label, [kind] * len(path), other, score, message]
    return pa.table([pa.array(values, of.type) for values, of in zip(arrays, SCHEMA, strict=True)], schema=SCHEMA)


def _gravest(wanted: npt.NDArray[np.bool_], *scores: npt.NDArray[Any]) -> list[int]:
    """Rows that are wanted, the largest scores first, at most `LISTED`; the first score counts most."""
    rows = np.flatnonzero(wanted)
    order = np.lexsort(tuple(-score[rows].astype(np.float64) for score in reversed(scores)))
    return [int(row) for row in rows[order][:LISTED]]


def _duplicates(named: pa.Table) -> dict[str, _Finding]:
    """Photographs whose bytes an earlier path has: under the same label, and under another."""
    _, first, digest, copies = np.unique(
        codes(named["sha256"]), return_index=True, return_inverse=True, return_counts=True
    )
    of, label = first[digest], codes(named["label"])
    again = of != np.arange(len(of))
    other_label = label != label[of]
    findings = {}
    for kind, wanted in (("duplicate", again & ~other_label), ("duplicate_other_label", again & other_label)):
        rows = _gravest(wanted, copies[digest])
        listed: list[Row] = []
        for row, copy, original in zip(rows, _of(named, rows), _of(named, of[rows]), strict=True):
            message = f"the same bytes as {original['path']}"
            if kind == "duplicate_other_label":
                message += f", which is labelled {_said(original['label'])}"
            listed.append((copy["path"], copy["label"], original["path"], float(copies[digest[row]]), message))
        findings[kind] = _Finding(int(wanted.sum()), listed)
    return findings


def _distinct(sample: Sample) -> tuple[Places, Places]:
    """Rows of the features that are compared, the same bytes once in each split, and which of these each row is."""
    photographs = sample.photographs.take(sample.featured)
    key = codes(photographs["sha256"]) * (len(photographs) + 1) + codes(photographs["split"])
    _, first, same = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order].astype(np.int64), np.argsort(order)[same].astype(np.int64)


def _sides(photographs: pa.Table) -> tuple[Places | None, str | None]:
    """Whether each photograph is held out or in Training, -1 where it is neither, and both in words; None of one."""
    names = np.array([name or "" for name in photographs["split"].to_pylist()])
    held = [name for name in ("Test", "Validation") if name in names]
    if not held or "Training" not in names:
        return None, None
    sides = np.select([names == "Training", np.isin(names, held)], [0, HELD], -1)
    return sides.astype(np.int64), f"{', '.join(held)} and Training"


def _near(photographs: pa.Table, like: Likeness) -> _Finding:
    """Photographs with a near-duplicate of other bytes; a pair is listed once, those under two labels first."""
    label, digest = codes(photographs["label"]), codes(photographs["sha256"])
    rows, nearest = np.arange(len(label)), np.maximum(like.nearest, 0)
    wanted = (like.nearest >= 0) & (digest[nearest] != digest)
    mutual = (like.nearest[nearest] == rows) & (nearest < rows)
    listed = _alike(photographs, like, _gravest(wanted & ~mutual, label[nearest] != label, like.cosine))
    return _Finding(int(wanted.sum()), [row for _, _, row in listed])


def _across(photographs: pa.Table, like: Likeness | None, held: npt.NDArray[np.bool_]) -> _Finding:
    """Held-out photographs with a near-duplicate in Training, of equal bytes or not."""
    if like is None:
        return _Finding(0, [])
    label = codes(photographs["label"])
    listed = _alike(photographs, like, _gravest(held, label[np.maximum(like.nearest, 0)] != label, like.cosine))
    rows = [(*row[:4], f"{row[4]}; one is in {_said(one)}, the other in {_said(other)}") for one, other, row in listed]
    return _Finding(int(held.sum()), rows)


def _alike(photographs: pa.Table, like: Likeness, rows: list[int]) -> list[tuple[str | None, str | None, Row]]:
    """What is said of photographs and their nearest ones, with the splits of both."""
    listed = []
    for row, one, other in zip(rows, _of(photographs, rows), _of(photographs, like.nearest[rows]), strict=True):
        message = f"looks like {other['path']} (cosine {like.cosine[row]:.3f})"
        message += f", which is labelled {_said(other['label'])}" if one["label"] != other["label"] else ""
        message += f", and like {like.count[row] - 1:,} more" if like.count[row] > 1 else ""
        found: Row = (one["path"], one["label"], other["path"], round(float(like.cosine[row]), 4), message)
        listed.append((one["split"], other["split"], found))
    return listed


def _oddness(sample: Sample) -> Floats:
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


def _outliers(sample: Sample, oddness: Floats) -> _Finding:
    wanted = oddness >= FAR
    rows = _gravest(wanted, oddness)
    listed: list[Row] = [
        (row["path"], row["label"], None, round(float(oddness[at]), 2), _far(oddness[at], row["label"]))
        for at, row in zip(rows, _of(sample.photographs, rows), strict=True)
    ]
    return _Finding(int(wanted.sum()), listed)


def _far(oddness: float, label: str | None) -> str:
    return f"{oddness:.1f} robust standard deviations farther from the middle of {_said(label)} than is usual there"


def _mislabels(sample: Sample, classification: Classification | None) -> _Finding:
    """Photographs that a classifier which has not seen them takes for another class.

    It must be as sure of it as it is, on average, of the photographs that bear that name (confident learning), and give
    their own name next to nothing.
    """
    if classification is None:
        return _Finding(None, [])
    held, names = classification.out_of_fold, classification.model.classes
    rows, own = np.arange(len(held.rows)), held.probability[np.arange(len(held.rows)), held.codes]
    predicted = held.predicted
    sure = held.probability[rows, predicted]
    usual = np.bincount(held.codes, own, len(names)) / np.maximum(np.bincount(held.codes, minlength=len(names)), 1)
    wanted = (predicted != held.codes) & (own < OWN) & (sure >= np.maximum(usual[predicted], 0.5))
    chosen = _gravest(wanted, sure - own)
    listed: list[Row] = []
    for at, row in zip(chosen, _of(sample.photographs, held.rows[chosen]), strict=True):
        taken_for, named = (isolated(names[code]) for code in (predicted[at], held.codes[at]))
        message = f"taken for {taken_for} ({sure[at]:.2f}), not for {named} ({own[at]:.2f})"
        listed.append((row["path"], row["label"], None, round(float(sure[at] - own[at]), 4), message))
    return _Finding(int(wanted.sum()), listed)


def _thin(named: pa.Table) -> _Finding:
    counted = pc.value_counts(named["label"]).to_pylist()
    thin = [(row["counts"], row["values"]) for row in counted if row["values"] is not None and row["counts"] < THIN]
    return _Finding(len(thin), [_thin_row(name, count) for count, name in sorted(thin)[:LISTED]])


def _thin_row(name: str, count: int) -> tuple[None, str, None, float, str]:
    few = "1 photograph" if count == 1 else f"{count} photographs"
    return None, name, None, float(count), f"{few}: too few to learn from, or to judge by"


def _of(photographs: pa.Table, rows: Any) -> list[dict[str, Any]]:
    wanted = photographs.select(["path", "label", "split"]).take(pa.array(rows, pa.int64()))
    return list(wanted.to_pylist())


def _said(name: str | None) -> str:
    return "nothing" if name is None else f"'{isolated(name)}'"
