"""The report's charts as PNGs."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from tests.page import (
    HOSTILE,
    manifest,
    sample,
)
from verger.insight.report import png_charts
from verger.insight.report.content import Report


def test_labels_with_equal_beginnings_have_separate_bars() -> None:
    counts = {f"photographs of the orchard north of the river, row {row}": 10 * row for row in range(1, 6)}
    (axes,) = png_charts._labels(counts).axes
    assert len({round(bar.get_y(), 2) for bar in axes.patches}) == 5
    assert len({text.get_text() for text in axes.get_yticklabels()}) == 5


def test_charts_are_drawn_without_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dict(
            png_charts.draw(Report(manifest(["日本語" * 30, "x" * 200] * 20), sample(["日本語" * 30, "x" * 200] * 20)))
        )


def test_charts_are_drawn_for_any_label() -> None:
    fruits: list[str] = ["$a_{b}$", HOSTILE] * 20
    made = dict(png_charts.draw(Report(manifest(fruits), sample([*fruits]))))
    assert set(made) == {"scree.png", "labels.png", "scatter.png"}
    for picture in made.values():
        with Image.open(io.BytesIO(picture)) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
    assert set(dict(png_charts.draw(Report(manifest([], labels={}))))) == {"scree.png"}
