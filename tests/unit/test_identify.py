"""insight/identify, insight/answer: what is told of a photograph, and what of a run can be read for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.insight import clouds, config, sample
from verger.components.pca import Pca
from verger.errors import NothingToReadError, Reason, Rejection, StoreError
from verger.insight.classification.classifier import classify
from verger.insight.identify import loaded_run, text
from verger.insight.identify import photographs as photographs_asked
from verger.insight.identify.identification import Identification, look_at
from verger.insight.identify.loaded_run import LoadedRun
from verger.photographs import inventory
from verger.storage.base import Entry
from verger.tables.manifest import Run
from verger.tables.schemas import PROJECTION

UNKNOWN = {
    "threshold": 0.4, "false_alarms": 0.05, "split": "grouped", "split_says": "groups kept together",
    "n_references": 90, "n_held_out": 90, "auroc": 0.7, "auroc_interval": [0.6, 0.8], "caught_at_5_percent": 0.25,
    "caught_interval": [0.1, 0.4], "weak": True, "n_known": 90, "n_unknown": 90, "n_classes": 9, "says": "measured",
}  # fmt: skip


def finding(**more: Any) -> Identification:
    given = {
        "classes": [("Apple", 0.75), ("Pear", 0.25)],
        "nearest": [("/in/a/1.jpg", "a", 0.5), ("/in/2.jpg", None, 0.75)],
        "distance": 0.5,
        "unknown": UNKNOWN,
    }
    return Identification("/here/asked.jpg", "run-1", **{**given, **more})


def spoken(found: Identification) -> str:
    return "\n".join(line.plain for line in text.lines(found, None))


class TestFinding:
    def test_json_has_the_same_keys_whatever_was_found(self) -> None:
        found = [
            finding(),
            finding(classes=None, distance=None, unknown={}, notes=["There are no classes."]),
            Identification("/gone.jpg", "run-1", error=NothingToReadError("/gone.jpg does not exist")),
        ]
        told = [json.loads(json.dumps(one.as_dict())) for one in found]
        assert len({tuple(one) for one in told}) == 1
        assert told[0]["classes"][0] == {"class": "Apple", "probability": 0.75}
        assert told[0]["nearest"][1] == {"path": "/in/2.jpg", "label": None, "distance": 0.75}
        assert told[0]["none_of_these"] | {"verdict": True, "distance": 0.5, "weak": True} == told[0]["none_of_these"]
        assert told[1]["none_of_these"] is None and told[1]["classes"] is None

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (Rejection(Reason.TRUNCATED, "JPEG: it ends"), "truncated"),
            (NothingToReadError("/gone.jpg does not exist"), "missing"),
            (StoreError("s3://a/b: access denied"), "unreadable"),
        ],
    )
    def test_a_bad_photograph_is_one_line_and_has_a_reason(self, error: Any, reason: str) -> None:
        found = Identification("/bad.jpg", "run-1", error=error)
        assert found.as_dict()["error"]["reason"] == reason
        name, line, blank = text.lines(found, None)
        assert (name.plain, blank.plain) == ("/bad.jpg", "")
        assert line.plain.startswith("  cannot be identified: ") and "\n" not in line.plain

    def test_the_threshold_itself_is_within(self) -> None:
        assert not finding(distance=0.4).is_none
        assert finding(distance=0.4001).is_none


class TestAnswer:
    def test_beyond_the_threshold(self) -> None:
        said = spoken(finding())
        assert "none of these: 0.500 from what is known, beyond the threshold of 0.400 (weak evidence)" in said
        assert "75.0%  Apple" in said and "0.750  (no label)  /in/2.jpg" in said

    def test_within_it_nothing_is_promised(self) -> None:
        strong = UNKNOWN | {"weak": False}
        said = spoken(finding(distance=0.1, unknown=strong))
        assert "  0.100 from what is known, within the threshold of 0.400\n" in said
        random = spoken(finding(distance=0.1, unknown=strong | {"split": "random"}))
        assert "threshold of 0.400 (optimistic evidence)\n" in random
        assert "none of these" not in said

    def test_evidence_that_nobody_measured_is_none(self) -> None:
        unmeasured = UNKNOWN | {"weak": None, "auroc": None, "says": "not measured: of 2 classes none can be left out"}
        assert "(evidence not measured)" in spoken(finding(unknown=unmeasured))

    def test_brackets_are_no_markup(self) -> None:
        said = spoken(finding(classes=[("[red]Apple[/red]", 1.0)]))
        assert "[red]Apple[/red]" in said

    def test_no_name_steers_the_terminal(self) -> None:
        steering = "\x1b[31m \x9b2J \r \n \u202e \u2028 \u2067"
        found = finding(classes=[(f"a{steering}", 1.0)], nearest=[(f"/in/p{steering}.jpg", f"l{steering}", 0.5)])
        bad = Identification(f"/x{steering}.jpg", "run-1", error=Rejection(Reason.TRUNCATED, f"in {steering}"))
        for line in [*text.lines(found, None), *text.lines(bad, None)]:
            assert not set("\x1b\x9b\r\n\u202e\u2028\u2067") & set(line.plain)


class TestExpanded:
    def test_a_folder_is_its_photographs_and_what_is_wrong_with_one_stops_nobody(self, tmp_path: Path) -> None:
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "none").mkdir()
        for name in ("in/b.jpg", "in/deep/a.png", "in/notes.txt"):
            (tmp_path / name).write_bytes(b"x")
        asked = [str(tmp_path / name) for name in ("none", "in", "odd-name")]
        found = list(photographs_asked.expanded(asked))
        assert [Path(path).name for path, _ in found] == ["none", "b.jpg", "a.png", "odd-name"]
        assert isinstance(found[0][1], NothingToReadError)
        assert [error for _, error in found[1:]] == [None] * 3

    def test_in_a_bucket_an_object_needs_no_suffix(self, monkeypatch: pytest.MonkeyPatch) -> None:
        objects = ["s3://lake/asked", "s3://lake/in/a.jpg", "s3://lake/in/b", "s3://lake/upload.1"]

        class Bucket:
            def list(self, folder: str) -> Iterator[Entry]:
                below = [Entry(path, 1, "1-1") for path in objects if path.startswith(f"{folder}/")]
                if not below:
                    raise NothingToReadError(f"{folder} does not exist or is empty")
                yield from below

            def exists(self, path: str) -> bool:
                return any(name == path or name.startswith(f"{path}/") for name in objects)

        for module in (photographs_asked, inventory):
            monkeypatch.setattr(module, "storage_of", lambda _: Bucket())
        asked = [f"s3://lake/{name}" for name in ("asked", "in", "in/b", "none", "gone.jpg", "upload.1")] + [
            "s3://lake"
        ]
        found = list(photographs_asked.expanded(asked))
        assert [path for path, _ in found] == [
            "s3://lake/asked", "s3://lake/in/a.jpg", "s3://lake/in/b", "s3://lake/none", "s3://lake/gone.jpg",
            "s3://lake/upload.1", "s3://lake/in/a.jpg",
        ]  # fmt: skip
        assert [error is None for _, error in found] == [True, True, True, False, True, True, True]


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Run, dict[str, Any], Any]:
    """What a run of 90 points leaves for it: table, PCA, classifier; the manifest, and the points."""
    features, labels = clouds({"a": 30, "b": 30, "c": 30}, apart=8)
    taken = sample(features, labels)
    run = Run(str(tmp_path), "20260301T120000Z-verger-0a1b2c")
    classify(taken, config()).save(run.path("model"))
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
        run.path("pca")
    )
    manifest = {
        "projection": {"rows": 90, "columns": 4},
        "config": {"seed": 0, "classifier": True},
        "input": {"uri": "/in"},
    }
    return run, manifest, taken.components


def remembered(run: Run, manifest: dict[str, Any]) -> LoadedRun:
    infer: Any = None
    network: Any = None
    return LoadedRun(run.run_id, network, infer, **loaded_run._read(config(), run, manifest))


class TestMemory:
    def test_what_a_run_has_left_names_its_own_photographs(self, finished: Any, monkeypatch: Any) -> None:
        run, manifest, components = finished
        memory = remembered(run, manifest)
        monkeypatch.setattr(LoadedRun, "components", lambda _, asked: np.array(asked))
        found = [Identification("", "", *fields) for fields in look_at(memory, list(components), 2)]
        names = memory.names.to_pylist()
        assert [one.nearest[0][0] for one in found] == [name["path"] for name in names]
        right = [one.classes[0][0] == name["label"] for one, name in zip(found, names, strict=True) if one.classes]
        assert np.mean(right) > 0.95
        assert all(one.classes and len(one.classes) == len(one.nearest) == 2 for one in found)
        assert max(one.distance or 0 for one in found) < 1e-5
        (one,) = (Identification("", "", *fields) for fields in look_at(memory, [components[0]], 500))
        assert one.classes and (len(one.classes), len(one.nearest)) == (3, 90)
        assert "all 90 photographs" in "\n".join(line.plain for line in text.closing(memory))

    def test_one_component_tells_of_nothing_that_is_near(self, finished: Any, monkeypatch: Any) -> None:
        run, manifest, components = finished
        names, _ = loaded_run._projected(config(), run, manifest)
        monkeypatch.setattr(loaded_run, "_learnt", lambda *_: (None, None, {}, []))
        monkeypatch.setattr(loaded_run, "_projected", lambda *_: (names, components[:, :1]))
        monkeypatch.setattr(LoadedRun, "components", lambda _, asked: np.array(asked))
        (one,) = (
            Identification("", "", *fields) for fields in look_at(remembered(run, manifest), [components[0, :1]], 2)
        )
        assert one.nearest == [] and "one component has no directions" in one.notes[0]

    def test_of_very_many_photographs_a_sample_is_read_and_stated(self, finished: Any, monkeypatch: Any) -> None:
        run, manifest, components = finished
        monkeypatch.setattr(loaded_run, "ROWS", 20)
        memory = remembered(run, manifest)
        assert memory.directions.shape == (20, 4)
        paths = memory.names["path"].to_pylist()
        assert len(set(paths)) == 20 and len(set(memory.names["label"].to_pylist())) == 3
        rows = [int(path[-9:-4]) for path in paths]
        np.testing.assert_allclose(memory.directions, memory.space.directions(components[rows]), atol=1e-6)
        assert "20 of 90 photographs" in "\n".join(line.plain for line in text.closing(memory))

    @pytest.mark.parametrize(
        ("manifest", "said"),
        [
            ({"config": {"classifier": False}}, "told to fit no classifier (--no-classifier)"),
            ({"config": {"classifier": True}}, "the run's warnings say why"),
            ({"config": {}}, "older verger"),
            ({"config": {"classifier": True}, "classifier": {"absent": "there is one class only"}}, "one class only"),
        ],
    )
    def test_why_there_are_no_classes(self, tmp_path: Path, manifest: dict[str, Any], said: str) -> None:
        model, known, unknown, (note,) = loaded_run._learnt(Run(str(tmp_path), "run"), manifest)
        assert (model, known, unknown) == (None, None, {})
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
        model, known, unknown, (note,) = loaded_run._learnt(run, manifest)
        assert model is not None and known is None and unknown == {}
        assert said in note


class TestWhatIsDamaged:
    @pytest.mark.parametrize("left", [0, 60, 0.5])
    @pytest.mark.parametrize(
        "file",
        ["model/known.npz", "model/classifier.npz", "model/classifier.json", "pca/pca.npz", "pca/pca.json",
         "projection/part-1.parquet"],
    )  # fmt: skip
    def test_a_file_that_is_cut_is_said_to_be(self, finished: Any, file: str, left: float) -> None:
        run, manifest, _ = finished
        path = Path(run.path(file))
        content = path.read_bytes()
        path.write_bytes(content[: int(left if left > 1 else left * len(content))])
        told = path.parent if path.suffix == ".parquet" else path
        with pytest.raises(StoreError) as error:
            remembered(run, manifest)
        assert error.value.line == f"{told} is damaged. Run again."

    @pytest.mark.parametrize("file", ["model/classifier.json", "pca/pca.json"])
    @pytest.mark.parametrize("content", ["{}", "[]"])
    def test_one_that_says_nothing_too(self, finished: Any, file: str, content: str) -> None:
        run, manifest, _ = finished
        Path(run.path(file)).write_text(content)
        with pytest.raises(StoreError, match=f"{file} is damaged"):
            remembered(run, manifest)

    def test_a_table_without_its_pages_is_damaged(self, finished: Any) -> None:
        run, manifest, _ = finished
        path = Path(run.path("projection/part-0.parquet"))
        content = path.read_bytes()
        path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])
        with pytest.raises(StoreError, match="projection is damaged"):
            remembered(run, manifest)

    def test_a_table_that_is_gone_is_not_passed_over(self, finished: Any) -> None:
        run, manifest, _ = finished
        Path(run.path("projection/part-1.parquet")).unlink()
        with pytest.raises(StoreError, match="projection has 50 rows instead of 90. Run again."):
            remembered(run, manifest)
        Path(run.path("projection/part-0.parquet")).unlink()
        with pytest.raises(NothingToReadError, match="projection, is gone"):
            remembered(run, manifest)


def test_a_photograph_is_decoded_as_the_run_does(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20), "red").save(tmp_path / "wide.png")

    class Padded:
        input_size, resample, fit = 32, "bilinear", "pad"

    network: Any = Padded
    _, decoded = photographs_asked.opened((str(tmp_path / "wide.png"), None), network)
    assert not isinstance(decoded, Exception)
    assert decoded.rgb[0, 0].tolist() == [255, 255, 255] and decoded.rgb[16, 16].tolist() == [255, 0, 0]
