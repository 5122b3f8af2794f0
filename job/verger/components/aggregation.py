"""One pass over the features: sums that tasks begin, that are merged in partition order, and that the driver ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from verger.components.rows import Array

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.sql import DataFrame, SparkSession

# A cell of a Spark row; the JVM copies cells whole.
BLOCK_BYTES = 4 << 20
# What reaches the driver: a few partials, and few bytes, since they pass through its JVM.
FEW = 8
COLLECTED_BYTES = 256 << 20

_SCHEMA = "group int, block int, partition int, n long, mean binary, values binary"


@dataclass(frozen=True)
class Partial:
    """One block of a sum over some of the rows.

    Attributes
    ----------
    block : int
        Which part of the sum's values.
    n : int
        Rows that went into it.
    values : ndarray of float64
        The sum; of deviations from ``mean`` where there is one.
    mean : ndarray of float64, shape (2, d)
        Of all columns, and what rounding cut off from it; empty for a sum that does not depend on it.
    group, partition : int
        Partials of one group are merged before they reach the driver, in the order of their partitions.
    """

    block: int
    n: int
    values: Array
    mean: Array = field(default_factory=lambda: np.empty((2, 0)))
    group: int = 0
    partition: int = 0


# What two means that differ by `delta` add to a block of the sum: spread(block, delta), for the weight 1.
Spread = Callable[[int, Array], Array]


def merge(one: Partial, other: Partial, spread: Spread | None) -> Partial:
    """Add up a block over two sets of rows.

    Sums of squares and products about the mean are merged as Chan, Golub and LeVeque do ("Updating formulae
    and a pairwise algorithm for computing sample variances", 1979): no large numbers are subtracted. Means
    carry what rounding cuts off, since they may differ by less than that: a column may be far from 0 and almost
    constant, and standardised nevertheless.
    """
    n = one.n + other.n
    values = one.values + other.values
    if spread is None:
        return replace(one, n=n, values=values)
    delta = (other.mean - one.mean).sum(axis=0)
    values += spread(one.block, delta) * (one.n * other.n / n)
    return replace(one, n=n, values=values, mean=_moved(one.mean, delta * (other.n / n)))


def _moved(mean: Array, by: Array) -> Array:
    """A mean (2, d) and what is to be added to it, without loss (Knuth's two-sum)."""
    moved = mean[0] + by
    added = moved - mean[0]
    return np.stack([moved, mean[1] + ((mean[0] - (moved - added)) + (by - added))])


def total(
    rows: DataFrame,
    contributions: Callable[[Iterable[pa.RecordBatch]], Iterator[Partial]],
    spread: Spread | None = None,
    *,
    size: int,
    tasks: int | None = None,
) -> list[Partial]:
    """Sum over all rows, in one pass.

    Parameters
    ----------
    rows : pyspark.sql.DataFrame
    contributions : callable, picklable
        What the rows of one partition add, as one partial or several a block.
    spread : callable, picklable, optional
        Where the sum is about the mean.
    size : int
        Numbers in the sum, all blocks together.
    tasks : int, optional
        Partitions at most; default: two a core.

    Returns
    -------
    list of Partial
        One a block, in the order of blocks; empty where there is no row.
    """
    tasks = tasks or 2 * rows.sparkSession.sparkContext.defaultParallelism
    return merge_groups(_collect(_plan(rows, contributions, spread, size, tasks)), spread)


def _plan(
    rows: DataFrame, contributions: Callable[..., Iterator[Partial]], spread: Spread | None, size: int, tasks: int
) -> DataFrame:
    """At most ``_groups(size)`` partials a block, as rows of _SCHEMA.

    Partitions are coalesced, without a shuffle, since each emits a whole partial. Where that leaves too many
    for the driver, they are shuffled by group and block. Adaptive execution may then put several (group, block)
    into one task, but never one into two: only a rebalance or a join is split. And since rows are sorted
    there, what is merged does not depend on the order in which the shuffle delivers.
    """
    groups = _groups(size)
    partials = rows.coalesce(tasks).mapInArrow(_Begin(contributions, spread, tasks, groups), _SCHEMA)
    if tasks <= groups:
        return partials
    gathered = partials.repartition("group", "block").sortWithinPartitions("group", "block", "partition")
    return gathered.mapInArrow(_Merge(spread), _SCHEMA)


def _groups(size: int) -> int:
    return max(1, min(FEW, COLLECTED_BYTES // (8 * size)))


def _collect(partials: DataFrame) -> list[Partial]:
    return [partial for batch in partials.toArrow().to_batches() for partial in _read(batch)]


def merge_groups(partials: list[Partial], spread: Spread | None) -> list[Partial]:
    """One partial a block, merged in the order of groups."""
    ordered = sorted(partials, key=lambda partial: (partial.block, partial.group))
    return [_merged(same, spread) for _, same in groupby(ordered, key=lambda partial: partial.block)]


def _merged(partials: Iterator[Partial], spread: Spread | None) -> Partial:
    first = next(partials)
    for other in partials:
        first = merge(first, other, spread)
    return first


@dataclass(frozen=True)
class _Begin:
    """The function of mapInArrow: rows in, one partial a block out; nothing for no rows."""

    contributions: Callable[[Iterable[pa.RecordBatch]], Iterator[Partial]]
    spread: Spread | None
    tasks: int
    groups: int

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        partition = context.partitionId()
        sums: dict[int, Partial] = {}
        for partial in self.contributions(batches):
            known = sums.get(partial.block)
            sums[partial.block] = partial if known is None else merge(known, partial, self.spread)
        for partial in sums.values():
            yield _written(replace(partial, group=partition * self.groups // self.tasks, partition=partition))


@dataclass(frozen=True)
class _Merge:
    """The function of mapInArrow: partials sorted by group, block and partition in, one a group and block out."""

    spread: Spread | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        partials = (partial for batch in batches for partial in _read(batch))
        for _, same in groupby(partials, key=lambda partial: (partial.group, partial.block)):
            yield _written(_merged(same, self.spread))


def _written(partial: Partial) -> pa.RecordBatch:
    row = {
        "group": pa.array([partial.group], pa.int32()),
        "block": pa.array([partial.block], pa.int32()),
        "partition": pa.array([partial.partition], pa.int32()),
        "n": pa.array([partial.n], pa.int64()),
        "mean": pa.array([partial.mean.tobytes()], pa.binary()),
        "values": pa.array([partial.values.tobytes()], pa.binary()),
    }
    return pa.RecordBatch.from_pydict(row)


def _read(batch: pa.RecordBatch) -> Iterator[Partial]:
    for i in range(batch.num_rows):
        number = {name: batch.column(name)[i].as_py() for name in ("group", "block", "partition", "n")}
        mean, values = (np.frombuffer(batch.column(name)[i].as_buffer()) for name in ("mean", "values"))
        yield Partial(mean=mean.reshape(2, -1), values=values, **number)


def row_blocks(rows: int, columns: int) -> list[slice]:
    """Cut the rows of a matrix of float64 so that no block is larger than a cell may be."""
    step = max(1, BLOCK_BYTES // (8 * columns))
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]


@contextmanager
def broadcast(spark: SparkSession, value: Any) -> Iterator[Broadcast[Any]]:
    """Give all workers a value for as long as the context lasts."""
    sent = spark.sparkContext.broadcast(value)
    try:
        yield sent
    finally:
        sent.destroy()
