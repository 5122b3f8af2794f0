"""The stores of one command: which buckets it reaches, and how."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from verger.storage.base import Storage
from verger.storage.buckets import Bucket
from verger.storage.uri import S3, bucket_name, canonical

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from verger.storage.clients import Clients


class Stores:
    """What one command knows of its stores; it is passed to whatever reads or writes. Threads may share it.

    boto3 is imported when the first bucket is asked for.

    Parameters
    ----------
    buckets : iterable of Bucket
        How buckets are reached that are known already, as in a Python worker; of any other bucket AWS's own variables
        and files say it.

    Attributes
    ----------
    fail_fast : threading.Event
        While it is set, nothing waits for a store that does not answer: the run is over, whatever the store says.
    patience_s : float
        How long a store may be silent, seconds: one that restarts is back within this.
    """

    patience_s = 60.0

    def __init__(self, buckets: Iterable[Bucket] = ()) -> None:
        self.fail_fast = threading.Event()
        self._buckets = {bucket.name: bucket for bucket in buckets}
        self._clients: Clients | None = None

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets that have been connected: executors are told of them."""
        return tuple(self._buckets.values())

    def connect(self, bucket: Bucket) -> None:
        """Reach ``bucket.name`` so from now on."""
        self._buckets[bucket.name] = bucket

    def bucket(self, name: str) -> Bucket:
        """How a bucket was connected, else how the environment says.

        Raises
        ------
        UsageError
            A profile, region or file that is named there does not exist.
        """
        if name in self._buckets:
            return self._buckets[name]
        from verger.storage.credentials import resolve

        return resolve(name)

    def client(self, bucket: Bucket, patient: bool = True) -> S3Client:
        """The boto3 client of a bucket; see `verger.storage.clients.Clients`."""
        if self._clients is None:
            from verger.storage.clients import Clients

            self._clients = Clients(self.fail_fast, self.patience_s)
        return self._clients.client(bucket, patient)

    def of(self, uri: str) -> Storage:
        """The store that holds a place.

        Parameters
        ----------
        uri : str
            A local path, or a URI.

        Raises
        ------
        UsageError
            The URI names no place, or AWS's variables and files are wrong.
        """
        # What a bucket has listed may be named as no user may name a place: AWS lets '..' stand in a key.
        name = bucket_name(uri if uri.startswith(S3) else canonical(uri))
        if name is None:
            from verger.storage.local import LocalStorage

            return LocalStorage()
        from verger.storage.s3 import S3Storage

        bucket = self.bucket(name)
        return S3Storage(bucket, lambda: self.client(bucket))
