"""The feature store: rows that are valid for ever, appended wave by wave, read as a union without duplicates."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from verger.access.storage import AlreadyPublishedError, Entry, Storage, join, storage_of
from verger.tables.schemas import FEATURES, REJECTED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

KEY = ["path", "version"]
FILE = "__filename"  # Arrow's name for the file that holds a row
# Below this many rows the list of wanted photographs is broadcast, so that features are never shuffled.
_BROADCAST_ROWS = 5_000_000
# Files read at a time: their narrow columns are small, and each takes a round trip.
_READERS = 16


class FeatureStore:
    """The features of one fingerprint below one output.

    Parameters
    ----------
    output : str
        Canonical folder of the output.
    fingerprint : str
        Folder name that stands for network, weights and preprocessing.
    warn : callable, optional
        Told in one line of what is left out: a damaged file.
    """

    def __init__(self, output: str, fingerprint: str, warn: Callable[[str], None] = lambda _: None) -> None:
        self.output = output
        self.fingerprint = fingerprint
        self.folder = join(output, "features", fingerprint)
        self.rejects_folder = join(output, "rejects", fingerprint)
        self._storage = storage_of(output)
        self._warn = warn

    def describe(self, description: dict[str, Any], weights: Callable[[], bytes] | None) -> None:
        """Keep once what made the features: fingerprint.json, and weights.npz where there are weights."""
        self._keep("fingerprint.json", (json.dumps(description, indent=2) + "\n").encode)
        if weights is not None:
            self._keep("weights.npz", weights)

    def _keep(self, name: str, content: Callable[[], bytes]) -> None:
        path = join(self.folder, name)
        if not self._storage.exists(path):
            with suppress(AlreadyPublishedError):  # another run was quicker, with the same content
                self._storage.publish_once(path, content())

    def spark_folder(self, run_id: str, wave: str) -> str:
        """Where Spark writes the features of one wave of one run, and nobody else."""
        return self._storage.spark_uri(join(self.folder, f"{run_id}-{wave}"))

    def discard(self, run_id: str, wave: str) -> None:
        """Remove what a failed wave may have left."""
        self._storage.delete(join(self.folder, f"{run_id}-{wave}"))

    def known(self) -> pa.Table:
        """Which photograph versions have features, and in which file.

        Returns
        -------
        pyarrow.Table
            ``path, version, file``, one row a photograph version; where two runs computed the same, the
            first file by name is taken.
        """
        return deduplicate(self._scan(self.folder, FEATURES, [*KEY, FILE]).rename_columns([*KEY, "file"]), "file")

    def rejected(self) -> pa.Table:
        """The remembered, permanent rejections, one row a photograph version; schema REJECTED."""
        return deduplicate(self._scan(self.rejects_folder, REJECTED, REJECTED.names), "at")

    def remember(self, run_id: str, wave: str, rejected: pa.Table) -> None:
        """Keep a wave's permanent rejections, so that the next run does not read these photographs again."""
        if rejected.num_rows:
            path = join(self.rejects_folder, f"{run_id}-{wave}", "part-00000.zstd.parquet")
            self._storage.publish_once(path, parquet_bytes(rejected))

    def forget(self, run_id: str) -> None:
        """Remove what a run remembered: one that was refused for its many rejections must not be let pass by them."""
        for entry in parquet_files(self._storage, self.rejects_folder):
            if entry.path.startswith(join(self.rejects_folder, f"{run_id}-")):
                self._storage.delete(entry.path)

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

        files = pc.unique(wanted["file"]).to_pylist()
        paths = [self._storage.spark_uri(file) for file in sorted(files)]
        # Paths are no patterns, as Spark would take them.
        reader = spark.read.schema("path string, version string, features array<float>").option("__globPaths__", False)
        stored = reader.parquet(*paths)
        stored = stored.select(*KEY, "features", F.col("_metadata.file_name").alias("file"))
        # Spark names each file uniquely, so its last part tells it from those of other waves.
        names = pc.replace_substring_regex(wanted["file"], r"^.*/", "")
        asked = spark.createDataFrame(wanted.set_column(wanted.schema.get_field_index("file"), "file", names))
        if wanted.num_rows <= _BROADCAST_ROWS:
            asked = F.broadcast(asked)
        return stored.join(asked, [*KEY, "file"]).drop("file")

    def _scan(self, folder: str, schema: pa.Schema, columns: list[str]) -> pa.Table:
        """Narrow columns of every file below ``folder``; what cannot be read is left out with a warning."""
        found = schema.append(pa.field(FILE, pa.string()))
        empty = pa.schema([found.field(name) for name in columns]).empty_table()
        files = [entry.path for entry in parquet_files(self._storage, folder)]
        with ThreadPoolExecutor(_READERS) as pool:
            tables = pool.map(lambda file: self._read(file, schema, columns), files)
            return pa.concat_tables([empty, *(table for table in tables if table is not None)])

    def _read(self, file: str, schema: pa.Schema, columns: list[str]) -> pa.Table | None:
        try:
            return ds.dataset([file], schema=schema, filesystem=self._storage.arrow()).to_table(columns)
        except (pa.ArrowInvalid, OSError) as error:
            self._warn(f"{file} is damaged and left out; its photographs are computed again ({_one_line(error)})")
            return None


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
    """One row a (path, version): the first by the column ``tie``; sorted by path."""
    rows = rows.sort_by([("path", "ascending"), ("version", "ascending"), (tie, "ascending")])
    if rows.num_rows < 2:
        return rows
    path, version = rows["path"].combine_chunks(), rows["version"].combine_chunks()
    repeats = pc.and_(pc.equal(path[1:], path[:-1]), pc.equal(version[1:], version[:-1]))
    return rows.filter(pa.concat_arrays([pa.array([True]), pc.invert(repeats)]))


def without(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose (path, version) is not among ``others`` (anti-join), in their order."""
    return rows.filter(pc.invert(_among(rows, others)))


def matching(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose (path, version) is among ``others`` (semi-join), in their order."""
    return rows.filter(_among(rows, others))


def gone(known: pa.Table, source: str, present: pa.ChunkedArray) -> int:
    """How many photographs below ``source`` the store knows that are not among the ``present`` paths any more."""
    below = pc.unique(known["path"].filter(pc.starts_with(known["path"], join(source, ""))))
    return int(pc.sum(pc.invert(pc.is_in(below, value_set=present))).as_py() or 0)


def _among(rows: pa.Table, others: pa.Table) -> pa.ChunkedArray:
    return pc.is_in(_keys(rows), value_set=_keys(others))


def _keys(rows: pa.Table) -> pa.ChunkedArray:
    # NUL can stand in neither a path nor a version, so the joined key is as unique as the pair.
    return pc.binary_join_element_wise(rows["path"], rows["version"], "\0")


def parquet_bytes(table: pa.Table) -> bytes:
    """A small table as one Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
