"""The page's first screen: whether the run worked, five figures, and what to do."""

from __future__ import annotations

import pyarrow as pa

from tests.page import (
    AUDIT,
    HOSTILE,
    accuracy_of,
    drawn,
    first_screen,
    manifest,
    sample,
    with_classifier,
)
from verger.insight.report.content import Report
from verger.insight.report.issue_texts import ISSUE_TEXTS
from verger.photographs.suffixes import HIDDEN, NOT_UTF8


def test_issues_are_actions_on_the_first_screen_and_are_shown_below() -> None:
    fruits = ["a", "b"] * 20
    found = pa.table(
        {
            "path": ["/in/a/0000.jpg"],
            "label": ["a"],
            "kind": ["duplicate"],
            "other_path": ["/in/b/0001.jpg"],
            "score": [1.0],
            "message": ["the same bytes as /in/b/0001.jpg"],
        }
    )
    asked: list[tuple[str, str]] = []

    def pictures(photographs: list[tuple[str, str]]) -> dict[str, str]:
        asked.extend(photographs)
        return {path: "data:image/jpeg;base64,AAAA" for path, _ in photographs[:2]}

    given = Report(manifest(fruits, audit=AUDIT), sample(fruits), audit=found, read_thumbnails=pictures)
    _, page = drawn(given)
    assert "Remove 3 copies of photographs" in page.text
    assert "the first 1 of 2 listed" in page.text
    assert "the same bytes as b/0001.jpg" in page.text
    assert asked[:2] == [("/in/a/0000.jpg", "0"), ("/in/b/0001.jpg", "1")]  # before all others
    assert len(asked) == len(set(asked)) <= 600


def test_rejects_and_warnings_are_actions() -> None:
    fruits = ["a"] * 95
    rejected = pa.table(
        {
            "path": [f"/in/a/{number}.jpg" for number in range(120)],
            "label": ["a"] * 120,
            "reason": ["truncated"] * 120,
            "message": [HOSTILE] * 120,
        }
    )
    made = manifest(
        fruits,
        photographs={"rejected": 120, "listed": 215},
        rejected_by_reason={"truncated": 119, "too_small": 1},
        warnings=["one", "two"],
    )
    html, page = drawn(Report(made, sample(fruits), rejected=rejected))
    assert "3 things need a look" in page.text
    assert "Repair or remove 120 rejected photographs" in page.text
    assert "119 truncated, 1 too small" in page.text
    assert "20 more" in page.text
    assert HOSTILE not in html


def test_the_accuracy_tells_its_number_of_photographs() -> None:
    sound = accuracy_of(with_classifier({}))
    assert not sound.weak
    assert "480 photographs" in sound.note
    assert "Always predicting the largest of 2 classes: 50.0%" in sound.note
    few = with_classifier({"n_test": 4})
    assert accuracy_of(few).weak
    _, page = drawn(few)
    assert "Do not rely on the accuracy yet · fewer than 100 photographs were held out" in first_screen(page)


def test_near_duplicates_that_weaken_the_accuracy_are_mentioned_wherever_it_is_shown() -> None:
    why = "480 of 480 held-out photographs have a near-duplicate in Training"
    before = with_classifier({}).classifier  # written before the audit has looked
    given = with_classifier(
        {"split": "own", "weak": True, "weak_because": why, "note": "the folds are refitted"}, before
    )
    assert accuracy_of(given).weak
    _, page = drawn(given)
    assert why in first_screen(page)
    assert f"Weak evidence. {why}." in page.text
    assert "The folds are refitted." in page.text


def test_the_audit_names_the_splits_and_weak_evidence() -> None:
    fruits = ["a", "b"] * 20
    counts = {kind: {"found": 0, "listed": 0} for kind in ISSUE_TEXTS}
    counts |= {kind: {"found": 1, "listed": 1} for kind in ("near_duplicate_across_splits", "suspected_mislabel")}
    near = AUDIT["near_duplicates"] | {"across": "Validation and Training"}
    weak = {"photographs_judged": 40, "accuracy": 0.5, "weak": True}
    audit = AUDIT | {"counts": counts, "near_duplicates": near, "suspected_mislabels": weak}
    _, page = drawn(Report(manifest(fruits, audit=audit), sample(fruits)))
    assert "has a near-duplicate across Validation and Training" in first_screen(page)
    assert "weak evidence" in first_screen(page)
    made = manifest(fruits, audit=audit, photographs={"rejected": 1}, rejected_by_reason={"truncated": 1})
    said = first_screen(drawn(Report(made, sample(fruits)))[1])
    assert said.index("near-duplicate across") < said.index("Repair or remove") < said.index("label may be wrong")
    assert "Near-duplicates across Validation and Training" in page.text
    assert "{across}" not in page.text
    counts["suspected_mislabel"] = {"found": 0, "listed": 0}
    _, page = drawn(Report(manifest(fruits, audit=audit), sample(fruits)))
    assert "1 finding to act on." in page.text
    assert "Every finding, a row each, is in" in page.text
    counts["duplicate"] = {"found": 1200, "listed": 1000}
    _, page = drawn(Report(manifest(fruits, audit=audit), sample(fruits)))
    assert "The gravest 1,000 of each kind, a row each, are in" in page.text


def test_labels_are_counted_in_the_table_and_many_rejects_change_the_headline() -> None:
    made = manifest(
        ["ok"] * 3 + ["bad"] * 24,
        photographs={"rejected": 24, "projected": 3},
        rejected_by_reason={"truncated": 24},
        audit=AUDIT | {"counts": AUDIT["counts"] | {"thin_label": {"found": 1, "listed": 1}}},
    )
    gone = pa.table({name: ["x"] * 24 for name in ("path", "reason", "message")} | {"label": ["bad"] * 24})
    given = Report(made, sample(["ok"] * 3), rejected=gone)
    assert given.labels_in_table == {"ok": 3}
    _, page = drawn(given)
    assert "The run finished without 24 of 27 photographs" in first_screen(page)
    assert "The run worked" not in page.text
    assert page.text.index("Repair or remove 24") < page.text.index("Take more photographs of a thin label")
    assert "1 label of 3 photographs. Of 1 more label, every photograph was rejected." in page.text


def test_photographs_without_labels_ask_for_folders() -> None:
    absent = {"absent": "no photograph has a class"}
    _, page = drawn(Report(manifest([""] * 12, classifier=absent), sample([None] * 12)))
    assert "No folder names a label" in page.text
    assert "1 label of" not in page.text
    asked = "Put the photographs of each fruit into a folder of its own · no photograph has a class"
    assert asked in first_screen(page)


def test_ignored_files_are_mentioned_and_images_among_them_are_an_action() -> None:
    fruits = ["a", "b"] * 20
    ignored = {".jp2": 5, ".cr2": 50, ".txt": 2, NOT_UTF8: 3, HIDDEN: 1}
    made = manifest(fruits, photographs={"ignored": ignored})
    _, page = drawn(Report(made, sample(fruits)))
    assert "Beside them, the folder holds 61 other files (50 .cr2, 5 .jp2, 3 (not UTF-8)" in first_screen(page)
    assert "Turn 50 .cr2, 5 .jp2 into JPEG or PNG" in first_screen(page)
    assert "Rename 3 files whose names are not UTF-8" in first_screen(page)
    assert "Not read, as photographs do not end so: 61 other files" in page.text
    _, page = drawn(Report(manifest(fruits, photographs={"ignored": {".txt": 1}}), sample(fruits)))
    assert "Beside them, the folder holds 1 other file (1 .txt)." in first_screen(page)
    assert "Nothing needs doing" in page.text
