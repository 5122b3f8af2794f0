"""Photographs far from the others of their label."""

from __future__ import annotations

import numpy as np
import pytest

from tests.insight import clouds, listed, sample, unrelated_features
from verger.insight.audit.checks import audit
from verger.insight.audit.outliers import deviations


class TestOutliers:
    def test_an_outlier_of_its_label_is_found(self) -> None:
        features, labels = clouds({"a": 60, "b": 60})
        features[7] += 8
        taken = sample(features, labels)
        found = audit(taken, None, False)
        (row,) = listed(found, "outlier")
        assert (row["path"], row["label"]) == ("/in/00007.jpg", "a")
        assert row["score"] > 4 and deviations(taken)[7] == pytest.approx(row["score"], abs=0.01)

    def test_small_labels_share_their_statistics(self) -> None:
        features, labels = clouds({f"label {number}": 6 for number in range(20)}, apart=20)
        features[33] += 12
        found = audit(sample(features, labels, k=10), None, False)
        assert [row["path"] for row in listed(found, "outlier")][:1] == ["/in/00033.jpg"]

    def test_single_photographs_and_labels_of_copies_have_no_outliers(self) -> None:
        features = np.concatenate([unrelated_features(1), np.repeat(unrelated_features(2)[1:], 30, axis=0)])
        taken = sample(features, ["a"] + ["b"] * 30)
        found = audit(taken, None, False)
        assert found.found["outlier"] == 0
        assert np.isfinite(deviations(taken)).all()
