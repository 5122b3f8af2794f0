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
"""File in a run's folder ``model``."""
MAX_WIDTH = 256
"""Components that are compared, the first ones."""
SHRINKAGE = 0.2
"""Weight of a sphere's covariance in that of the photographs within their classes."""
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class CosineSpace:
    """Where photographs are compared: their components, centred, whitened and brought to length one.

    Attributes
    ----------
    mean : ndarray of float64, shape (w,)
        Of the first w components.
    whitening : ndarray of float64, shape (w, w)
        Makes photographs of one class vary equally in all directions, so that usual differences within a class count
        for little.
    """

    mean: Float64Array
    whitening: Float64Array

    @classmethod
    def fit(cls, components: npt.ArrayLike, codes: Indices | None = None) -> CosineSpace:
        """Fit mean and whitening.

        Parameters
        ----------
        components : array_like, shape (n, k)
            The first `MAX_WIDTH` are used.
        codes : ndarray of int64, shape (n,), optional
            The class of each row, from 0. Without them nothing is whitened.
        """
        x = np.asarray(components, np.float64)[:, :MAX_WIDTH]
        mean, identity = x.mean(axis=0), np.eye(x.shape[1])
        if codes is None:
            return cls(mean, identity)
        counts = np.bincount(codes)
        sums = np.zeros((len(counts), x.shape[1]))
        np.add.at(sums, codes, x)
        within = x - (sums / np.maximum(counts, 1)[:, None])[codes]
        covariance = within.T @ within / len(x)
        mean_variance = np.trace(covariance) / len(covariance)
        if mean_variance <= 0:
            return cls(mean, identity)
        covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * mean_variance * identity
        return cls(mean, np.linalg.inv(np.linalg.cholesky(covariance)).T)

    def directions(self, components: npt.ArrayLike) -> Float32Array:
        """Bring photographs into this space.

        Parameters
        ----------
        components : array_like, shape (n, k)
            Of the same PCA, with k >= w.

        Returns
        -------
        ndarray of float32, shape (n, w)
            Rows of length one; zero for a photograph exactly at the mean.
        """
        x = np.asarray(components)[:, : len(self.mean)]
        rows = ((x - self.mean) @ self.whitening).astype(np.float32)
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
        return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


@dataclass(frozen=True, eq=False)
class References:
    """Photographs whose class is known.

    Attributes
    ----------
    space : CosineSpace
        Where they are compared.
    directions : ndarray of float32, shape (r, w)
        The photographs in that space, a row each.
    """

    space: CosineSpace
    directions: Float32Array

    @classmethod
    def fit(cls, components: npt.ArrayLike, codes: Indices) -> References:
        """Take photographs as references, in a space that is fitted to them.

        Parameters
        ----------
        components : array_like, shape (r, k)
            Of the photographs.
        codes : ndarray of int64, shape (r,)
            Their classes, from 0.
        """
        space = CosineSpace.fit(components, codes)
        return cls(space, space.directions(components))

    def distances(self, components: npt.ArrayLike) -> Float32Array:
        """How far photographs are from the nearest reference.

        Parameters
        ----------
        components : array_like, shape (n, k)
            Of the same PCA.

        Returns
        -------
        ndarray of float32, shape (n,)
            1 - cosine, from 0 to 2.
        """
        directions = self.space.directions(components)
        blocks = (directions[start : start + _BLOCK] for start in range(0, len(directions), _BLOCK))
        cosines = [(block @ self.directions.T).max(axis=1) for block in blocks]
        return np.asarray(np.clip(1 - np.concatenate([np.empty(0, np.float32), *cosines]), 0, 2), np.float32)

    def save(self, folder: str, storage: Storage) -> None:
        """Write ``known.npz``.

        Parameters
        ----------
        folder : str
            Canonical URI.
        storage : Storage
            That the folder is in.
        """
        sink = io.BytesIO()
        np.savez(sink, mean=self.space.mean, whitening=self.space.whitening, references=self.directions)
        storage.write(join(folder, ARRAYS), sink.getvalue())

    @classmethod
    def load(cls, folder: str, storage: Storage) -> References:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : str
            Canonical URI.
        storage : Storage
            That the folder is in.

        Raises
        ------
        NothingToReadError
            There is no such file.
        StoreError
            It is damaged.
        """
        path = join(folder, ARRAYS)
        with raise_if_corrupt(path), np.load(io.BytesIO(storage.read(path)), allow_pickle=False) as saved:
            return cls(CosineSpace(saved["mean"], saved["whitening"]), saved["references"])
