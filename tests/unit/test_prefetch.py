"""Results that are computed before they are needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from verger.prefetch import prefetch, prefetch_map


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_if_even(number: int) -> int:
        time.sleep(0.01 * (number % 2 == 0))
        return number * number

    assert list(prefetch_map(slow_if_even, range(20), threads=4, window=8)) == [number**2 for number in range(20)]


def test_no_more_items_are_taken_than_the_window() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = prefetch_map(lambda number: number, items(), threads=2, window=5)
    assert next(results) == 0
    assert len(taken) == 6
    assert next(results) == 1
    assert len(taken) == 7
    results.close()


def test_an_exception_is_raised_where_its_result_is_taken() -> None:
    results = prefetch_map(lambda number: 1 // number, [1, 1, 0, 1], threads=2, window=9)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_has_not_begun_is_cancelled_when_the_caller_stops() -> None:
    begun, gate = [], threading.Event()

    def wait(number: int) -> int:
        begun.append(number)
        if number:
            gate.wait(5)
        return number

    results = prefetch_map(wait, range(50), threads=2, window=20)
    assert next(results) == 0
    threading.Timer(0.1, gate.set).start()
    results.close()
    assert len(begun) < 10


def test_an_iterator_is_read_in_one_thread_no_further_ahead_than_asked() -> None:
    readers = set()
    read = []

    def items() -> Iterator[int]:
        for number in range(5):
            readers.add(threading.get_ident())
            read.append(number)
            yield number

    results = prefetch(items(), ahead=2)
    assert next(results) == 0
    time.sleep(0.05)
    assert read == [0, 1, 2]
    assert list(results) == [1, 2, 3, 4]
    assert len(readers) == 1
    assert readers != {threading.get_ident()}


def test_an_iterators_error_comes_after_the_items_before_it() -> None:
    results = prefetch((1 // number for number in (1, 1, 0, 1)), ahead=3)
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
