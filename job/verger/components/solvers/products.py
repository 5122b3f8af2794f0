"""Products of the centred rows with narrow matrices, a pass over the features each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from verger.components.aggregation import Partial, broadcast, row_blocks, total
from verger.components.moments import Standard
from verger.components.rows import Array, chunks

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame

# A task holds a product (d, columns) and a factor: more columns take further passes.
TASK_BYTES = 96 << 20


def covariance_times(features: DataFrame, standard: Standard, basis: Array) -> Array:
    """X' (X B) for the centred and scaled rows X (n, d).

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path`` and ``features``.
    standard : Standard
    basis : ndarray of float64, shape (d, l)

    Returns
    -------
    ndarray of float64, shape (d, l)
    """
    return _times(features, standard, basis, None)


def transpose_times(features: DataFrame, standard: Standard, paths: pa.Array, weights: Array) -> Array:
    """X' W for the centred and scaled rows X (n, d).

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path`` and ``features``.
    standard : Standard
    paths : pyarrow.Array of string
        The path that each row of ``weights`` belongs to.
    weights : ndarray of float64, shape (n, k)

    Returns
    -------
    ndarray of float64, shape (d, k)
    """
    return _times(features, standard, weights, paths)


def _times(features: DataFrame, standard: Standard, factor: Array, paths: pa.Array | None) -> Array:
    dimension, columns = len(standard.mean), factor.shape[1]
    step = max(1, TASK_BYTES // (8 * max(dimension, len(factor))))
    product = np.empty((dimension, columns))
    for start in range(0, columns, step):
        part = np.ascontiguousarray(factor[:, start : start + step])
        with broadcast(features.sparkSession, (standard, part, paths)) as sent:
            found = total(features, _Contributions(sent), size=dimension * part.shape[1])
        for which, partial in zip(row_blocks(dimension, part.shape[1]), found, strict=True):
            product[which, start : start + step] = partial.values.reshape(-1, part.shape[1])
    return product


@dataclass(frozen=True)
class _Contributions:
    sent: Broadcast[Any]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Partial]:
        standard, factor, known = self.sent.value
        dimension = len(standard.mean)
        for paths, rows in chunks(batches, dimension):
            standard.centre(rows)
            weights = rows @ factor if known is None else factor[positions(paths, known)]
            for block, which in enumerate(row_blocks(dimension, factor.shape[1])):
                yield Partial(block, len(rows), (rows[:, which].T @ weights).ravel())


def positions(paths: pa.Array, known: pa.Array) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Where each path stands among the known ones; ValueError for one that is not there."""
    found = pc.index_in(paths, value_set=known)
    if found.null_count:
        raise ValueError("the features are not those of the pass before")
    where: np.ndarray[Any, np.dtype[np.int32]] = found.to_numpy(zero_copy_only=False)
    return where
