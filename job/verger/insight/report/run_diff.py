"""How a run differs from the one before it: photographs that are new or gone, and the angles between their PCAs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.linalg import subspace_angles

from verger.components.pca import Pca
from verger.errors import NothingToReadError, StoreError, VergerError
from verger.insight.arrays import Float64Array
from verger.sorting import Sorter, aligned
from verger.tables import manifest as manifests
from verger.tables import reader
from verger.tables.manifest import Manifest
from verger.tables.rows import KEY
from verger.tables.runs import Run
from verger.tables.snapshot import Snapshot

_KEYS = pa.schema([(name, pa.string()) for name in KEY])


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
        new, gone, changed = _differences(previous, run)
        comparable = _feature_space(earlier) == _feature_space(manifest)
        angles = angles_between(Pca.load(previous.path("pca"), previous.storage), pca) if comparable else None
    except (VergerError, OSError, pa.ArrowInvalid):
        return None
    return RunDiff(earlier, new, gone, changed, angles)


def _differences(previous: Run, run: Run) -> tuple[int, int, int]:
    """Numbers of photographs that are new, gone, and in another version, counted on sorted streams."""
    new = gone = changed = 0
    for old, now in aligned([_keys(previous), _keys(run)], [_KEYS, _KEYS], "path"):
        at = pc.index_in(now["path"], value_set=old["path"])
        both = now.num_rows - at.null_count
        new, gone = new + at.null_count, gone + old.num_rows - both
        changed += pc.sum(pc.not_equal(now["version"], old["version"].take(at))).as_py() or 0
    return new, gone, changed


def _keys(run: Run) -> Iterator[pa.RecordBatch]:
    """Path and version of a run's photographs, sorted by path."""
    try:
        snapshot = Snapshot.open(run)
    except (NothingToReadError, StoreError):  # an older run, or one whose snapshot is lost
        sorter = Sorter(_KEYS, KEY)
        for batch in reader.batches(run, KEY):
            sorter.write(batch)
        return sorter.finish().batches()
    return (batch.select(KEY) for batch in snapshot.photographs())


def _feature_space(manifest: Manifest) -> tuple[str, bool]:
    return manifest.features.fingerprint, manifest.pca.standardized


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
