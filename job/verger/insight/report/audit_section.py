"""Section of the page on the audit: how many issues of each kind there are, and the gravest of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from verger.insight.names import NO_LABEL, shorten
from verger.insight.report.content import Report
from verger.insight.report.issue_texts import ISSUE_TEXTS, IssueText
from verger.insight.report.manifest_values import are_mislabels_weak, compared_splits, issue_counts, why_no_classifier
from verger.insight.report.sections import MAX_ROWS, NAME_COLUMNS, NOTHING
from verger.tables.manifest import Manifest

MAX_SHOWN = 8
"""Issues of a kind, with their photographs."""
MESSAGE_COLUMNS = 240
"""Columns of text of a message."""

Photograph = Callable[[str], dict[str, Any]]
"""What the template shows of a photograph, by its path."""


def audit(report: Report, source: str, photograph: Photograph) -> dict[str, Any] | None:
    """What the audit has found; None where the run was not audited.

    Parameters
    ----------
    report : Report
        What is drawn.
    source : str
        Canonical URI of the input, without a slash at the end.
    photograph : callable
        What the template shows of a photograph, by its path.
    """
    summary = report.manifest.audit
    if summary is None:
        return None
    found, splits = issue_counts(report.manifest), compared_splits(report.manifest)
    listed = {kind: count.listed for kind, count in summary.counts.items()}
    to_act_on = sum(found.get(kind) or 0 for kind, text in ISSUE_TEXTS.items() if text.needs_action)
    incomplete = any((found[kind] or 0) > number >= MAX_ROWS for kind, number in listed.items())
    lead = (
        f"{to_act_on:,} finding{'s' if to_act_on > 1 else ''} to act on."
        if to_act_on
        else "Nothing to act on was found."
    )
    lead += f" Looked at: {summary.sample}; "
    lead += f"{summary.near_duplicates.photographs_compared:,} compared with one another"
    if are_mislabels_weak(report.manifest):
        lead += "; suspected mislabels are weak evidence, the classifier errs too often"
    return {
        "lead": f"{lead}.",
        "rows": [
            {
                "title": text.title.format(across=splits),
                "count": found.get(kind, 0),
                "todo": _advice(report.manifest, text, found.get(kind, 0)),
                "act": text.needs_action,
            }
            for kind, text in ISSUE_TEXTS.items()
        ],
        "kinds": [
            _shown(text.title.format(across=splits), listed[kind], [_issue(row, source, photograph) for row in rows])
            for kind, text in ISSUE_TEXTS.items()
            if (rows := _worst_issues(report, kind))
        ],
        "where": f"runs/{report.manifest.run_id}/audit/",
        "which": f"The gravest {MAX_ROWS:,} of each kind" if incomplete else "Every finding",
    }


def photographs_shown(report: Report) -> list[tuple[str, str]]:
    """Path and version of the photographs that this section shows.

    Parameters
    ----------
    report : Report
        What is drawn.
    """
    rows = [row for kind in ISSUE_TEXTS for row in _worst_issues(report, kind)]
    paths = [path for row in rows for path in (row["path"], row["other_path"]) if path]
    if not paths or report.sample is None:
        return []
    catalogue = report.sample.catalogue
    found = catalogue.filter(pc.is_in(catalogue["path"], value_set=pa.array(paths)))
    return list(zip(found["path"].to_pylist(), found["version"].to_pylist(), strict=True))


def _advice(manifest: Manifest, text: IssueText, found: int | None) -> str:
    """What to do about a kind of issue, or why it was not looked for."""
    if found is None:
        return why_no_classifier(manifest)
    return text.advice if found else NOTHING


def _worst_issues(report: Report, kind: str) -> list[dict[str, Any]]:
    """The first issues of a kind: the table has the gravest first."""
    if report.audit is None:
        return []
    rows = report.audit.filter(pc.equal(report.audit["kind"], kind))
    return list(rows.slice(0, MAX_SHOWN).to_pylist())


def _issue(row: dict[str, Any], source: str, photograph: Photograph) -> dict[str, Any]:
    one, other = row["path"], row["other_path"]
    return {
        "label": shorten(row["label"] or NO_LABEL, NAME_COLUMNS),
        "one": photograph(one) if one else None,
        "other": photograph(other) if other else None,
        "message": shorten(row["message"].replace(source + "/", ""), MESSAGE_COLUMNS),
    }


def _shown(title: str, listed: int, issues: list[dict[str, Any]]) -> dict[str, Any]:
    photographs = [shown for issue in issues for shown in (issue["one"], issue["other"]) if shown]
    pictured = any(shown["picture"] for shown in photographs)
    return {"title": title, "listed": listed, "shown": issues, "pictured": pictured}
