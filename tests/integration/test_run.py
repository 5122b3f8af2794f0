"""pipeline.run: the whole story on folders, with pixels for a network."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import verger
from tests.bad_files import make as make_bad_files
from tests.integration.runs import matrix, photograph, photographs, run
from verger import pipeline
from verger.config import PruneSettings
from verger.errors import (
    NothingToReadError,
    ResidencyError,
    StoreError,
    TooManyRejectedError,
    UsageError,
    VergerError,
)
from verger.pipeline import spark_session
from verger.progress import Progress
from verger.redaction import redact
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables import manifest, runs


@pytest.fixture
def place(tmp_path: Path) -> Path:
    photographs(tmp_path / "in", 40)
    return tmp_path


def test_a_run_publishes_a_table_that_can_be_trusted(spark, place: Path) -> None:
    (place / "in" / "notes.txt").write_text("no photograph")
    done = run(spark, place, variance=0.8)
    assert done["photographs"] == {
        "listed": 40, "ignored": {".txt": 1}, "known": 0, "computed": 40, "rejected": 0, "gone": 0, "projected": 40
    }  # fmt: skip
    assert done["labels"] == {f"label {number}": 10 for number in range(4)}
    shares = np.cumsum(done["pca"]["explained_variance_ratio"])
    assert shares[-1] >= 0.8 > shares[-2]
    assert done["pca"]["requested"] == {"variance": 0.8}
    assert done["pca"]["fitted_by"] == done["run_id"]

    table = verger.load(str(place / "out"))
    assert table.column_names == ["path", "label", "split", "pca_features", "version"]
    assert table["path"].to_pylist() == sorted(str(path) for path in (place / "in").rglob("*.png"))
    assert matrix(table).shape == (40, done["pca"]["n_components"])
    assert json.loads((place / "out" / "latest.json").read_text())["run_id"] == done["run_id"]
    assert json.loads((place / "out" / "names" / "verger.json").read_text())["run_id"] == done["run_id"]
    assert manifest.read(runs.find(str(place / "out"), Stores())).as_dict() == json.loads(json.dumps(done))


def test_the_table_is_what_scikit_learn_computes(spark, place: Path) -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    run(spark, place, components=5)
    features = matrix(verger.load_features(str(place / "out")), "features")
    expected = PCA(5, svd_solver="full").fit_transform(StandardScaler().fit_transform(features))
    got = matrix(verger.load(str(place / "out")))
    signs = np.sign((got * expected).sum(axis=0))
    np.testing.assert_allclose(got, expected * signs, atol=1e-5)


def test_stored_features_are_the_pixels(spark, place: Path) -> None:
    from PIL import Image

    run(spark, place)
    row = verger.load_features(str(place / "out")).slice(7, 1).to_pylist()[0]
    with Image.open(row["path"]) as image:
        expected = np.asarray(image.convert("RGB").resize((8, 8), Image.Resampling.BICUBIC), np.float32).ravel()
    assert row["features"] == expected.tolist()
    assert (row["width"], row["height"], row["size"]) == (24, 24, os.path.getsize(row["path"]))


def test_a_second_run_reads_no_photograph_and_builds_no_network(spark, place: Path) -> None:
    make_bad_files(place / "in" / "bad")
    first = run(spark, place, max_rejected_ratio=1)
    assert first["photographs"]["rejected"] > 10
    # What is there now would give other features, were it read: same size, same time, other bytes.
    for path in (place / "in").glob("label*/*.png"):
        status = path.stat()
        path.write_bytes(b"x" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = run(spark, place, max_rejected_ratio=1)
    assert second["photographs"]["computed"] == 0
    assert "features" not in second["timings_s"]
    assert second["rejected_by_reason"] == first["rejected_by_reason"]
    before, after = (verger.load(str(place / "out" / "runs" / done["run_id"])) for done in (first, second))
    assert before.equals(after)  # to the last bit: same stored features, same table


def test_only_what_changed_is_computed(spark, place: Path) -> None:
    run(spark, place)
    photographs(place / "in", 5, start=100)
    gone = [place / "in" / "label 0" / f"{number:04d}.png" for number in (0, 4, 8)]
    for path in gone:
        path.unlink()
    changed = photograph(place / "in" / "label 1" / "0001.png", seed=999)
    done = run(spark, place)
    assert done["photographs"] == {
        "listed": 42, "ignored": {}, "known": 36, "computed": 6, "rejected": 0, "gone": 3, "projected": 42
    }  # fmt: skip
    table = verger.load(str(place / "out"))
    assert not {str(path) for path in gone} & set(table["path"].to_pylist())
    features = {row["path"]: row for row in verger.load_features(str(place / "out")).to_pylist()}
    assert features[str(changed)]["version"] == f"{changed.stat().st_mtime_ns}-{changed.stat().st_size}"


@pytest.mark.slow
def test_a_table_from_a_store_of_many_runs_is_that_of_one(spark, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 20)
    run(spark, tmp_path)
    photographs(tmp_path / "in", 20, start=20)
    run(spark, tmp_path, partitions=3, wave_size=6)
    run(spark, tmp_path, output=str(tmp_path / "fresh"))
    grown, fresh = verger.load(str(tmp_path / "out")), verger.load(str(tmp_path / "fresh"))
    assert grown.drop_columns("pca_features").equals(fresh.drop_columns("pca_features"))
    scale = np.ptp(matrix(fresh))
    np.testing.assert_allclose(matrix(grown), matrix(fresh), atol=1e-7 * scale, rtol=0)  # float32's last digit


@pytest.mark.parametrize(
    "settings",
    [{"batch_size": 1}, {"batch_size": 7, "partitions": 3}, {"wave_size": 9, "partitions": 2}, {"partitions": 20}],
    ids=str,
)
def test_features_depend_on_neither_batch_partition_nor_wave(spark, place: Path, settings) -> None:
    run(spark, place)
    run(spark, place, output=str(place / "other"), **settings)
    expected = verger.load_features(str(place / "out"))
    got = verger.load_features(str(place / "other"))
    assert got.drop_columns("extracted_at").equals(expected.drop_columns("extracted_at"))


def test_each_wave_is_a_directory_and_each_partition_a_task(spark, place: Path) -> None:
    done = run(spark, place, wave_size=15, partitions=4)
    waves = sorted((place / done["output"]["uri"] / done["features"]["path"]).glob(f"wave={done['run_id']}-*"))
    assert [len(list(wave.glob("*.parquet"))) for wave in waves] == [4, 4, 4]
    assert [sum(pq.read_metadata(file).num_rows for file in wave.glob("*.parquet")) for wave in waves] == [15, 15, 10]


def test_every_bad_file_is_in_the_quarantine_with_its_reason(spark, place: Path) -> None:
    expected = make_bad_files(place / "in" / "bad")
    assert len(expected) >= 12
    done = run(spark, place, max_rejected_ratio=1)
    run_folder = place / "out" / "runs" / done["run_id"]
    rejected = pq.read_table(run_folder / "rejected")
    assert dict(zip(rejected["path"].to_pylist(), rejected["reason"].to_pylist(), strict=True)) == {
        str(path): str(reason) for path, reason in expected.items()
    }
    assert rejected.column_names == ["path", "label", "version", "reason", "message", "at"]
    assert all(rejected["message"].to_pylist())
    assert done["photographs"]["projected"] == 40


def test_too_many_bad_photographs_fail_the_run_and_spare_the_last_good_one(spark, place: Path) -> None:
    good = run(spark, place)
    expected = make_bad_files(place / "in" / "bad")
    with pytest.raises(TooManyRejectedError, match=f"{len(expected)} of {40 + len(expected)} photographs"):
        run(spark, place, max_rejected_ratio=0.1)
    assert json.loads((place / "out" / "latest.json").read_text())["run_id"] == good["run_id"]
    (failed,) = (path for path in (place / "out" / "runs").iterdir() if path.name != good["run_id"])
    assert not (failed / "manifest.json").exists()
    assert pq.read_table(failed / "rejected").num_rows == len(expected)
    failure = json.loads((failed / "failure.json").read_text())
    assert failure["exit_code"] == 6
    assert failure["photographs"]["rejected"] == len(expected)
    named = json.loads((place / "out" / "names" / "verger.json").read_text())
    assert (named["run_id"], named["failed"]["run_id"]) == (good["run_id"], failed.name)
    assert (named["failed"]["exit_code"], named["failed"]["message"]) == (6, failure["message"])


def test_new_photographs_are_judged_on_their_own_from_twenty_on(spark, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 200)
    run(spark, tmp_path)
    for number in range(20):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(b"no image" if number < 5 else b"")
    for _ in range(2):  # what the first one found must not be waved through by a restart
        with pytest.raises(TooManyRejectedError, match="20 of 20 new photographs"):
            run(spark, tmp_path, max_rejected_ratio=0.1)
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "in" / "19.jpg").unlink()
    assert run(spark, tmp_path, max_rejected_ratio=0.1)["photographs"]["rejected"] == 19


@pytest.mark.parametrize(("count", "asked"), [(13, 50), (100, 137)])
def test_more_components_than_there_can_be_are_lowered_with_one_warning(spark, tmp_path: Path, count, asked) -> None:
    photographs(tmp_path / "in", count)
    done = run(spark, tmp_path, components=asked)
    possible = min(count - 1, 192, done["pca"]["rank"])
    assert done["pca"]["requested"] == {"components": asked}
    assert done["pca"]["n_components"] == done["projection"]["columns"] == possible
    assert len([warning for warning in done["warnings"] if str(asked) in warning]) == 1


def test_a_photograph_that_was_rejected_elsewhere_and_is_known_here_is_known(spark, place: Path) -> None:
    from datetime import UTC, datetime

    import pyarrow as pa

    from verger.photographs.images import decoders
    from verger.tables.schemas import REJECTED
    from verger.tables.store import FeatureStore

    first = run(spark, place)
    known = verger.load(str(place / "out")).slice(0, 1).to_pylist()[0]
    row = {"path": known["path"], "version": known["version"], "reason": "unsupported_format", "at": datetime.now(UTC)}
    fingerprint = first["features"]["fingerprint"]
    store = FeatureStore(LocalStorage(), str(place / "out"), fingerprint, decoders=decoders())
    store.remember_rejected("another-run", "00000", pa.Table.from_pylist([row], schema=REJECTED))
    counts = run(spark, place)["photographs"]
    assert (counts["known"], counts["rejected"], counts["projected"]) == (40, 0, 40)


def test_a_stored_file_that_is_damaged_is_named(spark, place: Path) -> None:
    done = run(spark, place)
    damaged = next((place / "out" / done["features"]["path"]).glob("*/*.parquet"))
    group = pq.read_metadata(damaged).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    chunk = columns["features.list.element"]
    with open(damaged, "r+b") as file:  # its other columns, and its footer, are whole
        file.seek(chunk.data_page_offset)
        file.write(bytes(chunk.total_compressed_size))
    with pytest.raises(StoreError, match=f"{damaged} is damaged"):
        run(spark, place, components=3)  # other settings: all features are read
    damaged.unlink()
    again = run(spark, place)["photographs"]
    assert again["computed"] > 0
    assert again["projected"] == 40


def test_a_file_too_large_is_not_read(spark, place: Path) -> None:
    with open(place / "in" / "large.tif", "wb") as file:
        file.truncate(300 << 20)  # a hole: it takes no room, and would be no image if it were read
    assert run(spark, place)["rejected_by_reason"] == {"too_large": 1}


@pytest.mark.parametrize("name", ["a b%20c", "{x}[y]*?:z", "à, 'b' \"c\" #d"])
def test_paths_may_have_any_characters(spark, tmp_path: Path, name: str) -> None:
    photographs(tmp_path / name / "in", 8)
    for _ in range(2):
        done = run(spark, tmp_path / name, csv=True)
    assert done["photographs"]["known"] == 8
    assert str(tmp_path / name) in verger.load(str(tmp_path / name / "out"))["path"][0].as_py()


def test_an_output_that_is_named_as_a_secret_is(spark, place: Path, monkeypatch) -> None:
    """Lines do not show the name; what a run writes has it."""
    monkeypatch.setenv("STORE_PASSWORD", "orchard-of-2026")
    output = str(place / "orchard-of-2026")
    done = run(spark, place, output=output)
    assert redact(done["output"]["uri"]) == str(place / "***")
    assert manifest.read(runs.find(output, Stores())).output.uri == done["output"]["uri"] == output
    assert verger.load(output).num_rows == 40


def test_columns_are_written_as_promised(spark, place: Path) -> None:
    done = run(spark, place)
    store = next((place / "out" / done["features"]["path"]).glob("*/*.parquet"))
    table = next((place / "out" / done["projection"]["path"]).glob("*.parquet"))
    for path, column in ((store, "features"), (table, "pca_features")):
        group = pq.ParquetFile(path).metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert columns[f"{column}.list.element"].compression == "ZSTD"
        assert "BYTE_STREAM_SPLIT" in columns[f"{column}.list.element"].encodings
        assert not any("DICTIONARY" in encoding for encoding in columns[f"{column}.list.element"].encodings)
    assert str(pq.read_schema(store).field("extracted_at").type) == "timestamp[us, tz=UTC]"


def test_one_photograph_is_a_clear_error(spark, tmp_path: Path) -> None:
    photographs(tmp_path / "in", 1)
    with pytest.raises(NothingToReadError, match="photograph"):
        run(spark, tmp_path)


def test_photographs_that_are_all_alike_are_a_clear_error(spark, tmp_path: Path) -> None:
    for number in range(5):
        photograph(tmp_path / "in" / f"{number}.png", seed=1)
    with pytest.raises(VergerError, match="variance"):
        run(spark, tmp_path)


def test_photographs_outside_the_selection_do_not_count_as_gone(spark, place: Path) -> None:
    run(spark, place)
    done = run(spark, place, label=["label [01]"], exclude=["*/0001.png"], max_photographs=10)
    assert done["photographs"]["listed"] == done["photographs"]["known"] == 10
    assert done["photographs"]["gone"] == 0
    assert set(done["labels"]) == {"label 0", "label 1"}
    again = run(spark, place, label=["label [01]"], exclude=["*/0001.png"], max_photographs=10)
    assert verger.load(str(place / "out"))["path"].to_pylist() == (
        verger.load(str(place / "out" / "runs" / done["run_id"]))["path"].to_pylist()
    )
    assert again["photographs"]["computed"] == 0


def test_the_csv_is_the_table(spark, place: Path) -> None:
    done = run(spark, place, csv=True, components=3)
    path = place / "out" / "runs" / done["run_id"] / "projection.csv"
    csv = pacsv.read_csv(path).sort_by("path")
    assert csv.column_names == ["path", "label", "pca_feature_1", "pca_feature_2", "pca_feature_3"]
    table = verger.load(str(place / "out"))
    assert csv["path"].equals(table["path"])
    got = np.column_stack([csv[f"pca_feature_{number}"].to_numpy() for number in (1, 2, 3)]).astype(np.float32)
    assert (got == matrix(table).astype(np.float32)).all()


@pytest.mark.slow
def test_what_other_decoders_rejected_is_tried_again_and_is_not_new(spark, place: Path) -> None:
    """30 rejections of an earlier version do not count against the few photographs that are new."""
    photographs(place / "in", 280, start=1000)
    for number in range(30):
        (place / "in" / f"damaged-{number}.png").write_bytes(b"no picture")
    first = run(spark, place, max_rejected_ratio=0.5)
    assert first["photographs"]["rejected"] == 30
    for file in [*place.glob("out/rejects/**/*.parquet")]:
        pq.write_table(pq.read_table(file, partitioning=None).drop_columns("decoders"), file)
    photographs(place / "in", 20, start=2000)
    again = run(spark, place)
    assert (again["photographs"]["computed"], again["photographs"]["rejected"]) == (20, 30)
    assert len(verger.load(str(place / "out"))) == 340


@pytest.mark.slow
def test_an_executor_that_is_refused_while_the_report_is_drawn_leaves_no_run(spark, place: Path, monkeypatch) -> None:
    class Executors:
        regions: ClassVar[dict[str, str]] = {}
        evidence: ClassVar[list[str]] = []

        def raise_if_refused(self) -> None:
            pass

        def confirm(self) -> None:
            if [*place.glob("out/runs/*/report/index.html")]:
                raise ResidencyError("an executor's node is in us-east-1", "Move it")

    monkeypatch.setattr(spark_session, "check_executors", lambda *_: nullcontext(Executors()))
    with pytest.raises(ResidencyError, match="us-east-1"):
        run(spark, place, report=True)
    assert [*place.glob("out/runs/*/report/index.html")]
    assert not [*place.glob("out/runs/*/manifest.json")]


@pytest.mark.parametrize("output", ["in", "in/out", "."])
def test_input_and_output_may_not_contain_one_another(spark, place: Path, output: str) -> None:
    with pytest.raises(UsageError, match="contain one another"):
        run(spark, place, output=str(place / output))
    assert sorted(path.name for path in place.iterdir()) == ["in"]


def test_an_input_that_is_not_there_leaves_nothing_behind(spark, tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match="does not exist"):
        run(spark, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pruning_what_is_gone_keeps_the_table(spark, place: Path) -> None:
    run(spark, place)
    for path in (place / "in" / "label 2").iterdir():
        path.unlink()
    expected = run(spark, place)
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        removed = pipeline.prune(PruneSettings(output=str(place / "out")), 1, True, progress)
    assert removed == {"runs": 1, "unfinished": 0, "photographs": 10, "versions": 0, "rejections": 0, "refused": 0}
    done = run(spark, place)
    assert done["photographs"]["computed"] == done["photographs"]["gone"] == 0
    assert done["photographs"]["known"] == expected["photographs"]["known"] == 30


def test_the_pixels_of_a_root_folder_have_no_label(spark, tmp_path: Path) -> None:
    for number in range(6):
        photograph(tmp_path / "in" / f"{number}.png", number)
        photograph(tmp_path / "in" / "Test" / "Kiwi" / f"{number}.png", 50 + number)
    run(spark, tmp_path)
    table = verger.load(str(tmp_path / "out"), "pandas")
    assert set(table.label[table.split.isna()]) == {None}
    assert set(table.label[table.split == "Test"]) == {"Kiwi"}
