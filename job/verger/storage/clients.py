"""The boto3 clients of one command, and how long they wait for a store that does not answer."""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto_errors
from botocore.config import Config

from verger import __version__
from verger.storage import keys
from verger.storage.buckets import Bucket
from verger.storage.credentials import DEFAULT_REGION

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Operations that make an object. The parts of an upload are encrypted as the request that began it says.
_WRITES = ("PutObject", "CreateMultipartUpload", "CopyObject")


class Clients:
    """The clients of one command: one for each bucket. Threads may share them.

    Parameters
    ----------
    fail_fast : threading.Event
        While it is set, no client waits for a store that does not answer.
    patience_s : float
        Seconds for which a patient client retries a request that the store does not answer.
    """

    def __init__(self, fail_fast: threading.Event, patience_s: float) -> None:
        self._fail_fast = fail_fast
        self._patience_s = patience_s
        self._clients: dict[tuple[Bucket, bool], S3Client] = {}
        self._lock = threading.Lock()  # threads may not share a boto3 session

    def client(self, bucket: Bucket, patient: bool = True) -> S3Client:
        """The client of a bucket.

        Parameters
        ----------
        bucket : Bucket
            Its endpoint, region, addressing and certificates are the client's.
        patient : bool
            Whether it retries until a store that restarts is back. The checks before a run use False, to fail soon;
            while `fail_fast` is set, every client is as with False.

        Returns
        -------
        mypy_boto3_s3.S3Client
            Made by the first call; later calls for the same bucket and patience get the same one.
        """
        patient = patient and not self._fail_fast.is_set()
        with self._lock:
            if (bucket, patient) not in self._clients:
                self._clients[bucket, patient] = self._create(bucket, patient)
            return self._clients[bucket, patient]

    def _create(self, bucket: Bucket, patient: bool) -> S3Client:
        client = _create_client(bucket, patient)
        if patient:
            handler: Any = self._seconds_until_retry
            client.meta.events.register("needs-retry.s3", handler)
        return client

    def _seconds_until_retry(
        self,
        request_dict: dict[str, Any],
        response: tuple[Any, Any] | None = None,
        caught_exception: Exception | None = None,
        **_: Any,
    ) -> float | None:
        """Seconds to wait before an unanswered request is sent again; None to give up, after `patience_s`.

        botocore's own retries are fewer, and many requests share one quota of them. With these alone, some photographs
        would be rejected while a store restarts.
        """
        unanswered = response is not None and response[0].status_code in (429, 500, 502, 503, 504)
        if isinstance(caught_exception, (boto_errors.ConnectionError, boto_errors.HTTPClientError)):
            unanswered = not isinstance(caught_exception, boto_errors.SSLError)
        since = request_dict["context"].setdefault("unanswered since", time.monotonic())
        if not unanswered or time.monotonic() - since > self._patience_s or self._fail_fast.is_set():
            return None
        return random.uniform(1, 3)


def _create_client(bucket: Bucket, patient: bool) -> S3Client:
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
    session = keys.session()
    # Parsing the dates of a listing is half the cost of reading it, and no code uses them.
    factory = session._session.get_component("response_parser_factory")
    factory.set_parser_defaults(timestamp_parser=str)
    client: S3Client = session.client(
        "s3",
        region_name=bucket.region or DEFAULT_REGION,
        endpoint_url=bucket.endpoint_url,
        verify=bucket.ca_bundle,
        config=config,
    )
    _add_headers(client, bucket)
    return client


def _add_headers(client: S3Client, bucket: Bucket) -> None:
    """Let a client send what the bucket's owner demands with each request."""

    def encrypt(params: dict[str, Any], **_: Any) -> None:
        if "ServerSideEncryption" not in params:
            params["ServerSideEncryption"] = bucket.sse
            if bucket.sse_kms_key_id:
                params["SSEKMSKeyId"] = bucket.sse_kms_key_id

    def pay(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["x-amz-request-payer"] = "requester"

    if bucket.sse:
        for operation in _WRITES:
            client.meta.events.register(f"before-parameter-build.s3.{operation}", encrypt)
    if bucket.requester_pays:
        client.meta.events.register("before-call.s3", pay)
