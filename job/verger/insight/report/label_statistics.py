"""Statistics by label in the space of the components: spread, nearest label, typical and odd photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.insight.arrays import Float64Array

MAX_LABELS = 2_000
"""Labels that are compared with one another, at most: the largest of the sample."""


@dataclass(frozen=True, slots=True)
class LabelStatistics:
    """Statistics of one label.

    Attributes
    ----------
    name : str
        The label.
    count : int
        Photographs of it in the sample.
    spread : float
        Root mean square of their distances from their centroid.
    nearest : str or None
        The label whose centroid is nearest; None where there is no other.
    distance : float or None
        Between the two centroids.
    photographs : ndarray of int, shape (count,)
        Rows of the sample, the most typical first.
    distances : ndarray of float64, shape (count,)
        Of these photographs from the centroid, in spreads.
    """

    name: str
    count: int
    spread: float
    nearest: str | None
    distance: float | None
    photographs: npt.NDArray[np.intp]
    distances: Float64Array

    @property
    def distance_in_spreads(self) -> float | None:
        """Distance from the nearest label; below about 2 the two overlap. None where it is not defined."""
        return self.distance / self.spread if self.distance is not None and self.spread > 0 else None


def statistics_by_label(labels: npt.NDArray[np.str_], components: npt.NDArray[np.floating]) -> list[LabelStatistics]:
    """Statistics of every label of a sample.

    Parameters
    ----------
    labels : ndarray of str, shape (n,)
        The label of each photograph.
    components : ndarray of float, shape (n, k)
        Of the same photographs.

    Returns
    -------
    list of LabelStatistics
        By name; of more than `MAX_LABELS` labels, of the largest.
    """
    names, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if len(names) > MAX_LABELS:
        kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_LABELS])
    else:
        kept = np.arange(len(names))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    centroids = np.array([components[members[code]].mean(axis=0, dtype=np.float64) for code in kept])
    nearest, gaps = _nearest(centroids)
    found = []
    for row, code in enumerate(kept):
        distances = np.linalg.norm(components[members[code]] - centroids[row], axis=1)
        spread = float(np.sqrt(np.mean(distances**2)))
        order = np.argsort(distances, kind="stable")
        found.append(
            LabelStatistics(
                name=str(names[code]),
                count=int(counts[code]),
                spread=spread,
                nearest=str(names[kept[nearest[row]]]) if len(kept) > 1 else None,
                distance=float(gaps[row]) if len(kept) > 1 else None,
                photographs=members[code][order],
                distances=distances[order] / spread if spread else np.zeros(len(distances)),
            )
        )
    return found


def _nearest(centroids: Float64Array) -> tuple[npt.NDArray[np.intp], Float64Array]:
    """For each centroid the row of the nearest other one, and its distance."""
    squares = (centroids**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * centroids @ centroids.T
    np.fill_diagonal(distances, np.inf)
    nearest = distances.argmin(axis=1)
    return nearest, np.sqrt(np.maximum(distances[np.arange(len(nearest)), nearest], 0))


def balanced_sample(labels: npt.NDArray[np.str_], number: int, seed: int = 0) -> npt.NDArray[np.intp]:
    """Draw photographs from all labels in turn.

    Parameters
    ----------
    labels : ndarray of str, shape (n,)
        The label of each photograph.
    number : int
        Photographs to draw, at most.
    seed : int
        The same seed draws the same photographs.

    Returns
    -------
    ndarray of int, shape (min(n, number),)
        Row numbers.
    """
    permutation = np.random.default_rng(seed).permutation(len(labels))
    codes = np.unique(labels, return_inverse=True)[1][permutation]
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    turn = np.empty(len(labels), np.intp)
    turn[order] = np.arange(len(labels)) - starts
    return permutation[np.argsort(turn, kind="stable")[:number]]
