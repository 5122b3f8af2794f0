"""Photographs that look nearly the same: anywhere, and between Training and what is held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from verger.insight.arrays import BoolArray, Indices, category_codes
from verger.insight.audit.issues import AuditInput, CheckResult, IssueList, IssueRow, quoted, rows_as_dicts, worst_first
from verger.insight.audit.similarity import Similarity, find_similar, unit_rows
from verger.insight.sample import Sample

KINDS = ("near_duplicate", "near_duplicate_across_splits")
MIN_COSINE = 0.95
"""Cosine of features from which two photographs are near-duplicates; docs/classifier.md says why."""
_TRAINING, _HELD_OUT, _NEITHER = 0, 1, -1


class _Pair(NamedTuple):
    """The splits of two similar photographs, and what is listed of them."""

    split: str | None
    other_split: str | None
    row: IssueRow


def find(given: AuditInput) -> CheckResult:
    """Find pairs of photographs whose features have a cosine of `MIN_COSINE` or more.

    Parameters
    ----------
    given : AuditInput
        Photographs with features are compared, as the run's PCA takes their features.
    """
    sample = given.sample
    compared, representative = _distinct(sample)
    photographs = sample.photographs.take(sample.feature_rows[compared])
    sides, sides_text = _sides(photographs)
    near, across = find_similar(unit_rows(sample.features, given.standardize, compared), MIN_COSINE, sides)
    if across is None or sides is None:
        leaked = np.zeros(len(compared), bool)
    else:
        leaked = (across.nearest >= 0) & (sides == _HELD_OUT)
    seen_in_training = np.zeros(sample.photographs.num_rows, bool)
    seen_in_training[sample.feature_rows] = leaked[representative]
    issues = {
        "near_duplicate": _anywhere(photographs, near),
        "near_duplicate_across_splits": _across_splits(photographs, across, leaked),
    }
    details = {
        "cosine": MIN_COSINE,
        "pairs": near.pairs,
        "photographs_compared": len(compared),
        "across": sides_text,
    }
    return CheckResult(issues, {"near_duplicates": details}, seen_in_training=seen_in_training)


def _distinct(sample: Sample) -> tuple[Indices, Indices]:
    """Rows of the features to compare, equal bytes once in each split, and which of them stands for each row."""
    photographs = sample.with_features()
    key = category_codes(photographs["sha256"]) * (len(photographs) + 1) + category_codes(photographs["split"])
    _, first, representative = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order].astype(np.int64), np.argsort(order)[representative].astype(np.int64)


def _sides(photographs: pa.Table) -> tuple[Indices | None, str | None]:
    """The side of each photograph, and the two sides in words; None where the folders do not name both."""
    names = np.array([name or "" for name in photographs["split"].to_pylist()])
    held_out = [name for name in ("Test", "Validation") if name in names]
    if not held_out or "Training" not in names:
        return None, None
    sides = np.select([names == "Training", np.isin(names, held_out)], [_TRAINING, _HELD_OUT], _NEITHER)
    return sides.astype(np.int64), f"{', '.join(held_out)} and Training"


def _anywhere(photographs: pa.Table, similar: Similarity) -> IssueList:
    """Photographs with a near-duplicate of other bytes; a pair is listed once, pairs under two labels first."""
    label, digest = category_codes(photographs["label"]), category_codes(photographs["sha256"])
    rows, nearest = np.arange(len(label)), np.maximum(similar.nearest, 0)
    is_issue = (similar.nearest >= 0) & (digest[nearest] != digest)
    listed_by_the_other = (similar.nearest[nearest] == rows) & (nearest < rows)
    first = worst_first(is_issue & ~listed_by_the_other, label[nearest] != label, similar.cosine)
    return IssueList(int(is_issue.sum()), [pair.row for pair in _pairs(photographs, similar, first)])


def _across_splits(photographs: pa.Table, similar: Similarity | None, leaked: BoolArray) -> IssueList:
    """Held-out photographs with a near-duplicate in Training, of equal bytes or not."""
    if similar is None:
        return IssueList(0, [])
    label = category_codes(photographs["label"])
    first = worst_first(leaked, label[np.maximum(similar.nearest, 0)] != label, similar.cosine)
    rows: list[IssueRow] = []
    for split, other_split, (path, own_label, other_path, cosine, message) in _pairs(photographs, similar, first):
        message += f"; one is in {quoted(split)}, the other in {quoted(other_split)}"
        rows.append((path, own_label, other_path, cosine, message))
    return IssueList(int(leaked.sum()), rows)


def _pairs(photographs: pa.Table, similar: Similarity, rows: list[int]) -> list[_Pair]:
    """What is listed of photographs and the one that is most similar to each."""
    pairs = []
    others = rows_as_dicts(photographs, similar.nearest[rows])
    for row, one, other in zip(rows, rows_as_dicts(photographs, rows), others, strict=True):
        message = f"looks like {other['path']} (cosine {similar.cosine[row]:.3f})"
        message += f", which is labelled {quoted(other['label'])}" if one["label"] != other["label"] else ""
        message += f", and like {similar.count[row] - 1:,} more" if similar.count[row] > 1 else ""
        listed = (one["path"], one["label"], other["path"], round(float(similar.cosine[row]), 4), message)
        pairs.append(_Pair(one["split"], other["split"], listed))
    return pairs
