"""Outages of a store: a run ends soon after a store has stopped answering, whatever waits for it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from verger.errors import StoreError
from verger.spark.watch import Watch
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores

_INTERVAL_S = 5


@contextmanager
def watch_stores(stores: Stores, buckets: Collection[Bucket]) -> Iterator[None]:
    """Probe a run's buckets every few seconds, and end Spark's work when one has not answered for too long.

    Workers wait as long as the driver does, each for its own photographs and files, and Spark runs a failed task again.
    Without this watch a run could end long after its store.

    Parameters
    ----------
    stores : Stores
        The run's. They fail fast once a bucket does not answer.
    buckets : collection of Bucket
        Those that the run reads and writes.

    Raises
    ------
    StoreError
        A bucket has not answered for ``stores.patience_s``. It replaces the error that the body raised as it lost its
        connection to Spark.
    """
    if not buckets:
        yield
        return
    watch = _StoreWatch(stores, buckets)
    try:
        with watch.watching():
            yield
    finally:
        if watch.failure:
            stores.fail_fast.clear()


class _StoreWatch(Watch):
    """Probes the buckets until the context ends, or one has not answered for too long."""

    def __init__(self, stores: Stores, buckets: Collection[Bucket]) -> None:
        super().__init__("verger-outages")
        self._stores = stores
        self._buckets = buckets
        self._unanswered_since: dict[str, float] = {}

    def _run(self) -> None:
        while self.failure is None and not self.ended.wait(_INTERVAL_S):
            for bucket in self._buckets:
                self._probe(bucket)

    def _probe(self, bucket: Bucket) -> None:
        probed = time.monotonic()
        if _answers(self._stores, bucket):
            self._unanswered_since.pop(bucket.name, None)
            return
        since = self._unanswered_since.setdefault(bucket.name, probed)
        if time.monotonic() - since > self._stores.patience_s and not self.ended.is_set():
            self.failure = StoreError(
                f"s3://{bucket.name}: the store at {bucket.host} has not answered for {self._stores.patience_s:g} s",
                "Run the same command again when it does: what was committed is kept",
            )
            self._stores.fail_fast.set()
            _disconnect_from_jvm()


def _answers(stores: Stores, bucket: Bucket) -> bool:
    """Whether the store answers a request; an answer that refuses it counts."""
    from botocore.exceptions import BotoCoreError, ClientError, ConnectionError, HTTPClientError

    try:
        stores.client(bucket, patient=False).head_bucket(Bucket=bucket.name)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] < 500
    except (ConnectionError, HTTPClientError):
        return False
    except BotoCoreError:  # not the store's fault; the credentials cannot be fetched, for example
        return True
    return True


def _disconnect_from_jvm() -> None:
    """Close the connections to the JVM, so that every thread that waits for it gets an error.

    Py4J then opens a second connection for such a thread. The server may just be closing: it would accept the
    connection and never answer. So this thread connects first, and then takes the port away from all others.
    """
    from pyspark import SparkContext

    gateway = SparkContext._gateway
    if gateway is not None:
        with suppress(Exception):  # the JVM may be gone already
            gateway.jvm.System.nanoTime()
        gateway.gateway_parameters.port = 0
        gateway.shutdown()
