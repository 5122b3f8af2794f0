"""Work ahead of its consumer: a parallel map, and an iterator that is read in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, takewhile
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, window: int
) -> Iterator[Result]:
    """Map in threads. Results come in order, and a bounded number is held in memory.

    Parameters
    ----------
    function : callable
        Called once per item, in one of the threads. What it raises is raised when its result is taken.
    items : iterable
        Read one by one, as calls are started.
    threads : int
        Calls at the same time, at most.
    window : int
        Calls that are started ahead of the result that the caller takes next.

    Yields
    ------
    object
        The results, in the order of ``items``.

    Examples
    --------
    >>> list(prefetch_map(abs, [-1, 2, -3], threads=2, window=4))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > window:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def prefetch(items: Iterable[Item], ahead: int) -> Iterator[Item]:
    """Read items in a thread, while the caller works on those that came before.

    Parameters
    ----------
    items : iterable
        Read by one thread alone. What it raises is raised where the caller takes the item.
    ahead : int
        Items that are read, or being read, while the caller works on one.

    Yields
    ------
    object
        The items, in their order.

    Examples
    --------
    >>> list(prefetch(iter("abc"), ahead=1))
    ['a', 'b', 'c']
    """
    iterator, end = iter(items), object()
    read = prefetch_map(lambda _: next(iterator, end), count(), 1, ahead)
    yield from takewhile(lambda item: item is not end, read)
