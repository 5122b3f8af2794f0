"""Listing a bucket: page by page, and on AWS, where there are many objects, in several ranges of keys at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import count, islice, zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# (key, size in bytes, ETag without quotes)
Object = tuple[str, int, str]

# Pages of a thousand keys that are read one by one before the search for ranges pays.
_SEQUENTIAL_PAGES = 10
_THREADS = 8
_MAX_RANGES = 64
# Folders bound the ranges. They are searched for so many levels down, and in so many pages a folder.
_MAX_DEPTH = 3
_MAX_FOLDER_PAGES = 5


def list_objects(client: S3Client, bucket: str, prefix: str, ranges: bool) -> Iterator[Object]:
    """List every object whose key begins with a prefix, in no particular order.

    Memory is bounded: at most one page of a thousand keys is held for each range that is being read.

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
    last, token = "", None
    for _ in range(_SEQUENTIAL_PAGES) if ranges else count():
        page = _page(client, bucket, prefix, token=token)
        found = _objects(page)
        yield from found
        token = page.get("NextContinuationToken")
        if token is None:
            return
        last = found[-1][0] if found else last
    yield from _list_in_ranges(client, bucket, prefix, last)


def _list_in_ranges(client: S3Client, bucket: str, prefix: str, after: str) -> Iterator[Object]:
    """The objects after ``after``, by several listings at once, each of its own range of keys."""
    folders = _find_folders(client, bucket, prefix, after)
    step = max(1, len(folders) // _MAX_RANGES)
    bounds = [after, *folders[step - 1 :: step]]
    ranges = iter([(low, high, None) for low, high in zip_longest(bounds, bounds[1:])])

    def next_page(
        low: str, high: str | None, token: str | None
    ) -> tuple[list[Object], tuple[str, str | None, str] | None]:
        page = _page(client, bucket, prefix, token=token, after=low)
        found = _objects(page)
        within = [item for item in found if high is None or item[0] <= high]
        token = page.get("NextContinuationToken")
        return within, (low, high, token) if token and len(within) == len(found) else None

    with ThreadPoolExecutor(_THREADS) as pool:
        waiting = {pool.submit(next_page, *bounds) for bounds in islice(ranges, _THREADS)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                found, rest = future.result()
                following = rest or next(ranges, None)
                if following is not None:
                    waiting.add(pool.submit(next_page, *following))
                yield from found


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
