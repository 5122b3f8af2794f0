"""pipeline.run and pipeline.project in the space of an earlier run: its PCA, its weights, its layout of files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import verger
from tests.integration.runs import config, matrix, photographs, run
from verger import pipeline
from verger.errors import UsageError, WeightsError
from verger.progress import Progress


@pytest.fixture
def place(tmp_path: Path) -> Path:
    photographs(tmp_path / "in", 40)
    return tmp_path


@pytest.mark.required_in_ci
def test_reusing_the_latest_pca(spark, place: Path) -> None:
    with pytest.raises(UsageError, match="no finished run"):
        run(spark, place, pca="reuse")
    fitted = run(spark, place, components=4)
    photographs(place / "in", 8, start=200)
    reused = run(spark, place, pca="reuse", components=9)
    assert any("components" in warning for warning in reused["warnings"])
    assert reused["pca"]["fitted_by"] == fitted["run_id"]
    assert reused["pca"]["n_components"] == 4
    assert 0 < reused["pca"]["kept"]["share"] <= 1
    old, new = (
        {
            row["path"]: row["pca_features"]
            for row in verger.load(str(place / "out" / "runs" / done["run_id"])).to_pylist()
        }
        for done in (fitted, reused)
    )
    assert old == {path: new[path] for path in old}
    with pytest.raises(UsageError, match="was fitted on"):
        run(spark, place, pca="reuse", input_size=16)


def project(spark, folder: Path, run_uri: Path, **settings):
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        return pipeline.project(config(folder, **settings), str(run_uri), spark, progress).as_dict()


def test_projecting_new_photographs_is_what_transform_does(spark, place: Path) -> None:
    from verger.components.pca import Pca

    fitted = run(spark, place, components=6)
    photographs(place / "new", 30, start=500)
    done = project(spark, place, place / "out", input=str(place / "new"), name="new")
    assert done["pca"]["fitted_by"] == fitted["run_id"]
    assert done["pca"]["fitted_in"] == str(place / "out" / "runs" / fitted["run_id"])
    elsewhere = project(spark, place, place / "out", input=str(place / "new"), output=str(place / "other"))
    assert elsewhere["pca"]["fitted_in"] == done["pca"]["fitted_in"]
    reused = run(spark, place, input=str(place / "new"), output=str(place / "other"), pca="reuse")
    assert reused["pca"]["fitted_in"] == done["pca"]["fitted_in"]
    assert done["photographs"]["projected"] == 30
    assert 0 < done["pca"]["kept"]["share"] <= 1
    pca = Pca.load(str(place / "out" / "runs" / fitted["run_id"] / "pca"))
    features = matrix(verger.load_features(str(place / "out")), "features")
    np.testing.assert_allclose(matrix(verger.load(str(place / "out"))), pca.transform(features), atol=1e-4)


def test_photographs_of_another_kind_are_said_to_drift(spark, tmp_path: Path) -> None:
    from PIL import Image

    flat = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    for number, colour in enumerate(flat):  # plain colours: three components keep all of it
        path = tmp_path / "in" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (24, 24), tuple(int(part) for part in colour)).save(path)
    run(spark, tmp_path, components=3)
    photographs(tmp_path / "new", 30)
    done = project(spark, tmp_path, tmp_path / "out", input=str(tmp_path / "new"))
    assert done["pca"]["kept"]["share"] < 0.9
    assert any("variance" in warning for warning in done["warnings"])


def test_projecting_with_other_weights_is_refused(spark, place: Path) -> None:
    run(spark, place, backbone="mobilenet_v2", weights="random", alpha=0.35, input_size=32)
    (weights,) = (place / "out" / "fingerprints").glob("*/weights.npz")
    other = run(spark, place, output=str(place / "b"), backbone="mobilenet_v2", weights="random", alpha=0.35,
                input_size=32, seed=5)  # fmt: skip
    shutil.copy(place / "b" / "fingerprints" / other["features"]["fingerprint"] / "weights.npz", weights)
    photographs(place / "new", 3, start=700)
    with pytest.raises(WeightsError, match="other features"):
        project(spark, place, place / "out", input=str(place / "new"))


def test_an_output_in_the_older_layout_is_read_and_continued(spark, place: Path) -> None:
    (place / "in" / "empty.jpg").touch()
    settings = {"backbone": "mobilenet_v2", "weights": "random", "alpha": 0.35, "input_size": 32}
    first = run(spark, place, **settings)
    before = verger.load_features(str(place / "out"))
    fingerprint = first["features"]["fingerprint"]
    features = place / "out" / "features" / fingerprint
    for folder in (features, place / "out" / "rejects" / fingerprint):
        (wave,) = folder.iterdir()
        (wave / "_SUCCESS").touch()
        wave.rename(folder / wave.name.removeprefix("wave="))
    for path in (place / "out" / "fingerprints" / fingerprint).iterdir():
        path.rename(features / path.name)
    shutil.rmtree(place / "out" / "fingerprints")
    assert verger.load_features(str(place / "out")).equals(before)
    photographs(place / "in", 4, start=900)
    again = run(spark, place, **settings)
    assert (again["photographs"]["known"], again["photographs"]["computed"]) == (before.num_rows, 4)
    assert again["rejected_by_reason"] == {"empty": 1}
    assert not (place / "out" / "fingerprints").exists()
    photographs(place / "new", 3, start=700)
    assert project(spark, place, place / "out", input=str(place / "new"))["photographs"]["projected"] == 3
