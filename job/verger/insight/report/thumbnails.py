"""Thumbnails of a few photographs, for the page: bounded in number, bytes, memory and seconds."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Semaphore

from verger.cores import available_cores
from verger.errors import Reason, Rejection, VergerError
from verger.photographs.images import thumbnail
from verger.storage.stores import Stores

EDGE = 96
"""Longer edge, pixels."""

MAX_BYTES = 3_200_000
"""Of all thumbnails together, as text in the page."""

MAX_SECONDS = 3.0
"""After which no further photograph is read or decoded."""

MAX_PIXELS = 25_000_000
"""Of a photograph that must be decoded whole, as all but most JPEGs: a second's work. Phones take 24 megapixels."""

MAX_FILE_BYTES = 40_000_000
"""Of a photograph; eight are in memory at once."""

_READERS = 8
_LEFT_OUT = ""


@dataclass
class ThumbnailCounts:
    """How many thumbnails were wanted, and how many there are.

    Attributes
    ----------
    wanted : int
        Photographs that were asked for.
    read : int
        Those that have a thumbnail.
    left_out : int
        Those that were not tried or have no thumbnail because they are too large, or there was no time or room left.
        The others are gone, have changed or cannot be read.
    """

    wanted: int = 0
    read: int = 0
    left_out: int = 0


def read_thumbnails(
    stores: Stores,
    photographs: Iterable[tuple[str, str]],
    seconds: float = MAX_SECONDS,
    counts: ThumbnailCounts | None = None,
) -> dict[str, str]:
    """Read photographs and make thumbnails of them.

    Parameters
    ----------
    stores : Stores
        That the photographs are in.
    photographs : iterable of (str, str)
        Path and version, the most important first. One that is gone or has changed since has no thumbnail.
    seconds : float
        Time after which no further photograph is read or decoded.
    counts : ThumbnailCounts, optional
        Is set.

    Returns
    -------
    dict of str to str
        A ``data:`` URI by path.
    """
    versions, counts = dict(photographs), counts or ThumbnailCounts()
    deadline, bytes_left = time.monotonic() + seconds, MAX_BYTES
    thumbnails: dict[str, str] = {}
    # Decoding more at once would be no faster, and leave more unfinished at the deadline.
    decoding = Semaphore(available_cores())
    with ThreadPoolExecutor(_READERS) as pool:
        uris = pool.map(lambda item: _data_uri(stores, item[0], item[1], deadline, decoding), versions.items())
        for path, uri in zip(versions, uris, strict=True):
            if uri and len(uri) <= bytes_left:
                thumbnails[path] = uri
                bytes_left -= len(uri)
            elif uri is not None:
                counts.left_out += 1
    counts.wanted, counts.read = len(versions), len(thumbnails)
    return thumbnails


def _data_uri(stores: Stores, path: str, version: str, deadline: float, decoding: Semaphore) -> str | None:
    """A thumbnail's URI; `_LEFT_OUT`, or None where the photograph cannot be read."""
    if time.monotonic() > deadline or _file_bytes(version) > MAX_FILE_BYTES:
        return _LEFT_OUT
    try:
        data = stores.of(path).read_version(path, version)
        with decoding:
            if time.monotonic() > deadline:
                return _LEFT_OUT
            small = thumbnail(data, EDGE, most=MAX_PIXELS)
    except Rejection as rejection:
        return _LEFT_OUT if rejection.reason is Reason.TOO_LARGE else None
    except (VergerError, OSError):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()


def _file_bytes(version: str) -> int:
    """The size, with which every version ends."""
    size = version.rpartition("-")[2]
    return int(size) if size.isdecimal() else 0
