"""Items and rows in batches, and a sequence cut into slices of one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Gather items into lists, reading no more of them than the next list needs.

    It is `itertools.batched` of Python 3.12, with lists.

    Parameters
    ----------
    items : iterable
        Read once.
    size : int
        Items of a batch, at least one; the last batch may have fewer.

    Yields
    ------
    list
        Never empty.

    Raises
    ------
    ValueError
        ``size`` is less than one.

    Examples
    --------
    >>> list(batched("abcde", 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    if size < 1:
        raise ValueError(f"a batch of {size} items")
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def parquet_batches(file: pq.ParquetFile, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Read a Parquet file as a stream, a row group at a time.

    ``ParquetFile.iter_batches`` over the whole file keeps each row group that it has read until its end.

    Parameters
    ----------
    file : pyarrow.parquet.ParquetFile
        Open.
    size : int
        Rows of a batch at most, at least one.
    columns : sequence of str, optional
        Those that are read; default: all.

    Yields
    ------
    pyarrow.RecordBatch
        The rows in the order of the file, the columns too.
    """
    for group in range(file.num_row_groups):
        yield from file.iter_batches(size, [group], None if columns is None else list(columns))


def slices(length: int, size: int) -> list[slice]:
    """Cut a sequence of known length, an array's axis for instance, into slices.

    Parameters
    ----------
    length : int
        Items of the sequence.
    size : int
        Items of a slice, at least one; the last slice may have fewer.

    Returns
    -------
    list of slice
        In order, without gaps; none is empty, and the last ends at ``length``.

    Raises
    ------
    ValueError
        ``size`` is zero.

    Examples
    --------
    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
