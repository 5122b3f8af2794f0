"""Small pictures of a few photographs, for the page: bounded in number, bytes, memory and seconds."""

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
"""Of all of them, as text in the page."""

SECONDS = 3.0
"""After which no further photograph is read or decoded: the page is not worth more of a run's time."""

MAX_PIXELS = 25_000_000
"""Of a photograph that must be decoded whole, as all but most JPEGs: a second's work. Phones take 24 megapixels."""

MAX_FILE = 40_000_000
"""Bytes of a photograph, of which eight are in memory at once."""

_READERS = 8


@dataclass
class Counts:
    """How many pictures there were to be, and what became of them.

    Attributes
    ----------
    wanted : int
        Photographs that were asked for.
    read : int
        Those of them that have a picture.
    left_out : int
        Those that were not looked at, or have no picture, as they are too large or there was no time or room left.
        The others are gone, have changed or cannot be read.
    """

    wanted: int = 0
    read: int = 0
    left_out: int = 0


def read(
    stores: Stores, photographs: Iterable[tuple[str, str]], seconds: float = SECONDS, counts: Counts | None = None
) -> dict[str, str]:
    """Thumbnails of photographs, those that matter most first.

    Parameters
    ----------
    stores : Stores
    photographs : iterable of (str, str)
        Path and version. What is gone or has changed since has no thumbnail.
    seconds : float
        After which no further photograph is read or decoded.
    counts : Counts, optional
        Told how many there are, and why not more.

    Returns
    -------
    dict
        A ``data:`` URI by path.
    """
    wanted, counts = dict(photographs), counts or Counts()
    ends, left = time.monotonic() + seconds, MAX_BYTES
    found: dict[str, str] = {}
    turn = Semaphore(available_cores())  # more at once would be no faster, and many would be under way at the end
    with ThreadPoolExecutor(_READERS) as pool:
        made = pool.map(lambda item: _picture(stores, item[0], item[1], ends, turn), wanted.items())
        for path, uri in zip(wanted, made, strict=True):
            if uri and len(uri) <= left:
                found[path] = uri
                left -= len(uri)
            elif uri is not None:
                counts.left_out += 1
    counts.wanted, counts.read = len(wanted), len(found)
    return found


def _picture(stores: Stores, path: str, version: str, ends: float, turn: Semaphore) -> str | None:
    """A thumbnail's URI; '' where it is left out, and None where it cannot be read."""
    if time.monotonic() > ends or _bytes(version) > MAX_FILE:
        return ""
    try:
        data = stores.of(path).read_version(path, version)
        with turn:
            if time.monotonic() > ends:
                return ""
            small = thumbnail(data, EDGE, most=MAX_PIXELS)
    except Rejection as rejection:
        return "" if rejection.reason is Reason.TOO_LARGE else None
    except (VergerError, OSError):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()


def _bytes(version: str) -> int:
    """The size, which ends every version."""
    size = version.rpartition("-")[2]
    return int(size) if size.isdecimal() else 0
