"""Photographs whose label is probably wrong."""

from __future__ import annotations

from tests.insight import clouds, config, listed, sample, unrelated_features
from verger.insight.analysis import predictions_of
from verger.insight.audit.checks import audit
from verger.insight.classification.classifier import classify


class TestMislabels:
    def test_a_photograph_with_a_wrong_label_is_suspected(self) -> None:
        features, labels = clouds({"apple": 60, "pear": 60}, apart=8)
        labels[5], labels[100] = "pear", "apple"
        taken = sample(features, labels)
        found = audit(taken, predictions_of(classify(taken, config())), False)
        suspected = listed(found, "suspected_mislabel")
        assert {row["path"] for row in suspected} == {"/in/00005.jpg", "/in/00100.jpg"}
        assert {row["path"]: row["message"] for row in suspected}["/in/00005.jpg"].startswith("taken for apple (")
        assert found.details["suspected_mislabels"]["weak"] is False

    def test_classes_that_cannot_be_told_apart_are_weak_evidence(self) -> None:
        features, labels = clouds({"apple": 60, "pear": 60}, apart=0)
        taken = sample(features, labels)
        assert (
            audit(taken, predictions_of(classify(taken, config())), False).details["suspected_mislabels"]["weak"]
            is True
        )

    def test_a_classifier_no_better_than_the_majority_is_weak_evidence(self) -> None:
        features, labels = clouds({"apple": 230, "pear": 10}, apart=0)
        taken = sample(features, labels)
        about = audit(taken, predictions_of(classify(taken, config())), False).details["suspected_mislabels"]
        assert about["accuracy"] > 0.8 and about["weak"] is True

    def test_without_a_classifier_nothing_is_looked_for(self) -> None:
        found = audit(sample(unrelated_features(), ["a"] * 60), None, False)
        assert found.summary()["counts"]["suspected_mislabel"] == {"found": None, "listed": 0}
        assert "suspected_mislabels" not in found.summary()
