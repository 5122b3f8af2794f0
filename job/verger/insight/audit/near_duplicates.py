"""Photographs that look nearly the same, anywhere and between Training and what is held out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from verger.insight.arrays import Indices, codes
from verger.insight.audit.issues import Inputs, Issues, Outcome, Row, gravest, quoted, rows_of
from verger.insight.audit.similarity import Similarity, find_similar, unit_rows
from verger.insight.sample import Sample

NEAR = 0.95
"""Cosine of features from which two photographs are near-duplicates; docs/classifier.md says why."""
HELD_OUT = 1
"""The side of Test and Validation; Training is 0."""


def find(inputs: Inputs) -> Outcome:
    """Pairs of photographs whose features' cosine is `NEAR` or more."""
    sample = inputs.sample
    compared, same = _distinct(sample)
    photographs = sample.photographs.take(sample.featured[compared])
    sides, between = _sides(photographs)
    near, across = find_similar(unit_rows(sample.features, inputs.standardize, compared), NEAR, sides)
    if across is None or sides is None:
        held_out = np.zeros(len(compared), bool)
    else:
        held_out = (across.nearest >= 0) & (sides == HELD_OUT)
    seen = np.zeros(sample.photographs.num_rows, bool)
    seen[sample.featured] = held_out[same]
    issues = {
        "near_duplicate": _near(photographs, near),
        "near_duplicate_across_splits": _across(photographs, across, held_out),
    }
    about = {"cosine": NEAR, "pairs": near.pairs, "photographs_compared": len(compared), "across": between}
    return Outcome(issues, {"near_duplicates": about}, seen=seen)


def _distinct(sample: Sample) -> tuple[Indices, Indices]:
    """Rows of the features that are compared, the same bytes once in each split, and which of these each row is."""
    photographs = sample.photographs.take(sample.featured)
    key = codes(photographs["sha256"]) * (len(photographs) + 1) + codes(photographs["split"])
    _, first, same = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return first[order].astype(np.int64), np.argsort(order)[same].astype(np.int64)


def _sides(photographs: pa.Table) -> tuple[Indices | None, str | None]:
    """Whether each photograph is held out or in Training, -1 where it is neither, and both in words; None of one."""
    names = np.array([name or "" for name in photographs["split"].to_pylist()])
    held_out = [name for name in ("Test", "Validation") if name in names]
    if not held_out or "Training" not in names:
        return None, None
    sides = np.select([names == "Training", np.isin(names, held_out)], [0, HELD_OUT], -1)
    return sides.astype(np.int64), f"{', '.join(held_out)} and Training"


def _near(photographs: pa.Table, similar: Similarity) -> Issues:
    """Photographs with a near-duplicate of other bytes; a pair is listed once, those under two labels first."""
    label, digest = codes(photographs["label"]), codes(photographs["sha256"])
    rows, nearest = np.arange(len(label)), np.maximum(similar.nearest, 0)
    wanted = (similar.nearest >= 0) & (digest[nearest] != digest)
    mutual = (similar.nearest[nearest] == rows) & (nearest < rows)
    listed = _described(photographs, similar, gravest(wanted & ~mutual, label[nearest] != label, similar.cosine))
    return Issues(int(wanted.sum()), [row for _, _, row in listed])


def _across(photographs: pa.Table, similar: Similarity | None, held_out: npt.NDArray[np.bool_]) -> Issues:
    """HeldOut-out photographs with a near-duplicate in Training, of equal bytes or not."""
    if similar is None:
        return Issues(0, [])
    label = codes(photographs["label"])
    worst = gravest(held_out, label[np.maximum(similar.nearest, 0)] != label, similar.cosine)
    listed = _described(photographs, similar, worst)
    rows = [
        (*row[:4], f"{row[4]}; one is in {quoted(one)}, the other in {quoted(other)}") for one, other, row in listed
    ]
    return Issues(int(held_out.sum()), rows)


def _described(photographs: pa.Table, similar: Similarity, rows: list[int]) -> list[tuple[str | None, str | None, Row]]:
    """What is said of photographs and their nearest ones, with the splits of both."""
    listed = []
    for row, one, other in zip(
        rows, rows_of(photographs, rows), rows_of(photographs, similar.nearest[rows]), strict=True
    ):
        message = f"looks like {other['path']} (cosine {similar.cosine[row]:.3f})"
        message += f", which is labelled {quoted(other['label'])}" if one["label"] != other["label"] else ""
        message += f", and like {similar.count[row] - 1:,} more" if similar.count[row] > 1 else ""
        found: Row = (one["path"], one["label"], other["path"], round(float(similar.cosine[row]), 4), message)
        listed.append((one["split"], other["split"], found))
    return listed
