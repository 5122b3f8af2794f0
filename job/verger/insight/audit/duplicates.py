"""Photographs with the same bytes as another one, under the same label or under another."""

from __future__ import annotations

import numpy as np

from verger.insight.arrays import category_codes
from verger.insight.audit.issues import AuditInput, CheckResult, IssueList, IssueRow, quoted, rows_as_dicts, worst_first

KINDS = ("duplicate", "duplicate_other_label")


def find(given: AuditInput) -> CheckResult:
    """Find photographs whose SHA-256 a photograph has that comes earlier by path.

    Parameters
    ----------
    given : AuditInput
        Its catalogue is looked at, which is sorted by path.
    """
    catalogue = given.sample.catalogue
    _, first, digest, copies = np.unique(
        category_codes(catalogue["sha256"]), return_index=True, return_inverse=True, return_counts=True
    )
    original, label = first[digest], category_codes(catalogue["label"])
    is_copy = original != np.arange(len(original))
    same_label = label == label[original]
    issues = {}
    for kind, is_issue in zip(KINDS, (is_copy & same_label, is_copy & ~same_label), strict=True):
        rows = worst_first(is_issue, copies[digest])
        listed: list[IssueRow] = []
        pairs = zip(rows_as_dicts(catalogue, rows), rows_as_dicts(catalogue, original[rows]), strict=True)
        for row, (copy, earlier) in zip(rows, pairs, strict=True):
            message = f"the same bytes as {earlier['path']}"
            if kind == "duplicate_other_label":
                message += f", which is labelled {quoted(earlier['label'])}"
            listed.append((copy["path"], copy["label"], earlier["path"], float(copies[digest[row]]), message))
        issues[kind] = IssueList(int(is_issue.sum()), listed)
    return CheckResult(issues)
