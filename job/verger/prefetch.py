"""Work that is started before its results are needed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int, window: int
) -> Iterator[Result]:
    """Map in threads, in order, with a bound on what is held in memory.

    Parameters
    ----------
    function : callable
        Called once per item, in one of the threads. What it raises is raised when its result is taken.
    items : iterable
        Taken one by one, as they are started.
    threads : int
        Most calls at the same time.
    window : int
        How many items are started ahead of the one whose result the caller takes next.

    Yields
    ------
    object
        The results, in the order of ``items``.
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
