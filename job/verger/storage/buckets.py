"""How one bucket is reached. Does not import boto3: commands that use no bucket import this module too."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

PART_BYTES = 16 << 20
"""From this size on an object is uploaded in parts of this size. S3 takes at most ten thousand: 160 GB."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """How one bucket is reached. It holds no secret: workers find the keys themselves.

    Attributes
    ----------
    name : str
        Without ``s3://``.
    region : str, optional
        Region that the store reports. Requests are signed for it.
    endpoint_url : str, optional
        None for AWS's own endpoint of the region.
    path_style : bool
        Whether requests have the bucket's name in the path, not in the host name.
    ca_bundle : str, optional
        PEM file with which the store's certificate is checked.
    sse : str, optional
        Server-side encryption that is asked for with every object that is written, as S3's header names it.
    sse_kms_key_id : str, optional
        ARN of the key, where ``sse`` uses KMS; None for the bucket's default key.
    requester_pays : bool
        Whether requests say that their sender pays for them.
    """

    name: str
    region: str | None = None
    endpoint_url: str | None = None
    path_style: bool = False
    ca_bundle: str | None = None
    sse: str | None = None
    sse_kms_key_id: str | None = None
    requester_pays: bool = False

    @property
    def is_aws(self) -> bool:
        """Whether the endpoint is AWS's. Only there are region names sure to be AWS's."""
        return is_aws(self.endpoint_url)

    @property
    def host(self) -> str:
        """Host and port of the endpoint, for messages."""
        return urlsplit(self.endpoint_url).netloc if self.endpoint_url else "AWS"


def is_aws(endpoint_url: str | None) -> bool:
    """Whether an endpoint is AWS's, by its host name alone: what the user declares about it does not count.

    Parameters
    ----------
    endpoint_url : str or None
        None for AWS's own endpoint.
    """
    host = (urlsplit(endpoint_url).hostname or "") if endpoint_url else "amazonaws.com"
    return re.search(r"(^|\.)amazonaws\.(com|eu|com\.cn)\.?$", host) is not None
