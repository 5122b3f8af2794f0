"""The records of compactions: which files of the store others have replaced, and may be deleted later."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from verger.errors import NothingToReadError
from verger.jsonable import dump, timestamp
from verger.storage.base import Storage
from verger.storage.uri import join
from verger.tables.store import parquet_files

# How long replaced files are kept for runs that listed the store before the compaction.
GRACE_PERIOD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Record:
    """What one compaction did. It allows a later compaction to delete the inputs.

    Attributes
    ----------
    path : str
        Of the record itself.
    fingerprint : str
        That of the features in the files.
    inputs, outputs : tuple of str
        Canonical paths of files in the store: those that may go, and the new ones.
    holders : tuple of str
        Of files that were there before and stay: they hold the rows of inputs that were not copied.
    rows : int
        Rows of the outputs.
    at : datetime
        When the outputs were checked.
    folder : str
        Of the files, below the output: ``features`` or ``rejects``.
    """

    path: str
    fingerprint: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    holders: tuple[str, ...]
    rows: int
    at: datetime
    folder: str = "features"

    def is_due(self, now: datetime) -> bool:
        """Whether the inputs may be deleted, as nobody reads them any more.

        Parameters
        ----------
        now : datetime
            With a time zone.
        """
        return self.at + GRACE_PERIOD <= now


def write(storage: Storage, output: str, record: Record) -> None:
    """Write a record.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output. In the record, paths are relative to it, so that it can be moved.
    record : Record
        Nothing is at its path yet.
    """
    root = join(output, "")
    files = {name: getattr(record, name) for name in ("inputs", "outputs", "holders")}
    document = {
        "fingerprint": record.fingerprint,
        **{name: [path.removeprefix(root) for path in paths] for name, paths in files.items()},
        "rows": record.rows,
        "at": timestamp(record.at),
        **({} if record.folder == "features" else {"folder": record.folder}),
    }
    storage.publish_once(record.path, dump(document))


def valid(storage: Storage, records: Iterable[Record], present: Collection[str]) -> list[Record]:
    """The records whose outputs are all there, oldest first. The others are deleted.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    records : iterable of Record
        As `read` gives them.
    present : collection of str
        Canonical paths of the files that there are, listed after the records were read.
    """
    held = list[Record]()
    for record in records:
        if all(path in present for path in record.outputs):
            held.append(record)
        else:
            storage.delete(record.path)
    return sorted(held, key=lambda record: (record.at, record.path))


def delete_files(storage: Storage, root: str, files: Iterable[str]) -> None:
    """Delete files of the store; with the last one of a folder the whole folder, as committers left other files there.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    root : str
        Canonical folder of the files of one fingerprint, which stays.
    files : iterable of str
        Canonical paths below it.
    """
    for folder, group in groupby(sorted(files), key=lambda path: path.rpartition("/")[0]):
        removed = set(group)
        present = {entry.path for entry in parquet_files(storage, folder)}
        for path in [folder] if present <= removed and folder != root else sorted(removed):
            storage.delete(path)


def read(storage: Storage, output: str, warn: Callable[[str], None]) -> Iterator[Record]:
    """Read the records of earlier compactions, of all fingerprints.

    Parameters
    ----------
    storage : Storage
        The store that holds the output.
    output : str
        Canonical folder of the output.
    warn : callable
        Takes a warning, one line, for each file that is not a record.

    Yields
    ------
    Record
        In the order of their paths.
    """
    folder = join(output, "compactions")
    for entry in storage.list(folder) if storage.exists(folder) else ():
        if entry.path.rpartition("/")[2].startswith(".") or not entry.path.endswith(".json"):
            continue
        with suppress(NothingToReadError):  # another compaction has deleted it
            if record := _parsed(entry.path, storage.read(entry.path), output):
                yield record
            else:
                warn(f"{entry.path} is not the record of a compaction, and is left as it is")


def _parsed(path: str, data: bytes, output: str) -> Record | None:
    try:
        document = json.loads(data)
        found = (document["inputs"], document["outputs"], document.get("holders", []))  # older ones have none
        inputs, outputs, holders = (tuple(join(output, file) for file in files) for files in found)
        at = datetime.fromisoformat(document["at"]).astimezone(UTC)
        counted, folder = int(document.get("rows", 0)), str(document.get("folder", "features"))
        return Record(path, document["fingerprint"], inputs, outputs, holders, counted, at, folder)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
