"""The network of a run: by name, with its preprocessing, dimension and fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from verger.config import NetworkSettings
from verger.errors import UsageError, WeightsError
from verger.network import mobilenet_v2, vgg16, weights
from verger.network.cpu import BENCHMARK_MULTIPLICATIONS_PER_S, Cpu
from verger.network.frozen import Frozen, Preprocessing
from verger.network.recipe import Recipe, fold, multiplications, output_shape
from verger.network.weights import Weights
from verger.storage.stores import Stores
from verger.tables import description
from verger.tables.manifest import Manifest

__all__ = [
    "FEATURES_VERSION",
    "FEATURE_TOLERANCE",
    "Frozen",
    "Network",
    "fitted_settings",
    "resolve",
    "resolve_fitted",
]

FEATURES_VERSION = 1
"""Part of the fingerprint. Raise it by hand when features change, which the golden test finds."""

FEATURE_TOLERANCE = 5e-5
"""Largest difference of a photograph's features between two computations, as a share of its largest feature; no unit.

A fingerprint promises it. No feature differs by more, whatever the other photographs of the batch, the batch size, the
partition, the number of threads and the kind of CPU: with AVX-512, without it, or both in one cluster. It holds for
float32. For bfloat16 it holds if all CPUs are of one kind that has bf16.

Measured with TensorFlow 2.21 on real and drawn photographs. Within a kind of CPU: all bits are equal where oneDNN
computes (CPUs with VNNI); 1.5e-6 with AVX2 alone, 5e-6 without pooling. Between kinds: 1e-5; 1.4e-5 without pooling.
Of 528 photographs the two most similar differ by 0.16. docs/output-format.md has the table, and bfloat16.
"""

_PREPROCESSING = {
    "mobilenet_v2": Preprocessing("rgb", 127.5, (1.0, 1.0, 1.0)),
    "vgg16": Preprocessing("bgr", 1.0, (103.939, 116.779, 123.68)),
    "pixels": Preprocessing(),
}
_PIXELS_SIZE = 20
_NETWORK_SIZE = 224
# Both networks halve the input five times, so the last layers would have no pixels below this size.
_LEAST_SIZE = 32
_SHORT = {"float32": "f32", "bfloat16": "bf16"}
# Photographs of 100x100 that one core reads and decodes in the benchmark.
_DECODED_PER_S = 600


@dataclass(frozen=True, eq=False)
class Network:
    """All that a run needs to know of its network. It is made on the driver, without TensorFlow.

    Attributes
    ----------
    backbone : {"mobilenet_v2", "vgg16", "pixels"}
        Name of the network.
    alpha : float, optional
        Width multiplier of `mobilenet_v2`, as the weights say.
    input_size : int
        Edge of the square input, pixels.
    pooling : {"avg", "none"}
        Always ``none`` for `pixels`.
    precision : {"float32", "bfloat16"}
        Of the convolutions.
    resample : {"bicubic", "bilinear"}
        Filter by which photographs are resized.
    fit : {"stretch", "crop", "pad"}
        How photographs become square.
    decode : {"full", "scaled"}
        Whether a large JPEG is decoded at a smaller size than its own.
    recipe : Recipe
        The layers; empty for `pixels`.
    weights : Weights
        Empty, and so false, for `pixels`.
    """

    backbone: str
    alpha: float | None
    input_size: int
    pooling: str
    precision: str
    resample: str
    fit: str
    decode: str
    recipe: Recipe
    weights: Weights

    @property
    def dimension(self) -> int:
        """Number of features per photograph."""
        height, width, channels = output_shape(self.recipe, self.input_size)
        return channels if self.pooling == "avg" else height * width * channels

    @property
    def photographs_per_s_per_core(self) -> float:
        """Expected photographs per second per core, on the benchmark's machine."""
        return self._rate(BENCHMARK_MULTIPLICATIONS_PER_S[self.precision])

    def photographs_per_s_on(self, cpu: Cpu) -> float:
        """Expected photographs per second per core, on a kind of CPU.

        Parameters
        ----------
        cpu : Cpu
            Its instructions decide how fast it multiplies.
        """
        return self._rate(cpu.multiplications_per_s(self.precision))

    def _rate(self, multiplications_per_s: float) -> float:
        return 1 / (1 / _DECODED_PER_S + multiplications(self.recipe, self.input_size) / multiplications_per_s)

    @cached_property
    def fingerprint(self) -> str:
        """Name of the features' folder. It is equal if and only if the features are equal."""
        content = json.dumps(self._content(), sort_keys=True)
        digest = hashlib.sha256(f"{content}\n{self.weights.digest}".encode()).hexdigest()[:12]
        parts = [self.backbone, *([f"a{self.alpha}"] if self.alpha else []), str(self.input_size)]
        if self.recipe:
            parts += [*(["none"] if self.pooling == "none" else []), _SHORT[self.precision]]
        return "-".join([*parts, digest])

    def _content(self) -> dict[str, Any]:
        """All that features depend on, besides the photographs and the weights."""
        content = {
            "features_version": FEATURES_VERSION,
            "recipe": [str(operation) for operation in self.recipe],
            "preprocessing": str(_PREPROCESSING[self.backbone]),
            "pooling": self.pooling,
            "dimension": self.dimension,
            "input_size": self.input_size,
            "resample": self.resample,
            "fit": self.fit,
            "precision": self.precision,
        }
        # Stores that are older than the setting were decoded in full. Their fingerprints stay as they are.
        return content if self.decode == "full" else content | {"decode": self.decode}

    def summary(self) -> dict[str, Any]:
        """The network's part of the manifest."""
        return {
            "fingerprint": self.fingerprint,
            "backbone": self.backbone,
            "weights_sha256": self.weights.sha256,
            "dimension": self.dimension,
        }

    def describe(self) -> dict[str, Any]:
        """The content of ``fingerprint.json``: all that the fingerprint is made of."""
        return {
            "fingerprint": self.fingerprint,
            "backbone": self.backbone,
            "alpha": self.alpha,
            "weights": {
                "source": self.weights.source,
                "sha256": self.weights.sha256,
                "tensors_sha256": self.weights.digest,
                "parameters": sum(tensor.size for tensor in self.weights.tensors.values()),
            },
            **self._content(),
        }

    def freeze(self) -> Frozen:
        """The network in the form in which it is broadcast."""
        return Frozen(
            self.recipe,
            fold(self.recipe, self.weights.tensors),
            _PREPROCESSING[self.backbone],
            self.input_size,
            self.pooling,
            self.precision,
        )


def resolve(config: NetworkSettings, stores: Stores, seed: int = 0) -> Network:
    """Load and check the network that a run asks for.

    The input size defaults to what the weights say. Any other size is allowed too, because all layers are convolutions.
    Another ``alpha`` than that of the weights is an error.

    Parameters
    ----------
    config : NetworkSettings
        The backbone, its weights, input size, pooling and precision, and how photographs are resized.
    stores : Stores
        How its weights are reached.
    seed : int
        Of random weights.

    Returns
    -------
    Network
        With its weights.

    Raises
    ------
    WeightsError
        The weights cannot be found or read, or do not fit the network.
    UsageError
        ``input_size`` is too small for the network, or the URI of the weights is not valid.
    """
    if config.backbone == "pixels":
        size = config.input_size or _PIXELS_SIZE
        return _network(config, None, size, "none", "float32", (), Weights("none", {}))
    if config.backbone == "vgg16":
        alpha, recipe = None, vgg16.recipe()
        found = weights.load(config, recipe, stores, seed)
        weights.check(found, recipe, "vgg16")
    else:
        found = weights.load(config, mobilenet_v2.recipe(config.alpha or 1.0), stores, seed)
        alpha = mobilenet_v2.alpha_of(found.shapes, config.alpha)
        recipe = mobilenet_v2.recipe(alpha)
        weights.check(found, recipe, f"mobilenet_v2 with alpha {alpha}")
        _check_alpha(config.alpha, alpha, found)
    size = config.input_size or found.input_size or _NETWORK_SIZE
    if size < _LEAST_SIZE:
        raise UsageError(f"input_size {size} is below {_LEAST_SIZE}, the least for {config.backbone}")
    return _network(config, alpha, size, config.pooling, config.precision, recipe, found)


def fitted_settings(output: str, fitted: Manifest, stores: Stores) -> dict[str, Any]:
    """The network settings of a finished run; its weights are in its output.

    Parameters
    ----------
    output : str
        Canonical folder of the run's output.
    fitted : Manifest
        The run's.
    stores : Stores
        How the output is reached, to see where its weights are.

    Returns
    -------
    dict
        Fields of `verger.config.NetworkSettings`.
    """
    names = ("backbone", "pooling", "alpha", "input_size", "precision", "resample", "fit")
    settings: dict[str, Any] = {name: fitted.config[name] for name in names}
    settings["decode"] = fitted.config.get("decode", "full")  # a run of Verger 0.1.0 may be older than the setting
    if settings["backbone"] != "pixels":
        settings["weights"] = description.find(stores.of(output), output, fitted.features.fingerprint, "weights.npz")
    return settings | {"weights_sha256": None}


def resolve_fitted(output: str, fitted: Manifest, stores: Stores) -> Network:
    """Load the network of a finished run.

    Parameters
    ----------
    output : str
        Canonical folder of the run's output.
    fitted : Manifest
        The run's.
    stores : Stores
        How its weights are reached.

    Returns
    -------
    Network
        Its fingerprint is that of the finished run.

    Raises
    ------
    WeightsError
        The weights are gone, or are not those of the run.
    """
    settings = NetworkSettings(**fitted_settings(output, fitted, stores))
    network = resolve(settings, stores)
    if network.fingerprint != fitted.features.fingerprint:
        raise WeightsError(f"{settings.weights} makes other features than those of run {fitted.run_id}")
    return network


def _network(
    config: NetworkSettings,
    alpha: float | None,
    size: int,
    pooling: str,
    precision: str,
    recipe: Recipe,
    found: Weights,
) -> Network:
    return Network(
        config.backbone,
        alpha,
        size,
        pooling,
        precision,
        config.resample,
        config.fit,
        config.decode,
        recipe,
        found,
    )


def _check_alpha(wanted: float | None, alpha: float, found: Weights) -> None:
    """Raise a WeightsError if the weights have another width multiplier than was asked for."""
    if wanted is not None and mobilenet_v2.recipe(wanted) != mobilenet_v2.recipe(alpha):
        raise WeightsError(
            f"weights {found.source} are of mobilenet_v2 with alpha {alpha}, not {wanted}",
            "Leave --alpha out, or give other weights",
        )
