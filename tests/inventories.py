"""Reports as Amazon S3 Inventory writes them: a manifest, its checksum, and files of CSV, Parquet or ORC."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

BEGAN = datetime(2026, 11, 29, 1, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("bucket", pa.string()),
        ("key", pa.string()),
        ("version_id", pa.string()),
        ("is_latest", pa.bool_()),
        ("is_delete_marker", pa.bool_()),
        ("size", pa.int64()),
        ("last_modified_date", pa.timestamp("ms")),
        ("e_tag", pa.string()),
        ("storage_class", pa.string()),
    ]
)
"""The columns of a report of all versions, as Parquet and ORC name them."""

VERSIONS = ("version_id", "is_latest", "is_delete_marker")
_IN_CSV = {
    "bucket": "Bucket",
    "key": "Key",
    "version_id": "VersionId",
    "is_latest": "IsLatest",
    "is_delete_marker": "IsDeleteMarker",
    "size": "Size",
    "last_modified_date": "LastModifiedDate",
    "e_tag": "ETag",
    "storage_class": "StorageClass",
}
_SUFFIXES = {"CSV": "csv.gz", "Parquet": "parquet", "ORC": "orc"}


class Listed(NamedTuple):
    """A version of an object, or a delete marker, that a report lists."""

    key: str
    size: int | None
    etag: str | None
    latest: bool = True
    deleted: bool = False


def report(
    objects: Iterable[Listed],
    kind: str = "CSV",
    *,
    bucket: str = "orchard",
    began: datetime = BEGAN,
    files: int = 2,
    without: tuple[str, ...] = VERSIONS,
    into: str = "inventory",
) -> dict[str, bytes]:
    """The files of a report by their keys in the destination bucket, the manifest last but one.

    Parameters
    ----------
    without : tuple of str
        Columns of `SCHEMA` that the configuration leaves out: by default, those of versions.
    """
    folder = f"{into}/{bucket}/daily"
    names = [name for name in SCHEMA.names if name not in without]
    rows = list(objects)
    data = {
        f"{folder}/data/{began:%d}-{number}.{_SUFFIXES[kind]}": _file(rows[number::files], kind, bucket, names)
        for number in range(files)
    }
    listed = [
        {"key": key, "size": len(file), "MD5checksum": hashlib.md5(file).hexdigest()} for key, file in data.items()
    ]
    manifest = {
        "sourceBucket": bucket,
        "destinationBucket": "arn:aws:s3:::reports",
        "version": "2016-11-30",
        "creationTimestamp": str(round(began.timestamp() * 1000)),
        "fileFormat": kind,
        "fileSchema": ", ".join(_IN_CSV[name] for name in names)
        if kind == "CSV"
        else f"message s3.inventory {{{names}}}",
        "files": listed,
    }
    document = json.dumps(manifest, indent=2).encode()
    dated = f"{folder}/{began:%Y-%m-%dT%H-%MZ}"
    return data | {
        f"{dated}/manifest.json": document,
        f"{dated}/manifest.checksum": hashlib.md5(document).hexdigest().encode(),
    }


def _file(rows: list[Listed], kind: str, bucket: str, names: list[str]) -> bytes:
    values: list[dict[str, Any]] = [
        {
            "bucket": bucket,
            "key": row.key,
            "version_id": f"v{number}",
            "is_latest": row.latest,
            "is_delete_marker": row.deleted,
            "size": row.size,
            "last_modified_date": BEGAN.replace(tzinfo=None),
            "e_tag": row.etag,
            "storage_class": None if row.deleted else "STANDARD",
        }
        for number, row in enumerate(rows)
    ]
    if kind == "CSV":
        return _csv(values, names)
    table = pa.Table.from_pylist(values, SCHEMA).select(names)
    file = io.BytesIO()
    if kind == "Parquet":
        pq.write_table(table, file, compression="snappy")
    else:
        orc.write_table(table, file)
    return file.getvalue()


def _csv(values: list[dict[str, Any]], names: list[str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    for row in values:
        shown = {name: "" if value is None else str(value) for name, value in row.items()}
        shown |= {name: str(row[name]).lower() for name in ("is_latest", "is_delete_marker")}
        shown |= {"key": quote_plus(row["key"], safe="/"), "last_modified_date": "2026-11-28T09:30:00.000Z"}
        writer.writerow(shown[name] for name in names)
    return gzip.compress(text.getvalue().encode())
