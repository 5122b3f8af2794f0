"""What a run stood on: each photograph with the place of its features, for the next run to compare itself with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq

from verger.batches import parquet_batches
from verger.errors import StoreError
from verger.photographs.difference import LOCATION
from verger.photographs.inventory import SCHEMA as PHOTOGRAPHS
from verger.storage.base import Storage, raise_if_corrupt
from verger.storage.uri import join
from verger.tables.runs import Run
from verger.tables.store import parquet_files

SCHEMA = pa.schema([*PHOTOGRAPHS, LOCATION.field("file"), LOCATION.field("row")])
"""One row a photograph of the run's table, in the order of the bytes of the paths; ``size`` in bytes."""
_FILES = pa.schema([("file", pa.string()), ("version", pa.string()), ("rows", pa.int64()), ("size", pa.int64())])

_UNUSED, _COVERED = "_unused.parquet", "_files.parquet"  # readers of the table skip these names
_PART_ROWS = 1 << 20
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class StoredFile:
    """A file of the feature store, as a run saw it.

    Attributes
    ----------
    version : str
        As `verger.storage.base.Entry` has it.
    rows : int
        Photograph versions in it.
    size : int
        Its bytes.
    """

    version: str
    rows: int
    size: int


@dataclass(frozen=True)
class Snapshot:
    """The snapshot of a finished run.

    Attributes
    ----------
    storage : Storage
        The store that holds it.
    parts : tuple of str
        Canonical paths of the Parquet files of its photographs.
    unused : str
        That of the file of stored rows that the run did not stand on.
    num_rows : int
        Photographs.
    files : dict of str to StoredFile
        All files of the feature store that the run knew, by their path below the store's folder.
    """

    storage: Storage
    parts: tuple[str, ...]
    unused: str
    num_rows: int
    files: Mapping[str, StoredFile]

    @classmethod
    def open(cls, run: Run) -> Self:
        """Open the snapshot of a finished run.

        Parameters
        ----------
        run : Run
            The run that wrote it.

        Returns
        -------
        Snapshot
            Its rows are not read yet.

        Raises
        ------
        StoreError
            It is gone, or damaged.
        """
        storage, folder = run.storage, run.path("snapshot")
        parts = tuple(entry.path for entry in parquet_files(storage, folder))
        covered = pa.Table.from_batches(_batches(storage, join(folder, _COVERED), _FILES), _FILES)
        rows = 0
        for path in parts:
            with _opened(storage, path, SCHEMA) as part:
                rows += part.metadata.num_rows
        files = {row["file"]: StoredFile(row["version"], row["rows"], row["size"]) for row in covered.to_pylist()}
        return cls(storage, parts, join(folder, _UNUSED), rows, files)

    def photographs(self) -> Iterator[pa.RecordBatch]:
        """Read the photographs of the run.

        Yields
        ------
        pyarrow.RecordBatch
            With the columns of `SCHEMA`, in the order of the paths' bytes.

        Raises
        ------
        StoreError
            A file is damaged or gone.
        """
        for path in self.parts:
            yield from _batches(self.storage, path, SCHEMA)

    def unused_rows(self) -> Iterator[pa.RecordBatch]:
        """Read the stored rows that the run did not stand on: other versions, and copies in other files.

        Yields
        ------
        pyarrow.RecordBatch
            With the columns of `LOCATION`, in the same order.

        Raises
        ------
        StoreError
            The file is damaged or gone.
        """
        yield from _batches(self.storage, self.unused, LOCATION)


def write(
    run: Run,
    photographs: Iterable[pa.RecordBatch | pa.Table],
    unused: Iterable[pa.RecordBatch | pa.Table],
    files: Mapping[str, StoredFile],
) -> int:
    """Write the snapshot of a run, as streams.

    Parameters
    ----------
    run : Run
        In whose folder it is written.
    photographs : iterable of pyarrow.RecordBatch or pyarrow.Table
        With the columns of `SCHEMA`, sorted by path.
    unused : iterable of pyarrow.RecordBatch or pyarrow.Table
        Stored rows that the run does not stand on (`LOCATION`), sorted by path.
    files : mapping of str to StoredFile
        All files of the feature store that the run knows.

    Returns
    -------
    int
        Photographs.
    """
    storage, folder = run.storage, run.path("snapshot")
    written = 0
    for number, part in enumerate(_parts(photographs)):
        written += _write(storage, join(folder, f"part-{number:05d}.zstd.parquet"), SCHEMA, part)
    _write(storage, join(folder, _UNUSED), LOCATION, unused)
    covered = [{"file": name, **asdict(file)} for name, file in sorted(files.items())]
    _write(storage, join(folder, _COVERED), _FILES, [pa.Table.from_pylist(covered, _FILES)])
    return written


def _parts(rows: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[Iterator[pa.Table]]:
    """The rows in parts of about _PART_ROWS, each a stream; one part where there is no row."""
    stream = iter(rows)
    ended = False

    def part() -> Iterator[pa.Table]:
        nonlocal ended
        taken = 0
        for some in stream:
            yield some if isinstance(some, pa.Table) else pa.Table.from_batches([some])
            taken += some.num_rows
            if taken >= _PART_ROWS:
                return
        ended = True

    while not ended:
        yield part()


def _write(storage: Storage, path: str, schema: pa.Schema, tables: Iterable[pa.RecordBatch | pa.Table]) -> int:
    rows = 0
    dictionary = [name for name in ("label", "split", "file") if name in schema.names]
    settings = {"compression": "zstd", "use_dictionary": dictionary, "write_page_checksum": True}
    with storage.stream(path) as file, pq.ParquetWriter(file, schema, **settings) as writer:
        for table in tables:
            chosen = table.select(schema.names)
            batch = chosen if isinstance(chosen, pa.Table) else pa.Table.from_batches([chosen])
            writer.write_table(batch.cast(schema), row_group_size=_BATCH_ROWS)
            rows += table.num_rows
    return rows


@contextmanager
def _opened(storage: Storage, path: str, schema: pa.Schema) -> Iterator[pq.ParquetFile]:
    """A file that has these columns; StoreError where it is gone or damaged, also while it is read."""
    try:
        with (
            raise_if_corrupt(path),
            pq.ParquetFile(storage.arrow().open_input_file(path), page_checksum_verification=True) as file,
        ):
            if not file.schema_arrow.equals(schema):
                raise ValueError(f"{file.schema_arrow.names} instead of {schema.names}")
            yield file
    except FileNotFoundError as error:
        raise StoreError(f"{path} is gone", "Run again") from error


def _batches(storage: Storage, path: str, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    with _opened(storage, path, schema) as file:
        yield from parquet_batches(file, _BATCH_ROWS)
