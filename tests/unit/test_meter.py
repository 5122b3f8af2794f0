"""meter: rate and time left, of counts as extractions make them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from verger.meter import Meter, TimeLeft

POLL_S = 0.5  # the extraction sets the counts so often


def polls(arrivals: list[tuple[float, int]], until: float) -> Iterator[tuple[float, int]]:
    """The count at each poll, where each arrival is a time and a number of photographs."""
    for number in range(int(until / POLL_S) + 1):
        now = number * POLL_S
        yield now, sum(photographs for at, photographs in arrivals if at <= now)


def times_left(total: int, arrivals: list[tuple[float, int]], until: float) -> dict[float, float]:
    """The time left at each poll from the first at which it is known."""
    estimate, found = TimeLeft(total), {}
    for now, done in polls(arrivals, until):
        estimate.set(now, done)
        if (left := estimate.seconds(now)) is not None:
            found[now] = left
    return found


def two_workers(tasks: int, task_s: float, photographs: int, start: float, offset: float) -> list[tuple[float, int]]:
    """Tasks of two workers, each of which is told of as it ends; the second begins later."""
    return [
        (start + worker * offset + (task + 1) * task_s, photographs) for worker in range(2) for task in range(tasks)
    ]


# Recorded at local[2]: every two seconds the executor's heartbeat tells of some batches of 32.
HEARTBEATS = [
    (18.0 + 2 * number, 32 * batches)
    for number, batches in enumerate([1, 3, 4, 4, 5, 3, 4, 4, 4, 5, 4, 3, 4, 5, 4] * 6)
]
SEQUENCES = {
    "heartbeats": HEARTBEATS,
    "tasks of two workers in turn": two_workers(12, 10.0, 512, 18.0, 5.0),
    "tasks of two workers almost at once": two_workers(12, 10.0, 512, 18.0, 0.6),
    "one slow core": [(30.0 + 4.6 * number, 32) for number in range(60)],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_time_left_shrinks_steadily(name: str) -> None:
    arrivals = SEQUENCES[name]
    total, end = sum(photographs for _, photographs in arrivals), max(at for at, _ in arrivals)
    found = times_left(total, arrivals, end + POLL_S)
    first = min(at for at, _ in arrivals)
    settled = {now: left for now, left in found.items() if now > first + (end - first) / 4}
    assert len(settled) > 50
    shown = list(settled.values())
    assert all(after <= before for before, after in itertools.pairwise(shown))
    assert max(before - after for before, after in itertools.pairwise(shown[:-1])) < 4 * POLL_S
    # And it is about right.
    assert all(abs(now + left - end) < 0.15 * (end - first) for now, left in settled.items())
    assert shown[-1] == 0


@pytest.mark.parametrize("name", SEQUENCES)
def test_the_first_estimates_are_of_the_right_size_although_the_start_took_long(name: str) -> None:
    arrivals = SEQUENCES[name]
    total, end = sum(photographs for _, photographs in arrivals), max(at for at, _ in arrivals)
    found = times_left(total, arrivals, end + POLL_S)
    now = sorted(found)[20]  # ten seconds after the first one
    assert 0.5 * (end - now) < found[now] < 2 * (end - now)


def test_it_is_unknown_until_photographs_have_arrived_twice() -> None:
    found = times_left(1000, [(20.0, 32), (25.0, 32), (30.0, 32)], 30.0)
    assert min(found) == 25.0


def test_after_a_change_of_the_rate_it_follows_within_a_fifth_of_the_time_left() -> None:
    fast = [(float(second), 100) for second in range(1, 61)]
    slow = [(60.0 + second, 50) for second in range(1, 121)]
    left = times_left(20_000, fast + slow, 180.0)
    assert 130 < left[60.0] < 150  # 14,000 at 100 a second
    assert 140 < left[180.0] < 200  # 8,000 at 50 a second take 160


def test_where_no_photograph_arrives_any_more_it_grows() -> None:
    left = times_left(10_000, [(float(second), 100) for second in range(1, 31)], 150.0)
    assert left[150.0] > left[90.0] > left[60.0] > 70


def test_a_repeated_wave_does_not_make_it_negative_or_unknown() -> None:
    estimate = TimeLeft(1000)
    for now, done in ((1.0, 100), (2.0, 200), (3.0, 300), (4.0, 100), (5.0, 200)):
        estimate.set(now, done)
    assert (left := estimate.seconds(5.0)) is not None and 4 < left < 16


def test_it_is_zero_only_at_the_end() -> None:
    estimate = TimeLeft(300)
    estimate.set(1.0, 100)
    estimate.set(6.0, 299)
    assert estimate.seconds(100.0) == 1.0
    estimate.set(101.0, 300)
    assert estimate.seconds(101.0) == 0.0


def test_the_rate_leaves_out_the_time_before_the_first_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("verger.meter.time.monotonic", lambda: clock[0])
    meter = Meter(1000)
    for clock[0], done in ((10.0, 0), (20.0, 32), (22.0, 96), (24.0, 160)):
        meter.set(done, 0)
    assert meter.fields()["photographs_per_s"] == 32.0


def test_one_arrival_alone_has_a_rate_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("verger.meter.time.monotonic", lambda: clock[0])
    meter = Meter(40)
    clock[0] = 8.0
    meter.set(40, 0)
    assert meter.fields()["photographs_per_s"] == 5.0


def test_a_task_that_ran_twice_does_not_make_more_than_all() -> None:
    meter = Meter(40)
    meter.set(72, 0)
    assert meter.fields()["done"] == 40
