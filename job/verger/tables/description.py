"""What computed the features of a fingerprint: fingerprint.json, and weights.npz where there are weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from verger.storage.base import AlreadyPublishedError, Storage
from verger.storage.uri import join


def describe(
    storage: Storage, output: str, fingerprint: str, description: dict[str, Any], weights: Callable[[], bytes] | None
) -> None:
    """Write once what computed the features.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    fingerprint : str
        Folder name that identifies network, weights and preprocessing.
    description : dict
        Content of fingerprint.json.
    weights : callable, optional
        Returns the content of weights.npz; None where there are no weights.
    """
    _write_once(storage, find(storage, output, fingerprint, "fingerprint.json"), lambda: _as_json(description))
    if weights is not None:
        _write_once(storage, find(storage, output, fingerprint, "weights.npz"), weights)


def _as_json(description: dict[str, Any]) -> bytes:
    return (json.dumps(description, indent=2) + "\n").encode()


def _write_once(storage: Storage, path: str, content: Callable[[], bytes]) -> None:
    if not storage.exists(path):
        with suppress(AlreadyPublishedError):  # another run has just written the same content
            storage.publish_once(path, content())


def find(storage: Storage, output: str, fingerprint: str, name: str) -> str:
    """The path of fingerprint.json or weights.npz, whether it exists or not.

    They are not beside the features, as many readers take every file of a table's folder. In older outputs they are,
    and stay there.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    fingerprint : str
        As for `describe`.
    name : str
        Of the file.

    Returns
    -------
    str
        Canonical.
    """
    path, beside = join(output, "fingerprints", fingerprint, name), join(output, "features", fingerprint, name)
    return beside if not storage.exists(path) and storage.exists(beside) else path
