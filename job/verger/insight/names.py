"""Names of labels and paths as people sort and read them, bounded in width."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from verger.text import plain

NO_LABEL = "(no label)"


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that puts 'Apple 5' before 'Apple 10'."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def isolated(name: str) -> str:
    """A name as it stands in a sentence: one that is written from right to left must not turn its neighbours."""
    turns = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in name)
    return f"\u2068{plain(name)}\u2069" if turns else plain(name)


def cut(name: str, columns: int) -> str:
    """A name with its middle left out where it is wider than so many columns of text; wide letters take two."""
    name = re.sub(r"\s+", " ", plain(name))
    if sum(map(_columns, name)) <= columns:
        return name
    return _first(name, columns - 1 - columns // 3) + "…" + _first(name[::-1], columns // 3)[::-1]


def told_apart(names: Iterable[str], columns: int) -> dict[str, str]:
    """Each name cut, with a number behind those that are then the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        short, number = cut(name, columns), 1
        while short in taken:
            number += 1
            short = f"{cut(name, columns)} ({number})"
        taken.add(short)
        found[name] = short
    return found


def _columns(letter: str) -> int:
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _first(text: str, columns: int) -> str:
    """As much of a text as so many columns hold."""
    for at, letter in enumerate(text):
        columns -= _columns(letter)
        if columns < 0:
            return text[:at]
    return text


def below(path: str, source: str) -> str:
    """A path as people who know the input read it."""
    return path.removeprefix(source + "/")
