"""Which photographs there are below a folder, and which of them a run uses."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from verger.batches import batched
from verger.config import RunConfig
from verger.errors import NothingToReadError
from verger.photographs.folders import HIDDEN_PATTERN, PhotographFolders, compile_globs, matches
from verger.photographs.suffixes import HIDDEN, HIDDEN_FOLDER, NOT_UTF8, SUFFIXES, describe_ignored
from verger.storage.base import Entry
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

_SPLITS = {
    "train": "Training",
    "training": "Training",
    "val": "Validation",
    "valid": "Validation",
    "validation": "Validation",
    "test": "Test",
    "testing": "Test",
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_CHUNK = 1 << 16  # entries that are handled at a time


@dataclass(frozen=True)
class Inventory:
    """What was found below a folder.

    Attributes
    ----------
    photographs : pyarrow.Table
        Schema `SCHEMA`, sorted by path, each path once.
    ignored : dict of str to int
        Number of other files by suffix (lower case, ``""`` if there is none), `HIDDEN` or `NOT_UTF8`; and of what else
        was passed over, by the other keys of `verger.photographs.suffixes`.
    excluded : tuple of str
        Folders of a disk that are excluded and were not entered. What is in them is not known.
    """

    photographs: pa.Table
    ignored: dict[str, int]
    excluded: tuple[str, ...] = ()


def take(folder: str, stores: Stores, exclude: tuple[str, ...] = (), *, enter_excluded: bool = False) -> Inventory:
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
    """
    root = canonical(folder)
    folders = PhotographFolders(root, exclude, enter_excluded)
    inventory = from_entries(stores.of(root).list(root, folders), root)
    ignored = Counter(inventory.ignored) + folders.ignored
    inventory = replace(inventory, ignored=dict(sorted(ignored.items())), excluded=tuple(folders.excluded))
    if inventory.photographs.num_rows == 0:
        found = "; ".join(filter(None, (describe_ignored(inventory.ignored), _not_entered(inventory.excluded))))
        advice = f"Photographs end in {', '.join(SUFFIXES)}"
        if HIDDEN in ignored or HIDDEN_FOLDER in ignored:
            advice += "; to read a hidden folder, give it as the input itself"
        raise NothingToReadError(f"no photograph in {root}: {found or 'it is empty'}", advice)
    return inventory


def _not_entered(folders: tuple[str, ...]) -> str:
    """Excluded folders, for the message."""
    number = len(folders)
    return f"{number:,} excluded folder{'s were' if number > 1 else ' was'} not entered" if number else ""


def from_entries(entries: Iterable[Entry], root: str) -> Inventory:
    """Find the photographs among the files of a folder.

    Entries are handled in chunks: of a million entries only the columns are in memory.

    Parameters
    ----------
    entries : iterable of Entry
        What a store lists below ``root``.
    root : str
        The folder, as a canonical path. Label, split and hidden folders are looked for below it.

    Returns
    -------
    Inventory
        Possibly without photographs.
    """
    ignored: Counter[str] = Counter()
    tables = [_photographs(chunk, root, ignored) for chunk in batched(entries, _CHUNK)]
    found = pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by("path")
    return Inventory(_unique(found), dict(sorted(ignored.items())))


def label_and_split(paths: pa.Array, root: str) -> tuple[pa.Array, pa.Array]:
    """Labels and splits of photographs, which their paths say.

    Parameters
    ----------
    paths : pyarrow.Array of str
        Canonical, each below ``root``.
    root : str
        Canonical folder of the input.

    Returns
    -------
    label : pyarrow.Array of str
        The folder that each photograph is in, unless that is a split; null at the root.
    split : pyarrow.Array of str
        The nearest split above each; null where there is none.
    """
    return _label_and_split(_below(paths, root))


def _photographs(entries: list[Entry], root: str, ignored: Counter[str]) -> pa.Table:
    """The photographs among ``entries``. The others are counted in ``ignored``."""
    try:
        path = pa.array([entry.path for entry in entries], pa.string())
    except UnicodeEncodeError:  # names in an old encoding such as Latin-1, which Python reads as surrogates
        readable = [entry for entry in entries if not _SURROGATE.search(entry.path)]
        ignored[NOT_UTF8] += len(entries) - len(readable)
        return _photographs(readable, root, ignored)
    below = _below(path, root)
    hidden = pc.match_substring_regex(below, HIDDEN_PATTERN)
    suffix = pc.utf8_lower(pc.fill_null(_extract(below, r"(?P<it>\.[^./]*)$"), ""))
    wanted = pc.and_(pc.is_in(suffix, pa.array(SUFFIXES)), pc.invert(hidden))
    others = pc.value_counts(pc.if_else(hidden, HIDDEN, suffix).filter(pc.invert(wanted)))
    ignored.update({other["values"]: other["counts"] for other in others.to_pylist()})
    label, split = _label_and_split(below)
    version = pa.array([entry.version for entry in entries], pa.string())
    size = pa.array([entry.size for entry in entries], pa.int64())
    return pa.table([path, label, split, version, size], schema=SCHEMA).filter(wanted)


def _below(path: pa.Array, root: str) -> pa.Array:
    """The paths relative to ``root``."""
    return pc.utf8_slice_codeunits(path, len(root.rstrip("/")) + 1)


def _label_and_split(below: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Of each photograph the folder it is in, unless that is a split, and the nearest split above it.

    A key is no path: "a//1.jpg" and "a/./1.jpg" are in the nearest folder that has a name.
    """
    label = _extract(below, r"(?s)(?:^|/)(?P<it>[^/.][^/]*)/[^/]*$")
    if pc.any(pc.and_(pc.is_null(label), pc.match_substring(below, "/"))).as_py():
        label = pc.coalesce(label, _extract(below, r"(?s)(?:^|/)(?P<it>[^/.][^/]*)(?:/+\.{1,2})*/+[^/]*$"))
    label = pc.if_else(pc.is_in(pc.utf8_lower(label), pa.array(_SPLITS)), pa.scalar(None, pa.string()), label)
    split = _extract(below, rf"(?is)^(?:.*/)?(?P<it>{'|'.join(_SPLITS)})/")
    return label, pa.array(_SPLITS.values()).take(pc.index_in(pc.utf8_lower(split), pa.array(_SPLITS)))


def _extract(texts: pa.Array, pattern: str) -> pa.Array:
    """What the group ``it`` of a pattern matches; null where the pattern does not match."""
    return pc.struct_field(pc.extract_regex(texts, pattern), "it")


def _unique(photographs: pa.Table) -> pa.Table:
    """Each path once, of a table sorted by path. The last row of a path is kept."""
    path = photographs["path"]
    last = pc.not_equal(path[:-1], path[1:])
    if pc.all(last, min_count=0).as_py():
        return photographs
    return photographs.filter(pa.chunked_array([*last.chunks, pa.array([True])]))


def select(photographs: pa.Table, config: RunConfig, root: str) -> pa.Table:
    """Select the photographs that a run asks for.

    Parameters
    ----------
    photographs : pyarrow.Table
        Schema `SCHEMA`.
    config : RunConfig
        ``label``, ``exclude``, ``max_labels`` and ``max_photographs``. The last selects the same photographs on every
        machine, with labels as evenly represented as possible.
    root : str
        Path or URI of the folder that was listed. ``exclude`` is compared with paths below it.

    Returns
    -------
    pyarrow.Table
        Schema `SCHEMA`, in the order of ``photographs``.

    Raises
    ------
    NothingToReadError
        No photograph is selected.
    """
    chosen = photographs
    if config.label:
        chosen = chosen.filter(_is_labelled(chosen, _matching(_labels(chosen), config.label)))
    if config.exclude:
        excluded = _is_labelled(chosen, _matching(_labels(chosen), config.exclude))
        below, globs = _below(chosen["path"], canonical(root)).to_pylist(), compile_globs(config.exclude)
        excluded = pc.or_(excluded, pa.array([matches(globs, path) for path in below], pa.bool_()))
        chosen = chosen.filter(pc.invert(excluded))
    if config.max_labels is not None:
        chosen = chosen.filter(_is_labelled(chosen, _labels(chosen)[: config.max_labels]))
    if config.max_photographs is not None and config.max_photographs < chosen.num_rows:
        chosen = chosen.take(_balanced(chosen, config.max_photographs, canonical(root)))
    if chosen.num_rows == 0:
        raise NothingToReadError(
            f"none of {photographs.num_rows:,} photographs is left after {_selection(config)}",
            f"Labels here: {_few(_labels(photographs))}",
        )
    return chosen


def label_counts(photographs: pa.Table) -> dict[str, int]:
    """Count photographs by label.

    Parameters
    ----------
    photographs : pyarrow.Table
        With a column ``label``.

    Returns
    -------
    dict of str to int
        In the order of the labels. ``""`` counts photographs without a label.
    """
    counts = pc.value_counts(pc.fill_null(photographs["label"], "")).to_pylist()
    return dict(sorted((count["values"], count["counts"]) for count in counts))


def _labels(photographs: pa.Table) -> list[str]:
    return sorted(pc.unique(photographs["label"]).drop_null().to_pylist())


def _matching(labels: list[str], globs: tuple[str, ...]) -> list[str]:
    """The labels that match one of the globs."""
    compiled = compile_globs(globs)
    return [label for label in labels if matches(compiled, label)]


def _is_labelled(photographs: pa.Table, labels: list[str]) -> pa.ChunkedArray:
    """Whether each photograph has one of these labels."""
    return pc.is_in(photographs["label"], pa.array(labels, pa.string()))


def _balanced(photographs: pa.Table, number: int, root: str) -> NDArray[np.intp]:
    """Row numbers of ``number`` photographs, ascending.

    Every photograph has a rank within its label, by the hash of its path. The lowest ranks are taken. So
    all labels are equally represented, as far as they have enough photographs.
    """
    below = _below(photographs["path"], root).to_pylist()
    hashes = np.fromiter(map(_hash, below), np.uint64, len(below))
    labels = photographs["label"].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    order = np.lexsort((hashes, labels))
    counts = np.bincount(labels)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(np.lexsort((hashes, ranks))[:number])


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")


def _selection(config: RunConfig) -> str:
    """The settings of the selection, for the message."""
    asked = [f"label {glob}" for glob in config.label] + [f"exclude {glob}" for glob in config.exclude]
    asked += [f"max-labels {config.max_labels}"] if config.max_labels is not None else []
    return ", ".join(asked)


def _few(names: list[str]) -> str:
    """The first ten names of a list, for the message."""
    more = [f"and {len(names) - 10:,} more"] if len(names) > 10 else []
    return ", ".join(names[:10] + more) or "none"
