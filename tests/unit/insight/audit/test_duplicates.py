"""Photographs with the same bytes."""

from __future__ import annotations

from tests.insight import listed, sample, unrelated_features
from verger.insight.audit.checks import audit


class TestDuplicates:
    def test_copies_name_the_photograph_that_comes_first_by_path(self) -> None:
        digests = [f"{number}" for number in range(60)]
        digests[7] = digests[30] = digests[3]
        labels = ["a"] * 30 + ["b"] * 30
        features = unrelated_features()
        features[[7, 30]] = features[3]
        found = audit(sample(features, labels, digests=digests), None, False)
        (same,), (other,) = listed(found, "duplicate"), listed(found, "duplicate_other_label")
        assert (same["path"], same["other_path"], same["score"]) == ("/in/00007.jpg", "/in/00003.jpg", 3)
        assert (other["path"], other["label"], other["other_path"]) == ("/in/00030.jpg", "b", "/in/00003.jpg")
        assert "labelled 'a'" in other["message"]
        assert found.found["near_duplicate"] == 0  # what has the same bytes is told once
