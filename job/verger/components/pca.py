"""A PCA: fitted on the features of a run, saved, loaded, and applied with numpy alone."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from verger.components.moments import measure
from verger.components.rows import Array
from verger.components.solvers import dual, gram, randomized
from verger.components.solvers.spectrum import Request, Spectrum, eigen_bytes, with_signs
from verger.errors import DoesNotFitError
from verger.storage.base import intact
from verger.storage.stores import storage_of
from verger.storage.uri import join

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# Up to these sizes `auto` forms the d x d, or else the n x n matrix.
GRAM_DIMENSION = 4096
DUAL_PHOTOGRAPHS = 8192
# Matrices (k, d) that the driver holds where it assembles the components.
_COPIES = 3


@dataclass(frozen=True, eq=False)
class Pca:
    """A fitted PCA.

    Attributes
    ----------
    components : ndarray of float64, shape (k, d)
        Orthonormal, by falling variance; the largest loading of each is positive.
    mean : ndarray of float64, shape (d,)
    scale : ndarray of float64, shape (d,), or None
        Standard deviations (divisor n), where features are standardised.
    explained_variance : ndarray of float64, shape (k,)
        Divisor n - 1.
    explained_variance_ratio : ndarray of float64, shape (k,)
    spectrum : ndarray of float64
        All variances that were found, those of the components first.
    total_variance : float
    n_photographs : int
    requested : dict
        ``{"variance": share}`` or ``{"components": number}``.
    rank : int
        Of the centred features; for the randomized solver, of the subspace it looked at.
    solver : str
        ``gram``, ``dual`` or ``randomized``.
    warnings : tuple of str
        What the user should know about the fit; not saved.
    """

    components: Array
    mean: Array
    scale: Array | None
    explained_variance: Array
    explained_variance_ratio: Array
    spectrum: Array
    total_variance: float
    n_photographs: int
    requested: dict[str, float | int]
    rank: int
    solver: str
    warnings: tuple[str, ...] = field(default=())

    @property
    def n_components(self) -> int:
        """Number of components, k."""
        return len(self.components)

    def transform(self, features: npt.ArrayLike) -> Array:
        """Principal components of features.

        Parameters
        ----------
        features : array_like, shape (n, d)

        Returns
        -------
        ndarray of float64, shape (n, k)
        """
        centred = np.subtract(features, self.mean, dtype=np.float64)
        if self.scale is not None:
            centred /= self.scale
        return centred @ self.components.T

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "solver": self.solver,
            "n_photographs": self.n_photographs,
            "requested": self.requested,
            "n_components": self.n_components,
            "rank": self.rank,
            "explained_variance_ratio": self.explained_variance_ratio.tolist(),
            "total_variance": self.total_variance,
            "standardized": self.scale is not None,
        }

    def save(self, folder: str) -> None:
        """Write ``pca.npz`` (components, mean, scale, variances) and ``pca.json`` (the numbers) into ``folder``."""
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        sink = io.BytesIO()
        np.savez(sink, **arrays)
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        described = {"dimension": len(self.mean), "n_components": self.n_components, **numbers}
        storage = storage_of(folder)
        storage.write(join(folder, "pca.npz"), sink.getvalue())
        storage.write(join(folder, "pca.json"), (json.dumps(described, indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: str) -> Pca:
        """Read what `save` wrote.

        Raises
        ------
        NothingToReadError
            There is no PCA in ``folder``.
        StoreError
            It is damaged.
        """
        storage, text, arrays = storage_of(folder), join(folder, "pca.json"), join(folder, "pca.npz")
        with intact(text):
            described = json.loads(storage.read(text))
            numbers = {name: described[name] for name in _NUMBERS}
        with intact(arrays), np.load(io.BytesIO(storage.read(arrays)), allow_pickle=False) as saved:
            values: dict[str, Any] = {name: saved[name] for name in _ARRAYS if name != "scale" or name in saved}
        return cls(**{"scale": None} | values, **numbers)


_ARRAYS = ("components", "mean", "scale", "explained_variance", "explained_variance_ratio", "spectrum")
_NUMBERS = ("total_variance", "n_photographs", "requested", "rank", "solver")


def fit(
    features: DataFrame,
    *,
    dimension: int,
    variance: float | None,
    components: int | None,
    standardize: bool,
    solver: str,
    seed: int,
    memory: int,
) -> Pca:
    """Fit a PCA on all rows; the number of components comes from the same fit.

    Parameters
    ----------
    features : pyspark.sql.DataFrame
        Columns ``path string``, unique, and ``features array<float>``.
    dimension : int
        Length of each row of features.
    variance : float or None
        The least number of components is taken whose cumulative explained variance reaches this share.
    components : int or None
        Where ``variance`` is None, this many; lowered, with a warning, to min(n - 1, d, rank).
    standardize : bool
        Whether features are divided by their standard deviation.
    solver : {"auto", "exact", "randomized"}
        ``exact`` forms the d x d scatter matrix or, beyond 4,096 features, the smaller of that and the n x n Gram
        matrix. ``auto`` does so up to 4,096 features or else 8,192 photographs, where memory allows, and is
        randomized beyond.
    seed : int
        Of the randomized solver.
    memory : int
        Bytes of the driver; half may be used.

    Raises
    ------
    NothingToReadError
        There are fewer than two photographs, or they do not differ at all.
    DoesNotFitError
        Half of the memory does not suffice.
    """
    request = Request(variance, None if variance is not None else components)
    budget = memory // 2
    used, found = _solve(features, dimension, standardize, solver, request, seed, budget)
    k = min(request.count(found.shares), found.rank)
    fitting = budget // (_COPIES * 8 * dimension)
    if k > fitting:
        raise randomized.does_not_fit(request, fitting, float(found.shares[fitting - 1]) if fitting else 0.0, budget)
    return Pca(
        components=with_signs(found.components(k)),
        mean=found.standard.mean,
        scale=found.standard.scale,
        explained_variance=found.variances[:k],
        explained_variance_ratio=found.variances[:k] / found.total_variance,
        spectrum=found.variances,
        total_variance=found.total_variance,
        n_photographs=found.n,
        requested=request.describe(),
        rank=found.rank,
        solver=used,
        warnings=_warnings(request, found, k, dimension),
    )


def _solve(
    features: DataFrame, dimension: int, standardize: bool, solver: str, request: Request, seed: int, budget: int
) -> tuple[str, Spectrum]:
    """Choose the solver by size and memory, and run it."""
    exact = solver == "exact"
    if solver != "randomized" and dimension <= GRAM_DIMENSION and (exact or eigen_bytes(dimension) <= budget):
        _require(dimension, budget)
        return "gram", gram.solve(features, dimension, standardize)
    moments = measure(features, dimension)
    if exact:
        _require(min(moments.n, dimension), budget)
        if dimension < moments.n:
            return "gram", gram.solve(features, dimension, standardize)
    elif solver == "randomized" or moments.n > DUAL_PHOTOGRAPHS or eigen_bytes(moments.n) > budget:
        return "randomized", randomized.solve(features, moments, standardize, request, seed, budget)
    return "dual", dual.solve(features, moments, standardize)


def _require(size: int, budget: int) -> None:
    if eigen_bytes(size) > budget:
        raise DoesNotFitError(
            f"exact PCA of a {size} x {size} matrix takes {eigen_bytes(size) >> 20} MB, "
            f"half of the driver's memory is {budget >> 20} MB; 0% of the variance is reached",
            "Give more --driver-memory, or --solver randomized",
        )


def _warnings(request: Request, found: Spectrum, k: int, dimension: int) -> tuple[str, ...]:
    if request.components is None or request.components <= k:
        return ()
    return (
        f"{request.components} components were asked for, {k} are used: {found.n} photographs with {dimension} "
        f"features have no more",
    )
