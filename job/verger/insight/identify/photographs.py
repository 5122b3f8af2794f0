"""The photographs that are asked for: files and objects, and those below a folder, read and decoded."""

from __future__ import annotations

import os
from collections.abc import Iterator

from verger.errors import NothingToReadError, Rejection, VergerError
from verger.network.backbones import Network
from verger.photographs import images, inventory
from verger.photographs.suffixes import SUFFIXES
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name

Outcome = images.Decoded | Rejection | VergerError
"""A decoded photograph, or why it cannot be decoded or read."""


def expand_folders(uris: list[str], stores: Stores) -> Iterator[tuple[str, VergerError | None]]:
    """Replace folders by the photographs below them.

    Parameters
    ----------
    uris : list of str
        Canonical: files, objects or folders.
    stores : Stores
        That they are in.

    Yields
    ------
    path : str
        Of a photograph, or of a folder that cannot be listed.
    error : VergerError or None
        Why it cannot.
    """
    for uri in uris:
        try:
            if not _is_folder(uri, stores):
                yield uri, None
                continue
            for batch in inventory.take(uri, stores).photographs.batches(["path"]):
                yield from ((path, None) for path in batch["path"].to_pylist())
        except VergerError as error:
            yield uri, error


def _is_folder(uri: str, stores: Stores) -> bool:
    """In a bucket, a folder is a name with objects below it: an object's name needs no image's suffix."""
    if bucket_name(uri) is None:
        return os.path.isdir(uri)
    if uri.lower().endswith(SUFFIXES):
        return False
    storage = stores.of(uri)
    try:
        return next(iter(storage.list(uri)), None) is not None or not storage.exists(uri)
    except NothingToReadError:
        return not storage.exists(uri)


def read_photograph(item: tuple[str, VergerError | None], network: Network, stores: Stores) -> tuple[str, Outcome]:
    """Read and decode a photograph as a run does.

    Parameters
    ----------
    item : (str, VergerError or None)
        Of `expand_folders`.
    network : Network
        Whose input size, resampling, fit and decoding the photograph is decoded for.
    stores : Stores
        That the photograph is in.

    Returns
    -------
    path : str
        Of the item.
    outcome : Decoded, Rejection or VergerError
        Errors are returned, not raised.
    """
    path, error = item
    if error is not None:
        return path, error
    try:
        data = stores.of(path).read(path)
        return path, images.decode(data, network.input_size, network.resample, network.fit, network.decode)
    except (Rejection, VergerError) as failure:
        return path, failure
