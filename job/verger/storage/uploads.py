"""Multipart uploads: one that is being written, and those that nobody will finish."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore import exceptions as failures

from verger.storage.refusals import translate_errors
from verger.storage.uri import S3, bucket_name, join

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Ten thousand parts, the most there can be, are 160 GB.
_PART = 16 << 20


class Upload(io.RawIOBase):
    """An object that is written as a stream, in parts; it appears when it is completed.

    Parameters
    ----------
    client : S3Client
    bucket, key : str
    """

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        self._client = client
        self._object: Any = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._written = 0
        self._upload: Any = {}
        self._parts: list[Any] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        self._written += len(memoryview(data).cast("B"))
        while len(self._buffer) >= _PART:
            self._put_part(bytes(self._buffer[:_PART]))
            del self._buffer[:_PART]
        return len(data)

    def _put_part(self, data: bytes) -> None:
        if not self._upload:
            begun = self._client.create_multipart_upload(**self._object)
            self._upload = {**self._object, "UploadId": begun["UploadId"]}
        number = len(self._parts) + 1
        done = self._client.upload_part(**self._upload, PartNumber=number, Body=data)
        self._parts.append({"PartNumber": number, "ETag": done["ETag"]})

    def complete(self) -> None:
        """Make the object appear; a small one needs no parts."""
        if not self._upload:
            self._client.put_object(**self._object, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._put_part(bytes(self._buffer))
        try:
            self._client.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": self._parts})
        except self._client.exceptions.NoSuchUpload:  # completed before, and the answer was lost
            if self._client.head_object(**self._object)["ContentLength"] != self._written:
                raise

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._upload:
            with suppress(failures.BotoCoreError, failures.ClientError):
                self._client.abort_multipart_upload(**self._upload)


@dataclass(frozen=True)
class Stale:
    """An upload that was begun and neither finished nor aborted; its parts are invisible, and paid for.

    Attributes
    ----------
    path : str
    upload_id : str
    begun : datetime
    """

    path: str
    upload_id: str
    begun: datetime


def stale(client: S3Client, folder: str, before: datetime) -> Iterator[Stale]:
    """Uploads below a folder that were begun before a time.

    The whole bucket is listed, for MinIO finds no upload by the prefix of its name.

    Parameters
    ----------
    client : S3Client
        Of the folder's bucket.
    folder : str
        Canonical URI.
    before : datetime
        With a time zone.
    """
    name = bucket_name(folder)
    assert name is not None
    with translate_errors(folder):
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=name):
            for upload in page.get("Uploads", []):
                path = f"{S3}{name}/{upload['Key']}"
                begun = datetime.fromisoformat(str(upload["Initiated"]))
                if path.startswith(join(folder, "")) and begun < before:
                    yield Stale(path, upload["UploadId"], begun)


def abort(client: S3Client, upload: Stale) -> None:
    """Remove the parts of an upload; one that is gone already is no error."""
    name = bucket_name(upload.path)
    assert name is not None
    key = upload.path.removeprefix(f"{S3}{name}/")
    with translate_errors(upload.path):
        try:
            client.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload.upload_id)
        except client.exceptions.NoSuchUpload:
            return
