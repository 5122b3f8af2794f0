from __future__ import annotations

import numpy as np
import pytest

from verger.components.moments import Moments
from verger.components.rows import Float64Array
from verger.components.solvers import randomized
from verger.components.solvers.decomposition import Decomposition, RequestedComponents
from verger.errors import DoesNotFitError, ExitCode

pytestmark = pytest.mark.required_in_ci

N, D, RANK = 300, 240, 220
INDEX = np.arange(1, RANK + 1)
SPECTRA = {
    "slow": 1 / INDEX,
    "slower": INDEX**-0.5,
    "fast": 0.93**INDEX,
    "flat": np.ones(RANK),
    "step": np.where(INDEX <= 60, 1, 0.01),
    "second step": np.where(INDEX <= 30, 1.0, 0.5),
}


class Solver:
    """The solver on rows in memory, which counts its passes over them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, variances: Float64Array) -> None:
        random = np.random.default_rng(0)
        left = np.linalg.qr(random.normal(size=(N, RANK)))[0]
        right = np.linalg.qr(random.normal(size=(D, RANK)))[0]
        rows = (left * np.sqrt(variances)) @ right.T
        self.centred = rows - rows.mean(axis=0)
        self.moments = Moments(N, rows.mean(axis=0), (self.centred**2).sum(axis=0))
        self.variances = np.linalg.svd(self.centred, compute_uv=False) ** 2 / (N - 1)
        self.passes = 0
        monkeypatch.setattr(randomized, "covariance_times", self._times)

    def _times(self, _features: object, _standard: object, basis: Float64Array) -> Float64Array:
        self.passes += 1
        return self.centred.T @ (self.centred @ basis)

    def __call__(self, request: RequestedComponents, budget: int = 1 << 30, seed: int = 0) -> Decomposition:
        return randomized.solve(None, self.moments, False, request, seed, budget)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SPECTRA)
def test_never_fewer_components_and_at_most_two_percent_more(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Solver(monkeypatch, SPECTRA[name])
    shares = np.cumsum(solver.variances) / solver.variances.sum()
    for asked in (0.3, 0.5, 0.8, 0.9, 0.99):
        request = RequestedComponents(asked, None)
        solver.passes = 0
        found = solver(request)
        needed, k = request.needed(shares), request.needed(found.cumulative_ratios)
        assert needed <= k <= 1.02 * needed
        assert solver.passes >= 5 or found.rank == RANK
        assert found.total_variance == pytest.approx(solver.variances.sum(), rel=1e-12)
        components = found.components(k)
        assert components.shape == (k, D)
        np.testing.assert_allclose(components @ components.T, np.eye(k), atol=1e-12)


def test_leading_components_are_exact_where_eigenvalues_decay_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Solver(monkeypatch, SPECTRA["fast"])
    found = solver(RequestedComponents(None, 10))
    np.testing.assert_allclose(found.variances[:10], solver.variances[:10], rtol=1e-4)
    image = solver.centred.T @ (solver.centred @ found.components(10).T) / (N - 1)
    np.testing.assert_allclose(image, found.components(10).T * found.variances[:10], atol=1e-2 * found.variances[0])


def test_equal_seeds_give_equal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Solver(monkeypatch, SPECTRA["slow"])
    request = RequestedComponents(None, 20)
    one, same, other = solver(request, seed=1), solver(request, seed=1), solver(request, seed=2)
    np.testing.assert_array_equal(one.components(20), same.components(20))
    assert not np.array_equal(one.variances[:20], other.variances[:20])
    np.testing.assert_allclose(one.variances[:20], other.variances[:20], rtol=1e-2)


def test_a_request_for_more_components_than_the_rank_finds_all(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Solver(monkeypatch, SPECTRA["slow"])
    found = solver(RequestedComponents(None, 10_000))
    assert found.rank == RANK
    np.testing.assert_allclose(found.variances, solver.variances[:RANK], rtol=1e-9)
    assert solver(RequestedComponents(1.0, None)).rank == RANK


def test_the_error_of_too_little_memory_says_what_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Solver(monkeypatch, SPECTRA["flat"])
    with pytest.raises(DoesNotFitError, match=r"90\.00% of the variance asked for: 40 components fit") as caught:
        solver(RequestedComponents(0.9, None), budget=6 * 8 * D * 40)
    assert caught.value.exit_code == ExitCode.DOES_NOT_FIT
    assert "they reach 18." in caught.value.line
    with pytest.raises(DoesNotFitError, match="200 components asked for: 40 components fit"):
        solver(RequestedComponents(None, 200), budget=6 * 8 * D * 40)
    with pytest.raises(DoesNotFitError, match=r"0 components fit .* reach 0\.00%"):
        solver(RequestedComponents(0.9, None), budget=1000)


def test_a_request_that_just_fits_the_memory_is_satisfied(monkeypatch: pytest.MonkeyPatch) -> None:
    solver = Solver(monkeypatch, SPECTRA["fast"])
    needed = RequestedComponents(0.99, None).needed(np.cumsum(solver.variances) / solver.variances.sum())
    found = solver(RequestedComponents(0.99, None), budget=6 * 8 * D * (needed + 3))
    assert needed <= RequestedComponents(0.99, None).needed(found.cumulative_ratios) <= needed + 1
