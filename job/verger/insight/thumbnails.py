"""Small pictures of a few photographs, for the page: bounded in number, bytes and seconds."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from verger.access.storage import storage_of
from verger.errors import Rejection, VergerError
from verger.photographs.images import thumbnail

EDGE = 96
"""Longer edge, pixels."""

MAX_BYTES = 3_200_000
"""Of all of them, as text in the page."""

SECONDS = 3.0
"""After which no further photograph is read: the page is not worth more of a run's time."""

_READERS = 8


def read(photographs: Iterable[tuple[str, str]], seconds: float = SECONDS) -> dict[str, str]:
    """Thumbnails of photographs, those that matter most first.

    Parameters
    ----------
    photographs : iterable of (str, str)
        Path and version. What is gone or has changed since has no thumbnail.
    seconds : float
        After which no further photograph is read.

    Returns
    -------
    dict
        A ``data:`` URI by path.
    """
    wanted = dict(photographs)
    ends, left = time.monotonic() + seconds, MAX_BYTES
    found: dict[str, str] = {}
    with ThreadPoolExecutor(_READERS) as pool:
        made = pool.map(lambda item: None if time.monotonic() > ends else _picture(*item), wanted.items())
        for path, uri in zip(wanted, made, strict=True):
            if uri and len(uri) <= left:
                found[path] = uri
                left -= len(uri)
    return found


def _picture(path: str, version: str) -> str | None:
    try:
        small = thumbnail(storage_of(path).read_version(path, version), EDGE)
    except (Rejection, VergerError, OSError):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(small).decode()
