"""Statistics by label in the space of the components: how wide each is, which is nearest, what is typical and odd."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.text import plain

MAX_LABELS = 2_000
"""Labels that are compared with one another: the largest of the sample."""

NO_LABEL = "(no label)"


@dataclass(frozen=True, slots=True)
class Statistics:
    """One label.

    Attributes
    ----------
    name : str
    count : int
        Photographs of it in the sample.
    spread : float
        Root mean square of their distances to their centroid.
    nearest : str, optional
        The label whose centroid is nearest; None where there is no other.
    distance : float, optional
        How far that one is.
    photographs : ndarray of int
        Rows of the sample, the most typical first.
    distances : ndarray of float
        Of these, to the centroid, in spreads.
    """

    name: str
    count: int
    spread: float
    nearest: str | None
    distance: float | None
    photographs: npt.NDArray[np.intp]
    distances: npt.NDArray[np.float64]

    @property
    def apart(self) -> float | None:
        """Distance to the nearest label in spreads: below about 2 the two overlap."""
        return self.distance / self.spread if self.distance is not None and self.spread > 0 else None


def statistics(labels: npt.NDArray[np.str_], points: npt.NDArray[np.floating]) -> list[Statistics]:
    """Statistics of every label of a sample, by name.

    Parameters
    ----------
    labels : ndarray of str, shape (n,)
    points : ndarray, shape (n, k)
        Their components.
    """
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) > MAX_LABELS:
        kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_LABELS])
    else:
        kept = np.arange(len(names))
    order = np.argsort(codes, kind="stable")
    members = np.split(order, np.cumsum(counts)[:-1])
    centroids = np.array([points[members[code]].mean(axis=0, dtype=np.float64) for code in kept])
    nearest, gaps = _nearest(centroids)
    found = []
    for row, code in enumerate(kept):
        away = np.linalg.norm(points[members[code]] - centroids[row], axis=1)
        spread = float(np.sqrt(np.mean(away**2)))
        by_distance = np.argsort(away, kind="stable")
        found.append(
            Statistics(
                str(names[code]),
                int(counts[code]),
                spread,
                str(names[kept[nearest[row]]]) if len(kept) > 1 else None,
                float(gaps[row]) if len(kept) > 1 else None,
                members[code][by_distance],
                away[by_distance] / spread if spread else np.zeros(len(away)),
            )
        )
    return found


def _nearest(centroids: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """For each centroid the nearest other one, and how far it is."""
    squares = (centroids**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * centroids @ centroids.T
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    return nearest, np.sqrt(np.maximum(distances[np.arange(len(nearest)), nearest], 0))


def balanced(labels: npt.NDArray[np.str_], count: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """At most ``count`` rows, taken from all labels in turn, always the same ones."""
    random = np.random.default_rng(seed).permutation(len(labels))
    codes = np.unique(labels, return_inverse=True)[1][random]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    turn = np.empty(len(labels), np.intp)
    turn[order] = np.arange(len(labels)) - starts
    return random[np.argsort(turn, kind="stable")[:count]]


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
