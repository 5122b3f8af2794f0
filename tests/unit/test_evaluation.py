"""insight/evaluation: what is scored has been seen by neither scaler, PCA nor classifier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from tests.insight import clouds, series
from verger.insight import folds, splits
from verger.insight.arrays import codes
from verger.insight.classification import calibration, evaluation
from verger.insight.classification.calibration import calibrate
from verger.insight.classification.evaluation import HeldOut, by_class, confusions, evaluate, score
from verger.insight.model import softmax
from verger.insight.task import Task


def task(features: Any, labels: list[str], **more: Any) -> Task:
    names = sorted(set(labels))
    given = {
        "features": features,
        "codes": np.array([names.index(label) for label in labels]),
        "n_classes": len(names),
        "splits": [None] * len(labels),
        "groups": None,
        "n_components": 8,
        "standardize": False,
        "seed": 0,
    }
    return Task(**{**given, **more})


def held(codes: list[int], probability: Any, **more: Any) -> HeldOut:
    given = {"kind": "random", "says": "", "folds": 2, "n_train": 1, "unjudged": 0, "majority": 0}
    rows = {"rows": np.arange(len(codes)), "codes": np.array(codes), "centroid": np.array(codes)}
    return HeldOut(probability=np.array(probability, np.float32), **{**given, **rows, **more})


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


def test_an_accuracy_is_that_of_photographs_that_the_pca_has_not_seen() -> None:
    """Of noise in more dimensions than photographs nothing can be learnt: a leak would be a score above chance."""
    random = np.random.default_rng(0)
    features = random.normal(size=(120, 400)).astype(np.float32)
    (only,) = evaluate(task(features, ["a", "b"] * 60, n_components=100, standardize=True))
    assert 0.3 < score(only).accuracy < 0.7


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


def test_the_seed_alone_decides() -> None:
    given = clouds({"a": 25, "b": 25, "c": 25}, apart=1)
    one, same, other = (evaluate(task(*given, seed=seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probability, same.probability)
    assert (one.probability != other.probability).any()


def test_figures_are_those_of_scikit_learn() -> None:
    (only,) = evaluate(task(*clouds({"a": 30, "b": 20, "c": 10}, apart=1)))
    found = score(only)
    assert found.accuracy == pytest.approx((only.predicted == only.codes).mean())
    assert found.macro_f1 == pytest.approx(f1_score(only.codes, only.predicted, average="macro"), abs=1e-4)
    assert found.majority == 0.5
    was, taken_for, counts = confusions(only)
    matrix = np.zeros((3, 3), np.int64)
    matrix[was, taken_for] = counts
    np.testing.assert_array_equal(matrix, confusion_matrix(only.codes, only.predicted))
    assert [row["photographs"] for row in by_class(only)] == [30, 20, 10]
    assert found.as_dict()["accuracy"] == round(found.accuracy, 4)


def test_a_class_that_nothing_is_taken_for_has_no_precision() -> None:
    a, b = by_class(held([0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]))
    assert (a["precision"], a["recall"], a["f1"]) == (pytest.approx(0.6667), 1.0, 0.8)
    assert (b["precision"], b["recall"], b["f1"]) == (None, 0.0, 0.0)


class TestCalibration:
    def overconfident(self, n: int = 3000) -> HeldOut:
        """Twice the logits that would be right."""
        random = np.random.default_rng(0)
        logits = 2 * random.normal(size=(n, 3))
        right = softmax(logits)
        drawn = (random.random(n)[:, None] > right.cumsum(axis=1)).sum(axis=1)
        return held([int(code) for code in drawn], softmax(2 * logits))

    def test_the_temperature_is_found_and_mends_the_probabilities(self) -> None:
        found = calibrate(self.overconfident())
        assert found is not None
        assert found["temperature"] == pytest.approx(2, rel=0.1)
        assert found["ece"] > 0.08 > 0.03 > found["ece_calibrated"]
        assert sum(row["photographs"] for row in found["bins"]) == found["n"] == 3000

    def test_many_classes_are_calibrated_on_fewer_photographs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(calibration, "CALIBRATED_LOGITS", 3 * 1000)
        found = calibrate(self.overconfident())
        assert found is not None and (found["n"], found["temperature"]) == (1000, pytest.approx(2, rel=0.2))
        monkeypatch.setattr(calibration, "CALIBRATED_LOGITS", 3)
        found = calibrate(self.overconfident())
        assert found is not None and found["n"] == calibration.CALIBRATED_FROM

    def test_few_photographs_say_nothing(self) -> None:
        assert calibrate(self.overconfident(499)) is None
        assert calibrate(self.overconfident(500)) is not None


def test_groups_are_codes_of_text() -> None:
    import pyarrow as pa

    assert list(codes(pa.chunked_array([["b", None], ["a", "b", None]]))) == [0, 1, 2, 0, 1]
