"""Whether moments that were updated are still as precise as a fit needs, or a full pass is due."""

from __future__ import annotations

import numpy as np

from verger.components.scatter import ScatterMoments
from verger.components.solvers import selection

# Share of the rows of the last full pass that may be subtracted before the next.
MAX_SUBTRACTED = 0.1
# So many times larger than in a full pass may a rounding error be, relative to the variance. There it is 2e-15 at
# most, so that shares of the variance stay within 1e-12, and a subspace within 1e-12 / (gap between the shares).
MAX_AMPLIFICATION = 500.0
# Rounding error of a full pass in units of eps: 2 to 8.5 were measured, with 300 to 30,000 rows.
_FULL_PASS_ERROR = 8.0


def full_pass_reason(moments: ScatterMoments, standardize: bool, subtracting: int = 0) -> str | None:
    """Why the next fit needs a full pass, if it does.

    It does beyond 4,096 features; where more than a tenth of the rows of the last full pass was subtracted since; and
    where so much has cancelled that rounding errors would show, after a photograph was removed that was unlike the
    others, for instance. Rounding errors grow with what was ever added or subtracted, `ScatterMoments.magnitude`, and
    matter in relation to the variance that is left: to each feature's where features are standardised, since each is
    divided by its own, and to the sum of all where they are not. A feature that is constant now must be constant
    beyond doubt, by the bound of `moments.standard_deviations`.

    Parameters
    ----------
    moments : ScatterMoments
        Before an update, to learn whether it is worth reading rows; and after it, to learn whether it may be used.
    standardize : bool
        Whether features are divided by their standard deviations.
    subtracting : int
        Rows that are about to be subtracted.

    Returns
    -------
    str or None
        A clause for the user; None where the moments are as good as a full pass.
    """
    if moments.dimension > selection.GRAM_MAX_DIMENSION:
        return f"{moments.dimension} features are more than {selection.GRAM_MAX_DIMENSION}"
    subtracted = moments.subtracted_rows + subtracting
    if subtracted > MAX_SUBTRACTED * moments.full_pass_rows:
        return (
            f"{subtracted} photographs are gone or changed since {moments.full_pass_rows} were read in the last full "
            f"pass, more than {MAX_SUBTRACTED:.0%}"
        )
    if has_cancelled(moments, standardize):
        return "photographs that were unlike the others are gone, and rounding errors would show"
    return None


def has_cancelled(moments: ScatterMoments, standardize: bool) -> bool:
    """Whether rounding errors are too large in relation to the variance that is left.

    Parameters
    ----------
    moments : ScatterMoments
        Of a full pass, or updated since.
    standardize : bool
        Whether features are divided by their standard deviations.

    Returns
    -------
    bool
        False where they are at most `MAX_AMPLIFICATION` times those of a full pass.
    """
    of_features = moments.feature_moments()
    squares, magnitude, n = of_features.squared_deviations, moments.magnitude, max(moments.n, 1)
    if not standardize:
        return bool(magnitude.sum() > MAX_AMPLIFICATION * squares.sum())
    eps = np.finfo(np.float64).eps
    largest_variance = (squares + _FULL_PASS_ERROR * eps * magnitude) / n
    constant = largest_variance <= (n * of_features.mean * eps) ** 2
    return bool(np.any((magnitude > MAX_AMPLIFICATION * squares) & ~constant))
