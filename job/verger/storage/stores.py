"""The store that holds a place."""

from __future__ import annotations

from verger.storage.base import Storage
from verger.storage.uri import S3, bucket_name, canonical


def storage_of(uri: str) -> Storage:
    """The store that holds ``uri``; what it needs is imported when it is first asked for."""
    # What a bucket has listed may be named as no user may name a place: AWS lets '..' stand in a key.
    bucket = bucket_name(uri if uri.startswith(S3) else canonical(uri))
    if bucket is None:
        from verger.storage.local import LocalStorage

        return LocalStorage()
    from verger.storage import credentials
    from verger.storage.s3 import S3Storage

    return S3Storage(credentials.connection(bucket))
