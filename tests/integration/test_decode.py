"""Runs over large JPEGs with each way of decoding, and what follows them: `project`, `identify` and `export`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import verger
from tests.integration.runs import config, run
from verger import pipeline
from verger.config import ResultSettings
from verger.insight.export import exporter
from verger.insight.identify.photographs import read_photograph
from verger.network.backbones import resolve_fitted
from verger.photographs.images import Decoded, decode
from verger.progress import Progress
from verger.storage.stores import Stores
from verger.tables import manifest, runs

SIZE = 8


def large(folder: Path, count: int, start: int = 0) -> None:
    """Noisy JPEGs of 200x150 pixels, of two labels: one brighter than the other."""
    for number in range(start, start + count):
        label = number % 2
        pixels = np.random.default_rng(number).integers(100 * label, 100 * label + 156, (150, 200, 3), np.uint8)
        file = folder / f"label {label}" / f"{number:04d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, quality=90)


@pytest.fixture(scope="module")
def place(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs, and an output with a run of each way of decoding; the last is scaled."""
    folder = tmp_path_factory.mktemp("decode")
    large(folder / "in", 40)
    full = run(spark, folder, input_size=SIZE)
    scaled = run(spark, folder, input_size=SIZE, decode="scaled", classifier=True)
    assert (full["config"]["decode"], scaled["config"]["decode"]) == ("full", "scaled")
    assert full["features"]["fingerprint"] != scaled["features"]["fingerprint"]
    assert scaled["photographs"]["computed"] == full["photographs"]["computed"] == 40
    (folder / "runs.json").write_text(json.dumps([full["run_id"], scaled["run_id"]]))
    return folder


def quietly(work: Callable[[Progress], Any]) -> Any:
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        return work(progress)


def test_stored_features_are_of_the_pixels_that_were_decoded(place: Path) -> None:
    for run_id, decoding in zip(json.loads((place / "runs.json").read_text()), ("full", "scaled"), strict=True):
        rows = verger.load_features(str(place / "out" / "runs" / run_id)).to_pylist()
        assert len(rows) == 40
        for row in rows:
            decoded = decode(Path(row["path"]).read_bytes(), SIZE, decoding=decoding)
            assert row["features"] == decoded.rgb.ravel().tolist()
            assert (row["width"], row["height"]) == (200, 150)


def test_either_run_continues_its_own_features(spark: Any, place: Path) -> None:
    for decoding in ("full", "scaled"):
        done = run(spark, place, input_size=SIZE, decode=decoding, classifier=decoding == "scaled")
        assert (done["photographs"]["known"], done["photographs"]["computed"]) == (40, 0)


def test_new_photographs_are_projected_as_the_run_decoded(spark: Any, place: Path) -> None:
    large(place / "new", 4, start=100)
    asked = config(place, input=str(place / "new"), output=str(place / "projected"))
    done = quietly(lambda progress: pipeline.project(asked, str(place / "out"), spark, progress)).as_dict()
    assert done["config"]["decode"] == "scaled"
    for row in verger.load_features(str(place / "projected")).to_pylist():
        expected = decode(Path(row["path"]).read_bytes(), SIZE, decoding="scaled").rgb
        assert row["features"] == expected.ravel().tolist()


def test_a_photograph_is_identified_as_the_run_decoded(place: Path) -> None:
    path = str(place / "in" / "label 1" / "0007.jpg")
    data = Path(path).read_bytes()
    for run_id, decoding in zip(json.loads((place / "runs.json").read_text()), ("full", "scaled"), strict=True):
        finished = manifest.read(runs.find(str(place / "out" / "runs" / run_id), Stores()))
        network = resolve_fitted(str(place / "out"), finished, Stores())
        _, decoded = read_photograph((path, None), network, Stores())
        assert isinstance(decoded, Decoded)
        assert (decoded.rgb == decode(data, SIZE, decoding=decoding).rgb).all()


def test_a_run_older_than_the_setting_was_decoded_in_full(place: Path) -> None:
    full, _ = json.loads((place / "runs.json").read_text())
    finished = manifest.read(runs.find(str(place / "out" / "runs" / full), Stores()))
    old = finished.model_copy(update={"config": {k: v for k, v in finished.config.items() if k != "decode"}})
    network = resolve_fitted(str(place / "out"), old, Stores())
    assert network.decode == "full"
    assert network.fingerprint == finished.features.fingerprint


def test_the_exported_model_says_how_to_decode(place: Path) -> None:
    record = quietly(lambda progress: exporter.export(ResultSettings(), str(place / "out"), 10, progress))
    assert record["before"]["decode"] == "scaled"
    assert "libjpeg" in record["before"]["steps"][0] and "shorter edge has 16 pixels" in record["before"]["steps"][0]
    assert record["parity"]["photographs"] > 0
