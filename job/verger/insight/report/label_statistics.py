"""Statistics by label in the space of the components: how wide each is, which is nearest, what is typical and odd."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_LABELS = 2_000
"""Labels that are compared with one another: the largest of the sample."""


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
