"""The eigendecomposition of a covariance matrix, and how many of its components were requested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from verger.components.moments import Scaler
from verger.components.rows import Float64Array
from verger.errors import DoesNotFitError
from verger.units import bytes_text

# A requested ratio counts as reached within the rounding of the sum that is compared with it.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class RequestedComponents:
    """How many components the user requested: by explained variance, or by number.

    Attributes
    ----------
    variance : float or None
        Explained variance ratio to reach, above 0 and at most 1.
    components : int or None
        Number of components, where ``variance`` is None.
    """

    variance: float | None
    components: int | None

    def needed(self, cumulative_ratios: Float64Array) -> int:
        """Number of components that satisfy the request.

        Parameters
        ----------
        cumulative_ratios : ndarray of float64, shape (m,)
            Explained variance ratio of the first component, of the first two together, and so on.

        Returns
        -------
        int
            m + 1 where m components are not enough.
        """
        if self.variance is None:
            assert self.components is not None
            return min(self.components, len(cumulative_ratios) + 1)
        return int(np.searchsorted(cumulative_ratios, self.variance - _ROUNDING)) + 1

    def as_dict(self) -> dict[str, float | int]:
        """The request as the manifest has it.

        Returns
        -------
        dict
            ``{"variance": ratio}`` or ``{"components": number}``.
        """
        return {"variance": self.variance} if self.variance is not None else {"components": self.components or 0}

    def does_not_fit(self, components: int, ratio: float, budget: int) -> DoesNotFitError:
        """The error to raise where the memory is too small for the request.

        Parameters
        ----------
        components : int
            Components that fit the memory.
        ratio : float
            Explained variance ratio that these reach.
        budget : int
            Bytes, half of the driver's memory.

        Returns
        -------
        DoesNotFitError
            Says what was requested and what is possible.
        """
        requested = f"{self.components} components" if self.variance is None else f"{self.variance:.2%} of the variance"
        return DoesNotFitError(
            f"{requested} asked for: {components} components fit half of the driver's memory ({bytes_text(budget)}), "
            f"and they reach {ratio:.2%}",
            "Give more --driver-memory, or ask for less",
        )


@dataclass(frozen=True)
class Decomposition:
    """What a solver found.

    Attributes
    ----------
    n : int
        Photographs.
    scaler : Scaler
        Centred and scaled the photographs' features.
    total_variance : float
        Trace of the covariance matrix, exact.
    variances : ndarray of float64, shape (r,)
        Eigenvalues of the covariance matrix that are distinguishable from zero, largest first.
    components : callable
        ``components(k)`` gives the first k eigenvectors as rows, float64, shape (k, d), of length 1. Their signs are
        arbitrary.
    """

    n: int
    scaler: Scaler
    total_variance: float
    variances: Float64Array
    components: Callable[[int], Float64Array]

    @property
    def rank(self) -> int:
        """Number of eigenvalues found, r."""
        return len(self.variances)

    @property
    def cumulative_ratios(self) -> Float64Array:
        """Explained variance ratio of the first component, of the first two together, and so on, shape (r,)."""
        return np.cumsum(self.variances) / self.total_variance


def eigendecomposition(lower: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Eigenvalues and eigenvectors of a positive semidefinite matrix.

    Parameters
    ----------
    lower : ndarray of float64, shape (m, m)
        Symmetric; only its lower triangle is read.

    Returns
    -------
    eigenvalues : ndarray of float64, shape (m,)
        Largest first. Those that rounding made negative are 0.
    eigenvectors : ndarray of float64, shape (m, m)
        A column each, of length 1.
    """
    values, vectors = np.linalg.eigh(lower)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def eigendecomposition_bytes(size: int) -> int:
    """Memory that `eigendecomposition` takes.

    Parameters
    ----------
    size : int
        Rows of the matrix.

    Returns
    -------
    int
        Bytes of the matrix, LAPACK's copy, its workspace of twice that, and the eigenvectors.
    """
    return 5 * 8 * size * size


def significant_eigenvalues(
    eigenvalues: Float64Array, n: int, dimension: int, amplification: float = 1.0
) -> Float64Array:
    """The eigenvalues that are distinguishable from zero.

    Rounding leaves errors of some 1e-16 of the largest in every eigenvalue of a Gram matrix, so the tolerance
    of numpy.linalg.matrix_rank, max(n, d) * eps, is applied to eigenvalues, not to singular values.

    Parameters
    ----------
    eigenvalues : ndarray of float64, shape (m,)
        Largest first.
    n, dimension : int
        Shape (n, d) of the centred rows, whose rank is at most n - 1.
    amplification : float
        How many times larger the rounding error of the matrix is than that of one that was summed in one pass.

    Returns
    -------
    ndarray of float64, shape (r,)
        The first r of them, where r is the numerical rank.
    """
    tolerance = eigenvalues[0] * max(n, dimension) * np.finfo(np.float64).eps * amplification
    return eigenvalues[: min(int(np.sum(eigenvalues > tolerance)), n - 1, dimension)]


def fix_signs(components: Float64Array) -> Float64Array:
    """Turn each component so that its largest loading is positive.

    This is scikit-learn's svd_flip(u_based_decision=False). Of loadings that are equally large up to rounding,
    the first decides, so that rounding does not.

    Parameters
    ----------
    components : ndarray of float64, shape (k, d)
        A component a row.

    Returns
    -------
    ndarray of float64, shape (k, d)
        A new array.
    """
    size = np.abs(components)
    largest = np.argmax(size >= size.max(axis=1, keepdims=True) * (1 - 1e-9), axis=1)
    signs: Float64Array = np.sign(components[np.arange(len(components)), largest])
    return components * signs[:, None]
