"""From features to components: scaler and PCA as arrays, wherever they were fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from verger.insight.arrays import Float32Array, Float64Array

_BLOCK_NUMBERS = 4_000_000  # features that are copied at a time


@dataclass(frozen=True, eq=False)
class Reduction:
    """Scaler and PCA: of one training part, or those that were given.

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
    scale : ndarray of float64, shape (d,), or None
        None where features are not divided.
    axes : ndarray of float64, shape (k, d)
    """

    mean: Float64Array
    scale: Float64Array | None
    axes: Float64Array

    @classmethod
    def fit(cls, features: Float32Array, k: int, standardize: bool, seed: int) -> Self:
        """Of features, shape (n, d)."""
        scaler = StandardScaler().fit(features) if standardize else None
        scaled = features if scaler is None else scaler.transform(features)
        pca = PCA(k, svd_solver="randomized", iterated_power=3, random_state=seed).fit(scaled)
        mean, axes = pca.mean_.astype(np.float64), pca.components_.astype(np.float64)
        if scaler is None:
            return cls(mean, None, axes)
        return cls(scaler.mean_ + scaler.scale_ * mean, scaler.scale_, axes)

    def components(self, features: Float32Array) -> Float32Array:
        """Of features, shape (n, d), shape (n, k); block by block, as they are copied."""
        found = np.empty((len(features), len(self.axes)), np.float32)
        mean, axes = self.mean.astype(np.float32), self.axes.T.astype(np.float32)
        rows = max(1, _BLOCK_NUMBERS // len(mean))
        for start in range(0, len(features), rows):
            centred = features[start : start + rows] - mean
            if self.scale is not None:
                centred /= self.scale.astype(np.float32)
            found[start : start + rows] = centred @ axes
        return found
