"""PCA where neither the d x d nor the n x n matrix fits: randomized subspace iteration, which holds d x l matrices."""

from __future__ import annotations

import numpy as np

from verger.components.moments import Moments
from verger.components.rows import Float64Array, Rows
from verger.components.solvers.decomposition import (
    Decomposition,
    RequestedComponents,
    eigendecomposition,
    significant_eigenvalues,
)
from verger.components.solvers.products import covariance_times

# Matrices of d x l that the driver holds at once: basis, image, their product, and three of LAPACK's for QR.
_MATRICES_HELD = 6
# Directions to begin with where an explained variance ratio is requested.
_INITIAL_DIRECTIONS = 64
# Passes over the features after the subspace last grew: q = 4 power iterations, and one for the eigenvalues.
_MIN_PASSES = 5
# After so many passes without convergence a larger subspace is tried.
_GROW_AFTER = 10
# Where memory allows no larger subspace, no more passes than this.
_MAX_PASSES = 40
# Further passes may lower the number of components by this factor at most,
_COMPONENTS_TOLERANCE = 1.02
# or, where that number was requested, raise the explained variance ratio by this much at most.
_RATIO_TOLERANCE = 1e-5


def solve(
    features: Rows, moments: Moments, standardize: bool, request: RequestedComponents, seed: int, budget: int
) -> Decomposition:
    """The leading eigenvalues and eigenvectors of the covariance matrix C, as many as are requested.

    Subspace iteration of Halko, Martinsson and Tropp ("Finding structure with randomness", SIAM Review 53, 2011,
    algorithm 4.4) on C. Each pass forms Y = C Q, a Rayleigh-Ritz step gives values and vectors, and Q becomes the QR
    factor of Y. Ritz values are never larger than the eigenvalues, and the total variance is known exactly, so
    no fewer components are taken than are needed. Directions that were found are kept when the subspace grows.

    Parameters
    ----------
    features : Rows
        With a column ``features array<float>``.
    moments : Moments
        Of these features.
    standardize : bool
        Whether features are divided by their standard deviations.
    request : RequestedComponents
        A number of components is lowered to what n and d allow.
    seed : int
        Of the random directions to begin with.
    budget : int
        Bytes of memory that the driver may use.

    Returns
    -------
    Decomposition
        Its rank is that of the subspace, which has some directions more than were requested.

    Raises
    ------
    DoesNotFitError
        The directions that fit the budget are not enough for the request.
    """
    scaler = moments.scaler(standardize)
    dimension, variance = len(moments.mean), moments.total_variance(scaler)
    max_rank = min(moments.n - 1, dimension)
    max_directions = min(max_rank, budget // (_MATRICES_HELD * 8 * dimension))
    if max_directions == 0:
        raise request.does_not_fit(0, 0.0, budget)
    convergence = _Convergence(request, max_rank, max_directions)
    generator = np.random.default_rng(seed)
    basis = _orthonormal(generator.standard_normal((dimension, convergence.size)))
    while True:
        image = covariance_times(features, scaler, basis) / (moments.n - 1)
        eigenvalues, rotation = eigendecomposition(basis.T @ image)
        if convergence.reached(np.cumsum(eigenvalues) / variance):
            break
        image = image @ rotation
        new_directions = generator.standard_normal((dimension, convergence.size - len(eigenvalues)))
        basis = _orthonormal(np.hstack([image, new_directions]) if new_directions.size else image)
    if convergence.needed > convergence.size:
        raise request.does_not_fit(convergence.size, convergence.ratio, budget)
    return Decomposition(
        moments.n,
        scaler,
        variance,
        significant_eigenvalues(eigenvalues, moments.n, dimension),
        lambda k: np.ascontiguousarray((basis @ rotation[:, :k]).T),
    )


def _orthonormal(columns: Float64Array) -> Float64Array:
    return np.linalg.qr(columns)[0]


class _Convergence:
    """How large the subspace should be, and when to stop.

    Parameters
    ----------
    request : RequestedComponents
        What must be reached.
    max_rank : int
        Rank that the covariance matrix has at most.
    max_directions : int
        Directions that fit the memory, at most ``max_rank``.

    Attributes
    ----------
    size : int
        Directions of the next pass.
    needed : int
        Directions that the request takes, as far as is known; more than ``size`` where these are not enough.
    ratio : float
        Explained variance ratio reached.
    """

    def __init__(self, request: RequestedComponents, max_rank: int, max_directions: int) -> None:
        self._request, self._max_rank, self._max_directions = request, max_rank, max_directions
        self.needed = 0
        self.ratio = 0.0
        wanted = _INITIAL_DIRECTIONS
        if request.components is not None:
            wanted = _with_oversampling(min(request.components, max_rank))
        self.size = min(max_directions, wanted)
        self._history: list[Float64Array] = []

    def reached(self, cumulative_ratios: Float64Array) -> bool:
        """Record a pass, and say whether it was the last; where it was not, ``size`` may have grown.

        Parameters
        ----------
        cumulative_ratios : ndarray of float64, shape (size,)
            Explained variance ratio of the first direction, of the first two together, and so on.

        Returns
        -------
        bool
            Whether to stop.
        """
        self._history.append(cumulative_ratios)
        self.ratio = float(cumulative_ratios[-1])
        self.needed = min(self._request.needed(cumulative_ratios), self._max_rank)
        passes = len(self._history)
        if self.size == self._max_rank:  # C has no further directions: two passes find them all
            return passes >= 2
        if passes >= _MIN_PASSES and self._within_tolerance():
            return True
        if self._max_directions == self.size:
            return passes >= _MAX_PASSES
        self._grow(passes)
        return False

    def _within_tolerance(self) -> bool:
        """Whether further passes would change the number of components by 2 % at most.

        What they would add is extrapolated from the last three, and doubled to be on the safe side.
        """
        before, last, now = self._history[-3:]
        gain = np.maximum(now - last, 0.0)
        rate = np.clip(gain / np.maximum(last - before, 1e-300), 0.3, 0.97)
        to_come = 2 * gain * rate / (1 - rate)
        if self.needed > self.size:
            return self.size == self._max_directions and self._request.needed(now + to_come) > self.size
        if self._request.variance is None:
            return bool(to_come[self.needed - 1] <= _RATIO_TOLERANCE)
        return self.needed <= _COMPONENTS_TOLERANCE * self._request.needed(now + to_come)

    def _grow(self, passes: int) -> None:
        """Add directions where there are not enough, or too few beyond the needed ones to converge soon."""
        size = self.size
        if self.needed > size:
            size = 2 * size if passes >= 2 else size
        elif self.size < self.needed + max(10, self.needed // 4):
            size = _with_oversampling(self.needed)
        elif passes >= _GROW_AFTER:
            size = size * 3 // 2
        if size > self.size:
            self.size = min(size, self._max_directions)
            self._history = []


def _with_oversampling(components: int) -> int:
    """Directions for so many components: more than these, so that these converge sooner."""
    return components + max(10, components // 2)
