"""The phone's model: a network, and behind it the PCA and the classifier of a run as one dense layer."""

from __future__ import annotations

import hashlib
import json
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
from verger.jsonable import timestamp
from verger.network import lite
from verger.network.backbones import Network, resolve_fitted
from verger.network.lite import INPUT, OUTPUT, Lite
from verger.network.lite_metadata import add_metadata, labels_text
from verger.progress import Progress
from verger.residency.preflight import admit
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, canonical
from verger.tables import manifest as manifests
from verger.tables import runs
from verger.tables.runs import Run

FILES = {"float32": "verger.tflite", "int8": "verger.int8.tflite"}
LABELS, RECORD = "labels.txt", "export.json"
SCHEMA_VERSION = 1

PARITY = 1e-3
"""How far a probability of the float model may be from the run's, computed in float32 as the model computes."""
INVOKES = 30
"""Calls of which the latency is the median."""

_FITS = {
    "stretch": "stretch it to {0} x {0} pixels, whatever its proportions",
    "crop": "crop it in the middle to a square, and scale that to {0} x {0} pixels",
    "pad": "scale it to fit into {0} x {0} pixels, and pad it with white on both sides",
}
_RESAMPLES = {
    "bicubic": "bicubic (a = -0.5), widened where it shrinks (antialiased), as Pillow does",
    "bilinear": "bilinear, widened where it shrinks (antialiased), as Pillow does",
}


@dataclass(frozen=True, eq=False)
class Finished:
    """A run that has a classifier, and what its model is made of."""

    run: Run
    manifest: dict[str, Any]
    config: AnalysisSettings
    network: Network
    pca: Pca
    model: Model

    def probabilities(self, features: Float32Array) -> Float64Array:
        """What the run says of features, shape (n, classes)."""
        return self.model.probabilities(self.pca.transform(features))


def export(config: ResultSettings, run_uri: str, photographs: int | None, progress: Progress) -> dict[str, Any]:
    """Write the phone's model of a finished run into its folder, in the place of an earlier one.

    Parameters
    ----------
    config : ResultSettings
        How the stores are reached, and the memory that a sample may take.
    run_uri : str
        A run's folder, or an output, whose latest run is meant.
    photographs : int or None
        How many the models are tried on; default: as `verger.insight.export.parity.take` chooses.
    progress : Progress

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
        admit(stores, {"run": canonical(run_uri)}, config, written={"run"})
        found = _finished(config, run_uri, stores)
        tried = parity.take(
            found.run, found.manifest, found.network, found.model.classes, found.config, config, stores, photographs,
            progress,
        )  # fmt: skip
    with progress.stage("convert", "Converting the network"):
        about = _about(found)
        models = _models(found, about)
    with progress.stage("compare", "Comparing the models with the run"):
        compared = parity.compare(tried, found.network, found.probabilities, *models.values())
        _check(compared, found)
    with progress.stage("latency", "Timing the models"):
        timed = {kind: _latency(model, tried) for kind, model in models.items()}
    with progress.stage("write", "Writing the models"):
        record = about | _measured(models, timed, compared, tried)
        _publish(found, models, record)
    return record | {"folder": found.run.path("model")}


def _finished(config: ResultSettings, run_uri: str, stores: Stores) -> Finished:
    run = runs.find(run_uri, stores)
    document = manifests.read(run)
    manifest = document.as_dict()
    told = manifest.get("classifier", {})
    if "path" not in told:
        why = f" ({told['absent']})" if "absent" in told else ""
        raise NothingToReadError(
            f"run {run.run_id} has no classifier{why}, so that there is nothing to export",
            "Run again on photographs of two labels or more, without --no-classifier",
        )
    settings = {name: manifest["config"].get(name) for name in ("class_regex", "group_regex")}
    seed = manifest["config"].get("seed", config.seed)
    of_run = config.model_copy(update={"seed": seed, "standardize": manifest["pca"]["standardized"], **settings})
    network = resolve_fitted(run.output, document, stores)
    model, _ = models.load(run.path("model"), run.storage)
    return Finished(run, manifest, of_run, network, Pca.load(run.path("pca"), run.storage), model)


def _about(found: Finished) -> dict[str, Any]:
    """What the model is, what it takes, what is inside, and what comes out."""
    network, size = found.network, found.network.input_size
    inside = [str(network.freeze().preprocessing)] + ([network.backbone] if network.recipe else [])
    inside += ["average pooling" if network.pooling == "avg" else "flattening"]
    inside += [f"dense layer {network.dimension} x {len(found.model.classes)}: scaler, PCA, classifier, temperature"]
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": found.run.run_id,
        "verger_version": __version__,
        "fingerprint": network.fingerprint,
        "backbone": network.backbone,
        "weights_sha256": found.manifest["features"]["weights_sha256"],
        "precision_of_the_run": network.precision,
        "temperature": found.model.temperature,
        "weak_because": found.manifest["classifier"].get("weak_because"),
        "input": {"name": INPUT, "shape": [1, size, size, 3], "dtype": "uint8", "colour": "RGB"},
        "before": {
            "steps": [
                "decode the photograph",
                "turn it upright, as its EXIF orientation says",
                "lay transparency over white",
                _FITS[network.fit].format(size),
            ],
            "fit": network.fit,
            "resample": network.resample,
            "resample_means": _RESAMPLES[network.resample],
        },
        "inside": [*inside, "softmax"],
        "output": {"name": OUTPUT, "shape": [1, len(found.model.classes)], "dtype": "float32"},
        "classes": found.model.classes,
    }


def _models(found: Finished, about: dict[str, Any]) -> dict[str, bytes]:
    """Both models by kind, with their metadata."""
    layer, frozen = dense.of_run(found.pca, found.model), found.network.freeze()
    tensors = {
        INPUT: f"RGB, 0 to 255. Before: {'; '.join(about['before']['steps'])}; {about['before']['resample_means']}.",
        OUTPUT: "One for each line of labels.txt; their sum is 1.",
    }
    says = f"Tells {len(found.model.classes)} classes apart: the classifier of run {found.run.run_id} of Verger."
    more = {"verger.json": _json(about)}
    return {
        kind: add_metadata(
            lite.convert(frozen, *layer, int8=kind == "int8"), "Verger", says, tensors, found.model.classes, more
        )
        for kind in FILES
    }


def _check(compared: Comparison, found: Finished) -> None:
    if not compared.error <= PARITY:
        raise VergerError(
            f"the model made of run {found.run.run_id} gives other probabilities than the run: off by up to "
            f"{compared.error:.2g}, where {PARITY:g} is allowed; nothing was written",
            "Please report it",
        )


def _latency(model: bytes, tried: ParitySample) -> dict[str, float]:
    taken = Lite(model).milliseconds(tried.pixels[0], INVOKES)
    return {"median": round(float(np.median(taken)), 2), "p90": round(float(np.quantile(taken, 0.9)), 2)}


def _measured(
    models: dict[str, bytes], timed: dict[str, dict[str, float]], compared: Comparison, tried: ParitySample
) -> dict[str, Any]:
    """What the files are, and what has been found out about them."""
    return {
        "exported_at": timestamp(datetime.now(UTC)),
        "models": {
            kind: {
                "path": FILES[kind],
                "bytes": len(model),
                "sha256": hashlib.sha256(model).hexdigest(),
                "latency_ms": timed[kind],
            }
            for kind, model in models.items()
        },
        "latency_of": {"processor": processor(), "threads": 1, "calls": INVOKES},
        "tried_on": {
            "asked": tried.asked,
            "photographs": tried.photographs,
            "drawn": len(tried) - tried.photographs,
            "seed": tried.seed,
        },
        "parity": {
            "photographs": len(tried),
            "measured_on": "drawn photographs" if tried.drawings else "photographs of the run",
            "largest_difference": compared.parity,
            "largest_difference_in_float32": compared.error,
        },
        "int8": compared.int8,
    }


def processor() -> str:
    """What this machine calls its processor."""
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.machine()


def _publish(found: Finished, models: dict[str, bytes], record: dict[str, Any]) -> None:
    """Write the files; an export is whole where it has its record, which goes first and comes last."""
    storage, run = found.run.storage, found.run
    files = {FILES[kind]: model for kind, model in models.items()}
    files |= {LABELS: labels_text(found.model.classes).encode(), RECORD: _json(record).encode()}
    _reserve(run, files)
    storage.delete(run.path("model", RECORD))
    for name, content in files.items():
        storage.write(run.path("model", name), content)


def _reserve(run: Run, files: dict[str, bytes]) -> None:
    """See that there is room for all files before the first is replaced: a full disk leaves an earlier export whole."""
    if bucket_name(run.output) is not None:  # which has no end, and may keep every version
        return
    storage, reserved = run.storage, run.path("model", "_reserved")
    try:
        storage.write(reserved, b"".join(files.values()))
    finally:
        storage.delete(reserved)


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
