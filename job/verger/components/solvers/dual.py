"""Exact PCA of few photographs with many features: the n x n Gram matrix instead of the d x d scatter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from verger.components.aggregation import Partial, broadcast, row_blocks, total
from verger.components.moments import Moments
from verger.components.rows import Array, chunks
from verger.components.solvers.gram import lower_triangle
from verger.components.solvers.products import positions, transpose_times
from verger.components.solvers.spectrum import Spectrum, eigen, ranked

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

# Float64 that a task unpacks at a time: all photographs, some columns.
_STRIPE_BYTES = 32 << 20
_STRIPES = "stripe int, positions binary, values binary"


def solve(features: DataFrame, moments: Moments, standardize: bool) -> Spectrum:
    """All eigenvalues of the covariance, and eigenvectors on demand (a further pass).

    With X the centred and scaled rows, X X' has the eigenvalues of X' X, and u of the one is X' u / |X' u| of
    the other. X X' is summed over stripes of columns: the features are shuffled once, each number to one task,
    whereas blocks of rows would have to meet each other. A task holds the lower triangle (4 n n bytes) and a
    stripe.

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path``, which is unique, and ``features``.
    moments : Moments
        Of these features.
    standardize : bool
    """
    standard = moments.standard(standardize)
    paths = features.select("path").toArrow()["path"].combine_chunks().sort()
    if len(paths) != moments.n or len(paths.unique()) != moments.n:
        raise ValueError(f"{moments.n} rows, then {len(paths)} with {len(paths.unique())} paths")
    variances, vectors = eigen(_gram(features, moments, standardize, paths))

    def components(k: int) -> Array:
        found = transpose_times(features, standard, paths, vectors[:, :k]).T
        return np.ascontiguousarray(found / np.linalg.norm(found, axis=1, keepdims=True))

    dimension = len(moments.mean)
    return Spectrum(
        moments.n,
        standard,
        moments.variance(standard),
        ranked(variances / (moments.n - 1), moments.n, dimension),
        components,
    )


def _gram(features: DataFrame, moments: Moments, standardize: bool, paths: pa.Array) -> Array:
    """The lower triangle of X X', float64, shape (n, n), rows in the order of ``paths``."""
    n, dimension = moments.n, len(moments.mean)
    spark = features.sparkSession
    tasks = 2 * spark.sparkContext.defaultParallelism
    width = max(1, min(_STRIPE_BYTES // (8 * n), -(-dimension // tasks)))
    with broadcast(spark, (moments.standard(standardize), paths)) as sent:
        cut = features.mapInArrow(_Cut(sent, width), _STRIPES)
        # Sorted, so that a stripe is complete before the next begins, whatever the shuffle delivers first.
        stripes = cut.repartitionById(tasks, cut["stripe"] % tasks).sortWithinPartitions("stripe")
        found = total(stripes, _Products(sent, width), size=n * (n + 1) // 2, tasks=tasks)
    return lower_triangle([partial.values for partial in found], n)


@dataclass(frozen=True)
class _Cut:
    """The function of mapInArrow: rows in, their stripes of ``width`` columns out, as they are, in float32."""

    sent: Broadcast[Any]
    width: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        standard, known = self.sent.value
        dimension = len(standard.mean)
        for paths, rows in chunks(batches, dimension):
            where = positions(paths, known).tobytes()
            starts = range(0, dimension, self.width)
            values = [rows[:, start : start + self.width].astype(np.float32).tobytes() for start in starts]
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(range(len(starts)), pa.int32()),
                    pa.array([where] * len(starts), pa.binary()),
                    pa.array(values, pa.binary()),
                ],
                names=["stripe", "positions", "values"],
            )


@dataclass(frozen=True)
class _Products:
    """What stripes add to the lower triangle of X X', in blocks of rows of that matrix."""

    sent: Broadcast[Any]
    width: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Partial]:
        standard, known = self.sent.value
        n = len(known)
        pieces = (piece for batch in batches for piece in zip(*(c.to_pylist() for c in batch.columns), strict=True))
        for stripe, same in groupby(pieces, key=itemgetter(0)):
            which = slice(stripe * self.width, min((stripe + 1) * self.width, len(standard.mean)))
            rows = np.empty((n, which.stop - which.start))
            for _, where, values in same:
                into = np.frombuffer(where, np.int32)
                rows[into] = np.frombuffer(values, np.float32).reshape(len(into), -1)
            standard.columns(which).centre(rows)
            for block, part in enumerate(row_blocks(n, n)):
                yield Partial(block, n, (rows[part] @ rows[: part.stop].T).ravel())
