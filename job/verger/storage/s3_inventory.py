"""Reports of Amazon S3 Inventory: which objects a bucket had when the report was made.

AWS writes a report once a day or a week, of a whole bucket or of a prefix, as files of CSV, Parquet or ORC and a
``manifest.json`` that names them
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from verger.errors import NothingToReadError, StoreError, UsageError
from verger.prefetch import prefetch
from verger.spool import full_disk_explained
from verger.storage.base import Storage
from verger.storage.s3_inventory_files import FORMATS, read_objects
from verger.storage.stores import Stores
from verger.storage.uri import S3, bucket_name, canonical, join

OBJECTS = pa.schema([("path", pa.string()), ("size", pa.int64()), ("version", pa.string())])
"""One row for each object: canonical path, size in bytes, and version, all as `verger.storage.base.Entry` has them."""

MANIFEST, CHECKSUM = "manifest.json", "manifest.checksum"

# The folder of a report is named after the time at which AWS began it.
_DATED = re.compile(r"(?P<began>\d{4}-\d\d-\d\dT\d\d-\d\dZ)/(?P<file>manifest\.(?:json|checksum))")
_BLOCK_BYTES = 8 << 20  # of a file of the report, read at a time
_NEXT = "Name another report, or leave --inventory out"


class ReportFile(NamedTuple):
    """A file of a report.

    Attributes
    ----------
    path : str
        Canonical.
    md5 : str
        Of its bytes, as hexadecimal digits.
    """

    path: str
    md5: str


@dataclass(frozen=True)
class Report:
    """A report, of which only the manifest has been read.

    Attributes
    ----------
    path : str
        Of its manifest, canonical.
    storage : Storage
        The store that has the report.
    bucket : str
        The bucket that was listed.
    created : datetime
        When AWS began to list it, in UTC.
    format : str
        ``CSV``, ``Parquet`` or ``ORC``.
    columns : tuple of str
        The columns of a file of CSV, in their order; files of other formats name their own.
    files : tuple of ReportFile
        Together they have all objects.
    """

    path: str
    storage: Storage
    bucket: str
    created: datetime
    format: str
    columns: tuple[str, ...]
    files: tuple[ReportFile, ...]

    @classmethod
    def open(cls, uri: str, source: str, stores: Stores) -> Report:
        """Find a report and read its manifest.

        Parameters
        ----------
        uri : str
            Of a ``manifest.json``, of the folder of one report, or of the folder of all reports of one configuration,
            of which the newest is taken that is complete.
        source : str
            Canonical folder of the photographs.
        stores : Stores
            How the report is reached.

        Returns
        -------
        Report
            Its files have not been read yet.

        Raises
        ------
        UsageError
            It is no report, or one of another bucket, or in a format that is not known.
        NothingToReadError
            There is no complete report.
        StoreError
            The manifest is damaged, or the store refuses or cannot be reached.
        """
        uri = canonical(uri)
        storage = stores.of(uri)
        path = uri if uri.endswith(".json") else _newest(storage, uri)
        report = cls._parse(_read_manifest(storage, path), path, storage)
        if bucket_name(source) != report.bucket:
            raise UsageError(
                f"inventory {path} lists s3://{report.bucket}, and the input is {source}",
                "Name a report of the input's bucket, or leave --inventory out",
            )
        if report.format not in FORMATS:
            raise UsageError(
                f"inventory {path} is in the format {report.format}, which is not read",
                f"Choose {' or '.join(FORMATS)} in the inventory's configuration, and use its next report",
            )
        return report

    @classmethod
    def _parse(cls, data: bytes, path: str, storage: Storage) -> Report:
        try:
            document = json.loads(data)
            schema = str(document["fileSchema"])
            return cls(
                path,
                storage,
                str(document["sourceBucket"]).rpartition(":")[2],
                datetime.fromtimestamp(int(document["creationTimestamp"]) / 1000, UTC),
                str(document["fileFormat"]),
                tuple(name.strip() for name in schema.split(",")),
                tuple(
                    ReportFile(_located(str(file["key"]), path), str(file["MD5checksum"]).lower())
                    for file in document["files"]
                ),
            )
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise UsageError(
                f"inventory {path} is not the manifest of an S3 Inventory report", f"Name its {MANIFEST}"
            ) from error

    def objects(self, folder: str, scratch: str | None = None) -> Iterator[pa.RecordBatch]:
        """Read the objects below a folder, in no particular order.

        Versions that are not the latest, and delete markers, are left out. The files are copied to the disk one after
        the other, and checked; while one is read, the next is copied. Memory does not grow with their number.

        Parameters
        ----------
        folder : str
            Canonical, in the bucket that was listed.
        scratch : str, optional
            Folder for temporary files; default: the system's.

        Yields
        ------
        pyarrow.RecordBatch
            Schema `OBJECTS`; empty objects whose key ends in a slash are left out, as in a listing.

        Raises
        ------
        UsageError
            The report lacks a column that is needed.
        StoreError
            A file is missing or damaged, or the store refuses or cannot be reached.
        DoesNotFitError
            The disk of the temporary files is full.
        """
        prefix = join(folder, "").removeprefix(f"{S3}{self.bucket}/")
        copies = (self._copy(file, scratch or tempfile.gettempdir()) for file in self.files)
        for file, copy in prefetch(zip(self.files, copies, strict=True), ahead=1):
            with copy:
                for rows in read_objects(copy, file.path, self.format, self.columns):
                    yield _listed(rows, self.bucket, prefix)

    def _copy(self, file: ReportFile, scratch: str) -> IO[bytes]:
        """A copy of a file of the report on disk, without a name; its bytes are those that the manifest means."""
        digest = hashlib.md5(usedforsecurity=False)
        with full_disk_explained(scratch):
            os.makedirs(scratch, exist_ok=True)
            copy = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115
        try:
            with self.storage.arrow().open_input_file(file.path) as source:
                while block := source.read(_BLOCK_BYTES):
                    digest.update(block)
                    with full_disk_explained(scratch):
                        copy.write(block)
        except FileNotFoundError:
            raise StoreError(
                f"{file.path}, a file of the inventory report {self.path}, does not exist", _NEXT
            ) from None
        with full_disk_explained(scratch):
            copy.flush()
        if digest.hexdigest() != file.md5:
            raise StoreError(f"{file.path} is not the file that the inventory report {self.path} names", _NEXT)
        return copy


def _newest(storage: Storage, folder: str) -> str:
    """The manifest of the newest report in a folder that is complete: its checksum is what AWS writes last."""
    files: dict[str, set[str]] = {}
    for entry in storage.list(folder):
        below = entry.path.removeprefix(join(folder, ""))
        if below == MANIFEST:
            return entry.path
        if found := _DATED.fullmatch(below):
            files.setdefault(found["began"], set()).add(found["file"])
    complete = [began for began, names in files.items() if names == {MANIFEST, CHECKSUM}]
    if not complete:
        raise NothingToReadError(
            f"inventory {folder} has no complete report",
            f"Name a report's {MANIFEST}, or the folder of the reports of one configuration: "
            "s3://DESTINATION/PREFIX/BUCKET/CONFIGURATION",
        )
    return join(folder, max(complete), MANIFEST)


def _read_manifest(storage: Storage, path: str) -> bytes:
    """The manifest; its MD5 is that of the file beside it, where there is one."""
    data, checksum = storage.read(path), join(path.rpartition("/")[0], CHECKSUM)
    try:
        expected = storage.read(checksum).decode(errors="replace").strip().lower()
    except NothingToReadError:  # a copy of a report may come without it
        return data
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != expected:
        raise StoreError(f"inventory {path} is not the file of which {checksum} is the MD5", _NEXT)
    return data


def _located(key: str, manifest: str) -> str:
    """The path of a file of a report. One that was copied to a disk keeps its files where AWS puts them.

    Files are read from the manifest's own bucket, which is the one that the residency guard has asked.
    """
    name = bucket_name(manifest)
    if name is not None:
        return f"{S3}{name}/{key}"
    return join(manifest.rsplit("/", 2)[0], "data", key.rpartition("/")[2])


def _listed(rows: pa.RecordBatch, bucket: str, prefix: str) -> pa.RecordBatch:
    """The objects below a prefix, as a listing has them."""
    key, size, etag = rows["key"], rows["size"], rows["etag"]
    marker = pc.and_(pc.equal(size, 0), pc.ends_with(key, "/"))  # an empty object with which consoles show a folder
    wanted = pc.and_not(pc.starts_with(key, prefix), marker)
    key, size, etag = (column.filter(wanted) for column in (key, size, etag))
    path = pc.binary_join_element_wise(pa.scalar(f"{S3}{bucket}"), key, "/")
    version = pc.binary_join_element_wise(etag, size.cast(pa.string()), "-")
    return pa.record_batch([path, size, version], schema=OBJECTS)
