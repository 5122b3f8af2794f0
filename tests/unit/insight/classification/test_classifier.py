"""The first classifier: what it says, how weak its evidence is, and what is saved."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.insight import clouds, config, sample, series
from verger.components.pca import Pca
from verger.config import load as load_config
from verger.errors import NothingToReadError, UsageError
from verger.insight import splits
from verger.insight.classification import classifier
from verger.insight.classification.classifier import ForeignPca, NoClassifierError, classify
from verger.insight.model import load
from verger.insight.reduction import Reduction
from verger.insight.sample import Sample
from verger.storage.local import LocalStorage


def elsewhere(taken: Sample, axes: Any = None) -> ForeignPca:
    """A PCA that another run fitted; by default, of these very photographs."""
    fitted = Reduction.fit(taken.features, 4, False, 0)
    axes = fitted.axes if axes is None else axes
    variances = np.ones(len(axes))
    pca = Pca(axes, fitted.mean, None, variances, variances, variances, 1.0, 60, {"components": 4}, 4, "gram")
    return ForeignPca("20260101T000000Z-old-abcdef", pca)


class TestClasses:
    @pytest.mark.parametrize(
        ("pattern", "why"),
        [
            ("zzz", "matches 0 of 480 photographs"),
            (r"^variety 0/r0", "matches 20 of 480 photographs"),
            (r".*", "makes 480 groups of 480 photographs"),
            (r"^v", "makes one group of all 480 photographs"),
        ],
    )
    def test_a_group_pattern_that_groups_nothing_is_ignored_with_a_warning(self, pattern: str, why: str) -> None:
        features, labels, paths = series(8, 3, 20)
        warnings: list[str] = []
        found = classify(sample(features, labels, paths=paths), config(group_regex=pattern), warnings.append)
        (warning,) = warnings
        assert warning.startswith(f"--group-regex '{pattern}' {why}")
        assert (found.summary()["split"], found.summary()["optimistic"]) == ("random", True)
        assert found.summary()["n_groups"] is None

    def test_groups_that_cannot_score_most_classes_are_warned_of(self) -> None:
        features, labels, paths = series(5, 1, 20)
        warnings: list[str] = []
        found = classify(sample(features, labels, paths=paths), config(group_regex="^[^/]+"), warnings.append)
        assert (
            "puts most classes into one group each, so that they cannot be scored by groups" in warnings[0]
            and len(warnings) == 1
        )
        assert found.summary()["split"] == "random"

    @pytest.mark.parametrize("option", ["class_regex", "group_regex"])
    def test_an_invalid_pattern_is_a_usage_error(self, option: str) -> None:
        with pytest.raises(UsageError, match=rf"{option}: is not a regular expression: .*got '\(a'"):
            load_config({"input": "a", "output": "b", option: "(a"})


class TestClassify:
    def test_well_separated_classes_are_predicted(self) -> None:
        features, labels = clouds({"a": 30, "b": 30, "c": 30}, apart=8)
        taken = sample(features, labels)
        found = classify(taken, config())
        summary = found.summary()
        assert summary["accuracy"] > 0.95
        assert summary["baselines"]["majority"] == pytest.approx(1 / 3, abs=1e-4)
        assert summary["optimistic"] is True and "optimistic" in summary["says"]
        assert (summary["n_classes"], summary["n_photographs"], summary["n_test"]) == (3, 90, 90)
        probabilities = found.model.probabilities(taken.components)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert (np.array(found.model.classes)[probabilities.argmax(axis=1)] == labels).mean() > 0.95

    def test_scores_by_groups_and_at_random_are_both_given(self) -> None:
        features, labels, paths = series(4, 2, 12)
        summary = classify(sample(features, labels, paths=paths), config(group_regex="^.*_")).summary()
        assert [score["split"] for score in summary["scores"]] == ["grouped", "random"]
        assert summary["split"] == "grouped" and summary["optimistic"] is False
        assert summary["n_groups"] == 8
        assert summary["accuracy"] == summary["scores"][0]["accuracy"] < summary["scores"][1]["accuracy"] - 0.2

    def test_two_classes_have_two_rows_of_coefficients(self) -> None:
        features, labels = clouds({"a": 30, "b": 30})
        taken = sample(features, labels)
        found = classify(taken, config())
        assert found.model.coefficients.shape == (2, 4)
        right = np.array(found.model.classes)[found.model.probabilities(taken.components).argmax(axis=1)] == labels
        assert right.mean() > 0.9

    def test_photographs_that_are_left_out_are_counted(self) -> None:
        features, labels = clouds({"a": 10, "b": 10, "c": 1, "d": 4})
        named = [None if label == "d" else label for label in labels]
        found = classify(sample(features, named), config())
        assert found.details["left_out"] == {"no_class": 4, "alone_in_its_class": 1}
        assert (found.details["n_photographs"], found.model.classes) == (20, ["a", "b"])

    @pytest.mark.parametrize(
        ("labels", "why"),
        [
            ([None] * 6, "no photograph has a class"),
            (["a"] * 6, "one class only"),
            (["a", "a", "b", "c", "d", "e"], "of 5 classes, 1 has two photographs or more"),
        ],
    )
    def test_photographs_that_allow_no_classifier_raise_with_the_reason(
        self, labels: list[str | None], why: str
    ) -> None:
        with pytest.raises(NoClassifierError, match=why):
            classify(sample(np.eye(6), labels), config())

    def test_a_pattern_that_matches_no_label_is_named(self) -> None:
        with pytest.raises(NoClassifierError, match="no photograph has a class: --class-regex 'zzz' matches no label"):
            classify(sample(np.eye(6), ["a"] * 6), config(class_regex="zzz"))
        with pytest.raises(NoClassifierError, match="no photograph has a class$"):
            classify(sample(np.eye(6), [None] * 6), config(class_regex="zzz"))

    def test_the_kept_model_is_fitted_on_a_bounded_sample(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(classifier, "MAX_FITTED_LOGITS", 80)
        found = classify(sample(*clouds({"a": 100, "b": 100})), config())
        assert found.details["n_photographs"] == 40

    @pytest.mark.parametrize("fitted_on", [40, 70, 25])
    def test_classes_keep_their_own_coefficients_in_a_bounded_sample(
        self, fitted_on: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        features, labels = clouds({f"{number:02}": 60 for number in range(40)}, d=40, apart=20)
        taken = sample(features, labels, k=39)
        monkeypatch.setattr(classifier, "MAX_FITTED_LOGITS", fitted_on * 40)
        found = classify(taken, config())
        assert found.model.coefficients.shape == (40, 39) and found.model.intercepts.shape == (40,)
        probabilities = found.model.probabilities(taken.components)
        named = np.array(found.model.classes)[probabilities.argmax(axis=1)]
        learnt = min(40, found.details["n_photographs"])
        assert learnt == (31 if fitted_on == 25 else 40)
        assert (named == labels).mean() > 0.9 * learnt / 40
        assert (probabilities.max(axis=0) < 1e-9).sum() == 40 - learnt  # what it has not seen, it never says

    def test_only_photographs_with_features_are_evaluated(self) -> None:
        taken = sample(*clouds({"a": 40, "b": 40}))
        some = np.arange(0, 80, 2)
        found = classify(replace(taken, feature_rows=some, features=taken.features[some]), config())
        assert list(found.random_folds.rows) == list(some)
        assert found.details["n_photographs"] == 80


class TestWeak:
    def own(self, test: int, seen: int = 0) -> classifier.Classification:
        """Classified by the photographs' own split; so many of a Test are near-duplicates of Training."""
        features, labels = clouds({"a": 200, "b": 200})
        splits = ["Test" if row % 200 < test // 2 else "Training" for row in range(400)]
        known = np.zeros(400, bool)
        known[[row for row in range(400) if splits[row] == "Test"][:seen]] = True
        known[150:160] = True  # of Training, which is not held out
        return classify(sample(features, labels, splits), config()).with_near_duplicates(known)

    @pytest.mark.parametrize(
        ("test", "seen", "share", "because"),
        [
            (100, 0, 0, None),
            (100, 4, 0.04, None),
            (100, 5, 0.05, "5% of the held-out photographs have a near-duplicate in Training"),
            (98, 0, 0, "it rests on 98 held-out photographs, fewer than 100"),
            (10, 10, 1, "100% of .* in Training; it rests on 10 held-out"),
        ],
    )
    def test_a_score_is_weak_where_test_is_small_or_has_near_duplicates_in_training(
        self, test: int, seen: int, share: float, because: str | None
    ) -> None:
        summary = self.own(test, seen).summary()
        assert (summary["split"], summary["optimistic"], summary["weak"]) == ("own", False, because is not None)
        assert summary["near_duplicates_across"] == share
        assert summary["weak_because"] is None if because is None else re.match(because, summary["weak_because"])

    def test_a_threshold_is_weak_where_test_has_near_duplicates_in_training(self) -> None:
        sound, seen = (self.own(100, number).summary()["none_of_these"] for number in (0, 50))
        assert (sound["split"], sound["weak"], seen["weak"]) == ("own", None, True)
        assert seen["says"].startswith(sound["says"]) and "50% of the held-out photographs" in seen["says"]

    @pytest.mark.parametrize("classes", [{"a": 120, "b": 120}, {"a": 230, "b": 10}])
    def test_a_score_no_better_than_the_majority_is_weak(self, classes: dict[str, int]) -> None:
        features, labels = clouds(classes, apart=0)
        summary = classify(sample(features, labels), config()).summary()
        assert summary["weak"]
        assert "always predicting the most frequent class is about as accurate (" in summary["weak_because"]

    def test_near_duplicates_in_training_count_for_the_own_split_alone(self) -> None:
        found = classify(sample(*clouds({"a": 60, "b": 60})), config()).with_near_duplicates(np.ones(120, bool))
        assert found.summary()["near_duplicates_across"] is None and found.summary()["weak"] is False

    def test_a_score_of_few_classes_is_weak(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(splits, "MAX_TRAINED", 4)
        summary = classify(sample(*clouds({f"{number:02}": 50 for number in range(10)})), config()).summary()
        assert summary["scores"][0]["n_classes_judged"] < 10
        monkeypatch.setattr(splits, "MAX_TRAINED", 2)
        monkeypatch.setattr(splits, "N_FOLDS", 2)
        summary = classify(sample(*clouds({f"{number:02}": 50 for number in range(10)})), config()).summary()
        assert summary["weak_because"].startswith("only ") and summary["weak_because"].endswith("10 classes are judged")

    def test_a_score_is_weak_where_more_photographs_are_unjudged_than_judged(self) -> None:
        features, labels = clouds({"a": 200, "b": 200, "c": 150, "d": 150})
        splits = ["Test" if label > "b" or row % 2 else "Training" for row, label in enumerate(labels)]
        summary = classify(sample(features, labels, splits), config()).summary()
        assert (summary["split"], summary["n_test"], summary["scores"][0]["unjudged"]) == ("own", 200, 300)
        assert summary["weak_because"] == "300 more photographs are not judged, whose classes were not trained on"

    def test_a_foreign_pca_is_noted(self) -> None:
        taken = sample(*clouds({"a": 60, "b": 60}))
        assert classify(taken, config()).summary()["note"] is None
        note = classify(taken, config(), foreign_pca=elsewhere(taken)).summary()["note"]
        assert "those that run 20260101T000000Z-old-abcdef fitted" in note

    def test_with_a_foreign_pca_its_components_are_scored(self) -> None:
        features, labels = clouds({"a": 60, "b": 60, "c": 60}, apart=2)
        taken = sample(features, labels)
        blind = elsewhere(taken, np.eye(1, features.shape[1]))  # sees the first feature alone
        components = (blind.pca.transform(features)).astype(np.float32)
        found = classify(replace(taken, components=components), config(), foreign_pca=blind)
        assert found.model.coefficients.shape == (3, 1)
        own = classify(taken, config())
        assert found.scores[0].accuracy < own.scores[0].accuracy - 0.1
        assert found.novelty.summary["absent"].startswith("one component")


class TestSaved:
    def test_nothing_is_written_where_the_document_is_no_json(self, tmp_path: Path) -> None:
        found = classify(sample(*clouds({"a": 30, "b": 30})), config())
        found.details["sample"] = float("nan")  # which JSON does not take
        with pytest.raises(ValueError, match="JSON"):
            found.save(str(tmp_path), LocalStorage())
        assert not list(tmp_path.iterdir())

    def test_a_loaded_model_gives_the_same_probabilities(self, tmp_path: Path) -> None:
        features, labels = clouds({"é a": 300, "b": 250}, apart=2)
        taken = sample(features, labels)
        found = classify(taken, config())
        assert found.model.temperature != 1
        found.save(str(tmp_path / "model"), LocalStorage())
        model, document = load(str(tmp_path / "model"), LocalStorage())
        assert model.classes == ["b", "é a"]
        np.testing.assert_array_equal(
            model.probabilities(taken.components), found.model.probabilities(taken.components)
        )
        assert document.as_dict() == json.loads(json.dumps(found.document()))

    def test_saved_arrays_classify_with_numpy_alone(self, tmp_path: Path) -> None:
        """As docs/classifier.md says it."""
        taken = sample(*clouds({"a": 30, "b": 30, "c": 30}))
        found = classify(taken, config())
        found.save(str(tmp_path), LocalStorage())
        model = np.load(tmp_path / "classifier.npz")
        x = (taken.components - model["mean"]) / model["scale"]
        logits = (x @ model["coefficients"].T + model["intercepts"]) / model["temperature"]
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(p, found.model.probabilities(taken.components))

    def test_the_document_has_scores_by_class(self) -> None:
        document = classify(sample(*clouds({"a": 60, "b": 40}, apart=1)), config()).document()
        assert [(row["class"], row["photographs"]) for row in document["by_class"]] == [("a", 60), ("b", 40)]
        matrix = np.array(document["confusion_matrix"])
        assert matrix.sum() == 100 and matrix.trace() / 100 == document["accuracy"]
        assert sum(row["photographs"] for row in document["confusions"]) == 100 - matrix.trace()
        assert document["calibration"] is None

    def test_many_classes_keep_the_most_frequent_confusions_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(classifier, "MAX_MATRIX_CLASSES", 2)
        monkeypatch.setattr(classifier, "MAX_CONFUSIONS", 1)
        document = classify(sample(*clouds({"a": 60, "b": 40, "c": 30}, apart=1)), config()).document()
        assert document["confusion_matrix"] is None
        assert len(document["confusions"]) == 1

    def test_the_document_of_many_classes_takes_little_memory(self) -> None:
        found = classify(sample(*clouds({"a": 60, "b": 40}, apart=1)), config())
        size = 3000
        codes = np.arange(2 * size) // 2
        held_out = replace(
            found.held_out[0],
            rows=np.arange(2 * size),
            codes=codes,
            probabilities=np.eye(size, dtype=np.float32)[(codes + np.arange(2 * size) % 2) % size],
        )
        model = replace(found.model, classes=[f"{number}" for number in range(size)])
        many = replace(found, held_out=(held_out,), model=model)
        tracemalloc.start()
        document = many.document()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert document["confusions"][0] == {"class": "0", "taken_for": "1", "photographs": 1}
        assert peak < size * size  # a byte for each pair of classes

    def test_loading_where_there_is_no_classifier_raises(self, tmp_path: Path) -> None:
        with pytest.raises(NothingToReadError):
            load(str(tmp_path), LocalStorage())
