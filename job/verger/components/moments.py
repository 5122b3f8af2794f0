"""Mean and variance of each feature, and the rows centred and scaled by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from verger.components.aggregation import Partial, total
from verger.components.rows import Array, chunks
from verger.errors import NothingToReadError, VergerError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Standard:
    """What a row is measured against.

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
    scale : ndarray of float64, shape (d,), or None
        Standard deviations, where features are standardised.
    """

    mean: Array
    scale: Array | None

    def centre(self, rows: Array) -> Array:
        """Centre and scale ``rows`` (n, d) in place."""
        rows -= self.mean
        if self.scale is not None:
            rows /= self.scale
        return rows

    def columns(self, which: slice) -> Standard:
        """The same for some of the columns."""
        return Standard(self.mean[which], None if self.scale is None else self.scale[which])


@dataclass(frozen=True)
class Moments:
    """Number of rows, mean (d,) and squared deviations from it, summed over the rows (d,)."""

    n: int
    mean: Array
    squares: Array

    def checked(self) -> Moments:
        """These moments, where there is something to analyse.

        Raises
        ------
        NothingToReadError
            There is no photograph, only one, or all have the same features.
        VergerError
            A feature is infinite or not a number.
        """
        if self.n < 2:
            found = "one photograph" if self.n else "no photograph"
            raise NothingToReadError(f"there is {found} to fit a PCA on", "It takes two: add photographs")
        if not np.isfinite(self.squares).all():
            raise VergerError("some features are infinite or not a number")
        if not self.squares.any():
            raise NothingToReadError(
                f"all {self.n} photographs have the same features: there is no variance to explain",
                "Add photographs that differ",
            )
        return self

    def standard(self, standardize: bool) -> Standard:
        """What rows are measured against: the mean, and the standard deviations if ``standardize``."""
        return Standard(self.mean, scale(self.n, self.mean, self.squares) if standardize else None)

    def variance(self, standard: Standard) -> float:
        """Variance of all features together, scaled as ``standard`` says (divisor n - 1)."""
        squares = self.squares if standard.scale is None else self.squares / standard.scale**2
        return float(squares.sum() / (self.n - 1))


def scale(n: int, mean: Array, squares: Array) -> Array:
    """Standard deviations (divisor n), 1 where a column is constant but for rounding.

    Which it is, is decided as in scikit-learn's StandardScaler, by the error bound of the two-pass algorithm in
    Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.
    """
    variance, eps = squares / n, np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return np.where(constant, 1.0, np.sqrt(variance))


def measure(features: DataFrame, dimension: int, tasks: int | None = None) -> Moments:
    """Mean and squared deviations of all rows, in one pass.

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path`` and ``features``.
    dimension : int
    tasks : int, optional
        As in `aggregation.total`.

    Raises
    ------
    VergerError
        As `Moments.checked` says.
    """
    found = total(features, _Contributions(dimension), square, size=dimension, tasks=tasks)
    return (Moments(found[0].n, found[0].mean[0], found[0].values) if found else nothing(dimension)).checked()


def nothing(dimension: int) -> Moments:
    """The moments of no rows."""
    return Moments(0, np.zeros(dimension), np.zeros(dimension))


def centre(rows: Array) -> Array:
    """Take the mean off ``rows`` (n, d) in place; returns it, and what rounding cut off from it (2, d)."""
    mean = rows.mean(axis=0)
    rows -= mean
    return np.stack([mean, rows.mean(axis=0)])


def square(_block: int, delta: Array) -> Array:
    """What two means that differ by ``delta`` add to the squared deviations."""
    return delta**2


@dataclass(frozen=True)
class _Contributions:
    dimension: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Partial]:
        for _, rows in chunks(batches, self.dimension):
            mean = centre(rows)
            yield Partial(0, len(rows), np.einsum("ij,ij->j", rows, rows), mean)
