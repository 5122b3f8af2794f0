"""The model for a phone: a network, and behind it the PCA and the classifier of a run as one dense layer."""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from verger import __version__
from verger.components.pca import Pca
from verger.config import AnalysisSettings, ResultSettings
from verger.errors import NothingToReadError, VergerError
from verger.insight import model as models
from verger.insight.arrays import Float32Array, Float64Array
from verger.insight.export import dense, parity
from verger.insight.export.parity import Comparison, ParitySample
from verger.insight.model import Model
from verger.jsonable import dump, timestamp
from verger.network import lite
from verger.network.backbones import Network, resolve_fitted
from verger.network.cpu import precision_warning
from verger.network.lite import INPUT, OUTPUT, Lite
from verger.network.lite_metadata import add_metadata, labels_text
from verger.photographs import images
from verger.progress import Progress
from verger.residency.preflight import check_access
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, canonical
from verger.tables import manifest as manifests
from verger.tables import runs
from verger.tables.manifest import Manifest
from verger.tables.manifest_parts import Classifier
from verger.tables.runs import Run

FILES = {"float32": "verger.tflite", "int8": "verger.int8.tflite"}
LABELS, RECORD = "labels.txt", "export.json"
SCHEMA_VERSION = 1
"""Of ``export.json``."""

MAX_DIFFERENCE = 1e-3
"""How far a probability of the float model may be from the run's, when both are computed in float32."""
N_TIMED = 30
"""Calls of which the latency is the median."""

_FITS = {
    "stretch": "stretch it to {0} x {0} pixels, whatever its proportions",
    "crop": "crop it in the middle to a square, and scale that to {0} x {0} pixels",
    "pad": "scale it to fit into {0} x {0} pixels, and pad it with white on both sides",
}
_DECODINGS = {
    "full": "decode the photograph",
    "scaled": "decode the photograph; a JPEG as libjpeg does with scale_denom 8, 4, 2 or 1: at the smallest size whose "
    "{edge} edge has {least} pixels or more",
}
_RESAMPLES = {
    "bicubic": "bicubic (a = -0.5), widened where it shrinks (antialiased), as Pillow does",
    "bilinear": "bilinear, widened where it shrinks (antialiased), as Pillow does",
}


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run that has a classifier, and what its model is made of.

    Attributes
    ----------
    run : Run
        The finished run.
    manifest : Manifest
        Its manifest.
    classifier : Classifier
        The manifest's.
    config : AnalysisSettings
        With the settings of the run.
    network : Network
        The run's.
    pca : Pca
        The run's.
    model : Model
        The run's classifier.
    """

    run: Run
    manifest: Manifest
    classifier: Classifier
    config: AnalysisSettings
    network: Network
    pca: Pca
    model: Model

    def probabilities(self, features: Float32Array) -> Float64Array:
        """The run's probabilities.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d)
            By the run's network.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            A photograph a row, a class a column in the order of ``model.classes``; rows sum to one.
        """
        return self.model.probabilities(self.pca.transform(features))


def export(config: ResultSettings, run_uri: str, photographs: int | None, progress: Progress) -> dict[str, Any]:
    """Write the model of a finished run into its folder; an earlier one is replaced.

    Parameters
    ----------
    config : ResultSettings
        How the stores are reached, and the memory that a sample may take.
    run_uri : str
        A run's folder, or an output, whose latest run is meant.
    photographs : int or None
        How many the models are compared on; None: as `verger.insight.export.parity.choose_photographs` chooses.
    progress : Progress
        Told of the stages, and of what cannot be read.

    Returns
    -------
    dict
        What ``export.json`` says, and where the ``folder`` is.

    Raises
    ------
    NothingToReadError
        There is no such run, or it has no classifier.
    VergerError
        The model's probabilities are not those of the run: a defect, and nothing is written.
    """
    with progress.stage("read", "Reading the run"):
        stores = Stores()
        check_access(stores, {"run": canonical(run_uri)}, config, written={"run"})
        finished = _finished(config, run_uri, stores)
        if warning := precision_warning(finished.network.precision):  # the comparison computes the run's features
            progress.warn(warning)
        sample = parity.choose_photographs(
            finished.run,
            finished.manifest,
            finished.network,
            finished.model.classes,
            finished.config,
            config,
            stores,
            photographs,
            progress,
        )
    with progress.stage("convert", "Converting the network"):
        description = _describe(finished)
        converted = _convert(finished, description)
    with progress.stage("compare", "Comparing the models with the run"):
        comparison = parity.compare(
            sample, finished.network, finished.probabilities, converted["float32"], converted["int8"]
        )
        _require_parity(comparison, finished)
    with progress.stage("latency", "Timing the models"):
        latencies = {kind: _latency(model, sample) for kind, model in converted.items()}
    with progress.stage("write", "Writing the models"):
        record = description | _measurements(converted, latencies, comparison, sample)
        _write(finished, converted, record)
    return record | {"folder": finished.run.path("model")}


def _finished(config: ResultSettings, run_uri: str, stores: Stores) -> FinishedRun:
    run, manifest = manifests.read_standing(runs.find(run_uri, stores))
    classifier = manifest.classifier
    if not isinstance(classifier, Classifier):
        why = f" ({classifier.absent})" if classifier else ""
        raise NothingToReadError(
            f"run {run.run_id} has no classifier{why}, so that there is nothing to export",
            "Run again on photographs of two labels or more, without --no-classifier",
        )
    settings = {name: manifest.config.get(name) for name in ("class_regex", "group_regex")}
    settings |= {
        "seed": manifest.config.get("seed", config.seed),
        "standardize": manifest.pca.standardized,
    }
    model, _ = models.load(run.path("model"), run.storage)
    return FinishedRun(
        run=run,
        manifest=manifest,
        classifier=classifier,
        config=config.model_copy(update=settings),
        network=resolve_fitted(run.output, manifest, stores),
        pca=Pca.load(run.path("pca"), run.storage),
        model=model,
    )


def _describe(finished: FinishedRun) -> dict[str, Any]:
    """What the model is: its input, what must be done before, what is inside, and its output."""
    network, size = finished.network, finished.network.input_size
    least = images.OVERSAMPLING * size
    inside = [str(network.freeze().preprocessing)] + ([network.backbone] if network.recipe else [])
    inside += ["average pooling" if network.pooling == "avg" else "flattening"]
    inside += [f"dense layer {network.dimension} x {len(finished.model.classes)}: scaler, PCA, classifier, temperature"]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": finished.run.run_id,
        "verger_version": __version__,
        "fingerprint": network.fingerprint,
        "backbone": network.backbone,
        "weights_sha256": finished.manifest.features.weights_sha256,
        "precision_of_the_run": network.precision,
        "temperature": finished.model.temperature,
        "weak_because": finished.classifier.weak_because,
        "input": {"name": INPUT, "shape": [1, size, size, 3], "dtype": "uint8", "colour": "RGB"},
        "before": {
            "steps": [
                _DECODINGS[network.decode].format(edge="longer" if network.fit == "pad" else "shorter", least=least),
                "turn it upright, as its EXIF orientation says",
                "lay transparency over white",
                _FITS[network.fit].format(size),
            ],
            "decode": network.decode,
            "fit": network.fit,
            "resample": network.resample,
            "resample_means": _RESAMPLES[network.resample],
        },
        "inside": [*inside, "softmax"],
        "output": {"name": OUTPUT, "shape": [1, len(finished.model.classes)], "dtype": "float32"},
        "classes": finished.model.classes,
    }


def _convert(finished: FinishedRun, description: dict[str, Any]) -> dict[str, bytes]:
    """Both models by precision, with their metadata."""
    layer, frozen = dense.of_run(finished.pca, finished.model), finished.network.freeze()
    before = description["before"]
    tensors = {
        INPUT: f"RGB, 0 to 255. Before: {'; '.join(before['steps'])}; {before['resample_means']}.",
        OUTPUT: "One for each line of labels.txt; their sum is 1.",
    }
    text = f"Tells {len(finished.model.classes)} classes apart: the classifier of run {finished.run.run_id} of Verger."
    files = {"verger.json": dump(description).decode()}
    return {
        kind: add_metadata(
            lite.convert(frozen, *layer, int8=kind == "int8"), "Verger", text, tensors, finished.model.classes, files
        )
        for kind in FILES
    }


def _require_parity(comparison: Comparison, finished: FinishedRun) -> None:
    if not comparison.float32_difference <= MAX_DIFFERENCE:
        raise VergerError(
            f"the model made of run {finished.run.run_id} gives other probabilities than the run: off by up to "
            f"{comparison.float32_difference:.2g}, where {MAX_DIFFERENCE:g} is allowed; nothing was written",
            "Please report it",
        )


def _latency(model: bytes, sample: ParitySample) -> dict[str, float]:
    """Milliseconds of a call with one photograph."""
    taken = Lite(model).milliseconds(sample.pixels[0], N_TIMED)
    return {"median": round(float(np.median(taken)), 2), "p90": round(float(np.quantile(taken, 0.9)), 2)}


def _measurements(
    converted: dict[str, bytes],
    latencies: dict[str, dict[str, float]],
    comparison: Comparison,
    sample: ParitySample,
) -> dict[str, Any]:
    """What the files are, and what was measured on them."""
    return {
        "exported_at": timestamp(datetime.now(UTC)),
        "models": {
            kind: {
                "path": FILES[kind],
                "bytes": len(model),
                "sha256": hashlib.sha256(model).hexdigest(),
                "latency_ms": latencies[kind],
            }
            for kind, model in converted.items()
        },
        "latency_of": {"processor": processor(), "threads": 1, "calls": N_TIMED},
        "tried_on": {
            "asked": sample.asked,
            "photographs": sample.photographs,
            "drawn": len(sample) - sample.photographs,
            "seed": sample.seed,
        },
        "parity": {
            "photographs": len(sample),
            "measured_on": "drawn photographs" if sample.is_drawn else "photographs of the run",
            "largest_difference": comparison.difference,
            "largest_difference_in_float32": comparison.float32_difference,
        },
        "int8": comparison.int8,
    }


def processor() -> str:
    """Name of this machine's processor."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.machine()


def _write(finished: FinishedRun, converted: dict[str, bytes], record: dict[str, Any]) -> None:
    """Write the files. The record is deleted first and written last, so that an export with a record is complete."""
    storage, run = finished.run.storage, finished.run
    files = {FILES[kind]: model for kind, model in converted.items()}
    files |= {LABELS: labels_text(finished.model.classes).encode(), RECORD: dump(record)}
    _reserve(run, files)
    storage.delete(run.path("model", RECORD))
    for name, content in files.items():
        storage.write(run.path("model", name), content)


def _reserve(run: Run, files: dict[str, bytes]) -> None:
    """Check that a disk has room for all files, before the first file of an earlier export is replaced."""
    if bucket_name(run.output) is not None:  # a bucket is never full, and may keep every version
        return
    storage, reserved = run.storage, run.path("model", "_reserved")
    try:
        storage.write(reserved, b"".join(files.values()))
    finally:
        storage.delete(reserved)
