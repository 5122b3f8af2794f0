"""Multipart uploads: one that is being written, and those that were left unfinished."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto_errors

from verger.storage.buckets import PART_BYTES
from verger.storage.refusals import translate_errors
from verger.storage.uri import S3, bucket_name, join

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Upload(io.RawIOBase):
    """An object that is written as a stream, in parts; it appears when it is completed.

    Parameters
    ----------
    client : S3Client
        Of the bucket; its errors are boto3's.
    bucket : str
        Its name.
    key : str
        Of the object.
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
        while len(self._buffer) >= PART_BYTES:
            self._put_part(bytes(self._buffer[:PART_BYTES]))
            del self._buffer[:PART_BYTES]
        return len(data)

    def _put_part(self, data: bytes) -> None:
        if not self._upload:
            created = self._client.create_multipart_upload(**self._object)
            self._upload = {**self._object, "UploadId": created["UploadId"]}
        number = len(self._parts) + 1
        done = self._client.upload_part(**self._upload, PartNumber=number, Body=data)
        self._parts.append({"PartNumber": number, "ETag": done["ETag"]})

    def complete(self) -> None:
        """Make the object appear. A small one is put at once, without parts."""
        if not self._upload:
            self._client.put_object(**self._object, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._put_part(bytes(self._buffer))
        try:
            self._client.complete_multipart_upload(**self._upload, MultipartUpload={"Parts": self._parts})
        except self._client.exceptions.NoSuchUpload:  # it was completed, and the answer was lost
            if self._client.head_object(**self._object)["ContentLength"] != self._written:
                raise

    def abort(self) -> None:
        """Remove the parts that were written."""
        if self._upload:
            with suppress(boto_errors.BotoCoreError, boto_errors.ClientError):
                self._client.abort_multipart_upload(**self._upload)


@dataclass(frozen=True)
class UnfinishedUpload:
    """An upload that was neither completed nor aborted. Its parts are invisible, and they cost money.

    Attributes
    ----------
    path : str
        The object that it would have made, as a canonical URI.
    upload_id : str
        The store's name for it.
    started_at : datetime
        With a time zone.
    """

    path: str
    upload_id: str
    started_at: datetime


def list_unfinished(client: S3Client, folder: str, before: datetime) -> Iterator[UnfinishedUpload]:
    """List the unfinished uploads below a folder.

    It lists the uploads of the whole bucket, as MinIO finds none by a prefix.

    Parameters
    ----------
    client : S3Client
        Of the folder's bucket.
    folder : str
        Canonical URI.
    before : datetime
        Only uploads that were started before this time, which has a time zone.

    Yields
    ------
    UnfinishedUpload
        One for each upload, in the order of the store's listing.

    Raises
    ------
    StoreError
        The store refuses or cannot be reached.
    """
    name = bucket_name(folder)
    assert name is not None
    with translate_errors(folder):
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=name):
            for upload in page.get("Uploads", []):
                path = f"{S3}{name}/{upload['Key']}"
                started_at = datetime.fromisoformat(str(upload["Initiated"]))
                if path.startswith(join(folder, "")) and started_at < before:
                    yield UnfinishedUpload(path, upload["UploadId"], started_at)


def abort(client: S3Client, upload: UnfinishedUpload) -> None:
    """Remove the parts of an unfinished upload. It is no error if the upload does not exist any more.

    Parameters
    ----------
    client : S3Client
        Of the upload's bucket.
    upload : UnfinishedUpload
        As `list_unfinished` gives it.

    Raises
    ------
    StoreError
        The store refuses or cannot be reached.
    """
    name = bucket_name(upload.path)
    assert name is not None
    key = upload.path.removeprefix(f"{S3}{name}/")
    with translate_errors(upload.path):
        try:
            client.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload.upload_id)
        except client.exceptions.NoSuchUpload:
            return
