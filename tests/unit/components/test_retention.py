"""What an earlier space keeps of today's variance, and when it is fitted anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.features import Rows, decaying, moments_of, shapes
from verger.components.pca import Pca, fit_moments
from verger.components.retention import kept_share, measure_retention, refit_share
from verger.components.scatter import ScatterMoments

pytestmark = pytest.mark.required_in_ci


def fitted(moments: ScatterMoments, standardize: bool = False, **request: Any) -> Pca:
    return fit_moments(
        moments, **{"variance": None, "components": None, "memory": 1 << 30, **request}, standardize=standardize
    )


def turned(rows: Rows, share: float) -> Rows:
    """Rows of which a share varies along other axes than the rest."""
    n = int(len(rows) * share)
    return np.concatenate([rows[n:], rows[:n, ::-1]])


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", shapes())
def test_a_space_keeps_of_its_own_photographs_what_it_explains(name: str, standardize: bool) -> None:
    moments = moments_of(shapes()[name])
    for components in (1, 3, 10_000):
        pca = fitted(moments, standardize, components=components)
        explained = pca.explained_variance_ratio.sum()
        assert kept_share(pca, moments) == pytest.approx(explained, abs=1e-12)
        assert refit_share(pca, pca.n_components) == pytest.approx(explained, abs=1e-12)
        assert refit_share(pca, 10_000) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("standardize", [False, True])
def test_the_kept_share_is_the_variance_of_the_columns_over_that_of_the_scaled_features(standardize: bool) -> None:
    base = decaying(300, 20, seed=1) + 5
    today = np.concatenate([base, decaying(200, 20, seed=2) * np.linspace(1, 4, 20, dtype=np.float32) + 7])
    before = moments_of(base)
    space = fitted(before, standardize, variance=0.8)
    moments = before.add(moments_of(today[300:], before.reference))
    columns = space.transform(today).var(axis=0).sum()
    features = (today.astype(np.float64) / (1 if space.scale is None else space.scale)).var(axis=0).sum()
    assert kept_share(space, moments) == pytest.approx(columns / features, rel=1e-12)


def test_a_shift_of_all_photographs_changes_nothing() -> None:
    rows = np.rint(decaying(300, 8) * 64)
    space = fitted(moments_of(rows), components=3)
    along = np.rint(space.components[0] * 500).astype(np.float32)
    assert kept_share(space, moments_of(rows + along)) == pytest.approx(kept_share(space, moments_of(rows)), rel=1e-12)


def test_no_space_keeps_more_than_a_refit() -> None:
    random = np.random.default_rng(0)
    rows = decaying(300, 12)
    for _ in range(20):
        moments = moments_of((rows @ random.normal(size=(12, 12))).astype(np.float32))
        space = fitted(moments_of(rows), components=int(random.integers(1, 12)))
        refit = fitted(moments, components=5)
        assert kept_share(space, moments) <= refit_share(refit, space.n_components) + 1e-12


def test_a_space_stands_while_it_keeps_the_share_that_is_requested() -> None:
    rows = decaying(400, 20)
    space = fitted(moments_of(rows), variance=0.8)
    seen = set()
    for share in (0, 0.02, 0.1, 0.3, 0.5):
        moments = moments_of(turned(rows, share))
        found = measure_retention(space, fitted(moments, variance=0.8), moments)
        assert found.least_share == 0.8
        assert found.due is (found.kept_share < 0.8)
        assert found.kept_share == kept_share(space, moments)
        assert found.summary()["reason"] == found.reason
        assert ("less than 80.0000%" in found.reason) is found.due
        seen.add(found.due)
    assert seen == {False, True}


def test_a_space_that_keeps_exactly_what_is_requested_stands() -> None:
    moments = moments_of(decaying(400, 20))
    asked = float(fitted(moments, components=6).explained_variance_ratio.sum())
    space = fitted(moments, variance=asked)
    assert space.n_components == 6
    assert not measure_retention(space, fitted(moments, variance=asked), moments).due


def test_a_space_of_a_number_of_components_stands_while_it_keeps_nearly_what_a_refit_would() -> None:
    rows = decaying(400, 20)
    space = fitted(moments_of(rows), components=5)
    seen = set()
    for share in (0, 0.01, 0.1, 0.3, 0.5):
        moments = moments_of(turned(rows, share))
        refit = fitted(moments, components=5)
        found = measure_retention(space, refit, moments)
        assert found.refit_share == pytest.approx(refit.explained_variance_ratio.sum(), rel=1e-12)
        assert found.least_share == pytest.approx(0.99 * found.refit_share, rel=1e-12)
        assert found.due is (found.kept_share < found.least_share)
        seen.add(found.due)
    assert seen == {False, True}


def test_a_space_of_fewer_components_than_are_possible_now_is_fitted_anew() -> None:
    rows = decaying(100, 20)
    few, moments = moments_of(rows[:6]), moments_of(rows)
    space = fitted(few, components=9)
    assert space.n_components == 5
    found = measure_retention(space, fitted(moments, components=9), moments)
    assert found.due
    assert found.reason == "the space has 5 components where 9 are possible"


@pytest.mark.parametrize("other", [{"variance": 0.7}, {"components": 5}, {"variance": 0.8, "standardize": True}])
def test_another_request_is_a_reason_to_fit_anew(other: dict[str, Any]) -> None:
    moments = moments_of(decaying(100, 20))
    found = measure_retention(fitted(moments, variance=0.8), fitted(moments, **other), moments)
    assert found.due
    assert "another request" in found.reason


def test_a_space_of_another_dimension_is_an_error() -> None:
    space = fitted(moments_of(decaying(30, 5)), components=2)
    with pytest.raises(ValueError, match="a space of 5 features, moments of 6"):
        kept_share(space, moments_of(decaying(30, 6)))
