"""Exact PCA of features of moderate dimension, in one pass: the d x d scatter matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from verger.components.aggregation import Partial, row_blocks, total
from verger.components.moments import Moments, centre, nothing
from verger.components.rows import Array, chunks
from verger.components.solvers.spectrum import Spectrum, eigen, ranked

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def solve(features: DataFrame, dimension: int, standardize: bool, tasks: int | None = None) -> Spectrum:
    """All eigenvalues and eigenvectors of the covariance.

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path`` and ``features``.
    dimension : int
    standardize : bool
    tasks : int, optional
        As in `aggregation.total`.

    Raises
    ------
    VergerError
        As `Moments.checked` says.
    """
    moments, scatter = _measure(features, dimension, tasks)
    standard = moments.standard(standardize)
    if standard.scale is not None:
        scatter /= standard.scale
        scatter /= standard.scale[:, None]
    scatter /= moments.n - 1
    variances, vectors = eigen(scatter)
    return Spectrum(
        moments.n,
        standard,
        moments.variance(standard),
        ranked(variances, moments.n, dimension),
        lambda k: vectors[:, :k].T.copy(),
    )


def _measure(features: DataFrame, dimension: int, tasks: int | None) -> tuple[Moments, Array]:
    contributions = Scatter(dimension)
    size = dimension * (dimension + 1) // 2
    found = total(features, contributions, contributions.spread, size=size, tasks=tasks)
    scatter = lower_triangle([partial.values for partial in found], dimension)
    moments = Moments(found[0].n, found[0].mean[0], scatter.diagonal().copy()) if found else nothing(dimension)
    return moments.checked(), scatter


@dataclass(frozen=True)
class Scatter:
    """What rows add to the lower triangle of the scatter about their mean, in blocks of rows of that matrix."""

    dimension: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Partial]:
        for _, rows in chunks(batches, self.dimension):
            mean = centre(rows)
            for block, which in enumerate(row_blocks(self.dimension, self.dimension)):
                yield Partial(block, len(rows), (rows[:, which].T @ rows[:, : which.stop]).ravel(), mean)

    def spread(self, block: int, delta: Array) -> Array:
        """What two means that differ by ``delta`` add to a block."""
        which = row_blocks(self.dimension, self.dimension)[block]
        return np.outer(delta[which], delta[: which.stop]).ravel()


def lower_triangle(blocks: list[Array], size: int) -> Array:
    """The lower triangle of a symmetric matrix (size, size) from blocks of its rows, each up to its diagonal.

    Above the diagonal some elements are zero; LAPACK does not read them.
    """
    matrix = np.zeros((size, size))
    for which, values in zip(row_blocks(size, size), blocks, strict=False):
        matrix[which, : which.stop] = values.reshape(-1, which.stop)
    return matrix
