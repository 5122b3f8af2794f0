"""Labels and splits, as the folders of a photograph say them, and warnings about labels that look wrong."""

from __future__ import annotations

import os
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from verger.photographs.suffixes import SUFFIXES, UNREAD

_NAMED = 3  # so many labels are named in a warning
_SPLITS = {
    "train": "Training",
    "training": "Training",
    "val": "Validation",
    "valid": "Validation",
    "validation": "Validation",
    "test": "Test",
    "testing": "Test",
}


def label_and_split(paths: pa.Array, root: str) -> tuple[pa.Array, pa.Array]:
    """Of each photograph the folder it is in, unless that is a split, and the nearest split above it.

    A key is no path: "a//1.jpg" and "a/./1.jpg" are in the nearest folder that has a name.

    Parameters
    ----------
    paths : pyarrow.Array of str
        Canonical, below ``root``.
    root : str
        Canonical folder of the input. Only names below it count.

    Returns
    -------
    label, split : pyarrow.Array of str
        One for each path, or null.
    """
    below = paths_below(paths, root)
    label = extract(below, r"(?s)(?:^|/)(?P<it>[^/.][^/]*)/[^/]*$")
    if pc.any(pc.and_(pc.is_null(label), pc.match_substring(below, "/"))).as_py():
        label = pc.coalesce(label, extract(below, r"(?s)(?:^|/)(?P<it>[^/.][^/]*)(?:/+\.{1,2})*/+[^/]*$"))
    label = pc.if_else(pc.is_in(pc.utf8_lower(label), pa.array(_SPLITS)), pa.scalar(None, pa.string()), label)
    split = extract(below, rf"(?is)^(?:.*/)?(?P<it>{'|'.join(_SPLITS)})/")
    return label, pa.array(_SPLITS.values()).take(pc.index_in(pc.utf8_lower(split), pa.array(_SPLITS)))


def paths_below(paths: pa.Array, root: str) -> pa.Array:
    """Paths relative to a folder.

    Parameters
    ----------
    paths : pyarrow.Array of str
        Canonical, below ``root``.
    root : str
        Canonical folder.

    Returns
    -------
    pyarrow.Array of str
        Without a slash at the start.
    """
    return pc.utf8_slice_codeunits(paths, len(root.rstrip("/")) + 1)


def extract(texts: pa.Array, pattern: str) -> pa.Array:
    """Find a part of each text.

    Parameters
    ----------
    texts : pyarrow.Array of str
        To be searched.
    pattern : str
        Regular expression for RE2, with a group ``it``.

    Returns
    -------
    pyarrow.Array of str
        What the group matches; null where the pattern does not match.
    """
    return pc.struct_field(pc.extract_regex(texts, pattern), "it")


def label_warnings(labels: dict[str, int]) -> list[str]:
    """What is strange about the labels of a run.

    Parameters
    ----------
    labels : dict of str to int
        Photographs of each label; ``""`` counts those without.

    Returns
    -------
    list of str
        One warning for labels that are named like image files, and one for labels that look the same.
    """
    return [*_named_like_images(labels), *_look_the_same(labels)]


def _named_like_images(labels: dict[str, int]) -> list[str]:
    """A folder "1.jpg" is where a program keeps thumbnails or versions of a photograph of that name."""
    found = [label for label in labels if label.lower().endswith((*SUFFIXES, *UNREAD))]
    if not found:
        return []
    number = sum(labels[label] for label in found)
    globs = sorted({f"--exclude '*{os.path.splitext(label)[1]}/*'" for label in found})
    what = "1 label is" if len(found) == 1 else f"{len(found):,} labels are"
    files = "an image file" if len(found) == 1 else "image files"
    photographs = f"{number:,} photograph{'s' if number > 1 else ''}"
    return [
        f"{what} named like {files} ({_few(found)}; {photographs}). If a program keeps thumbnails or versions in such "
        f"folders, leave them out with {' '.join(globs[:_NAMED])}"
    ]


def _look_the_same(labels: dict[str, int]) -> list[str]:
    """Accents are encoded in another way on macOS (NFD) than elsewhere (NFC), so that one name can be two labels."""
    alike: dict[str, list[str]] = {}
    for label in labels:
        alike.setdefault(unicodedata.normalize("NFC", label).strip(), []).append(label)
    found = [names[0] for names in alike.values() if len(names) > 1]
    if not found:
        return []
    return [
        f"labels that look the same count as different ones, since their accents are encoded in different ways, or "
        f"spaces surround one of them ({_few(found)}). Rename the folders where one label is meant"
    ]


def _few(labels: list[str]) -> str:
    return ", ".join([*labels[:_NAMED], *(["..."] if len(labels) > _NAMED else [])])
