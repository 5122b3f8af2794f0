"""The feature store: rows that stay valid, appended wave by wave, and read as a union without duplicates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verger.redaction import words
from verger.storage.base import Entry, Storage
from verger.storage.uri import join
from verger.tables.file_errors import damaged, retry_if_vanished, unreadable
from verger.tables.rows import KEY, deduplicate, parquet_bytes
from verger.tables.schemas import FEATURES, REFUSED

FILE = "__filename"  # Arrow's name for the column of a row's file
ROW = "__row"  # the row's number in the file, which never changes: a place to find it again
# Files that are read at the same time: their narrow columns are small, but each needs a round trip.
_READER_THREADS = 16
_NARROW = pa.schema(
    [*(FEATURES.field(name) for name in KEY), pa.field(FILE, pa.string()), pa.field(ROW, pa.int32())]
).empty_table()


class FeatureStore:
    """The features of one fingerprint below one output.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    fingerprint : str
        Folder name that identifies network, weights and preprocessing.
    warn : callable, optional
        Takes a warning, one line, for each damaged file that is left out.
    decoders : str, optional
        What decodes photographs here. Only rejections by the same decoders are known: others may read the photograph.

    Attributes
    ----------
    folder : str
        Canonical folder of the features.
    rejects_folder : str
        Canonical folder of the permanent rejections.
    refused_folder : str
        Canonical folder of the photographs of refused runs.
    warn, decoders
        As they were given.
    """

    def __init__(
        self,
        storage: Storage,
        output: str,
        fingerprint: str,
        warn: Callable[[str], None] = lambda _: None,
        decoders: str = "",
    ) -> None:
        self.storage = storage
        self.output = output
        self.fingerprint = fingerprint
        self.folder = join(output, "features", fingerprint)
        self.rejects_folder = join(output, "rejects", fingerprint)
        self.refused_folder = join(output, "refused", fingerprint)
        self.warn = warn
        self.decoders = decoders
        # Files never change: every stage lists them again, but reads only those that are not here yet.
        self._narrow: dict[str, list[pa.Table]] = {}

    def wave_folder(self, run_id: str, wave: str) -> str:
        """The folder of the features of one wave of one run, in which nothing else is written.

        Parameters
        ----------
        run_id, wave : str
            The run's id, and the name of the wave in it.

        Returns
        -------
        str
            Canonical.
        """
        return join(self.folder, _wave_folder(run_id, wave))

    def discard(self, run_id: str, wave: str) -> None:
        """Remove what a failed wave may have written.

        Parameters
        ----------
        run_id, wave : str
            As for `wave_folder`.
        """
        for folder in (self.wave_folder(run_id, wave), join(self.rejects_folder, _wave_folder(run_id, wave))):
            self.storage.delete(folder)

    def known(self) -> pa.Table:
        """The photograph versions that have features, with the file that holds each.

        Returns
        -------
        pyarrow.Table
            ``path, version, file, row``, one row a photograph version. If several files hold it, it is the last one by
            name: a compacted file comes after those that it replaces.
        """
        return deduplicate(self.rows()[1], "file")

    def rows(self, folder: str | None = None) -> tuple[list[Entry], pa.Table]:
        """Every stored row, duplicates included.

        Parameters
        ----------
        folder : str, optional
            Default: the whole store.

        Returns
        -------
        list of Entry
            The files that can be read, by name.
        pyarrow.Table
            ``path, version, file, row`` of each row in them; ``row`` is its number in the file, from 0.
        """
        files, rows = self._scan(folder or self.folder)
        return files, rows.rename_columns([*KEY, "file", "row"])

    def remember_rejected(self, run_id: str, wave: str, rejected: pa.Table, part: int = 0) -> None:
        """Keep a task's permanent rejections, so that the next run does not read these photographs again.

        Parameters
        ----------
        run_id, wave : str
            The run's id, and the name of the wave in it; they name the folder that the file is in.
        rejected : pyarrow.Table
            With the columns of `REJECTED`.
        part : int
            Number of the task in the wave. A task that runs twice writes the same file twice.
        """
        if rejected.num_rows:
            path = join(self.rejects_folder, _wave_folder(run_id, wave), f"part-{part:05d}.zstd.parquet")
            decoders = pa.array([self.decoders] * rejected.num_rows, pa.string())
            self.storage.write(path, parquet_bytes(rejected.append_column("decoders", decoders)))

    def remember_refused(self, run_id: str, photographs: Iterable[pa.Table | pa.RecordBatch]) -> None:
        """Keep the new photographs of a refused run. They count as new until a run with them succeeds.

        Without that they would not be new to the next run, as their features and rejections are in the store, and it
        would not be refused.

        Parameters
        ----------
        run_id : str
            Of the refused run; the file is named after it.
        photographs : iterable of pyarrow.Table or pyarrow.RecordBatch
            With the columns ``path`` and ``version``; read once.
        """
        some = (rows for rows in photographs if rows.num_rows)
        first = next(some, None)
        if first is None:
            return
        path = join(self.refused_folder, f"{run_id}.zstd.parquet")
        with self.storage.stream(path) as file, pq.ParquetWriter(file, REFUSED, compression="zstd") as writer:
            for rows in chain([first], some):
                writer.write_table(pa.table({name: rows[name] for name in KEY}, schema=REFUSED))

    def forget_refused(self, files: Iterable[str]) -> None:
        """Forget the photographs of refused runs.

        Parameters
        ----------
        files : iterable of str
            Canonical paths of the files that name them.
        """
        for file in sorted(files):
            self.storage.delete(file)

    def _scan(self, folder: str) -> tuple[list[Entry], pa.Table]:
        """The files below ``folder`` and their narrow columns. A damaged file is left out with a warning."""
        tables = self._narrow

        def attempt() -> tuple[list[Entry], pa.Table]:
            entries = list(parquet_files(self.storage, folder))
            new = [entry.path for entry in entries if entry.path not in tables]
            with ThreadPoolExecutor(_READER_THREADS) as pool:
                read = zip(new, pool.map(self._read_file, new), strict=True)
                tables.update((file, rows) for file, rows in read if rows is not None)
            if vanished := [file for file in new if file not in tables]:
                raise FileNotFoundError(vanished[0])
            readable = [entry for entry in entries if tables[entry.path]]
            return readable, pa.concat_tables([_NARROW, *chain(*(tables[entry.path] for entry in readable))])

        return retry_if_vanished(attempt, folder)

    def _read_file(self, file: str) -> list[pa.Table] | None:
        """One file's narrow columns: an empty list where it is damaged, None where it was deleted."""
        try:
            return [_numbered_rows(self.storage, file)]
        except FileNotFoundError:
            return None
        except (pa.ArrowInvalid, OSError) as error:
            if not damaged(error):
                raise unreadable(file, error) from error
            self.warn(f"{file} is damaged and left out; its photographs are computed again ({words(error, 120)})")
            return []


def _numbered_rows(storage: Storage, file: str) -> pa.Table:
    """The keys in one file, with its path and the numbers of its rows."""
    with storage.arrow().open_input_file(file) as opened, pq.ParquetFile(opened, pre_buffer=True) as parquet:
        table = parquet.read(KEY, use_threads=False)
    path = pa.repeat(pa.scalar(file), table.num_rows)
    numbers = pa.array(np.arange(table.num_rows, dtype=np.int32))
    return table.append_column(FILE, path).append_column(ROW, numbers).select(_NARROW.column_names)


def _wave_folder(run_id: str, wave: str) -> str:
    """The name of a wave's folder. Spark enters a folder below that of a table only if it is named like a partition."""
    return f"{run_folder_prefix(run_id)}{wave}"


def run_folder_prefix(run_id: str) -> str:
    """How the names of the folders begin that a run wrote into the feature store.

    Parameters
    ----------
    run_id : str
        The run's id.
    """
    return f"wave={run_id}-"


def parquet_files(storage: Storage, folder: str) -> Iterable[Entry]:
    """The Parquet files below a folder. Names that start with ``_`` or ``.`` are skipped at any depth.

    Parameters
    ----------
    storage : Storage
        The store that holds the folder.
    folder : str
        Canonical.

    Returns
    -------
    iterable of Entry
        Sorted by path; empty where there is no such folder.
    """
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
