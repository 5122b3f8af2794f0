"""`verger identify` on real runs: the same features, the right class, and bad photographs that stop nobody."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import verger as package
from tests.cpu import assert_within_tolerance
from tests.integration.conftest import DrawnRun
from tests.integration.runs import photographs, run, verger
from verger.config import ResultSettings
from verger.insight.identify.identification import Identification, identify
from verger.insight.identify.loaded_run import LoadedRun
from verger.progress import Progress

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# What has no place in it: Spark, and what takes seconds to load beside TensorFlow.
ABSENT = "import sys\nfor name in ('pyspark', 'sklearn', 'resvg_py', 'keras.src'): sys.modules[name] = None"
KEYS = {"photograph", "run_id", "classes", "nearest", "none_of_these", "notes", "error"}


@pytest.fixture(scope="module")
def known(drawn_run: DrawnRun) -> list[dict[str, Any]]:
    """Some photographs of that run, as its table has them."""
    rows: list[dict[str, Any]] = package.load(str(drawn_run.output)).to_pylist()
    return rows[::15]


def looked(run_uri: Path, *paths: str, top: int = 3) -> list[tuple[Identification, LoadedRun | None]]:
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        return list(identify(ResultSettings(), str(run_uri), paths, top, progress))


def noise(path: Path) -> str:
    from PIL import Image

    Image.fromarray(np.random.default_rng(1).integers(0, 256, (100, 100, 3), np.uint8)).save(path)
    return str(path)


def test_photographs_of_the_run_are_identified_with_their_nearest(
    drawn_run: DrawnRun, known: list[dict[str, Any]]
) -> None:
    found = [found for found, _ in looked(drawn_run.output, *(row["path"] for row in known))]
    assert [one.photograph for one in found] == [row["path"] for row in known]
    for one, row in zip(found, known, strict=True):
        assert one.nearest[0][:2] == (row["path"], row["label"])
        assert one.nearest[0][2] == pytest.approx(0, abs=1e-5)
        assert one.distance == pytest.approx(0, abs=1e-5) and not one.is_none
        assert [far for *_, far in one.nearest] == sorted(far for *_, far in one.nearest)
    named = [one.classes[0][0] == row["label"].split()[0] for one, row in zip(found, known, strict=True) if one.classes]
    assert sum(named) >= 0.9 * len(known)


def test_features_and_components_are_those_of_the_run(drawn_run: DrawnRun, known: list[dict[str, Any]]) -> None:
    from verger.photographs import images

    (_, memory), *_ = looked(drawn_run.output, known[0]["path"])
    assert memory is not None
    stored = {row["path"]: row["features"] for row in package.load_features(str(drawn_run.output)).to_pylist()}
    decoded = np.stack([images.decode(Path(row["path"]).read_bytes(), 96).rgb for row in known])
    for size in (1, len(known)):  # whatever stands beside a photograph
        assert_within_tolerance(memory.infer(decoded[:size]), [stored[row["path"]] for row in known[:size]])
    components = np.stack([row["pca_features"] for row in known])
    np.testing.assert_allclose(memory.components(decoded), components, atol=1e-5 * np.ptp(components))


def test_a_picture_of_another_kind_is_none_of_these(drawn_run: DrawnRun, tmp_path: Path) -> None:
    ((found, _),) = looked(drawn_run.output, noise(tmp_path / "noise.png"))
    assert found.is_none
    assert found.distance is not None and found.none_of_these is not None
    assert found.distance > 1.5 * found.none_of_these.threshold


def test_unreadable_photographs_are_reported_and_the_others_identified(
    drawn_run: DrawnRun, known: list[dict[str, Any]], tmp_path: Path
) -> None:
    good = Path(known[0]["path"])
    (tmp_path / "cut.jpg").write_bytes(good.read_bytes()[:900])
    (tmp_path / "text.jpg").write_bytes(b"no image")
    (tmp_path / "more").mkdir()
    shutil.copy(good, tmp_path / "more" / "copy.jpg")
    (tmp_path / "empty").mkdir()
    asked = ["cut.jpg", "text.jpg", "gone.jpg", str(good), "more", "empty"]
    process = verger("identify", "--run", str(drawn_run.output), "--json", *asked, inject=ABSENT, cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    told = [json.loads(line) for line in stdout.splitlines()]
    assert all(one.keys() == KEYS and one["run_id"] == drawn_run.manifest["run_id"] for one in told)
    reasons = [one["error"] and one["error"]["reason"] for one in told]
    assert reasons == ["truncated", "not_an_image", "missing", None, None, "missing"]
    assert told[4]["photograph"] == str(tmp_path / "more" / "copy.jpg")
    assert told[3]["classes"] == told[4]["classes"] and told[0]["classes"] is None
    assert told[3]["nearest"][0]["path"] == str(good)
    assert set(told[3]["none_of_these"]) >= {"verdict", "distance", "threshold", "auroc", "auroc_interval", "weak"}
    last = json.loads(stderr.splitlines()[-1])
    assert last == {"event": "done", "identified": 2, "none_of_these": 0, "unreadable": 4}
    assert "0000" not in stderr  # of TensorFlow's own log


def test_lines_for_a_person(drawn_run: DrawnRun, tmp_path: Path) -> None:
    process = verger("identify", "--run", str(drawn_run.output), noise(tmp_path / "noise.png"), cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert "none of these: " in stdout and "beyond the threshold" in stdout
    assert "photographs of run" in stdout and "held-out photographs were classified correctly" in stdout
    assert "Training/" in stdout and str(drawn_run.folder / "in") not in stdout


@pytest.mark.parametrize("which", ["photographs", "run"])
def test_nothing_to_read_is_exit_code_3(drawn_run: DrawnRun, tmp_path: Path, which: str) -> None:
    where = drawn_run.output if which == "photographs" else tmp_path
    process = verger("identify", "--run", str(where), "gone.jpg", inject=ABSENT, cwd=tmp_path)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 3
    if which == "photographs":
        assert "gone.jpg does not exist" in stdout
        assert "verger: no photograph could be read." in stderr
    else:
        assert "is neither a run nor an output with a finished run" in stderr
    assert "Traceback" not in stderr


def test_a_run_without_a_classifier_gives_nearest_photographs(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = photographs(tmp_path / "in", 12)
    run(spark, tmp_path)
    ((found, _),) = looked(tmp_path / "out", str(made[3]), top=20)
    assert (found.classes, found.distance) == (None, None)
    assert found.nearest[0][:2] == (str(made[3]), "label 3") and len(found.nearest) == 12
    assert found.notes == ["There are no classes to name: the run was told to fit no classifier (--no-classifier)."]
    assert found.as_dict()["none_of_these"] is None and found.as_dict().keys() == KEYS


def test_a_run_of_an_older_verger_has_no_threshold(
    drawn_run: DrawnRun, known: list[dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(drawn_run.output, tmp_path / "out")
    model = tmp_path / "out" / "runs" / drawn_run.manifest["run_id"] / "model"
    document = json.loads((model / "classifier.json").read_text())
    del document["none_of_these"]
    (model / "classifier.json").write_text(json.dumps(document))
    (model / "known.npz").unlink()
    ((found, _),) = looked(tmp_path / "out", known[0]["path"])
    assert found.classes and found.nearest and found.distance is None
    assert found.notes == ["No threshold tells whether it is none of these: the run was made by an older verger."]
