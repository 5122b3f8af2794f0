"""Which files are photographs, by their suffix, and how the others are described."""

from __future__ import annotations

SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe"),
    *(".png", ".webp", ".bmp", ".gif", ".tiff", ".tif", ".heic", ".heif"),
)
"""Suffixes of photographs, in lower case; a file is recognised by its first bytes all the same."""

_RAW = ".3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .mef .mos .mrw .nef .nrw .orf .pef .raf .raw .rw2 .sr2 .srf .srw .x3f"
UNREAD = frozenset(f"{_RAW} .avif .avifs .hif .j2k .jp2 .jxl .psd .tga".split())
"""Suffixes of images that are not read, among them the raw formats of cameras."""

HIDDEN, NOT_UTF8 = "(hidden)", "(not UTF-8)"
"""Keys under which `Inventory.ignored` counts hidden files and names that are not UTF-8, whatever their suffix."""


def describe_ignored(ignored: dict[str, int]) -> str:
    """Say what was found beside photographs.

    Parameters
    ----------
    ignored : dict of str to int
        Number of files by suffix, as in `Inventory`.

    Returns
    -------
    str
        The total and the commonest suffixes; empty if there are no other files.
    """
    number = sum(ignored.values())
    return f"{number:,} other file{'s' if number != 1 else ''} ({describe_suffixes(ignored)})" if number else ""


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
