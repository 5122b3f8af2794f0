"""Features against Keras' own predict, with photographs made small by Pillow alone."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cpu import (
    KINDS,
    assert_within_tolerance,
    bfloat16_cannot_be_computed,
    differences,
    features_on,
    has_bfloat16,
)
from verger.config import AnalysisSettings
from verger.network.backbones import FEATURE_TOLERANCE, Network, resolve
from verger.network.inference import build
from verger.photographs import images
from verger.storage.stores import Stores

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Keras' own, with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Predict = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def keras() -> Iterator[Any]:
    keras = pytest.importorskip("keras")
    yield keras
    keras.backend.clear_session()


def network(**settings: Any) -> Network:
    config = AnalysisSettings(**settings)
    return resolve(config, Stores(), config.seed)


def drawn(size: int, count: int = 4) -> np.ndarray:
    """Coloured discs before gradients, each at another place."""
    rows, columns = np.mgrid[:size, :size] / size
    photographs = []
    for number in range(count):
        disc = (rows - 0.3 - 0.1 * number) ** 2 + (columns - 0.6 + 0.1 * number) ** 2 < 0.04 * (number + 1)
        photographs.append(np.stack([rows * 255, np.where(disc, 220, 40), (columns * 255 * (number + 1)) % 256], -1))
    return np.stack(photographs).astype(np.uint8)


def real(data: Path, size: int, count: int = 4) -> np.ndarray:
    """Some photographs of the grocery shop, resized by Pillow."""
    paths = sorted((data / "grocery" / "Training").glob("*/*.jpg"))[:: 238 // count][:count]
    opened = [Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BICUBIC) for path in paths]
    return np.stack([np.asarray(image) for image in opened])


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def assert_same_features(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    assert np.ptp(expected, axis=0).max() > 0.01, "features that do not tell photographs apart prove nothing"
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert cosines(found, expected).min() > 0.99999


def randomized(model: Any) -> Any:
    """Give a model weights through which photographs stay different, and that leave no weight without effect."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        values = []
        for weight in layer.get_weights():
            if weight.ndim == 4:
                fan_in = np.prod(weight.shape[:2]) * (1 if "Depthwise" in type(layer).__name__ else weight.shape[2])
                values.append(generator.standard_normal(weight.shape) * np.sqrt(1.5 / fan_in))
            else:
                values.append(generator.uniform(0.5, 1.5, weight.shape))
        layer.set_weights(values)
    return model


class TestAgainstKeras:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("file", "alpha"),
        [
            ("mobilenet_v2_0.35_224_no_top.h5", 0.35),
            ("mobilenet_v2_0.35_224_no_top.npz", 0.35),
            ("mobilenet_v2_1.0_224_no_top.dequantized.h5", 1.0),
        ],
    )
    def test_trained_weights(self, file, alpha, data, keras):
        photographs = real(data, 224)
        keras_own = data / "weights" / file.replace(".npz", ".h5")
        model = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3), alpha=alpha, include_top=False, pooling="avg", weights=str(keras_own)
        )
        expected = model.predict(_preprocessed(keras, "mobilenet_v2", photographs), verbose=0)
        found = build(network(weights=str(data / "weights" / file)).freeze())(photographs)
        assert_same_features(found, expected)

    @pytest.mark.parametrize(("alpha", "size", "suffix"), [(0.5, 160, "h5"), (1.0, 113, "keras"), (1.4, 96, "keras")])
    def test_mobilenet_v2(self, alpha, size, suffix, keras, tmp_path):
        model = randomized(keras.applications.MobileNetV2((size, size, 3), alpha, False, None))
        assert_agrees(keras, "mobilenet_v2", model, tmp_path / f"weights.{suffix}", alpha, size)

    @pytest.mark.slow
    @pytest.mark.parametrize(("size", "suffix"), [(48, "keras"), (71, "h5")])
    def test_vgg16(self, size, suffix, keras, tmp_path):
        model = randomized(keras.applications.VGG16(False, None, input_shape=(size, size, 3)))
        assert_agrees(keras, "vgg16", model, tmp_path / f"weights.{suffix}", None, size)

    def test_model_in_a_model_with_a_head(self, keras, tmp_path):
        backbone = randomized(keras.applications.MobileNetV2((96, 96, 3), 0.35, False, None))
        layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(5)]
        whole = keras.Sequential([keras.Input((96, 96, 3)), backbone, *layers])
        expected = backbone.predict(_preprocessed(keras, "mobilenet_v2", drawn(96)), verbose=0).mean((1, 2))
        prints = set()
        for name in ("whole.keras", "whole.h5"):
            whole.save(tmp_path / name)
            found = network(weights=str(tmp_path / name))
            prints.add(found.fingerprint)
            assert_same_features(build(found.freeze())(drawn(96)), expected)
        whole.save_weights(tmp_path / "whole.weights.h5")
        prints.add(network(weights=str(tmp_path / "whole.weights.h5"), input_size=96).fingerprint)
        assert len(prints) == 1


def _preprocessed(keras: Any, backbone: str, photographs: np.ndarray) -> np.ndarray:
    return getattr(keras.applications, backbone).preprocess_input(photographs.astype(np.float32))


def assert_agrees(keras: Any, backbone: str, model: Any, path: Path, alpha: float | None, size: int) -> None:
    """A model that Keras saved makes the features that Keras predicts, pooled and flattened."""
    model.save(path)
    predicted = model.predict(_preprocessed(keras, backbone, drawn(size)), verbose=0)
    for pooling, expected in (("avg", predicted.mean((1, 2))), ("none", predicted.reshape(len(predicted), -1))):
        found = network(backbone=backbone, weights=str(path), pooling=pooling)
        assert (found.alpha, found.input_size, found.dimension) == (alpha, size, expected.shape[1])
        assert_same_features(build(found.freeze())(drawn(size)), expected)


class TestBfloat16:
    @pytest.mark.skipif(
        bfloat16_cannot_be_computed(), reason="ONEDNN_MAX_CPU_ISA keeps the AVX-512 of this CPU from oneDNN alone"
    )
    def test_near_float32(self, data):
        photographs = real(data, 224, 16)
        exact = build(network().freeze())(photographs)
        found = build(network(precision="bfloat16").freeze())(photographs)
        assert found.dtype == np.float32
        alike = cosines(found, exact)
        # Eight bits of mantissa in 52 layers, one after the other.
        assert alike.min() > 0.98
        assert np.median(alike) > 0.995


class TestRows:
    @pytest.mark.parametrize(
        "precision",
        [
            "float32",
            pytest.param(
                "bfloat16",
                marks=pytest.mark.skipif(not has_bfloat16(), reason="bfloat16 is emulated here: nothing is promised"),
            ),
        ],
    )
    def test_do_not_depend_on_their_neighbours(self, precision):
        frozen = network(precision=precision, input_size=96).freeze()
        infer = build(frozen)
        photographs = drawn(96, 16)
        together = infer(photographs)
        assert np.ptp(together, axis=0).max() > 0.1
        for count in (1, 3, 8):
            apart = [infer(photographs[start : start + count]) for start in range(0, 16, count)]
            assert_within_tolerance(np.concatenate(apart), together)
        padded = np.concatenate([photographs[5:6], np.zeros((15, 96, 96, 3), np.uint8)])
        assert_within_tolerance(infer(padded)[:1], together[5:6])
        assert_within_tolerance(infer(photographs[::-1])[::-1], together)
        np.testing.assert_array_equal(build(frozen, threads=1)(photographs), together)

    def test_random_weights_tell_photographs_apart(self):
        features = build(network(weights="random", alpha=0.35, input_size=96).freeze())(drawn(96))
        assert 0.01 < features.std(0).mean() < 10
        assert (features.std(0) > 0).mean() > 0.9


class TestKindsOfCpu:
    """One cluster may have several: what one computes another would have computed."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_drawn_photographs(self, kind, tmp_path):
        photographs = drawn(96, 16)
        expected = build(network(input_size=96).freeze())(photographs)
        assert_within_tolerance(features_on(kind, photographs, tmp_path), expected)

    def test_real_photographs(self, data, tmp_path):
        photographs = real(data, 224, 32)
        expected = build(network().freeze())(photographs)
        assert_within_tolerance(features_on("AVX2", photographs, tmp_path), expected)


class TestTolerance:
    """What is wrong is far beyond it."""

    def test_two_photographs_are_beyond_the_tolerance(self, data):
        features = build(network().freeze())(real(data, 224, 32))
        for shift in range(1, 32):
            assert differences(np.roll(features, shift, axis=0), features).min() > 1000 * FEATURE_TOLERANCE

    def test_another_resampling_filter_is_beyond_the_tolerance(self, data):
        paths = sorted((data / "grocery" / "Training").glob("*/*.jpg"))[::30]
        pixels = [
            np.stack([images.decode(path.read_bytes(), 224, resample).rgb for path in paths])
            for resample in ("bicubic", "bilinear")
        ]
        one, other = map(build(network().freeze()), pixels)
        assert differences(other, one).min() > 100 * FEATURE_TOLERANCE

    def test_a_pixel_of_another_colour_is_beyond_the_tolerance(self):
        photographs = drawn(96, 4)
        changed = photographs.copy()
        changed[:, 48, 48] ^= 255
        one, other = map(build(network(input_size=96).freeze()), (photographs, changed))
        assert differences(other, one).min() > 10 * FEATURE_TOLERANCE


class TestGolden:
    """Where this fails, features have changed: raise FEATURES_VERSION, then write the new ones down here."""

    @pytest.mark.parametrize(
        ("settings", "golden"),
        [
            ({}, [0.0088864, 1.1281, 0.084195, 0.25483, 0.070224, 0.38815, 0.11559, 0.6682]),
            (
                {"input_size": 96, "fit": "pad", "pooling": "none"},
                [1.1251, 0.0, 0.0, 0.0, 6.0, 0.10637, 1.246, 0.0],
            ),
            ({"backbone": "pixels", "resample": "bilinear"}, [6, 31, 69, 95, 133, 159, 198, 223]),
        ],
        ids=["defaults", "small", "pixels"],
    )
    def test_features_of_a_drawn_photograph(self, settings, golden):
        rows, columns = np.mgrid[:150, :200]
        waves = 127 + 127 * np.sin(rows / 9) * np.cos(columns / 7)
        rgb = np.stack([rows * 255 / 149, columns * 255 / 199, waves], -1).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(rgb).save(file, "PNG")
        found = network(**settings)
        decoded = images.decode(file.getvalue(), found.input_size, found.resample, found.fit, found.decode)
        features = build(found.freeze())(decoded.rgb[None])[0]
        # Another CPU sums in another order.
        np.testing.assert_allclose(features[:: found.dimension // 8][:8], golden, rtol=1e-3, atol=1e-3)


WHOLE_LATER = """
import sys
from verger.network import graph
loaded = {name.partition(".")[0] for name in sys.modules}
assert "keras" not in loaded and "pandas" not in loaded and "tensorflow" not in sys.modules, loaded
import tensorflow as tf
assert tf.executing_eagerly() and float(tf.reduce_sum(tf.constant([1.0, 2.0]))) == 3
from tensorflow.keras import layers
assert layers.Dense(2)(tf.zeros((1, 3))).shape == (1, 2)
print(tf.__version__)
"""


KERAS_LATER = """
import sys
from verger.network import operations
import keras
import numpy as np
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2)])
assert model.predict(np.zeros((1, 3)), verbose=0).shape == (1, 2)
import tensorflow as tf
assert tf.keras.layers.Dense is keras.layers.Dense
print(tf.__version__)
"""


@pytest.mark.parametrize("later", [WHOLE_LATER, KERAS_LATER])
def test_only_needed_parts_of_tensorflow_are_loaded_and_the_rest_can_be_imported_later(later: str) -> None:
    done = subprocess.run([sys.executable, "-c", later], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2.")
