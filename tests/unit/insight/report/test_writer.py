"""Writing the report into a run's folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.page import (
    manifest,
    sample,
)
from verger.insight.report import html, writer
from verger.insight.report.content import Report
from verger.storage.local import LocalStorage
from verger.tables.runs import Run


def test_a_report_that_cannot_be_drawn_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("verger.insight.report.html.draw", fails)
    with pytest.raises(RuntimeError):
        writer.write(Run(str(tmp_path), "x", LocalStorage()), Report(manifest(["a"] * 12), sample(["a"] * 12)))
    assert list(tmp_path.rglob("*.*")) == []


def test_missing_thumbnails_are_counted_and_warned_of() -> None:
    fruits: list[str] = ["Apple", "Pear"] * 10

    def pictured(read: int, left_out: int = 0) -> Report:
        given = Report(manifest(fruits), sample([*fruits]))
        given.thumbnail_counts.left_out = left_out
        given = replace(given, read_thumbnails=lambda wanted: {path: "data:" for path, _ in wanted[:read]})
        html.draw(given)
        return given

    some = pictured(9)
    assert (some.thumbnail_counts.wanted, some.thumbnail_counts.read, some.thumbnail_counts.left_out) == (20, 9, 0)
    lacking = "few pictures: only 9 of the 20 photographs could be read; they were looked for in /in"
    assert writer._missing_thumbnails(some, "/in") == lacking
    assert "no pictures: none of the 20 " in str(writer._missing_thumbnails(pictured(0), "/in"))
    assert writer._missing_thumbnails(pictured(10), "/in") is None
    assert writer._missing_thumbnails(pictured(0, left_out=20), "/in") is None
    assert writer._missing_thumbnails(Report(manifest([], labels={})), "/in") is None
