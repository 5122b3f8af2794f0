"""The context of the page's template: everything that it shows, bounded in number."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from verger.insight.report import sections
from verger.insight.report.classifier_section import classifier
from verger.insight.report.content import Report
from verger.insight.report.manifest_values import why_no_classifier
from verger.insight.report.sample_sections import sections_with_photographs
from verger.insight.report.verdict import verdict_of

SECTIONS = {
    "labels": "Labels",
    "components": "Components",
    "scatter": "Scatter",
    "statistics": "Statistics",
    "typical": "Typical and odd",
    "audit": "Audit",
    "rejects": "Rejects",
    "classifier": "Classifier",
    "since": "Since the last run",
    "time": "Time",
    "cost": "Cost",
    "residency": "Residency",
    "configuration": "Configuration",
}
"""Titles by id, in the page's order."""


def template_context(report: Report) -> dict[str, Any]:
    """Everything that the template shows.

    Parameters
    ----------
    report : Report
        Its thumbnails are read.
    """
    manifest = report.manifest
    source, output = (place.uri.rstrip("/") for place in (manifest.input, manifest.output))
    table = f"{output}/runs/{manifest.run_id}"
    with_photographs = sections_with_photographs(report, source)
    return {
        "m": manifest,
        "sections": list(SECTIONS.items()),
        "when": f"{datetime.fromisoformat(manifest.started_at):%-d %B %Y, %H:%M} UTC",
        "verdict": verdict_of(manifest, report.labels_in_table),
        "table": table,
        "labels": sections.labels(report),
        "scree": sections.scree(report),
        "cloud": None,
        "statistics": None,
        "typical": None,
        "rejects": sections.rejects(report, source),
        "classifier": classifier(report),
        "since": sections.changes_since_previous_run(report),
        "time": sections.time(manifest),
        "residency": sections.residency(manifest),
        "command": sections.command(manifest),
        "settings": sections.settings(manifest),
        "footer": f"Drawn by verger {manifest.verger_version} from {table}. "
        "Features stay in the store: the same command again computes only what is new.",
        "why": {
            "sample": "The photographs' components could not be read for the report; the warnings say why.",
            "audit": "This run was not audited; where that was not wanted, the warnings say why.",
            "classifier": why_no_classifier(manifest),
            "since": "This is the first finished run of its name, or the one before cannot be read any more.",
        },
        **with_photographs,
    }
