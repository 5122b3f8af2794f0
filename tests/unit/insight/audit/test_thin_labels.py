"""Labels of too few photographs."""

from __future__ import annotations

from tests.insight import listed, sample, unrelated_features
from verger.insight.audit.checks import audit


def test_thin_labels_are_listed_the_thinnest_first() -> None:
    labels = ["a"] * 46 + ["b"] * 9 + ["c"] + [None] * 4
    c, b = listed(audit(sample(unrelated_features(), labels), None, False), "thin_label")
    assert (c["path"], c["label"], c["score"], b["label"]) == (None, "c", 1, "b")
    assert c["message"].startswith("1 photograph:")
