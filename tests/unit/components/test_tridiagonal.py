"""Eigenvalues and eigenvectors by reduction to tridiagonal form, against numpy.linalg.eigh."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from tests.features import decaying
from verger.components.rows import Float64Array
from verger.components.solvers import tridiagonal
from verger.components.solvers.tridiagonal import Tridiagonal

pytestmark = pytest.mark.required_in_ci


def covariance(n: int, d: int) -> Float64Array:
    matrix: Float64Array = np.cov(decaying(n, d).astype(np.float64), rowvar=False).reshape(d, d)
    return matrix


def assert_eigenvectors(matrix: Float64Array, values: Float64Array, vectors: Float64Array) -> None:
    """Columns of ``vectors`` are orthonormal, and the matrix stretches each by its value."""
    k = vectors.shape[1]
    assert np.abs(vectors.T @ vectors - np.eye(k)).max() < 1e-12
    assert np.abs(matrix @ vectors - vectors * values[:k]).max() < 1e-13 * max(values[0], 1e-300) * len(matrix)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 2), (9, 3), (300, 120), (40, 120)])
def test_eigenvalues_and_eigenvectors_are_those_of_numpy(n: int, d: int) -> None:
    matrix = covariance(n, d)
    expected = np.maximum(np.linalg.eigvalsh(matrix)[::-1], 0.0)
    found = Tridiagonal(np.tril(matrix))
    np.testing.assert_allclose(found.eigenvalues, expected, rtol=0, atol=1e-13 * expected[0])
    assert found.eigenvectors(0).shape == (d, 0)
    for k in {1, (d + 1) // 2, d}:
        assert_eigenvectors(matrix, expected, found.eigenvectors(k))


@pytest.mark.parametrize("matrix", [np.eye(30), np.zeros((4, 4)), np.diag([3.0, 3.0, 3.0, 1.0, 0.0, 0.0])])
def test_equal_eigenvalues_have_orthonormal_eigenvectors(matrix: Float64Array) -> None:
    found = Tridiagonal(matrix.copy())
    np.testing.assert_allclose(found.eigenvalues, np.sort(np.diag(matrix))[::-1], atol=1e-15)
    assert_eigenvectors(matrix, found.eigenvalues, found.eigenvectors(len(matrix)))


def test_a_matrix_in_fortrans_order_is_overwritten_and_another_is_not() -> None:
    matrix = covariance(60, 20)
    fortran, other = np.asfortranarray(matrix), np.ascontiguousarray(matrix)
    Tridiagonal(other)
    assert np.array_equal(other, matrix)
    Tridiagonal(fortran)
    assert not np.array_equal(fortran, matrix)


def test_bisection_takes_over_where_lapacks_fastest_method_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    drivers = []

    def fails_with_stemr(*arguments: object, lapack_driver: str, **options: object) -> object:
        drivers.append(lapack_driver)
        if lapack_driver == "stemr":
            raise scipy.linalg.LinAlgError("stemr: info is 1")
        return scipy.linalg.eigh_tridiagonal(*arguments, lapack_driver=lapack_driver, **options)

    monkeypatch.setattr(tridiagonal, "eigh_tridiagonal", fails_with_stemr)
    matrix = covariance(300, 120)
    found = Tridiagonal(matrix.copy())
    assert_eigenvectors(matrix, found.eigenvalues, found.eigenvectors(7))
    assert drivers == ["stemr", "stebz"]
