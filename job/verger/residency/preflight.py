"""Before a run: whether it may read and write where it is told to, and whether the data stays in the EU."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from verger.config import AccessSettings
from verger.errors import NothingToReadError, StoreError
from verger.residency.guard import Residency, guard
from verger.storage.stores import Stores
from verger.storage.uri import S3, bucket_name, canonical, join

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# One photograph that is denied is a bad photograph; so many are a bucket that may not be read.
_TRIED = 3
# Roles of places that are read by name: nobody need have the right to list what is beside them.
_OBJECTS = ("weights", "photographs")


def places(
    *, input: str | None = None, output: str | None = None, event_log: str | None = None, weights: str | None = None
) -> dict[str, str]:
    """Canonical URIs, by role, of the places that a command touches.

    Parameters
    ----------
    input, output, event_log : str, optional
        Local paths or URIs.
    weights : str, optional
        The setting of that name; ``bundled``, ``imagenet`` and ``random`` name no place.
    """
    if weights in ("bundled", "imagenet", "random"):
        weights = None
    named = {"input": input, "output": output, "event log": event_log, "weights": weights}
    return {role: canonical(uri) for role, uri in named.items() if uri}


def admit(
    stores: Stores,
    places: Mapping[str, str],
    settings: AccessSettings,
    written: Collection[str] = (),
    tried: bool = True,
) -> Residency:
    """Ask where every bucket stands, then whether it may be read and written; nothing is left there.

    Parameters
    ----------
    stores : Stores
        In which the buckets are connected.
    places : mapping of str to str
        Canonical URIs by role: input, output, weights, ...
    settings : AccessSettings
    written : collection of str
        The roles that are written to.
    tried : bool
        Whether to try that; nothing is written where it is False.

    Raises
    ------
    ResidencyError
        A bucket is not in the EU, or cannot be told to be.
    StoreError
        The store refuses, or cannot be reached.
    NothingToReadError
        There is no such bucket.
    """
    admitted = guard(stores, places, settings, written)
    for role, uri in places.items():
        if bucket_name(uri):
            _try(stores, uri, listed=role not in _OBJECTS, written=tried and role in written)
    return admitted


def _try(stores: Stores, uri: str, listed: bool, written: bool) -> None:
    name = bucket_name(uri)
    assert name is not None
    bucket = stores.bucket(name)
    client, key = stores.client(bucket, patient=False), uri.removeprefix(f"{S3}{name}").removeprefix("/")
    if listed:
        _read(client, name, join(key, "") if key else "", uri)
    if written:
        _write(client, name, key, uri)


def _read(client: S3Client, bucket: str, prefix: str, uri: str) -> None:
    """A listing, which unlike HEAD says why it is refused; and the first byte of an object."""
    from verger.storage.refusals import not_s3, translate_errors

    with translate_errors(uri):
        page = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=_TRIED)
    if "Name" not in page:  # a web server's page parses as an answer without anything in it
        raise not_s3(uri)
    denied = None
    for item in page.get("Contents", []):
        try:
            with translate_errors(f"s3://{bucket}/{item['Key']}"):
                span = {"Range": "bytes=0-0"} if item["Size"] else {}
                client.get_object(Bucket=bucket, Key=item["Key"], **span)["Body"].close()  # type: ignore[arg-type]
            return
        except NothingToReadError:  # gone since: what is left to read is told by the run's own listing
            return
        except StoreError as error:
            denied = error
    if denied is not None:
        raise denied


def _write(client: S3Client, bucket: str, key: str, uri: str) -> None:
    """An upload that is begun and abandoned, as the committer begins them: it asks for the right, and shows nothing."""
    from verger.storage.refusals import translate_errors

    probe = join(key, f"_preflight-{secrets.token_hex(4)}").removeprefix("/")
    with translate_errors(uri):
        begun = client.create_multipart_upload(Bucket=bucket, Key=probe)
        client.abort_multipart_upload(Bucket=bucket, Key=probe, UploadId=begun["UploadId"])
        try:  # what is published once must stay: a store that looks at no condition would let a run be overwritten
            client.put_object(Bucket=bucket, Key=probe, Body=b"", IfMatch='"0"')
        except client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 412):
                raise
            return
        client.delete_object(Bucket=bucket, Key=probe)
    raise StoreError(f"{uri}: the store ignores If-Match: two runs could overwrite each other", "Use another store")
