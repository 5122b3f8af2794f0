"""The report's page: complete whatever a run has, and it loads nothing from elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.page import (
    AUDIT,
    HOSTILE,
    document,
    drawn,
    manifest,
    sample,
    with_classifier,
)
from verger.insight import names
from verger.insight.report.content import Report


def shapes() -> Iterator[Any]:
    fruits = ["Apple 5", "Apple 10"] * 20
    yield pytest.param(Report(manifest(fruits), sample(fruits)), ["Nothing needs doing"], id="plain")
    yield pytest.param(Report(manifest(fruits)), ["could not be read", "not audited"], id="no sample")
    many = [f"label {number}" for number in range(500) for _ in range(4)]
    yield pytest.param(Report(manifest(many), sample(many)), ["500 labels", "The other 440 labels"], id="500 labels")
    none: list[str | None] = [None] * 12
    bare = manifest([""] * 12, labels={})
    yield pytest.param(Report(bare, sample(none)), ["No folder names a label", names.NO_LABEL], id="no labels")
    one = manifest(fruits, k=1)
    yield pytest.param(Report(one, sample(fruits, k=1)), ["1 component keeps", "Random height"], id="k = 1")
    remote = "s3://bucket/fruit & more"
    yield pytest.param(Report(manifest(fruits, source=remote), sample(fruits, remote)), [remote], id="S3")
    hostile = [HOSTILE, "b"] * 20
    yield pytest.param(Report(manifest(hostile), sample(hostile)), [HOSTILE], id="hostile")
    single = manifest(["a"], k=1)
    yield pytest.param(Report(single, sample(["a"], k=1)), ["1 label of 1 photograph."], id="one photograph")
    free = {"eur": None, "eur_per_1000": None, "assumptions": []}
    known = manifest(fruits, photographs={"computed": 0, "known": 40}, cost=free)
    yield pytest.param(Report(known, sample(fruits)), ["nothing was new", "unknown"], id="nothing computed")


@pytest.mark.parametrize("given, says", list(shapes()))
def test_the_page_is_complete_for_every_sort_of_run(given: Report, says: list[str]) -> None:
    text, page = drawn(given)
    for words in says:
        assert words in page.text
    assert HOSTILE not in text


def test_long_messages_are_shortened() -> None:
    fruits = ["a", "b"] * 20
    rows = {"path": ["/in/a/0000.jpg"], "label": ["a"], "kind": ["outlier"], "other_path": [None], "score": [9.0]}
    audit = pa.table(rows | {"message": [f"far from {'x' * 900} it is"]})
    text, _ = drawn(Report(manifest(fruits, audit=AUDIT), sample(fruits), audit=audit))
    assert "far from xxx" in text and "it is" in text
    assert "x" * 300 not in text


def test_without_thumbnails_names_are_shown() -> None:
    fruits = ["a", "b"] * 20
    text, page = drawn(Report(manifest(fruits), sample(fruits)))
    assert "No photograph could be read for this page: names are shown instead." in page.text
    assert "<span>0000.jpg</span>" in text


@pytest.mark.parametrize("controls", ["\u202e", "\u2067", "\x1b[31m", "\u200f"])
def test_control_characters_in_names_are_replaced(controls: str) -> None:
    text, page = drawn(Report(manifest([controls + "a", "b"] * 20), sample([controls + "a", "b"] * 20)))
    assert controls not in text
    assert "\ufffd" in page.text
    assert names.isolate("a") == "a"
    assert names.isolate("\u05d0") == "\u2068\u05d0\u2069"
    assert json.dumps(controls)[1:-1] not in text  # nor in what the script reads


def test_long_names_are_shortened_and_still_differ() -> None:
    labels = ['"' * 230 + f"{number:03d}" for number in range(100)] * 4
    many = document(classes=labels[:100], n_classes=100, confusion_matrix=[[1] * 100] * 100)
    given = Report(manifest(labels), sample([*labels]), classifier=many)
    picture = "data:image/jpeg;base64," + "A" * 8_000
    _, page = drawn(
        replace(given, read_thumbnails=lambda wanted: {path: picture for path, _ in wanted})
    )  # bounded in there
    assert "100 labels" in page.text
    cut = names.shorten_uniquely(["x" * 90, "x" * 91, "y"], 20)
    assert len(set(cut.values())) == 3
    assert names.shorten("字" * 40, 20).count("字") <= 10


def test_only_photographs_far_from_their_label_are_odd() -> None:
    points = np.array([[1.0], [-1.0]] * 10, np.float32)
    given = sample(["a"] * 20, k=1)
    _, page = drawn(Report(manifest(["a"] * 20, k=1), replace(given, components=points)))
    assert "The oddest of all" not in page.text
    assert "None is 1.5 spreads from the middle of its label." in page.text
    points[3] = 9
    _, page = drawn(Report(manifest(["a"] * 20, k=1), replace(given, components=points)))
    assert "The oddest of all" in page.text


def test_scrolling_boxes_can_be_focused_by_keyboard() -> None:
    text, _ = drawn(with_classifier({}))
    boxes = re.findall(r'<div class="scroll[^>]*>', text)
    assert len(boxes) > 3
    assert all('tabindex="0"' in box and "aria-label" in box for box in boxes)
