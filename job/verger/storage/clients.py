"""boto3's clients of one command, and how long they wait for a store that does not answer."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions as failures
from botocore.config import Config

from verger import __version__
from verger.storage.buckets import Bucket
from verger.storage.credentials import FIRST_REGION

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Clients:
    """The clients of one command: one a bucket, which threads may share.

    Parameters
    ----------
    fail_fast : threading.Event
        While it is set, no client waits for a store that does not answer.
    patience_s : float
        How long a patient client waits for one, seconds.
    """

    def __init__(self, fail_fast: threading.Event, patience_s: float) -> None:
        self._fail_fast = fail_fast
        self._patience_s = patience_s
        self._made: dict[tuple[Bucket, bool], S3Client] = {}
        self._making = threading.Lock()  # boto3's session is not safe to share

    def client(self, bucket: Bucket, patient: bool = True) -> S3Client:
        """The client of a bucket.

        Parameters
        ----------
        bucket : Bucket
        patient : bool
            Whether it outlasts a store that restarts; a preflight wants to know soon, and so does a run that has
            failed.
        """
        patient = patient and not self._fail_fast.is_set()
        with self._making:
            if (bucket, patient) not in self._made:
                self._made[bucket, patient] = self._make(bucket, patient)
            return self._made[bucket, patient]

    def _make(self, bucket: Bucket, patient: bool) -> S3Client:
        made = _client(bucket, patient)
        if patient:
            handler: Any = self._seconds_until_retry
            made.meta.events.register("needs-retry.s3", handler)
        return made

    def _seconds_until_retry(
        self,
        request_dict: dict[str, Any],
        response: tuple[Any, Any] | None = None,
        caught_exception: Exception | None = None,
        **_: Any,
    ) -> float | None:
        """When to send a request again that a store has left unanswered; None to leave it at that, after a minute.

        botocore itself waits for random times, and no longer where many requests share its quota of retries: of a
        store's photographs, some would be given up before the store has restarted.
        """
        silent = response is not None and response[0].status_code in (429, 500, 502, 503, 504)
        if isinstance(caught_exception, (failures.ConnectionError, failures.HTTPClientError)):
            silent = not isinstance(caught_exception, failures.SSLError)
        since = request_dict["context"].setdefault("silent since", time.monotonic())
        if not silent or time.monotonic() - since > self._patience_s or self._fail_fast.is_set():
            return None
        return random.uniform(1, 3)


def _client(bucket: Bucket, patient: bool) -> S3Client:
    config = Config(
        connect_timeout=5 if patient else 2,
        read_timeout=30 if patient else 5,
        retries={"mode": "standard", "total_max_attempts": 4 if patient else 2},
        max_pool_connections=32,
        user_agent_extra=f"verger/{__version__}",
        s3={"addressing_style": "path" if bucket.path_style else "auto"},
        # Stores that are not AWS's may not know its newer checksums.
        request_checksum_calculation="when_supported" if bucket.is_aws else "when_required",
        response_checksum_validation="when_supported" if bucket.is_aws else "when_required",
    )
    session = boto3.Session()
    # Dates of a listing are half the cost of reading it, and nobody looks at them.
    factory = session._session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=str)
    made: S3Client = session.client(
        "s3",
        region_name=bucket.region or FIRST_REGION,
        endpoint_url=bucket.endpoint_url,
        verify=bucket.ca_bundle,
        config=config,
    )
    return made
