"""A refit in the signs and order of an earlier space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.features import decaying, moments_of
from verger.components.alignment import align
from verger.components.pca import Pca, fit_moments
from verger.components.rows import Float64Array

pytestmark = pytest.mark.required_in_ci


def space(components: Float64Array, variances: list[float]) -> Pca:
    """A PCA with given components."""
    d, values = components.shape[1], np.array(variances)
    return Pca(
        components=components,
        mean=np.zeros(d),
        scale=None,
        explained_variance=values,
        explained_variance_ratio=values / (2 * values.sum()),
        spectrum=values,
        total_variance=float(2 * values.sum()),
        n_photographs=100,
        requested={"components": len(values)},
        rank=len(values),
        solver="gram",
    )


def orthonormal(k: int, d: int, seed: int = 0) -> Float64Array:
    return np.ascontiguousarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(d, k)))[0].T)


def nearby(components: Float64Array, by: float) -> Float64Array:
    """Orthonormal components that are turned a little."""
    nudged = components + by * np.random.default_rng(1).normal(size=components.shape)
    left, _, right = np.linalg.svd(nudged, full_matrices=False)
    return np.asarray(left @ right)


def test_components_point_the_way_of_those_that_they_match() -> None:
    old = space(orthonormal(4, 20), [8, 4, 2, 1])
    signs = np.array([1, -1, -1, 1])
    new = space(signs[:, None] * nearby(old.components, 0.02), [8, 4, 2, 1])
    aligned, rotation = align(new, old)
    np.testing.assert_array_equal(aligned.components, new.components * signs[:, None])
    assert (np.diag(rotation) > 0.9).all()
    np.testing.assert_array_equal(rotation, aligned.components @ old.components.T)
    np.testing.assert_array_equal(aligned.explained_variance, new.explained_variance)


def test_components_that_changed_places_stay_by_falling_variance() -> None:
    old = space(orthonormal(3, 10), [8, 4.01, 4])
    new = space(-old.components[[0, 2, 1]], [8, 4.01, 4])
    aligned, rotation = align(new, old)
    np.testing.assert_array_equal(aligned.components, old.components[[0, 2, 1]])
    np.testing.assert_allclose(rotation, np.eye(3)[[0, 2, 1]], atol=1e-12)


def test_components_of_equal_variance_come_in_the_order_of_the_old_ones() -> None:
    old = space(orthonormal(5, 10), [8, 4, 4, 4, 1])
    new = space(old.components[[0, 3, 1, 2, 4]], [8, 4 + 4e-15, 4, 4 - 4e-15, 1])
    aligned, rotation = align(new, old)
    np.testing.assert_array_equal(aligned.components, old.components)
    np.testing.assert_allclose(rotation, np.eye(5), atol=1e-12)
    assert (np.diff(aligned.explained_variance) <= 0).all()
    # A new one among them comes after those that match.
    mixed = orthonormal(5, 10)[[0, 1, 2, 3, 4]]
    fewer = space(mixed[[0, 2, 3]], [8, 4, 1])
    aligned, _ = align(space(mixed[[0, 1, 3, 2]], [8, 4, 4, 4]), fewer)
    np.testing.assert_array_equal(aligned.components, mixed[[0, 2, 3, 1]])


def test_components_that_match_none_keep_their_signs() -> None:
    axes = np.eye(6)
    old = space(axes[:2], [2, 1])
    half = np.array([-0.7, 0, 0, np.sqrt(1 - 0.49), 0, 0])  # the square of the cosine is 0.49
    more = np.array([-np.sqrt(0.51), 0, 0, np.sqrt(0.49), 0, 0])
    for first, sign in ((half, 1), (more, -1)):
        new = space(np.array([first, -axes[4]]), [2, 1])
        aligned, rotation = align(new, old)
        np.testing.assert_array_equal(aligned.components, np.array([sign * first, -axes[4]]))
        assert rotation.shape == (2, 2)


def test_the_number_of_components_may_change() -> None:
    axes = orthonormal(6, 9)
    many, few = space(axes, [6, 5, 4, 3, 2, 1]), space(-axes[:4], [6, 5, 4, 3])
    aligned, rotation = align(few, many)
    np.testing.assert_array_equal(aligned.components, axes[:4])
    assert rotation.shape == (4, 6)
    aligned, rotation = align(many, few)
    np.testing.assert_array_equal(aligned.components, np.concatenate([-axes[:4], axes[4:]]))
    assert rotation.shape == (6, 4)


@pytest.mark.parametrize("standardize", [False, True])
def test_a_refit_after_few_photographs_more_is_followed_by_the_rotation(standardize: bool) -> None:
    rows = decaying(500, 12)
    request = {"variance": None, "components": 12, "standardize": standardize, "memory": 1 << 30}
    old, new = (fit_moments(moments_of(part), **request) for part in (rows[:460], rows))  # type: ignore[arg-type]
    flipped = replace(old, components=-old.components)
    aligned, rotation = align(new, flipped)
    assert (np.diag(rotation)[:3] > 0.7).all()
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(12), atol=1e-12)
    if not standardize:
        shift = aligned.transform(old.mean[None])
        np.testing.assert_allclose(aligned.transform(rows), flipped.transform(rows) @ rotation.T + shift, atol=1e-9)
    again, same = align(new, new)
    np.testing.assert_array_equal(again.components, new.components)
    np.testing.assert_allclose(same, np.eye(12), atol=1e-12)


def test_spaces_of_other_dimensions_are_an_error() -> None:
    with pytest.raises(ValueError, match="components of 5 and of 6 features"):
        align(space(orthonormal(2, 5), [2, 1]), space(orthonormal(2, 6), [2, 1]))
