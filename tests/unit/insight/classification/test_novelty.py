"""The threshold of 'none of these', and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from sklearn.metrics import roc_auc_score

from tests.insight import clouds, config, sample, series
from verger.insight import evidence
from verger.insight.classification import novelty
from verger.insight.classification.classifier import classify
from verger.insight.classification.novelty import MIN_JUDGED, MIN_THRESHOLD, Novelty, NoveltyFold, auroc_and_caught
from verger.insight.task import Task
from verger.storage.local import LocalStorage
from verger.tables.manifest_parts import Absent, NoneOfThese, NoneOfTheseResult


def classes(number: int, each: int = 20, **more: Any) -> tuple[Any, list[str]]:
    return clouds({f"class {code}": each for code in range(number)}, **more)


def measured(features: Any, labels: list[str], paths: list[str] | None = None, **settings: Any) -> Novelty:
    return classify(sample(features, labels, paths=paths, k=8), config(**settings)).novelty


def described(summary: dict[str, Any]) -> str:
    """What the page says of the manifest's ``none_of_these``."""
    given: NoneOfThese | Absent = TypeAdapter(NoneOfTheseResult).validate_python(summary)
    return evidence.describe_none_of_these(given)


class TestAurocAndCaught:
    def test_auroc_is_that_of_scikit_learn(self) -> None:
        random = np.random.default_rng(0)
        distances, unknown = random.normal(size=200), random.random(200) < 0.4
        distances[unknown] += 1
        order = np.argsort(distances)
        auroc, caught = auroc_and_caught(~unknown[order], unknown[order])
        assert auroc == pytest.approx(roc_auc_score(unknown, distances))
        assert caught == pytest.approx((distances[unknown] > np.quantile(distances[~unknown], 0.95)).mean(), abs=0.02)

    def test_equal_distances_count_half(self) -> None:
        assert auroc_and_caught(np.array([60]), np.array([40])) == (0.5, 0)

    def test_counts_weigh_like_copies(self) -> None:
        known, unknown = np.array([2, 0, 1, 0]), np.array([0, 3, 0, 1])
        repeated = auroc_and_caught(np.array([1, 1, 0, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 1, 0, 1]))
        assert auroc_and_caught(known, unknown) == pytest.approx(repeated)


class TestMeasure:
    def test_distant_classes_are_caught(self) -> None:
        features, labels = classes(10, apart=12)
        found = measured(features, labels)
        summary = found.summary
        assert summary["auroc"] > 0.9 and summary["weak"] is False
        assert summary["caught_at_5_percent"] > 0.5
        assert (summary["split"], summary["n_unknown"], summary["n_classes"]) == ("random", 200, 10)
        assert "optimistic" in summary["split_says"]

    def test_identical_classes_are_weak_evidence_and_the_interval_holds_one_half(self) -> None:
        features, labels = classes(10, apart=0)
        summary = measured(features, labels).summary
        low, high = summary["auroc_interval"]
        assert low < 0.55 and high > 0.45 and abs(summary["auroc"] - 0.5) < 0.1
        assert summary["weak"] is True
        assert "weak evidence" in described(summary)

    def test_one_in_twenty_known_photographs_is_beyond_the_threshold(self) -> None:
        features, labels = classes(6, each=120)
        taken = sample(features[::2], labels[::2], k=8)
        found = classify(taken, config()).novelty
        mean = features[::2].mean(axis=0)
        axes = np.linalg.lstsq(features[::2] - mean, taken.components, rcond=None)[0]
        assert found.references is not None
        beyond = found.references.distances((features[1::2] - mean) @ axes) > found.summary["threshold"]
        assert 0.005 < beyond.mean() < 0.11

    def test_the_threshold_is_not_below_the_resolution_of_float32(self) -> None:
        features, labels, paths = series(6, 4, 10, spread=1e-4)
        found = classify(sample(features, labels, paths=paths), config()).novelty
        assert found.references is not None and found.summary["threshold"] == MIN_THRESHOLD

    def test_a_random_split_of_series_gives_too_small_a_threshold(self) -> None:
        features, labels, paths = series(6, 3, 10)
        naive, grouped = (measured(features, labels, paths, **settings) for settings in ({}, {"group_regex": "^.*_"}))
        assert grouped.summary["split"] == "grouped"
        assert grouped.summary["threshold"] > 5 * naive.summary["threshold"]
        assert naive.summary["caught_at_5_percent"] > 0.9 > grouped.summary["caught_at_5_percent"] + 0.3

    def test_judged_photographs_share_no_group_with_known_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[Task, NoveltyFold]] = []
        real = novelty._distances

        def spied(task: Task, fold: NoveltyFold) -> Any:
            seen.append((task, fold))
            return real(task, fold)

        monkeypatch.setattr(novelty, "_distances", spied)
        features, labels, paths = series(6, 3, 10)
        measured(features, labels, paths, group_regex="^.*_")
        assert sum(fold.is_unknown.any() for _, fold in seen) >= 5
        for task, fold in seen:
            assert task.groups is not None
            assert not np.isin(task.groups[fold.judged], task.groups[fold.training]).any()
            known = np.isin(task.codes[fold.judged], task.codes[fold.training])
            np.testing.assert_array_equal(known, ~fold.is_unknown)

    def test_samples_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(novelty, "MAX_REFERENCES", 80)
        monkeypatch.setattr(novelty, "MAX_JUDGED", 100)
        found = measured(*classes(5, each=60))
        assert found.references is not None and found.references.directions.shape == (80, 8)
        assert found.summary["n_references"] == 80
        assert max(found.summary[name] for name in ("n_held_out", "n_known", "n_unknown")) <= 100

    def test_of_two_classes_the_threshold_is_not_evaluated(self) -> None:
        summary = measured(*classes(2, each=40)).summary
        assert summary["threshold"] > 0
        assert (summary["auroc"], summary["weak"], summary["caught_interval"]) == (None, None, None)
        assert summary["says"] == "not measured: of 2 classes none can be left out"
        assert "not measured" in described(summary)

    def test_a_split_that_holds_out_too_few_is_passed_over(self) -> None:
        features, labels = classes(4, each=20)
        taken = sample(features, labels, ["Test" if row % 4 == 0 else "Training" for row in range(80)], k=8)
        found = classify(taken, config())
        assert found.summary()["split"] == "own"
        assert found.novelty.summary["split"] == "random"

    def test_few_photographs_have_no_threshold(self) -> None:
        found = measured(*classes(4, each=5))
        assert found.references is None
        assert list(found.summary) == ["absent"] and "too few" in found.summary["absent"]
        assert "too few" in described(found.summary)

    def test_too_few_judged_photographs_are_not_evaluated(self) -> None:
        summary = measured(*clouds({"a": 60, "b": 4, "c": 4})).summary
        assert summary["auroc"] is None or min(summary["n_known"], summary["n_unknown"]) >= MIN_JUDGED

    def test_few_classes_have_wide_intervals(self) -> None:
        width = []
        for number in (3, 20):
            low, high = measured(*classes(number, each=240 // number, apart=0.5)).summary["auroc_interval"]
            width.append(high - low)
        assert width[0] > 1.5 * width[1]

    def test_three_perfectly_separated_classes_have_a_wide_interval(self) -> None:
        summary = measured(*classes(3, each=80, apart=20)).summary
        assert summary["auroc"] == summary["caught_at_5_percent"] == 1
        assert summary["auroc_interval"] == summary["caught_interval"] == [pytest.approx(0.2924, abs=1e-4), 1]

    def test_measuring_again_gives_the_same(self) -> None:
        features, labels = classes(5)
        assert measured(features, labels).summary == measured(features, labels).summary


class TestFailure:
    def test_the_classifier_is_kept_without_a_threshold(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def fail(*_: Any) -> None:
            raise ValueError("it broke")

        monkeypatch.setattr(novelty, "measure", fail)
        warnings: list[str] = []
        found = classify(sample(*classes(3)), config(), warnings.append)
        assert warnings == ["no threshold of 'none of these' was set: ValueError: it broke"]
        assert found.summary()["accuracy"] > 0.5
        assert found.summary()["none_of_these"] == {"absent": "it could not be measured; the warnings say why"}
        found.save(str(tmp_path), LocalStorage())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["classifier.json", "classifier.npz"]

    def test_too_few_photographs_are_no_warning(self) -> None:
        warnings: list[str] = []
        classify(sample(*classes(2, each=5)), config(), warnings.append)
        assert warnings == []
