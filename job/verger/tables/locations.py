"""Where the features of photograph versions are: read from the narrow columns of the feature store's files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from verger.photographs.difference import LOCATION
from verger.prefetch import prefetch_map
from verger.redaction import words
from verger.sorting import Sorter
from verger.spool import Spool
from verger.storage.base import Entry
from verger.storage.uri import join
from verger.tables.file_errors import damaged, retry_if_vanished, unreadable
from verger.tables.rows import KEY
from verger.tables.snapshot import StoredFile
from verger.tables.store import FeatureStore, parquet_files

# Files whose narrow columns are read at the same time: each needs a round trip or two.
_READERS, _READ_AHEAD = 8, 12
# Of several files with a photograph version the last is taken: a compacted file comes after those that it replaces.
_ORDER = [*KEY, "file"]


@dataclass(frozen=True)
class Located:
    """Photograph versions and the files that have their features.

    Attributes
    ----------
    rows : Spool
        Each photograph version once a file (`verger.photographs.difference.LOCATION`), sorted by path, version and
        file.
    files : dict of str to StoredFile
        The readable files, by their path below the store's folder.
    """

    rows: Spool
    files: dict[str, StoredFile]


def locate(
    store: FeatureStore, known: Mapping[str, StoredFile], scratch: str | None = None
) -> tuple[Located, set[str]]:
    """Read the files of the feature store that are not known yet. No other file is opened.

    Parameters
    ----------
    store : FeatureStore
        It is listed.
    known : mapping of str to StoredFile
        Files that were read before, by their path below the store's folder. One that has changed since is not known.
    scratch : str, optional
        Folder for temporary files.

    Returns
    -------
    Located
        Of the files that were not known.
    set of str
        The known files that are still there.
    """
    return retry_if_vanished(partial(_locate, store, known, scratch), store.folder)


def _locate(store: FeatureStore, known: Mapping[str, StoredFile], scratch: str | None) -> tuple[Located, set[str]]:
    listed = {_below(store, entry.path): entry for entry in parquet_files(store.storage, store.folder)}
    present = {name for name, entry in listed.items() if name in known and known[name].version == entry.version}
    return read(store, (entry for name, entry in listed.items() if name not in present), scratch), present


def read(store: FeatureStore, entries: Iterable[Entry], scratch: str | None = None) -> Located:
    """Read the narrow columns of some files.

    Parameters
    ----------
    store : FeatureStore
        To which they belong.
    entries : iterable of Entry
        The files. Of a damaged one there is a warning.
    scratch : str, optional
        Folder for temporary files.

    Returns
    -------
    Located
        Of all files that can be read.

    Raises
    ------
    FileNotFoundError
        One of them was deleted.
    StoreError
        The store refuses or cannot be reached.
    """
    sorter, files = Sorter(LOCATION, _ORDER, scratch), {}
    for name, entry, rows in _read(store, ((_below(store, entry.path), entry) for entry in entries)):
        sorter.write(rows)
        files[name] = StoredFile(entry.version, rows.num_rows, entry.size)
    return Located(sorter.finish(unique=_ORDER), files)


def _below(store: FeatureStore, path: str) -> str:
    return path.removeprefix(join(store.folder, ""))


def _read(store: FeatureStore, files: Iterable[tuple[str, Entry]]) -> Iterator[tuple[str, Entry, pa.Table]]:
    """Name, entry and rows of each readable file; of a damaged one there is a warning."""

    def read(item: tuple[str, Entry]) -> tuple[str, Entry, pa.Table | Exception]:
        name, entry = item
        try:
            return name, entry, _narrow_rows(store, name, entry.path)
        except (pa.ArrowInvalid, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            return name, entry, error

    for name, entry, rows in prefetch_map(read, files, _READERS, _READ_AHEAD):
        if isinstance(rows, Exception):
            _warn_if_damaged(store, join(store.folder, name), rows)
        else:
            yield name, entry, rows


def _warn_if_damaged(store: FeatureStore, path: str, error: Exception) -> None:
    if not damaged(error):
        raise unreadable(path, error) from error
    store.warn(f"{path} is damaged and left out; its photographs are computed again ({words(error, 120)})")


def _narrow_rows(store: FeatureStore, name: str, path: str) -> pa.Table:
    """The key of each row in a file, with the file's name and the row's number."""
    with pq.ParquetFile(store.storage.arrow().open_input_file(path), page_checksum_verification=True) as file:
        keys = file.read(columns=KEY, use_threads=False)
    number = pa.array(np.arange(keys.num_rows, dtype=np.int32))
    columns = [*keys.columns, pa.array([name] * keys.num_rows, pa.string()), number]
    return pa.table(columns, schema=LOCATION)
