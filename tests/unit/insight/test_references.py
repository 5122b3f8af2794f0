"""How far photographs are from those whose class is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verger.errors import NothingToReadError
from verger.insight.references import MAX_WIDTH, SHRINKAGE, CosineSpace, References
from verger.storage.local import LocalStorage


def points(n: int = 60, k: int = 5, classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    codes = np.arange(n) % classes
    spread = random.normal(size=(k, k))
    return (5 * random.normal(size=(classes, k)))[codes] + random.normal(size=(n, k)) @ spread, codes


class TestCosineSpace:
    def test_whitening_evens_out_the_variance_within_classes(self) -> None:
        x, codes = points(3000)
        space = CosineSpace.fit(x, codes)
        within = x - np.stack([x[codes == code].mean(axis=0) for code in range(3)])[codes]
        spread = np.linalg.eigvalsh(np.cov((within @ space.whitening).T))
        raw = np.linalg.eigvalsh(np.cov(within.T))
        assert spread[-1] / spread[0] < min(1 / SHRINKAGE * 5, raw[-1] / raw[0] / 3)

    def test_directions_have_length_one_or_zero_at_the_mean(self) -> None:
        x, codes = points()
        space = CosineSpace.fit(x, codes)
        np.testing.assert_allclose(np.linalg.norm(space.directions(x), axis=1), 1, rtol=1e-6)
        assert not space.directions(space.mean[None]).any()

    def test_without_classes_nothing_is_whitened(self) -> None:
        x, _ = points()
        unit = (x - x.mean(axis=0)) / np.linalg.norm(x - x.mean(axis=0), axis=1, keepdims=True)
        np.testing.assert_allclose(CosineSpace.fit(x).directions(x), unit, atol=1e-6)

    def test_identical_photographs_can_be_compared(self) -> None:
        x, codes = np.eye(3).repeat(4, axis=0), np.arange(3).repeat(4)
        assert np.isfinite(CosineSpace.fit(x, codes).directions(x)).all()

    def test_only_the_first_components_are_compared(self) -> None:
        x, codes = points(40, MAX_WIDTH + 10)
        space = CosineSpace.fit(x, codes)
        assert space.directions(x).shape == (40, MAX_WIDTH)


class TestReferences:
    def test_references_have_distance_zero_and_opposites_a_large_one(self) -> None:
        x, codes = points()
        known = References.fit(x, codes)
        np.testing.assert_allclose(known.distances(x), 0, atol=1e-6)
        far = known.distances(2 * known.space.mean - 100 * x.mean(axis=0)[None] - x[:1])
        assert 0 < far[0] <= 2

    def test_the_distance_is_that_to_the_nearest(self) -> None:
        x, codes = points()
        known, asked = References.fit(x, codes), x[:7] + 0.3
        cosines = known.space.directions(asked) @ known.directions.T
        np.testing.assert_allclose(known.distances(asked), 1 - cosines.max(axis=1), atol=1e-6)
        assert known.distances(asked[:0]).shape == (0,)

    def test_saved_references_give_the_same_distances(self, tmp_path: Path) -> None:
        x, codes = points()
        known = References.fit(x, codes)
        known.save(str(tmp_path), LocalStorage())
        np.testing.assert_array_equal(
            References.load(str(tmp_path), LocalStorage()).distances(x + 1), known.distances(x + 1)
        )
        with pytest.raises(NothingToReadError):
            References.load(str(tmp_path / "none"), LocalStorage())
