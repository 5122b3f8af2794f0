"""The photographs that are asked for: files and objects, and those below a folder, read and decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator

from verger.errors import NothingToReadError, Rejection, VergerError
from verger.network.backbones import Network
from verger.photographs import images, inventory
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name

BATCH = 16
"""Photographs a network call."""

Outcome = images.Decoded | Rejection | VergerError


def expanded(places: list[str], stores: Stores) -> Iterator[tuple[str, VergerError | None]]:
    """Files and objects as they are, folders as the photographs below them; with what is wrong with a folder."""
    for place in places:
        try:
            if not _is_folder(place, stores):
                yield place, None
                continue
            yield from ((path, None) for path in inventory.take(place, stores).photographs["path"].to_pylist())
        except VergerError as error:
            yield place, error


def _is_folder(place: str, stores: Stores) -> bool:
    """In a bucket only what lies below a name tells: an object's need not end as an image's."""
    if bucket_name(place) is None:
        return os.path.isdir(place)
    if place.lower().endswith(inventory.SUFFIXES):
        return False
    storage = stores.of(place)
    try:
        return next(iter(storage.list(place)), None) is not None or not storage.exists(place)
    except NothingToReadError:
        return not storage.exists(place)


def opened(item: tuple[str, VergerError | None], network: Network, stores: Stores) -> tuple[str, Outcome]:
    """Read and decode, as a run does."""
    place, error = item
    if error is not None:
        return place, error
    try:
        data = stores.of(place).read(place)
        return place, images.decode(data, network.input_size, network.resample, network.fit)
    except (Rejection, VergerError) as failure:
        return place, failure
