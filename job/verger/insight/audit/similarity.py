"""Which rows are similar: all pairs whose cosine reaches a threshold, block by block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from verger.cores import available_cores
from verger.insight.arrays import Float32Array, Indices, column_moments

BLOCK_ROWS = 512
BLOCK_COLUMNS = 2_048
"""Other rows that a block of rows is multiplied with at a time."""
MAX_DIRECT = 6_000
"""Rows up to which all products are formed; of more, a bound in fewer dimensions says which pairs can matter."""
_BOUND_WIDTH = 128  # dimensions of the bound
_BASIS_ROWS = 4_000  # rows that its basis is made from
_TOLERANCE = 1e-4  # of sums of some thousand float32 products


@dataclass(frozen=True, eq=False)
class Similarity:
    """Which of n rows are similar to which.

    Attributes
    ----------
    count : ndarray of int64, shape (n,)
        Other rows whose cosine with this one reaches the threshold.
    nearest : ndarray of int64, shape (n,)
        The most similar of them; -1 where there is none.
    cosine : ndarray of float32, shape (n,)
        Its cosine; 0 where there is none.
    pairs : int
        Pairs that reach the threshold.
    """

    count: Indices
    nearest: Indices
    cosine: Float32Array
    pairs: int


def find_similar(
    unit: Float32Array, min_cosine: float, sides: Indices | None = None
) -> tuple[Similarity, Similarity | None]:
    """Find all pairs whose cosine reaches a threshold, exactly.

    A row x is the sum of P x, its part in the leading directions of all rows, and a rest, of which only the length is
    used: x . y <= P x . P y + |x - P x| |y - P y|. Where that bound, a product in few dimensions, is below the
    threshold, so is the cosine. Only the other pairs are multiplied in all dimensions.

    Parameters
    ----------
    unit : ndarray of float32, shape (n, d)
        Rows of length one, or zero: those are similar to none.
    min_cosine : float
        The threshold, above 0.
    sides : ndarray of int64, shape (n,), optional
        The side of each row; -1 where it is on neither.

    Returns
    -------
    anywhere : Similarity
        By all pairs.
    across : Similarity or None
        By the pairs of rows on different sides; None without ``sides``.
    """
    n = len(unit)
    anywhere, across = _Pairs(n, min_cosine), None if sides is None else _Pairs(n, min_cosine)
    bound = _bound_rows(unit) if n > MAX_DIRECT and unit.shape[1] > 2 * _BOUND_WIDTH else None

    def products_of(block: tuple[int, int]) -> tuple[Float32Array, Indices, Indices]:
        # Slices are views; copies are made only of the few columns that the bound leaves.
        down, along = slice(block[0], min(block[0] + BLOCK_ROWS, n)), slice(block[1], min(block[1] + BLOCK_COLUMNS, n))
        rows, columns = np.arange(down.start, down.stop), np.arange(along.start, along.stop)
        others = unit[along]
        if bound is not None:
            possible = np.asarray((bound[down] @ bound[along].T >= min_cosine - _TOLERANCE).any(axis=0))
            if 2 * np.count_nonzero(possible) < len(columns):
                columns, others = columns[possible], others[possible]
        products = unit[down] @ others.T
        products[columns[None, :] <= rows[:, None]] = 0  # each pair once, and no row with itself
        return products, rows, columns

    blocks = [(row, column) for row in range(0, n, BLOCK_ROWS) for column in range(row, n, BLOCK_COLUMNS)]
    cores = available_cores()
    with ThreadPoolExecutor(cores) as pool:
        for first in range(0, len(blocks), cores):  # so that no more blocks are in memory than are computed at once
            for products, rows, columns in pool.map(products_of, blocks[first : first + cores]):
                anywhere.add(products, rows, columns)
                if across is not None and sides is not None:
                    one, other = sides[rows][:, None], sides[columns][None, :]
                    products[(one == other) | (one < 0) | (other < 0)] = 0
                    across.add(products, rows, columns)
    return anywhere.similarity(), across.similarity() if across else None


class _Pairs:
    """The pairs found so far, row by row."""

    def __init__(self, n: int, min_cosine: float) -> None:
        self.min_cosine = min_cosine
        self.count = np.zeros(n, np.int64)
        self.nearest = np.full(n, -1, np.int64)
        self.cosine = np.zeros(n, np.float32)

    def add(self, products: Float32Array, rows: Indices, columns: Indices) -> None:
        """Count what of a block of products reaches the threshold, for its rows and for its columns."""
        reached = products >= self.min_cosine
        if not reached.any():
            return
        for axis, these, others in ((1, rows, columns), (0, columns, rows)):
            self.count[these] += reached.sum(axis=axis)
            best, value = products.argmax(axis=axis), products.max(axis=axis)
            better = (value >= self.min_cosine) & (value > self.cosine[these])
            self.nearest[these[better]] = others[best[better]]
            self.cosine[these[better]] = value[better]

    def similarity(self) -> Similarity:
        return Similarity(self.count, self.nearest, np.minimum(self.cosine, 1), int(self.count.sum()) // 2)


def unit_rows(features: Float32Array, standardize: bool, rows: Indices | None = None) -> Float32Array:
    """Features as directions.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        Stay as they are.
    standardize : bool
        Whether their mean is subtracted and they are divided by their standard deviations first.
    rows : ndarray of int64, shape (m,), optional
        Which rows; all by default.

    Returns
    -------
    ndarray of float32, shape (m, d)
        Rows of length one; zero where all features are. It is the only copy that is made.
    """
    unit = np.array(features, np.float32) if rows is None else features[rows]
    if standardize:
        mean, deviation = column_moments(unit)
        unit -= mean.astype(np.float32)
        unit /= np.where(deviation > 0, deviation, 1).astype(np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None]
    unit /= np.where(length > 0, length, 1)
    return unit


def _bound_rows(unit: Float32Array) -> Float32Array:
    """Rows whose products are upper bounds of those of ``unit``: leading directions, and the length of the rest."""
    step = max(1, len(unit) // _BASIS_ROWS)
    some = unit[::step]
    d = unit.shape[1]
    if d <= len(some):
        basis = eigh(some.T @ some, subset_by_index=(d - _BOUND_WIDTH, d - 1))[1]
    else:
        basis = np.linalg.qr(some[:: max(1, len(some) // _BOUND_WIDTH)][:_BOUND_WIDTH].T.astype(np.float64))[0]
    leading = unit @ np.asarray(basis, np.float32)
    rest: npt.NDArray[np.float32] = 1 - np.einsum("ij,ij->i", leading, leading)
    return np.hstack([leading, np.sqrt(np.maximum(rest, 0))[:, None]])
