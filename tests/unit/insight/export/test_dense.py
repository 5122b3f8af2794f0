"""Scaler, PCA and classifier as one dense layer."""

from __future__ import annotations

import numpy as np
import pytest

from tests.insight import clouds
from verger.components.pca import Pca
from verger.insight import folds
from verger.insight.export import dense
from verger.insight.model import Model, softmax
from verger.insight.task import Task


def pca(d: int, k: int, standardized: bool) -> Pca:
    random = np.random.default_rng(1)
    components = np.linalg.qr(random.normal(size=(d, k)))[0].T
    scale = random.uniform(0.1, 3, d) if standardized else None
    variances = np.ones(k)
    return Pca(components, random.normal(size=d), scale, variances, variances / k, variances, 1.0, 9, {}, k, "gram")


class TestDense:
    @pytest.mark.parametrize("standardized", [False, True])
    @pytest.mark.parametrize("temperature", [1.0, 0.4])
    def test_the_layer_of_a_run_gives_its_probabilities(self, standardized: bool, temperature: float) -> None:
        random = np.random.default_rng(0)
        kept = pca(20, 5, standardized)
        names = ["a", "b", "c"]
        model = Model(names, random.normal(size=5), 1.7, random.normal(size=(3, 5)), random.normal(size=3), temperature)
        features = random.normal(size=(50, 20))
        layer = dense.of_run(kept, model)
        assert layer.weights.shape == (20, 3) and layer.bias.shape == (3,)
        got = softmax(features @ layer.weights + layer.bias)
        np.testing.assert_allclose(got, model.probabilities(kept.transform(features)), atol=1e-12)

    @pytest.mark.parametrize("standardize", [False, True])
    @pytest.mark.parametrize("sizes", [{"a": 30, "b": 30}, {"a": 30, "b": 20, "c": 25}])
    def test_the_layer_of_a_training_part_gives_its_probabilities(
        self, sizes: dict[str, int], standardize: bool
    ) -> None:
        features, labels = clouds(sizes, apart=1.0)
        codes = np.array([sorted(sizes).index(label) for label in labels])
        task = Task(features * 5 + 3, codes, len(sizes), [None] * len(labels), None, 6, standardize, 0)
        fitted = folds.fit_fold(task, np.arange(0, len(labels), 2))
        layer = dense.of_fold(fitted)
        expected = fitted.model.predict_proba(fitted.reduction.transform(task.features) / fitted.scale)
        np.testing.assert_allclose(softmax(task.features @ layer.weights + layer.bias), expected, atol=1e-5)
