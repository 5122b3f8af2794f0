"""The default run on real photographs, against Keras and against what the features are good for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import verger
from tests.cpu import assert_within_tolerance
from tests.integration.runs import photographs, run
from verger import pipeline
from verger.config import RunConfig
from verger.progress import Progress

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="module")
def grocery(spark, data: Path, tmp_path_factory: pytest.TempPathFactory):
    """The manifest of a run on the photographs taken in shops, and its features."""
    output = tmp_path_factory.mktemp("grocery") / "out"
    config = RunConfig(input=str(data / "grocery"), output=str(output))
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        done = pipeline.run(config, spark, progress).as_dict()
    table = verger.load_features(str(output))
    return done, table, np.stack(table["features"].to_numpy(zero_copy_only=False))


@pytest.mark.slow
@pytest.mark.required_in_ci
def test_all_photographs_are_in_the_projection(grocery) -> None:
    done, table, _ = grocery
    assert done["photographs"]["listed"] == done["photographs"]["projected"] == 238
    assert done["rejected_by_reason"] == {}
    assert len(done["labels"]) == 34
    assert set(table["split"].to_pylist()) == {"Training"}
    shares = np.cumsum(done["pca"]["explained_variance_ratio"])
    assert shares[-1] >= 0.8 > shares[-2]


@pytest.mark.slow
def test_nearest_neighbours_have_the_same_label(grocery) -> None:
    """Leave-one-out, cosine: 0.80 was measured, 0.03 is chance, 0.03 random weights."""
    _, table, features = grocery
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -1)
    labels = np.array(table["label"].to_pylist())
    assert (labels[likeness.argmax(axis=1)] == labels).mean() > 0.75


@pytest.mark.slow
def test_features_agree_with_keras(grocery, data: Path) -> None:
    keras = pytest.importorskip("keras")
    _, table, features = grocery
    weights = data / "weights" / "mobilenet_v2_1.0_224_no_top.dequantized.h5"
    model = keras.applications.MobileNetV2(
        input_shape=(224, 224, 3), include_top=False, pooling="avg", weights=str(weights)
    )
    some = range(0, 238, 20)
    images = [Image.open(table["path"][number].as_py()).convert("RGB").resize((224, 224), 3) for number in some]
    pixels = np.stack([np.asarray(image, np.float32) for image in images])
    expected = model.predict(keras.applications.mobilenet_v2.preprocess_input(pixels), verbose=0)
    got = features[list(some)]
    assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max()
    cosine = (got * expected).sum(axis=1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.99999


def test_features_depend_on_neither_batch_nor_partition_nor_wave(spark, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 21)
    network = {"backbone": "mobilenet_v2", "weights": "random", "alpha": 0.35, "input_size": 96, "pooling": "avg"}
    run(spark, tmp_path, **network)
    run(spark, tmp_path, output=str(tmp_path / "other"), batch_size=4, wave_size=10, partitions=3, **network)
    one, other = (
        np.stack(verger.load_features(str(tmp_path / place))["features"].to_numpy(zero_copy_only=False))
        for place in ("out", "other")
    )
    assert one.shape == (21, 1280)
    assert_within_tolerance(other, one)
