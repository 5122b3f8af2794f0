"""Every pair of rows whose cosine reaches a threshold."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from tests.insight import sample, unrelated_features
from verger.insight.audit import similarity
from verger.insight.audit.checks import audit
from verger.insight.audit.similarity import find_similar, unit_rows


class TestFindSimilar:
    @pytest.mark.parametrize("direct", [True, False])
    def test_finds_the_same_pairs_as_all_products(self, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        if not direct:
            monkeypatch.setattr(similarity, "MAX_DIRECT", 0)
        monkeypatch.setattr(similarity, "BLOCK_ROWS", 100)
        monkeypatch.setattr(similarity, "BLOCK_COLUMNS", 170)
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
            monkeypatch.setattr(similarity, "MAX_DIRECT", 0)
        features = unrelated_features(1200, 6000)
        taken = sample(features[:, :20], ["a"] * 600 + ["b"] * 600, ["Training", "Test"] * 600)
        taken = replace(taken, features=features)
        tracemalloc.start()
        audit(taken, None, standardize)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < (1.7 if direct else 3) * features.nbytes  # the copy, and what does not grow with the photographs

    def test_the_bound_is_never_below_the_cosine(self) -> None:
        unit = unit_rows(unrelated_features(300, 500), False)
        bound = similarity._bound_rows(unit)
        assert bound.shape == (300, 129)
        assert (bound @ bound.T - unit @ unit.T).min() > -1e-5

    def test_zero_rows_are_similar_to_none(self) -> None:
        found, across = find_similar(unit_rows(np.zeros((5, 4), np.float32), False), 0.9)
        assert (found.pairs, across) == (0, None)
