"""Listing a bucket: page by page, and on AWS, where there are many objects, in several ranges of keys at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count, islice, zip_longest
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# (key, size in bytes, ETag without quotes)
Object = tuple[str, int, str]

# Pages of a thousand keys that are read one by one before the search for ranges pays.
_SEQUENTIAL_PAGES = 10
_THREADS = 8
# Pages that are read ahead of the earliest range, over all later ones: some 100 bytes a key, 50 MB in all.
_MAX_PAGES_AHEAD = 512
# A range has so many pages, as far as that can be told: few enough that all threads work within the pages ahead, and
# enough that the last page of each, which is read in part for nothing, costs little.
_PAGES_IN_RANGE = 16
# Folders bound the ranges. They are searched for so many levels down, and in so many pages a folder.
_MAX_DEPTH = 3
_MAX_FOLDER_PAGES = 5


def list_objects(client: S3Client, bucket: str, prefix: str, ranges: bool) -> Iterator[Object]:
    """List every object whose key begins with a prefix, in the order in which the store lists: that of bytes on S3.

    Memory is bounded: `_MAX_PAGES_AHEAD` pages of a thousand keys, some 50 MB, are held at most, and where there are
    no ranges one page.

    Parameters
    ----------
    client : S3Client
        Sends the requests; its errors are boto3's.
    bucket : str
        Its name.
    prefix : str
        Of keys; the empty string for all of them.
    ranges : bool
        Whether the store's StartAfter can be relied upon. MinIO (2026-02-12) answers it with an empty last page where
        a bucket has a folder "X" and a large folder "X Red", whose objects come before those of X.

    Yields
    ------
    tuple of (str, int, str)
        Key, size in bytes, and ETag without quotes.
    """
    seen: list[str] = []
    token = None
    for _ in range(_SEQUENTIAL_PAGES) if ranges else count():
        page = _page(client, bucket, prefix, token=token)
        found = _objects(page)
        yield from found
        token = page.get("NextContinuationToken")
        if token is None:
            return
        seen += [key for key, _, _ in found] if ranges else []
    yield from _list_in_ranges(client, bucket, prefix, seen)


def _list_in_ranges(client: S3Client, bucket: str, prefix: str, seen: list[str]) -> Iterator[Object]:
    """The objects after those that were ``seen``, by several listings at once, each of its own range of keys."""
    after = seen[-1] if seen else ""
    folders = _find_folders(client, bucket, prefix, after)
    step = _folders_in_range(folders, seen)
    bounds = [after, *folders[step - 1 :: step]]
    unopened = (_Range(low, high) for low, high in zip_longest(bounds, bounds[1:]))
    opened: deque[_Range] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        while True:
            for range_ in opened:
                range_.take_page()
            for range_ in _next_to_read(opened, unopened):
                range_.request = pool.submit(range_.read, client, bucket, prefix)
            if not opened:
                return
            if opened[0].pages:
                yield from opened[0].next_page()
            elif opened[0].ended:
                opened.popleft()
            else:
                wait([range_.request for range_ in opened if range_.request], return_when=FIRST_COMPLETED)


@dataclass(eq=False)
class _Range:
    """The keys after one and up to another, of which some pages have been read; pages come one after the other."""

    low: str
    high: str | None
    token: str | None = None
    pages: deque[pa.RecordBatch] = field(default_factory=deque)
    request: Future[tuple[pa.RecordBatch, str | None]] | None = None
    ended: bool = False

    def read(self, client: S3Client, bucket: str, prefix: str) -> tuple[pa.RecordBatch, str | None]:
        """The next page, as columns, which take a third of the memory; and the token of the one after it."""
        page = _page(client, bucket, prefix, token=self.token, after=self.low)
        found = _objects(page)
        within = [item for item in found if self.high is None or item[0] <= self.high]
        columns = list(zip(*within, strict=True)) or [(), (), ()]
        types = (pa.string(), pa.int64(), pa.string())
        arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
        token = page.get("NextContinuationToken") if len(within) == len(found) else None
        return pa.record_batch(arrays, ["key", "size", "etag"]), token

    def take_page(self) -> None:
        """Take the page that was requested, if it is there."""
        if self.request is not None and self.request.done():
            page, self.token = self.request.result()
            if page.num_rows:
                self.pages.append(page)
            self.request, self.ended = None, self.token is None

    def next_page(self) -> Iterator[Object]:
        """The objects of the earliest page, which is held no more."""
        return zip(*(column.to_pylist() for column in self.pages.popleft()), strict=True)


def _next_to_read(opened: deque[_Range], unopened: Iterator[_Range]) -> Iterator[_Range]:
    """The ranges of which a page is to be requested now: the earliest ones. The first is read in any case."""
    threads = _THREADS - sum(range_.request is not None for range_ in opened)
    ahead = _MAX_PAGES_AHEAD - sum(len(range_.pages) + (range_.request is not None) for range_ in opened)
    for number in count():
        if number == len(opened):
            opened.extend(islice(unopened, 1))
        if number == len(opened) or threads <= 0 or (ahead <= 0 and (number or opened[0].pages)):
            return
        if opened[number].request is None and not opened[number].ended:
            threads, ahead = threads - 1, ahead - 1
            yield opened[number]


def _folders_in_range(folders: list[str], seen: list[str]) -> int:
    """How many folders a range has, judged by how many of them were in the pages that were seen.

    There are two ranges a thread at least, where there are so many folders.
    """
    if not folders:
        return 1
    depth = folders[0].count("/")
    passed = len({"/".join(key.split("/")[:depth]) for key in seen})
    return max(1, min(passed * _PAGES_IN_RANGE // _SEQUENTIAL_PAGES, len(folders) // (2 * _THREADS)))


def _find_folders(client: S3Client, bucket: str, prefix: str, after: str) -> list[str]:
    """Folders after ``after``, sorted. Where there are few, those some levels down."""
    found = [prefix]
    for _ in range(_MAX_DEPTH):
        below = [name for folder in found for name in _subfolders(client, bucket, folder, after)]
        if not below:
            break
        found = below
        if len(found) >= _THREADS:
            break
    return sorted(name for name in found if name > after)


def _subfolders(client: S3Client, bucket: str, prefix: str, after: str) -> Iterator[str]:
    token = None
    for _ in range(_MAX_FOLDER_PAGES):  # a folder may have a million photographs and no subfolder
        page = _page(client, bucket, prefix, token=token, after=after, Delimiter="/")
        yield from (folder["Prefix"] for folder in page.get("CommonPrefixes", []))
        token = page.get("NextContinuationToken")
        if token is None:
            return


def _page(
    client: S3Client, bucket: str, prefix: str, token: str | None = None, after: str = "", **more: Any
) -> dict[str, Any]:
    where = {"ContinuationToken": token} if token else {"StartAfter": after} if after else {}
    return dict(client.list_objects_v2(Bucket=bucket, Prefix=prefix, **where, **more))  # type: ignore[arg-type]


def _objects(page: dict[str, Any]) -> list[Object]:
    return [(item["Key"], item["Size"], item["ETag"].strip('"')) for item in page.get("Contents", [])]
