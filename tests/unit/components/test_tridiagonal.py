"""Eigenvalues and eigenvectors by reduction to tridiagonal form, against numpy.linalg.eigh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from tests.features import decaying
from verger.components.rows import Float64Array
from verger.components.solvers.tridiagonal import Tridiagonal, tridiagonal_bytes

pytestmark = pytest.mark.required_in_ci


def covariance(n: int, d: int) -> Float64Array:
    matrix: Float64Array = np.cov(decaying(n, d).astype(np.float64), rowvar=False).reshape(d, d)
    return matrix


def assert_eigenvectors(matrix: Float64Array, values: Float64Array, vectors: Float64Array) -> None:
    """Columns of ``vectors`` are orthonormal, and the matrix stretches each by its value."""
    k = vectors.shape[1]
    assert np.abs(vectors.T @ vectors - np.eye(k)).max() < 1e-10  # dstemr's, where eigenvalues are close
    assert np.abs(matrix @ vectors - vectors * values[:k]).max() < 1e-13 * max(values[0], 1e-300) * len(matrix)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 2), (9, 3), (300, 120), (40, 120), (700, 600)])
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
    drivers, find = [], scipy.linalg.eigh_tridiagonal

    def fails_with_stemr(*arguments: object, lapack_driver: str, **options: object) -> object:
        drivers.append(lapack_driver)
        if lapack_driver == "stemr":
            raise scipy.linalg.LinAlgError("stemr: info is 1")
        return find(*arguments, lapack_driver=lapack_driver, **options)

    monkeypatch.setattr(scipy.linalg, "eigh_tridiagonal", fails_with_stemr)
    matrix = covariance(300, 120)
    found = Tridiagonal(matrix.copy())
    assert_eigenvectors(matrix, found.eigenvalues, found.eigenvectors(7))
    assert drivers == ["stemr", "stebz"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("k", [20, 1500])
def test_it_takes_the_memory_that_is_planned_for_it(k: int) -> None:
    """In a process of its own, whose peak is its own; some megabytes are LAPACK's workspace and threads."""
    taken = int(subprocess.run([sys.executable, "-c", PEAK, str(k)], check=True, capture_output=True, text=True).stdout)
    assert taken < tridiagonal_bytes(1500, k) + (16 << 20)
    assert taken > 8 * 1500 * 1500


# How far the peak of resident memory rises above that with the matrix alone, and the matrix. A small one comes first,
# so that libraries are loaded.
PEAK = """
import resource, sys
import numpy as np
from verger.components.solvers.tridiagonal import Tridiagonal

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

Tridiagonal(np.diag(np.arange(300.0))).eigenvectors(300)
matrix = np.asfortranarray(np.diag(np.arange(1500.0)) + np.ones((1500, 1500)))
open("/proc/self/clear_refs", "w").write("5")
before = peak()
Tridiagonal(matrix).eigenvectors(int(sys.argv[1]))
print(peak() - before + matrix.nbytes)
"""
