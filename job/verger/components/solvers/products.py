"""Products of the centred rows with narrow matrices, each by a pass over the features."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verger.batches import slices
from verger.components.aggregation import PartialSum, aggregate, broadcast, row_blocks
from verger.components.moments import Scaler
from verger.components.rows import Float64Array, Rows, chunks, chunks_with_paths

if TYPE_CHECKING:
    from pyspark import Broadcast

# Bytes of a product (d, columns), and of a factor, that a task may hold: more columns take further passes.
TASK_BYTES = 96 << 20


def covariance_times(features: Rows, scaler: Scaler, basis: Float64Array) -> Float64Array:
    """X' (X B) for the centred and scaled rows X (n, d): n - 1 times the covariance matrix times B.

    Parameters
    ----------
    features : Rows
        With a column ``features array<float>``.
    scaler : Scaler
        Of these features; gives X.
    basis : ndarray of float64, shape (d, l)
        B.

    Returns
    -------
    ndarray of float64, shape (d, l)
        The product.
    """
    return _product(features, scaler, basis, None)


def transpose_times(features: Rows, scaler: Scaler, paths: pa.Array, weights: Float64Array) -> Float64Array:
    """X' W for the centred and scaled rows X (n, d).

    Parameters
    ----------
    features : Rows
        Columns ``path string`` and ``features array<float>``.
    scaler : Scaler
        Of these features; gives X.
    paths : pyarrow.Array of string
        The path of each row of ``weights``, n in all.
    weights : ndarray of float64, shape (n, k)
        W.

    Returns
    -------
    ndarray of float64, shape (d, k)
        The product.
    """
    return _product(features, scaler, weights, paths)


def _product(features: Rows, scaler: Scaler, factor: Float64Array, paths: pa.Array | None) -> Float64Array:
    """X' (X factor), or X' factor where ``paths`` name the rows of the factor."""
    dimension, columns = len(scaler.mean), factor.shape[1]
    rows = features.select("features") if paths is None else features.select("path", "features")
    product = np.empty((dimension, columns))
    for these in slices(columns, max(1, TASK_BYTES // (8 * max(dimension, len(factor))))):
        part = np.ascontiguousarray(factor[:, these])
        with broadcast(features.sparkSession, (scaler, part, paths)) as shared:
            sums = aggregate(rows, _ProductSums(shared), size=dimension * part.shape[1])
        for which, partial in zip(row_blocks(dimension, part.shape[1]), sums, strict=True):
            product[which, these] = partial.values.reshape(-1, part.shape[1])
    return product


@dataclass(frozen=True)
class _ProductSums:
    """What a partition's rows add to the product, in blocks of rows of the product."""

    shared: Broadcast[Any]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[PartialSum]:
        scaler, factor, _ = self.shared.value
        for rows, weights in self._weighted(batches):
            for block, which in enumerate(row_blocks(len(scaler.mean), factor.shape[1])):
                yield PartialSum(block, len(rows), (rows[:, which].T @ weights).ravel())

    def _weighted(self, batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[Float64Array, Float64Array]]:
        """Chunks of centred and scaled rows, and what their transpose is multiplied by."""
        scaler, factor, all_paths = self.shared.value
        if all_paths is None:
            for rows in chunks(batches, len(scaler.mean)):
                yield scaler.transform_in_place(rows), rows @ factor
        else:
            for paths, rows in chunks_with_paths(batches, len(scaler.mean)):
                yield scaler.transform_in_place(rows), factor[row_numbers(paths, all_paths)]


def row_numbers(paths: pa.Array, all_paths: pa.Array) -> npt.NDArray[np.int32]:
    """Position of each path among all paths.

    Parameters
    ----------
    paths : pyarrow.Array of string
        Paths of the rows at hand.
    all_paths : pyarrow.Array of string
        Paths of all rows, unique.

    Returns
    -------
    ndarray of int32, shape (len(paths),)
        Positions in ``all_paths``.

    Raises
    ------
    ValueError
        A path is not among them.
    """
    found = pc.index_in(paths, value_set=all_paths)
    if found.null_count:
        raise ValueError("the features are not those of the pass before")
    numbers: npt.NDArray[np.int32] = found.to_numpy(zero_copy_only=False)
    return numbers
