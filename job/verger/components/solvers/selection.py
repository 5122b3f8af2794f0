"""Which solver is taken: by the number of features and photographs, and by the driver's memory."""

from __future__ import annotations

from typing import Literal

from verger.components.moments import compute_moments
from verger.components.rows import Rows
from verger.components.solvers import dual, gram, randomized
from verger.components.solvers.decomposition import Decomposition, RequestedComponents, eigendecomposition_bytes
from verger.errors import DoesNotFitError
from verger.units import bytes_text

# `auto` forms the d x d matrix up to so many features, or else the n x n matrix up to so many photographs.
GRAM_MAX_DIMENSION = 4096
DUAL_MAX_PHOTOGRAPHS = 8192

Solver = Literal["gram", "dual", "randomized"]


def solve(
    features: Rows,
    dimension: int,
    standardize: bool,
    solver: str,
    request: RequestedComponents,
    seed: int,
    budget: int,
) -> tuple[Solver, Decomposition]:
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
        How many components are requested; only the randomized solver reads it.
    seed : int
        Of the randomized solver.
    budget : int
        Bytes of memory that the driver may use.

    Returns
    -------
    name : {"gram", "dual", "randomized"}
        The solver that was taken.
    decomposition : Decomposition
        What it found.

    Raises
    ------
    DoesNotFitError
        The budget is too small.
    VergerError
        As in `Moments.validated`.
    """
    exact = solver == "exact"
    if (
        solver != "randomized"
        and dimension <= GRAM_MAX_DIMENSION
        and (exact or eigendecomposition_bytes(dimension) <= budget)
    ):
        _require_memory(dimension, budget)
        return "gram", gram.solve(features, dimension, standardize)
    moments = compute_moments(features, dimension)
    if exact:
        _require_memory(min(moments.n, dimension), budget)
        if dimension < moments.n:
            return "gram", gram.solve(features, dimension, standardize)
    elif solver == "randomized" or moments.n > DUAL_MAX_PHOTOGRAPHS or eigendecomposition_bytes(moments.n) > budget:
        return "randomized", randomized.solve(features, moments, standardize, request, seed, budget)
    return "dual", dual.solve(features, moments, standardize)


def _require_memory(size: int, budget: int) -> None:
    needed = eigendecomposition_bytes(size)
    if needed > budget:
        raise DoesNotFitError(
            f"exact PCA of a {size} x {size} matrix takes {bytes_text(needed)}, "
            f"half of the driver's memory is {bytes_text(budget)}; 0% of the variance is reached",
            "Give more --driver-memory, or --solver randomized",
        )
