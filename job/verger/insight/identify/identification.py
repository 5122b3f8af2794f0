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
from verger.insight.identify.photographs import expand_folders, read_photograph
from verger.network.backbones import resolve_fitted
from verger.photographs import images
from verger.prefetch import prefetch_map
from verger.progress import Progress
from verger.residency.preflight import check_access
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, canonical
from verger.tables import manifest as manifests
from verger.tables import runs
from verger.tables.manifest_parts import NoneOfThese

BATCH_SIZE = 16
"""Photographs of a call of the network."""
_READERS = 4
# What the JSON of every photograph repeats of the threshold.
_THRESHOLD_KEYS = (
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
        Of the run that was asked.
    classes : list of (str, float), or None
        Classes and their probabilities, the most probable first; None where the run has no classifier.
    nearest : list of (str, str or None, float)
        Path, label and distance (1 - cosine, from 0 to 2) of the most similar photographs of the run.
    distance : float or None
        From the nearest photograph whose class is known, 1 - cosine; None where there is no threshold.
    none_of_these : NoneOfThese or None
        The threshold of that distance and what it is worth; None where there is none.
    notes : list of str
        Sentences: what there is not, and why.
    error : Rejection or VergerError, optional
        Why the photograph cannot be read; nothing else is known then.
    """

    photograph: str
    run_id: str
    classes: list[tuple[str, float]] | None = None
    nearest: list[tuple[str, str | None, float]] = field(default_factory=list)
    distance: float | None = None
    none_of_these: NoneOfThese | None = None
    notes: list[str] = field(default_factory=list)
    error: Rejection | VergerError | None = None

    @property
    def is_none(self) -> bool:
        """Whether it is farther from every known photograph than the threshold."""
        if self.distance is None or self.none_of_these is None:
            return False
        return self.distance > self.none_of_these.threshold

    @property
    def failure(self) -> tuple[str, str] | None:
        """Reason and message where the photograph cannot be read."""
        if isinstance(self.error, Rejection):
            return str(self.error.reason), self.error.message
        if self.error is not None:
            missing = isinstance(self.error, NothingToReadError)
            return "missing" if missing else "unreadable", self.error.line
        return None

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with the same keys whatever was found."""
        failure = self.failure
        none_of_these: dict[str, Any] | None = None
        if self.distance is not None:
            none_of_these = {"verdict": self.is_none, "distance": round(self.distance, 6)}
            none_of_these |= {name: getattr(self.none_of_these, name) for name in _THRESHOLD_KEYS}
        return {
            "photograph": self.photograph,
            "run_id": self.run_id,
            "classes": self.classes and [{"class": name, "probability": round(p, 6)} for name, p in self.classes],
            "nearest": [
                {"path": path, "label": label, "distance": round(distance, 6)} for path, label, distance in self.nearest
            ],
            "none_of_these": none_of_these,
            "notes": self.notes,
            "error": failure and {"reason": failure[0], "message": failure[1]},
        }


def identify(
    config: ResultSettings, run_uri: str, photographs: Sequence[str], top: int, progress: Progress
) -> Iterator[tuple[Identification, LoadedRun | None]]:
    """Identify photographs one by one, in the order in which they were given.

    Parameters
    ----------
    config : ResultSettings
        How the stores are reached, and the memory that the run's photographs may take.
    run_uri : str
        A run's folder, or an output, whose latest run is meant.
    photographs : sequence of str
        Files or objects; of a folder, all photographs below it.
    top : int
        Classes, and nearest photographs, of each.
    progress : Progress
        Told of the stages.

    Yields
    ------
    identification : Identification
        Has an error where a photograph cannot be read.
    loaded : LoadedRun or None
        What it was compared with; None as long as no photograph could be read.

    Raises
    ------
    NothingToReadError
        There is no such run, or it did not finish.
    WeightsError
        The run's weights are gone, or are others.
    """
    stores = Stores()
    check_access(stores, {"run": canonical(run_uri)}, config)
    run, manifest = manifests.read_standing(runs.find(run_uri, stores))
    uris = [canonical(uri, any_key=True) for uri in photographs]
    for uri in {bucket_name(uri): uri for uri in uris if bucket_name(uri)}.values():
        check_access(stores, {"photographs": uri}, config)
    network = resolve_fitted(run.output, manifest, stores)
    paths = expand_folders(uris, stores)
    read = prefetch_map(lambda item: read_photograph(item, network, stores), paths, _READERS, 2 * BATCH_SIZE)
    loaded = None
    for batch in batched(read, BATCH_SIZE):
        decoded = [outcome.rgb for _, outcome in batch if isinstance(outcome, images.Decoded)]
        if decoded and loaded is None:
            loaded = load(config, run, manifest, network, progress)
        found = iter(identify_batch(loaded, decoded, top) if loaded and decoded else ())
        for path, outcome in batch:
            if isinstance(outcome, images.Decoded):
                yield Identification(path, run.run_id, **next(found)), loaded
            else:
                yield Identification(path, run.run_id, error=outcome), loaded


def identify_batch(loaded: LoadedRun, photographs: list[npt.NDArray[np.uint8]], top: int) -> Iterator[dict[str, Any]]:
    """Identify decoded photographs.

    Parameters
    ----------
    loaded : LoadedRun
        What they are compared with.
    photographs : list of ndarray of uint8, shape (s, s, 3)
        Decoded for the run's network.
    top : int
        Classes, and nearest photographs, of each.

    Yields
    ------
    dict
        Fields of an `Identification`, but for the photograph and the run.
    """
    components = loaded.components(photographs)
    probabilities = loaded.model.probabilities(components) if loaded.model else None
    distances = loaded.references.distances(components) if loaded.references else None
    cosines = loaded.space.directions(components) @ loaded.directions.T
    for row, cosine in enumerate(cosines):
        classes = None
        if loaded.model and probabilities is not None:
            best = np.argsort(-probabilities[row], kind="stable")[:top]
            classes = [(loaded.model.classes[code], float(probabilities[row, code])) for code in best]
        yield {
            "classes": classes,
            "nearest": _nearest(loaded, cosine, top),
            "distance": None if distances is None else float(distances[row]),
            "none_of_these": loaded.none_of_these,
            "notes": loaded.notes,
        }


def _nearest(loaded: LoadedRun, cosine: npt.NDArray[np.float32], top: int) -> list[tuple[str, str | None, float]]:
    """Path, label and distance of the photographs with the highest cosines."""
    if loaded.directions.shape[1] < 2:  # in one dimension every cosine is 1 or -1
        return []
    rows = np.argpartition(-cosine, min(top, len(cosine) - 1))[:top]
    rows = rows[np.lexsort((rows, -cosine[rows]))]
    distances = np.clip(1 - cosine[rows], 0, 2).tolist()
    photographs = loaded.photographs.take(rows).to_pylist()
    return [(found["path"], found["label"], distance) for found, distance in zip(photographs, distances, strict=True)]
