"""The records of compactions: which files of the feature store others have replaced, and may be deleted later."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from verger.errors import NothingToReadError
from verger.jsonable import dump, timestamp
from verger.storage.base import Storage
from verger.storage.uri import join

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
    """

    path: str
    fingerprint: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    holders: tuple[str, ...]
    rows: int
    at: datetime

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
    }
    storage.publish_once(record.path, dump(document))


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
        return Record(path, document["fingerprint"], inputs, outputs, holders, int(document.get("rows", 0)), at)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
