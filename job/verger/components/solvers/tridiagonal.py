"""Eigenvalues of a large symmetric matrix, and as many of its eigenvectors as are needed, in little memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, eigh_tridiagonal, eigvalsh_tridiagonal, lapack

from verger.components.rows import Float64Array


class Tridiagonal:
    """A positive semidefinite matrix A as Q T Q', with T tridiagonal and Q orthogonal, by Householder reflections.

    numpy.linalg.eigh makes all eigenvectors, and holds five matrices of A's size meanwhile. Here A is overwritten by
    the reflections, and only eigenvectors that are asked for are made. See Golub and Van Loan, "Matrix Computations"
    (2013), section 8.3.1; LAPACK's dsytrd, dstemr and dormqr.

    Parameters
    ----------
    lower : ndarray of float64, shape (m, m)
        Symmetric; only its lower triangle is read. Overwritten if it is in Fortran's order, else copied.

    Attributes
    ----------
    eigenvalues : ndarray of float64, shape (m,)
        Largest first. Those that rounding made negative are 0.
    """

    eigenvalues: Float64Array

    def __init__(self, lower: Float64Array) -> None:
        size = len(lower)
        work = int(_succeeded(lapack.dsytrd_lwork(size, lower=1))[0])
        done = lapack.dsytrd(np.asfortranarray(lower), lower=1, lwork=work, overwrite_a=1)
        self._reflections, self._diagonal, self._beside, self._factors = _succeeded(done)
        self.eigenvalues = np.maximum(eigvalsh_tridiagonal(self._diagonal, self._beside)[::-1], 0.0)

    def eigenvectors(self, k: int) -> Float64Array:
        """The eigenvectors of the largest eigenvalues.

        Parameters
        ----------
        k : int
            How many.

        Returns
        -------
        ndarray of float64, shape (m, k)
            A column each, of length 1, in the order of the eigenvalues.
        """
        size = len(self._diagonal)
        if k == 0:
            return np.empty((size, 0))
        vectors = np.asfortranarray(_tridiagonal_eigenvectors(self._diagonal, self._beside, k)[:, ::-1])
        if size > 1:  # the first row and column of Q are those of the identity
            reflections, below = np.asfortranarray(self._reflections[1:, :-1]), np.asfortranarray(vectors[1:])
            work = int(_succeeded(lapack.dormqr("L", "N", reflections, self._factors, below, -1))[1][0])
            vectors[1:] = _succeeded(lapack.dormqr("L", "N", reflections, self._factors, below, work, overwrite_c=1))[0]
        return vectors


def tridiagonal_bytes(size: int) -> int:
    """Memory that `Tridiagonal` and a few of its eigenvectors take.

    Parameters
    ----------
    size : int
        Rows of the matrix.

    Returns
    -------
    int
        Bytes of the matrix, and of the copy of its reflections that LAPACK applies to eigenvectors.
    """
    return 2 * 8 * size * size


def _tridiagonal_eigenvectors(diagonal: Float64Array, beside: Float64Array, k: int) -> Float64Array:
    """Of the k largest eigenvalues, smallest first, shape (m, k)."""
    largest = (len(diagonal) - k, len(diagonal) - 1)
    find = partial(eigh_tridiagonal, diagonal, beside, select="i", select_range=largest)
    try:
        vectors: Float64Array = find(lapack_driver="stemr")[1]
    except LinAlgError:  # rare: it does not find all eigenvalues of some clusters. Bisection always does
        vectors = find(lapack_driver="stebz")[1]
    return vectors


def _succeeded(result: tuple[Any, ...]) -> Any:
    """What a function of LAPACK found, without its ``info``."""
    *found, info = result
    if info != 0:
        raise LinAlgError(f"LAPACK's info is {info}")
    return found
