"""A refit in the signs and the order of an earlier space, so that whoever uses the columns can follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from verger.components.pca import Pca
from verger.components.rows import Float64Array

# Two components match where the square of their cosine is larger: more than half of each then lies along the other, so
# that none can match two others.
MATCHING_SQUARE = 0.5


def align(new: Pca, old: Pca) -> tuple[Pca, Float64Array]:
    """Turn the components of a refit the way of the components of an earlier space that they match.

    A component matches the one whose cosine with it has a square above 1/2. Since the components of a space are
    orthonormal, that is one at most, in either direction. A component that matches gets the sign that makes the cosine
    positive; the others keep their own, by which the largest loading is positive.

    Components stay ordered by falling variance, as everywhere, even where two have changed places since the earlier
    fit: the rotation shows it. Only where variances are equal within rounding, so that their order means nothing,
    those that match come in the order of the earlier space, and those that do not come after them.

    Parameters
    ----------
    new : Pca
        The refit.
    old : Pca
        The earlier space, of features of the same dimension.

    Returns
    -------
    aligned : Pca
        ``new`` with signs changed and, within equal variances, the order; all else as it was.
    rotation : ndarray of float64, shape (k_new, k_old)
        Cosines between the components, ``aligned.components @ old.components.T``. Where the scalers are the same,
        rows in the new space are its product with rows in the old one, but for what the old one did not keep. Where
        features are standardised, each space's components are in the unit of its own standard deviations.

    Raises
    ------
    ValueError
        The dimensions differ.
    """
    if len(new.mean) != len(old.mean):
        raise ValueError(f"components of {len(new.mean)} and of {len(old.mean)} features")
    rotation = new.components @ old.components.T
    rows = np.arange(new.n_components)
    nearest = np.abs(rotation).argmax(axis=1)
    cosines = rotation[rows, nearest]
    matches = cosines**2 > MATCHING_SQUARE
    signs = np.where(matches & (cosines < 0), -1.0, 1.0)
    # Unmatched components come last within equal variances, in their own order.
    order = np.lexsort((np.where(matches, nearest, old.n_components + rows), _groups(new)))
    components = (new.components * signs[:, None])[order]
    return replace(new, components=components), components @ old.components.T


def _groups(pca: Pca) -> Float64Array:
    """A number for each component, the same where variances are equal within rounding, shape (k,).

    Rounding is that by which eigenvalues count as zero (`decomposition.significant_eigenvalues`).
    """
    variances = pca.explained_variance
    rounding = variances[0] * max(pca.n_photographs, len(pca.mean)) * np.finfo(np.float64).eps
    return np.concatenate([[0.0], np.cumsum(-np.diff(variances) > rounding)])
