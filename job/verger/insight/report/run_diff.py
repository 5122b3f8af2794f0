"""How a run differs from the one before it: photographs that are new or gone, and the angles between their PCAs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.linalg import subspace_angles

from verger.components.pca import Pca
from verger.errors import VergerError
from verger.insight.arrays import Float64Array
from verger.tables import manifest as manifests
from verger.tables import reader
from verger.tables.manifest import Manifest
from verger.tables.runs import Run


@dataclass(frozen=True, eq=False)
class RunDiff:
    """What has changed from one run to the next.

    Attributes
    ----------
    manifest : Manifest
        The earlier run's.
    new : int
        Photographs in the later table alone.
    gone : int
        Photographs in the earlier table alone.
    changed : int
        Photographs in both, in different versions.
    angles : ndarray of float64, shape (min(k, k'),), optional
        Principal angles between the spaces of the two PCAs, degrees, ascending; None where the features are of
        different networks, or one of them is standardized.
    """

    manifest: Manifest
    new: int
    gone: int
    changed: int
    angles: Float64Array | None


def compare(run: Run, pca: Pca, manifest: Manifest, previous: Run) -> RunDiff | None:
    """Compare a run with an earlier one.

    Parameters
    ----------
    run : Run
        The later run, whose table is written.
    pca : Pca
        Its PCA.
    manifest : Manifest
        Its manifest, which need not be published yet.
    previous : Run
        The earlier run, which is finished.

    Returns
    -------
    RunDiff or None
        None where the earlier run cannot be read any more.
    """
    try:
        previous, earlier = manifests.read_standing(previous)
        old, new = (_photographs(each) for each in (previous, run))
        comparable = _feature_space(earlier) == _feature_space(manifest)
        angles = angles_between(Pca.load(previous.path("pca"), previous.storage), pca) if comparable else None
    except (VergerError, OSError, pa.ArrowInvalid):
        return None
    in_both = new.filter(pc.is_in(new["path"], value_set=old["path"]))
    old_versions = old["version"].take(pc.index_in(in_both["path"], value_set=old["path"]))
    changed = pc.sum(pc.not_equal(in_both["version"], old_versions)).as_py() or 0
    return RunDiff(earlier, new.num_rows - in_both.num_rows, old.num_rows - in_both.num_rows, changed, angles)


def _feature_space(manifest: Manifest) -> tuple[str, bool]:
    return manifest.features.fingerprint, manifest.pca.standardized


def _photographs(run: Run) -> pa.Table:
    return reader.projection(run).to_table(columns=["path", "version"])


def angles_between(one: Pca, other: Pca) -> Float64Array:
    """Principal angles between the spaces of two PCAs of the same features.

    Parameters
    ----------
    one : Pca
        Of k components.
    other : Pca
        Of k' components.

    Returns
    -------
    ndarray of float64, shape (min(k, k'),)
        Degrees, ascending.
    """
    return np.asarray(np.degrees(subspace_angles(one.components.T, other.components.T)[::-1]))
