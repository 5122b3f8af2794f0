"""Exact PCA of few photographs with many features: the dual problem, with the n x n Gram matrix of the rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from verger.batches import slices
from verger.components.aggregation import PartialSum, aggregate, broadcast, row_blocks
from verger.components.moments import Moments
from verger.components.rows import Float64Array, Rows, chunks_with_paths
from verger.components.solvers.decomposition import Decomposition, significant_eigenvalues
from verger.components.solvers.products import row_numbers, transpose_times
from verger.components.solvers.tridiagonal import Tridiagonal
from verger.components.triangle import assemble_lower_triangle

if TYPE_CHECKING:
    from pyspark import Broadcast

# Bytes of float64 that a task unpacks at a time: a stripe, which is all photographs and some features.
_STRIPE_BYTES = 32 << 20
_STRIPES = "stripe int, row_numbers binary, values binary"


def solve(features: Rows, moments: Moments, standardize: bool) -> Decomposition:
    """All eigenvalues of the covariance matrix, and eigenvectors on demand, by a further pass.

    With X the centred and scaled rows, X X' has the eigenvalues of X' X. For an eigenvector u of X X', the
    eigenvector of X' X is X' u / |X' u|. X X' is summed over stripes of columns: the features are shuffled once,
    each number to one task, whereas every block of rows would have to meet every other. A task holds the lower
    triangle (4 n n bytes) and a stripe.

    Parameters
    ----------
    features : Rows
        Columns ``path string``, which is unique, and ``features array<float>``.
    moments : Moments
        Of these features.
    standardize : bool
        Whether features are divided by their standard deviations.

    Returns
    -------
    Decomposition
        Exact.

    Raises
    ------
    ValueError
        The features are not those of the moments, or paths are not unique.
    """
    scaler = moments.scaler(standardize)
    paths = features.select("path").mapInArrow(_unchanged, "path string").toArrow()["path"].combine_chunks().sort()
    if len(paths) != moments.n or len(paths.unique()) != moments.n:
        raise ValueError(f"{moments.n} rows, then {len(paths)} with {len(paths.unique())} paths")
    gram = Tridiagonal(_gram(features, moments, standardize, paths))

    def components(k: int) -> Float64Array:
        directions = transpose_times(features, scaler, paths, gram.eigenvectors(k)).T
        return np.ascontiguousarray(directions / np.linalg.norm(directions, axis=1, keepdims=True))

    dimension = len(moments.mean)
    return Decomposition(
        moments.n,
        scaler,
        moments.total_variance(scaler),
        significant_eigenvalues(gram.eigenvalues / (moments.n - 1), moments.n, dimension),
        components,
    )


def _unchanged(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return batches


def _gram(features: Rows, moments: Moments, standardize: bool, paths: pa.Array) -> Float64Array:
    """The lower triangle of X X', float64, shape (n, n), rows in the order of ``paths``."""
    n, dimension = moments.n, len(moments.mean)
    spark = features.sparkSession
    tasks = 2 * spark.sparkContext.defaultParallelism
    width = max(1, min(_STRIPE_BYTES // (8 * n), -(-dimension // tasks)))
    with broadcast(spark, (moments.scaler(standardize), paths)) as shared:
        cut = features.select("path", "features").mapInArrow(_CutIntoStripes(shared, width), _STRIPES)
        # Sorted, so that a stripe is complete before the next begins, whatever the shuffle delivers first.
        stripes = cut.repartitionById(tasks, cut["stripe"] % tasks).sortWithinPartitions("stripe")
        sums = aggregate(stripes, _GramSums(shared, width), size=n * (n + 1) // 2, tasks=tasks)
    return assemble_lower_triangle([partial.values for partial in sums], n)


@dataclass(frozen=True)
class _CutIntoStripes:
    """The function of mapInArrow: feature rows in, their stripes of ``width`` features out, unscaled, in float32."""

    shared: Broadcast[Any]
    width: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scaler, all_paths = self.shared.value
        dimension = len(scaler.mean)
        for paths, rows in chunks_with_paths(batches, dimension):
            numbers = row_numbers(paths, all_paths).tobytes()
            values = [rows[:, which].astype(np.float32).tobytes() for which in slices(dimension, self.width)]
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(range(len(values)), pa.int32()),
                    pa.array([numbers] * len(values), pa.binary()),
                    pa.array(values, pa.binary()),
                ],
                names=["stripe", "row_numbers", "values"],
            )


@dataclass(frozen=True)
class _GramSums:
    """The lower triangle of X X' of a partition's stripes, in blocks of rows of that matrix."""

    shared: Broadcast[Any]
    width: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[PartialSum]:
        scaler, all_paths = self.shared.value
        n = len(all_paths)
        pieces = (piece for batch in batches for piece in zip(*(c.to_pylist() for c in batch.columns), strict=True))
        for stripe, same in groupby(pieces, key=itemgetter(0)):
            which = slice(stripe * self.width, min((stripe + 1) * self.width, len(scaler.mean)))
            rows = np.empty((n, which.stop - which.start))
            for _, number_bytes, values in same:
                numbers = np.frombuffer(number_bytes, np.int32)
                rows[numbers] = np.frombuffer(values, np.float32).reshape(len(numbers), -1)
            scaler.select_features(which).transform_in_place(rows)
            for block, part in enumerate(row_blocks(n, n)):
                yield PartialSum(block, n, (rows[part] @ rows[: part.stop].T).ravel())
