"""What is scored has been seen by neither scaler, PCA nor classifier."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from tests.insight import clouds, held_out, task
from verger.insight.classification.evaluation import confusions, evaluate, score, scores_by_class


def test_the_pca_is_not_fitted_on_scored_photographs() -> None:
    """Of noise in more dimensions than photographs nothing can be learnt: a leak would be a score above chance."""
    random = np.random.default_rng(0)
    features = random.normal(size=(120, 400)).astype(np.float32)
    (only,) = evaluate(task(features, ["a", "b"] * 60, n_components=100, standardize=True))
    assert 0.3 < score(only).accuracy < 0.7


def test_predictions_depend_on_the_seed_alone() -> None:
    given = clouds({"a": 25, "b": 25, "c": 25}, apart=1)
    one, same, other = (evaluate(task(*given, seed=seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.probabilities, same.probabilities)
    assert (one.probabilities != other.probabilities).any()


def test_scores_are_those_of_scikit_learn() -> None:
    (only,) = evaluate(task(*clouds({"a": 30, "b": 20, "c": 10}, apart=1)))
    found = score(only)
    assert found.accuracy == pytest.approx((only.predicted == only.codes).mean())
    assert found.macro_f1 == pytest.approx(f1_score(only.codes, only.predicted, average="macro"), abs=1e-4)
    assert found.majority == 0.5
    was, taken_for, counts = confusions(only)
    matrix = np.zeros((3, 3), np.int64)
    matrix[was, taken_for] = counts
    np.testing.assert_array_equal(matrix, confusion_matrix(only.codes, only.predicted))
    assert [row["photographs"] for row in scores_by_class(only)] == [30, 20, 10]
    assert found.as_dict()["accuracy"] == round(found.accuracy, 4)


def test_a_class_that_is_never_predicted_has_no_precision() -> None:
    a, b = scores_by_class(held_out([0, 0, 1], [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]))
    assert (a["precision"], a["recall"], a["f1"]) == (pytest.approx(0.6667), 1.0, 0.8)
    assert (b["precision"], b["recall"], b["f1"]) == (None, 0.0, 0.0)
