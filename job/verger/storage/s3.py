"""A bucket as a `Storage`, with boto3."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow.fs as pafs
from botocore import exceptions as boto_errors

from verger.errors import NothingToReadError, Reason, Rejection, StoreError, VergerError
from verger.storage import refusals
from verger.storage.base import EVERYTHING, AlreadyPublishedError, Entry, Storage, WalkPolicy
from verger.storage.buckets import Bucket
from verger.storage.listing import Object, list_objects
from verger.storage.ranges import RangedFileSystem
from verger.storage.refusals import translate_errors
from verger.storage.uploads import Upload
from verger.storage.uri import S3, join

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# The most keys that DeleteObjects takes.
_MAX_DELETE_KEYS = 1000
# A writer that loses so many races in a row has met a store whose conditional writes do not work.
_MAX_SWAP_ATTEMPTS = 20
# How often an object is read whose body breaks off.
_MAX_READ_ATTEMPTS = 4


class S3Storage(Storage):
    """The objects of one bucket.

    Parameters
    ----------
    bucket : Bucket
        Its name, and whether it is AWS's: only there are large buckets listed in several ranges at once.
    client_of : callable
        Returns the bucket's client. It is called for each request, as the client changes when the run fails fast.
    """

    def __init__(self, bucket: Bucket, client_of: Callable[[], S3Client]) -> None:
        self.bucket = bucket
        self._client_of = client_of

    @property
    def client(self) -> S3Client:
        """The present client: a patient one, or one that fails fast."""
        return self._client_of()

    def key(self, path: str) -> str:
        """The key of an object.

        Parameters
        ----------
        path : str
            Canonical.

        Returns
        -------
        str
            Without a slash at the start; empty for the bucket itself.
        """
        return path.removeprefix(f"{S3}{self.bucket.name}").removeprefix("/")

    def list(self, folder: str, policy: WalkPolicy = EVERYTHING) -> Iterator[Entry]:
        prefix = join(self.key(folder), "") if self.key(folder) else ""
        empty = True
        with translate_errors(folder):
            for key, size, etag in self._objects(prefix):
                empty = False
                if size or not key.endswith("/"):  # an empty object with which S3 consoles show a folder
                    yield Entry(f"{S3}{self.bucket.name}/{key}", size, f"{etag}-{size}")
        if empty:
            raise NothingToReadError(f"{folder} does not exist or is empty", "Check the path")

    def _objects(self, prefix: str) -> Iterator[Object]:
        return list_objects(self.client, self.bucket.name, prefix, ranges=self.bucket.is_aws)

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
        except boto_errors.ClientError as error:
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            if status == 404:
                return False
            if status in (400, 403):  # an answer to HEAD has no body: that to GET says why
                self.client.get_object(Bucket=self.bucket.name, Key=key, Range="bytes=0-0")["Body"].close()
            raise

    def read(self, path: str) -> bytes:
        return self.get(path)[0]

    def get(self, path: str, **options: str) -> tuple[bytes, Any]:
        """Read an object, or a range of it.

        Parameters
        ----------
        path : str
            Canonical.
        **options
            Further options of boto3's ``get_object``, such as ``Range`` and ``IfMatch``.

        Returns
        -------
        bytes
            The content.
        dict
            boto3's answer.

        Raises
        ------
        NothingToReadError
            There is no such object.
        StoreError
            The store refuses or cannot be reached.
        """
        with translate_errors(path):
            return self._get_with_retries(self.key(path), options)

    def _get_with_retries(self, key: str, options: Any) -> tuple[bytes, Any]:
        """Read an object; again where the body breaks off, which botocore does not retry."""
        for attempt in range(1, _MAX_READ_ATTEMPTS + 1):
            answer = self.client.get_object(Bucket=self.bucket.name, Key=key, **options)
            try:
                return answer["Body"].read(), answer
            except (boto_errors.IncompleteReadError, boto_errors.HTTPClientError):
                if attempt == _MAX_READ_ATTEMPTS:
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
            raise Rejection(Reason.CHANGED, f"{len(data):,} bytes instead of the {int(size):,} in the listing")
        return data

    def write(self, path: str, data: bytes) -> None:
        with translate_errors(path):
            self.client.put_object(Bucket=self.bucket.name, Key=self.key(path), Body=data)

    def publish_once(self, path: str, data: bytes) -> None:
        if not self._put_if(path, data, IfNoneMatch="*"):
            raise AlreadyPublishedError(f"{path} exists already")

    def _put_if(self, path: str, data: bytes, **condition: str) -> bool:
        """Put an object on a condition. Whether it now holds ``data``: botocore may have sent the put twice."""
        key = self.key(path)
        with translate_errors(path):
            try:
                self.client.put_object(Bucket=self.bucket.name, Key=key, Body=data, **condition)  # type: ignore[arg-type]
                return True
            except boto_errors.ClientError as error:
                if not _is_lost_race(error):
                    raise
            with contextlib.suppress(NothingToReadError):
                return self.read(path) == data
            return False

    def update(self, path: str, change: Callable[[bytes | None], bytes | None]) -> bool:
        for attempt in range(_MAX_SWAP_ATTEMPTS):
            present, etag = self._read_with_etag(path)
            data = change(present)
            if data is None:
                return False
            if data == present or self._put_if(path, data, **({"IfMatch": etag} if etag else {"IfNoneMatch": "*"})):
                return True
            time.sleep(random.uniform(0, min(2, 0.02 * 2**attempt)))
        raise StoreError(
            f"{path} is changed by others each time that it is written", "Run again when fewer runs write there"
        )

    def _read_with_etag(self, path: str) -> tuple[bytes | None, str | None]:
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
        if key := self.key(folder):  # the bucket itself exists
            with translate_errors(folder):
                self.client.put_object(Bucket=self.bucket.name, Key=join(key, ""))

    def delete(self, path: str) -> None:
        key = self.key(path)
        with translate_errors(path):
            below = [name for name, _, _ in self._objects(join(key, "") if key else "")]
            names = [*([key] if key else []), *below]
            for start in range(0, len(names), _MAX_DELETE_KEYS):
                batch: Any = [{"Key": name} for name in names[start : start + _MAX_DELETE_KEYS]]
                done = self.client.delete_objects(Bucket=self.bucket.name, Delete={"Objects": batch, "Quiet": True})
                for failed in done.get("Errors", []):
                    where = f"{S3}{self.bucket.name}/{failed.get('Key')}"
                    raise refusals.explain_code(
                        failed.get("Code", ""), failed.get("Message", ""), "DeleteObjects", where
                    )

    def arrow(self) -> pafs.FileSystem:
        return pafs.PyFileSystem(RangedFileSystem(self))


def _is_lost_race(error: boto_errors.ClientError) -> bool:
    """Whether the condition of a put did not hold."""
    code, status = str(error.response["Error"].get("Code")), error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 404:  # the object of If-Match is deleted; but MinIO says so of an encryption key, too
        return code in ("NoSuchKey", "404", "NotFound")
    return status in (409, 412)  # 409: another conditional put is in progress


def _rejection(error: VergerError) -> Rejection | None:
    """The rejection of one photograph; None where the error is the store's, and ends the run."""
    cause = error.__cause__
    if not isinstance(cause, boto_errors.ClientError):
        return None
    code, status = str(cause.response["Error"].get("Code")), cause.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 412:
        return Rejection(Reason.CHANGED, "changed between listing and reading")
    if problem := refusals.object_problem(error):
        return Rejection(Reason.UNREADABLE, problem)
    if status == 404 and code != "NoSuchBucket":
        return Rejection(Reason.VANISHED, "deleted between listing and reading")
    return None
