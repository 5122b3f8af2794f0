"""The report's charts as PNGs."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import resvg_py
from markupsafe import Markup
from PIL import Image, ImageFont

from tests.page import HOSTILE, manifest, sample
from verger.insight.report import html, png_charts
from verger.insight.report.content import Report
from verger.insight.report.templating import read, template


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[Report], dict[str, str]]:
    """Draws a report's charts and returns their SVG."""

    def draw(report: Report) -> dict[str, str]:
        with monkeypatch.context() as patch:
            patch.setattr(png_charts, "_png", lambda svg: svg.encode())
            return {name: svg.decode() for name, svg in png_charts.draw(report).items()}

    return draw


def test_labels_with_equal_beginnings_have_separate_bars(drawn: Callable[[Report], dict[str, str]]) -> None:
    names = [f"photographs of the orchard north of the river, row {row}" for row in range(1, 6)]
    labels = [name for row, name in enumerate(names, 1) for _ in range(10 * row)]
    svg = drawn(Report(manifest(labels)))["labels.png"]
    assert len(set(re.findall(r'class="bar in" x="222.0" y="(\d+)"', svg))) == 5
    assert len(set(re.findall(r'class="name"[^>]*>([^<]*)<', svg))) == 5


@pytest.mark.parametrize(("labels", "columns"), [(20, 1), (21, 2), (40, 2), (41, 3), (200, 3)])
def test_labels_are_in_columns_that_fit(drawn: Callable[[Report], dict[str, str]], labels: int, columns: int) -> None:
    names = [f"a long name of a label {number}" for number in range(labels)]
    svg = drawn(Report(manifest(names)))["labels.png"]
    bars = [
        (float(x), float(width))
        for x, width in re.findall(r'class="bar \w+" x="([\d.]+)" y="\d+" width="([\d.]+)"', svg)
    ]
    assert len(bars) == min(labels, 60)
    assert len({x for x, _ in bars}) == columns
    assert max(x + width for x, width in bars) < 880 - 24 - 40  # room for the count


def test_charts_are_the_pages(drawn: Callable[[Report], dict[str, str]]) -> None:
    report = Report(manifest(fruits := ["Apple", "Pear", "Plum"] * 9), sample(fruits))
    page, charts = html.draw(report), drawn(report)
    for name, pattern in (("scree.png", r"<(?:rect|line|polyline)[^>]*>"), ("scatter.png", r"<circle cx[^>]*>")):
        marks = re.findall(pattern, charts[name])
        assert len(marks) > 8 and all(mark in page for mark in marks)


def test_charts_are_drawn_for_any_label(capfd: pytest.CaptureFixture[str]) -> None:
    fruits: list[str] = ["$a_{b}$", HOSTILE, "日本語" * 30, "x" * 200, "]]>&amp;\x00\ufffe\uffff", "تفاح"] * 20
    made = png_charts.draw(Report(manifest(fruits), sample([*fruits])))
    assert set(made) == {"scree.png", "labels.png", "scatter.png"}
    for picture in made.values():
        with Image.open(io.BytesIO(picture)) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
    assert set(png_charts.draw(Report(manifest([], labels={})))) == {"scree.png"}
    assert capfd.readouterr() == ("", "")


def test_text_needs_no_font_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resvg_py, "svg_to_bytes", partial(resvg_py.svg_to_bytes, skip_system_fonts=True))
    picture = png_charts.draw(Report(manifest(["Apple", "Яблоко"] * 9)))["labels.png"]
    with Image.open(io.BytesIO(picture)) as image:
        dark = np.asarray(image.convert("L")) < 90
    assert dark[30:90, :500].sum() > 500  # the title
    assert dark[150:260, 40:340].sum() > 500  # names


def test_charts_have_the_pages_light_colours_and_no_variables() -> None:
    style = png_charts._light_style()
    accent = re.search(r"--accent: (#\w+);", read("style.css"))
    assert accent and f"fill: {accent[1]}" in style
    assert "var(" not in style


def test_names_have_room_and_differ(drawn: Callable[[Report], dict[str, str]]) -> None:
    wide = [f"GRANNY_SMITH_{row}_FROM_THE_ORCHARD_IN_THE_NORTH" for row in range(60)]
    charts = drawn(Report(manifest(wide), sample(wide[:5])))
    names = re.findall(r'class="name"[^>]*>([^<]*)<', charts["labels.png"])
    assert len(set(names)) == 60
    assert len(set(re.findall(r'class="name"[^>]*>([^<]*)<', charts["scatter.png"]))) == 5
    font = ImageFont.truetype(Path(png_charts.__file__).with_name("fonts") / png_charts.FONT, 11)
    assert max(font.getlength(name) for name in names) <= 132 + 1  # a bar begins 8 units behind the name's column


def test_a_thin_label_is_marked_beside_its_bar(drawn: Callable[[Report], dict[str, str]]) -> None:
    svg = drawn(Report(manifest(["Apple"] * 900 + ["Pear"])))["labels.png"]
    assert re.search(r'class="bar thin"[^>]*width="1.0"[^>]*/><text class="thin"[^>]*>1<', svg)


@pytest.mark.parametrize(
    ("k", "labels", "title"),
    [
        (1, ["Apple"], "1 photograph of 1 label in the first component"),
        (5, ["Apple", "Pear"] * 2, "4 photographs of 2 labels in the first two components"),
        (2, ["Apple", "Pear"] * 1000, "1,500 of 2,000 photographs of 2 labels in the first two components"),
    ],
)
def test_the_scatter_plot_says_what_it_shows(
    drawn: Callable[[Report], dict[str, str]], k: int, labels: list[str], title: str
) -> None:
    assert f">{title}<" in drawn(Report(manifest(labels, k=k), sample([*labels], k=k)))["scatter.png"]


def test_a_caption_is_escaped_once() -> None:
    rendered = template("png.svg.j2").module.lines(Markup("a &lt; b"), 20, 0, 0)  # type: ignore[attr-defined]
    assert rendered == '<text x="0" y="0">a &lt; b</text>'
