"""The page's charts as PNGs, for slides and letters."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from verger.insight.names import shorten
from verger.insight.report import sections
from verger.insight.report.content import Report
from verger.insight.report.sample_sections import scatter_chart
from verger.insight.report.templating import PACKAGE, read, template

FONT = "DejaVuSans.ttf"
"""Comes with the package, as containers often have no font. Fonts of the machine have the letters that it lacks."""
_ZOOM = 2  # pixels of a unit of SVG
_WIDTH, _MARGIN, _GAP = 880, 24, 20
_ROWS_A_COLUMN, _ROW_HEIGHT = 20, 18
_CELL = 6.6  # about as wide is a letter
_KEY_COLUMNS = 22


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
    sheets: Any = template("png.svg.j2").module
    scree = sections.scree(report)
    chosen = f"{scree['chosen']:,} component{'s keep' if scree['chosen'] != 1 else ' keeps'}"
    charts = {"scree.png": sheets.scree(scree, f"{chosen} {scree['kept']:.1%} of the variance")}
    labels = sections.labels(report)
    if labels["rows"]:
        charts["labels.png"] = sheets.labels(_bars(labels["rows"]), "Photographs by label", labels["lead"])
    if scatter := scatter_chart(report):
        dots, groups = sum(len(group["points"]) for group in scatter["groups"]), len(scatter["groups"])
        title = f"{dots:,} photographs of {groups:,} label{'s' * (groups > 1)} in the first two components"
        key = [{"name": shorten(name, _KEY_COLUMNS), "colour": colour} for name, colour in scatter["classes"].items()]
        charts["scatter.png"] = sheets.scatter(scatter, title, key if scatter["few"] else [])
    return {name: _png(svg) for name, svg in charts.items()}


def _bars(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The page's bars in as many columns as a slide has room for."""
    columns = -(-len(rows) // _ROWS_A_COLUMN)
    tall = -(-len(rows) // columns)
    width = (_WIDTH - 2 * _MARGIN - _GAP * (columns - 1)) / columns
    name_width = (190, 150, 135)[columns - 1]
    longest = width - name_width - 60
    top = 96
    return {
        "height": top + _ROW_HEIGHT * tall + 12,
        "name_width": name_width,
        "rows": [
            {
                "name": shorten(row["name"], int(name_width / _CELL)),
                "text": row["text"],
                "thin": row["thin"],
                "x": round(_MARGIN + (width + _GAP) * (number // tall), 1),
                "y": top + _ROW_HEIGHT * (number % tall),
                "width": round(longest * row["width"] / 100, 1),
            }
            for number, row in enumerate(rows)
        ],
    }


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
