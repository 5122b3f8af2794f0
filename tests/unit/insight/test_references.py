"""How far photographs are from those whose class is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from verger.errors import NothingToReadError
from verger.insight.references import SHRINKAGE, WIDTH, References, Space
from verger.storage.local import LocalStorage


def points(n: int = 60, k: int = 5, classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    codes = np.arange(n) % classes
    spread = random.normal(size=(k, k))
    return (5 * random.normal(size=(classes, k)))[codes] + random.normal(size=(n, k)) @ spread, codes


class TestSpace:
    def test_differences_within_classes_weigh_alike_in_all_directions(self) -> None:
        x, codes = points(3000)
        space = Space.of(x, codes)
        within = x - np.stack([x[codes == code].mean(axis=0) for code in range(3)])[codes]
        spread = np.linalg.eigvalsh(np.cov((within @ space.whitening).T))
        raw = np.linalg.eigvalsh(np.cov(within.T))
        assert spread[-1] / spread[0] < min(1 / SHRINKAGE * 5, raw[-1] / raw[0] / 3)

    def test_directions_have_length_one_and_the_mean_has_none(self) -> None:
        x, codes = points()
        space = Space.of(x, codes)
        np.testing.assert_allclose(np.linalg.norm(space.directions(x), axis=1), 1, rtol=1e-6)
        assert not space.directions(space.mean[None]).any()

    def test_without_classes_it_is_the_cosine_of_the_components(self) -> None:
        x, _ = points()
        unit = (x - x.mean(axis=0)) / np.linalg.norm(x - x.mean(axis=0), axis=1, keepdims=True)
        np.testing.assert_allclose(Space.of(x).directions(x), unit, atol=1e-6)

    def test_classes_of_one_picture_each_can_be_compared(self) -> None:
        x, codes = np.eye(3).repeat(4, axis=0), np.arange(3).repeat(4)
        assert np.isfinite(Space.of(x, codes).directions(x)).all()

    def test_more_components_than_it_takes_are_left_out(self) -> None:
        x, codes = points(40, WIDTH + 10)
        space = Space.of(x, codes)
        assert space.directions(x).shape == (40, WIDTH)


class TestKnown:
    def test_what_is_known_is_near_and_its_opposite_far(self) -> None:
        x, codes = points()
        known = References.of(x, codes)
        np.testing.assert_allclose(known.distances(x), 0, atol=1e-6)
        far = known.distances(2 * known.space.mean - 100 * x.mean(axis=0)[None] - x[:1])
        assert 0 < far[0] <= 2

    def test_the_distance_is_that_to_the_nearest(self) -> None:
        x, codes = points()
        known, asked = References.of(x, codes), x[:7] + 0.3
        cosines = known.space.directions(asked) @ known.directions.T
        np.testing.assert_allclose(known.distances(asked), 1 - cosines.max(axis=1), atol=1e-6)
        assert known.distances(asked[:0]).shape == (0,)

    def test_it_is_kept(self, tmp_path: Path) -> None:
        x, codes = points()
        known = References.of(x, codes)
        known.save(str(tmp_path), LocalStorage())
        np.testing.assert_array_equal(
            References.load(str(tmp_path), LocalStorage()).distances(x + 1), known.distances(x + 1)
        )
        with pytest.raises(NothingToReadError):
            References.load(str(tmp_path / "none"), LocalStorage())
