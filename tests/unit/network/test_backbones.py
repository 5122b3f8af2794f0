"""Networks: their shapes, their fingerprints, and folding, all without TensorFlow."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from verger.config import RunConfig
from verger.errors import UsageError
from verger.network import mobilenet_v2, vgg16
from verger.network.backbones import Network, resolve
from verger.network.inference import build
from verger.network.recipe import (
    Convolution,
    convolutions,
    fold,
    multiplications,
    output_shape,
    random_tensors,
    shapes,
)
from verger.network.weights import Weights
from verger.storage.stores import Stores

SMALL: dict[str, Any] = {"weights": "random", "alpha": 0.35}


def network(**settings: Any) -> Network:
    config = RunConfig(**{"input": "in", "output": "out", **settings})
    return resolve(config, Stores(), config.seed)


class TestRecipes:
    @pytest.mark.parametrize(
        ("alpha", "parameters", "millions"),
        # What Keras' summary says without the classifier, and the paper's multiply-adds (table 4) without it.
        [(0.35, 410_208, 59), (0.5, 706_224, 97), (0.75, 1_382_064, 209), (1.0, 2_257_984, 300), (1.4, 4_363_712, 582)],
    )
    def test_mobilenet_v2(self, alpha, parameters, millions):
        recipe = mobilenet_v2.recipe(alpha)
        assert sum(int(np.prod(shape)) for shape in shapes(recipe).values()) == parameters
        assert multiplications(recipe, 224) / 1e6 == pytest.approx(millions, rel=0.03)
        assert len(convolutions(recipe)) == 52
        assert [recipe.count("keep"), recipe.count("add")] == [10, 10]

    def test_vgg16(self):
        recipe = vgg16.recipe()
        assert sum(int(np.prod(shape)) for shape in shapes(recipe).values()) == 14_714_688
        assert multiplications(recipe, 224) / 1e9 == pytest.approx(15.35, rel=0.01)

    @pytest.mark.parametrize(
        ("settings", "dimension"),
        [
            ({}, 1280),
            ({"pooling": "none"}, 62_720),
            ({"pooling": "none", "input_size": 113}, 4 * 4 * 1280),
            ({"weights": "random", "alpha": 1.4}, 1792),
            ({"weights": "random", "alpha": 0.5}, 1280),
            ({"backbone": "vgg16", "weights": "random"}, 512),
            ({"backbone": "vgg16", "weights": "random", "pooling": "none"}, 25_088),
            ({"backbone": "vgg16", "weights": "random", "pooling": "none", "input_size": 113}, 3 * 3 * 512),
            ({"backbone": "pixels"}, 1200),
            ({"backbone": "pixels", "input_size": 32}, 3072),
        ],
    )
    def test_dimension(self, settings, dimension):
        assert network(**settings).dimension == dimension

    @pytest.mark.parametrize("backbone", ["mobilenet_v2", "vgg16"])
    def test_smallest_input_size(self, backbone):
        settings = {"backbone": backbone, "weights": "random"}
        assert network(**settings, input_size=32).input_size == 32
        with pytest.raises(UsageError, match="input_size 31"):
            network(**settings, input_size=31)

    def test_output_shape_of_odd_sizes(self):
        assert output_shape(mobilenet_v2.recipe(1.0), 33) == (2, 2, 1280)
        assert output_shape(vgg16.recipe(), 63) == (1, 1, 512)


class TestAlpha:
    @pytest.mark.parametrize("alpha", [*mobilenet_v2.PUBLISHED_ALPHAS, 0.1, 0.25, 0.6, 2.0])
    def test_is_found_by_the_weights(self, alpha):
        found = mobilenet_v2.alpha_of(shapes(mobilenet_v2.recipe(alpha)))
        assert mobilenet_v2.recipe(found) == mobilenet_v2.recipe(alpha)
        assert found == alpha

    def test_is_the_same_for_the_same_widths(self):
        assert mobilenet_v2.recipe(0.36) == mobilenet_v2.recipe(0.35)
        assert network(weights="random", alpha=0.36).fingerprint == network(**SMALL).fingerprint

    def test_with_more_than_two_decimals(self):
        """Some widths are those of one odd multiplier only; it is found when it is asked for."""
        assert network(weights="random", alpha=1.013).alpha == 1.013

    def test_nearest_if_none_fits(self):
        stated = shapes(mobilenet_v2.recipe(0.5)) | {"Conv1/kernel": (3, 3, 1, 16)}
        assert mobilenet_v2.alpha_of(stated) == 0.5


class TestFingerprint:
    def test_of_the_defaults(self):
        """Whoever changes this makes every user compute every photograph again."""
        assert network().fingerprint == "mobilenet_v2-a1.0-224-f32-59f8349fa213"

    def test_of_pixels(self):
        assert network(backbone="pixels").fingerprint == "pixels-20-ef9215dadde7"

    def test_of_full_decoding_is_that_of_stores_older_than_the_setting(self):
        full = network(decode="full")
        assert full.fingerprint == "mobilenet_v2-a1.0-224-f32-59f8349fa213"
        assert "decode" not in full.describe()

    def test_of_scaled_decoding(self):
        scaled = network(decode="scaled")
        assert scaled.fingerprint == "mobilenet_v2-a1.0-224-f32-82ad37a249dc"
        assert scaled.describe()["decode"] == "scaled"
        assert network(backbone="pixels", decode="scaled").fingerprint != network(backbone="pixels").fingerprint

    def test_names(self):
        assert network(**SMALL, precision="bfloat16").fingerprint.startswith("mobilenet_v2-a0.35-224-bf16-")
        vgg = network(backbone="vgg16", weights="random", pooling="none", input_size=64)
        assert vgg.fingerprint.startswith("vgg16-64-none-f32-")

    def test_changes_with_all_that_features_depend_on(self):
        changes = [
            {"alpha": 0.5},
            {"seed": 1},
            {"input_size": 96},
            {"pooling": "none"},
            {"precision": "bfloat16"},
            {"resample": "bilinear"},
            {"fit": "crop"},
            {"decode": "scaled"},
        ]
        prints = {network(**SMALL | change).fingerprint[-12:] for change in [{}, *changes]}
        assert len(prints) == len(changes) + 1

    def test_changes_with_any_tensor(self):
        tensors = random_tensors(mobilenet_v2.recipe(0.35), 0)
        digests = set()
        for name in ("Conv1/kernel", "block_7_expand_BN/moving_mean", "Conv_1_bn/beta"):
            changed = tensors | {name: tensors[name].copy()}
            changed[name].flat[-1] += np.float32(1e-3)
            digests.add(Weights("", changed).digest)
        assert len({*digests, Weights("", tensors).digest}) == 4

    def test_does_not_change_with_other_settings(self):
        other = network(**SMALL, input="elsewhere", batch_size=3, partitions=7, variance=0.5, standardize=True)
        assert other.fingerprint == network(**SMALL).fingerprint

    def test_pixels_have_no_weights_pooling_or_precision(self):
        plain = network(backbone="pixels")
        other = network(backbone="pixels", weights="random", seed=3, pooling="none", precision="bfloat16")
        assert other.fingerprint == plain.fingerprint
        assert not plain.weights
        assert plain.weights.sha256 is None
        assert network(backbone="pixels", fit="pad").fingerprint != plain.fingerprint


class TestNetwork:
    def test_description_is_json(self):
        described = json.loads(json.dumps(network().describe()))
        assert described["fingerprint"] == network().fingerprint
        assert described["recipe"][0] == "conv Conv1 3x3x3x32 /2 bn_Conv1 relu6"
        assert described["preprocessing"] == "rgb / 127.5 - 1.0 1.0 1.0"
        assert described["weights"]["parameters"] == 2_257_984

    def test_summary(self):
        assert list(network().summary()) == ["fingerprint", "backbone", "weights_sha256", "dimension"]

    def test_expected_photographs_per_second(self):
        rate = network().photographs_per_s_per_core
        assert 20 < rate < 200
        assert network(precision="bfloat16").photographs_per_s_per_core > rate
        assert network(input_size=96).photographs_per_s_per_core > rate
        assert network(backbone="pixels").photographs_per_s_per_core > 400

    def test_frozen_is_small_and_picklable(self):
        frozen = network().freeze()
        sent = pickle.dumps(frozen, protocol=5)
        assert len(sent) < 1.02 * 4 * 2_240_000
        kernel, bias = pickle.loads(sent).folded["Conv1"]
        assert (kernel.dtype, bias.dtype, kernel.shape, bias.shape) == ("float32", "float32", (3, 3, 3, 32), (32,))

    def test_driver_never_imports_tensorflow(self):
        script = """
import sys
from verger.config import RunConfig
from verger.network.backbones import resolve
from verger.storage.stores import Stores
for settings in ({}, {"backbone": "pixels"}, {"weights": "random", "alpha": 0.35}):
    resolve(RunConfig(input="in", output="out", **settings), Stores()).freeze()
assert not {"tensorflow", "keras", "pyspark"} & sys.modules.keys(), sys.modules.keys()
"""
        done = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "job", capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


class TestPixels:
    def test_values_in_reading_order(self):
        photographs = np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8)
        features = build(network(backbone="pixels").freeze())(photographs)
        assert features.dtype == np.float32
        assert features.shape == (3, 1200)
        assert features[1, :6].tolist() == [*photographs[1, 0, 0], *photographs[1, 0, 1]]
        assert (features == photographs.reshape(3, 1200)).all()


class TestFolding:
    @pytest.mark.parametrize("depthwise", [False, True], ids=["conv", "depthwise"])
    def test_same_as_normalising_afterwards(self, depthwise):
        kernel: tuple[int, int, int, int] = (1, 1, 5, 1) if depthwise else (1, 1, 5, 7)
        layer = Convolution("layer", kernel, norm="norm", depthwise=depthwise)
        generator = np.random.default_rng(0)
        tensors = {name: generator.uniform(0.1, 2, shape).astype(np.float32) for name, shape in layer.weights.items()}
        weights, gamma, beta, mean, variance = (tensor.astype(np.float64) for tensor in tensors.values())
        values = generator.standard_normal((11, 5))
        convolved = values * weights[0, 0, :, 0] if depthwise else values @ weights[0, 0]
        expected = gamma * (convolved - mean) / np.sqrt(variance + 1e-3) + beta

        folded, bias = fold((layer,), tensors)["layer"]
        found = (values * folded[0, 0, :, 0] if depthwise else values @ folded[0, 0]) + bias
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_bias_without_normalisation(self):
        layer = Convolution("layer", (1, 1, 2, 3))
        tensors = {"layer/kernel": np.ones((1, 1, 2, 3), np.float32), "layer/bias": np.arange(3, dtype=np.float32)}
        kernel, bias = fold((layer,), tensors)["layer"]
        assert (kernel == 1).all()
        assert bias.tolist() == [0, 1, 2]
