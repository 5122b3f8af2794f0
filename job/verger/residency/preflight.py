"""Before a run: whether its data stays in the EU, and whether it may read its input and write its output."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from verger.config import AccessSettings
from verger.errors import NothingToReadError, StoreError, VergerError
from verger.residency.guard import Residency, guard
from verger.storage.stores import Stores
from verger.storage.uri import S3, bucket_name, canonical, join

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# One photograph that may not be read is rejected; if so many may not, access to the bucket is denied.
_SAMPLED_OBJECTS = 3
_ENCRYPTIONS = ("aws:kms", "AES256", "aws:kms:dsse")
# Roles of objects that are read by name: the permission to list their folder is not needed.
_OBJECT_ROLES = ("weights", "photographs", "inventory")


def uris_by_role(
    *,
    input: str | None = None,
    inventory: str | None = None,
    output: str | None = None,
    event_log: str | None = None,
    weights: str | None = None,
) -> dict[str, str]:
    """The canonical URIs that a command reads or writes.

    Parameters
    ----------
    input, inventory, output, event_log : str, optional
        Local paths or URIs.
    weights : str, optional
        The setting of that name; ``bundled``, ``imagenet`` and ``random`` are no URIs.

    Returns
    -------
    dict of str to str
        By role: ``input``, ``inventory``, ``output``, ``event log``, ``weights``; without those that are not given.
    """
    if weights in ("bundled", "imagenet", "random"):
        weights = None
    given = {"input": input, "inventory": inventory, "output": output, "event log": event_log, "weights": weights}
    return {role: canonical(uri) for role, uri in given.items() if uri}


def check_access(
    stores: Stores,
    uris: Mapping[str, str],
    settings: AccessSettings,
    written: Collection[str] = (),
    try_writing: bool = True,
) -> Residency:
    """Check that every bucket is in the EU, then that it can be read and written. Nothing is left in it.

    Parameters
    ----------
    stores : Stores
        The buckets are connected in it.
    uris : mapping of str to str
        Canonical URIs by role: input, output, weights, ...
    settings : AccessSettings
        How buckets are reached, which regions are allowed, and whether nodes are checked.
    written : collection of str
        The roles that are written to.
    try_writing : bool
        Whether to check those by writing. If False, nothing is written.

    Returns
    -------
    Residency
        What `verger.residency.guard.guard` found.

    Raises
    ------
    ResidencyError
        A bucket or the driver's node is outside the EU, or its region is unknown.
    StoreError
        The store refuses or cannot be reached.
    NothingToReadError
        There is no such bucket.
    UsageError
        AWS's variables and files are wrong.
    """
    residency = guard(stores, uris, settings, written)
    for role, uri in uris.items():
        if bucket_name(uri):
            _try_access(stores, uri, lists=role not in _OBJECT_ROLES, writes=try_writing and role in written)
    return residency


def _try_access(stores: Stores, uri: str, lists: bool, writes: bool) -> None:
    name = bucket_name(uri)
    assert name is not None
    bucket = stores.bucket(name)
    client, key = stores.client(bucket, patient=False), uri.removeprefix(f"{S3}{name}").removeprefix("/")
    if lists:
        _try_reading(client, name, join(key, "") if key else "", uri)
    if writes:
        _try_writing(client, name, key, uri, encrypts=bucket.sse is not None)


def _try_reading(client: S3Client, bucket: str, prefix: str, uri: str) -> None:
    """List, as the error of HEAD would not have the reason; then read the first byte of an object.

    An object that is archived, or encrypted with a key that cannot be used, is rejected by the run.
    """
    from verger.storage.refusals import is_denial, not_s3, object_problem, translate_errors

    with translate_errors(uri):
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=_SAMPLED_OBJECTS)
    if "Name" not in page:  # a web server's page is parsed as an empty answer
        raise not_s3(uri)
    denied = None
    for item in page.get("Contents", []):
        try:
            with translate_errors(f"s3://{bucket}/{item['Key']}"):
                first_byte = {"Range": "bytes=0-0"} if item["Size"] else {}
                client.get_object(Bucket=bucket, Key=item["Key"], **first_byte)["Body"].close()  # type: ignore[arg-type]
            return
        except NothingToReadError:  # deleted meanwhile: the run's own listing will not have it
            return
        except StoreError as error:
            if object_problem(error) and not is_denial(error):
                return
            denied = error
    if denied is not None:
        raise denied


def _try_writing(client: S3Client, bucket: str, key: str, uri: str, encrypts: bool) -> None:
    """Start an upload, as of a large file, and abort it. It needs the rights to put and abort, and makes no object."""
    from verger.storage.refusals import translate_errors

    probe = join(key, f"_preflight-{secrets.token_hex(4)}").removeprefix("/")
    try:
        with translate_errors(uri):
            _begin_and_abort(client, bucket, probe)
    except StoreError as error:
        if not encrypts and (demanded := _demanded_encryption(error, client, bucket, probe)):
            raise StoreError(
                f"{uri}: the store takes what is written only with encryption {demanded}", f"Give --sse {demanded}"
            ) from error
        raise
    with translate_errors(uri):
        try:  # a store that ignores conditions would let one run overwrite another
            client.put_object(Bucket=bucket, Key=probe, Body=b"", IfMatch='"0"')
        except client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 412):
                raise
            return
        client.delete_object(Bucket=bucket, Key=probe)
    raise StoreError(f"{uri}: the store ignores If-Match: two runs could overwrite each other", "Use another store")


def _begin_and_abort(client: S3Client, bucket: str, key: str, **encryption: Any) -> None:
    created = client.create_multipart_upload(Bucket=bucket, Key=key, **encryption)
    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=created["UploadId"])


def _demanded_encryption(denied: StoreError, client: S3Client, bucket: str, key: str) -> str | None:
    """The encryption with which the store takes an upload that it has denied without; None where it takes none."""
    from verger.storage.refusals import is_denial, translate_errors

    if not is_denial(denied) or "kms:" in denied.line:  # a key that may not be used is no demand of a policy
        return None
    for encryption in _ENCRYPTIONS:
        with suppress(VergerError), translate_errors(f"s3://{bucket}"):
            _begin_and_abort(client, bucket, key, ServerSideEncryption=encryption)
            return encryption
    return None
