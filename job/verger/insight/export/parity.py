"""An exported model against its run: the same probabilities, and what eight bits cost, on photographs of the run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from verger.components.pca import Pca
from verger.config import AccessSettings, AnalysisSettings
from verger.cores import available_cores
from verger.errors import NothingToReadError, Rejection, StoreError, VergerError
from verger.insight import folds as fitting
from verger.insight import sample
from verger.insight import splits as splitting
from verger.insight.arrays import Float32Array, Float64Array, Indices
from verger.insight.export import dense
from verger.insight.folds import FittedFold
from verger.insight.splits import Folds
from verger.insight.task import Task, classes_of, task_of
from verger.network import lite
from verger.network.backbones import Network
from verger.network.frozen import Frozen
from verger.network.inference import build
from verger.network.lite import Lite
from verger.photographs import images
from verger.photographs.synthetic import draw_one
from verger.prefetch import prefetch_map
from verger.progress import Progress
from verger.residency.preflight import admit
from verger.storage.stores import Stores
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

PHOTOGRAPHS = 300
"""Photographs that the models are tried on where nobody says how many."""
LEAST = 50
"""As many even where the network is slow."""
_SECONDS = 20  # of the network, which fewer than PHOTOGRAPHS may take
_HEADS = 50_000_000  # weights of all folds' dense layers together, beyond which some folds are left out
_READERS = 8
_BATCH = 16

DRAWN = 30
"""Fruits that are drawn where no photograph of the run can be read."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ParitySample:
    """Photographs to try the models on, each held out of one training part.

    Attributes
    ----------
    asked : int
        Photographs that were chosen.
    pixels : ndarray of uint8, shape (n, s, s, 3)
        Those of them that could be read, as the run decodes them.
    fold : ndarray of int64, shape (n,)
        Of whose test part each is one.
    rows : ndarray of int64, shape (n,)
        Their rows of the task.
    task : Task or None
        None where the run's features are gone.
    folds : list of (ndarray, ndarray)
        Rows that are fitted on, and rows that these may judge.
    split, says : str
        The split, and the same in words.
    seed : int
        By which they are drawn.
    drawings : bool
        Whether these are no photographs of the run, so that nothing but the models' outputs can be compared.
    """

    asked: int
    pixels: Pixels
    fold: Indices
    rows: Indices
    task: Task | None
    folds: Folds
    split: str
    says: str
    seed: int
    drawings: bool = False

    @property
    def photographs(self) -> int:
        """Of the run."""
        return 0 if self.drawings else len(self)

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the trial has shown.

    Attributes
    ----------
    parity : float
        The largest difference of a probability of the float model from the run's.
    error : float
        The same, the run's features computed in float32 as the model computes them: all of it is the conversion's.
    int8 : dict
        Of the int8 model: how often it names what the float one names, the largest difference of its probabilities
        from the run's, and the accuracies of both on held-out photographs.
    """

    parity: float
    error: float
    int8: dict[str, Any]


def take(
    run: Run, manifest: dict[str, Any], network: Network, classes: list[str], config: AnalysisSettings,
    access: AccessSettings, stores: Stores, asked: int | None, progress: Progress,
) -> ParitySample:  # fmt: skip
    """Choose photographs that the run's evaluation holds out, and read them again; draw some where none can be.

    Parameters
    ----------
    run : Run
    manifest : dict
        Its manifest.
    network : Network
    classes : list of str
        Of its classifier.
    config : AnalysisSettings
        The settings of the run.
    access : AccessSettings
        How its photographs are reached.
    stores : Stores
    asked : int or None
        How many photographs.
    progress : Progress
        Told what cannot be read.
    """
    try:
        store = FeatureStore(run.storage, run.output, manifest["features"]["fingerprint"], progress.warn)
        source = manifest["input"]["uri"]
        sampled = sample.take(run, store, config, source)
        admit(stores, {"input": source}, access)
    except (NothingToReadError, StoreError) as error:
        progress.warn(f"the models are compared with the run on drawn photographs alone: {error.line}")
        return _drawings(network, config.seed)
    elsewhere = manifest["pca"]["fitted_by"] != run.run_id
    task = _task(sampled, classes, config, Pca.load(run.path("pca"), run.storage) if elsewhere else None)
    with fitting.ignore_warnings():
        parts = [(kind, says, splitting.judged(task, folds)) for kind, says, folds in splitting.splits(task)]
    able = next((part for part in parts if part[2]), None)
    if able is None:
        progress.warn(
            "the models are compared with the run on drawn photographs alone: its own are too few to hold any out"
        )
        return _drawings(network, config.seed)
    split, says, folds = able
    folds = folds[: max(1, _HEADS // (task.features.shape[1] * len(classes)))]
    rows, fold = _drawn(task, folds, asked or _bounded(network))
    photographs = sampled.photographs.take(sampled.featured[rows]).select(["path", "version"]).to_pylist()
    read = list(prefetch_map(lambda row: _read(row, network, stores), photographs, _READERS, 4 * _READERS))
    here = np.array([pixels is not None for pixels in read], bool)
    if not here.all():
        progress.warn(
            f"{int((~here).sum()):,} of the {len(here):,} photographs that the models were to be tried on are gone, "
            f"have changed or cannot be read{'' if here.any() else ': drawn ones are taken, which tell no accuracy'}"
        )
    if not here.any():
        return replace(_drawings(network, config.seed), asked=len(rows))
    return ParitySample(
        len(rows), _stacked(read, network), fold[here], rows[here], task, folds, split, says, config.seed
    )


def _drawings(network: Network, seed: int) -> ParitySample:
    """Fruits, one of each variety in turn: whether two models agree, needs no photograph of the run."""
    shape = network.input_size, network.resample, network.fit
    pixels = np.stack([images.decode(draw_one(number, seed), *shape).rgb for number in range(DRAWN)])
    nowhere = np.full(DRAWN, -1, np.int64)
    return ParitySample(0, pixels, nowhere, nowhere, None, [], "", "", seed, drawings=True)


def _stacked(read: list[Pixels | None], network: Network) -> Pixels:
    size = network.input_size
    return np.array([pixels for pixels in read if pixels is not None], np.uint8).reshape(-1, size, size, 3)


def _task(sampled: sample.Sample, classes: list[str], config: AnalysisSettings, pca: Pca | None) -> Task:
    found = classes_of(sampled.photographs["label"].to_pylist(), config.class_regex)
    number = {name: code for code, name in enumerate(classes)}
    coded = np.array([number.get(name, -1) if name else -1 for name in found], np.int64)
    return task_of(sampled, coded, len(classes), config, pca=pca)


def _bounded(network: Network) -> int:
    return int(min(PHOTOGRAPHS, max(LEAST, _SECONDS * network.photographs_per_s_per_core)))


def _drawn(task: Task, folds: Folds, number: int) -> tuple[Indices, Indices]:
    """Rows that are held out, drawn by class, and the fold of each."""
    rows = np.concatenate([test for _, test in folds])
    fold = np.repeat(np.arange(len(folds)), [len(test) for _, test in folds])
    ranks = np.random.default_rng(task.seed).random(len(rows))
    some = sample.stratified(task.codes[rows], number, ranks)
    return rows[some], fold[some]


def _read(row: dict[str, str], network: Network, stores: Stores) -> Pixels | None:
    try:
        data = stores.of(row["path"]).read_version(row["path"], row["version"])
        return images.decode(data, network.input_size, network.resample, network.fit).rgb
    except (Rejection, VergerError, OSError):
        return None


# Of drawings, which the run has no class for.
_UNKNOWN = {
    "split": None, "says": None, "folds": 0, "photographs": 0, "accuracy_float32": None, "accuracy_int8": None,
    "only_float32_right": None, "only_int8_right": None,
}  # fmt: skip


def compare(
    tried: ParitySample,
    network: Network,
    of_features: Callable[[Float32Array], Float64Array],
    floats: bytes,
    int8: bytes,
) -> Comparison:
    """Run the models on the photographs.

    Parameters
    ----------
    trial : Trial
    network : Network
    of_features : callable
        The run's probabilities of features.
    floats, int8 : bytes
        The models.
    """
    frozen = network.freeze()
    expected = of_features(_features(frozen, tried.pixels))
    rounded = frozen.precision != "float32"
    same = of_features(_features(replace(frozen, precision="float32"), tried.pixels)) if rounded else expected
    exact, small = (_outputs(model, tried.pixels) for model in (floats, int8))
    return Comparison(
        float(np.abs(exact - expected).max()),
        float(np.abs(exact - same).max()),
        {
            "same_class": float((exact.argmax(axis=1) == small.argmax(axis=1)).mean()),
            "largest_difference": float(np.abs(small - expected).max()),
            "held_out": _UNKNOWN if tried.drawings else _held_out(tried, network),
        },
    )


def _features(frozen: Frozen, pixels: Pixels) -> Float32Array:
    """As the run computes them."""
    with lite.suppress_stderr():
        infer = build(frozen, available_cores())
        return np.concatenate([infer(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)])


def _outputs(model: bytes, pixels: Pixels) -> Float32Array:
    run = Lite(model, available_cores())
    return np.stack([run(photograph) for photograph in pixels])


def _held_out(tried: ParitySample, network: Network) -> dict[str, Any]:
    """Accuracy in float32 and in int8, of models that have not seen what they are asked.

    Scaler, PCA and classifier are fitted anew on each training part. Their dense layers stand side by side behind one
    network, so that one conversion quantizes it and all of them, each class's weights by themselves.
    """
    task = tried.task
    assert task is not None
    # As in the run's evaluation.
    with threadpool_limits(1), fitting.ignore_warnings(), ThreadPoolExecutor(available_cores()) as pool:
        fitted = list(pool.map(lambda part: fitting.fit_fold(task, part[0]), tried.folds))
    layers = [dense.of_fold(fold) for fold in fitted]
    weights, bias = np.hstack([layer.weights for layer in layers]), np.hstack([layer.bias for layer in layers])
    quantized = lite.convert(network.freeze(), weights, bias, int8=True, logits=True)
    logits: dict[str, npt.NDArray[np.floating]] = {
        "float32": task.features[tried.rows] @ weights + bias,
        "int8": _outputs(quantized, tried.pixels),
    }
    ends = np.cumsum([len(layer.bias) for layer in layers])[:-1]
    named = {name: _named(np.split(found, ends, axis=1), fitted, tried.fold) for name, found in logits.items()}
    right = {name: found == task.codes[tried.rows] for name, found in named.items()}
    return {
        "split": tried.split,
        "says": tried.says,
        "folds": len(tried.folds),
        "photographs": len(tried),
        "accuracy_float32": float(right["float32"].mean()),
        "accuracy_int8": float(right["int8"].mean()),
        "only_float32_right": int((right["float32"] & ~right["int8"]).sum()),
        "only_int8_right": int((right["int8"] & ~right["float32"]).sum()),
    }


def _named(logits: list[npt.NDArray[np.floating]], fitted: list[FittedFold], fold: Indices) -> Indices:
    """The code that each photograph's own fold gives it."""
    codes = np.stack([part.model.classes_[found.argmax(axis=1)] for found, part in zip(logits, fitted, strict=True)])
    return np.asarray(codes[fold, np.arange(len(fold))], np.int64)
