"""What is in a photograph, by the network, the components and the classifier of a finished run; without Spark."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.batches import batched
from verger.config import ResultSettings
from verger.errors import NothingToReadError, Rejection, VergerError
from verger.insight.identify.loaded_run import LoadedRun, load
from verger.insight.identify.photographs import BATCH, expanded, opened
from verger.network.backbones import resolve_fitted
from verger.photographs import images
from verger.prefetch import prefetch_map
from verger.progress import Progress
from verger.residency.preflight import admit
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, canonical
from verger.tables import manifest as manifests
from verger.tables import runs

_READERS = 4
# Of the threshold and its worth, what is told of every photograph.
_TOLD = (
    "threshold", "auroc", "auroc_interval", "caught_at_5_percent", "caught_interval", "weak", "split", "says",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Identification:
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
    config: ResultSettings, run_uri: str, photographs: Sequence[str], top: int, progress: Progress
) -> Iterator[tuple[Identification, LoadedRun | None]]:
    """Look at photographs, one by one, in the order in which they were given.

    Parameters
    ----------
    config : ResultSettings
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
    Identification
        A bad photograph is one that says so.
    LoadedRun or None
        What it was compared with; None as long as no photograph could be read.

    Raises
    ------
    NothingToReadError
        There is no such run, or it did not finish.
    WeightsError
        The run's weights are gone, or are others.
    """
    stores = Stores()
    admit(stores, {"run": canonical(run_uri)}, config)
    run = runs.find(run_uri, stores)
    document = manifests.read(run)
    manifest = document.as_dict()
    places = [canonical(uri) for uri in photographs]
    for place in {bucket_name(place): place for place in places if bucket_name(place)}.values():
        admit(stores, {"photographs": place}, config)
    network = resolve_fitted(run.output, document, stores)
    reading = prefetch_map(lambda item: opened(item, network, stores), expanded(places, stores), _READERS, 2 * BATCH)
    loaded = None
    for batch in batched(reading, BATCH):
        decoded = [outcome.rgb for _, outcome in batch if isinstance(outcome, images.Decoded)]
        if decoded and loaded is None:
            loaded = load(config, run, manifest, network, progress)
        found = iter(look_at(loaded, decoded, top) if loaded and decoded else ())
        for place, outcome in batch:
            if isinstance(outcome, images.Decoded):
                yield Identification(place, run.run_id, *next(found)), loaded
            else:
                yield Identification(place, run.run_id, error=outcome), loaded


def look_at(loaded: LoadedRun, photographs: list[npt.NDArray[np.uint8]], top: int) -> Iterator[tuple[Any, ...]]:
    """The fields of a `Identification` from ``classes`` on, photograph by photograph."""
    components = loaded.components(photographs)
    probabilities = loaded.model.probabilities(components) if loaded.model else None
    distances = loaded.known.distances(components) if loaded.known else None
    cosines = loaded.space.directions(components) @ loaded.directions.T
    for row, cosine in enumerate(cosines):
        classes = None
        if loaded.model and probabilities is not None:
            order = np.argsort(-probabilities[row], kind="stable")[:top]
            classes = [(loaded.model.classes[code], float(probabilities[row, code])) for code in order]
        order = np.argpartition(-cosine, min(top, len(cosine) - 1))[:top]
        order = order[np.lexsort((order, -cosine[order]))]
        alike = loaded.names.take(order).to_pylist()
        far = np.clip(1 - cosine[order], 0, 2).tolist()
        nearest = [(name["path"], name["label"], distance) for name, distance in zip(alike, far, strict=True)]
        if loaded.directions.shape[1] < 2:  # a cosine is 1 or -1 there, whatever the photograph
            nearest = []
        distance = None if distances is None else float(distances[row])
        yield classes, nearest, distance, loaded.unknown, loaded.notes
