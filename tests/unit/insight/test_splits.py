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
    def test_without_groups_and_folders_the_split_is_random_and_called_optimistic(self) -> None:
        (only,) = evaluate(task(*clouds({"a": 20, "b": 20})))
        assert (only.kind, only.n_folds) == ("random", 5)
        assert "random split, optimistic" in only.description
        assert list(only.rows) == list(range(40))

    def test_the_split_by_groups_comes_before_the_random_one(self) -> None:
        features, labels, paths = series(4, 3, 10)
        groups = np.array([path.rpartition("_")[0] for path in paths])
        _, number = np.unique(groups, return_inverse=True)
        grouped, naive = evaluate(task(features, labels, groups=number))
        assert (grouped.kind, naive.kind) == ("grouped", "random")
        assert score(naive).accuracy > 0.95
        assert score(grouped).accuracy < score(naive).accuracy - 0.3  # frames of one series tell nothing of another

    def test_no_group_is_both_in_training_and_held_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        features, labels, paths = series(4, 5, 6)
        _, groups = np.unique([path.rpartition("_")[0] for path in paths], return_inverse=True)
        seen = []
        real = evaluation._predict_fold

        def spied(of: Task, training: Any, test: Any) -> Any:
            seen.append((training, test))
            return real(of, training, test)

        monkeypatch.setattr(evaluation, "_predict_fold", spied)
        evaluate(task(features, labels, groups=groups))
        assert len(seen) == 10
        apart = [not np.intersect1d(groups[training], groups[test]).size for training, test in seen]
        assert sum(apart) == 5
        assert all(not np.intersect1d(training, test).size for training, test in seen)

    def test_the_folders_own_split_comes_first(self) -> None:
        features, labels = clouds({"a": 30, "b": 30})
        splits = ["Test" if row % 3 == 0 else "Training" for row in range(60)]
        own, naive = evaluate(task(features, labels, splits=splits))
        assert (own.kind, own.n_folds, own.n_train, len(own.rows)) == ("own", 1, 40, 20)
        assert naive.kind == "random"
        assert {splits[row] for row in own.rows} == {"Test"}

    @pytest.mark.parametrize(
        ("labels", "why"),
        [
            (["a"] * 20 + ["b"] * 20 + ["c"] * 20 + ["d"] * 20, "no class is on both sides"),
            (["a"] * 20 + ["b"] * 20 + ["a"] * 20 + ["d"] * 20, "one class is"),
        ],
    )
    def test_folders_that_share_fewer_than_two_classes_give_no_split(self, labels: list[str], why: str) -> None:
        features = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
        found = evaluate(task(features, labels, splits=["Training"] * 40 + ["Test"] * 40))
        assert [one.kind for one in found] == ["random"], why

    def test_folders_that_share_a_group_give_no_split(self) -> None:
        features, labels = clouds({"a": 30, "b": 30})
        splits = ["Test" if row % 3 == 0 else "Training" for row in range(60)]
        found = evaluate(task(features, labels, splits=splits, groups=np.arange(60) // 3))
        assert [one.kind for one in found] == ["grouped", "random"]

    def test_photographs_of_a_class_of_one_group_are_counted_as_unjudged(self) -> None:
        features, labels = clouds({"a": 20, "b": 20, "c": 20})
        groups = np.concatenate([np.arange(40) // 4, np.full(20, 10)])
        grouped, _ = evaluate(task(features, labels, groups=groups))
        assert grouped.unjudged == 20
        assert set(grouped.codes) == {0, 1}

    def test_classes_of_one_group_each_give_no_split_by_groups(self) -> None:
        features, labels = clouds({"a": 20, "b": 20})
        found = evaluate(task(features, labels, groups=np.repeat([0, 1], 20)))
        assert [one.kind for one in found] == ["random"]

    def test_a_split_by_groups_must_judge_at_least_half_of_the_classes(self) -> None:
        features, labels = clouds({f"{number}": 20 for number in range(5)})
        two = np.concatenate([np.arange(40) // 5, np.repeat([100, 101, 102], 20)])  # of five classes two can be judged
        assert [one.kind for one in evaluate(task(features, labels, groups=two))] == ["random"]
        three = np.concatenate([np.arange(60) // 5, np.repeat([100, 101], 20)])
        grouped, _ = evaluate(task(features, labels, groups=three))
        assert (grouped.kind, score(grouped).n_classes_judged, score(grouped).unjudged) == ("grouped", 3, 40)

    @pytest.mark.parametrize("each", [2, 3, 4])
    def test_there_are_no_more_folds_than_photographs_of_a_class(self, each: int) -> None:
        features, labels = clouds({f"{number:02}": each for number in range(10)})
        with folds.ignore_sklearn_warnings():
            grouped, naive = evaluate(task(features, labels, groups=np.arange(10 * each)))
        assert (grouped.kind, grouped.n_folds, naive.n_folds) == ("grouped", each, each)

    def test_photographs_without_class_are_left_out(self) -> None:
        features, labels = clouds({"a": 20, "b": 20})
        without = task(features, labels)
        without.codes[::4] = -1
        (only,) = evaluate(without)
        assert len(only.rows) == 30 and (only.rows % 4 != 0).all()


def test_a_training_part_is_bounded_and_the_rest_is_still_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "MAX_TRAINED", 30)
    (only,) = evaluate(task(*clouds({"a": 100, "b": 100})))
    assert (only.n_train, len(only.rows)) == (30, 200)


def test_the_bound_of_photographs_is_at_least_the_root_of_the_bound_of_logits() -> None:
    assert [splits.max_photographs(4_000_000, classes) for classes in (2, 1_000, 2_000, 3_000)] == [
        2_000_000,
        4_000,
        2_000,
        2_000,
    ]
