"""The eigenvalues of a covariance, and how many of them are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from verger.components.moments import Standard
from verger.components.rows import Array

# A share counts as reached within the rounding of the sum that is compared with it.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Request:
    """How many components are asked for.

    Attributes
    ----------
    variance : float or None
        Share of the variance to explain.
    components : int or None
        Their number, where ``variance`` is None.
    """

    variance: float | None
    components: int | None

    def count(self, shares: Array) -> int:
        """How many directions it takes, one more than there are where they do not suffice.

        Parameters
        ----------
        shares : ndarray of float64
            Share of the variance that the first direction explains, the first two, and so on.
        """
        if self.variance is None:
            assert self.components is not None
            return min(self.components, len(shares) + 1)
        return int(np.searchsorted(shares, self.variance - _ROUNDING)) + 1

    def describe(self) -> dict[str, float | int]:
        """What the manifest says."""
        return {"variance": self.variance} if self.variance is not None else {"components": self.components or 0}


@dataclass(frozen=True)
class Spectrum:
    """What a solver found.

    Attributes
    ----------
    n : int
        Photographs.
    standard : Standard
        What they were measured against.
    total_variance : float
        Trace of the covariance, exact.
    variances : ndarray of float64
        Eigenvalues of the covariance that are distinguishable from zero, largest first.
    components : callable
        components(k) gives the first k eigenvectors, (k, d), of length 1, signs not yet fixed.
    """

    n: int
    standard: Standard
    total_variance: float
    variances: Array
    components: Callable[[int], Array]

    @property
    def rank(self) -> int:
        """Number of eigenvalues found."""
        return len(self.variances)

    @property
    def shares(self) -> Array:
        """Share of the variance that the first direction explains, the first two, and so on."""
        return np.cumsum(self.variances) / self.total_variance


def eigen(lower: Array) -> tuple[Array, Array]:
    """Eigenvalues, largest first, none negative, and eigenvectors (columns) of a symmetric matrix.

    Parameters
    ----------
    lower : ndarray of float64, shape (m, m)
        Only its lower triangle is read.
    """
    values, vectors = np.linalg.eigh(lower)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def eigen_bytes(size: int) -> int:
    """Memory that `eigen` takes: the matrix, LAPACK's copy, its workspace of twice that, the eigenvectors."""
    return 5 * 8 * size * size


def ranked(variances: Array, n: int, dimension: int) -> Array:
    """The eigenvalues that are distinguishable from zero.

    Rounding leaves errors of some 1e-16 of the largest in every eigenvalue of a Gram matrix, so the tolerance
    of numpy.linalg.matrix_rank, max(n, d) * eps, is applied to eigenvalues, not to singular values.

    Parameters
    ----------
    variances : ndarray of float64
        Largest first.
    n, dimension : int
        Shape of the centred rows, whose rank is at most n - 1.
    """
    tolerance = variances[0] * max(n, dimension) * np.finfo(np.float64).eps
    return variances[: min(int(np.sum(variances > tolerance)), n - 1, dimension)]


def with_signs(components: Array) -> Array:
    """Turn each component (row) so that its largest loading is positive.

    This is scikit-learn's svd_flip(u_based_decision=False); of loadings that are equally large but for
    rounding the first decides, so that rounding does not.
    """
    size = np.abs(components)
    first = np.argmax(size >= size.max(axis=1, keepdims=True) * (1 - 1e-9), axis=1)
    signs: Array = np.sign(components[np.arange(len(components)), first])
    return components * signs[:, None]
