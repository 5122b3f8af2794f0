"""The buckets of this process, and how each is reached; light, for what never touches one imports it too."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Bucket:
    """How one bucket is reached. No secret is in it: workers find the keys themselves.

    Attributes
    ----------
    name : str
    region : str, optional
        Where the store says it stands; requests are signed for it.
    endpoint_url : str, optional
        None for AWS's own endpoint of the region.
    path_style : bool
        The name goes into the path and not into the host's name.
    ca_bundle : str, optional
        PEM file with which the store's certificate is checked.
    """

    name: str
    region: str | None = None
    endpoint_url: str | None = None
    path_style: bool = False
    ca_bundle: str | None = None

    @property
    def is_aws(self) -> bool:
        """Whether the endpoint is AWS's, so that AWS's region names mean what they say."""
        return is_aws(self.endpoint_url)

    @property
    def host(self) -> str:
        """Host and port of the endpoint, for people."""
        return urlsplit(self.endpoint_url).netloc if self.endpoint_url else "AWS"


def is_aws(endpoint_url: str | None) -> bool:
    """Whether an endpoint is one of AWS's: declared otherwise or not, these hosts are."""
    host = (urlsplit(endpoint_url).hostname or "") if endpoint_url else "amazonaws.com"
    return re.search(r"(^|\.)amazonaws\.(com|eu|com\.cn)\.?$", host) is not None


PATIENCE_S = 60
"""How long a store may be silent: one that restarts is back within this."""

HURRY = threading.Event()
"""While it is set, no client waits for a store that does not answer: the run is over, whatever the store says."""

_connected: dict[str, Bucket] = {}


def connect(bucket: Bucket) -> None:
    """From now on this process reaches ``bucket.name`` so."""
    _connected[bucket.name] = bucket


def connected() -> tuple[Bucket, ...]:
    """What was connected: executors are told of it."""
    return tuple(_connected.values())


def known(name: str) -> Bucket | None:
    """How ``name`` was connected, if it was."""
    return _connected.get(name)
