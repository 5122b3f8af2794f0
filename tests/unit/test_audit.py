"""insight/audit and insight/similarity: each kind is found, counted in full and listed in part."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.insight import clouds, config, sample
from verger.insight.analysis import predictions_of
from verger.insight.audit import issues, similarity
from verger.insight.audit.checks import KINDS, Audit, audit
from verger.insight.audit.issues import SCHEMA
from verger.insight.audit.similarity import find_similar, unit_rows
from verger.insight.classification.classifier import classify


def rows(found: Audit, kind: str) -> list[dict[str, Any]]:
    return [row for row in found.table.to_pylist() if row["kind"] == kind]


def photographs(n: int = 60, d: int = 40) -> Any:
    """Photographs that are nothing like one another."""
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


class TestDuplicates:
    def test_copies_point_at_the_first_by_path(self) -> None:
        digests = [f"{number}" for number in range(60)]
        digests[7] = digests[30] = digests[3]
        labels = ["a"] * 30 + ["b"] * 30
        features = photographs()
        features[[7, 30]] = features[3]
        found = audit(sample(features, labels, digests=digests), None, False)
        (same,), (other,) = rows(found, "duplicate"), rows(found, "duplicate_other_label")
        assert (same["path"], same["other_path"], same["score"]) == ("/in/00007.jpg", "/in/00003.jpg", 3)
        assert (other["path"], other["label"], other["other_path"]) == ("/in/00030.jpg", "b", "/in/00003.jpg")
        assert "labelled 'a'" in other["message"]
        assert found.found["near_duplicate"] == 0  # what has the same bytes is told once


class TestNearDuplicates:
    def test_a_pair_is_counted_as_two_and_listed_once(self) -> None:
        features = photographs()
        features[20] = features[10] * 2 + 0.01
        found = audit(sample(features, ["a"] * 60), None, False)
        (row,) = rows(found, "near_duplicate")
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
        features = photographs()
        features[20], features[50] = features[10], features[9] + 0.1 * features[8]
        labels = ["a"] * 30 + ["b"] * 30
        first, second = rows(audit(sample(features, labels), None, False), "near_duplicate")
        assert (first["path"], first["other_path"]) == ("/in/00009.jpg", "/in/00050.jpg")
        assert "labelled 'b'" in first["message"] and "labelled" not in second["message"]
        assert second["score"] > first["score"]

    def test_across_splits_the_same_bytes_count_too(self) -> None:
        features = photographs()
        features[40], features[41], features[5] = features[10], features[11], features[4]
        digests = [f"{number}" for number in range(60)]
        digests[40] = digests[10]
        splits = ["Training"] * 30 + ["Test"] * 30
        found = audit(sample(features, ["a"] * 60, splits, digests=digests), None, False)
        across = rows(found, "near_duplicate_across_splits")
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
        features = np.concatenate([photographs(20)] * 3)
        features[1:20] = photographs(80)[61:]  # one photograph is in all three, the others of the first alone
        features[21:40], features[41:] = photographs(120)[81:100], photographs(140)[101:120]
        each = [split for split in splits for _ in range(20)]
        audited = audit(sample(features, ["a"] * 60, each), None, False)
        assert audited.found["near_duplicate_across_splits"] == audited.seen.sum() == found
        assert audited.about["near_duplicates"]["across"] == across

    def test_copies_of_a_held_out_photograph_have_all_been_seen(self) -> None:
        features, digests = photographs(), [f"{number}" for number in range(60)]
        features[[40, 41]], digests[41] = features[10], digests[40]
        splits = ["Training"] * 30 + ["Test"] * 30
        found = audit(sample(features, ["a"] * 60, splits, digests=digests), None, False)
        assert list(np.flatnonzero(found.seen)) == [40, 41]

    def test_neighbours_of_a_rotation_are_counted_and_not_listed_by_the_thousand(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(issues, "LISTED", 5)
        features = np.repeat(photographs(3), 20, axis=0) + 0.01 * photographs()
        found = audit(sample(features, ["a"] * 60), None, False)
        assert found.summary()["counts"]["near_duplicate"] == {"found": 60, "listed": 5}
        assert found.about["near_duplicates"]["pairs"] == 3 * 190
        assert all("and like 18 more" in row["message"] for row in rows(found, "near_duplicate"))

    def test_standardised_features_are_compared_as_they_are_used(self) -> None:
        """White pixels make all photographs alike, until their mean is taken away."""
        features = photographs() + 100
        taken = sample(features, ["a"] * 60)
        assert audit(taken, None, False).found["near_duplicate"] == 60
        assert audit(taken, None, True).found["near_duplicate"] == 0


class TestAlike:
    @pytest.mark.parametrize("direct", [True, False])
    def test_it_is_what_all_products_give(self, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if not direct:
            monkeypatch.setattr(similarity, "DIRECT", 0)
        monkeypatch.setattr(similarity, "BLOCK", 100)
        monkeypatch.setattr(similarity, "TILE", 170)
        random = np.random.default_rng(0)
        middles = random.normal(size=(40, 400)) * np.linspace(3, 0.01, 400)
        features = middles[random.integers(0, 40, 730)] + 0.1 * random.normal(size=(730, 400))
        unit = unit_rows(features.astype(np.float32), False)
        sides = random.integers(0, 2, 730)
        found, across = find_similar(unit, 0.98, sides)
        products = unit.astype(np.float64) @ unit.T.astype(np.float64)
        np.fill_diagonal(products, 0)
        for likeness, allowed in ((found, True), (across, sides[:, None] != sides[None, :])):
            assert likeness is not None
            wanted = np.where(allowed, products, 0)
            reached = wanted >= 0.98
            assert 0 < reached.sum() < 0.5 * reached.size
            np.testing.assert_array_equal(likeness.count, reached.sum(axis=1))
            assert likeness.pairs == reached.sum() // 2
            any_ = reached.any(axis=1)
            np.testing.assert_array_equal(likeness.nearest >= 0, any_)
            np.testing.assert_allclose(likeness.cosine[any_], wanted.max(axis=1)[any_], atol=1e-5)

    @pytest.mark.parametrize(("direct", "standardize"), [(True, False), (True, True), (False, True)])
    def test_features_are_copied_once(self, direct: bool, standardize: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if not direct:
            monkeypatch.setattr(similarity, "DIRECT", 0)
        features = photographs(1200, 6000)
        taken = sample(features[:, :20], ["a"] * 600 + ["b"] * 600, ["Training", "Test"] * 600)
        taken = replace(taken, features=features)
        tracemalloc.start()
        audit(taken, None, standardize)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (1.7 if direct else 3) * features.nbytes  # the copy, and what does not grow with the photographs

    def test_the_bound_is_one(self) -> None:
        unit = unit_rows(photographs(300, 500), False)
        bound = similarity._bounding(unit)
        assert bound.shape == (300, 129)
        assert (bound @ bound.T - unit @ unit.T).min() > -1e-5

    def test_rows_of_zeros_are_like_nothing(self) -> None:
        found, across = find_similar(unit_rows(np.zeros((5, 4), np.float32), False), 0.9)
        assert (found.pairs, across) == (0, None)


class TestOutliers:
    def test_the_odd_one_of_a_label_is_found(self) -> None:
        features, labels = clouds({"a": 60, "b": 60})
        features[7] += 8
        found = audit(sample(features, labels), None, False)
        (row,) = rows(found, "outlier")
        assert (row["path"], row["label"]) == ("/in/00007.jpg", "a")
        assert row["score"] > 4 and found.oddness[7] == pytest.approx(row["score"], abs=0.01)

    def test_small_labels_share_their_spread(self) -> None:
        features, labels = clouds({f"label {number}": 6 for number in range(20)}, apart=20)
        features[33] += 12
        found = audit(sample(features, labels, k=10), None, False)
        assert [row["path"] for row in rows(found, "outlier")][:1] == ["/in/00033.jpg"]

    def test_one_alone_and_a_label_of_copies_are_not_odd(self) -> None:
        features = np.concatenate([photographs(1), np.repeat(photographs(2)[1:], 30, axis=0)])
        found = audit(sample(features, ["a"] + ["b"] * 30), None, False)
        assert found.found["outlier"] == 0
        assert np.isfinite(found.oddness).all()


class TestMislabels:
    def test_a_photograph_under_a_wrong_name_is_suspected(self) -> None:
        features, labels = clouds({"apple": 60, "pear": 60}, apart=8)
        labels[5], labels[100] = "pear", "apple"
        taken = sample(features, labels)
        found = audit(taken, predictions_of(classify(taken, config())), False)
        suspected = rows(found, "suspected_mislabel")
        assert {row["path"] for row in suspected} == {"/in/00005.jpg", "/in/00100.jpg"}
        assert {row["path"]: row["message"] for row in suspected}["/in/00005.jpg"].startswith("taken for apple (")
        assert found.about["suspected_mislabels"]["weak"] is False

    def test_classes_that_cannot_be_told_apart_are_weak_evidence(self) -> None:
        features, labels = clouds({"apple": 60, "pear": 60}, apart=0)
        taken = sample(features, labels)
        assert (
            audit(taken, predictions_of(classify(taken, config())), False).about["suspected_mislabels"]["weak"] is True
        )

    def test_a_classifier_that_only_knows_the_most_frequent_class_is_weak_evidence(self) -> None:
        features, labels = clouds({"apple": 230, "pear": 10}, apart=0)
        taken = sample(features, labels)
        about = audit(taken, predictions_of(classify(taken, config())), False).about["suspected_mislabels"]
        assert about["accuracy"] > 0.8 and about["weak"] is True

    def test_without_a_classifier_nothing_is_said(self) -> None:
        found = audit(sample(photographs(), ["a"] * 60), None, False)
        assert found.summary()["counts"]["suspected_mislabel"] == {"found": None, "listed": 0}
        assert "suspected_mislabels" not in found.summary()


def test_thin_labels_are_listed_the_thinnest_first() -> None:
    labels = ["a"] * 46 + ["b"] * 9 + ["c"] + [None] * 4
    c, b = rows(audit(sample(photographs(), labels), None, False), "thin_label")
    assert (c["path"], c["label"], c["score"], b["label"]) == (None, "c", 1, "b")
    assert c["message"].startswith("1 photograph:")


def test_only_photographs_with_features_are_compared_and_the_message_is_of_the_right_one() -> None:
    features = photographs()
    features[20] = features[10]
    taken = sample(features, ["a"] * 60)
    some = np.arange(0, 60, 10)
    (row,) = rows(audit(replace(taken, featured=some, features=features[some]), None, False), "near_duplicate")
    assert (row["path"], row["other_path"]) == ("/in/00010.jpg", "/in/00020.jpg")


def test_it_is_one_parquet_file(tmp_path: Path) -> None:
    found = audit(sample(photographs(), ["a"] * 55 + ["b"] * 5), None, False)
    path = tmp_path / "audit" / "part-00000.zstd.parquet"
    found.save(str(path))
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA) and table.equals(found.table)
    assert set(found.summary()["counts"]) == set(KINDS)
