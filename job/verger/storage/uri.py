"""Local paths and ``s3://`` URIs in one canonical form."""

from __future__ import annotations

import os
import re
from pathlib import Path

from verger.errors import UsageError

S3 = "s3://"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")


def canonical(uri: str, *, any_key: bool = False) -> str:
    """Turn a local path or a URI into its canonical form.

    Parameters
    ----------
    uri : str
        A local path, or a ``file:``, ``s3:`` or ``s3a:`` URI.
    any_key : bool
        Whether it may name an object whose key is no path, such as ``in//1.jpg``. A folder must be a path.

    Returns
    -------
    str
        An absolute POSIX path or ``s3://bucket/key``, without a slash at the end, never percent-encoded.

    Raises
    ------
    UsageError
        The scheme is not supported, or the rest is not a valid path of it.

    Examples
    --------
    >>> canonical("s3a://orchard/photographs/"), canonical("file:///data/fruit")
    ('s3://orchard/photographs', '/data/fruit')
    """
    if uri.startswith("arn:"):  # the residency guard refuses it, and says why
        return S3 + uri
    scheme = re.match(r"^([A-Za-z][A-Za-z0-9+.-]*):(?=/)", uri)
    if scheme is None:
        return _absolute(os.path.expanduser(uri))
    rest = uri[scheme.end() :]
    match scheme[1].lower():
        case "file":
            return _absolute(_without_host(uri, rest))
        case "s3" | "s3a":
            return _in_bucket(uri, rest, any_key)
    raise UsageError(f"{uri}: the scheme {scheme[1]}: is not supported", "Give a local path, or a file: or s3:// URI")


def _without_host(uri: str, rest: str) -> str:
    if not rest.startswith("//"):
        return rest
    host, _, path = rest[2:].partition("/")
    if host not in ("", "localhost"):
        raise UsageError(f"{uri} names the host {host}", "A file: URI has none: file:///folder")
    return "/" + path


def _in_bucket(uri: str, rest: str, any_key: bool) -> str:
    bucket, _, key = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not (_BUCKET.fullmatch(bucket) or bucket.startswith("arn:")):
        redacted = re.sub("//.*@", "//...@", uri)  # old versions of Hadoop took access keys there
        raise UsageError(f"{redacted} names no bucket", "Write s3://BUCKET/FOLDER")
    key = key.rstrip("/")
    if key and not any_key and {"", ".", ".."} & set(key.split("/")):  # Spark and boto3 would read different folders
        raise UsageError(f"{uri}: '//', '/./' and '/../' are not supported in a bucket", "Write s3://BUCKET/FOLDER")
    return f"{S3}{bucket}/{key}" if key else f"{S3}{bucket}"


def _absolute(path: str) -> str:
    """`os.path.abspath` keeps two leading slashes, which mean the same as one on Linux."""
    return "/" + os.path.abspath(path).lstrip("/")


def bucket_name(uri: str) -> str | None:
    """The bucket of a path.

    Parameters
    ----------
    uri : str
        Canonical.

    Returns
    -------
    str or None
        None for a local path.
    """
    return uri.removeprefix(S3).partition("/")[0] if uri.startswith(S3) else None


def join(folder: str, *parts: str) -> str:
    """A path below a folder.

    Parameters
    ----------
    folder : str
        A path, URI or key, with or without a slash at the end.
    *parts
        Names of folders and files; an empty last one gives a slash at the end.

    Returns
    -------
    str
        Folder and parts with a slash between them.

    Examples
    --------
    >>> join("/out", "runs", "latest.json")
    '/out/runs/latest.json'
    """
    return "/".join((folder.rstrip("/"), *parts))


def contains(folder: str, path: str) -> bool:
    """Whether a path is a folder or is below it. Symbolic links are followed.

    Folders of a disk are compared as such too, as one may have several names: where upper and lower case do not matter,
    or where it is mounted twice.

    Parameters
    ----------
    folder, path : str
        Canonical.
    """
    outer, inner = (name if name.startswith(S3) else os.path.realpath(name) for name in (folder, path))
    if inner == outer or inner.startswith(outer.rstrip("/") + "/"):
        return True
    if folder.startswith(S3) or path.startswith(S3):
        return False
    return any(_same_folder(outer, str(parent)) for parent in (Path(inner), *Path(inner).parents))


def _same_folder(folder: str, other: str) -> bool:
    try:
        return os.path.samefile(folder, other)
    except OSError:  # one of them does not exist yet, or may not be entered
        return False


def require_disjoint(source: str, output: str) -> tuple[str, str]:
    """The canonical forms of a run's input and output.

    Parameters
    ----------
    source, output : str
        Local paths or URIs.

    Returns
    -------
    tuple of str
        Both in canonical form.

    Raises
    ------
    UsageError
        One contains the other: the run would list its own results, or write among the photographs.
    """
    source, output = canonical(source), canonical(output)
    if contains(source, output) or contains(output, source):
        raise UsageError(
            f"input {source} and output {output} contain one another", "Choose an output outside the photographs"
        )
    return source, output
