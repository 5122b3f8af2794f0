"""Mean and variance of each feature, and the scaler that centres and standardises rows by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from verger.components.aggregation import PartialSum, aggregate
from verger.components.rows import Float64Array, Rows, chunks
from verger.errors import NothingToReadError, VergerError


@dataclass(frozen=True)
class Scaler:
    """Centres rows and, where it has standard deviations, divides by them.

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
        Subtracted from each row.
    scale : ndarray of float64, shape (d,), or None
        Standard deviations to divide by; None where features are not standardised.
    """

    mean: Float64Array
    scale: Float64Array | None

    def transform_in_place(self, rows: Float64Array) -> Float64Array:
        """Centre and scale rows, overwriting them.

        Parameters
        ----------
        rows : ndarray of float64, shape (n, d)
            Features; overwritten.

        Returns
        -------
        ndarray of float64, shape (n, d)
            The same array.
        """
        rows -= self.mean
        if self.scale is not None:
            rows /= self.scale
        return rows

    def select_features(self, which: slice) -> Scaler:
        """The scaler of some of the features.

        Parameters
        ----------
        which : slice
            Positions of the features.

        Returns
        -------
        Scaler
            Of these features, in the same order.
        """
        return Scaler(self.mean[which], None if self.scale is None else self.scale[which])


@dataclass(frozen=True)
class Moments:
    """Number of rows, and mean and squared deviations of each feature.

    Attributes
    ----------
    n : int
        Rows.
    mean : ndarray of float64, shape (d,)
        Mean of each feature.
    squared_deviations : ndarray of float64, shape (d,)
        Squared deviations of each feature from its mean, summed over the rows.
    """

    n: int
    mean: Float64Array
    squared_deviations: Float64Array

    @classmethod
    def of_no_rows(cls, dimension: int) -> Moments:
        """The moments of an empty table.

        Parameters
        ----------
        dimension : int
            Features of a row, d.

        Returns
        -------
        Moments
            All zero.
        """
        return cls(0, np.zeros(dimension), np.zeros(dimension))

    def validated(self) -> Moments:
        """These moments, after a check that a PCA can be fitted on the rows.

        Returns
        -------
        Moments
            The same object.

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
        if not np.isfinite(self.squared_deviations).all():
            raise VergerError("some features are infinite or not a number")
        if not self.squared_deviations.any():
            raise NothingToReadError(
                f"all {self.n} photographs have the same features: there is no variance to explain",
                "Add photographs that differ",
            )
        return self

    def scaler(self, standardize: bool) -> Scaler:
        """The scaler that centres these rows.

        Parameters
        ----------
        standardize : bool
            Whether it also divides by the standard deviations.

        Returns
        -------
        Scaler
            Of the d features.
        """
        scale = standard_deviations(self.n, self.mean, self.squared_deviations) if standardize else None
        return Scaler(self.mean, scale)

    def total_variance(self, scaler: Scaler) -> float:
        """Variance of the scaled rows, summed over the features (divisor n - 1).

        Parameters
        ----------
        scaler : Scaler
            Of these moments.

        Returns
        -------
        float
            The trace of the covariance matrix.
        """
        squares = self.squared_deviations
        if scaler.scale is not None:
            squares = squares / scaler.scale**2
        return float(squares.sum() / (self.n - 1))


def standard_deviations(n: int, mean: Float64Array, squared_deviations: Float64Array) -> Float64Array:
    """Standard deviation of each feature (divisor n), 1 where a feature is constant up to rounding.

    Which features are constant is decided as in scikit-learn's StandardScaler, by the error bound of the two-pass
    algorithm in Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983.

    Parameters
    ----------
    n : int
        Rows.
    mean : ndarray of float64, shape (d,)
        Mean of each feature.
    squared_deviations : ndarray of float64, shape (d,)
        Squared deviations from the mean, summed over the rows.

    Returns
    -------
    ndarray of float64, shape (d,)
        Positive.
    """
    variance, eps = squared_deviations / n, np.finfo(np.float64).eps
    constant = variance <= n * eps * variance + (n * mean * eps) ** 2
    return np.where(constant, 1.0, np.sqrt(variance))


def compute_moments(features: Rows, dimension: int, tasks: int | None = None) -> Moments:
    """Mean and squared deviations of all rows, in one pass.

    Parameters
    ----------
    features : Rows
        With a column ``features array<float>``.
    dimension : int
        Features of a row, d.
    tasks : int, optional
        As in `aggregation.aggregate`.

    Returns
    -------
    Moments
        Of all rows, validated.

    Raises
    ------
    VergerError
        As in `Moments.validated`.
    """
    rows, partial_sums = features.select("features"), _SquaredDeviations(dimension)
    sums = aggregate(rows, partial_sums, squared_mean_correction, size=dimension, tasks=tasks)
    moments = Moments(sums[0].n, sums[0].mean[0], sums[0].values) if sums else Moments.of_no_rows(dimension)
    return moments.validated()


def subtract_mean(rows: Float64Array) -> Float64Array:
    """Subtract the mean from rows, overwriting them.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, d)
        Features; overwritten.

    Returns
    -------
    ndarray of float64, shape (2, d)
        The mean, and what rounding cut off from it.
    """
    mean = rows.mean(axis=0)
    rows -= mean
    return np.stack([mean, rows.mean(axis=0)])


def squared_mean_correction(_block: int, delta: Float64Array) -> Float64Array:
    """The `aggregation.MeanCorrection` of squared deviations.

    Parameters
    ----------
    _block : int
        There is one block only.
    delta : ndarray of float64, shape (d,)
        Difference between two means.

    Returns
    -------
    ndarray of float64, shape (d,)
        Its square.
    """
    return delta**2


@dataclass(frozen=True)
class _SquaredDeviations:
    """Squared deviations of a partition's rows from their mean, in one block."""

    dimension: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[PartialSum]:
        for rows in chunks(batches, self.dimension):
            mean = subtract_mean(rows)
            yield PartialSum(0, len(rows), np.einsum("ij,ij->j", rows, rows), mean)
