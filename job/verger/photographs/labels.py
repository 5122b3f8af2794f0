"""Warnings about labels from which a folder seems to be another than was meant."""

from __future__ import annotations

import os
import unicodedata

from verger.photographs.suffixes import SUFFIXES, UNREAD

_NAMED = 3  # so many labels are named in a warning


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
