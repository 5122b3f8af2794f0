"""Places by URI: local paths and ``s3://`` in one canonical form."""

from __future__ import annotations

import os
import re

from verger.errors import UsageError

S3 = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


def canonical(uri: str) -> str:
    """Fold a local path, ``file:``, ``s3:`` or ``s3a:`` URI to its canonical form.

    Raises
    ------
    UsageError
        The scheme is not known, or what follows it names no place.
    """
    if uri.startswith("arn:"):  # so that the residency guard can say why it refuses it
        return S3 + uri
    scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)", uri)
    if scheme is None:
        return _absolute(os.path.expanduser(uri))
    rest = uri[scheme.end() :]
    match scheme[1].lower():
        case "file":
            return _absolute(_without_host(uri, rest))
        case "s3" | "s3a":
            return _in_bucket(uri, rest)
    raise UsageError(f"{uri}: the scheme {scheme[1]}: is not supported", "Give a local path, or a file: or s3:// URI")


def _without_host(uri: str, rest: str) -> str:
    if not rest.startswith("//"):
        return rest
    host, _, path = rest[2:].partition("/")
    if host not in ("", "localhost"):
        raise UsageError(f"{uri} names the host {host}", "A file: URI has none: file:///folder")
    return "/" + path


def _in_bucket(uri: str, rest: str) -> str:
    bucket, _, key = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not (_BUCKET.fullmatch(bucket) or bucket.startswith("arn:")):
        named = re.sub("//.*@", "//...@", uri)  # keys, in the manner of old Hadoop
        raise UsageError(f"{named} names no bucket", "Write s3://BUCKET/FOLDER")
    key = key.rstrip("/")
    if key and {"", ".", ".."} & set(key.split("/")):  # Spark would take them for another folder than boto3 does
        raise UsageError(f"{uri}: '//', '/./' and '/../' name no folder in a bucket", "Write s3://BUCKET/FOLDER")
    return f"{S3}{bucket}/{key}".rstrip("/")


def _absolute(path: str) -> str:
    """POSIX lets two leading slashes stand, and means the same place by them on Linux."""
    return "/" + os.path.abspath(path).lstrip("/")


def bucket_name(uri: str) -> str | None:
    """The bucket of a canonical URI; None for a local path."""
    return uri.removeprefix(S3).partition("/")[0] if uri.startswith(S3) else None


def join(folder: str, *parts: str) -> str:
    """A path below ``folder``."""
    return "/".join((folder.rstrip("/"), *parts))


def contains(folder: str, path: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; symbolic links are followed."""
    outer, inner = (place if place.startswith(S3) else os.path.realpath(place) for place in (folder, path))
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def require_disjoint(source: str, output: str) -> tuple[str, str]:
    """Canonical forms of a run's two places.

    Raises
    ------
    UsageError
        One contains the other: the run would list what it writes, or write among the photographs.
    """
    source, output = canonical(source), canonical(output)
    if contains(source, output) or contains(output, source):
        raise UsageError(
            f"input {source} and output {output} contain one another", "Choose an output outside the photographs"
        )
    return source, output
