"""A PCA: fitted on the features of a run, saved, loaded, and applied with numpy alone."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.components.rows import Float64Array, Rows
from verger.components.scatter import ScatterMoments
from verger.components.solvers import gram, selection
from verger.components.solvers.decomposition import Decomposition, RequestedComponents, fix_signs
from verger.storage.base import Storage, raise_if_corrupt
from verger.storage.stores import Stores
from verger.storage.uri import join

# Matrices (k, d) that the driver holds where it assembles the components.
_MATRICES_HELD = 3


@dataclass(frozen=True, eq=False)
class Pca:
    """A fitted PCA.

    Attributes
    ----------
    components : ndarray of float64, shape (k, d)
        Orthonormal rows, by falling variance. The largest loading of each is positive, or it points the way of an
        earlier fit's component (`alignment.align`).
    mean : ndarray of float64, shape (d,)
        Mean of each feature.
    scale : ndarray of float64, shape (d,), or None
        Standard deviations (divisor n), where features are standardised.
    explained_variance : ndarray of float64, shape (k,)
        Variance of each component (divisor n - 1).
    explained_variance_ratio : ndarray of float64, shape (k,)
        The same as a share of ``total_variance``.
    spectrum : ndarray of float64, shape (r,)
        All variances that were found, those of the components first.
    total_variance : float
        Variance of the centred and scaled features, summed over the features (divisor n - 1).
    n_photographs : int
        Photographs of the fit, n.
    requested : dict
        ``{"variance": ratio}`` or ``{"components": number}``.
    rank : int
        Of the centred features; for the randomized solver, of the subspace that it found.
    solver : {"gram", "dual", "randomized"}
        The solver that found the components.
    warnings : tuple of str
        What the user should know about the fit; not saved.

    Examples
    --------
    A PCA comes from `fit`, or from a run by `Pca.load`. Here one component of two features is written down:

    >>> import numpy as np
    >>> pca = Pca(
    ...     components=np.array([[0.6, 0.8]]),
    ...     mean=np.array([1.0, 2.0]),
    ...     scale=None,
    ...     explained_variance=np.array([4.0]),
    ...     explained_variance_ratio=np.array([0.8]),
    ...     spectrum=np.array([4.0, 1.0]),
    ...     total_variance=5.0,
    ...     n_photographs=100,
    ...     requested={"variance": 0.8},
    ...     rank=2,
    ...     solver="gram",
    ... )

    Features of three photographs become their principal components, without Spark:

    >>> features = np.array([[1.0, 2.0], [6.0, 2.0], [1.0, 12.0]], dtype=np.float32)
    >>> pca.transform(features)
    array([[0.],
           [3.],
           [8.]])

    Saved, it is loaded again with the same numbers:

    >>> import tempfile
    >>> from verger.storage.local import LocalStorage
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pca.save(folder, LocalStorage())
    ...     loaded = Pca.load(folder)
    >>> loaded.n_components, loaded.explained_variance_ratio.tolist()
    (1, [0.8])
    """

    components: Float64Array
    mean: Float64Array
    scale: Float64Array | None
    explained_variance: Float64Array
    explained_variance_ratio: Float64Array
    spectrum: Float64Array
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

    def transform(self, features: npt.ArrayLike) -> Float64Array:
        """Principal components of features, computed in float64.

        Parameters
        ----------
        features : array_like, shape (n, d)
            A photograph a row, numbers of any type.

        Returns
        -------
        ndarray of float64, shape (n, k)
            A photograph a row, a component a column.
        """
        centred = np.subtract(features, self.mean, dtype=np.float64)
        if self.scale is not None:
            centred /= self.scale
        return centred @ self.components.T

    def summary(self) -> dict[str, Any]:
        """The PCA as the manifest has it.

        Returns
        -------
        dict
            Keys of the manifest's ``pca``, values that JSON can hold.
        """
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

    def save(self, folder: str, storage: Storage) -> None:
        """Write ``pca.npz`` (the arrays) and ``pca.json`` (the numbers).

        Parameters
        ----------
        folder : str
            Path or URI of the folder; files of these names are overwritten.
        storage : Storage
            The store that holds it.

        Raises
        ------
        StoreError
            The store refuses or cannot be reached.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        sink = io.BytesIO()
        np.savez(sink, **arrays)
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        described = {"dimension": len(self.mean), "n_components": self.n_components, **numbers}
        storage.write(join(folder, "pca.npz"), sink.getvalue())
        storage.write(join(folder, "pca.json"), (json.dumps(described, indent=2) + "\n").encode())

    @classmethod
    def load(cls, folder: str, storage: Storage | None = None) -> Pca:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : str
            Path or URI of the folder, ``runs/<run_id>/pca`` for a run.
        storage : Storage, optional
            The store that holds it; default: found by the folder's name.

        Returns
        -------
        Pca
            Without warnings.

        Raises
        ------
        NothingToReadError
            There is no PCA in ``folder``.
        StoreError
            It is damaged, or the store refuses or cannot be reached.
        """
        storage, text, arrays = storage or Stores().of(folder), join(folder, "pca.json"), join(folder, "pca.npz")
        with raise_if_corrupt(text):
            described = json.loads(storage.read(text))
            numbers = {name: described[name] for name in _NUMBERS}
        with raise_if_corrupt(arrays), np.load(io.BytesIO(storage.read(arrays)), allow_pickle=False) as saved:
            values: dict[str, Any] = {name: saved[name] for name in _ARRAYS if name != "scale" or name in saved}
        return cls(**{"scale": None} | values, **numbers)


_ARRAYS = ("components", "mean", "scale", "explained_variance", "explained_variance_ratio", "spectrum")
_NUMBERS = ("total_variance", "n_photographs", "requested", "rank", "solver")


@dataclass(frozen=True, eq=False)
class Fit:
    """A PCA, and from what a later run can update it.

    Attributes
    ----------
    pca : Pca
        Fitted on all rows.
    moments : ScatterMoments or None
        Of all rows, where the solver was ``gram`` and there are at most 4,096 features.
    """

    pca: Pca
    moments: ScatterMoments | None


def fit(
    features: Rows,
    *,
    dimension: int,
    variance: float | None,
    components: int | None,
    standardize: bool,
    solver: str,
    seed: int,
    memory: int,
) -> Fit:
    """Fit a PCA on all rows; the number of components comes from the same fit.

    Parameters
    ----------
    features : Rows
        Columns ``path string``, unique, and ``features array<float>``.
    dimension : int
        Features of a row, d.
    variance : float or None
        Explained variance ratio, above 0 and at most 1: the least number of components is taken that reaches it.
    components : int or None
        Number of components, where ``variance`` is None; lowered, with a warning, to min(n - 1, d, rank).
    standardize : bool
        Whether features are divided by their standard deviations.
    solver : {"auto", "exact", "randomized"}
        ``exact`` forms the d x d scatter matrix or, beyond 4,096 features, the smaller of that and the n x n Gram
        matrix. ``auto`` does so up to 4,096 features or else 8,192 photographs, where memory allows, and is
        randomized beyond.
    seed : int
        Of the randomized solver.
    memory : int
        Bytes of the driver's memory, of which half may be used.

    Returns
    -------
    Fit
        The PCA, and the moments that it was made from.

    Raises
    ------
    NothingToReadError
        There are fewer than two photographs, or all have the same features.
    DoesNotFitError
        Half of the memory is not enough.
    VergerError
        A feature is infinite or not a number.
    """
    request = RequestedComponents(variance, None if variance is not None else components)
    budget = memory // 2
    solution = selection.solve(features, dimension, standardize, solver, request, seed, budget)
    return Fit(_pca(solution.decomposition, solution.solver, request, budget), solution.moments)


def fit_moments(
    moments: ScatterMoments, *, variance: float | None, components: int | None, standardize: bool, memory: int
) -> Pca:
    """Fit a PCA on the rows of which these are the moments, without reading them.

    Parameters
    ----------
    moments : ScatterMoments
        Of a full pass, or updated since as far as `precision.full_pass_reason` allows.
    variance : float or None
        As in `fit`.
    components : int or None
        As in `fit`.
    standardize : bool
        Whether features are divided by their standard deviations.
    memory : int
        Bytes of the driver's memory, of which half may be used.

    Returns
    -------
    Pca
        That of `fit` on the same rows, up to rounding; its solver is ``gram``.

    Raises
    ------
    NothingToReadError
        There are fewer than two photographs, or all have the same features.
    DoesNotFitError
        Half of the memory is not enough.
    VergerError
        A feature is infinite or not a number.
    """
    request = RequestedComponents(variance, None if variance is not None else components)
    selection.require_memory(moments.dimension, memory // 2)
    return _pca(gram.solve(moments, standardize), "gram", request, memory // 2)


def _pca(found: Decomposition, solver: str, request: RequestedComponents, budget: int) -> Pca:
    """The components that are requested, as far as they fit the budget in bytes."""
    dimension = len(found.scaler.mean)
    k = min(request.needed(found.cumulative_ratios), found.rank)
    fitting = budget // (_MATRICES_HELD * 8 * dimension)
    if k > fitting:
        raise request.does_not_fit(fitting, float(found.cumulative_ratios[fitting - 1]) if fitting else 0.0, budget)
    return Pca(
        components=fix_signs(found.components(k)),
        mean=found.scaler.mean,
        scale=found.scaler.scale,
        explained_variance=found.variances[:k],
        explained_variance_ratio=found.variances[:k] / found.total_variance,
        spectrum=found.variances,
        total_variance=found.total_variance,
        n_photographs=found.n,
        requested=request.as_dict(),
        rank=found.rank,
        solver=solver,
        warnings=_warnings(request, found, k, dimension),
    )


def _warnings(request: RequestedComponents, found: Decomposition, k: int, dimension: int) -> tuple[str, ...]:
    if request.components is None or request.components <= k:
        return ()
    return (
        f"{request.components} components were asked for, {k} are used: {found.n} photographs with {dimension} "
        f"features have no more",
    )
