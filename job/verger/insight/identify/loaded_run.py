"""A finished run as identify uses it: network, PCA and classifier, and its photographs to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verger.components.pca import Pca
from verger.config import ResultSettings
from verger.cores import available_cores
from verger.errors import NothingToReadError, StoreError
from verger.insight import model as models
from verger.insight.arrays import Float32Array, Float64Array, category_codes
from verger.insight.model import Model
from verger.insight.references import ARRAYS, CosineSpace, References
from verger.insight.sample import MAX_PHOTOGRAPHS, stratified
from verger.network.backbones import Network
from verger.network.cpu import precision_warning
from verger.network.inference import build
from verger.network.lite import suppress_stderr
from verger.progress import Progress
from verger.storage.base import raise_if_corrupt
from verger.storage.uri import join
from verger.tables import reader
from verger.tables.manifest import Manifest
from verger.tables.manifest_parts import Absent, NoneOfThese
from verger.tables.runs import Run

Infer = Callable[[npt.NDArray[np.uint8]], Float32Array]


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A finished run, ready to identify photographs.

    Attributes
    ----------
    run_id : str
        Of the run.
    network : Network
        How photographs are decoded, and what computes their features.
    infer : callable
        Computes features, float32 (b, d), of photographs, uint8 (b, s, s, 3).
    pca : Pca
        The run's.
    model : Model or None
        The run's classifier, if it has one.
    references : References or None
        Photographs whose class is known; None where there is no threshold of 'none of these'.
    none_of_these : NoneOfThese or None
        The threshold and what it is worth, as ``classifier.json`` has them; None where there is none.
    space : CosineSpace
        Where photographs are compared.
    photographs : pyarrow.Table
        ``path, label`` of the run's photographs; of very many, of a sample.
    directions : ndarray of float32, shape (n, w)
        Of ``photographs`` in ``space``, row by row.
    notes : list of str
        Sentences: what there is not, and why.
    manifest : Manifest
        The run's.
    """

    run_id: str
    network: Network
    infer: Infer
    pca: Pca
    model: Model | None
    references: References | None
    none_of_these: NoneOfThese | None
    space: CosineSpace
    photographs: pa.Table
    directions: Float32Array
    notes: list[str]
    manifest: Manifest

    def components(self, photographs: Sequence[npt.NDArray[np.uint8]]) -> Float64Array:
        """Principal components, as the run computes them.

        Parameters
        ----------
        photographs : sequence of ndarray of uint8, shape (s, s, 3)
            Decoded for the network.

        Returns
        -------
        ndarray of float64, shape (b, k)
            A photograph a row, in the given order; a component a column.
        """
        return self.pca.transform(self.infer(np.stack(photographs)))


class _Classifier(NamedTuple):
    """What a run keeps of its classifier; see `LoadedRun`."""

    model: Model | None
    references: References | None
    none_of_these: NoneOfThese | None
    notes: list[str]


def load(config: ResultSettings, run: Run, manifest: Manifest, network: Network, progress: Progress) -> LoadedRun:
    """Read a finished run while TensorFlow is loaded.

    Parameters
    ----------
    config : ResultSettings
        ``driver_memory`` bounds the photographs to compare with, ``log_level`` says whether TensorFlow may log.
    run : Run
        The finished run.
    manifest : Manifest
        Its manifest.
    network : Network
        The run's.
    progress : Progress
        Told of the stages.

    Raises
    ------
    NothingToReadError
        The run's table is gone.
    StoreError
        A file of the run is damaged.
    """
    with progress.stage("run", f"Reading run {run.run_id}"), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_read, config, run, manifest)
        if warning := precision_warning(network.precision):
            progress.warn(warning)
        quiet = config.log_level not in ("debug", "info")
        with suppress_stderr() if quiet else progress.stage("network"):
            infer = build(network.freeze(), available_cores())
        return LoadedRun(run.run_id, network, infer, **reading.result())


def _read(config: ResultSettings, run: Run, manifest: Manifest) -> dict[str, Any]:
    """All of a `LoadedRun` but the network."""
    classifier = _read_classifier(run, manifest)
    photographs, components = _read_projection(config, run, manifest)
    space, notes = classifier.references.space if classifier.references else CosineSpace.fit(components), []
    if components.shape[1] < 2:
        notes = ["Nothing tells which photographs are nearest: one component has no directions to compare."]
    return {
        "pca": Pca.load(run.path("pca"), run.storage),
        "model": classifier.model,
        "references": classifier.references,
        "none_of_these": classifier.none_of_these,
        "space": space,
        "photographs": photographs,
        "directions": space.directions(components),
        "notes": classifier.notes + notes,
        "manifest": manifest,
    }


def _read_classifier(run: Run, manifest: Manifest) -> _Classifier:
    folder = run.path("model")
    if not run.storage.exists(join(folder, models.DOCUMENT)):
        return _Classifier(None, None, None, [f"There are no classes to name: {_why_no_classifier(manifest)}."])
    model, document = models.load(folder, run.storage)
    threshold = document.none_of_these or Absent(absent="the run was made by an older verger")
    if isinstance(threshold, Absent) or not run.storage.exists(join(folder, ARRAYS)):
        why = threshold.absent if isinstance(threshold, Absent) else f"{join(folder, ARRAYS)} is gone"
        return _Classifier(model, None, None, [f"No threshold tells whether it is none of these: {why}."])
    return _Classifier(model, References.load(folder, run.storage), threshold, [])


def _why_no_classifier(manifest: Manifest) -> str:
    if isinstance(manifest.classifier, Absent):
        return f"the run has no classifier, as {manifest.classifier.absent}"
    if "classifier" not in manifest.config:
        return "the run was made by an older verger"
    wanted = manifest.config["classifier"]
    return "the run's warnings say why" if wanted else "the run was told to fit no classifier (--no-classifier)"


def _read_projection(config: ResultSettings, run: Run, manifest: Manifest) -> tuple[pa.Table, Float32Array]:
    """Path, label and components of the run's photographs; of very many, of a sample by label."""
    folder, total, width = run.path("projection"), manifest.projection.rows, manifest.projection.columns
    columns = ["path", "label", "pca_features"]
    number = min(MAX_PHOTOGRAPHS, max(1, config.driver_bytes // 4 // (4 * width)))
    with raise_if_corrupt(folder):
        dataset = reader.projection(run)
        _require_rows(folder, dataset.count_rows(), total)
        if total <= number:
            table = dataset.to_table(columns)
        else:
            ranks = np.random.default_rng(manifest.config.get("seed", 0)).random(total)
            rows = stratified(category_codes(dataset.to_table(["label"])["label"]), number, ranks)
            table = dataset.take(rows, columns=columns)
        components = pc.list_flatten(table["pca_features"]).to_numpy().reshape(len(table), width)
    return table.drop_columns("pca_features"), components


def _require_rows(folder: str, rows: int, total: int) -> None:
    if not rows:
        raise NothingToReadError(f"the run's table, {folder}, is gone", "Run again, or choose another run")
    if rows != total:
        raise StoreError(f"{folder} has {rows:,} rows instead of {total:,}", "Run again")
