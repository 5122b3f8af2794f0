"""A bucket as a `Storage`, by boto3."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow.fs as pafs
from botocore import exceptions as failures

from verger.errors import NothingToReadError, Reason, Rejection, StoreError, VergerError
from verger.storage.base import AlreadyPublishedError, Entry
from verger.storage.buckets import Bucket
from verger.storage.listing import Object, objects
from verger.storage.ranges import RangedFiles
from verger.storage.refusals import translate_errors
from verger.storage.uploads import Upload
from verger.storage.uri import S3, join

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The most that DeleteObjects takes.
_DELETED_AT_ONCE = 1000
# Whoever loses a race for a pointer this often has met a store that cannot tell who won.
_SWAPS = 20
# How often a body that breaks off is read again.
_BODIES = 4
# What a single photograph may be refused for; everything else ends the run.
_OF_ONE_OBJECT = {"AccessDenied": "access denied", "InvalidObjectState": "archived: restore it first"}


class S3Storage:
    """The objects of one bucket. Whatever is put appears whole or not at all.

    Parameters
    ----------
    bucket : Bucket
    client_of : callable
        Gives its client, which may be another from call to call.
    """

    def __init__(self, bucket: Bucket, client_of: Callable[[], S3Client]) -> None:
        self.bucket = bucket
        self._client_of = client_of

    @property
    def client(self) -> S3Client:
        """The client as of now: a patient one, or one that fails fast."""
        return self._client_of()

    def key(self, path: str) -> str:
        """The object's name in the bucket."""
        return path.removeprefix(f"{S3}{self.bucket.name}").removeprefix("/")

    def list(self, folder: str) -> Iterator[Entry]:
        prefix = join(self.key(folder), "") if self.key(folder) else ""
        empty = True
        with translate_errors(folder):
            for key, size, etag in self._objects(prefix):
                empty = False
                if not key.endswith("/"):  # what consoles make to show an empty folder
                    yield Entry(f"{S3}{self.bucket.name}/{key}", size, f"{etag}-{size}")
        if empty:
            raise NothingToReadError(f"{folder} does not exist or is empty", "Check the path")

    def _objects(self, prefix: str) -> Iterator[Object]:
        return objects(self.client, self.bucket.name, prefix, ranges=self.bucket.is_aws)

    def exists(self, path: str) -> bool:
        key = self.key(path)
        with translate_errors(path):
            if key and self._head(key):
                return True
            below = self.client.list_objects_v2(Bucket=self.bucket.name, Prefix=join(key, "") if key else "", MaxKeys=1)
            return bool(below.get("Contents"))

    def _head(self, key: str) -> bool:
        try:
            self.client.head_object(Bucket=self.bucket.name, Key=key)
            return True
        except failures.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return False
            raise

    def read(self, path: str) -> bytes:
        return self.get(path)[0]

    def get(self, path: str, **conditions: str) -> tuple[bytes, Any]:
        """The content, or the range of it that the conditions ask for, and the whole answer."""
        with translate_errors(path):
            return self._whole(self.key(path), conditions)

    def _whole(self, key: str, conditions: Any) -> tuple[bytes, Any]:
        """A body that breaks off is asked for again."""
        for attempt in range(1, _BODIES + 1):
            answer = self.client.get_object(Bucket=self.bucket.name, Key=key, **conditions)
            try:
                return answer["Body"].read(), answer
            except (failures.IncompleteReadError, failures.HTTPClientError):  # botocore retries no body
                if attempt == _BODIES:
                    raise
                time.sleep(random.uniform(0, 2**attempt / 4))
        raise AssertionError

    def read_version(self, path: str, version: str) -> bytes:
        etag, _, size = version.rpartition("-")
        try:
            data, _ = self.get(path, IfMatch=f'"{etag}"')
        except VergerError as error:
            raise _rejection(error) or error from None
        if len(data) != int(size):
            raise Rejection(Reason.CHANGED, f"{len(data):,} bytes where the listing said {int(size):,}")
        return data

    def write(self, path: str, data: bytes) -> None:
        with translate_errors(path):
            self.client.put_object(Bucket=self.bucket.name, Key=self.key(path), Body=data)

    def publish_once(self, path: str, data: bytes) -> None:
        if not self._put_if(path, data, IfNoneMatch="*"):
            raise AlreadyPublishedError(f"{path} exists already")

    def _put_if(self, path: str, data: bytes, **condition: str) -> bool:
        """Whether ``data`` is there now by this call; a put that was sent twice must not lose against itself."""
        key = self.key(path)
        with translate_errors(path):
            try:
                self.client.put_object(Bucket=self.bucket.name, Key=key, Body=data, **condition)  # type: ignore[arg-type]
                return True
            except failures.ClientError as error:
                # 409: another conditional put is under way. 404: what If-Match asks for is gone.
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 409, 412) or _is_missing(error):
                    raise
            with contextlib.suppress(NothingToReadError):
                return self.read(path) == data
            return False

    def update(self, path: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        for attempt in range(_SWAPS):
            present, etag = self._present(path)
            data = change(present)
            if data is None:
                return False
            if data == present or self._put_if(path, data, **({"IfMatch": etag} if etag else {"IfNoneMatch": "*"})):
                return True
            time.sleep(random.uniform(0, min(2, 0.02 * 2**attempt)))
        raise StoreError(f"{path} changes whenever it is written", "Run again when fewer runs write there")

    def _present(self, path: str) -> tuple[bytes | None, str | None]:
        try:
            data, answer = self.get(path)
            return data, answer["ETag"]
        except NothingToReadError:
            return None, None

    @contextlib.contextmanager
    def stream(self, path: str) -> Iterator[BinaryIO]:
        with translate_errors(path):
            upload = Upload(self.client, self.bucket.name, self.key(path))
            try:
                yield upload  # type: ignore[misc]
                upload.complete()
            except BaseException:
                upload.abort()
                raise

    def make_folder(self, folder: str) -> None:
        if key := self.key(folder):  # the bucket itself is there
            with translate_errors(folder):
                self.client.put_object(Bucket=self.bucket.name, Key=join(key, ""))

    def delete(self, path: str) -> None:
        key = self.key(path)
        with translate_errors(path):
            below = [name for name, _, _ in self._objects(join(key, "") if key else "")]
            names = [*([key] if key else []), *below]
            for start in range(0, len(names), _DELETED_AT_ONCE):
                batch: Any = [{"Key": name} for name in names[start : start + _DELETED_AT_ONCE]]
                done = self.client.delete_objects(Bucket=self.bucket.name, Delete={"Objects": batch, "Quiet": True})
                for failed in done.get("Errors", []):
                    raise StoreError(
                        f"{S3}{self.bucket.name}/{failed.get('Key')} cannot be deleted: {failed.get('Message')}",
                        "Grant these credentials s3:DeleteObject",
                    )

    def arrow(self) -> pafs.FileSystem:
        return pafs.PyFileSystem(RangedFiles(self))

    def spark_uri(self, path: str) -> str:
        return "s3a://" + path.removeprefix(S3)


def _is_missing(error: failures.ClientError) -> bool:
    return error.response["Error"].get("Code") == "NoSuchBucket"


def _rejection(error: VergerError) -> Rejection | None:
    """What stands against one photograph alone; None for what stands against the store."""
    cause = error.__cause__
    if not isinstance(cause, failures.ClientError):
        return None
    code, status = str(cause.response["Error"].get("Code")), cause.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 412:
        return Rejection(Reason.CHANGED, "changed between listing and reading")
    if status == 404 and code != "NoSuchBucket":
        return Rejection(Reason.VANISHED, "gone between listing and reading")
    if code in _OF_ONE_OBJECT:
        return Rejection(Reason.UNREADABLE, _OF_ONE_OBJECT[code])
    return None
