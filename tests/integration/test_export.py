"""The phone's model of a real run: loaded as a phone loads it, against what the run says."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

import verger
from tests.conftest import ROOT
from tests.integration import runs
from tests.integration.conftest import DrawnRun
from tests.integration.runs import finished, photographs, run
from verger.components.pca import Pca
from verger.config import ResultSettings
from verger.errors import DoesNotFitError, ExitCode, NothingToReadError, VergerError
from verger.insight.export import dense, exporter
from verger.insight.export.dense import Dense
from verger.insight.export.text import figures
from verger.insight.model import Model, load, softmax
from verger.network import lite, mobilenet_v2, vgg16
from verger.network.frozen import Frozen, Preprocessing
from verger.network.inference import build
from verger.network.lite import Lite
from verger.network.recipe import Recipe, fold, output_shape, random_tensors
from verger.photographs.images import decode
from verger.progress import Progress
from verger.storage.local import LocalStorage

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FILES = {"verger.tflite", "verger.int8.tflite", "labels.txt", "export.json"}
SIZE = 96


def exported(output: Path, photographs: int | None = None) -> dict[str, Any]:
    """An export in this process."""
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        record = exporter.export(ResultSettings(), str(output), photographs, progress)
        return record | {"warnings": progress.warnings}


@pytest.fixture(scope="module")
def model(drawn_run: DrawnRun, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, list[dict[str, Any]]]:
    """The folder model/ of a run of the bundled network; what its export said, and the JSON lines of that."""
    output = tmp_path_factory.mktemp("exported") / "out"
    shutil.copytree(drawn_run.output, output)
    path = output / "runs" / drawn_run.manifest["run_id"]
    before = (path / "manifest.json").read_bytes()
    code, stderr, lines = finished(runs.verger("export", "--run", str(output), cwd=output.parent))
    assert code == 0, stderr
    assert (path / "manifest.json").read_bytes() == before
    return path / "model", stderr, lines


def interpreted(path: Path) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]:
    """A model from its file, by TensorFlow alone."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()
    return lambda photograph: runner(photograph=photograph[None])["probabilities"][0]


def outputs(folder: Path, name: str, split: str) -> tuple[Any, Any]:
    """What the run says of photographs by the features in its store, and what a model says of their files."""
    features = verger.load_features(str(folder.parent), "pandas").query("split == @split")
    kept, _ = load(str(folder), LocalStorage())
    expected = kept.probabilities(
        Pca.load(str(folder.parent / "pca"), LocalStorage()).transform(np.stack(features["features"]))
    )
    call = interpreted(folder / name)
    return expected, np.stack([call(decode(Path(path).read_bytes(), SIZE).rgb) for path in features["path"]])


def test_the_files_and_the_lines(model: tuple[Path, str, list[dict[str, Any]]]) -> None:
    folder, stderr, lines = model
    record = json.loads((folder / "export.json").read_text())
    assert {path.name for path in folder.iterdir()} == FILES | {"classifier.npz", "classifier.json", "known.npz"}
    assert [line["stage"] for line in lines if line["event"] == "stage"] == [
        *("read", "convert", "compare", "latency", "write"),
    ]
    people = [line for line in stderr.splitlines() if not line.startswith("{")]
    assert [line.split()[0] for line in people] == ["Model:", "Model", "Latency", "Parity:", "Accuracy"]
    last = lines[-1]
    assert last["event"] == "done" and last["model"] == str(folder / "verger.tflite")
    for kind, name in exporter.FILES.items():
        content = (folder / name).read_bytes()
        assert record["models"][kind]["bytes"] == len(content)
        assert record["models"][kind]["latency_ms"]["median"] > 0
    assert last["bytes_int8"] < last["bytes"] / 3
    assert record["input"]["shape"] == [1, SIZE, SIZE, 3]


def test_the_model_has_the_probabilities_of_the_run(model: tuple[Path, str, list[dict[str, Any]]]) -> None:
    folder, _, lines = model
    expected, got = outputs(folder, "verger.tflite", "Training")
    assert np.abs(got - expected).max() < 1e-3
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-5)
    assert lines[-1]["parity"] < 1e-3


def test_the_int8_model_has_the_stated_accuracy(model: tuple[Path, str, list[dict[str, Any]]]) -> None:
    folder, _, _ = model
    expected, got = outputs(folder, "verger.int8.tflite", "Test")
    stated = json.loads((folder / "export.json").read_text())["int8"]
    assert stated["held_out"]["photographs"] == len(expected)  # all that are held out: they are fewer than 300
    assert np.abs(got - expected).max() == pytest.approx(stated["largest_difference"], abs=1e-3)
    same = (got.argmax(axis=1) == expected.argmax(axis=1)).mean()
    assert same == pytest.approx(stated["same_class"], abs=1e-6)
    # The float model's accuracy is that of the run's own evaluation: the same split, the same fit.
    said = json.loads((folder / "classifier.json").read_text())["scores"][0]
    assert (stated["held_out"]["split"], stated["held_out"]["photographs"]) == ("own", said["n_test"])
    assert stated["held_out"]["accuracy_float32"] == pytest.approx(said["accuracy"], abs=1e-3)


@pytest.mark.parametrize("name", ["verger.tflite", "verger.int8.tflite"])
def test_a_model_contains_its_labels(model: tuple[Path, str, list[dict[str, Any]]], name: str) -> None:
    folder, _, _ = model
    classes = json.loads((folder / "classifier.json").read_text())["classes"]
    with zipfile.ZipFile(folder / name) as archive:
        assert archive.read("labels.txt") == (folder / "labels.txt").read_bytes() == "\n".join([*classes, ""]).encode()
        assert json.loads(archive.read("verger.json"))["classes"] == classes
        assert all(item.compress_type == zipfile.ZIP_STORED for item in archive.infolist())


@pytest.mark.filterwarnings("ignore:.*Interpreter is deprecated")
def test_the_code_of_the_documentation_runs(
    model: tuple[Path, str, list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _, _ = model
    text = (ROOT / "docs" / "export.md").read_text()
    code = textwrap.dedent(text[text.index("    import json, zipfile") :].partition("\n\nInput and output")[0])
    row = verger.load(str(folder.parent), "pandas").iloc[0]
    code = code.replace("out/runs/<run_id>/model", str(folder)).replace("photograph.jpg", row.path)
    assert code.count(str(folder)) == code.count(row.path) == 1
    exec(code, {})
    first, *rest = capsys.readouterr().out.splitlines()
    assert len(rest) == 2
    kept, _ = load(str(folder), LocalStorage())
    expected = kept.probabilities([row.pca_features])[0]
    assert first == f"{expected.max():.1%} {kept.classes[expected.argmax()]}"


def test_exporting_a_model_of_pixels_twice(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "in", 40, labels=2)
    document = run(spark, tmp_path, classifier=True)
    first = exported(tmp_path / "out", 10)
    folder = tmp_path / "out" / "runs" / document["run_id"] / "model"
    content = (folder / "verger.tflite").read_bytes()
    assert (first["parity"]["photographs"], first["parity"]["measured_on"]) == (10, "photographs of the run")
    assert first["tried_on"]["drawn"] == 0 and first["parity"]["largest_difference"] < 1e-3
    for path in (tmp_path / "in").rglob("*.png"):
        path.unlink()
    (folder / "labels.txt").write_text("another")
    second = exported(tmp_path / "out")
    assert second["tried_on"] == {"asked": 40, "photographs": 0, "drawn": 30, "seed": 0}
    assert (second["parity"]["measured_on"], second["parity"]["photographs"]) == ("drawn photographs", 30)
    assert second["parity"]["largest_difference"] < 1e-3
    assert second["int8"]["same_class"] > 0.9
    assert second["int8"]["held_out"]["photographs"] == 0
    assert figures(second)["accuracy"] is None and figures(second)["parity"] < 1e-3
    assert any("40 of the 40 photographs" in warning for warning in second["warnings"])
    assert (folder / "verger.tflite").read_bytes() == content
    assert (folder / "labels.txt").read_text() == "label 0\nlabel 1\n"
    # One that finds no room leaves what is there.
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    write = LocalStorage.write

    def full(storage: LocalStorage, path: str, data: bytes) -> None:
        if len(data) >= len(content):
            raise DoesNotFitError(f"no space left for {path}")
        write(storage, path, data)

    monkeypatch.setattr(LocalStorage, "write", full)
    with pytest.raises(DoesNotFitError):
        exported(tmp_path / "out", 5)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_with_other_probabilities_is_not_written(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photographs(tmp_path / "in", 20, labels=2)
    document = run(spark, tmp_path, classifier=True)

    def wrong(pca: Pca, model: Model) -> Dense:
        return Dense(np.zeros((192, 2)), np.array([0.0, 3.0]))

    monkeypatch.setattr(dense, "of_run", wrong)
    with pytest.raises(
        VergerError, match="gives other probabilities than the run: off by up to .*nothing was"
    ) as error:
        exported(tmp_path / "out", 5)
    assert error.value.exit_code == ExitCode.DEFECT
    left = {path.name for path in (tmp_path / "out" / "runs" / document["run_id"] / "model").iterdir()}
    assert left == {"classifier.npz", "classifier.json"}


@pytest.mark.parametrize(("labels", "settings"), [(1, {}), (2, {"classifier": False})])
@pytest.mark.slow
def test_a_run_without_a_classifier_cannot_be_exported(
    spark: SparkSession, tmp_path: Path, labels: int, settings: dict[str, Any]
) -> None:
    photographs(tmp_path / "in", 8, labels=labels)
    document = run(spark, tmp_path, **{"classifier": True, **settings})
    with pytest.raises(NothingToReadError, match=f"run {document['run_id']} has no classifier") as error:
        exported(tmp_path / "out")
    assert ("there is one class only" in error.value.line) == (labels == 1)


@pytest.mark.parametrize(
    ("recipe", "preprocessing", "pooling", "precision"),
    [
        (mobilenet_v2.recipe(0.35), Preprocessing("rgb", 127.5, (1.0, 1.0, 1.0)), "none", "float32"),
        pytest.param(
            *(vgg16.recipe(), Preprocessing("bgr", 1.0, (103.939, 116.779, 123.68)), "none", "bfloat16"),
            marks=pytest.mark.slow,
        ),
        ((), Preprocessing(), "none", "float32"),
    ],
    ids=["mobilenet_v2", "vgg16 of bfloat16", "pixels"],
)
def test_every_network_gives_the_same_after_its_conversion(
    recipe: Recipe, preprocessing: Preprocessing, pooling: str, precision: str
) -> None:
    random, size, classes = np.random.default_rng(0), 40, 3
    height, width, channels = output_shape(recipe, size)
    dimension = channels if pooling == "avg" else height * width * channels
    folded = fold(recipe, random_tensors(recipe, 0))
    frozen = Frozen(recipe, folded, preprocessing, size, pooling, precision)
    pixels = random.integers(0, 256, (4, size, size, 3), np.uint8)
    features = build(Frozen(recipe, folded, preprocessing, size, pooling, "float32"))(pixels)
    weights = random.normal(size=(dimension, classes)) / (np.abs(features).mean() * np.sqrt(dimension))
    bias = random.normal(size=classes)
    got = Lite(lite.convert(frozen, weights, bias))
    expected = softmax(features.astype(np.float64) @ weights + bias)
    assert np.ptp(expected, axis=0).max() > 0.01  # the photographs are told apart
    np.testing.assert_allclose(np.stack([got(photograph) for photograph in pixels]), expected, atol=1e-4)
