"""How one bucket is reached; light, as commands that never touch a bucket import it too."""

from __future__ import annotations

import re
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
