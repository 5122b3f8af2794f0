"""The report's page: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from functools import partial
from itertools import islice

from verger.insight.report.content import Report
from verger.insight.report.context import template_context
from verger.insight.report.templating import read, template

MAX_BYTES = 4_900_000
"""Of the page."""


def draw(report: Report) -> str:
    """Draw the page, with fewer thumbnails where it would be too large with all of them.

    Parameters
    ----------
    report : Report
        Its thumbnails are read once.

    Returns
    -------
    str
        HTML.
    """
    thumbnails: dict[str, str] = {}

    def read_share(share: float, photographs: list[tuple[str, str]]) -> dict[str, str]:
        if not report.thumbnail_counts.wanted:  # the first time
            thumbnails.update(report.read_thumbnails(photographs))
            report.thumbnail_counts.wanted, report.thumbnail_counts.read = len(photographs), len(thumbnails)
        return dict(islice(thumbnails.items(), int(len(thumbnails) * share)))

    for share in (1.0, 0.5, 0.25, 0.0):
        page = _render(replace(report, read_thumbnails=partial(read_share, share)))
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def _render(report: Report) -> str:
    from markupsafe import Markup

    style, script = read("charts.css") + read("style.css"), read("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        template("index.html.j2")
        .render(template_context(report), style=Markup(style), script=Markup(script), script_hash=f"sha256-{digest}")
        .lstrip()
    )
