"""Photographs that look nearly the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.insight import listed, sample, unlike
from verger.insight.audit import issues
from verger.insight.audit.checks import audit


class TestNearDuplicates:
    def test_a_pair_is_counted_as_two_and_listed_once(self) -> None:
        features = unlike()
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

    def test_those_under_two_labels_come_first(self) -> None:
        features = unlike()
        features[20], features[50] = features[10], features[9] + 0.1 * features[8]
        labels = ["a"] * 30 + ["b"] * 30
        first, second = listed(audit(sample(features, labels), None, False), "near_duplicate")
        assert (first["path"], first["other_path"]) == ("/in/00009.jpg", "/in/00050.jpg")
        assert "labelled 'b'" in first["message"] and "labelled" not in second["message"]
        assert second["score"] > first["score"]

    def test_across_splits_the_same_bytes_count_too(self) -> None:
        features = unlike()
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
        assert found.about["near_duplicates"]["across"] == "Test and Training"
        assert list(np.flatnonzero(found.seen)) == [40, 41]

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
    def test_only_held_out_photographs_that_training_has_seen_count(
        self, splits: list[str | None], found: int, across: str | None
    ) -> None:
        features = np.concatenate([unlike(20)] * 3)
        features[1:20] = unlike(80)[61:]  # one photograph is in all three, the others of the first alone
        features[21:40], features[41:] = unlike(120)[81:100], unlike(140)[101:120]
        each = [split for split in splits for _ in range(20)]
        audited = audit(sample(features, ["a"] * 60, each), None, False)
        assert audited.found["near_duplicate_across_splits"] == audited.seen.sum() == found
        assert audited.about["near_duplicates"]["across"] == across

    def test_copies_of_a_held_out_photograph_have_all_been_seen(self) -> None:
        features, digests = unlike(), [f"{number}" for number in range(60)]
        features[[40, 41]], digests[41] = features[10], digests[40]
        splits = ["Training"] * 30 + ["Test"] * 30
        found = audit(sample(features, ["a"] * 60, splits, digests=digests), None, False)
        assert list(np.flatnonzero(found.seen)) == [40, 41]

    def test_neighbours_of_a_rotation_are_counted_and_not_listed_by_the_thousand(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(issues, "LISTED", 5)
        features = np.repeat(unlike(3), 20, axis=0) + 0.01 * unlike()
        found = audit(sample(features, ["a"] * 60), None, False)
        assert found.summary()["counts"]["near_duplicate"] == {"found": 60, "listed": 5}
        assert found.about["near_duplicates"]["pairs"] == 3 * 190
        assert all("and like 18 more" in row["message"] for row in listed(found, "near_duplicate"))

    def test_standardised_features_are_compared_as_they_are_used(self) -> None:
        """White pixels make all photographs alike, until their mean is taken away."""
        features = unlike() + 100
        taken = sample(features, ["a"] * 60)
        assert audit(taken, None, False).found["near_duplicate"] == 60
        assert audit(taken, None, True).found["near_duplicate"] == 0


def test_only_photographs_with_features_are_compared_and_the_message_is_of_the_right_one() -> None:
    features = unlike()
    features[20] = features[10]
    taken = sample(features, ["a"] * 60)
    some = np.arange(0, 60, 10)
    (row,) = listed(audit(replace(taken, featured=some, features=features[some]), None, False), "near_duplicate")
    assert (row["path"], row["other_path"]) == ("/in/00010.jpg", "/in/00020.jpg")
