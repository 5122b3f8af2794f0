"""A finished run as identify uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.insight import clouds, config, sample
from tests.manifests import recorded
from verger.components.pca import Pca
from verger.errors import NothingToReadError, StoreError
from verger.insight.classification.classifier import classify
from verger.insight.identify import loaded_run, text
from verger.insight.identify.identification import Identification, identify_batch
from verger.insight.identify.loaded_run import LoadedRun
from verger.storage.local import LocalStorage
from verger.tables.manifest import Manifest
from verger.tables.runs import Run
from verger.tables.schemas import PROJECTION


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Run, Manifest, Any]:
    """What a run of 90 points leaves for it: table, PCA, classifier; the manifest, and the points."""
    features, labels = clouds({"a": 30, "b": 30, "c": 30}, apart=8)
    taken = sample(features, labels)
    run = Run(str(tmp_path), "20260301T120000Z-verger-0a1b2c", LocalStorage())
    classify(taken, config()).save(run.path("model"), run.storage)
    folder = Path(run.path("projection"))
    folder.mkdir(parents=True)
    rows = taken.photographs.select(["path", "label", "split"])
    rows = rows.append_column("pca_features", pa.array(list(taken.components), pa.list_(pa.float32())))
    rows = rows.append_column("version", taken.photographs["version"]).cast(PROJECTION)
    for number, part in enumerate((rows[:50], rows[50:])):
        pq.write_table(part, folder / f"part-{number}.parquet")
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 4)))[0].T
    variance = np.ones(4)
    Pca(axes, np.zeros(12), None, variance, variance / 4, variance, 4.0, 90, {"components": 4}, 4, "gram").save(
        run.path("pca"), run.storage
    )
    manifest = without_classifier(
        projection={"path": "projection", "rows": 90, "columns": 4},
        config={"seed": 0, "classifier": True},
        input={"uri": "/in", "region": None},
    )
    return run, manifest, taken.components


def without_classifier(**changes: Any) -> Manifest:
    """A manifest with some other parts, and without a classifier unless it is one of them."""
    document = recorded("manifest-0.1.0")
    del document["classifier"]
    return Manifest.model_validate(document | changes)


def load(run: Run, manifest: Manifest) -> LoadedRun:
    infer: Any = None
    network: Any = None
    return LoadedRun(run.run_id, network, infer, **loaded_run._read(config(), run, manifest))


class TestLoadedRun:
    def test_a_run_identifies_its_own_photographs(self, finished: Any, monkeypatch: Any) -> None:
        run, manifest, components = finished
        loaded = load(run, manifest)
        monkeypatch.setattr(LoadedRun, "components", lambda _, asked: np.array(asked))
        found = [Identification("", "", **fields) for fields in identify_batch(loaded, list(components), 2)]
        names = loaded.photographs.to_pylist()
        assert [one.nearest[0][0] for one in found] == [name["path"] for name in names]
        right = [one.classes[0][0] == name["label"] for one, name in zip(found, names, strict=True) if one.classes]
        assert np.mean(right) > 0.95
        assert all(one.classes and len(one.classes) == len(one.nearest) == 2 for one in found)
        assert max(one.distance or 0 for one in found) < 1e-5
        (one,) = (Identification("", "", **fields) for fields in identify_batch(loaded, [components[0]], 500))
        assert one.classes and (len(one.classes), len(one.nearest)) == (3, 90)
        assert "all 90 photographs" in "\n".join(line.plain for line in text.closing(loaded))

    def test_one_component_gives_no_nearest_photographs(self, finished: Any, monkeypatch: Any) -> None:
        run, manifest, components = finished
        names, _ = loaded_run._read_projection(config(), run, manifest)
        monkeypatch.setattr(loaded_run, "_read_classifier", lambda *_: loaded_run._Classifier(None, None, None, []))
        monkeypatch.setattr(loaded_run, "_read_projection", lambda *_: (names, components[:, :1]))
        monkeypatch.setattr(LoadedRun, "components", lambda _, asked: np.array(asked))
        (one,) = (
            Identification("", "", **fields) for fields in identify_batch(load(run, manifest), [components[0, :1]], 2)
        )
        assert one.nearest == [] and "one component has no directions" in one.notes[0]

    def test_of_very_many_photographs_a_sample_is_read(self, finished: Any, monkeypatch: Any) -> None:
        run, manifest, components = finished
        monkeypatch.setattr(loaded_run, "MAX_PHOTOGRAPHS", 20)
        loaded = load(run, manifest)
        assert loaded.directions.shape == (20, 4)
        paths = loaded.photographs["path"].to_pylist()
        assert len(set(paths)) == 20 and len(set(loaded.photographs["label"].to_pylist())) == 3
        rows = [int(path[-9:-4]) for path in paths]
        np.testing.assert_allclose(loaded.directions, loaded.space.directions(components[rows]), atol=1e-6)
        assert "20 of 90 photographs" in "\n".join(line.plain for line in text.closing(loaded))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"config": {"classifier": False}}, "told to fit no classifier (--no-classifier)"),
            ({"config": {"classifier": True}}, "the run's warnings say why"),
            ({"config": {}}, "older verger"),
            ({"config": {"classifier": True}, "classifier": {"absent": "there is one class only"}}, "one class only"),
        ],
    )
    def test_why_there_are_no_classes(self, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
        model, known, unknown, (note,) = loaded_run._read_classifier(
            Run(str(tmp_path), "run", LocalStorage()), without_classifier(**changes)
        )
        assert (model, known, unknown) == (None, None, None)
        assert note.startswith("There are no classes to name: ") and said in note

    @pytest.mark.parametrize(
        ("figures", "said"), [(None, "older verger"), ({"absent": "9 are too few"}, "9 are too few"), ({}, "is gone")]
    )
    def test_why_there_is_no_threshold(self, finished: Any, figures: dict[str, Any] | None, said: str) -> None:
        run, manifest, _ = finished
        document = Path(run.path("model", "classifier.json"))
        content = json.loads(document.read_text())
        unknown = content.pop("none_of_these")
        if figures is not None:
            content["none_of_these"] = figures or unknown
        document.write_text(json.dumps(content))
        Path(run.path("model", "known.npz")).unlink()
        model, known, unknown, (note,) = loaded_run._read_classifier(run, manifest)
        assert model is not None and known is None and unknown is None
        assert said in note


class TestDamagedRun:
    @pytest.mark.parametrize("left", [0, 60, 0.5])
    @pytest.mark.parametrize(
        "file",
        ["model/known.npz", "model/classifier.npz", "model/classifier.json", "pca/pca.npz", "pca/pca.json",
         "projection/part-1.parquet"],
    )  # fmt: skip
    def test_a_truncated_file_raises(self, finished: Any, file: str, left: float) -> None:
        run, manifest, _ = finished
        path = Path(run.path(file))
        content = path.read_bytes()
        path.write_bytes(content[: int(left if left > 1 else left * len(content))])
        told = path.parent if path.suffix == ".parquet" else path
        with pytest.raises(StoreError) as error:
            load(run, manifest)
        assert error.value.line == f"{told} is damaged. Run again."

    @pytest.mark.parametrize("file", ["model/classifier.json", "pca/pca.json"])
    @pytest.mark.parametrize("content", ["{}", "[]"])
    def test_a_file_without_content_raises(self, finished: Any, file: str, content: str) -> None:
        run, manifest, _ = finished
        Path(run.path(file)).write_text(content)
        with pytest.raises(StoreError, match=f"{file} is damaged"):
            load(run, manifest)

    def test_a_table_with_overwritten_pages_raises(self, finished: Any) -> None:
        run, manifest, _ = finished
        path = Path(run.path("projection/part-0.parquet"))
        content = path.read_bytes()
        path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
        with pytest.raises(StoreError, match="projection is damaged"):
            load(run, manifest)

    def test_a_table_with_missing_files_raises(self, finished: Any) -> None:
        run, manifest, _ = finished
        Path(run.path("projection/part-1.parquet")).unlink()
        with pytest.raises(StoreError, match="projection has 50 rows instead of 90. Run again."):
            load(run, manifest)
        Path(run.path("projection/part-0.parquet")).unlink()
        with pytest.raises(NothingToReadError, match="projection, is gone"):
            load(run, manifest)
