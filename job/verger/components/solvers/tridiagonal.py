"""Eigenvalues of a large symmetric matrix, and as many of its eigenvectors as are needed, in little memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy  # which imports scipy.linalg at its first use: most runs need none of it
from numpy.linalg import LinAlgError

from verger.batches import slices
from verger.components.rows import Float64Array

# Eigenvectors to which the reflections are applied at a time.
_COLUMNS = 256


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
        work = int(_succeeded(scipy.linalg.lapack.dsytrd_lwork(size, lower=1))[0])
        done = scipy.linalg.lapack.dsytrd(np.asfortranarray(lower), lower=1, lwork=work, overwrite_a=1)
        self._reflections, self._diagonal, self._beside, self._factors = _succeeded(done)
        self.eigenvalues = np.maximum(
            scipy.linalg.eigvalsh_tridiagonal(self._diagonal, self._beside, lapack_driver="sterf")[::-1], 0.0
        )

    def eigenvectors(self, k: int) -> Float64Array:
        """The eigenvectors of the largest eigenvalues.

        Parameters
        ----------
        k : int
            How many.

        Returns
        -------
        ndarray of float64, shape (m, k)
            A column each, of length 1, in the order of the eigenvalues. Those of close eigenvalues are orthogonal
            to some 1e-11.
        """
        size = len(self._diagonal)
        if k == 0:
            return np.empty((size, 0))
        vectors = np.asfortranarray(_tridiagonal_eigenvectors(self._diagonal, self._beside, k)[:, ::-1])
        if size > 1:  # the first row and column of Q are those of the identity
            reflections = np.asfortranarray(self._reflections[1:, :-1])
            for columns in slices(k, _COLUMNS):
                vectors[1:, columns] = self._reflected(reflections, vectors[1:, columns])
        return vectors

    def _reflected(self, reflections: Float64Array, rows: Float64Array) -> Float64Array:
        """Q without its first row and column, times some columns."""
        columns = np.asfortranarray(rows)
        multiply = partial(scipy.linalg.lapack.dormqr, "L", "N", reflections, self._factors)
        work = int(_succeeded(multiply(columns[:, :1], -1))[1][0]) * columns.shape[1]
        done = multiply(columns, work, overwrite_c=1)
        product: Float64Array = _succeeded(done)[0]
        return product


def tridiagonal_bytes(size: int, k: int) -> int:
    """Memory that `Tridiagonal` and some of its eigenvectors take.

    Parameters
    ----------
    size : int
        Rows of the matrix.
    k : int
        Eigenvectors.

    Returns
    -------
    int
        Bytes of the matrix, of a copy of its reflections, and of the eigenvectors. SciPy's dstemr reserves a matrix for
        eigenvectors, whatever k is, before the copy is made; what it does not fill takes no memory.
    """
    return 8 * (2 * size * size + size * k)


def _tridiagonal_eigenvectors(diagonal: Float64Array, beside: Float64Array, k: int) -> Float64Array:
    """Of the k largest eigenvalues, smallest first, shape (m, k)."""
    largest = (len(diagonal) - k, len(diagonal) - 1)
    find = partial(scipy.linalg.eigh_tridiagonal, diagonal, beside, select="i", select_range=largest)
    try:
        vectors: Float64Array = find(lapack_driver="stemr")[1]
    except LinAlgError:  # rare, with eigenvalues that are very close: bisection and inverse iteration are slower
        vectors = find(lapack_driver="stebz")[1]
    if vectors.shape[1] != k:
        raise LinAlgError(f"LAPACK found {vectors.shape[1]} of {k} eigenvectors")
    return vectors


def _succeeded(result: tuple[Any, ...]) -> Any:
    """What a function of LAPACK found, without its ``info``."""
    *found, info = result
    if info != 0:
        raise LinAlgError(f"LAPACK's info is {info}")
    return found
