"""Splits that the photographs allow, and bounds of training parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.insight import clouds, series, task
from verger.insight import folds, splits
from verger.insight.classification import evaluation
from verger.insight.classification.evaluation import evaluate, score
from verger.insight.task import Task


class TestSplits:
    def test_with_nothing_to_go_by_it_is_random_and_says_that_this_is_optimistic(self) -> None:
        (only,) = evaluate(task(*clouds({"a": 20, "b": 20})))
        assert (only.kind, only.folds) == ("random", 5)
        assert "random split, optimistic" in only.says
        assert list(only.rows) == list(range(40))

    def test_groups_are_kept_together_and_stand_first(self) -> None:
        features, labels, paths = series(4, 3, 10)
        groups = np.array([path.rpartition("_")[0] for path in paths])
        _, number = np.unique(groups, return_inverse=True)
        grouped, naive = evaluate(task(features, labels, groups=number))
        assert (grouped.kind, naive.kind) == ("grouped", "random")
        assert score(naive).accuracy > 0.95
        assert score(grouped).accuracy < score(naive).accuracy - 0.3  # frames of one series tell nothing of another

    def test_no_group_is_on_both_sides(self, monkeypatch: pytest.MonkeyPatch) -> None:
        features, labels, paths = series(4, 5, 6)
        _, groups = np.unique([path.rpartition("_")[0] for path in paths], return_inverse=True)
        seen = []
        real = evaluation._predicted

        def spied(of: Task, training: Any, test: Any) -> Any:
            seen.append((training, test))
            return real(of, training, test)

        monkeypatch.setattr(evaluation, "_predicted", spied)
        evaluate(task(features, labels, groups=groups))
        assert len(seen) == 10
        apart = [not np.intersect1d(groups[training], groups[test]).size for training, test in seen]
        assert sum(apart) == 5
        assert all(not np.intersect1d(training, test).size for training, test in seen)

    def test_the_photographs_own_split_stands_first(self) -> None:
        features, labels = clouds({"a": 30, "b": 30})
        splits = ["Test" if row % 3 == 0 else "Training" for row in range(60)]
        own, naive = evaluate(task(features, labels, splits=splits))
        assert (own.kind, own.folds, own.n_train, len(own.rows)) == ("own", 1, 40, 20)
        assert naive.kind == "random"
        assert {splits[row] for row in own.rows} == {"Test"}

    @pytest.mark.parametrize(
        ("labels", "why"),
        [
            (["a"] * 20 + ["b"] * 20 + ["c"] * 20 + ["d"] * 20, "no class is on both sides"),
            (["a"] * 20 + ["b"] * 20 + ["a"] * 20 + ["d"] * 20, "one class is"),
        ],
    )
    def test_a_split_by_class_is_none(self, labels: list[str], why: str) -> None:
        features = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
        found = evaluate(task(features, labels, splits=["Training"] * 40 + ["Test"] * 40))
        assert [one.kind for one in found] == ["random"], why

    def test_an_own_split_with_a_group_on_both_sides_is_none(self) -> None:
        features, labels = clouds({"a": 30, "b": 30})
        splits = ["Test" if row % 3 == 0 else "Training" for row in range(60)]
        found = evaluate(task(features, labels, splits=splits, groups=np.arange(60) // 3))
        assert [one.kind for one in found] == ["grouped", "random"]

    def test_a_class_of_one_group_cannot_be_judged_and_is_counted(self) -> None:
        features, labels = clouds({"a": 20, "b": 20, "c": 20})
        groups = np.concatenate([np.arange(40) // 4, np.full(20, 10)])
        grouped, _ = evaluate(task(features, labels, groups=groups))
        assert grouped.unjudged == 20
        assert set(grouped.codes) == {0, 1}

    def test_where_every_class_is_one_group_nothing_is_grouped(self) -> None:
        features, labels = clouds({"a": 20, "b": 20})
        found = evaluate(task(features, labels, groups=np.repeat([0, 1], 20)))
        assert [one.kind for one in found] == ["random"]

    def test_where_most_classes_are_one_group_nothing_is_grouped(self) -> None:
        features, labels = clouds({f"{number}": 20 for number in range(5)})
        two = np.concatenate([np.arange(40) // 5, np.repeat([100, 101, 102], 20)])  # of five classes two can be judged
        assert [one.kind for one in evaluate(task(features, labels, groups=two))] == ["random"]
        three = np.concatenate([np.arange(60) // 5, np.repeat([100, 101], 20)])
        grouped, _ = evaluate(task(features, labels, groups=three))
        assert (grouped.kind, score(grouped).n_classes_judged, score(grouped).unjudged) == ("grouped", 3, 40)

    @pytest.mark.parametrize("each", [2, 3, 4])
    def test_thin_classes_have_as_many_folds_as_photographs(self, each: int) -> None:
        features, labels = clouds({f"{number:02}": each for number in range(10)})
        with folds.ignore_warnings():
            grouped, naive = evaluate(task(features, labels, groups=np.arange(10 * each)))
        assert (grouped.kind, grouped.folds, naive.folds) == ("grouped", each, each)

    def test_photographs_without_class_are_left_out(self) -> None:
        features, labels = clouds({"a": 20, "b": 20})
        without = task(features, labels)
        without.codes[::4] = -1
        (only,) = evaluate(without)
        assert len(only.rows) == 30 and (only.rows % 4 != 0).all()


def test_a_training_part_is_bounded_and_the_rest_is_still_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "TRAINED", 30)
    (only,) = evaluate(task(*clouds({"a": 100, "b": 100})))
    assert (only.n_train, len(only.rows)) == (30, 200)


def test_of_many_classes_more_than_a_share_of_the_logits_are_trained_on() -> None:
    assert [splits.bounded(4_000_000, classes) for classes in (2, 1_000, 2_000, 3_000)] == [
        2_000_000,
        4_000,
        2_000,
        2_000,
    ]
