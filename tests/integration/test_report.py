"""The report of a real run, and what a browser makes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import Browser
from tests.integration.runs import WITH_INSIGHT, finished, photographs, run, verger
from verger.config import ResultSettings
from verger.insight.report.context import SECTIONS
from verger.insight.report.writer import redraw
from verger.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

PICTURES = {"scree.png", "labels.png", "scatter.png"}


@pytest.fixture(scope="module")
def reported(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The second run over a folder in which photographs are new, gone and broken: its folder and manifest."""
    folder = tmp_path_factory.mktemp("reported")
    paths = photographs(folder / "in", 40)
    run(spark, folder, **WITH_INSIGHT)
    photographs(folder / "in", 6, start=40)
    paths[0].unlink()
    paths[1].write_bytes(b"no <b>image</b>")
    document = run(spark, folder, **WITH_INSIGHT)
    return folder, document


def page_of(folder: Path, document: dict[str, Any]) -> Path:
    return folder / "out" / document["report"]["path"]


def test_a_run_writes_its_report_and_says_so(reported: tuple[Path, dict[str, Any]]) -> None:
    folder, document = reported
    page = page_of(folder, document)
    html = page.read_text()
    assert {path.name for path in page.parent.iterdir()} == {"index.html"} | PICTURES
    assert "report" in document["timings_s"]
    assert document["warnings"] == []
    assert html.count("data:image/jpeg;base64,") >= 40
    assert "6 new, 2 gone" in html
    assert "Repair or remove 1 rejected photograph" in html
    assert len(html) < 5_000_000


def test_a_report_is_drawn_again_without_spark(reported: tuple[Path, dict[str, Any]]) -> None:
    folder, document = reported
    page = page_of(folder, document)
    before = page.read_text()
    page.unlink()
    inject = "import sys; sys.modules['pyspark'] = sys.modules['tensorflow'] = None"
    code, stderr, lines = finished(verger("report", "--run", str(folder / "out"), inject=inject, cwd=folder))
    assert code == 0, stderr
    assert lines[-1] == {"event": "done", "report": str(page)}
    assert f"Report: {page}" in stderr
    after = page.read_text()
    assert after.count("data:image/jpeg;base64,") == before.count("data:image/jpeg;base64,")
    assert "6 new, 2 gone" in after


def redrawn(output: Path) -> tuple[str, list[str]]:
    """The page, drawn again in this process, and the warnings."""
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        page = redraw(ResultSettings(), str(output), progress)
        return Path(page).read_text(), progress.warnings


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("model/classifier.json", b"{", "what is known of the classifier cannot be read: .*json is damaged"),
        ("model/classifier.json", b"[]", "what is known of the classifier cannot be read: .*json is damaged"),
        ("audit", b"PAR1 and no more", "what the audit found cannot be read: .*audit is damaged"),
        ("rejected", b"PAR1 and no more", "what was rejected cannot be read: .*rejected is damaged"),
        ("projection", b"PAR1 and no more", "what the report is drawn from cannot be read: .*projection is damaged"),
        ("projection", None, "what the report is drawn from cannot be read: the run's table, .*projection, is gone"),
        ("pca/pca.npz", b"PK", "the components cannot be read: .*pca.npz is damaged"),
        ("pca", None, "the components cannot be read: .*pca.json does not exist"),
    ],
)
def test_a_damaged_file_costs_its_section_alone(
    reported: tuple[Path, dict[str, Any]], tmp_path: Path, file: str, content: bytes | None, said: str
) -> None:
    folder, document = reported
    shutil.copytree(folder / "out", tmp_path / "out")
    place = tmp_path / "out" / "runs" / document["run_id"] / file
    if content is None:
        shutil.rmtree(place)
    for path in place.glob("*.parquet") if place.is_dir() else [place] if content else []:
        path.write_bytes(content or b"")
    html, warnings = redrawn(tmp_path / "out")
    assert len(warnings) == 1
    assert re.search(said, warnings[0])
    assert all(f'id="{section}"' in html for section in SECTIONS)


def test_a_page_without_pictures_says_so(reported: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, document = reported
    shutil.copytree(folder / "out", tmp_path / "out")
    away = folder.with_name("away")
    (folder / "in").rename(away)
    try:
        html, warnings = redrawn(tmp_path / "out")
    finally:
        away.rename(folder / "in")
    assert "data:image/jpeg;base64," not in html
    (warning,) = warnings
    assert warning.startswith(f"the page of run {document['run_id']} has no pictures: none of the ")
    assert warning.endswith(f" photographs could be read; they were looked for in {folder / 'in'}")


def test_without_the_report_option_no_report_is_written(spark: SparkSession, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 8)
    document = run(spark, tmp_path, report=False)
    assert "report" not in document
    assert not (tmp_path / "out" / "runs" / document["run_id"] / "report").exists()


def test_a_report_that_cannot_be_drawn_is_a_warning(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "in", 8)

    def broken(*_: object) -> str:
        raise RuntimeError("no ink")

    monkeypatch.setattr("verger.insight.report.html.draw", broken)
    document = run(spark, tmp_path, **WITH_INSIGHT)
    assert "report" not in document
    assert "the report was not drawn: RuntimeError: no ink" in document["warnings"]
    assert json.loads((tmp_path / "out" / "latest.json").read_text())["run_id"] == document["run_id"]


@pytest.mark.parametrize("width, phone, dark", [(1280, False, False), (1280, False, True), (390, True, False)])
def test_a_browser_shows_every_section_without_errors(
    reported: tuple[Path, dict[str, Any]], browser: Browser, width: int, phone: bool, dark: bool
) -> None:
    page = page_of(*reported)
    browser.screen(width, 800, phone, dark)
    browser.open(page)
    titles = "Object.fromEntries([...document.querySelectorAll('main > section')].map(s => [s.id, s.offsetHeight]))"
    heights = browser.evaluate(titles)
    assert set(heights) == set(SECTIONS)
    assert min(heights.values()) > 50
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(19, 22, 20)" if dark else "rgb(250, 249, 245)"
    )
    assert browser.said == []
    assert {address for address in browser.asked if not address.startswith("data:")} == {page.resolve().as_uri()}


def test_the_scatter_plot_reacts_to_mouse_and_keyboard(reported: tuple[Path, dict[str, Any]], browser: Browser) -> None:
    browser.screen(1280, 900)
    browser.open(page_of(*reported))
    # Pointing at a dot shows its photograph; a click on it shows its label alone, a second one all of them.
    x, y, label = browser.evaluate(
        "(() => { document.documentElement.style.scrollBehavior = 'auto';"
        "const dot = document.querySelector('#cloud circle'); dot.scrollIntoView({block: 'center'});"
        "const box = dot.getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2, dot.parentNode.dataset.label]; })()"
    )
    browser.mouse("mouseMoved", x, y)
    assert browser.evaluate("document.querySelector('#cloud-tip b').textContent") == label
    assert browser.evaluate("document.querySelector('#cloud-tip img').naturalWidth") > 0
    picked = "[...document.querySelectorAll('#cloud-key [aria-pressed=true]')].map(b => b.dataset.label)"
    for kind in ("mousePressed", "mouseReleased"):
        browser.mouse(kind, x, y)
    assert browser.evaluate(picked) == [label]
    dim = "getComputedStyle(document.querySelector('#cloud g.of:not(.on)')).opacity"
    assert browser.evaluate(f"new Promise(done => setTimeout(() => done({dim}), 400))") == "0.1"
    # Arrow keys go from dot to dot of the picked label, Escape shows all.
    browser.evaluate("document.getElementById('cloud').focus()")
    browser.press("ArrowRight")
    assert browser.evaluate("document.querySelector('#cloud circle.at').parentNode.dataset.label") == label
    assert not browser.evaluate("document.getElementById('cloud-tip').hidden")
    browser.press("Escape")
    assert browser.evaluate(picked) == []
    assert browser.evaluate("document.getElementById('cloud-tip').hidden")
    # A table is sorted by its heads.
    browser.evaluate("document.querySelectorAll('#statistics th button')[1].click()")
    counts = browser.evaluate("[...document.querySelectorAll('#statistics tbody tr')].map(r => +r.cells[1].dataset.v)")
    assert counts == sorted(counts, reverse=True)
    assert browser.said == []


def first_dot(browser: Browser) -> tuple[float, float]:
    """Where the first dot is in the window."""
    x, y = browser.evaluate(
        "(() => { document.documentElement.style.scrollBehavior = 'auto';"
        "const dot = document.querySelector('#cloud circle'); dot.scrollIntoView({block: 'center'});"
        "const box = dot.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    return x, y


def test_a_tap_beside_a_dot_keeps_its_photograph_shown(reported: tuple[Path, dict[str, Any]], browser: Browser) -> None:
    browser.screen(390, 844, phone=True)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        browser.open(page_of(*reported))
        x, y = first_dot(browser)
        browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x - 8, "y": y + 8}])
        browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        hidden = "document.getElementById('cloud-tip').hidden"
        assert not browser.evaluate(f"new Promise(done => setTimeout(() => done({hidden}), 600))")
        assert browser.evaluate("document.querySelectorAll('#cloud-key [aria-pressed=true]').length") == 1
    finally:
        browser.call("Emulation.setTouchEmulationEnabled", enabled=False)


def test_the_first_step_backwards_goes_to_the_last_dot(reported: tuple[Path, dict[str, Any]], browser: Browser) -> None:
    browser.screen(1280, 900)
    browser.open(page_of(*reported))
    browser.evaluate("document.getElementById('cloud').focus()")
    at = "[...document.querySelectorAll('#cloud circle')].findIndex(it => it.classList.contains('at'))"
    last = browser.evaluate("document.querySelectorAll('#cloud circle').length") - 1
    for key, where in (
        ("ArrowLeft", last),
        ("ArrowRight", 0),
        ("ArrowRight", 1),
        ("ArrowLeft", 0),
        ("ArrowLeft", last),
    ):
        browser.press(key)
        assert browser.evaluate(at) == where


def test_in_print_no_label_is_picked(reported: tuple[Path, dict[str, Any]], browser: Browser) -> None:
    browser.screen(794, 1123, media="print")
    browser.open(page_of(*reported))
    browser.evaluate("document.querySelector('#cloud-key button').click()")
    dim = "getComputedStyle(document.querySelector('#cloud g.of:not(.on)')).opacity"
    assert browser.evaluate(f"new Promise(done => setTimeout(() => done({dim}), 400))") == "1"
    assert browser.evaluate("document.getElementById('cloud').offsetHeight") < 561  # half a page, beside its heading
    browser.evaluate("document.querySelector('details.settings').open = true")
    assert browser.evaluate("document.querySelector('details.settings').offsetHeight") < 561
