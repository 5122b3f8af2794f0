"""Photographs whose bytes another photograph has too."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from verger.insight.arrays import codes
from verger.insight.audit.issues import Inputs, Issues, Outcome, Row, gravest, quoted, rows_of


def find(inputs: Inputs) -> Outcome:
    """Photographs whose bytes an earlier path has: under the same label, and under another."""
    return Outcome(_duplicates(inputs.sample.named), {})


def _duplicates(named: pa.Table) -> dict[str, Issues]:
    _, first, digest, copies = np.unique(
        codes(named["sha256"]), return_index=True, return_inverse=True, return_counts=True
    )
    of, label = first[digest], codes(named["label"])
    again = of != np.arange(len(of))
    other_label = label != label[of]
    issues = {}
    for kind, wanted in (("duplicate", again & ~other_label), ("duplicate_other_label", again & other_label)):
        rows = gravest(wanted, copies[digest])
        listed: list[Row] = []
        for row, copy, original in zip(rows, rows_of(named, rows), rows_of(named, of[rows]), strict=True):
            message = f"the same bytes as {original['path']}"
            if kind == "duplicate_other_label":
                message += f", which is labelled {quoted(original['label'])}"
            listed.append((copy["path"], copy["label"], original["path"], float(copies[digest[row]]), message))
        issues[kind] = Issues(int(wanted.sum()), listed)
    return issues
