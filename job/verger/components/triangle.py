"""The lower triangle of a symmetric matrix: in blocks of rows, packed, and as a matrix for LAPACK."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from verger.components.aggregation import row_blocks
from verger.components.rows import Float64Array


def packed_size(size: int) -> int:
    """Elements of a lower triangle.

    Parameters
    ----------
    size : int
        Rows of the matrix.

    Returns
    -------
    int
        With the diagonal.
    """
    return size * (size + 1) // 2


def pack(blocks: Iterable[Float64Array], size: int) -> Float64Array:
    """The lower triangle, row after row, from blocks of its rows.

    Parameters
    ----------
    blocks : iterable of ndarray of float64
        Flat; the block of ``row_blocks(size, size)[i]`` has the columns up to that block's last row.
    size : int
        Rows of the matrix.

    Returns
    -------
    ndarray of float64, shape (size * (size + 1) / 2,)
        Element (i, j), j <= i, is at i (i + 1) / 2 + j. Zeros where there are no blocks.
    """
    packed = np.zeros(packed_size(size))
    for which, values in zip(row_blocks(size, size), blocks, strict=False):
        for row, elements in zip(range(which.start, which.stop), values.reshape(-1, which.stop), strict=True):
            packed[packed_size(row) : packed_size(row + 1)] = elements[: row + 1]
    return packed


def unpack(packed: Float64Array, size: int) -> Float64Array:
    """A packed lower triangle as a matrix.

    Parameters
    ----------
    packed : ndarray of float64, shape (size * (size + 1) / 2,)
        As `pack` makes it.
    size : int
        Rows of the matrix.

    Returns
    -------
    ndarray of float64, shape (size, size)
        A new array, zero above the diagonal.
    """
    matrix = np.zeros((size, size))
    for row in range(size):
        matrix[row, : row + 1] = packed[packed_size(row) : packed_size(row + 1)]
    return matrix


def diagonal(packed: Float64Array, size: int) -> Float64Array:
    """The diagonal of a packed lower triangle.

    Parameters
    ----------
    packed : ndarray of float64, shape (size * (size + 1) / 2,)
        As `pack` makes it.
    size : int
        Rows of the matrix.

    Returns
    -------
    ndarray of float64, shape (size,)
        A new array.
    """
    rows = np.arange(1, size + 1)
    elements: Float64Array = packed[rows * (rows + 1) // 2 - 1]
    return elements


def add_square(packed: Float64Array, vector: Float64Array, weight: float) -> None:
    """Add a multiple of a vector's outer product with itself to a packed lower triangle, in place.

    Parameters
    ----------
    packed : ndarray of float64, shape (d * (d + 1) / 2,)
        As `pack` makes it; changed.
    vector : ndarray of float64, shape (d,)
        Its products with itself are added.
    weight : float
        What the products are multiplied by.
    """
    for row, element in enumerate(vector):
        packed[packed_size(row) : packed_size(row + 1)] += vector[: row + 1] * (weight * element)


def assemble_lower_triangle(blocks: list[Float64Array], size: int) -> Float64Array:
    """The lower triangle of a symmetric matrix from blocks of its rows.

    Parameters
    ----------
    blocks : list of ndarray of float64
        Flat; the block of ``row_blocks(size, size)[i]`` has the columns up to that block's last row.
    size : int
        Rows of the matrix.

    Returns
    -------
    ndarray of float64, shape (size, size)
        In Fortran's order, which LAPACK needs. Above the diagonal some elements are zero; LAPACK does not read them.
    """
    matrix = np.zeros((size, size), order="F")
    for which, values in zip(row_blocks(size, size), blocks, strict=False):
        matrix[which, : which.stop] = values.reshape(-1, which.stop)
    return matrix
