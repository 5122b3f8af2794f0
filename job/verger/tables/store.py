"""The feature store: rows that are valid for ever, appended wave by wave, read as a union without duplicates."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from verger.errors import NothingToReadError, StoreError
from verger.storage.base import AlreadyPublishedError, Entry, Storage
from verger.storage.uri import join
from verger.tables.schemas import FEATURES, REFUSED, REJECTED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["path", "version"]
FILE = "__filename"  # Arrow's name for the file that holds a row
# Below this many rows the list of wanted photographs is broadcast, so that features are never shuffled.
_BROADCAST_ROWS = 5_000_000
# Files read at a time: their narrow columns are small, and each takes a round trip.
_READERS = 16
# What Spark says of a file that is there no more: as it reads it, as it plans to, and as it lists it.
_VANISHED = re.compile(
    r"FAILED_READ_FILE\.FILE_NOT_EXIST|\[PATH_NOT_FOUND\]"
    r"|FileNotFoundException: (?:File .* does not exist|No such file or directory: s3a:)"
)

T = TypeVar("T")


class FeatureStore:
    """The features of one fingerprint below one output.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    fingerprint : str
        Folder name that stands for network, weights and preprocessing.
    warn : callable, optional
        Told in one line of what is left out: a damaged file.
    """

    def __init__(
        self, storage: Storage, output: str, fingerprint: str, warn: Callable[[str], None] = lambda _: None
    ) -> None:
        self.storage = storage
        self.output = output
        self.fingerprint = fingerprint
        self.folder = join(output, "features", fingerprint)
        self.rejects_folder = join(output, "rejects", fingerprint)
        self.refused_folder = join(output, "refused", fingerprint)
        self._warn = warn
        # Files never change, so that every stage lists them anew and reads only those that it does not know.
        self._narrow: dict[str, list[pa.Table]] = {}

    def describe(self, description: dict[str, Any], weights: Callable[[], bytes] | None) -> None:
        """Keep once what made the features: fingerprint.json, and weights.npz where there are weights."""
        self._keep("fingerprint.json", (json.dumps(description, indent=2) + "\n").encode)
        if weights is not None:
            self._keep("weights.npz", weights)

    def _keep(self, name: str, content: Callable[[], bytes]) -> None:
        path = join(self.folder, name)
        if not self.storage.exists(path):
            with suppress(AlreadyPublishedError):  # another run was quicker, with the same content
                self.storage.publish_once(path, content())

    def spark_folder(self, run_id: str, wave: str) -> str:
        """Where Spark writes the features of one wave of one run, and nobody else."""
        return self.storage.spark_uri(join(self.folder, f"{run_id}-{wave}"))

    def discard(self, run_id: str, wave: str) -> None:
        """Remove what a failed wave may have left."""
        self.storage.delete(join(self.folder, f"{run_id}-{wave}"))

    def known(self) -> pa.Table:
        """Which photograph versions have features, and in which file.

        Returns
        -------
        pyarrow.Table
            ``path, version, file``, one row a photograph version; where several files hold the same, the
            last one by name is taken: a compacted file wins over those that it replaces.
        """
        return deduplicate(self.rows()[1], "file")

    def rows(self, folder: str | None = None) -> tuple[list[Entry], pa.Table]:
        """Every stored row, duplicates included.

        Parameters
        ----------
        folder : str, optional
            One that files are looked for in; default: the whole store.

        Returns
        -------
        list of Entry
            The files that can be read, by name.
        pyarrow.Table
            ``path, version, file`` of each row in them.
        """
        files, rows = self._scan(folder or self.folder, FEATURES, [*KEY, FILE])
        return files, rows.rename_columns([*KEY, "file"])

    def rejected(self) -> pa.Table:
        """The remembered, permanent rejections, one row a photograph version; schema REJECTED."""
        return deduplicate(self._scan(self.rejects_folder, REJECTED, REJECTED.names)[1], "at")

    def remember(self, run_id: str, wave: str, rejected: pa.Table) -> None:
        """Keep a wave's permanent rejections, so that the next run does not read these photographs again."""
        if rejected.num_rows:
            path = join(self.rejects_folder, f"{run_id}-{wave}", "part-00000.zstd.parquet")
            self.storage.publish_once(path, parquet_bytes(rejected))

    def refuse(self, run_id: str, batch: pa.Table) -> None:
        """Keep which photographs a run was refused with: they are judged as new ones until a run ends well with them.

        Else what that run has left in the store, features and rejections, would let the next one pass.
        """
        if batch.num_rows:
            path = join(self.refused_folder, f"{run_id}.zstd.parquet")
            self.storage.publish_once(path, parquet_bytes(batch.select(KEY)))

    def refused(self) -> pa.Table:
        """The photographs of refused runs: ``path, version, file``, one row a photograph version and run."""
        rows = self._scan(self.refused_folder, REFUSED, [*KEY, FILE])[1]
        return rows.rename_columns([*KEY, "file"])

    def accept(self, refused: pa.Table, left: pa.ChunkedArray) -> None:
        """Forget the refusals, of those that `refused` has given, that hold none of the paths in ``left``."""
        kept = pc.unique(refused["file"].filter(pc.is_in(refused["path"], value_set=left))).to_pylist()
        for file in sorted(set(pc.unique(refused["file"]).to_pylist()).difference(kept)):
            self.storage.delete(file)

    def features(self, spark: SparkSession, wanted: pa.Table) -> DataFrame:
        """The features of ``wanted`` photographs as a lazy DataFrame.

        Parameters
        ----------
        spark : SparkSession
        wanted : pyarrow.Table
            ``path, version, file`` as `known` gives them, and any further columns, which are kept.

        Returns
        -------
        pyspark.sql.DataFrame
            The columns of ``wanted`` without ``file``, and ``features array<float>``.
        """
        from pyspark.sql import functions as F

        stored = self.stored(spark, pc.unique(wanted["file"]).to_pylist(), [*KEY, "features"])
        asked = spark.createDataFrame(named(wanted))
        if wanted.num_rows <= _BROADCAST_ROWS:
            asked = F.broadcast(asked)
        return stored.join(asked, [*KEY, "file"]).drop("file")

    def stored(self, spark: SparkSession, files: Sequence[str], columns: Sequence[str]) -> DataFrame:
        """Columns of some files as they are, and ``file``, the last part of each one's name."""
        from pyspark.sql import functions as F
        from pyspark.sql.pandas.types import from_arrow_schema

        schema = from_arrow_schema(pa.schema([FEATURES.field(name) for name in columns]))
        # Paths are no patterns, as Spark would take them.
        reader = spark.read.schema(schema).option("__globPaths__", False)
        rows = reader.parquet(*(self.storage.spark_uri(file) for file in sorted(files)))
        return rows.select(*columns, F.col("_metadata.file_name").alias("file"))

    def _scan(self, folder: str, schema: pa.Schema, columns: list[str]) -> tuple[list[Entry], pa.Table]:
        """The files below ``folder`` and their narrow columns; what cannot be read is left out with a warning."""
        found = schema.append(pa.field(FILE, pa.string()))
        empty = pa.schema([found.field(name) for name in columns]).empty_table()
        tables = self._narrow

        def attempt() -> tuple[list[Entry], pa.Table]:
            entries = list(parquet_files(self.storage, folder))
            new = [entry.path for entry in entries if entry.path not in tables]
            with ThreadPoolExecutor(_READERS) as pool:
                read = zip(new, pool.map(lambda file: self._read(file, schema, columns), new), strict=True)
                tables.update((file, rows) for file, rows in read if rows is not None)
            if vanished := [file for file in new if file not in tables]:
                raise FileNotFoundError(vanished[0])
            whole = [entry for entry in entries if tables[entry.path]]
            return whole, pa.concat_tables([empty, *chain(*(tables[entry.path] for entry in whole))])

        return retry_if_vanished(attempt, folder)

    def _read(self, file: str, schema: pa.Schema, columns: list[str]) -> list[pa.Table] | None:
        """One file's narrow columns; no table where it is damaged, None where it has vanished."""
        try:
            return [ds.dataset([file], schema=schema, filesystem=self.storage.arrow()).to_table(columns)]
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError) as error:
            if not damaged(error):
                raise StoreError(f"{file} cannot be read: {_one_line(error)}", "Check the store") from error
            self._warn(f"{file} is damaged and left out; its photographs are computed again ({_one_line(error)})")
            return []


def retry_if_vanished(attempt: Callable[[], T], where: str, again: bool = True) -> T:
    """The result of ``attempt``, which lists files and reads them; once more where one vanished in between.

    Parameters
    ----------
    attempt : callable
    where : str
        The folder, for the message.
    again : bool
        Whether there may be a second attempt.

    Raises
    ------
    StoreError
        Files vanished in the second attempt too.
    """
    try:
        return attempt()
    except Exception as error:
        if not vanished(error):
            raise
        if not again:
            raise StoreError(
                f"files in {where} vanish while they are read", "Run again when nothing deletes files there"
            ) from error
    return retry_if_vanished(attempt, where, again=False)


def vanished(error: BaseException) -> bool:
    """Whether a file is there no more that was listed: a compaction or a prune has put another in its place.

    Spark tells it in text alone, Python's storages by FileNotFoundError, as it is or as the cause of their own error.
    """
    cause = error.__cause__ if isinstance(error, NothingToReadError) else error
    return isinstance(cause, FileNotFoundError) or bool(_VANISHED.search(str(error)))


def damaged(error: BaseException) -> bool:
    """Whether pyarrow refuses a file for its content; what the system refuses has a number or a type of its own."""
    return isinstance(error, pa.ArrowInvalid) or (type(error) is OSError and error.errno is None)


def named(rows: pa.Table) -> pa.Table:
    """``rows`` with the last part alone of each ``file``: Spark names each uniquely, whatever its folder."""
    names = pc.replace_substring_regex(rows["file"], r"^.*/", "")
    return rows.set_column(rows.schema.get_field_index("file"), "file", names)


def parquet_files(storage: Storage, folder: str) -> Iterable[Entry]:
    """The Parquet files below ``folder``, by name; names that start with ``_`` or ``.`` are skipped at any depth."""
    if not storage.exists(folder):
        return []
    hidden = re.compile(r"(^|/)[_.]")
    return sorted(
        (
            entry
            for entry in storage.list(folder)
            if entry.path.endswith(".parquet") and not hidden.search(entry.path.removeprefix(folder + "/"))
        ),
        key=lambda entry: entry.path,
    )


def deduplicate(rows: pa.Table, tie: str) -> pa.Table:
    """One row a (path, version): the last by the column ``tie``; sorted by path."""
    rows = rows.sort_by([("path", "ascending"), ("version", "ascending"), (tie, "descending")])
    if rows.num_rows < 2:
        return rows
    path, version = rows["path"].combine_chunks(), rows["version"].combine_chunks()
    repeats = pc.and_(pc.equal(path[1:], path[:-1]), pc.equal(version[1:], version[:-1]))
    return rows.filter(pa.concat_arrays([pa.array([True]), pc.invert(repeats)]))


def anti_join(rows: pa.Table, others: pa.Table, on: Sequence[str] = KEY) -> pa.Table:
    """The rows whose key is not among those of ``others`` (anti-join), in their order."""
    return rows.filter(pc.invert(pc.is_in(row_keys(rows, on), value_set=row_keys(others, on))))


def semi_join(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose (path, version) is among ``others`` (semi-join), in their order."""
    return rows.filter(pc.is_in(row_keys(rows), value_set=row_keys(others)))


def gone(known: pa.Table, source: str, present: pa.ChunkedArray) -> int:
    """How many photographs below ``source`` the store knows that are not among the ``present`` paths any more."""
    below = pc.unique(known["path"].filter(pc.starts_with(known["path"], join(source, ""))))
    return int(pc.sum(pc.invert(pc.is_in(below, value_set=present))).as_py() or 0)


def row_keys(rows: pa.Table | pa.RecordBatch, columns: Sequence[str] = KEY) -> pa.ChunkedArray | pa.Array:
    """Several text columns as one.

    Parameters
    ----------
    rows : pyarrow.Table or pyarrow.RecordBatch
        With these columns.
    columns : sequence of str
        Paths and versions, or other texts without NUL.

    Returns
    -------
    pyarrow.ChunkedArray or pyarrow.Array
        A text a row, of a table or a batch.
    """
    # NUL can stand in neither a path nor a version, so the joined key is as unique as its parts.
    return pc.binary_join_element_wise(*(rows[name] for name in columns), "\0")


def parquet_bytes(table: pa.Table) -> bytes:
    """A small table as one Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
