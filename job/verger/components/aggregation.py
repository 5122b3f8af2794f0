"""Sums over all feature rows in one pass: tasks compute partial sums, which are merged in the order of partitions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from verger.batches import slices
from verger.components.rows import Float64Array, Rows
from verger.cores import use_one_thread

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

# Bytes of a block, which is one cell of a Spark row; the JVM copies whole cells.
BLOCK_BYTES = 4 << 20
# At most so many partial sums of a block reach the driver, and so many bytes, since they pass through its JVM.
MAX_GROUPS = 8
MAX_COLLECTED_BYTES = 256 << 20

_SCHEMA = "group int, block int, partition int, n long, mean binary, values binary"


@dataclass(frozen=True)
class PartialSum:
    """One block of a sum over some of the rows.

    Attributes
    ----------
    block : int
        Number of the block among those that the sum's values are cut into.
    n : int
        Rows that were added up.
    values : ndarray of float64, shape (m,)
        The sum. Where ``mean`` is not empty, it is of deviations from that mean.
    mean : ndarray of float64, shape (2, d)
        Mean of each feature, and below it what rounding cut off from the mean. Shape (2, 0) for a sum that does
        not depend on the mean.
    group : int
        Partial sums of one group are merged before they reach the driver.
    partition : int
        Number of the Spark partition; within a group, sums are merged in this order.
    """

    block: int
    n: int
    values: Float64Array
    mean: Float64Array = field(default_factory=lambda: np.empty((2, 0)))
    group: int = 0
    partition: int = 0


# mean_correction(block, delta): what a difference `delta`, of shape (d,), between the means of two sets of rows adds
# to the values of a block, for the weight 1.
MeanCorrection = Callable[[int, Float64Array], Float64Array]
# Record batches of one partition in; their partial sums out, one or more a block.
PartitionSums = Callable[[Iterable[pa.RecordBatch]], Iterator[PartialSum]]


def merge(one: PartialSum, other: PartialSum, mean_correction: MeanCorrection | None) -> PartialSum:
    """Add up a block over two sets of rows.

    Sums of squares and products about the mean are merged as Chan, Golub and LeVeque do ("Updating formulae
    and a pairwise algorithm for computing sample variances", 1979): no large numbers are subtracted. Means
    carry what rounding cuts off, since two means may differ by less than that. A feature may be far from 0 and
    almost constant, and is standardised nevertheless.

    Parameters
    ----------
    one, other : PartialSum
        Of the same block, over different rows.
    mean_correction : callable or None
        A `MeanCorrection` where the sum is about the mean; None where it does not depend on the mean.

    Returns
    -------
    PartialSum
        Over both sets of rows, with group and partition of ``one``.
    """
    n = one.n + other.n
    values = one.values + other.values
    if mean_correction is None:
        return replace(one, n=n, values=values)
    delta = (other.mean - one.mean).sum(axis=0)
    values += mean_correction(one.block, delta) * (one.n * other.n / n)
    return replace(one, n=n, values=values, mean=_shift_mean(one.mean, delta * (other.n / n)))


def _shift_mean(mean: Float64Array, shift: Float64Array) -> Float64Array:
    """The sum of a mean (2, d) and a shift (d,) without loss, by Knuth's two-sum."""
    shifted = mean[0] + shift
    added = shifted - mean[0]
    return np.stack([shifted, mean[1] + ((mean[0] - (shifted - added)) + (shift - added))])


def aggregate(
    rows: Rows,
    partition_sums: PartitionSums,
    mean_correction: MeanCorrection | None = None,
    *,
    size: int,
    tasks: int | None = None,
) -> list[PartialSum]:
    """Sum over all rows, in one pass.

    Parameters
    ----------
    rows : Rows
        With the columns that ``partition_sums`` reads.
    partition_sums : callable, picklable
        Gives the partial sums of one partition's record batches, one or more a block.
    mean_correction : callable, picklable, optional
        A `MeanCorrection` where the sum is about the mean.
    size : int
        Numbers in the sum, all blocks together.
    tasks : int, optional
        Spark tasks at most; default: two a core.

    Returns
    -------
    list of PartialSum
        One a block, in the order of blocks; empty where there is no row.
    """
    tasks = tasks or 2 * rows.sparkSession.sparkContext.defaultParallelism
    return merge_groups(_collect(_partial_sums(rows, partition_sums, mean_correction, size, tasks)), mean_correction)


def _partial_sums(
    rows: Rows, partition_sums: PartitionSums, mean_correction: MeanCorrection | None, size: int, tasks: int
) -> DataFrame:
    """At most ``_group_count(size)`` partial sums a block, as rows of _SCHEMA.

    Partitions are coalesced, without a shuffle, since each gives a whole partial sum. Where that leaves too many
    for the driver, they are shuffled by group and block. Adaptive execution may then put several (group, block)
    into one task, but never one into two: only a rebalance or a join is split. And since rows are sorted
    there, what is merged does not depend on the order in which the shuffle delivers.
    """
    groups = _group_count(size)
    sums = rows.coalesce(tasks).mapInArrow(_SumPartition(partition_sums, mean_correction, tasks, groups), _SCHEMA)
    if tasks <= groups:
        return sums
    shuffled = sums.repartition("group", "block").sortWithinPartitions("group", "block", "partition")
    return shuffled.mapInArrow(_MergeGroup(mean_correction), _SCHEMA)


def _group_count(size: int) -> int:
    """Partial sums of ``size`` float64 that may reach the driver."""
    return max(1, min(MAX_GROUPS, MAX_COLLECTED_BYTES // (8 * size)))


def _collect(sums: DataFrame) -> list[PartialSum]:
    return [partial for batch in sums.toArrow().to_batches() for partial in _decode(batch)]


def merge_groups(sums: list[PartialSum], mean_correction: MeanCorrection | None) -> list[PartialSum]:
    """One sum a block, merged in the order of groups.

    Parameters
    ----------
    sums : list of PartialSum
        One a group and block, in any order.
    mean_correction : callable or None
        As in `merge`.

    Returns
    -------
    list of PartialSum
        One a block, in the order of blocks.
    """
    ordered = sorted(sums, key=lambda partial: (partial.block, partial.group))
    return [_merge_all(same, mean_correction) for _, same in groupby(ordered, key=lambda partial: partial.block)]


def _merge_all(sums: Iterator[PartialSum], mean_correction: MeanCorrection | None) -> PartialSum:
    merged = next(sums)
    for other in sums:
        merged = merge(merged, other, mean_correction)
    return merged


@dataclass(frozen=True)
class _SumPartition:
    """The function of mapInArrow: feature rows in, one partial sum a block out; nothing for no rows."""

    partition_sums: PartitionSums
    mean_correction: MeanCorrection | None
    tasks: int
    groups: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        use_one_thread()
        context = TaskContext.get()
        assert context is not None
        partition = context.partitionId()
        sums: dict[int, PartialSum] = {}
        for partial in self.partition_sums(batches):
            before = sums.get(partial.block)
            sums[partial.block] = partial if before is None else merge(before, partial, self.mean_correction)
        for partial in sums.values():
            yield _encode(replace(partial, group=partition * self.groups // self.tasks, partition=partition))


@dataclass(frozen=True)
class _MergeGroup:
    """The function of mapInArrow: partial sums sorted by group, block and partition in, one a group and block out."""

    mean_correction: MeanCorrection | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        sums = (partial for batch in batches for partial in _decode(batch))
        for _, same in groupby(sums, key=lambda partial: (partial.group, partial.block)):
            yield _encode(_merge_all(same, self.mean_correction))


def _encode(partial: PartialSum) -> pa.RecordBatch:
    row = {
        "group": pa.array([partial.group], pa.int32()),
        "block": pa.array([partial.block], pa.int32()),
        "partition": pa.array([partial.partition], pa.int32()),
        "n": pa.array([partial.n], pa.int64()),
        "mean": pa.array([partial.mean.tobytes()], pa.binary()),
        "values": pa.array([partial.values.tobytes()], pa.binary()),
    }
    return pa.RecordBatch.from_pydict(row)


def _decode(batch: pa.RecordBatch) -> Iterator[PartialSum]:
    for i in range(batch.num_rows):
        number = {name: batch.column(name)[i].as_py() for name in ("group", "block", "partition", "n")}
        mean, values = (np.frombuffer(batch.column(name)[i].as_buffer()) for name in ("mean", "values"))
        yield PartialSum(mean=mean.reshape(2, -1), values=values, **number)


def row_blocks(rows: int, columns: int) -> list[slice]:
    """Cut the rows of a float64 matrix into blocks that fit a cell of a Spark row.

    Parameters
    ----------
    rows, columns : int
        Shape of the matrix.

    Returns
    -------
    list of slice
        Rows of each block, at most BLOCK_BYTES but at least one row.
    """
    return slices(rows, max(1, BLOCK_BYTES // (8 * columns)))


@contextmanager
def broadcast(spark: SparkSession, value: Any) -> Iterator[Broadcast[Any]]:
    """Broadcast a value to all workers for as long as the context lasts.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
        Its executors receive the value.
    value : object, picklable
        Not to be changed afterwards.

    Yields
    ------
    pyspark.Broadcast
        Destroyed at the end of the context.
    """
    variable = spark.sparkContext.broadcast(value)
    try:
        yield variable
    finally:
        variable.destroy()
