"""Which photographs there are below a folder, and which of them a run uses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from verger.batches import batched
from verger.config import RunConfig
from verger.errors import NothingToReadError
from verger.photographs.balance import balanced_rows
from verger.photographs.folders import HIDDEN_PATTERN, PhotographFolders, compile_globs, matches
from verger.photographs.labels import extract, label_and_split, paths_below
from verger.photographs.suffixes import HIDDEN, HIDDEN_FOLDER, NOT_UTF8, SUFFIXES, describe_ignored
from verger.sorting import Sorter
from verger.spool import Spool, count, spool
from verger.storage.base import Entry
from verger.storage.s3_inventory import OBJECTS, Report
from verger.storage.stores import Stores
from verger.storage.uri import canonical

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("version", pa.string()),
        ("size", pa.int64()),
    ]
)
"""One row per photograph. ``label`` is the folder it is in, ``split`` what a folder above says; both may be null.

``version`` changes when the file does; ``size`` is in bytes.
"""

_SURROGATE = re.compile("[\ud800-\udfff]")
_CHUNK = 1 << 16  # entries that are handled at a time
# AWS makes a report each day or each week. So old a one deserves a warning.
_OLD_REPORT = timedelta(days=2)


@dataclass(frozen=True)
class Inventory:
    """What was found below a folder.

    Attributes
    ----------
    photographs : Spool
        Schema `SCHEMA`, sorted by path, each path once; of a path that is listed twice, the last entry.
    ignored : dict of str to int
        Number of other files by suffix (lower case, ``""`` if there is none), `HIDDEN` or `NOT_UTF8`; and of what else
        was passed over, by the other keys of `verger.photographs.suffixes`.
    excluded : tuple of str
        Folders of a disk that are excluded and were not entered. What is in them is not known.
    """

    photographs: Spool
    ignored: dict[str, int]
    excluded: tuple[str, ...] = ()


def find(
    config: RunConfig,
    source: str,
    stores: Stores,
    warn: Callable[[str], None],
    first: Callable[[], object] = lambda: None,
) -> Inventory:
    """Find the photographs of a run's input: in an S3 Inventory report, where the settings name one, else by listing.

    Parameters
    ----------
    config : RunConfig
        ``inventory``, ``exclude`` and ``local_dir``.
    source : str
        Canonical folder of the input.
    stores : Stores
        How it and the report are reached.
    warn : callable
        Takes a warning, one line, where the report is old.
    first : callable, optional
        As in `take`.

    Returns
    -------
    Inventory
        As `take` gives it.

    Raises
    ------
    UsageError
        The report is none of the input's bucket, or lacks a column that is needed.
    NothingToReadError
        There is no such folder or report, or no photograph in it.
    StoreError
        The report is damaged, or the store refuses or cannot be reached.
    DoesNotFitError
        The disk of the temporary files is full.
    """
    report = Report.open(config.inventory, source, stores) if config.inventory else None
    if report is not None and (age := datetime.now(UTC) - report.created) > _OLD_REPORT:
        warn(
            f"the inventory report {report.path} is {age / timedelta(days=1):,.1f} days old, of "
            f"{report.created:%Y-%m-%d %H:%M} UTC: it lists no newer photographs"
        )
    return take(source, stores, config.exclude, report=report, scratch=config.local_dir, first=first)


def take(
    folder: str,
    stores: Stores,
    exclude: tuple[str, ...] = (),
    *,
    enter_excluded: bool = False,
    report: Report | None = None,
    scratch: str | None = None,
    first: Callable[[], object] = lambda: None,
) -> Inventory:
    """List the photographs below a folder, at any depth.

    Parameters
    ----------
    folder : str
        Local path or URI.
    stores : Stores
        How it is reached.
    exclude : tuple of str
        Globs, as in `select`. Folders of a disk of which everything is excluded are not entered, and one whose name is
        excluded need not be readable. All other photographs are listed, excluded ones too.
    enter_excluded : bool
        Whether excluded folders are entered where they may be.
    report : Report, optional
        An S3 Inventory report of the folder's bucket, which is read instead of listing the bucket.
    scratch : str, optional
        Folder for temporary files; default: the system's.
    first : callable, optional
        Called when the first photograph is seen, or what looks like one.

    Returns
    -------
    Inventory
        At least one photograph, and what else was found.

    Raises
    ------
    NothingToReadError
        There is no such folder, or no photograph in it.
    StoreError
        The store refuses or cannot be reached.
    DoesNotFitError
        The disk of the temporary files is full.
    """
    root = canonical(folder)
    folders = PhotographFolders(root, exclude, enter_excluded)
    if report is None:
        inventory = from_entries(_watched(stores.of(root).list(root, folders), first), root, scratch)
    else:
        inventory = from_objects(report.objects(root, scratch), root, scratch)
    ignored = Counter(inventory.ignored) + folders.ignored
    inventory = replace(inventory, ignored=dict(sorted(ignored.items())), excluded=tuple(folders.excluded))
    if inventory.photographs.num_rows == 0:
        found = "; ".join(filter(None, (describe_ignored(inventory.ignored), _not_entered(inventory.excluded))))
        advice = f"Photographs end in {', '.join(SUFFIXES)}"
        if HIDDEN in ignored or HIDDEN_FOLDER in ignored:
            advice += "; to read a hidden folder, give it as the input itself"
        where = root if report is None else f"{root}, as the inventory report {report.path} lists it"
        raise NothingToReadError(f"no photograph in {where}: {found or 'it is empty'}", advice)
    return inventory


def _watched(entries: Iterable[Entry], first: Callable[[], object]) -> Iterator[Entry]:
    """The same entries; `first` is called at the first photograph, long before a chunk of them is handled."""
    iterator = iter(entries)
    for entry in iterator:
        if entry.path.lower().endswith(SUFFIXES):
            first()
            yield entry
            break
        yield entry
    yield from iterator


def _not_entered(folders: tuple[str, ...]) -> str:
    """Excluded folders, for the message."""
    number = len(folders)
    return f"{number:,} excluded folder{'s were' if number > 1 else ' was'} not entered" if number else ""


def from_entries(entries: Iterable[Entry], root: str, scratch: str | None = None) -> Inventory:
    """Find the photographs among the files of a folder.

    Entries are handled in chunks, sorted on disk where they do not come in order: memory does not grow with them.

    Parameters
    ----------
    entries : iterable of Entry
        What a store lists below ``root``.
    root : str
        The folder, as a canonical path. Label, split and hidden folders are looked for below it.
    scratch : str, optional
        Folder for temporary files; default: the system's.

    Returns
    -------
    Inventory
        Possibly without photographs.

    Raises
    ------
    DoesNotFitError
        The disk of the temporary files is full.
    """
    ignored: Counter[str] = Counter()
    found = from_objects((_columns(chunk, ignored) for chunk in batched(entries, _CHUNK)), root, scratch)
    return replace(found, ignored=dict(sorted((ignored + Counter(found.ignored)).items())))


def from_objects(objects: Iterable[pa.RecordBatch], root: str, scratch: str | None = None) -> Inventory:
    """Find the photographs among the files of a folder, which come as columns: without a Python object for each file.

    Parameters
    ----------
    objects : iterable of pyarrow.RecordBatch
        Schema `verger.storage.s3_inventory.OBJECTS`, in any order: sorted on disk where need be.
    root : str
        The folder, as a canonical path. Label, split and hidden folders are looked for below it.
    scratch : str, optional
        Folder for temporary files; default: the system's.

    Returns
    -------
    Inventory
        Possibly without photographs.

    Raises
    ------
    DoesNotFitError
        The disk of the temporary files is full.
    """
    ignored: Counter[str] = Counter()
    sorter = Sorter(SCHEMA, ["path"], scratch)
    for batch in objects:
        sorter.write(_photographs(batch, root, ignored))
    return Inventory(sorter.finish(unique=["path"]), dict(sorted(ignored.items())))


def _columns(entries: list[Entry], ignored: Counter[str]) -> pa.RecordBatch:
    """Entries as columns, but for those whose names are not UTF-8, which are counted in ``ignored``."""
    try:
        path = pa.array([entry.path for entry in entries], pa.string())
    except UnicodeEncodeError:  # names in an old encoding such as Latin-1, which Python reads as surrogates
        readable = [entry for entry in entries if not _SURROGATE.search(entry.path)]
        ignored[NOT_UTF8] += len(entries) - len(readable)
        return _columns(readable, ignored)
    size = pa.array([entry.size for entry in entries], pa.int64())
    version = pa.array([entry.version for entry in entries], pa.string())
    return pa.record_batch([path, size, version], schema=OBJECTS)


def _photographs(objects: pa.RecordBatch, root: str, ignored: Counter[str]) -> pa.Table:
    """The photographs among ``objects``. The others are counted in ``ignored``."""
    path = objects["path"]
    below = paths_below(path, root)
    hidden = pc.match_substring_regex(below, HIDDEN_PATTERN)
    suffix = pc.utf8_lower(pc.fill_null(extract(below, r"(?P<it>\.[^./]*)$"), ""))
    wanted = pc.and_(pc.is_in(suffix, pa.array(SUFFIXES)), pc.invert(hidden))
    others = pc.value_counts(pc.if_else(hidden, HIDDEN, suffix).filter(pc.invert(wanted)))
    ignored.update({other["values"]: other["counts"] for other in others.to_pylist()})
    label, split = label_and_split(path, root)
    return pa.table([path, label, split, objects["version"], objects["size"]], schema=SCHEMA).filter(wanted)


def select(photographs: Spool, config: RunConfig, root: str, scratch: str | None = None) -> Spool:
    """Select the photographs that a run asks for.

    Parameters
    ----------
    photographs : Spool
        Schema `SCHEMA`, sorted by path.
    config : RunConfig
        ``label``, ``exclude``, ``max_labels`` and ``max_photographs``. The last selects the same photographs on every
        machine, with labels as evenly represented as possible.
    root : str
        Path or URI of the folder that was listed. ``exclude`` is compared with paths below it.
    scratch : str, optional
        Folder for temporary files; default: the system's.

    Returns
    -------
    Spool
        Schema `SCHEMA`, in the order of ``photographs``; the same object where all are selected.

    Raises
    ------
    NothingToReadError
        No photograph is selected.
    DoesNotFitError
        The disk of the temporary files is full.
    """
    chosen = photographs
    if config.label or config.exclude:
        chosen = _spooled((_matching(batch, config, canonical(root)) for batch in chosen.batches()), scratch)
    if config.max_labels is not None:
        first = pa.array(_labels(chosen)[: config.max_labels], pa.string())
        chosen = _spooled((batch.filter(pc.is_in(batch["label"], first)) for batch in chosen.batches()), scratch)
    if config.max_photographs is not None and config.max_photographs < chosen.num_rows:
        rows = balanced_rows(chosen, config.max_photographs, canonical(root))
        chosen = _spooled(_taken(chosen, rows), scratch)
    if chosen.num_rows == 0:
        raise NothingToReadError(
            f"none of {photographs.num_rows:,} photographs is left after {_selection(config)}",
            f"Labels here: {_few(_labels(photographs))}",
        )
    return chosen if chosen.num_rows < photographs.num_rows else photographs


def _spooled(batches: Iterable[pa.RecordBatch], scratch: str | None) -> Spool:
    return spool(SCHEMA, batches, scratch)


def _matching(photographs: pa.RecordBatch, config: RunConfig, root: str) -> pa.RecordBatch:
    """The photographs that ``label`` and ``exclude`` leave."""
    labels, below = photographs["label"], paths_below(photographs["path"], root)
    present = pc.unique(labels).drop_null()
    if config.label:
        wanted = pc.is_in(labels, _matches(present, config.label))
        photographs, labels, below = photographs.filter(wanted), labels.filter(wanted), below.filter(wanted)
    if config.exclude:
        globs = compile_globs(config.exclude)
        excluded = pa.array([matches(globs, path) for path in below.to_pylist()], pa.bool_())
        excluded = pc.or_(excluded, pc.is_in(labels, _matches(present, config.exclude)))
        photographs = photographs.filter(pc.invert(excluded))
    return photographs


def _matches(labels: pa.Array, globs: tuple[str, ...]) -> pa.Array:
    """The labels that match one of the globs."""
    compiled = compile_globs(globs)
    return pa.array([label for label in labels.to_pylist() if matches(compiled, label)], pa.string())


def _taken(photographs: Spool, rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
    """The photographs with these row numbers, which ascend."""
    start = 0
    for batch in photographs.batches():
        low, high = np.searchsorted(rows, (start, start + batch.num_rows))
        yield batch.take(pa.array(rows[low:high] - start))
        start += batch.num_rows


def label_counts(photographs: Spool) -> dict[str, int]:
    """Count photographs by label.

    Parameters
    ----------
    photographs : Spool
        With a column ``label``.

    Returns
    -------
    dict of str to int
        In the order of the labels. ``""`` counts photographs without a label.
    """
    return dict(sorted((label or "", number) for label, number in count(photographs, "label").items()))


def _labels(photographs: Spool) -> list[str]:
    return sorted(label for label in count(photographs, "label") if label is not None)


def _selection(config: RunConfig) -> str:
    """The settings of the selection, for the message."""
    asked = [f"label {glob}" for glob in config.label] + [f"exclude {glob}" for glob in config.exclude]
    asked += [f"max-labels {config.max_labels}"] if config.max_labels is not None else []
    return ", ".join(asked)


def _few(names: list[str]) -> str:
    """The first ten names of a list, for the message."""
    more = [f"and {len(names) - 10:,} more"] if len(names) > 10 else []
    return ", ".join(names[:10] + more) or "none"
