"""The page of the report: HTML that needs nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from functools import partial
from importlib import resources
from itertools import islice

from verger.insight.report import context
from verger.insight.report.content import Report
from verger.text import plain

MAX_BYTES = 4_900_000
"""Of the page."""


def draw(report: Report) -> str:
    """The page, as HTML that needs nothing from anywhere; with fewer pictures where it were too large with all."""
    found: dict[str, str] = {}

    def read(share: float, wanted: list[tuple[str, str]]) -> dict[str, str]:
        if not report.counts.wanted:  # once
            found.update(report.pictures(wanted))
            report.counts.wanted, report.counts.read = len(wanted), len(found)
        return dict(islice(found.items(), int(len(found) * share)))

    for share in (1.0, 0.5, 0.25, 0.0):
        page = _rendered(replace(report, pictures=partial(read, share)))
        if len(page.encode()) <= MAX_BYTES:
            break
    return page


def _rendered(report: Report) -> str:
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("verger.insight.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # What is marked as safe stays as it is.
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters |= context.FILTERS
    folder = resources.files("verger.insight.report") / "templates"
    style, script = ((folder / name).read_text() for name in ("style.css", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("index.html.j2")
    return template.render(
        context.of(report), style=Markup(style), script=Markup(script), script_hash=f"sha256-{digest}"
    ).lstrip()
