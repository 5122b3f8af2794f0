"""An exported model compared with its run: the same probabilities, and what weights of 8 bits cost."""

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
from verger.insight.arrays import Float32Array, Float64Array, Indices
from verger.insight.export import dense
from verger.insight.folds import FittedFold, fit_fold, ignore_sklearn_warnings
from verger.insight.sample import Sample, draw_sample, stratified
from verger.insight.splits import Folds, Split, bounded_folds, possible_splits
from verger.insight.task import Task, classes_of, codes_of, task_of
from verger.network import lite
from verger.network.backbones import Network
from verger.network.frozen import Frozen
from verger.network.inference import build
from verger.network.lite import Lite
from verger.photographs import images
from verger.photographs.synthetic import draw_one
from verger.prefetch import prefetch_map
from verger.progress import Progress
from verger.residency.preflight import check_access
from verger.storage.stores import Stores
from verger.tables.manifest import Manifest
from verger.tables.runs import Run
from verger.tables.store import FeatureStore

PHOTOGRAPHS = 300
"""Photographs that the models are compared on by default, at most."""
MIN_PHOTOGRAPHS = 50
"""As many even where the network is slow."""
N_DRAWN = 30
"""Fruits that are drawn where no photograph of the run can be read."""
_MAX_SECONDS = 20  # of the network; where it is slow, fewer photographs are taken by default
_MAX_WEIGHTS = 50_000_000  # of the dense layers of all folds together; further folds are left out
_READERS = 8
_BATCH_SIZE = 16

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ParitySample:
    """Photographs to compare the models on, each of them held out of one training part.

    Attributes
    ----------
    asked : int
        Photographs that were chosen.
    pixels : ndarray of uint8, shape (n, s, s, 3)
        Those of them that could be read, decoded as by the run.
    fold : ndarray of int64, shape (n,)
        The fold that holds each one out.
    rows : ndarray of int64, shape (n,)
        Their rows of the task.
    task : Task or None
        What the run classified; None where its features are gone.
    split : Split or None
        The split whose folds are used, with bounded training parts; None where there is no task.
    seed : int
        By which photographs are drawn.
    is_drawn : bool
        Whether these are drawings instead of photographs of the run, so that only outputs can be compared.
    """

    asked: int
    pixels: Pixels
    fold: Indices
    rows: Indices
    task: Task | None
    split: Split | None
    seed: int
    is_drawn: bool = False

    @property
    def photographs(self) -> int:
        """Photographs of the run among them."""
        return 0 if self.is_drawn else len(self)

    def __len__(self) -> int:
        return len(self.pixels)


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far the models are from the run.

    Attributes
    ----------
    difference : float
        Largest difference of a probability of the float model from the run's.
    float32_difference : float
        The same, with the run's features computed in float32 as the model computes them: the error of the conversion.
    int8 : dict
        Of the int8 model: how often it predicts the float model's class, the largest difference of its probabilities
        from the run's, and the accuracies of both on held-out photographs; as ``export.json`` has it.
    """

    difference: float
    float32_difference: float
    int8: dict[str, Any]


def choose_photographs(
    run: Run, manifest: Manifest, network: Network, classes: list[str], config: AnalysisSettings,
    access: AccessSettings, stores: Stores, asked: int | None, progress: Progress,
) -> ParitySample:  # fmt: skip
    """Choose photographs that the run's evaluation holds out, and read them again; draw some where none can be read.

    Parameters
    ----------
    run : Run
        A finished run with a classifier.
    manifest : Manifest
        Its manifest.
    network : Network
        The run's.
    classes : list of str
        Of its classifier.
    config : AnalysisSettings
        The settings of the run.
    access : AccessSettings
        How its photographs are reached.
    stores : Stores
        The run's and its photographs'.
    asked : int or None
        Photographs to choose; by default `PHOTOGRAPHS`, or fewer where the network is slow.
    progress : Progress
        Told what cannot be read.
    """
    try:
        source, fingerprint = manifest.input.uri, manifest.features.fingerprint
        store = FeatureStore(run.storage, run.output, fingerprint, progress.warn)
        sample = draw_sample(run, store, config, source)
        check_access(stores, {"input": source}, access)
    except (NothingToReadError, StoreError) as error:
        progress.warn(f"the models are compared with the run on drawn photographs alone: {error.line}")
        return _drawings(network, config.seed)
    foreign = manifest.pca.fitted_by != run.run_id
    task = _task(sample, classes, config, Pca.load(run.path("pca"), run.storage) if foreign else None)
    with ignore_sklearn_warnings():
        splits = [replace(split, folds=bounded_folds(task, split.folds)) for split in possible_splits(task)]
    split = next((split for split in splits if split.folds), None)
    if split is None:
        progress.warn(
            "the models are compared with the run on drawn photographs alone: its own are too few to hold any out"
        )
        return _drawings(network, config.seed)
    split = replace(split, folds=split.folds[: max(1, _MAX_WEIGHTS // (task.features.shape[1] * len(classes)))])
    rows, fold = _draw_held_out(task, split.folds, asked or _default_number(network))
    photographs = sample.photographs.take(sample.feature_rows[rows]).select(["path", "version"]).to_pylist()
    read = list(prefetch_map(lambda row: _read(row, network, stores), photographs, _READERS, 4 * _READERS))
    readable = np.array([pixels is not None for pixels in read], bool)
    if not readable.all():
        progress.warn(
            f"{int((~readable).sum()):,} of the {len(readable):,} photographs that the models were to be compared on "
            "are gone, have changed or cannot be read"
            f"{'' if readable.any() else ': drawn ones are taken, which tell no accuracy'}"
        )
    if not readable.any():
        return replace(_drawings(network, config.seed), asked=len(rows))
    return ParitySample(
        asked=len(rows),
        pixels=np.stack([pixels for pixels in read if pixels is not None]),
        fold=fold[readable],
        rows=rows[readable],
        task=task,
        split=split,
        seed=config.seed,
    )


def _drawings(network: Network, seed: int) -> ParitySample:
    """Drawn fruits, one of each variety in turn: enough to see whether two models agree."""
    shape = network.input_size, network.resample, network.fit, network.decode
    pixels = np.stack([images.decode(draw_one(number, seed), *shape).rgb for number in range(N_DRAWN)])
    nowhere = np.full(N_DRAWN, -1, np.int64)
    return ParitySample(0, pixels, nowhere, nowhere, None, None, seed, is_drawn=True)


def _task(sample: Sample, classes: list[str], config: AnalysisSettings, foreign_pca: Pca | None) -> Task:
    codes = codes_of(classes_of(sample.photographs["label"].to_pylist(), config.class_regex), classes)
    return task_of(sample, codes, len(classes), config, fixed_pca=foreign_pca)


def _default_number(network: Network) -> int:
    return int(min(PHOTOGRAPHS, max(MIN_PHOTOGRAPHS, _MAX_SECONDS * network.photographs_per_s_per_core)))


def _draw_held_out(task: Task, folds: Folds, number: int) -> tuple[Indices, Indices]:
    """Rows that are held out, drawn by class, and the fold of each."""
    rows = np.concatenate([test for _, test in folds])
    fold = np.repeat(np.arange(len(folds)), [len(test) for _, test in folds])
    ranks = np.random.default_rng(task.seed).random(len(rows))
    drawn = stratified(task.codes[rows], number, ranks)
    return rows[drawn], fold[drawn]


def _read(row: dict[str, str], network: Network, stores: Stores) -> Pixels | None:
    try:
        data = stores.of(row["path"]).read_version(row["path"], row["version"])
        return images.decode(data, network.input_size, network.resample, network.fit, network.decode).rgb
    except (Rejection, VergerError, OSError):
        return None


# Of drawings, whose classes the run does not know.
_NO_ACCURACY = {
    "split": None, "says": None, "folds": 0, "photographs": 0, "accuracy_float32": None, "accuracy_int8": None,
    "only_float32_right": None, "only_int8_right": None,
}  # fmt: skip


def compare(
    sample: ParitySample,
    network: Network,
    probabilities_of: Callable[[Float32Array], Float64Array],
    float_model: bytes,
    int8_model: bytes,
) -> Comparison:
    """Run the models and the run's own network and classifier on the same photographs.

    Parameters
    ----------
    sample : ParitySample
        The photographs.
    network : Network
        The run's.
    probabilities_of : callable
        The run's probabilities, float64 (n, classes), of features, float32 (n, d).
    float_model : bytes
        The model in float32.
    int8_model : bytes
        The model with weights of 8 bits.
    """
    frozen = network.freeze()
    expected = probabilities_of(_features(frozen, sample.pixels))
    expected_float32 = expected
    if frozen.precision != "float32":
        expected_float32 = probabilities_of(_features(replace(frozen, precision="float32"), sample.pixels))
    in_float, in_int8 = (_outputs(model, sample.pixels) for model in (float_model, int8_model))
    return Comparison(
        float(np.abs(in_float - expected).max()),
        float(np.abs(in_float - expected_float32).max()),
        {
            "same_class": float((in_float.argmax(axis=1) == in_int8.argmax(axis=1)).mean()),
            "largest_difference": float(np.abs(in_int8 - expected).max()),
            "held_out": _accuracies(sample, network),
        },
    )


def _features(frozen: Frozen, pixels: Pixels) -> Float32Array:
    """As the run computes them."""
    with lite.suppress_stderr():
        infer = build(frozen, available_cores())
        starts = range(0, len(pixels), _BATCH_SIZE)
        return np.concatenate([infer(pixels[start : start + _BATCH_SIZE]) for start in starts])


def _outputs(model: bytes, pixels: Pixels) -> Float32Array:
    run = Lite(model, available_cores())
    return np.stack([run(photograph) for photograph in pixels])


def _accuracies(sample: ParitySample, network: Network) -> dict[str, Any]:
    """Accuracy in float32 and in int8, of models that were not fitted on the photographs.

    Scaler, PCA and classifier are fitted anew on each training part. Their dense layers stand side by side behind one
    network, so that one conversion quantizes it and all of them, each class's weights by themselves.
    """
    task, split = sample.task, sample.split
    if task is None or split is None:
        return _NO_ACCURACY
    # A thread a fold, as in the run's evaluation.
    with threadpool_limits(1), ignore_sklearn_warnings(), ThreadPoolExecutor(available_cores()) as pool:
        fitted = list(pool.map(lambda fold: fit_fold(task, fold[0]), split.folds))
    layers = [dense.of_fold(fold) for fold in fitted]
    weights, bias = np.hstack([layer.weights for layer in layers]), np.hstack([layer.bias for layer in layers])
    quantized = lite.convert(network.freeze(), weights, bias, int8=True, logits=True)
    logits: dict[str, npt.NDArray[np.floating]] = {
        "float32": task.features[sample.rows] @ weights + bias,
        "int8": _outputs(quantized, sample.pixels),
    }
    ends = np.cumsum([len(layer.bias) for layer in layers])[:-1]
    correct = {
        precision: _predicted(np.split(found, ends, axis=1), fitted, sample.fold) == task.codes[sample.rows]
        for precision, found in logits.items()
    }
    return {
        "split": split.kind,
        "says": split.description,
        "folds": len(split.folds),
        "photographs": len(sample),
        "accuracy_float32": float(correct["float32"].mean()),
        "accuracy_int8": float(correct["int8"].mean()),
        "only_float32_right": int((correct["float32"] & ~correct["int8"]).sum()),
        "only_int8_right": int((correct["int8"] & ~correct["float32"]).sum()),
    }


def _predicted(logits: list[npt.NDArray[np.floating]], fitted: list[FittedFold], fold: Indices) -> Indices:
    """The class that the fold which holds each photograph out predicts."""
    codes = np.stack([one.model.classes_[found.argmax(axis=1)] for found, one in zip(logits, fitted, strict=True)])
    return np.asarray(codes[fold, np.arange(len(fold))], np.int64)
