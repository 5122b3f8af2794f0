"""How much of today's variance a space of components that was fitted earlier keeps, and whether to fit it anew."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from verger.components.moments import Scaler
from verger.components.pca import Pca
from verger.components.scatter import ScatterMoments

# Where a number of components is requested, a space stands while it keeps so much of what a refit would keep.
MIN_OF_REFIT = 0.99
# A requested share counts as kept within rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Retention:
    """What a space keeps of today's variance, and what it has to keep.

    Attributes
    ----------
    kept_share : float
        Share of today's variance that the space keeps, as `kept_share` says.
    refit_share : float
        Share that a refit with as many components would keep, as `refit_share` says.
    least_share : float
        A refit is due below this: the share that was requested or, for a number of components, 99 % of
        ``refit_share``.
    n_components : int
        Components of the space.
    refit_components : int
        Components that a refit would have.
    due : bool
        Whether to fit the space anew.
    reason : str
        A clause that says why, or why not.
    """

    kept_share: float
    refit_share: float
    least_share: float
    n_components: int
    refit_components: int
    due: bool
    reason: str

    def summary(self) -> dict[str, Any]:
        """These figures for the manifest.

        Returns
        -------
        dict
            A key for each attribute.
        """
        return asdict(self)


def kept_share(space: Pca, moments: ScatterMoments) -> float:
    """Share of today's variance that a space keeps, exactly.

    With C today's covariance matrix about today's mean, D the diagonal matrix of the space's own scale (the identity
    where features are not standardised) and V its components, it is trace(V D^-1 C D^-1 V') / trace(D^-1 C D^-1). So
    it is the variance of the table's columns over that of all features, in the unit in which the space
    measures features: where their standard deviations have changed since, features no longer weigh the same. For the
    moments of its own fit it is the sum of ``explained_variance_ratio``.

    The mean is today's, not the space's. When all photographs move alike, no variance is gained or lost, and
    no space can keep a greater share than a refit in the same unit. `projection.measure_drift` measures about the
    space's mean, which counts such a shift as variance.

    Parameters
    ----------
    space : Pca
        Fitted earlier, on features of the same dimension.
    moments : ScatterMoments
        Of today's rows.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    ValueError
        The dimensions differ.
    VergerError
        As in `Moments.validated`.
    """
    if len(space.mean) != moments.dimension:
        raise ValueError(f"a space of {len(space.mean)} features, moments of {moments.dimension}")
    today = moments.feature_moments().validated()
    total = today.total_variance(Scaler(space.mean, space.scale)) * (moments.n - 1)
    directions = space.components if space.scale is None else space.components / space.scale
    lower = moments.centred_scatter()
    # With L the lower triangle, v' S v = 2 v' L v - v' diag(L) v.
    kept = 2 * np.sum((directions @ lower) * directions) - np.sum(directions**2 @ lower.diagonal())
    return float(min(max(kept / total, 0.0), 1.0))


def refit_share(refit: Pca, components: int) -> float:
    """Share of today's variance that a refit with a number of components keeps.

    Parameters
    ----------
    refit : Pca
        Fitted on today's moments with an exact solver, with any number of components. Where features are
        standardised, the unit of its share is today's standard deviations.
    components : int
        Number of components; beyond the rank there is no more to keep.

    Returns
    -------
    float
        Between 0 and 1.
    """
    return float(min(refit.spectrum[:components].sum() / refit.total_variance, 1.0))


def measure_retention(space: Pca, refit: Pca, moments: ScatterMoments) -> Retention:
    """Whether a space still keeps what is requested, on today's variance.

    A refit is due where something else is requested than the space was fitted for: another share, another number of
    components, standardised or not. Otherwise the space stands

    - for a share of the variance, while it keeps that share;
    - for a number of components, while it has as many as a refit would have, and keeps at least 99 % of what a refit
      would keep. A number has no threshold of its own, and the best that so many components can do changes with the
      photographs.

    Parameters
    ----------
    space : Pca
        Fitted earlier, on features of the same dimension.
    refit : Pca
        Fitted on ``moments`` (`pca.fit_moments`), as it is requested today.
    moments : ScatterMoments
        Of today's rows.

    Returns
    -------
    Retention
        The decision, and the figures that it was made from.

    Raises
    ------
    ValueError
        The dimensions differ.
    VergerError
        As in `Moments.validated`.
    """
    kept, best = kept_share(space, moments), refit_share(refit, space.n_components)
    share = refit.requested.get("variance")
    least = MIN_OF_REFIT * best if share is None else float(share)
    if space.requested != refit.requested or (space.scale is None) != (refit.scale is None):
        due, reason = True, "the components were fitted for another request"
    elif share is None and space.n_components != refit.n_components:
        due, reason = True, f"the space has {space.n_components} components where {refit.n_components} are possible"
    else:
        due = kept < least - _ROUNDING
        reason = f"the components keep {kept:.4%} of the variance, {'less than' if due else 'at least'} {least:.4%}"
    return Retention(kept, best, least, space.n_components, refit.n_components, due, reason)
