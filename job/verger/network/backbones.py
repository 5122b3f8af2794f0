"""The networks of a run: by name, with their preprocessing, dimension and fingerprint."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from verger.config import RunConfig
from verger.errors import UsageError, WeightsError
from verger.network import mobilenet_v2, vgg16, weights
from verger.network.frozen import Frozen, Preprocessing
from verger.network.recipe import Recipe, fold, multiplications, output_shape
from verger.network.weights import Weights
from verger.storage.uri import join

if TYPE_CHECKING:
    from verger.tables.manifest import Manifest

__all__ = [
    "FEATURES_VERSION",
    "FEATURE_TOLERANCE",
    "Frozen",
    "Network",
    "as_fitted",
    "resolve",
    "resolve_fitted",
]

# Raise it by hand when the same fingerprint would come to mean other features, and their golden test fails.
FEATURES_VERSION = 1

FEATURE_TOLERANCE = 5e-5
"""How far two computations of a photograph's features may be apart: a share of its largest feature, without unit.

It is the promise of a fingerprint. No feature moves by more, whatever stands beside the photograph, and whatever the
size of the batch, the partition, the number of threads and the kind of CPU: with AVX-512, without, or both in one
cluster. It holds for float32, and for bfloat16 where all CPUs are of one kind that has bf16.

Measured with TensorFlow 2.21 on real and drawn photographs. Within a kind of CPU: no bit differs where oneDNN computes
(CPUs with VNNI); 1.5e-6 with AVX2 alone, 5e-6 without pooling. Between kinds: 1e-5, 1.4e-5 without pooling. The two
photographs most alike of 528 are 0.16 apart. docs/output-format.md has the table, and bfloat16.
"""

_PREPROCESSING = {
    "mobilenet_v2": Preprocessing("rgb", 127.5, (1.0, 1.0, 1.0)),
    "vgg16": Preprocessing("bgr", 1.0, (103.939, 116.779, 123.68)),
    "pixels": Preprocessing(),
}
_PIXELS_SIZE = 20
_NETWORK_SIZE = 224
# Below it nothing is left for the last of five halvings.
_LEAST_SIZE = 32
_SHORT = {"float32": "f32", "bfloat16": "bf16"}
# What one core does in our benchmark: multiplications, and photographs of 100x100 read and decoded.
_MULTIPLICATIONS_PER_S = {"float32": 30e9, "bfloat16": 60e9}
_DECODED_PER_S = 600


@dataclass(frozen=True, eq=False)
class Network:
    """What a run needs of its network; made on the driver, without TensorFlow.

    Attributes
    ----------
    backbone : str
    alpha : float, optional
        Width multiplier of mobilenet_v2: what the weights say.
    input_size : int
    pooling : str
        ``none`` for pixels, whatever was asked for.
    precision, resample, fit : str
    recipe : Recipe
        Empty for pixels.
    weights : Weights
        False for pixels.
    """

    backbone: str
    alpha: float | None
    input_size: int
    pooling: str
    precision: str
    resample: str
    fit: str
    recipe: Recipe
    weights: Weights

    @property
    def dimension(self) -> int:
        """Number of features."""
        height, width, channels = output_shape(self.recipe, self.input_size)
        return channels if self.pooling == "avg" else height * width * channels

    @property
    def photographs_per_s_per_core(self) -> float:
        """How many photographs a core may be expected to do in a second."""
        computing = multiplications(self.recipe, self.input_size) / _MULTIPLICATIONS_PER_S[self.precision]
        return 1 / (1 / _DECODED_PER_S + computing)

    @cached_property
    def fingerprint(self) -> str:
        """Name of the features' folder: equal exactly where the features are."""
        content = json.dumps(self._content(), sort_keys=True)
        digest = hashlib.sha256(f"{content}\n{self.weights.digest}".encode()).hexdigest()[:12]
        parts = [self.backbone, *([f"a{self.alpha}"] if self.alpha else []), str(self.input_size)]
        if self.recipe:
            parts += [*(["none"] if self.pooling == "none" else []), _SHORT[self.precision]]
        return "-".join([*parts, digest])

    def _content(self) -> dict[str, Any]:
        """All that features depend on, besides the photograph and the tensors."""
        return {
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

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            "fingerprint": self.fingerprint,
            "backbone": self.backbone,
            "weights_sha256": self.weights.sha256,
            "dimension": self.dimension,
        }

    def describe(self) -> dict[str, Any]:
        """What fingerprint.json says: all that makes the fingerprint."""
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
        """What is broadcast."""
        return Frozen(
            self.recipe,
            fold(self.recipe, self.weights.tensors),
            _PREPROCESSING[self.backbone],
            self.input_size,
            self.pooling,
            self.precision,
        )


def resolve(config: RunConfig) -> Network:
    """The network that a run asks for, with its weights, checked.

    The input size defaults to what the weights say. They can be run at any other size, as they are convolutions all
    through, so that another size is no contradiction; another ``alpha`` is.

    Raises
    ------
    WeightsError
        The weights are not to be had, or are not those of this network.
    UsageError
        The input is too small for the network.
    """
    if config.backbone == "pixels":
        size = config.input_size or _PIXELS_SIZE
        return _network(config, None, size, "none", "float32", (), Weights("none", {}))
    if config.backbone == "vgg16":
        alpha, recipe = None, vgg16.recipe()
        found = weights.load(config, recipe)
        weights.check(found, recipe, "vgg16")
    else:
        found = weights.load(config, mobilenet_v2.recipe(config.alpha or 1.0))
        alpha = mobilenet_v2.alpha_of(found.shapes, config.alpha)
        recipe = mobilenet_v2.recipe(alpha)
        weights.check(found, recipe, f"mobilenet_v2 with alpha {alpha}")
        _agree(config.alpha, alpha, found)
    size = config.input_size or found.input_size or _NETWORK_SIZE
    if size < _LEAST_SIZE:
        raise UsageError(f"input_size {size} is below {_LEAST_SIZE}, the least for {config.backbone}")
    return _network(config, alpha, size, config.pooling, config.precision, recipe, found)


def as_fitted(config: RunConfig, output: str, fitted: Manifest) -> RunConfig:
    """``config`` with the network of a finished run below ``output``, whose weights lie beside its features.

    ``fitted`` is that run's manifest.
    """
    names = ("backbone", "pooling", "alpha", "input_size", "precision", "resample", "fit")
    network: dict[str, Any] = {name: fitted.config[name] for name in names}
    if network["backbone"] != "pixels":
        network["weights"] = join(output, fitted.features.path, "weights.npz")
    return config.model_copy(update=network | {"weights_sha256": None})


def resolve_fitted(config: RunConfig, fitted: Manifest) -> Network:
    """The network of a finished run, by a config that `as_fitted` gave and the run's manifest.

    Raises
    ------
    WeightsError
        The weights are gone, or are others than those that the run had.
    """
    network = resolve(config)
    if network.fingerprint != fitted.features.fingerprint:
        raise WeightsError(f"{config.weights} makes other features than those of run {fitted.run_id}")
    return network


def _network(
    config: RunConfig, alpha: float | None, size: int, pooling: str, precision: str, recipe: Recipe, found: Weights
) -> Network:
    return Network(config.backbone, alpha, size, pooling, precision, config.resample, config.fit, recipe, found)


def _agree(wanted: float | None, alpha: float, found: Weights) -> None:
    """Refuse weights of another width multiplier than was asked for."""
    if wanted is not None and mobilenet_v2.recipe(wanted) != mobilenet_v2.recipe(alpha):
        raise WeightsError(
            f"weights {found.source} are of mobilenet_v2 with alpha {alpha}, not {wanted}",
            "Leave --alpha out, or give other weights",
        )
