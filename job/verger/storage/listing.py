"""Listing a bucket: one page after the other, and on AWS, where there are many, in ranges of names at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import count, islice, zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# (key, size in bytes, ETag without quotes)
Object = tuple[str, int, str]

# Pages of a thousand keys that are read one by one before it pays to look for ranges.
_FEW_PAGES = 10
_LISTERS = 8
_RANGES = 64
# How far down, and how long, folders are looked for that could bound ranges.
_DEPTH = 3
_FOLDER_PAGES = 5


def objects(client: S3Client, bucket: str, prefix: str, ranges: bool) -> Iterator[Object]:
    """Every object whose key begins with ``prefix``, in no order.

    Memory is bounded: at most one page of a thousand keys waits for each of the ranges that are being read.

    Parameters
    ----------
    client : S3Client
    bucket, prefix : str
    ranges : bool
        Whether StartAfter can be relied upon. MinIO (2026-02-12) answers it with an empty last page where a folder "X"
        stands beside a large "X Red", whose objects come before X's.
    """
    last, token = "", None
    for _ in range(_FEW_PAGES) if ranges else count():
        page = _page(client, bucket, prefix, token=token)
        found = _objects(page)
        yield from found
        token = page.get("NextContinuationToken")
        if token is None:
            return
        last = found[-1][0] if found else last
    yield from _in_ranges(client, bucket, prefix, last)


def _in_ranges(client: S3Client, bucket: str, prefix: str, after: str) -> Iterator[Object]:
    """The objects after ``after``, by several listings at once that share out the names between them."""
    folders = _folders(client, bucket, prefix, after)
    step = max(1, len(folders) // _RANGES)
    bounds = [after, *folders[step - 1 :: step]]
    ranges = iter([(low, high, None) for low, high in zip_longest(bounds, bounds[1:])])

    def one(low: str, high: str | None, token: str | None) -> tuple[list[Object], tuple[str, str | None, str] | None]:
        page = _page(client, bucket, prefix, token=token, after=low)
        found = _objects(page)
        within = [item for item in found if high is None or item[0] <= high]
        token = page.get("NextContinuationToken")
        return within, (low, high, token) if token and len(within) == len(found) else None

    with ThreadPoolExecutor(_LISTERS) as pool:
        waiting = {pool.submit(one, *bounds) for bounds in islice(ranges, _LISTERS)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                found, rest = future.result()
                following = rest or next(ranges, None)
                if following is not None:
                    waiting.add(pool.submit(one, *following))
                yield from found


def _folders(client: S3Client, bucket: str, prefix: str, after: str) -> list[str]:
    """Folders after ``after``, sorted: some levels down where there are few."""
    found = [prefix]
    for _ in range(_DEPTH):
        below = [name for folder in found for name in _subfolders(client, bucket, folder, after)]
        if not below:
            break
        found = below
        if len(found) >= _LISTERS:
            break
    return sorted(name for name in found if name > after)


def _subfolders(client: S3Client, bucket: str, prefix: str, after: str) -> Iterator[str]:
    token = None
    for _ in range(_FOLDER_PAGES):  # a folder of a million photographs and no folder is no help
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
