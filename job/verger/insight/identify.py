"""What is in a photograph, by the network, the components and the classifier of a finished run; without Spark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from verger.components.pca import Pca
from verger.config import RunConfig
from verger.cores import available_cores
from verger.errors import NothingToReadError, Rejection, StoreError, VergerError
from verger.insight import model as models
from verger.insight.known import ARRAYS, Known, Numbers, Space
from verger.insight.model import Model
from verger.insight.sample import ROWS, codes, stratified
from verger.network.backbones import Network, as_fitted, resolve_fitted
from verger.network.lite import quietly
from verger.network.worker import ahead
from verger.photographs import images, inventory
from verger.progress import Progress
from verger.residency.preflight import admit
from verger.storage.base import intact
from verger.storage.stores import storage_of
from verger.storage.uri import bucket_name, canonical, join
from verger.tables import manifest as manifests
from verger.tables import reader, runs
from verger.tables.runs import Run

Infer = Callable[[npt.NDArray[np.uint8]], Numbers]

BATCH = 16
"""Photographs a network call."""
_READERS = 4
# Of the threshold and its worth, what is told of every photograph.
_TOLD = (
    "threshold", "auroc", "auroc_interval", "caught_at_5_percent", "caught_interval", "weak", "split", "says",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Memory:
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
    known : Known or None
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
    known: Known | None
    unknown: dict[str, Any]
    space: Space
    names: pa.Table
    directions: Numbers
    notes: list[str]
    figures: dict[str, Any] = field(default_factory=dict)

    def components(self, photographs: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
        """Principal components, shape (n, k), of photographs, each (s, s, 3), as the run computes them."""
        return self.pca.transform(self.infer(np.stack(photographs)))


@dataclass(frozen=True, eq=False)
class Finding:
    """What a photograph shows, or why it cannot be read.

    Attributes
    ----------
    photograph : str
        Canonical path.
    run_id : str
    classes : list of (str, float), or None
        Classes with their probabilities, the most probable first; None where the run has no classifier.
    nearest : list of (str, str or None, float)
        Path, label and distance of the run's photographs that are most alike: 1 - cosine.
    distance : float or None
        From the nearest photograph whose class is known.
    unknown : dict
        Threshold of 'none of these', and its worth.
    notes : list of str
    error : Rejection or VergerError, optional
        Why there is none of that.
    """

    photograph: str
    run_id: str
    classes: list[tuple[str, float]] | None = None
    nearest: list[tuple[str, str | None, float]] = field(default_factory=list)
    distance: float | None = None
    unknown: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    error: Rejection | VergerError | None = None

    @property
    def is_none(self) -> bool:
        """Whether it is farther from all that is known than the threshold."""
        return self.distance is not None and self.distance > self.unknown["threshold"]

    @property
    def failure(self) -> tuple[str, str] | None:
        """Reason and message of what is wrong with the photograph."""
        if isinstance(self.error, Rejection):
            return str(self.error.reason), self.error.message
        if self.error is not None:
            missing = isinstance(self.error, NothingToReadError)
            return "missing" if missing else "unreadable", self.error.line
        return None

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it; the keys are always the same."""
        failure = self.failure
        return {
            "photograph": self.photograph,
            "run_id": self.run_id,
            "classes": self.classes and [{"class": name, "probability": round(p, 6)} for name, p in self.classes],
            "nearest": [{"path": path, "label": label, "distance": round(far, 6)} for path, label, far in self.nearest],
            "none_of_these": None
            if self.distance is None
            else {"verdict": self.is_none, "distance": round(self.distance, 6)}
            | {name: self.unknown.get(name) for name in _TOLD},
            "notes": self.notes,
            "error": failure and {"reason": failure[0], "message": failure[1]},
        }


def identify(
    config: RunConfig, run_uri: str, photographs: Sequence[str], top: int, progress: Progress
) -> Iterator[tuple[Finding, Memory | None]]:
    """Look at photographs, one by one, in the order in which they were given.

    Parameters
    ----------
    config : RunConfig
        How the stores are reached, and the memory that the run's photographs may take.
    run_uri : str
        A run's folder, or an output, whose latest run is meant.
    photographs : sequence of str
        Files or objects; of a folder, all photographs below it.
    top : int
        So many classes, and photographs, are told.
    progress : Progress

    Yields
    ------
    Finding
        A bad photograph is one that says so.
    Memory or None
        What it was compared with; None as long as no photograph could be read.

    Raises
    ------
    NothingToReadError
        There is no such run, or it did not finish.
    WeightsError
        The run's weights are gone, or are others.
    """
    admit({"run": canonical(run_uri)}, config)
    run = runs.find(run_uri)
    document = manifests.read(run)
    manifest = document.as_dict()
    places = [canonical(uri) for uri in photographs]
    for place in {bucket_name(place): place for place in places if bucket_name(place)}.values():
        admit({"photographs": place}, config)
    network = resolve_fitted(as_fitted(config, run.output, document), document)
    opened = ahead(lambda item: _opened(item, network), _expanded(places), _READERS, 2 * BATCH)
    memory = None
    for batch in _batches(opened):
        decoded = [outcome.rgb for _, outcome in batch if isinstance(outcome, images.Decoded)]
        if decoded and memory is None:
            memory = _remember(config, run, manifest, network, progress)
        found = iter(_looked(memory, decoded, top) if memory and decoded else ())
        for place, outcome in batch:
            if isinstance(outcome, images.Decoded):
                yield Finding(place, run.run_id, *next(found)), memory
            else:
                yield Finding(place, run.run_id, error=outcome), memory


Outcome = images.Decoded | Rejection | VergerError


def _expanded(places: list[str]) -> Iterator[tuple[str, VergerError | None]]:
    """Files and objects as they are, folders as the photographs below them; with what is wrong with a folder."""
    for place in places:
        try:
            if not _is_folder(place):
                yield place, None
                continue
            yield from ((path, None) for path in inventory.take(place).photographs["path"].to_pylist())
        except VergerError as error:
            yield place, error


def _is_folder(place: str) -> bool:
    """In a bucket only what lies below a name tells: an object's need not end as an image's."""
    if bucket_name(place) is None:
        return os.path.isdir(place)
    if place.lower().endswith(inventory.SUFFIXES):
        return False
    storage = storage_of(place)
    try:
        return next(iter(storage.list(place)), None) is not None or not storage.exists(place)
    except NothingToReadError:
        return not storage.exists(place)


def _opened(item: tuple[str, VergerError | None], network: Network) -> tuple[str, Outcome]:
    """Read and decode, as a run does."""
    place, error = item
    if error is not None:
        return place, error
    try:
        data = storage_of(place).read(place)
        return place, images.decode(data, network.input_size, network.resample, network.fit)
    except (Rejection, VergerError) as failure:
        return place, failure


def _batches(outcomes: Iterable[tuple[str, Outcome]]) -> Iterator[list[tuple[str, Outcome]]]:
    source = iter(outcomes)
    while batch := list(islice(source, BATCH)):
        yield batch


def _remember(config: RunConfig, run: Run, manifest: dict[str, Any], network: Network, progress: Progress) -> Memory:
    """Read what the run knows while TensorFlow is loaded."""
    with progress.stage("run", f"Reading run {run.run_id}"), ThreadPoolExecutor(1) as pool:
        reading = pool.submit(_read, config, run, manifest)
        quiet = config.log_level not in ("debug", "info")
        with quietly() if quiet else progress.stage("network"):
            infer = network.freeze().build(available_cores())
        return Memory(run.run_id, network, infer, **reading.result())


def _read(config: RunConfig, run: Run, manifest: dict[str, Any]) -> dict[str, Any]:
    """All of a `Memory` but the network."""
    model, known, unknown, notes = _learnt(run, manifest)
    names, components = _projected(config, run, manifest)
    space = known.space if known else Space.of(components)
    if components.shape[1] < 2:
        notes = [*notes, "Nothing tells which photographs are nearest: one component has no directions to compare."]
    return {
        "pca": Pca.load(run.path("pca")),
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


def _learnt(run: Run, manifest: dict[str, Any]) -> tuple[Model | None, Known | None, dict[str, Any], list[str]]:
    """The classifier, what is known, from where on a photograph is none of it, and what of these there is not."""
    folder = run.path("model")
    if not storage_of(folder).exists(join(folder, models.DOCUMENT)):
        return None, None, {}, [f"There are no classes to name: {_unclassified(manifest)}."]
    model, document = models.load(folder)
    unknown = document.get("none_of_these", {"absent": "the run was made by an older verger"})
    if "absent" in unknown or not storage_of(folder).exists(join(folder, ARRAYS)):
        why = unknown.get("absent", f"{join(folder, ARRAYS)} is gone")
        return model, None, {}, [f"No threshold tells whether it is none of these: {why}."]
    return model, Known.load(folder), unknown, []


def _unclassified(manifest: dict[str, Any]) -> str:
    if why := (manifest.get("classifier") or {}).get("absent"):
        return f"the run has no classifier, as {why}"
    if "classifier" not in manifest["config"]:
        return "the run was made by an older verger"
    wanted = manifest["config"]["classifier"]
    return "the run's warnings say why" if wanted else "the run was told to fit no classifier (--no-classifier)"


def _projected(config: RunConfig, run: Run, manifest: dict[str, Any]) -> tuple[pa.Table, Numbers]:
    """Names and components of the run's photographs: of very many a sample, by label."""
    folder, total, width = run.path("projection"), manifest["projection"]["rows"], manifest["projection"]["columns"]
    columns = ["path", "label", "pca_features"]
    number = min(ROWS, max(1, config.driver_bytes // 4 // (4 * width)))
    with intact(folder):
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


def _looked(memory: Memory, photographs: list[npt.NDArray[np.uint8]], top: int) -> Iterator[tuple[Any, ...]]:
    """The fields of a `Finding` from ``classes`` on, photograph by photograph."""
    components = memory.components(photographs)
    probabilities = memory.model.probabilities(components) if memory.model else None
    distances = memory.known.distances(components) if memory.known else None
    cosines = memory.space.directions(components) @ memory.directions.T
    for row, cosine in enumerate(cosines):
        classes = None
        if memory.model and probabilities is not None:
            order = np.argsort(-probabilities[row], kind="stable")[:top]
            classes = [(memory.model.classes[code], float(probabilities[row, code])) for code in order]
        order = np.argpartition(-cosine, min(top, len(cosine) - 1))[:top]
        order = order[np.lexsort((order, -cosine[order]))]
        alike = memory.names.take(order).to_pylist()
        far = np.clip(1 - cosine[order], 0, 2).tolist()
        nearest = [(name["path"], name["label"], distance) for name, distance in zip(alike, far, strict=True)]
        if memory.directions.shape[1] < 2:  # a cosine is 1 or -1 there, whatever the photograph
            nearest = []
        distance = None if distances is None else float(distances[row])
        yield classes, nearest, distance, memory.unknown, memory.notes
