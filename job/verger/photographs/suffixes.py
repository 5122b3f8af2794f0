"""Which files are photographs, by their suffix, and how the others are described."""

from __future__ import annotations

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe"),
    *(".png", ".webp", ".bmp", ".gif", ".tiff", ".tif", ".heic", ".heif", ".avif"),
)
"""Suffixes of photographs, in lower case; a file is recognised by its first bytes all the same."""

_RAW = ".3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .sr2 .srf .srw .x3f"
UNREAD = frozenset(f"{_RAW} .avifs .hif .j2k .jp2 .jxl .psd .tga".split())
"""Suffixes of images that are not read, among them the raw formats of cameras."""

HIDDEN, NOT_UTF8 = "(hidden)", "(not UTF-8)"
"""Keys under which `Inventory.ignored` counts hidden files and names that are not UTF-8, whatever their suffix."""

HIDDEN_FOLDER, REPEATED_FOLDER, BROKEN_LINK = "(hidden folder)", "(folder met before)", "(broken link)"
"""Keys under which `Inventory.ignored` counts what else a disk has: hidden folders, each of which counts once and is
not entered; folders that were entered by another path before; links that lead nowhere and are named like photographs.
"""

_IN_WORDS = {
    HIDDEN_FOLDER: ("hidden folder", "hidden folders"),
    REPEATED_FOLDER: ("folder that was met before", "folders that were met before"),
    BROKEN_LINK: ("broken link", "broken links"),
}


def describe_ignored(ignored: dict[str, int]) -> str:
    """Say what was found beside photographs.

    Parameters
    ----------
    ignored : dict of str to int
        Number of files by suffix, as in `Inventory`.

    Returns
    -------
    str
        The total and the commonest suffixes, then folders and links; empty if there is nothing else.
    """
    files = {suffix: count for suffix, count in ignored.items() if suffix not in _IN_WORDS}
    number = sum(files.values())
    parts = [f"{number:,} other file{'s' if number != 1 else ''} ({describe_suffixes(files)})"] if number else []
    for key, (one, many) in _IN_WORDS.items():
        if count := ignored.get(key):
            parts.append(f"{count:,} {one if count == 1 else many}")
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def describe_suffixes(ignored: dict[str, int]) -> str:
    """Say how many files there are of the five commonest suffixes.

    Parameters
    ----------
    ignored : dict of str to int
        Number of files by suffix, as in `Inventory`.

    Returns
    -------
    str
        The commonest suffix first.
    """
    most = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count:,} {suffix or 'without suffix'}" for suffix, count in most[:5]]
    return ", ".join(named + ["more kinds"] * (len(most) > 5))
