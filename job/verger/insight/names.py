"""Names of labels, classes and paths as people sort and read them, bounded in width."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells

from verger.text import plain

NO_LABEL = "(no label)"


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key of natural order, in which 'Apple 5' comes before 'Apple 10'.

    Parameters
    ----------
    name : str
        Any text.
    """
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def isolate(name: str) -> str:
    """A name for use within a sentence, without control characters.

    Parameters
    ----------
    name : str
        Any text. If it has letters that are written from right to left, it is put between Unicode's isolate characters
        (UAX 9), so that it does not change the order of the words around it.
    """
    right_to_left = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)
    return f"\u2068{plain(name)}\u2069" if right_to_left else plain(name)


def shorten(name: str, columns: int) -> str:
    """A name with an ellipsis in its middle where it is too wide.

    Parameters
    ----------
    name : str
        Any text. Control characters are replaced, and white space is joined.
    columns : int
        Most columns that the result may take on a terminal; wide letters, such as Chinese ones, take two.
    """
    name = re.sub(r"\s+", " ", plain(name))
    if cell_len(name) <= columns:
        return name
    tail = columns // 3
    return chop_cells(name, columns - 1 - tail)[0] + "…" + chop_cells(name[::-1], tail)[0][::-1]


def shorten_uniquely(names: Iterable[str], columns: int) -> dict[str, str]:
    """Shorten names so that no two are the same.

    Parameters
    ----------
    names : iterable of str
        Different names.
    columns : int
        See `shorten`.

    Returns
    -------
    dict of str to str
        The short name of each name. Where two would be the same, the later one has a number behind it, which makes it
        wider than ``columns``.
    """
    short_names: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        short, number = shorten(name, columns), 1
        while short in taken:
            number += 1
            short = f"{shorten(name, columns)} ({number})"
        taken.add(short)
        short_names[name] = short
    return short_names


def relative_path(path: str, folder: str) -> str:
    """A path without the folder that it lies in.

    Parameters
    ----------
    path : str
        Canonical URI.
    folder : str
        Canonical URI without a slash at the end. A path that is not below it stays as it is.
    """
    return path.removeprefix(folder + "/")
