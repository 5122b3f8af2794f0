"""The stores of one command: which buckets it reaches, and how."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from verger.storage.base import Storage
from verger.storage.buckets import Bucket
from verger.storage.uri import S3, bucket_name, canonical

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from verger.config import StoreSettings
    from verger.storage.clients import Clients


class Stores:
    """The stores of one command. The object is passed to every function that reads or writes; threads may share it.

    boto3 is imported when the first bucket is used.

    Parameters
    ----------
    buckets : iterable of Bucket
        Buckets that are connected already, as in a Python worker.
    settings : StoreSettings, optional
        How all other buckets are reached. What it leaves open, AWS's own variables and files decide.

    Attributes
    ----------
    fail_fast : threading.Event
        While it is set, no request waits for a store that does not answer: the run has failed already.
    patience_s : float
        Seconds for which a store may fail to answer before a run gives up. A store that restarts is back by then.
    """

    patience_s = 60.0

    def __init__(self, buckets: Iterable[Bucket] = (), settings: StoreSettings | None = None) -> None:
        self.fail_fast = threading.Event()
        self._buckets = {bucket.name: bucket for bucket in buckets}
        self._settings = settings
        self._clients: Clients | None = None
        self._making = threading.Lock()

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets that have been connected. The driver sends them to the executors."""
        return tuple(self._buckets.values())

    def connect(self, bucket: Bucket) -> None:
        """Reach a bucket in this way from now on.

        Parameters
        ----------
        bucket : Bucket
            Replaces what was known of the bucket of this name.
        """
        self._buckets[bucket.name] = bucket

    def bucket(self, name: str) -> Bucket:
        """How a bucket is reached: as it was connected, else as the environment says.

        Parameters
        ----------
        name : str
            Name of the bucket.

        Returns
        -------
        Bucket
            Where it was not connected, its region is the configured one, not that which the store reports.

        Raises
        ------
        UsageError
            A profile, region or file that the environment names does not exist.
        StoreError
            The credentials are incomplete, or cannot be fetched.
        """
        if name in self._buckets:
            return self._buckets[name]
        from verger.storage.credentials import resolve

        return resolve(name, self._settings)

    def client(self, bucket: Bucket, patient: bool = True) -> S3Client:
        """The boto3 client of a bucket.

        Parameters
        ----------
        bucket : Bucket
            How it is reached; it need not be connected.
        patient : bool
            Whether the client waits for a store that restarts; see `verger.storage.clients.Clients`.

        Returns
        -------
        mypy_boto3_s3.S3Client
            The same one for each call with the same bucket and patience.
        """
        with self._making:  # else each of a worker's threads makes its own
            if self._clients is None:
                from verger.storage.clients import Clients

                self._clients = Clients(self.fail_fast, self.patience_s)
        return self._clients.client(bucket, patient)

    def of(self, uri: str) -> Storage:
        """The store that holds a file or a folder.

        Parameters
        ----------
        uri : str
            A local path or a URI.

        Returns
        -------
        Storage
            A `LocalStorage`, or the `S3Storage` of the URI's bucket.

        Raises
        ------
        UsageError
            The URI is not valid, or AWS's variables and files are wrong.
        StoreError
            The credentials are incomplete, or cannot be fetched.
        """
        # A listed key may have names that are not valid in a user's URI: AWS allows '..' in a key.
        name = bucket_name(uri if uri.startswith(S3) else canonical(uri))
        if name is None:
            from verger.storage.local import LocalStorage

            return LocalStorage()
        from verger.storage.s3 import S3Storage

        bucket = self.bucket(name)
        return S3Storage(bucket, lambda: self.client(bucket))


@lru_cache(maxsize=1)
def stores_of(buckets: tuple[Bucket, ...]) -> Stores:
    """How a Python worker of Spark reaches the buckets: clients are made once, and kept from task to task.

    Parameters
    ----------
    buckets : tuple of Bucket
        As the driver has connected them.
    """
    return Stores(buckets)
