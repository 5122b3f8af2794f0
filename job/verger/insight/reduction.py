"""From features to components: scaler and PCA as arrays, wherever they were fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from verger.insight.arrays import Float32Array, Float64Array

_BLOCK_VALUES = 4_000_000  # features that are copied at a time


@dataclass(frozen=True, eq=False)
class Reduction:
    """A fitted scaler and PCA.

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
        Subtracted from features.
    scale : ndarray of float64, shape (d,), or None
        Features are divided by it; None where they are not divided.
    axes : ndarray of float64, shape (k, d)
        Orthonormal rows, on which the features are projected.
    """

    mean: Float64Array
    scale: Float64Array | None
    axes: Float64Array

    @classmethod
    def fit(cls, features: Float32Array, k: int, standardize: bool, seed: int) -> Self:
        """Fit scaler and PCA.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)
            Of the photographs to fit on.
        k : int
            Components to keep, at most min(n, d).
        standardize : bool
            Whether to divide features by their standard deviations first.
        seed : int
            Of the randomized solver (Halko, Martinsson, Tropp 2011).
        """
        scaler = StandardScaler().fit(features) if standardize else None
        scaled = features if scaler is None else scaler.transform(features)
        pca = PCA(k, svd_solver="randomized", iterated_power=3, random_state=seed).fit(scaled)
        mean, axes = pca.mean_.astype(np.float64), pca.components_.astype(np.float64)
        if scaler is None:
            return cls(mean, None, axes)
        return cls(scaler.mean_ + scaler.scale_ * mean, scaler.scale_, axes)

    def transform(self, features: Float32Array) -> Float32Array:
        """Components of features, block by block, because each block is copied.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)
            Stay as they are.

        Returns
        -------
        ndarray of float32, shape (n, k)
            A photograph a row, a component a column; computed in float32.
        """
        components = np.empty((len(features), len(self.axes)), np.float32)
        mean, axes = self.mean.astype(np.float32), self.axes.T.astype(np.float32)
        rows = max(1, _BLOCK_VALUES // len(mean))
        for start in range(0, len(features), rows):
            centred = features[start : start + rows] - mean
            if self.scale is not None:
                centred /= self.scale.astype(np.float32)
            components[start : start + rows] = centred @ axes
        return components
