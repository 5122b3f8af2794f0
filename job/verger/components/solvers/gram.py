"""Exact PCA of features of moderate dimension, in one pass: the d x d scatter matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from verger.components.aggregation import PartialSum, aggregate, row_blocks
from verger.components.moments import Moments, subtract_mean
from verger.components.rows import Float64Array, Rows, chunks
from verger.components.solvers.decomposition import Decomposition, eigendecomposition, significant_eigenvalues


def solve(features: Rows, dimension: int, standardize: bool, tasks: int | None = None) -> Decomposition:
    """All eigenvalues and eigenvectors of the covariance matrix.

    Parameters
    ----------
    features : Rows
        With a column ``features array<float>``.
    dimension : int
        Features of a row, d.
    standardize : bool
        Whether features are divided by their standard deviations.
    tasks : int, optional
        As in `aggregation.aggregate`.

    Returns
    -------
    Decomposition
        Exact.

    Raises
    ------
    VergerError
        As in `Moments.validated`.
    """
    moments, scatter = _moments_and_scatter(features, dimension, tasks)
    scaler = moments.scaler(standardize)
    if scaler.scale is not None:
        scatter /= scaler.scale
        scatter /= scaler.scale[:, None]
    scatter /= moments.n - 1
    variances, vectors = eigendecomposition(scatter)
    return Decomposition(
        moments.n,
        scaler,
        moments.total_variance(scaler),
        significant_eigenvalues(variances, moments.n, dimension),
        lambda k: vectors[:, :k].T.copy(),
    )


def _moments_and_scatter(features: Rows, dimension: int, tasks: int | None) -> tuple[Moments, Float64Array]:
    scatter_sums = ScatterSums(dimension)
    size = dimension * (dimension + 1) // 2
    rows = features.select("features")
    sums = aggregate(rows, scatter_sums, scatter_sums.mean_correction, size=size, tasks=tasks)
    scatter = assemble_lower_triangle([partial.values for partial in sums], dimension)
    if not sums:
        return Moments.of_no_rows(dimension).validated(), scatter
    return Moments(sums[0].n, sums[0].mean[0], scatter.diagonal().copy()).validated(), scatter


@dataclass(frozen=True)
class ScatterSums:
    """The lower triangle of the scatter matrix of a partition's rows about their mean, in blocks of its rows.

    Attributes
    ----------
    dimension : int
        Features of a row, d; the scatter matrix is d x d.
    """

    dimension: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[PartialSum]:
        """Compute the partial sums of one partition.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            With a column ``features array<float>``.

        Yields
        ------
        PartialSum
            One a block and chunk of rows.
        """
        for rows in chunks(batches, self.dimension):
            mean = subtract_mean(rows)
            for block, which in enumerate(row_blocks(self.dimension, self.dimension)):
                yield PartialSum(block, len(rows), (rows[:, which].T @ rows[:, : which.stop]).ravel(), mean)

    def mean_correction(self, block: int, delta: Float64Array) -> Float64Array:
        """The `aggregation.MeanCorrection` of the scatter matrix.

        Parameters
        ----------
        block : int
            Number of the block of rows.
        delta : ndarray of float64, shape (d,)
            Difference between two means.

        Returns
        -------
        ndarray of float64, shape (m,)
            The block's part of the outer product of ``delta`` with itself.
        """
        which = row_blocks(self.dimension, self.dimension)[block]
        return np.outer(delta[which], delta[: which.stop]).ravel()


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
        Above the diagonal some elements are zero; LAPACK does not read them.
    """
    matrix = np.zeros((size, size))
    for which, values in zip(row_blocks(size, size), blocks, strict=False):
        matrix[which, : which.stop] = values.reshape(-1, which.stop)
    return matrix
