"""verger compact on real stores: fewer files, the same tables, whatever happens in between."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import verger
from tests.integration.runs import config, finished, photographs, run
from tests.integration.runs import verger as start
from tests.integration.s3 import Minio
from verger import pipeline
from verger.components.projection import write_projection
from verger.config import CompactSettings
from verger.errors import ResidencyError, StoreError
from verger.pipeline import maintenance, table
from verger.progress import Progress
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables import compaction, feature_rows, small_files
from verger.tables.schemas import FEATURES
from verger.tables.store import FeatureStore

# Dies by SIGKILL, with its JVM, while Spark writes or with all written and nothing recorded; a file tells that it did.
KILL = """
import os, signal, time
import verger.tables.compaction as compaction
copy = compaction._copy
def kill(*pids):
    open(os.path.join({place!r}, "hit"), "w").close()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
def copied(*arguments):
    from pyspark import SparkContext
    pids = (SparkContext._gateway.proc.pid, os.getpid())
    def dying(batches):
        for batch in batches:
            yield batch
            kill(*pids)
            time.sleep(60)  # the worker dies with its daemon, before it has written all
    if {half}:
        compaction._unchanged = dying
    copy(*arguments)
    kill(*pids)
compaction._copy = copied
"""


@pytest.fixture(scope="module")
def grown(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output of two fingerprints and many small files, where every photograph of one was computed twice."""
    place = tmp_path_factory.mktemp("grown")
    photographs(place / "in", 24)
    run(spark, place, output=str(place / "twice"), partitions=2)
    for settings in ({"input_size": 10}, {"wave_size": 8, "partitions": 3}):
        run(spark, place, **settings)
    for wave in (place / "twice" / "features").glob("*/wave=2*-00000"):
        shutil.copytree(wave, place / "out" / wave.relative_to(place / "twice"))
    return place


@pytest.fixture
def place(grown: Path, tmp_path: Path) -> Path:
    """A copy of it to work on; its photographs stay where they are."""
    shutil.copytree(grown / "out", tmp_path / "out")
    return tmp_path


def tables(place: Path) -> list[pa.Table]:
    """What readers see: the features of each fingerprint's last run."""
    manifests = sorted((place / "out" / "runs").glob("*/manifest.json"))
    return [verger.load_features(str(path.parent)) for path in manifests[:2]]


def compact(spark: Any, place: Path, hours: float = 0) -> dict[str, int]:
    def clock() -> datetime:
        return datetime.now(UTC) + timedelta(hours=hours)

    return compaction.compact(LocalStorage(), str(place / "out"), spark, pytest.fail, clock)


def stored(place: Path) -> list[Path]:
    files = (place / "out" / "features").rglob("*.parquet")
    return sorted(path for path in files if "_temporary" not in path.parts)


def test_compacting_leaves_the_tables_and_few_files(spark, grown: Path, place: Path) -> None:
    expected, before = tables(place), stored(place)
    merged = compact(spark, place)
    assert 2 < merged.pop("files_before") < len(before)  # some held nothing that a copy was not taken of elsewhere
    assert merged == {"fingerprints": 2, "files_after": 2, "rows": 48, "deleted": 0}
    assert tables(place) == expected
    new = sorted(set(stored(place)) - set(before))
    for path in new:
        group = pq.ParquetFile(path).metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert columns["features.list.element"].compression == "ZSTD"
        assert "BYTE_STREAM_SPLIT" in columns["features.list.element"].encodings
        assert pq.read_schema(path).equals(pq.read_schema(before[0]))
    assert compact(spark, place, hours=25)["deleted"] == len(before)
    assert stored(place) == new
    assert tables(place) == expected
    again = run(spark, place, input=str(grown / "in"))
    assert again["photographs"]["computed"] == 0
    assert verger.load(str(place / "out"))["path"].equals(expected[1]["path"])


def test_a_copy_by_an_executor_outside_the_eu_is_undone(spark, place: Path, monkeypatch) -> None:
    checked: list[Any] = []

    @contextmanager
    def refuse(*given: Any) -> Iterator[None]:
        checked.append(given)
        yield  # the copy
        raise ResidencyError("an executor's node is in us-east-1", "Move it")

    monkeypatch.setattr(maintenance, "check_executors", refuse)
    settings = CompactSettings(output=str(place / "out"), allow_london="adequacy")
    before = stored(place)
    with pytest.raises(ResidencyError, match="us-east-1"):
        pipeline.compact(settings, spark)
    assert checked == [(spark.sparkContext, settings)]
    assert stored(place) == before
    assert not [*(place / "out").glob("compactions/*")]


def test_executors_are_not_asked_for_where_nothing_is_merged(spark, place: Path, monkeypatch) -> None:
    compact(spark, place)
    monkeypatch.setattr(maintenance, "check_executors", pytest.fail)
    done = pipeline.compact(CompactSettings(output=str(place / "out")), spark)
    assert done["files_before"] == 0


def test_files_come_near_the_target(spark, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = {path.parent.parent for path in stored(place) if "pixels-8" in str(path)}
    template, expected = pq.read_table(stored(place)[0], schema=FEATURES).slice(0, 1).to_pylist()[0], []
    for number in range(9):
        rows = [template | {"path": f"/{number}/{row}", "features": [0.5 * row] * 192} for row in range(200)]
        expected += [row["path"] for row in rows]
        (folder / f"20200101T000000Z-many-000000-{number:05d}").mkdir()
        pq.write_table(
            pa.Table.from_pylist(rows, schema=FEATURES),
            folder / f"20200101T000000Z-many-000000-{number:05d}" / f"part-{number}.parquet",
            use_dictionary=False,
            compression="none",
        )
    size = (folder / "20200101T000000Z-many-000000-00000" / "part-0.parquet").stat().st_size
    monkeypatch.setattr(small_files, "TARGET_BYTES", 4 * size)
    monkeypatch.setattr(feature_rows, "_MIN_TASK_BYTES", size)
    before = stored(place)
    assert compact(spark, place)["files_after"] - 1 == 2  # of four and of five, with the small ones
    shares = [pq.read_metadata(path).num_rows for path in set(stored(place)) - set(before) if "pixels-8" in str(path)]
    assert sum(shares) == len(expected) + 24
    assert max(shares) < 1.3 * min(shares)
    known = FeatureStore(LocalStorage(), str(place / "out"), folder.name).known()
    assert set(expected) <= set(known["path"].to_pylist())


@pytest.mark.parametrize(
    "half",
    [pytest.param(True, id="half-written"), pytest.param(False, id="before-record", marks=pytest.mark.slow)],
)
def test_killed_it_leaves_the_same_tables_and_the_next_one_ends_it(spark, place: Path, half: bool) -> None:
    expected, before = tables(place), stored(place)
    inject = KILL.format(place=str(place), half=half)
    code, _, _ = finished(start("compact", "--output", str(place / "out"), "--cores", "1", inject=inject, cwd=place))
    assert code == -signal.SIGKILL
    assert (place / "hit").exists()
    assert len(stored(place)) == len(before) + (0 if half else 1)
    assert bool(list((place / "out" / "features").rglob(".part-*"))) is half
    assert not (place / "out" / "compactions").exists()
    assert tables(place) == expected
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        merged = pipeline.compact(CompactSettings(output=str(place / "out")), spark, progress)
    assert merged["rows"] == 24 * (2 if half else 1)  # one fingerprint's was whole, but for its record
    assert tables(place) == expected
    assert compact(spark, place, hours=25)["deleted"] == len(before)
    assert tables(place) == expected


def test_features_load_while_old_files_are_deleted(spark, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, known = tables(place), FeatureStore.known
    looks = []

    def deleted_since(store: FeatureStore) -> pa.Table:
        found = known(store)
        looks.append(store.fingerprint)
        if len(looks) == 1:
            compact(spark, place)
            compact(spark, place, hours=25)
        return found

    monkeypatch.setattr(FeatureStore, "known", deleted_since)
    assert tables(place) == expected
    assert len(looks) == 3  # the first table's store was listed twice


def test_a_run_reads_on_while_old_files_are_deleted(spark, grown: Path, place: Path, monkeypatch) -> None:
    expected, written = verger.load(str(place / "out")), []

    def deleted_before(*arguments: Any) -> list[str]:
        if not written:
            compact(spark, place)
            compact(spark, place, hours=25)
        written.append(arguments)
        return write_projection(*arguments)

    monkeypatch.setattr(table, "write_projection", deleted_before)
    done = run(spark, place, input=str(grown / "in"), solver="exact")  # another setting, and the same components
    assert len(written) == 2  # the projection, and again where the files are now
    assert done["photographs"]["computed"] == 0
    assert [path.parent.name[:15] for path in stored(place) if "pixels-8" in str(path)] == ["wave=compacted-"]
    assert_same(verger.load(str(place / "out")), expected)


def assert_same(got: pa.Table, expected: pa.Table) -> None:
    """The same photographs, and components that are equal but for float32's last digit."""
    assert got.drop_columns("pca_features") == expected.drop_columns("pca_features")
    left, right = (np.stack(table["pca_features"].to_pylist()) for table in (got, expected))
    np.testing.assert_allclose(left, right, atol=1e-7 * np.ptp(right), rtol=0)


def test_a_run_compacts_at_its_end_where_small_files_are_many(spark, grown, place: Path, monkeypatch) -> None:
    monkeypatch.setattr(small_files, "MAX_SMALL_FILES", 5)
    before = stored(place)
    quiet = run(spark, place, input=str(grown / "in"), compact="never", components=1)
    assert "compact" not in quiet["timings_s"]
    assert stored(place) == before

    def refused(*_: Any) -> None:
        raise StoreError("no", "Ask")

    with monkeypatch.context() as broken, open(os.devnull, "w") as nowhere, Progress(nowhere) as progress:
        broken.setattr(compaction, "_copy", refused)
        pipeline.run(config(place, input=str(grown / "in"), components=2), spark, progress)
        assert progress.warnings == ["the feature store was not compacted: no. Ask."]
    assert stored(place) == before
    run(spark, place, input=str(grown / "in"), components=3)
    (new,) = set(stored(place)) - set(before)  # the other network has few files
    assert "pixels-8" in str(new)
    run(spark, place, input=str(grown / "in"), components=4)  # what is replaced does not count as small
    assert set(stored(place)) == {*before, new}


@pytest.mark.slow
def test_a_store_in_a_bucket_is_compacted(spark, place: Path, s3_environment: Minio, monkeypatch) -> None:
    client, bucket = s3_environment.client(), s3_environment.bucket()
    for path in (path for path in (place / "out").rglob("*") if path.is_file()):
        client.upload_file(str(path), bucket, str(path.relative_to(place)))
    expected, before = tables(place), len(stored(place))
    output = f"s3://{bucket}/out"

    def keys(folder: str) -> list[str]:
        listed = client.list_objects_v2(Bucket=bucket, Prefix=f"out/{folder}").get("Contents", [])
        return [item["Key"] for item in listed if item["Key"].endswith((".parquet", ".json"))]

    def loaded() -> list[pa.Table]:
        runs = sorted(key.removesuffix("/manifest.json") for key in keys("runs/") if key.endswith("/manifest.json"))
        return [verger.load_features(f"s3://{bucket}/{run}") for run in runs[:2]]

    arguments = ["compact", "--output", output, "--store-location", "eu", "--cores", "1"]
    monkeypatch.setenv("VERGER_JARS", "/nowhere")
    code, stderr, lines = finished(start(*arguments, cwd=place))
    assert code == 0, stderr
    assert (lines[-1]["files_after"], lines[-1]["rows"]) == (2, 48)
    assert len(keys("compactions/")) == 2
    assert loaded() == expected
    later = datetime.now(UTC) + timedelta(hours=25)
    assert compaction.compact(Stores().of(output), output, spark, pytest.fail, lambda: later)["deleted"] == before
    assert len([key for key in keys("features/") if key.endswith(".parquet")]) == 2
    assert keys("compactions/") == []
    assert loaded() == expected
