"""Items in batches, and a sequence cut into slices of one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

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
