"""A finished run as identify uses it: its network, PCA and classifier, and its photographs to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verger.components.pca import Pca
from verger.config import ResultSettings
from verger.cores import available_cores
from verger.errors import NothingToReadError, StoreError
from verger.insight import model as models
from verger.insight.arrays import Float32Array, codes
from verger.insight.model import Model
from verger.insight.references import ARRAYS, References, Space
from verger.insight.sample import ROWS, stratified
from verger.network.backbones import Network
from verger.network.inference import build
from verger.network.lite import suppress_stderr
from verger.progress import Progress
from verger.storage.base import raise_if_corrupt
from verger.storage.uri import join
from verger.tables import reader
from verger.tables.runs import Run

Infer = Callable[[npt.NDArray[np.uint8]], Float32Array]


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """What a finished run knows.

    Attributes
    ----------
    run_id : str
    network : Network
    resample, fit : str
        How photographs are made square.
    infer : callable
        uint8 (b, s, s, 3) to float32 (b, d).
    pca : Pca
    model : Model or None
        None where the run has no classifier.
    known : References or None
        Photographs whose class is known; None where no threshold of 'none of these' was set.
    unknown : dict
        Threshold and its worth; empty where there is none.
    space : Space
        Where photographs are compared.
    names : pyarrow.Table
        ``path, label`` of the run's photographs.
    directions : ndarray of float32, shape (n, w)
        Theirs, row by row.
    notes : list of str
        What there is not, and why.
    figures : dict
        What the manifest says of run and classifier, for people.
    """

    run_id: str
    network: Network
    infer: Infer
    pca: Pca
    model: Model | None
    known: References | None
    unknown: dict[str, Any]
    space: Space
    names: pa.Table
    directions: Float32Array
    notes: list[str]
    figures: dict[str, Any] = field(default_factory=dict)

    def components(self, photographs: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
        """Principal components, shape (n, k), of photographs, each (s, s, 3), as the run computes them."""
        return self.pca.transform(self.infer(np.stack(photographs)))


def load(config: ResultSettings, run: Run, manifest: dict[str, Any], network: Network, progress: Progress) -> LoadedRun:
    """Read what the run knows while TensorFlow is loaded."""
    with progress.stage("run", f"Reading run {run.run_id}"), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_read, config, run, manifest)
        quiet = config.log_level not in ("debug", "info")
        with suppress_stderr() if quiet else progress.stage("network"):
            infer = build(network.freeze(), available_cores())
        return LoadedRun(run.run_id, network, infer, **reading.result())


def _read(config: ResultSettings, run: Run, manifest: dict[str, Any]) -> dict[str, Any]:
    """All of a `LoadedRun` but the network."""
    model, known, unknown, notes = _learnt(run, manifest)
    names, components = _projected(config, run, manifest)
    space = known.space if known else Space.of(components)
    if components.shape[1] < 2:
        notes = [*notes, "Nothing tells which photographs are nearest: one component has no directions to compare."]
    return {
        "pca": Pca.load(run.path("pca"), run.storage),
        "model": model,
        "known": known,
        "unknown": unknown,
        "space": space,
        "names": names,
        "directions": space.directions(components),
        "notes": notes,
        "figures": {
            **(manifest.get("classifier") or {}),
            "rows": manifest["projection"]["rows"],
            "root": manifest["input"]["uri"],
        },
    }


def _learnt(run: Run, manifest: dict[str, Any]) -> tuple[Model | None, References | None, dict[str, Any], list[str]]:
    """The classifier, what is known, from where on a photograph is none of it, and what of these there is not."""
    folder = run.path("model")
    if not run.storage.exists(join(folder, models.DOCUMENT)):
        return None, None, {}, [f"There are no classes to name: {_unclassified(manifest)}."]
    model, document = models.load(folder, run.storage)
    unknown = document.get("none_of_these", {"absent": "the run was made by an older verger"})
    if "absent" in unknown or not run.storage.exists(join(folder, ARRAYS)):
        why = unknown.get("absent", f"{join(folder, ARRAYS)} is gone")
        return model, None, {}, [f"No threshold tells whether it is none of these: {why}."]
    return model, References.load(folder, run.storage), unknown, []


def _unclassified(manifest: dict[str, Any]) -> str:
    if why := (manifest.get("classifier") or {}).get("absent"):
        return f"the run has no classifier, as {why}"
    if "classifier" not in manifest["config"]:
        return "the run was made by an older verger"
    wanted = manifest["config"]["classifier"]
    return "the run's warnings say why" if wanted else "the run was told to fit no classifier (--no-classifier)"


def _projected(config: ResultSettings, run: Run, manifest: dict[str, Any]) -> tuple[pa.Table, Float32Array]:
    """Names and components of the run's photographs: of very many a sample, by label."""
    folder, total, width = run.path("projection"), manifest["projection"]["rows"], manifest["projection"]["columns"]
    columns = ["path", "label", "pca_features"]
    number = min(ROWS, max(1, config.driver_bytes // 4 // (4 * width)))
    with raise_if_corrupt(folder):
        dataset = reader.projection(run)
        _complete(folder, dataset.count_rows(), total)
        if total <= number:
            table = dataset.to_table(columns)
        else:
            ranks = np.random.default_rng(manifest["config"].get("seed", 0)).random(total)
            drawn = stratified(codes(dataset.to_table(["label"])["label"]), number, ranks)
            table = dataset.take(drawn, columns=columns)
        values = pc.list_flatten(table["pca_features"]).to_numpy().reshape(len(table), width)
    return table.drop_columns("pca_features"), values


def _complete(folder: str, rows: int, total: int) -> None:
    if not rows:
        raise NothingToReadError(f"the run's table, {folder}, is gone", "Run again, or choose another run")
    if rows != total:
        raise StoreError(f"{folder} has {rows:,} rows instead of {total:,}", "Run again")
