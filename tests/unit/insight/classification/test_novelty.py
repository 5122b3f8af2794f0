"""The threshold of 'none of these', and what it is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.insight import clouds, config, sample, series
from verger.insight import evidence
from verger.insight.classification import novelty
from verger.insight.classification.classifier import classify
from verger.insight.classification.novelty import JUDGED_FROM, LEAST, Novelty, NoveltyFold, parted
from verger.insight.task import Task
from verger.storage.local import LocalStorage


def classes(number: int, each: int = 20, **more: Any) -> tuple[Any, list[str]]:
    return clouds({f"class {code}": each for code in range(number)}, **more)


def measured(features: Any, labels: list[str], paths: list[str] | None = None, **settings: Any) -> Novelty:
    return classify(sample(features, labels, paths=paths, k=8), config(**settings)).novelty


class TestParted:
    def test_it_is_the_area_under_the_curve(self) -> None:
        random = np.random.default_rng(0)
        distances, unknown = random.normal(size=200), random.random(200) < 0.4
        distances[unknown] += 1
        order = np.argsort(distances)
        auroc, caught = parted(~unknown[order], unknown[order])
        assert auroc == pytest.approx(roc_auc_score(unknown, distances))
        assert caught == pytest.approx((distances[unknown] > np.quantile(distances[~unknown], 0.95)).mean(), abs=0.02)

    def test_what_is_equally_far_is_half_before_the_other(self) -> None:
        assert parted(np.array([60]), np.array([40])) == (0.5, 0)

    def test_weights_are_copies(self) -> None:
        known, unknown = np.array([2, 0, 1, 0]), np.array([0, 3, 0, 1])
        repeated = parted(np.array([1, 1, 0, 0, 0, 1, 0]), np.array([0, 0, 1, 1, 1, 0, 1]))
        assert parted(known, unknown) == pytest.approx(repeated)


class TestMeasure:
    def test_classes_that_stand_apart_are_found_out(self) -> None:
        features, labels = classes(10, apart=12)
        found = measured(features, labels)
        figures = found.figures
        assert figures["auroc"] > 0.9 and figures["weak"] is False
        assert figures["caught_at_5_percent"] > 0.5
        assert (figures["split"], figures["n_unknown"], figures["n_classes"]) == ("random", 200, 10)
        assert "optimistic" in figures["split_says"]

    def test_classes_that_are_one_are_weak_evidence_and_the_interval_says_so(self) -> None:
        features, labels = classes(10, apart=0)
        figures = measured(features, labels).figures
        low, high = figures["auroc_interval"]
        assert low < 0.55 and high > 0.45 and abs(figures["auroc"] - 0.5) < 0.1
        assert figures["weak"] is True
        assert "weak evidence" in evidence.none_of_these(figures)

    def test_one_in_twenty_known_photographs_is_beyond_the_threshold(self) -> None:
        features, labels = classes(6, each=120)
        taken = sample(features[::2], labels[::2], k=8)
        found = classify(taken, config()).novelty
        mean = features[::2].mean(axis=0)
        axes = np.linalg.lstsq(features[::2] - mean, taken.components, rcond=None)[0]
        assert found.known is not None
        beyond = found.known.distances((features[1::2] - mean) @ axes) > found.figures["threshold"]
        assert 0.005 < beyond.mean() < 0.11

    def test_photographs_that_are_all_but_copies_are_not_told_apart_by_noise(self) -> None:
        features, labels, paths = series(6, 4, 10, spread=1e-4)
        found = classify(sample(features, labels, paths=paths), config()).novelty
        assert found.known is not None and found.figures["threshold"] == LEAST

    def test_frames_of_a_series_flatter_the_threshold_unless_groups_are_known(self) -> None:
        features, labels, paths = series(6, 3, 10)
        naive, grouped = (measured(features, labels, paths, **settings) for settings in ({}, {"group_regex": "^.*_"}))
        assert grouped.figures["split"] == "grouped"
        assert grouped.figures["threshold"] > 5 * naive.figures["threshold"]
        assert naive.figures["caught_at_5_percent"] > 0.9 > grouped.figures["caught_at_5_percent"] + 0.3

    def test_nothing_that_is_judged_has_been_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[Task, NoveltyFold]] = []
        real = novelty._distances

        def spied(task: Task, fold: NoveltyFold) -> Any:
            seen.append((task, fold))
            return real(task, fold)

        monkeypatch.setattr(novelty, "_distances", spied)
        features, labels, paths = series(6, 3, 10)
        measured(features, labels, paths, group_regex="^.*_")
        assert sum(fold.unknown.any() for _, fold in seen) >= 5
        for task, fold in seen:
            assert task.groups is not None
            assert not np.isin(task.groups[fold.judged], task.groups[fold.training]).any()
            known = np.isin(task.codes[fold.judged], task.codes[fold.training])
            np.testing.assert_array_equal(known, ~fold.unknown)

    def test_samples_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(novelty, "REFERENCES", 80)
        monkeypatch.setattr(novelty, "JUDGED", 100)
        found = measured(*classes(5, each=60))
        assert found.known is not None and found.known.directions.shape == (80, 8)
        assert found.figures["n_references"] == 80
        assert max(found.figures[name] for name in ("n_held_out", "n_known", "n_unknown")) <= 100

    def test_two_classes_have_a_threshold_whose_worth_nobody_knows(self) -> None:
        figures = measured(*classes(2, each=40)).figures
        assert figures["threshold"] > 0
        assert (figures["auroc"], figures["weak"], figures["caught_interval"]) == (None, None, None)
        assert figures["says"] == "not measured: of 2 classes none can be left out"
        assert "not measured" in evidence.none_of_these(figures)

    def test_a_split_that_holds_out_too_few_gives_way_to_the_next(self) -> None:
        features, labels = classes(4, each=20)
        taken = sample(features, labels, ["Test" if row % 4 == 0 else "Training" for row in range(80)], k=8)
        found = classify(taken, config())
        assert found.summary()["split"] == "own"
        assert found.novelty.figures["split"] == "random"

    def test_few_photographs_have_none(self) -> None:
        found = measured(*classes(4, each=5))
        assert found.known is None
        assert list(found.figures) == ["absent"] and "too few" in found.figures["absent"]
        assert "too few" in evidence.none_of_these(found.figures)

    def test_too_few_that_can_be_judged_are_no_evidence(self) -> None:
        figures = measured(*clouds({"a": 60, "b": 4, "c": 4})).figures
        assert figures["auroc"] is None or min(figures["n_known"], figures["n_unknown"]) >= JUDGED_FROM

    def test_few_classes_have_wide_intervals(self) -> None:
        width = []
        for number in (3, 20):
            low, high = measured(*classes(number, each=240 // number, apart=0.5)).figures["auroc_interval"]
            width.append(high - low)
        assert width[0] > 1.5 * width[1]

    def test_three_classes_without_an_exception_prove_little(self) -> None:
        figures = measured(*classes(3, each=80, apart=20)).figures
        assert figures["auroc"] == figures["caught_at_5_percent"] == 1
        assert figures["auroc_interval"] == figures["caught_interval"] == [pytest.approx(0.2924, abs=1e-4), 1]

    def test_it_is_the_same_again(self) -> None:
        features, labels = classes(5)
        assert measured(features, labels).figures == measured(features, labels).figures


class TestFailure:
    def test_the_classifier_stays(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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

    def test_too_few_is_said_and_no_warning(self) -> None:
        warnings: list[str] = []
        classify(sample(*classes(2, each=5)), config(), warnings.append)
        assert warnings == []
