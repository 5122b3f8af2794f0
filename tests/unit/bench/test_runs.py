"""What the benchmarks read from the lines of a run."""

from __future__ import annotations

import importlib


def test_the_features_stage_ends_with_the_next_stage_and_is_warm_from_the_first_photographs_on() -> None:
    said = [
        (0.5, {"event": "stage", "stage": "list"}),
        (5.0, {"event": "stage", "stage": "features"}),
        (5.0, {"event": "progress", "stage": "features", "done": 0}),
        (9.0, {"event": "progress", "stage": "features", "done": 40}),
        (11.0, {"event": "progress", "stage": "features", "done": 40}),
        (12.0, {"event": "progress", "stage": "features", "done": 400}),
        (14.0, {"event": "progress", "stage": "features", "done": 1000}),
        (15.0, {"event": "stage", "stage": "components"}),
    ]
    found = importlib.import_module("runs").features_stage(said)
    rates = {"photographs_per_s": 100.0, "warm": 160.0}
    assert found == {"seconds": 10.0, "first_s": 9.0, **rates, "longest_wait_s": 3.0}


def test_photographs_that_are_all_shown_at_once_have_the_rate_of_the_whole_stage() -> None:
    said = [
        (5.0, {"event": "stage", "stage": "features"}),
        (9.0, {"event": "progress", "stage": "features", "done": 50}),
        (10.0, {"event": "stage", "stage": "components"}),
    ]
    found = importlib.import_module("runs").features_stage(said)
    assert found["warm"] == found["photographs_per_s"] == 10.0
    assert found["longest_wait_s"] == 0.0


def test_a_timeline_has_the_first_time_of_everything_in_the_order_of_time() -> None:
    said = [
        (0.5, {"event": "stage", "stage": "list"}),
        (5.5, {"event": "progress", "done": 0}),
        (9.5, {"event": "progress", "done": 40}),
        (10.0, {"event": "progress", "done": 80}),
    ]
    marks = ["100.1 7 starts", "103.0 8 starts", "102.0 9 starts", "106.0 9 has imported TensorFlow"]
    found = importlib.import_module("cold_start").timeline(said, marks, began=100.0, driver=7)
    assert {what: round(second, 2) for what, second in found.items()} == {
        "driver starts": 0.1,
        "stage `list` begins": 0.5,
        "the workers' parent process starts": 2.0,
        "the workers' parent process has imported TensorFlow": 6.0,
        "first photographs on the screen": 9.5,
    }
    assert list(found.values()) == sorted(found.values())


def test_the_timeline_of_all_turns_has_medians_of_what_happened_in_each() -> None:
    turns = [{"a": 1.0, "b": 5.0}, {"a": 3.0, "b": 4.0, "c": 9.0}, {"a": 2.0, "b": 6.0}]
    found = importlib.import_module("cold_start").medians(turns)
    assert found == [{"what": "a", "second": 2.0}, {"what": "b", "second": 5.0}]


def test_a_fit_that_ran_out_of_memory_says_so_in_few_words() -> None:
    reason = importlib.import_module("pca").reason
    lines = [
        "WARN TaskSetManager: Lost task 0.0 (executor driver): java.lang.OutOfMemoryError: Java heap space",
        "  at x",
    ]
    assert reason(lines) == "java.lang.OutOfMemoryError: Java heap space"
    assert reason(["Traceback", "ValueError: wrong shape"]) == "ValueError: wrong shape"
    assert reason([]) == "ended without a word"
