"""Runs that follow a run: what has not changed is not done again, and the table is that of a run without a base."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import verger
from tests.integration.runs import WITH_INSIGHT, config, finished, photograph, photographs, run, signalled
from tests.integration.runs import verger as start
from tests.integration.s3_runs import COUNT, Place, reach
from tests.integration.test_kills import SLOW_DECODER, assert_same
from verger import pipeline
from verger.config import PruneSettings
from verger.pipeline import stages
from verger.planning.plan import plan
from verger.progress import Progress
from verger.storage.local import LocalStorage
from verger.tables import compaction, feature_rows, locations

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# Tells as the process ends what it has imported and started.
REPORT_IMPORTS = """
import atexit, json, sys
def confess():
    pyspark = sys.modules.get("pyspark")
    jvm = pyspark is not None and pyspark.SparkContext._gateway is not None
    imported = {name: name in sys.modules for name in ("pyspark", "tensorflow")}
    print(json.dumps({"event": "loaded", "jvm": jvm} | imported), file=sys.stderr)
atexit.register(confess)
"""
NOTHING = {"event": "loaded", "jvm": False, "pyspark": False, "tensorflow": False}


@pytest.fixture(scope="module")
def pristine(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty photographs and one that is none, and the outputs of a run over them, without insight and with it."""
    folder = tmp_path_factory.mktemp("difference") / "place"
    photographs(folder / "in", 60)
    (folder / "in" / "label 0" / "empty.jpg").touch()
    run(spark, folder)
    run(spark, folder, output=str(folder / "insight"), **WITH_INSIGHT)
    shutil.copytree(folder, folder.with_name("pristine"))
    return folder


@pytest.fixture
def place(pristine: Path) -> Iterator[Path]:
    """The same folder, by the same path, with the same times: what a test changes in it is forgotten."""
    yield pristine
    shutil.rmtree(pristine)
    shutil.copytree(pristine.with_name("pristine"), pristine)


def document_of(output: Path, run_id: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((output / "runs" / run_id / "manifest.json").read_text())
    return document


def pointers(output: Path) -> dict[str, str]:
    """The runs that the pointers name, by folder: latest, of the name, and for the next run."""
    (snapshots,) = (output / "snapshots").glob("[!.]*.json")
    files = {"latest": output / "latest.json", "name": output / "names" / "verger.json", "snapshots": snapshots}
    return {name: json.loads(path.read_text())["run_id"] for name, path in files.items()}


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def change(place: Path) -> None:
    """Five new, four gone, two others under old names, a bad one, and one folder with another label."""
    photographs(place / "in", 5, start=100)
    for number in (0, 1, 2, 3):
        (place / "in" / f"label {number % 4}" / f"{number:04d}.png").unlink()
    for number in (4, 5):
        photograph(place / "in" / f"label {number % 4}" / f"{number:04d}.png", 200 + number)
    (place / "in" / "label 1" / "bad.jpg").write_bytes(b"no image")
    (place / "in" / "label 3").rename(place / "in" / "another label")


def assert_like_a_fresh_run(spark: SparkSession, place: Path, **settings: Any) -> dict[str, Any]:
    """Compare the table with that of a run that has neither a base run nor stored features; that run's manifest."""
    shutil.rmtree(place / "fresh", ignore_errors=True)
    document = run(spark, place, output=str(place / "fresh"), **settings)
    assert_same(place / "out", place / "fresh")
    return document


def command(place: Path, *more: str, output: str = "out") -> list[str]:
    settings = ["--backbone", "pixels", "--input-size", "8", "--cores", "2", "--progress-interval", "0.2"]
    return ["run", "--input", str(place / "in"), "--output", str(place / output), *settings, *more]


def told(place: Path, arguments: list[str]) -> list[dict[str, Any]]:
    """A run as a process of its own, which has to end well: its JSON lines, the last two of the end and of imports."""
    code, stderr, lines = finished(start(*arguments, inject=REPORT_IMPORTS, cwd=place))
    assert code == 0, stderr
    return lines


@pytest.mark.required_in_ci
def test_an_unchanged_run_starts_nothing_and_names_the_run_that_stands(place: Path) -> None:
    first = pointers(place / "out")["latest"]
    before = files_below(place / "out")
    *_, last, loaded = told(place, command(place))
    assert loaded == NOTHING
    assert last["same_as"] == first
    after = pointers(place / "out")
    assert after == {"latest": last["run_id"], "name": last["run_id"], "snapshots": first}
    quarantine = place / "out" / "runs" / last["run_id"]
    assert files_below(place / "out") - before == files_below(quarantine)
    assert {str(path.relative_to(quarantine)) for path in files_below(quarantine)} == {
        "manifest.json",
        "rejected/part-00000.zstd.parquet",
    }
    document, base = (document_of(place / "out", run_id) for run_id in (last["run_id"], first))
    assert document["same_as"] == first
    assert "same_as" not in base
    assert document["photographs"] == base["photographs"] | {"known": 60, "computed": 0}
    for name in ("labels", "features", "pca", "projection", "snapshot", "rejected_by_reason"):
        assert document[name] == base[name]
    run_folder = str(place / "out" / "runs" / last["run_id"])
    assert verger.load(run_folder).equals(verger.load(str(place / "out" / "runs" / first)))
    assert verger.load_features(run_folder).num_rows == 60


def test_after_unchanged_runs_the_base_is_the_run_that_stands(spark: SparkSession, place: Path) -> None:
    first = pointers(place / "out")["latest"]
    for _ in range(2):
        assert run(spark, place)["same_as"] == first
    photographs(place / "in", 1, start=300)
    document = run(spark, place)
    assert "same_as" not in document
    assert document["snapshot"]["base"] == first
    assert pointers(place / "out")["snapshots"] == document["run_id"]


def test_commands_take_the_results_of_the_run_that_stands(spark: SparkSession, place: Path) -> None:
    output = place / "insight"
    first = pointers(output)["latest"]
    same = run(spark, place, output=str(output), **WITH_INSIGHT)
    assert same["same_as"] == first
    folder = output / "runs" / same["run_id"]
    paths = sorted((place / "in" / "label 0").glob("*.png"))[:2]
    process = start("identify", "--run", str(folder), "--json", *map(str, paths))
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    found = [json.loads(line) for line in stdout.splitlines()]
    assert [one["nearest"][0]["path"] for one in found] == [str(path) for path in paths]
    code, stderr, _ = finished(start("report", "--run", str(folder)))
    assert code == 0, stderr
    photographs(place / "new", 6, start=400)
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        settings = config(place, input=str(place / "new"), output=str(output), name="new")
        projected = pipeline.project(settings, str(folder), spark, progress).as_dict()
    assert projected["pca"]["fitted_by"] == first
    assert projected["photographs"]["projected"] == 6


def test_other_settings_of_insight_make_only_that_anew(place: Path) -> None:
    first = pointers(place / "out")["latest"]
    *_, last, loaded = told(place, command(place, "--classifier", "--report", "--csv"))
    assert not loaded["jvm"]
    assert not loaded["pyspark"]
    document = document_of(place / "out", last["run_id"])
    assert "same_as" not in document
    assert document["classifier"]
    assert document["report"]
    assert document["photographs"]["computed"] == 0
    assert document["pca"] == document_of(place / "out", first)["pca"] | {"path": document["pca"]["path"]}
    folders = [place / "out" / "runs" / run_id for run_id in (first, last["run_id"])]
    assert verger.load(str(folders[0])).equals(verger.load(str(folders[1])))
    before, after = ({path.name for path in (folder / "pca").iterdir()} for folder in folders)
    assert before == after
    assert (folders[1] / "projection.csv").exists()
    assert pointers(place / "out") == dict.fromkeys(("latest", "name", "snapshots"), last["run_id"])
    *_, again, loaded = told(place, command(place, "--classifier", "--report", "--csv"))
    assert (again["same_as"], loaded) == (last["run_id"], NOTHING)


@pytest.mark.parametrize(
    "settings",
    [
        {"components": 3},
        {"variance": 0.5},
        {"standardize": False},
        {"solver": "exact"},
        {"max_photographs": 40},
        {"label": ("label 1", "label 2")},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_other_settings_of_the_table_make_another_table(spark: SparkSession, place: Path, settings) -> None:
    document = run(spark, place, **settings)
    assert "same_as" not in document
    assert document["photographs"]["computed"] == 0
    assert_like_a_fresh_run(spark, place, **settings)


@pytest.mark.required_in_ci
@pytest.mark.parametrize("standardize", [False, True])
def test_the_table_after_changes_is_that_of_a_fresh_run(
    spark: SparkSession, place: Path, monkeypatch: pytest.MonkeyPatch, standardize: bool
) -> None:
    run(spark, place, standardize=standardize)  # if so, as the first run
    base = pointers(place / "out")["snapshots"]
    known = {str(path) for path in files_below(place / "out" / "features")}
    change(place)
    opened: list[str] = []
    narrow_rows, selected = locations._narrow_rows, feature_rows.FeatureRows._tasks

    def counted(store: Any, name: str, path: str) -> Any:
        opened.append(path)
        return narrow_rows(store, name, path)

    def planned(rows: feature_rows.FeatureRows) -> Any:
        opened.extend(file.path for file in rows.selection.files)
        return selected(rows)

    monkeypatch.setattr(locations, "_narrow_rows", counted)
    monkeypatch.setattr(feature_rows.FeatureRows, "_tasks", planned)
    document = run(spark, place, standardize=standardize)
    monkeypatch.undo()
    assert document["snapshot"]["base"] == base
    counts = document["photographs"]
    # The 14 photographs that are left in the folder with another label have other paths: they are new.
    assert (counts["computed"], counts["known"], counts["rejected"]) == (5 + 2 + 14, 40, 2)
    assert len([path for path in opened if path not in known]) >= 2  # located, and read for what is new
    fresh = assert_like_a_fresh_run(spark, place, standardize=standardize)
    ratios = (np.array(done["pca"]["explained_variance_ratio"]) for done in (document, fresh))
    np.testing.assert_allclose(*ratios, rtol=0, atol=1e-9)
    assert document["labels"] == fresh["labels"]
    again = run(spark, place, standardize=standardize)
    assert again["same_as"] == document["run_id"]


def matrix(table: Any, column: str) -> Any:
    return np.stack(table[column].to_pylist()).astype(np.float64)


def space_of(output: Path, run_id: str) -> tuple[Any, Any]:
    from verger.components.pca import Pca

    pca = Pca.load(str(output / "runs" / run_id / "pca"))
    return pca.mean, pca.components


@pytest.mark.parametrize(("components", "added", "due"), [(40, 3, False), (3, 60, True)], ids=["stands", "refit"])
def test_a_space_stands_or_is_aligned_and_the_manifest_says_what_it_keeps(
    spark: SparkSession, place: Path, components: int, added: int, due: bool
) -> None:
    output = place / "out"
    settings = {"pca": "auto", "components": components, "standardize": False}
    first = run(spark, place, **settings)
    assert first["pca"]["fitted_by"] == first["run_id"]
    photographs(place / "in", added, start=500)
    for path in sorted((place / "in" / "label 2").glob("00*.png"))[:2]:
        path.unlink()
    second = run(spark, place, **settings)
    mean, space = space_of(output, first["run_id"])
    features = matrix(verger.load_features(str(output)), "features")
    centred = features - features.mean(axis=0)
    total = (centred**2).sum()
    directions = np.linalg.svd(centred, full_matrices=False)[2][:components]
    kept, refit = ((centred @ each.T) ** 2 for each in (space, directions))
    retention = second["pca"]["retention"]
    assert retention["space"] == first["run_id"]
    assert retention["kept_share"] == pytest.approx(kept.sum() / total, abs=1e-6)
    assert retention["refit_share"] == pytest.approx(refit.sum() / total, abs=1e-6)
    assert retention["due"] is due is bool(kept.sum() < 0.99 * refit.sum())
    assert second["pca"]["fitted_by"] == (second if due else first)["run_id"]
    now_mean, now = space_of(output, second["run_id"])
    table = matrix(verger.load(str(output)), "pca_features")
    np.testing.assert_allclose(table, (features - now_mean) @ now.T, atol=1e-6 * np.ptp(table), rtol=0)
    if due:
        assert second["pca"]["turned_to"] == first["run_id"]
        rotation = now @ space.T
        np.testing.assert_allclose(second["pca"]["rotation"], rotation, atol=1e-6)
        np.testing.assert_allclose(np.abs(np.sum(now * directions, axis=1)), 1, atol=1e-6)
        assert (rotation[rotation**2 > 0.5] > 0).all()
        np.testing.assert_allclose(now_mean, features.mean(axis=0), atol=1e-6)
    else:
        assert not {"turned_to", "rotation"} & second["pca"].keys()
        np.testing.assert_array_equal(now, space)
        np.testing.assert_array_equal(now_mean, mean)
    assert run(spark, place, **settings)["same_as"] == second["run_id"]


def test_what_a_space_keeps_is_asked_after_a_projection_into_it(spark: SparkSession, place: Path) -> None:
    """The projection of the same photographs is no run that has fitted or kept a space on its own account."""
    output, source = place / "out", place / "new"
    settings = {"components": 3}
    first = run(spark, place, **settings)
    photographs(source, 30, start=1200)
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        pipeline.project(config(place, input=str(source)), str(output), spark, progress)
    document = run(spark, place, input=str(source), pca="auto", **settings)
    assert "same_as" not in document
    assert document["pca"]["retention"]["space"] == first["run_id"]
    assert document["pca"]["retention"]["due"]
    assert run(spark, place, input=str(source), pca="auto", **settings)["same_as"] == document["run_id"]


def test_a_kept_space_stands_after_other_settings_of_insight(spark: SparkSession, place: Path) -> None:
    settings = {"pca": "auto", "components": 40}
    first = run(spark, place, **settings)
    photographs(place / "in", 1, start=1300)
    kept = run(spark, place, **settings)["pca"]
    copied = run(spark, place, **settings, classifier=True)
    assert copied["photographs"]["computed"] == 0
    assert kept["fitted_by"] == copied["pca"]["fitted_by"] == first["run_id"]
    assert kept["retention"] == copied["pca"]["retention"]
    assert run(spark, place, **settings, classifier=True)["same_as"] == copied["run_id"]


def test_the_order_of_runs_does_not_matter_to_a_fit(spark: SparkSession, place: Path) -> None:
    """Several runs, each on the moments of the one before: photographs come, go, change and come back."""
    kept = sorted((place / "in" / "label 1").glob("*.png"))[:2]
    away = place / "away"
    away.mkdir()
    for number, step in enumerate(range(600, 604)):
        photographs(place / "in", 4, start=step * 10)
        for path in kept:
            if number % 2:
                (away / path.name).rename(path)
            else:
                path.rename(away / path.name)
        photograph(place / "in" / "label 0" / "changing.png", step)
        last = run(spark, place)
        assert last["snapshot"]["base"]
    assert last["photographs"]["computed"] == 5
    assert_like_a_fresh_run(spark, place)


def without_snapshots(output: Path) -> None:
    """As the version before left an output: no snapshots, no moments, and manifests that do not speak of them."""
    shutil.rmtree(output / "snapshots")
    for folder in (output / "runs").iterdir():
        shutil.rmtree(folder / "snapshot")
        (folder / "pca" / "moments.npz").unlink()
        document = json.loads((folder / "manifest.json").read_text())
        del document["snapshot"]
        (folder / "manifest.json").write_text(json.dumps(document))


def garbage(output: Path) -> None:
    for path in (output / "runs").glob("*/snapshot/*.parquet"):
        path.write_bytes(b"garbage")


def no_folder(output: Path) -> None:
    for path in (output / "runs").glob("*/snapshot"):
        shutil.rmtree(path)


@pytest.mark.parametrize(
    ("damage", "warns"),
    [(without_snapshots, False), (garbage, True), (no_folder, True)],
    ids=["older", "garbage", "gone"],
)
def test_without_a_snapshot_a_run_finds_all_in_the_store(
    spark: SparkSession, place: Path, damage: Callable[[Path], object], warns: bool
) -> None:
    damage(place / "out")
    assert verger.load(str(place / "out")).num_rows == 60
    photographs(place / "in", 2, start=700)
    document = run(spark, place)
    assert document["photographs"]["computed"] == 2
    assert "base" not in document["snapshot"] or document["snapshot"]["base"] is None
    assert len(document["warnings"]) == warns
    assert all("was not used" in warning for warning in document["warnings"])
    assert_like_a_fresh_run(spark, place)
    assert run(spark, place)["same_as"] == document["run_id"]


def test_moments_that_cannot_be_read_are_summed_anew(spark: SparkSession, place: Path) -> None:
    (path,) = (place / "out" / "runs").glob("*/pca/moments.npz")
    path.write_bytes(path.read_bytes()[:-100])
    photographs(place / "in", 2, start=700)
    assert run(spark, place)["photographs"]["computed"] == 2
    assert_like_a_fresh_run(spark, place)


def test_a_copy_of_an_output_goes_on(spark: SparkSession, place: Path) -> None:
    """All its files have other times."""
    shutil.copytree(place / "out", place / "copy", copy_function=shutil.copyfile)
    for path in files_below(place / "copy"):
        os.utime(path, ns=(10**18, 10**18))
    shutil.rmtree(place / "out")
    first = pointers(place / "copy")["latest"]
    document = run(spark, place, output=str(place / "copy"))
    assert document["same_as"] == first
    assert verger.load(str(place / "copy")).num_rows == 60
    photographs(place / "in", 3, start=800)
    document = run(spark, place, output=str(place / "copy"))
    assert (document["photographs"]["computed"], document["snapshot"]["base"]) == (3, first)
    (place / "copy").rename(place / "out")
    assert_like_a_fresh_run(spark, place)


def compact(spark: SparkSession, output: Path, hours: float = 0) -> dict[str, int]:
    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    return compaction.compact(LocalStorage(), str(output), spark, pytest.fail, clock)


def test_a_compaction_between_runs_changes_nothing(spark: SparkSession, place: Path) -> None:
    photographs(place / "in", 4, start=900)
    first = run(spark, place)
    assert compact(spark, place / "out")["files_before"] > 1
    assert run(spark, place)["same_as"] == first["run_id"]
    assert compact(spark, place / "out", hours=25)["deleted"] > 1
    assert run(spark, place)["same_as"] == first["run_id"]
    change(place)
    document = run(spark, place)
    assert (document["snapshot"]["base"], document["photographs"]["computed"]) == (first["run_id"], 5 + 2 + 15)
    assert_like_a_fresh_run(spark, place)


@pytest.mark.parametrize("removed", [False, True])
def test_a_compaction_while_a_run_computes_changes_nothing(
    spark: SparkSession, place: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    """All files that the run has found are replaced by others, in which the rows have other numbers."""
    photographs(place / "in", 4, start=900)
    run(spark, place)
    photographs(place / "in", 3, start=950)
    if removed:
        for path in sorted((place / "in" / "label 1").glob("*.png"))[:2]:
            path.unlink()
    extract = stages.extract

    def slowly(*arguments: Any) -> Any:
        extracted = extract(*arguments)
        assert compact(spark, place / "out")["files_before"] > 2
        assert compact(spark, place / "out", hours=25)["deleted"] > 2
        return extracted

    monkeypatch.setattr(stages, "extract", slowly)
    document = run(spark, place)
    monkeypatch.undo()
    assert document["photographs"]["computed"] == 3
    assert_like_a_fresh_run(spark, place)
    assert run(spark, place)["same_as"] == document["run_id"]


def prune(place: Path, keep_runs: int | None, gone: bool) -> dict[str, int]:
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        return pipeline.prune(PruneSettings(output=str(place / "out")), keep_runs, gone, progress)


def test_pruning_keeps_the_run_that_stands(spark: SparkSession, place: Path) -> None:
    photographs(place / "in", 2, start=900)
    stands = run(spark, place)["run_id"]
    for _ in range(3):
        last = run(spark, place)
        assert last["same_as"] == stands
    assert prune(place, 0, False)["runs"] == 3  # all but what pointers name, and what stands for that
    assert {path.name for path in (place / "out" / "runs").iterdir()} == {stands, last["run_id"]}
    assert verger.load(str(place / "out")).num_rows == 62
    photographs(place / "in", 1, start=910)
    assert run(spark, place)["snapshot"]["base"] == stands


def test_pruning_what_is_gone_changes_nothing(spark: SparkSession, place: Path) -> None:
    for path in sorted((place / "in" / "label 0").glob("*.png"))[:7]:
        path.unlink()
    assert prune(place, None, True)["photographs"] == 7  # before any run knows that they are gone
    document = run(spark, place)
    assert (document["photographs"]["computed"], document["photographs"]["gone"]) == (0, 0)
    assert_like_a_fresh_run(spark, place)
    for path in sorted((place / "in" / "label 1").glob("*.png"))[:3]:
        path.unlink()
    assert run(spark, place)["photographs"]["gone"] == 3
    assert prune(place, 1, True)["photographs"] == 3
    photographs(place / "in", 2, start=900)
    document = run(spark, place)
    assert (document["photographs"]["computed"], document["photographs"]["gone"]) == (2, 0)
    assert_like_a_fresh_run(spark, place)


def test_a_plan_says_the_same_and_writes_nothing(spark: SparkSession, place: Path) -> None:
    change(place)
    before = {path: path.stat().st_mtime_ns for path in files_below(place)}
    planned = plan(config(place))
    assert {path: path.stat().st_mtime_ns for path in files_below(place)} == before
    counts = run(spark, place)["photographs"]
    assert (planned.known, planned.gone, planned.listed) == (counts["known"], counts["gone"], counts["listed"])
    assert planned.new + planned.rejected == counts["computed"] + counts["rejected"]


@pytest.mark.slow
def test_killed_in_a_wave_the_next_run_computes_the_rest(spark: SparkSession, place: Path) -> None:
    first = pointers(place / "out")["latest"]
    photographs(place / "in", 40, start=1000)
    arguments = command(place, "--wave-size", "10", "--partitions", "2")
    process = start(*arguments, inject=SLOW_DECODER, cwd=place)
    signalled(process, lambda line: line["event"] == "progress" and line["done"] > 10, signal.SIGKILL)
    process.communicate()
    time.sleep(1)  # for what the JVM still commits
    waves = [wave for wave in (place / "out" / "features").glob("*/wave=*") if (wave / "_temporary").exists() is False]
    left = sum(pq.read_table(path, columns=["path"]).num_rows for wave in waves for path in wave.glob("*.parquet")) - 60
    assert left >= 10
    document = run(spark, place)
    assert document["snapshot"]["base"] == first
    assert (document["photographs"]["known"], document["photographs"]["computed"]) == (60 + left, 40 - left)
    assert_like_a_fresh_run(spark, place)


@pytest.mark.slow
def test_in_a_bucket_too_only_what_has_changed_is_done(place_in_bucket: Place) -> None:
    bucket, client = place_in_bucket, place_in_bucket.server.client()

    def done(*more: str) -> tuple[dict[str, Any], dict[str, Any]]:
        code, stderr, lines = finished(bucket.start(*more, inject=REPORT_IMPORTS))
        assert code == 0, stderr
        return lines[-2], lines[-1]

    first, _ = done()
    same, loaded = done()
    assert (same["same_as"], same["computed"], loaded) == (first["run_id"], 0, NOTHING)
    assert verger.load(bucket.output).num_rows == verger.load_features(bucket.output).num_rows == COUNT
    for path in photographs(bucket.folder / "more", 5, start=2000):
        bucket.put(f"in/label 0/{path.name}", path.read_bytes())
    gone = bucket.keys("in/")[-2:]
    for key in gone:
        client.delete_object(Bucket=bucket.bucket, Key=key)
    changed, _ = done()
    assert (changed["known"], changed["computed"]) == (COUNT - 2, 5)
    documents = {document["run_id"]: document for document in bucket.documents("manifest.json")}
    assert documents[changed["run_id"]]["snapshot"]["base"] == first["run_id"]
    for key in [key for key in bucket.keys("out/runs/") if "/snapshot/" in key]:
        bucket.put(key, b"garbage")
    fresh, _ = done()
    documents = {document["run_id"]: document for document in bucket.documents("manifest.json")}
    assert "was not used" in documents[fresh["run_id"]]["warnings"][0]
    assert (fresh["known"], fresh["computed"]) == (COUNT + 3, 0)
    expected = verger.load(bucket.output)
    got = verger.load(f"{bucket.output}/runs/{changed['run_id']}")
    assert got.drop_columns("pca_features").equals(expected.drop_columns("pca_features"))
    values = [matrix(table, "pca_features") for table in (got, expected)]
    np.testing.assert_allclose(*values, atol=1e-7 * np.ptp(values[1]), rtol=0)


@pytest.fixture
def place_in_bucket(minio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    reach(minio, monkeypatch)
    return Place.make(minio, tmp_path)
