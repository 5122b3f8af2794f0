"""How a run differs from the one before it: photographs that are new or gone, components, the angle between spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verger.components.pca import Pca
from verger.errors import VergerError
from verger.tables import manifest as manifests
from verger.tables import reader
from verger.tables.runs import Run


@dataclass(frozen=True, eq=False)
class RunDiff:
    """What changed between two runs.

    Attributes
    ----------
    manifest : dict
        The earlier run's.
    new, gone, changed : int
        Photographs in the table that were not there, that are there no more, and whose version is another.
    angles : ndarray of float, optional
        Principal angles between the spaces, degrees, ascending; None where they are of different features.
    """

    manifest: dict[str, Any]
    new: int
    gone: int
    changed: int
    angles: npt.NDArray[np.float64] | None


def compare(run: Run, pca: Pca, manifest: dict[str, Any], previous: Run) -> RunDiff | None:
    """Compare a run with an earlier one; None where that one cannot be read any more."""
    try:
        earlier = manifests.read(previous).as_dict()
        old, new = (_photographs(each) for each in (previous, run))
        same = _features(earlier) == _features(manifest)
        angles = between(Pca.load(previous.path("pca"), previous.storage), pca) if same else None
    except (VergerError, OSError, pa.ArrowInvalid):
        return None
    stays = new.filter(pc.is_in(new["path"], value_set=old["path"]))
    versions = old["version"].take(pc.index_in(stays["path"], value_set=old["path"]))
    changed = pc.sum(pc.not_equal(stays["version"], versions)).as_py() or 0
    return RunDiff(earlier, new.num_rows - stays.num_rows, old.num_rows - stays.num_rows, changed, angles)


def _features(manifest: dict[str, Any]) -> tuple[str, bool]:
    return manifest["features"]["fingerprint"], bool(manifest["pca"].get("standardized"))


def _photographs(run: Run) -> pa.Table:
    return reader.projection(run).to_table(columns=["path", "version"])


def between(one: Pca, other: Pca) -> npt.NDArray[np.float64]:
    """Principal angles between the spaces of two PCAs, degrees, ascending; as many as the smaller has components."""
    cosines = np.linalg.svd(one.components @ other.components.T, compute_uv=False)
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1, 1))))
