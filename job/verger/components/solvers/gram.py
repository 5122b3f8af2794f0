"""Exact PCA of features of moderate dimension, from the d x d scatter matrix that one pass, or an update, has given."""

from __future__ import annotations

from verger.components.scatter import ScatterMoments
from verger.components.solvers.decomposition import Decomposition, eigendecomposition, significant_eigenvalues


def solve(moments: ScatterMoments, standardize: bool) -> Decomposition:
    """All eigenvalues and eigenvectors of the covariance matrix.

    Parameters
    ----------
    moments : ScatterMoments
        Of all rows: of a full pass, or updated since.
    standardize : bool
        Whether features are divided by their standard deviations.

    Returns
    -------
    Decomposition
        Exact. Where updates have made the rounding error larger than that of a full pass, eigenvalues have to be
        that much larger to count towards the rank.

    Raises
    ------
    VergerError
        As in `Moments.validated`.
    """
    of_features = moments.feature_moments().validated()
    scaler = of_features.scaler(standardize)
    total_variance = of_features.total_variance(scaler)
    covariance = moments.centred_scatter()
    magnitude = moments.magnitude
    if scaler.scale is not None:
        covariance /= scaler.scale
        covariance /= scaler.scale[:, None]
        magnitude = magnitude / scaler.scale**2
    covariance /= moments.n - 1
    variances, vectors = eigendecomposition(covariance)
    amplification = max(1.0, float(magnitude.sum()) / (total_variance * (moments.n - 1)))
    return Decomposition(
        moments.n,
        scaler,
        total_variance,
        significant_eigenvalues(variances, moments.n, moments.dimension, amplification),
        lambda k: vectors[:, :k].T.copy(),
    )
