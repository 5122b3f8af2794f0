"""Which photographs look alike: every pair whose features' cosine reaches a threshold, block by block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from verger.cores import available_cores
from verger.insight.arrays import Float32Array, Indices, moments

BLOCK = 512
TILE = 2_048
"""Columns that a block of rows is multiplied with at a time."""
DIRECT = 6_000
"""Rows up to which all products are formed; beyond, a bound in fewer dimensions says which can matter."""
_BOUND = 128  # dimensions of the bound
_BASIS = 4_000  # rows that its basis is made from
_SLACK = 1e-4  # of float32, in sums of some thousand products


@dataclass(frozen=True, eq=False)
class Similarity:
    """What is like what, of n rows.

    Attributes
    ----------
    count : ndarray of int64, shape (n,)
        Rows that reach the threshold with this one.
    nearest : ndarray of int64, shape (n,)
        The most similar of these; -1 where there is none.
    cosine : ndarray of float32, shape (n,)
        How similar that one is; 0 where there is none.
    pairs : int
        Pairs that reach the threshold.
    """

    count: Indices
    nearest: Indices
    cosine: Float32Array
    pairs: int


def find_similar(
    unit: Float32Array, threshold: float, sides: Indices | None = None
) -> tuple[Similarity, Similarity | None]:
    """Find what reaches the threshold, exactly.

    A row x is split into its part P x in the leading directions of all rows and the rest, of which only the length
    counts: x . y <= P x . P y + |x - P x| |y - P y|. Where that sum, a product in a tenth of the dimensions, stays
    below the threshold, the pair cannot reach it; the other pairs are multiplied out.

    Parameters
    ----------
    unit : ndarray of float32, shape (n, d)
        Rows of length one (or zero, which are like nothing).
    threshold : float
    sides : ndarray of int64, shape (n,), optional
        What side each row is on; -1 where it is on none.

    Returns
    -------
    Similarity
        Of all pairs.
    Similarity or None
        Of the pairs on two different sides; None without ``sides``.
    """
    n = len(unit)
    found, across = _Finder(n, threshold), None if sides is None else _Finder(n, threshold)
    bound = _bounding(unit) if n > DIRECT and unit.shape[1] > 2 * _BOUND else None

    def products_of(tile: tuple[int, int]) -> tuple[Float32Array, Indices, Indices]:
        # Views, not copies, of all but the few columns that the bound leaves.
        down, along = slice(tile[0], min(tile[0] + BLOCK, n)), slice(tile[1], min(tile[1] + TILE, n))
        rows, columns = np.arange(down.start, down.stop), np.arange(along.start, along.stop)
        others = unit[along]
        if bound is not None:
            able = np.asarray((bound[down] @ bound[along].T >= threshold - _SLACK).any(axis=0))
            if 2 * np.count_nonzero(able) < len(columns):
                columns, others = columns[able], others[able]
        products = unit[down] @ others.T
        products[columns[None, :] <= rows[:, None]] = 0  # each pair once, and none with itself
        return products, rows, columns

    tiles = [(row, column) for row in range(0, n, BLOCK) for column in range(row, n, TILE)]
    cores = available_cores()
    with ThreadPoolExecutor(cores) as pool:
        for first in range(0, len(tiles), cores):  # no more tiles at a time than are computed
            for products, rows, columns in pool.map(products_of, tiles[first : first + cores]):
                found.take(products, rows, columns)
                if across is not None and sides is not None:
                    one, other = sides[rows][:, None], sides[columns][None, :]
                    products[(one == other) | (one < 0) | (other < 0)] = 0
                    across.take(products, rows, columns)
    return found.similarity(), across.similarity() if across else None


class _Finder:
    """What has been found so far."""

    def __init__(self, n: int, threshold: float) -> None:
        self.threshold = threshold
        self.count = np.zeros(n, np.int64)
        self.nearest = np.full(n, -1, np.int64)
        self.cosine = np.zeros(n, np.float32)

    def take(self, products: Float32Array, rows: Indices, columns: Indices) -> None:
        """Note what of a block of products reaches the threshold, for its rows and for its columns."""
        reached = products >= self.threshold
        if not reached.any():
            return
        for axis, mine, others in ((1, rows, columns), (0, columns, rows)):
            self.count[mine] += reached.sum(axis=axis)
            best, value = products.argmax(axis=axis), products.max(axis=axis)
            better = (value >= self.threshold) & (value > self.cosine[mine])
            self.nearest[mine[better]] = others[best[better]]
            self.cosine[mine[better]] = value[better]

    def similarity(self) -> Similarity:
        return Similarity(self.count, self.nearest, np.minimum(self.cosine, 1), int(self.count.sum()) // 2)


def unit_rows(features: Float32Array, standardize: bool, wanted: Indices | None = None) -> Float32Array:
    """Features of length one; divided by their standard deviations around their mean first, where the run does so.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    standardize : bool
    wanted : ndarray of int64, shape (m,), optional
        Which rows; all by default. These are the one copy that is made.
    """
    rows = np.array(features, np.float32) if wanted is None else features[wanted]
    if standardize:
        mean, spread = moments(rows)
        rows -= mean.astype(np.float32)
        rows /= np.where(spread > 0, spread, 1).astype(np.float32)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    rows /= np.where(length > 0, length, 1)
    return rows


def _bounding(unit: Float32Array) -> Float32Array:
    """Rows whose products bound those of ``unit`` from above: leading directions, and the length of the rest."""
    step = max(1, len(unit) // _BASIS)
    some = unit[::step]
    d = unit.shape[1]
    if d <= len(some):
        basis = eigh(some.T @ some, subset_by_index=(d - _BOUND, d - 1))[1]
    else:
        basis = np.linalg.qr(some[:: max(1, len(some) // _BOUND)][:_BOUND].T.astype(np.float64))[0]
    leading = unit @ np.asarray(basis, np.float32)
    rest: npt.NDArray[np.float32] = 1 - np.einsum("ij,ij->i", leading, leading)
    return np.hstack([leading, np.sqrt(np.maximum(rest, 0))[:, None]])
