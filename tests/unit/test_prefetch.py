"""Results that are computed before they are needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from verger.prefetch import prefetch_map


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
