"""Photographs that look nearly the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.insight import listed, sample, unrelated_features
from verger.insight.audit import issues
from verger.insight.audit.checks import audit


class TestNearDuplicates:
    def test_a_pair_counts_as_two_photographs_and_is_listed_once(self) -> None:
        features = unrelated_features()
        features[20] = features[10] * 2 + 0.01
        found = audit(sample(features, ["a"] * 60), None, False)
        (row,) = listed(found, "near_duplicate")
        assert (row["path"], row["other_path"]) == ("/in/00010.jpg", "/in/00020.jpg")
        assert row["score"] > 0.999
        assert found.found["near_duplicate"] == 2
        assert found.summary()["near_duplicates"] == {
            "cosine": 0.95,
            "pairs": 1,
            "photographs_compared": 60,
            "across": None,
        }

    def test_pairs_under_two_labels_are_listed_first(self) -> None:
        features = unrelated_features()
        features[20], features[50] = features[10], features[9] + 0.1 * features[8]
        labels = ["a"] * 30 + ["b"] * 30
        first, second = listed(audit(sample(features, labels), None, False), "near_duplicate")
        assert (first["path"], first["other_path"]) == ("/in/00009.jpg", "/in/00050.jpg")
        assert "labelled 'b'" in first["message"] and "labelled" not in second["message"]
        assert second["score"] > first["score"]

    def test_equal_bytes_count_across_splits(self) -> None:
        features = unrelated_features()
        features[40], features[41], features[5] = features[10], features[11], features[4]
        digests = [f"{number}" for number in range(60)]
        digests[40] = digests[10]
        splits = ["Training"] * 30 + ["Test"] * 30
        found = audit(sample(features, ["a"] * 60, splits, digests=digests), None, False)
        across = listed(found, "near_duplicate_across_splits")
        assert {(row["path"], row["other_path"]) for row in across} == {
            ("/in/00040.jpg", "/in/00010.jpg"),
            ("/in/00041.jpg", "/in/00011.jpg"),
        }
        assert "one is in 'Test', the other in 'Training'" in across[0]["message"]
        assert (found.found["near_duplicate_across_splits"], found.found["near_duplicate"]) == (2, 4)
        assert found.details["near_duplicates"]["across"] == "Test and Training"
        assert list(np.flatnonzero(found.seen_in_training)) == [40, 41]

    @pytest.mark.parametrize(
        ("splits", "found", "across"),
        [
            (["Training", "Test", "Validation"], 2, "Test, Validation and Training"),
            (["Test", "Training", "Training"], 1, "Test and Training"),
            (["Test", "Validation", "Validation"], 0, None),
            (["Training", None, "Validation"], 1, "Validation and Training"),
            (["Training", None, None], 0, None),
            ([None, "Test", "Validation"], 0, None),
        ],
    )
    def test_across_splits_counts_held_out_photographs_with_a_near_duplicate_in_training(
        self, splits: list[str | None], found: int, across: str | None
    ) -> None:
        features = np.concatenate([unrelated_features(20)] * 3)
        features[1:20] = unrelated_features(80)[61:]  # one photograph is in all three, the others of the first alone
        features[21:40], features[41:] = unrelated_features(120)[81:100], unrelated_features(140)[101:120]
        each = [split for split in splits for _ in range(20)]
        audited = audit(sample(features, ["a"] * 60, each), None, False)
        assert audited.found["near_duplicate_across_splits"] == audited.seen_in_training.sum() == found
        assert audited.details["near_duplicates"]["across"] == across

    def test_all_copies_of_a_held_out_photograph_are_seen_in_training(self) -> None:
        features, digests = unrelated_features(), [f"{number}" for number in range(60)]
        features[[40, 41]], digests[41] = features[10], digests[40]
        splits = ["Training"] * 30 + ["Test"] * 30
        found = audit(sample(features, ["a"] * 60, splits, digests=digests), None, False)
        assert list(np.flatnonzero(found.seen_in_training)) == [40, 41]

    def test_issues_beyond_the_limit_are_counted_but_not_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(issues, "MAX_LISTED", 5)
        features = np.repeat(unrelated_features(3), 20, axis=0) + 0.01 * unrelated_features()
        found = audit(sample(features, ["a"] * 60), None, False)
        assert found.summary()["counts"]["near_duplicate"] == {"found": 60, "listed": 5}
        assert found.details["near_duplicates"]["pairs"] == 3 * 190
        assert all("and like 18 more" in row["message"] for row in listed(found, "near_duplicate"))

    def test_features_are_standardized_where_the_run_does_so(self) -> None:
        """White pixels make all photographs alike, until their mean is taken away."""
        features = unrelated_features() + 100
        taken = sample(features, ["a"] * 60)
        assert audit(taken, None, False).found["near_duplicate"] == 60
        assert audit(taken, None, True).found["near_duplicate"] == 0


def test_only_photographs_with_features_are_compared() -> None:
    features = unrelated_features()
    features[20] = features[10]
    taken = sample(features, ["a"] * 60)
    some = np.arange(0, 60, 10)
    (row,) = listed(audit(replace(taken, feature_rows=some, features=features[some]), None, False), "near_duplicate")
    assert (row["path"], row["other_path"]) == ("/in/00010.jpg", "/in/00020.jpg")
