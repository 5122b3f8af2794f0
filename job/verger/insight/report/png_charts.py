"""The page's charts as PNGs, for slides and letters."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from rich.cells import cell_len

from verger.insight.names import shorten_uniquely
from verger.insight.report import sections
from verger.insight.report.content import Report
from verger.insight.report.sample_sections import scatter_chart
from verger.insight.report.sections import NAME_COLUMNS
from verger.insight.report.templating import PACKAGE, read, template

FONT = "DejaVuSans.ttf"
"""Bundled, as containers often have no fonts. Letters that it lacks, such as Chinese ones, come from system fonts."""
_ZOOM = 2  # pixels of a unit of SVG
_WIDTH, _MARGIN, _GAP = 880, 24, 20
_ROWS_A_COLUMN, _ROW_HEIGHT = 20, 18
_FONT_SIZE = 11  # as in charts.css
_WIDE_LETTER = 5.5  # half the width of a Chinese letter of that size
_KEY_WIDTH = 155


def draw(report: Report) -> dict[str, bytes]:
    """Draw every chart that there is something for.

    Parameters
    ----------
    report : Report
        What is drawn.

    Returns
    -------
    dict of str to bytes
        PNGs by file name.
    """
    canvas: Any = template("png.svg.j2").module
    scree, labels, scatter = sections.scree(report), sections.labels(report), scatter_chart(report)
    charts = {"scree.png": canvas.scree(scree)}
    if labels["rows"]:
        charts["labels.png"] = canvas.labels(_bars(labels["rows"]), labels["lead"])
    if scatter is not None:
        named = scatter["classes"] if scatter["few"] else {}
        names = _fitted(list(named), _KEY_WIDTH)
        charts["scatter.png"] = canvas.scatter(scatter, [(names[name], colour) for name, colour in named.items()])
    return {name: _png(svg) for name, svg in charts.items()}


def _bars(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The page's bars in as many columns as a slide has room for."""
    columns = -(-len(rows) // _ROWS_A_COLUMN)
    tall = -(-len(rows) // columns)
    width = (_WIDTH - 2 * _MARGIN - _GAP * (columns - 1)) / columns
    name_width = min(190, width // 2)
    names = _fitted([row["name"] for row in rows], name_width)
    longest = width - name_width - 60
    top = 96
    return {
        "height": top + _ROW_HEIGHT * tall + 12,
        "name_width": name_width,
        "rows": [
            {
                "name": names[row["name"]],
                "text": row["text"],
                "thin": row["thin"],
                "x": round(_MARGIN + (width + _GAP) * (number // tall), 1),
                "y": top + _ROW_HEIGHT * (number % tall),
                "width": max(1.0, round(longest * row["width"] / 100, 1)),
            }
            for number, row in enumerate(rows)
        ],
    }


def _fitted(names: list[str], width: float) -> dict[str, str]:
    """Different names, shortened until each has room in so many units of SVG; they still differ."""
    from PIL import ImageFont

    with resources.as_file(resources.files(PACKAGE) / "fonts" / FONT) as path:
        font = ImageFont.truetype(path, _FONT_SIZE)

    def wide(name: str) -> float:
        return max(font.getlength(name), _WIDE_LETTER * cell_len(name))

    for columns in range(NAME_COLUMNS, 8, -1):
        fitted = shorten_uniquely(names, columns)
        if all(wide(name) <= width for name in fitted.values()):
            break
    return fitted


def _png(svg: str) -> bytes:
    import resvg_py

    # XML has no place for these two characters, even escaped.
    text = re.sub("[\ufffe\uffff]", "\ufffd", svg)
    with resources.as_file(resources.files(PACKAGE) / "fonts" / FONT) as font:
        return resvg_py.svg_to_bytes(
            svg_string=text,
            style_sheet=_light_style(),
            background="white",
            zoom=_ZOOM,
            font_files=[str(font)],
            sans_serif_family="DejaVu Sans",
        )


def _light_style() -> str:
    """The charts' style sheet in the page's light colours, without variables, which resvg does not know."""
    light = read("style.css").partition("@media")[0]
    values = dict(re.findall(r"--([\w-]+): ([^;]+);", light)) | {"sans": "'DejaVu Sans', sans-serif"}
    return re.sub(r"var\(--([\w-]+)\)", lambda match: values[match[1]], read("charts.css"))
