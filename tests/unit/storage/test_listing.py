"""storage/listing: every key is listed once, however its folders are nested, with few pages in memory."""

from __future__ import annotations

import bisect
import itertools
import threading
import time
from typing import Any

import pytest

from verger.storage import listing

PAGE = 10


class Bucket:
    """A client of one bucket that lists as S3 does, some keys a page, and records the requests."""

    def __init__(self, keys: list[str], latency: float = 0.0) -> None:
        self._keys = sorted(keys)
        self._latency = latency
        self._lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.served: set[str] = set()
        self.at_once = self._now = self.all_at_once = 0

    def list_objects_v2(
        self, Bucket: str, Prefix: str, StartAfter: str = "", ContinuationToken: str = "", Delimiter: str = ""
    ) -> dict[str, Any]:
        with self._lock:
            self.requests.append({"Prefix": Prefix, "Delimiter": Delimiter, "after": StartAfter or ContinuationToken})
            self._now += 1
            self.at_once = max(self.at_once, self._now)
            self.all_at_once += self._now
        time.sleep(self._latency)
        try:
            return self._page(Prefix, ContinuationToken or StartAfter, Delimiter)
        finally:
            with self._lock:
                self._now -= 1

    def _page(self, prefix: str, after: str, delimiter: str) -> dict[str, Any]:
        after_all = bisect.bisect_right(self._keys, after)
        keys = [key for key in self._keys[after_all:] if key.startswith(prefix)]
        if delimiter:  # a folder counts as one, and a page that ends with it continues after the whole folder
            keys = [key for key in keys if not (after.endswith(delimiter) and key.startswith(after))]
        names = {self._name(key, prefix, delimiter): None for key in keys}
        page, rest = list(itertools.islice(names, PAGE)), len(names) > PAGE
        with self._lock:
            self.served.update(() if delimiter else page)
        return {
            "Contents": [{"Key": name, "Size": len(name), "ETag": f'"{name}"'} for name in page if name in keys],
            "CommonPrefixes": [{"Prefix": name} for name in page if name not in keys],
            **({"NextContinuationToken": page[-1]} if rest else {}),
        }

    @staticmethod
    def _name(key: str, prefix: str, delimiter: str) -> str:
        below, found, _ = key.removeprefix(prefix).partition(delimiter) if delimiter else (key, "", "")
        return prefix + below + found if found else key


def listed(bucket: Bucket, prefix: str = "in/", ranges: bool = True) -> list[str]:
    return [key for key, _, _ in listing.list_objects(bucket, "bucket", prefix, ranges)]  # type: ignore[arg-type]


def numbered(folder: str, count: int) -> list[str]:
    return [f"{folder}/{number:05d}.jpg" for number in range(count)]


SHAPES = {
    "empty": [],
    "a few": numbered("in", 25),
    "exactly the sequential pages": numbered("in", PAGE * listing._SEQUENTIAL_PAGES),
    "flat": numbered("in", 400),
    "few folders": [key for label in "abc" for key in numbered(f"in/{label}", 150)],
    "many folders": [key for label in range(300) for key in numbered(f"in/label {label}", 3)],
    "a page of folders and more": [key for label in range(90) for key in numbered(f"in/{label}", 5)],
    "deep": [
        key
        for year, days in ((2024, 20), (2025, 30))
        for day in range(days)
        for key in numbered(f"in/{year}/{day}/x/y/z", 6)
    ],
    "one folder down": numbered("in/Training", 400),
    "one large and many small": [*numbered("in/a", 300), *(f"in/{label}/x.jpg" for label in range(200))],
    "odd": [
        *numbered("in/a b%20", 130),
        *(f"in/{name}{number}" for name in ("é/", "🍑", "梨/梨/", "a+b/", "a-", "a/", "a", "/") for number in range(9)),
        *("in/", "in/a/", "in/z/"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_every_key_is_listed_once_and_in_order(shape: str) -> None:
    elsewhere = ["i", "in", "in.jpg", "inner/x.jpg", *numbered("out", 40)]
    bucket = Bucket([*SHAPES[shape], *elsewhere])
    assert listed(bucket) == sorted(SHAPES[shape])
    assert listed(bucket, "") == sorted([*SHAPES[shape], *elsewhere])
    assert listed(bucket, "nowhere/") == []


def test_size_and_etag_are_listed_too() -> None:
    bucket = Bucket(["in/x.jpg"])
    assert list(listing.list_objects(bucket, "bucket", "in/", True)) == [("in/x.jpg", 8, "in/x.jpg")]  # type: ignore[arg-type]


def test_a_small_bucket_takes_one_request_a_page() -> None:
    bucket = Bucket(numbered("in", 3 * PAGE))
    listed(bucket)
    assert len(bucket.requests) == 3


@pytest.mark.parametrize("shape", ["many folders", "deep", "one large and many small"])
def test_a_large_bucket_is_listed_in_ranges_bounded_by_its_folders(shape: str) -> None:
    bucket = Bucket(SHAPES[shape])
    listed(bucket)
    objects = [request for request in bucket.requests if not request["Delimiter"]]
    starts = {request["after"] for request in objects if request["after"].endswith("/")}
    assert len(starts) >= listing._THREADS
    assert len(objects) <= len(SHAPES[shape]) / PAGE + 2 * len(starts) + 2  # a range's first and last page may be short


@pytest.mark.parametrize("pages", [1, 4, 24, 200])
@pytest.mark.parametrize("shape", ["many folders", "large folders"])
def test_few_pages_are_held_in_memory(monkeypatch: pytest.MonkeyPatch, pages: int, shape: str) -> None:
    large = [key for label in range(40) for key in numbered(f"in/{label}", 100)]
    bucket, waiting = Bucket(large if shape == "large folders" else SHAPES[shape]), []
    monkeypatch.setattr(listing, "_MAX_PAGES_AHEAD", pages)
    for taken, _ in enumerate(listing.list_objects(bucket, "bucket", "in/", True)):  # type: ignore[arg-type]
        waiting.append(len(bucket.served) - taken)
    # The pages ahead, the one that is being read, and what each range's last page has of the next range.
    assert max(waiting) <= (pages + 2 + min(pages + 1, listing._THREADS)) * PAGE
    assert taken + 1 == len(bucket._keys)
    assert bucket.at_once <= listing._THREADS


def test_what_is_read_ahead_does_not_grow_while_nobody_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MAX_PAGES_AHEAD", 20)
    bucket = Bucket([key for label in range(40) for key in numbered(f"in/{label}", 100)])
    objects = listing.list_objects(bucket, "bucket", "in/", True)  # type: ignore[arg-type]
    taken = list(itertools.islice(objects, PAGE * listing._SEQUENTIAL_PAGES + 1))
    time.sleep(0.1)
    before = len(bucket.requests)
    time.sleep(0.1)
    assert len(bucket.requests) == before
    assert [key for key, _, _ in itertools.chain(taken, objects)] == sorted(bucket._keys)


def test_ranges_are_read_at_once() -> None:
    """160 pages in 40 folders."""
    bucket = Bucket([key for label in range(40) for key in numbered(f"in/{label:02}", 40)], latency=0.02)
    assert listed(bucket) == bucket._keys
    assert bucket.all_at_once / len(bucket.requests) > 4  # on average; the first pages are read one by one


def test_many_small_folders_share_a_range() -> None:
    bucket = Bucket([key for label in range(3000) for key in numbered(f"in/{label:04}", 2)])
    assert listed(bucket) == bucket._keys
    assert len(bucket.requests) < 1.5 * len(bucket._keys) / PAGE


def test_an_error_ends_the_listing() -> None:
    bucket = Bucket(SHAPES["many folders"])
    page = bucket._page

    def fails(prefix: str, after: str, delimiter: str) -> dict[str, Any]:
        if len(bucket.requests) > 50:
            raise ConnectionError
        return page(prefix, after, delimiter)

    bucket._page = fails  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        listed(bucket)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_store_that_is_not_aws_is_listed_by_continuation_tokens_only(shape: str) -> None:
    bucket = Bucket(SHAPES[shape])
    assert sorted(listed(bucket, ranges=False)) == [key for key in sorted(SHAPES[shape]) if key.startswith("in/")]
    assert bucket.at_once == 1
    assert {requests["Delimiter"] for requests in bucket.requests} == {""}
