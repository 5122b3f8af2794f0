"""Photographs whose class is known, and how far others are from them: cosines in the components, with NumPy alone."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from verger.insight.arrays import Float32Array, Float64Array, Indices
from verger.storage.base import Storage, raise_if_corrupt
from verger.storage.uri import join

ARRAYS = "known.npz"
WIDTH = 256
"""Components that are compared, the first ones."""
SHRINKAGE = 0.2
"""How much of the covariance within classes gives way to that of a ball."""
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Space:
    """Where photographs are compared: their components as directions.

    Attributes
    ----------
    mean : ndarray of float64, shape (w,)
        Of the first w components.
    whitening : ndarray of float64, shape (w, w)
        What makes the photographs of a class spread alike in all directions: differences that are usual within a class
        count for little.
    """

    mean: Float64Array
    whitening: Float64Array

    @classmethod
    def of(cls, components: npt.ArrayLike, codes: Indices | None = None) -> Space:
        """Fit one.

        Parameters
        ----------
        components : array_like, shape (n, k)
        codes : ndarray of int64, shape (n,), optional
            The class of each row, from 0. Without it nothing is whitened, and the cosine is that of the components.
        """
        x = np.asarray(components, np.float64)[:, :WIDTH]
        mean, identity = x.mean(axis=0), np.eye(x.shape[1])
        if codes is None:
            return cls(mean, identity)
        counts = np.bincount(codes)
        sums = np.zeros((len(counts), x.shape[1]))
        np.add.at(sums, codes, x)
        within = x - (sums / np.maximum(counts, 1)[:, None])[codes]
        covariance = within.T @ within / len(x)
        ball = np.trace(covariance) / len(covariance)
        if ball <= 0:
            return cls(mean, identity)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * ball * identity
        return cls(mean, np.linalg.inv(np.linalg.cholesky(covariance)).T)

    def directions(self, components: npt.ArrayLike) -> Float32Array:
        """Rows of length one (or zero, at the very mean), shape (n, w), of components, shape (n, k)."""
        x = np.asarray(components)[:, : len(self.mean)]
        rows = ((x - self.mean) @ self.whitening).astype(np.float32)
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
        return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


@dataclass(frozen=True, eq=False)
class References:
    """Photographs whose class is known, as directions.

    Attributes
    ----------
    space : Space
    directions : ndarray of float32, shape (r, w)
        Their directions.
    """

    space: Space
    directions: Float32Array

    @classmethod
    def of(cls, components: npt.ArrayLike, codes: Indices) -> References:
        """All photographs that have these components and classes."""
        space = Space.of(components, codes)
        return cls(space, space.directions(components))

    def distances(self, components: npt.ArrayLike) -> Float32Array:
        """How far photographs are from the nearest known one: 1 - cosine, from 0 to 2; shape (n,) of (n, k)."""
        directions = self.space.directions(components)
        blocks = (directions[start : start + _BLOCK] for start in range(0, len(directions), _BLOCK))
        nearest = [(block @ self.directions.T).max(axis=1) for block in blocks]
        return np.asarray(np.clip(1 - np.concatenate([np.empty(0, np.float32), *nearest]), 0, 2), np.float32)

    def save(self, folder: str, storage: Storage) -> None:
        """Write ``known.npz``."""
        sink = io.BytesIO()
        np.savez(sink, mean=self.space.mean, whitening=self.space.whitening, references=self.directions)
        storage.write(join(folder, ARRAYS), sink.getvalue())

    @classmethod
    def load(cls, folder: str, storage: Storage) -> References:
        """Read what `save` wrote.

        Raises
        ------
        NothingToReadError
            There is none in ``folder``.
        StoreError
            It is damaged.
        """
        path = join(folder, ARRAYS)
        with raise_if_corrupt(path), np.load(io.BytesIO(storage.read(path)), allow_pickle=False) as saved:
            return cls(Space(saved["mean"], saved["whitening"]), saved["references"])
