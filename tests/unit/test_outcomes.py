"""The table of what was done to runs on a cluster, and its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.outcomes import Outcomes


def test_a_promise_that_was_kept_is_a_row_with_its_seconds() -> None:
    outcomes = Outcomes()
    with outcomes.promise("the driver is deleted", "0") as outcome:
        outcome.saw("COMPLETED", "the same table", to_the_end=61.24)
    assert outcomes.table()[2:] == ["| the driver is deleted | 0 | COMPLETED; the same table | 61.2 to the end |"]


def test_a_promise_that_was_not_kept_is_a_row_that_says_so_and_still_fails() -> None:
    outcomes = Outcomes()
    with pytest.raises(AssertionError), outcomes.promise("the store is gone", "4") as outcome:
        outcome.saw("FAILED")
        raise AssertionError("8 is not 4\nand more")
    assert "FAILED; NOT AS PROMISED: AssertionError: 8 is not 4 |" in outcomes.table()[-1]


def test_what_is_said_does_not_break_the_table() -> None:
    outcomes = Outcomes()
    with outcomes.promise("a | b", "0"):
        pass
    assert {line.count("|") for line in outcomes.table()} == {5}


def test_the_file_has_every_row_and_what_the_session_was(tmp_path: Path) -> None:
    outcomes = Outcomes()
    assert not outcomes
    with outcomes.promise("nothing", "0") as outcome:
        outcome.saw("COMPLETED", to_the_line=3)
    assert outcomes
    outcomes.write(tmp_path / "build" / "e2e.json", image="verger:1")
    read = json.loads((tmp_path / "build" / "e2e.json").read_text())
    assert read == {
        "image": "verger:1",
        "outcomes": [
            {
                "done": "nothing",
                "promised": "0",
                "happened": ["COMPLETED"],
                "seconds": {"to the line": 3},
                "kept": True,
            }
        ],
    }
