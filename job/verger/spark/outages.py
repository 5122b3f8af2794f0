"""A store that is gone for good: whoever waits for it, in Python or in Spark, soon waits no longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from verger.errors import StoreError
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores

_PAUSE_S = 5


@contextmanager
def watched(stores: Stores, buckets: Collection[Bucket]) -> Iterator[None]:
    """Ask a run's buckets now and then; one that has long been silent ends Spark's work, and the context.

    S3A is patient with each of the many requests by which a failed task and a failed job clean up, and nobody can
    tell it to stop: of a store that is gone it would know for sure after a quarter of an hour.

    Parameters
    ----------
    stores : Stores
        Of the run; they fail fast once a bucket is gone.
    buckets : collection of Bucket
        Those that the run reads and writes.

    Raises
    ------
    StoreError
        A bucket is gone, whatever the body raised when Spark was taken from it.
    """
    if not buckets:
        yield
        return
    watch = _Watch(stores, buckets)
    watch.start()
    try:
        yield
    except BaseException as error:
        if watch.gone:
            raise watch.gone from error
        raise
    finally:
        watch.over.set()
        if watch.gone:
            stores.fail_fast.clear()


class _Watch(threading.Thread):
    """Asks until the context is over, or a bucket is gone."""

    def __init__(self, stores: Stores, buckets: Collection[Bucket]) -> None:
        super().__init__(name="verger-outages", daemon=True)
        self._stores = stores
        self._buckets = buckets
        self.over = threading.Event()
        self.gone: StoreError | None = None
        self._silent_since: dict[str, float] = {}

    def run(self) -> None:
        while self.gone is None and not self.over.wait(_PAUSE_S):
            for bucket in self._buckets:
                self._ask(bucket)

    def _ask(self, bucket: Bucket) -> None:
        asked = time.monotonic()
        if _answers(self._stores, bucket):
            self._silent_since.pop(bucket.name, None)
            return
        since = self._silent_since.setdefault(bucket.name, asked)
        if time.monotonic() - since > self._stores.patience_s and not self.over.is_set():
            self.gone = StoreError(
                f"s3://{bucket.name}: the store at {bucket.host} has not answered for {self._stores.patience_s:g} s",
                "Run the same command again when it does: what was committed is kept",
            )
            self._stores.fail_fast.set()
            _leave_spark()


def _answers(stores: Stores, bucket: Bucket) -> bool:
    """Whether the store says anything, if only that it refuses."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    try:
        stores.client(bucket, patient=False).head_bucket(Bucket=bucket.name)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    except (ConnectionError, HTTPClientError):
        return False
    except BotoCoreError:  # no fault of the store's: keys that cannot be had, for one
        return True
    return True


def _leave_spark() -> None:
    """Close the connections to the JVM, so that every thread that waits for it is woken by an error.

    Py4J gives such a thread a second connection, to a server that may just be closing: it would be accepted there and
    never answered. So this thread connects first, and for all others there is no port any more.
    """
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    if gateway is not None:
        with suppress(Exception):  # the JVM may be gone already
            gateway.jvm.System.nanoTime()
        gateway.gateway_parameters.port = 0
        gateway.shutdown()
