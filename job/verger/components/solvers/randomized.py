"""PCA where neither the d x d nor the n x n matrix fits: subspace iteration with a state of d x l numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from verger.components.moments import Moments
from verger.components.rows import Array
from verger.components.solvers.products import covariance_times
from verger.components.solvers.spectrum import Request, Spectrum, eigen, ranked
from verger.errors import DoesNotFitError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Matrices of d x l that the driver holds at once: basis, image, their product, and three of LAPACK's for QR.
_STATE = 6
# Directions to begin with where a share is asked for.
_FIRST = 64
# Passes over the features after the last growth: q = 4 applications, and one for the values.
_PASSES = 5
# After so many more passes a larger subspace is tried; where there is no room for one, so many are enough.
_SLOW, _LAST = 10, 40
# Of the number of components, and of the total variance where that number is asked for.
_SURPLUS, _RESIDUE = 1.02, 1e-5


def solve(
    features: DataFrame, moments: Moments, standardize: bool, request: Request, seed: int, budget: int
) -> Spectrum:
    """The leading eigenvalues and eigenvectors of the covariance C, as many as are asked for.

    Subspace iteration of Halko, Martinsson and Tropp ("Finding structure with randomness", SIAM Review 53, 2011,
    algorithm 4.4) on C: each pass forms Y = C Q, a Rayleigh-Ritz step gives values and vectors, and Q is the QR
    factor of Y. Ritz values are never larger than the eigenvalues, and the total variance is known exactly, so
    no fewer components are taken than are needed. Directions that were found are kept when the subspace grows.

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path`` and ``features``.
    moments : Moments
        Of these features.
    standardize : bool
    request : Request
        A number of components is lowered to what n and d allow.
    seed : int
    budget : int
        Bytes of memory that the driver may use.

    Returns
    -------
    Spectrum
        Its rank is that of the subspace looked at, which has some directions more than are asked for.

    Raises
    ------
    DoesNotFitError
        The directions that fit the budget do not reach what is asked for.
    """
    standard = moments.standard(standardize)
    dimension, variance = len(moments.mean), moments.variance(standard)
    limit = min(moments.n - 1, dimension)
    room = min(limit, budget // (_STATE * 8 * dimension))
    if room == 0:
        raise does_not_fit(request, 0, 0.0, budget)
    search = _Search(request, limit, room)
    random = np.random.default_rng(seed)
    basis = _orthonormal(random.standard_normal((dimension, search.size)))
    while True:
        image = covariance_times(features, standard, basis) / (moments.n - 1)
        values, rotation = eigen(basis.T @ image)
        if search.ends(np.cumsum(values) / variance):
            break
        image = image @ rotation
        fresh = random.standard_normal((dimension, search.size - len(values)))
        basis = _orthonormal(np.hstack([image, fresh]) if fresh.size else image)
    if search.needed > search.size:
        raise does_not_fit(request, search.size, search.share, budget)
    return Spectrum(
        moments.n,
        standard,
        variance,
        ranked(values, moments.n, dimension),
        lambda k: np.ascontiguousarray((basis @ rotation[:, :k]).T),
    )


def does_not_fit(request: Request, components: int, share: float, budget: int) -> DoesNotFitError:
    """Say what was asked for, and what half of the driver's memory allows."""
    asked = (
        f"{request.components} components" if request.variance is None else f"{request.variance:.2%} of the variance"
    )
    return DoesNotFitError(
        f"{asked} asked for: {components} components fit half of the driver's memory ({budget >> 20} MB), "
        f"and they reach {share:.2%}",
        "Give more --driver-memory, or ask for less",
    )


def _orthonormal(columns: Array) -> Array:
    return np.linalg.qr(columns)[0]


class _Search:
    """How large the subspace should be, and when to stop.

    Attributes
    ----------
    size : int
        Directions of the next pass.
    needed : int
        Directions that it takes, as far as is known; more than ``size`` where they do not suffice.
    share : float
        Share of the variance reached.
    """

    def __init__(self, request: Request, limit: int, room: int) -> None:
        self._request, self._limit, self._room = request, limit, room
        self.needed = 0
        self.share = 0.0
        self.size = min(room, _FIRST if request.components is None else _padded(min(request.components, limit)))
        self._history: list[Array] = []

    def ends(self, shares: Array) -> bool:
        """Take note of a pass, and say whether it was the last.

        Parameters
        ----------
        shares : ndarray of float64, shape (size,)
            Share of the variance in the first direction, the first two, and so on.
        """
        self._history.append(shares)
        self.share = float(shares[-1])
        self.needed = min(self._request.count(shares), self._limit)
        passes = len(self._history)
        if self.size == self._limit:  # C has no directions beyond: two passes find them all
            return passes >= 2
        if passes >= _PASSES and self._settled():
            return True
        if self._room == self.size:
            return passes >= _LAST
        self._grow(passes)
        return False

    def _settled(self) -> bool:
        """Whether further passes would change the number of components by 2 % at most.

        What they would add is extrapolated from the last three, twice over to be on the safe side.
        """
        before, last, now = self._history[-3:]
        gain = np.maximum(now - last, 0.0)
        rate = np.clip(gain / np.maximum(last - before, 1e-300), 0.3, 0.97)
        to_come = 2 * gain * rate / (1 - rate)
        if self.needed > self.size:
            return self.size == self._room and self._request.count(now + to_come) > self.size
        if self._request.variance is None:
            return bool(to_come[self.needed - 1] <= _RESIDUE)
        return self.needed <= _SURPLUS * self._request.count(now + to_come)

    def _grow(self, passes: int) -> None:
        """More directions where they do not suffice, or are too few beyond the needed ones to settle soon."""
        size = self.size
        if self.needed > size:
            size = 2 * size if passes >= 2 else size
        elif self.size < self.needed + max(10, self.needed // 4):
            size = _padded(self.needed)
        elif passes >= _SLOW:
            size = size * 3 // 2
        if size > self.size:
            self.size = min(size, self._room)
            self._history = []


def _padded(components: int) -> int:
    """Directions beyond the wanted ones make these settle sooner."""
    return components + max(10, components // 2)
