"""The report's page: one HTML file that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from functools import partial
from importlib import resources
from itertools import islice

from verger.insight.report.content import Report
from verger.insight.report.context import FILTERS, template_context
from verger.text import plain

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
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("verger.insight.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # Markup is a subclass of str, and stays as it is.
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters |= FILTERS
    folder = resources.files("verger.insight.report") / "templates"
    style, script = ((folder / name).read_text() for name in ("style.css", "script.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("index.html.j2")
    return template.render(
        template_context(report), style=Markup(style), script=Markup(script), script_hash=f"sha256-{digest}"
    ).lstrip()
