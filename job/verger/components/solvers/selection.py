"""Which solver is taken: by the number of features and photographs, and by the driver's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from verger.components.moments import compute_moments
from verger.components.rows import Rows
from verger.components.scatter import ScatterMoments, scatter_moments
from verger.components.solvers import dual, gram, randomized
from verger.components.solvers.decomposition import Decomposition, RequestedComponents, eigendecomposition_bytes
from verger.components.solvers.tridiagonal import tridiagonal_bytes
from verger.errors import DoesNotFitError
from verger.units import bytes_text

# `auto` forms the d x d matrix up to so many features, or else the n x n matrix up to so many photographs.
GRAM_MAX_DIMENSION = 4096
DUAL_MAX_PHOTOGRAPHS = 8192

Solver = Literal["gram", "dual", "randomized"]


@dataclass(frozen=True, eq=False)
class Solution:
    """What was found, and how.

    Attributes
    ----------
    solver : {"gram", "dual", "randomized"}
        The solver that was taken.
    decomposition : Decomposition
        What it found.
    moments : ScatterMoments or None
        From what it found it, which a later run can update; None but for ``gram`` up to GRAM_MAX_DIMENSION features.
    """

    solver: Solver
    decomposition: Decomposition
    moments: ScatterMoments | None = None


def takes_gram(dimension: int, solver: str, budget: int) -> bool:
    """Whether the d x d scatter matrix is formed, whatever the number of photographs.

    Parameters
    ----------
    dimension : int
        Features of a row, d.
    solver : {"auto", "exact", "randomized"}
        As in `pca.fit`.
    budget : int
        Bytes of memory that the driver may use.

    Returns
    -------
    bool
        Where it is true, a fit has moments, and can be made from moments.
    """
    if solver == "randomized" or dimension > GRAM_MAX_DIMENSION:
        return False
    return solver == "exact" or eigendecomposition_bytes(dimension) <= budget


def solve(
    features: Rows,
    dimension: int,
    standardize: bool,
    solver: str,
    request: RequestedComponents,
    seed: int,
    budget: int,
) -> Solution:
    """Choose the solver, and run it.

    Parameters
    ----------
    features : Rows
        Columns ``path string``, unique, and ``features array<float>``.
    dimension : int
        Features of a row, d.
    standardize : bool
        Whether features are divided by their standard deviations.
    solver : {"auto", "exact", "randomized"}
        As in `pca.fit`.
    request : RequestedComponents
        How many components are requested; the eigenvectors of a variance may be as many as there are photographs.
    seed : int
        Of the randomized solver.
    budget : int
        Bytes of memory that the driver may use.

    Returns
    -------
    Solution
        What was found, and by which solver.

    Raises
    ------
    DoesNotFitError
        The budget is too small.
    VergerError
        As in `Moments.validated`.
    """
    if takes_gram(dimension, solver, budget):
        require_memory(dimension, budget)
        return _solve_gram(features, dimension, standardize)
    moments = compute_moments(features, dimension)
    dual_bytes = tridiagonal_bytes(moments.n, min(request.components or moments.n, moments.n))
    if solver == "exact":
        if dimension < moments.n:
            require_memory(dimension, budget)
            return _solve_gram(features, dimension, standardize)
        _require(dual_bytes, moments.n, budget)
    elif solver == "randomized" or moments.n > DUAL_MAX_PHOTOGRAPHS or dual_bytes > budget:
        return Solution("randomized", randomized.solve(features, moments, standardize, request, seed, budget))
    return Solution("dual", dual.solve(features, moments, standardize))


def _solve_gram(features: Rows, dimension: int, standardize: bool) -> Solution:
    moments = scatter_moments(features, dimension)
    kept = moments if dimension <= GRAM_MAX_DIMENSION else None
    return Solution("gram", gram.solve(moments, standardize), kept)


def require_memory(size: int, budget: int) -> None:
    """Check that the eigendecomposition of a d x d scatter matrix fits the memory.

    Parameters
    ----------
    size : int
        Rows of the matrix, d.
    budget : int
        Bytes of memory that the driver may use.

    Raises
    ------
    DoesNotFitError
        It does not.
    """
    _require(eigendecomposition_bytes(size), size, budget)


def _require(needed: int, size: int, budget: int) -> None:
    if needed > budget:
        raise DoesNotFitError(
            f"exact PCA of a {size} x {size} matrix takes {bytes_text(needed)}, "
            f"half of the driver's memory is {bytes_text(budget)}; 0% of the variance is reached",
            "Give more --driver-memory, or --solver randomized",
        )
