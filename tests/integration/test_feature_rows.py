"""Passes over files that Python workers read: the same results as from a DataFrame, in processes that stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.features import decaying, frame, table
from tests.integration.s3 import Minio
from verger.components import moments
from verger.components.pca import Pca, fit
from verger.components.projection import measure_drift, project
from verger.components.rows import Rows, matrix
from verger.components.solvers import selection as solvers
from verger.spark.failures import explain
from verger.storage.stores import Stores
from verger.tables import feature_rows
from verger.tables.feature_rows import FeatureRows, _Piece, _read_piece
from verger.tables.file_errors import vanished
from verger.tables.selection import SelectedFile, Selection, select_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.required_in_ci

DIMENSION = 30
STORED = decaying(700, DIMENSION) + 1
FILES = (0, 40, 41, 300, 700)  # of very different sizes
LEFT_OUT = [*range(20), 40, *range(41, 60), *range(110, 300, 3), *range(690, 700)]  # of a file all that it has
WANTED = np.setdiff1d(np.arange(700), LEFT_OUT)


def chosen(folder: Path) -> Selection:
    """Files of the store with these rows, and the wanted ones among them."""
    places: list[tuple[str, int]] = []
    for number, (start, stop) in enumerate(pairwise(FILES)):
        path = folder / f"part-{number}.zstd.parquet"
        pq.write_table(table(STORED[start:stop], start), path, row_group_size=50, write_page_checksum=True)
        places += [(str(path), row) for row in range(stop - start)]
    names = sorted({name for name, _ in places})
    located = pa.table({"file": [places[row][0] for row in WANTED], "row": [places[row][1] for row in WANTED]})
    rows_of = {name: sum(name == other for other, _ in places) for name in names}
    return select_rows(located.to_batches(50), rows_of, {name: Path(name).stat().st_size for name in names})


@pytest.fixture
def rows(spark: SparkSession, tmp_path: Path) -> FeatureRows:
    return FeatureRows(spark, chosen(tmp_path), ())


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is cut where it has more than a kilobyte, into many tasks, and opening it costs little."""
    monkeypatch.setattr(feature_rows, "_TASK_BYTES", 2 << 10)
    monkeypatch.setattr(feature_rows, "ROW_GROUP_BYTES", 1 << 10)
    monkeypatch.setattr(feature_rows, "_MIN_TASK_BYTES", 1 << 8)


def by_number(features: Rows, pca: Pca) -> pa.Table:
    """The projection, in the order of the photographs' numbers."""
    found = project(features, pca, "/in").toArrow()
    return found.take(np.argsort([Path(path).stem for path in found["path"].to_pylist()]))


def components(found: pa.Table) -> np.ndarray:
    return np.stack(found["pca_features"].to_pylist())


def fitted(features: Rows, solver: str = "auto") -> Pca:
    return fit(
        features, dimension=DIMENSION, variance=0.95, components=None, standardize=True, solver=solver, seed=0,
        memory=1 << 30,
    ).pca  # fmt: skip


@pytest.mark.parametrize("solver", ["gram", "dual", "randomized"])
def test_a_fit_on_files_is_that_on_a_data_frame(
    spark: SparkSession, rows: FeatureRows, small_groups: None, monkeypatch: pytest.MonkeyPatch, solver: str
) -> None:
    if solver == "dual":
        monkeypatch.setattr(solvers, "GRAM_MAX_DIMENSION", 0)
    asked = "randomized" if solver == "randomized" else "auto"
    found, expected = fitted(rows, asked), fitted(frame(spark, STORED[WANTED], 5), asked)
    assert found.solver == solver
    assert (found.n_photographs, found.n_components) == (len(WANTED), expected.n_components)
    np.testing.assert_allclose(found.spectrum, expected.spectrum, rtol=1e-9)
    np.testing.assert_allclose(found.components, expected.components, atol=1e-9)


@pytest.mark.parametrize("tasks", [1, 2, 3, 40])
def test_the_projection_does_not_depend_on_tasks(rows: FeatureRows, small_groups: None, tasks: int) -> None:
    pca = fitted(rows)
    found, given = by_number(rows.coalesce(tasks), pca), table(STORED).take(WANTED)
    for name in ("path", "label", "split", "version"):
        assert found[name] == given[name]
    expected = pca.transform(STORED[WANTED])
    assert np.abs(components(found) - expected.astype(np.float32)).max() <= 1e-9 * np.ptp(expected)
    drift = measure_drift(rows.coalesce(tasks), pca)
    assert (drift.n_photographs, drift.drifted) == (len(WANTED), False)


def test_a_file_may_be_read_by_many_tasks_and_a_task_reads_many_files(rows: FeatureRows, small_groups: None) -> None:
    def files(tasks: int) -> list[set[str]]:
        cheap = replace(rows, open_cost=1 << 8)
        return [{piece.path for piece in pieces} for pieces in cheap.coalesce(tasks)._tasks()]

    (whole,) = files(1)
    assert len(whole) == 3  # of the fourth no row is wanted
    largest = max(rows.selection.files, key=lambda file: file.size).path
    assert sum(largest in read for read in files(20)) > 5
    assert rows.coalesce(20).coalesce(30).max_tasks == 20
    for tasks in (1, 3, 20):
        assert sum(counted(rows.coalesce(tasks)).toArrow()["rows"].to_pylist()) == len(WANTED)


def counted(rows: FeatureRows) -> DataFrame:
    """How many rows each task read, and in which process; lazy."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        number = sum(batch.num_rows for batch in batches)
        yield pa.record_batch({"rows": pa.array([number], pa.int64()), "pid": pa.array([os.getpid()], pa.int64())})

    return rows.mapInArrow(count, "rows long, pid long")


def test_tasks_have_about_the_same_bytes(spark: SparkSession) -> None:
    sizes = [128 << 20] * 9 + [70 << 20, 10 << 20, 1000]
    files = tuple(SelectedFile(f"/{number}", 1000, size) for number, size in enumerate(sizes))
    size = {file.path: file.size for file in files}
    for tasks in (2, 4, 7, 16):
        found = FeatureRows(spark, Selection(files), (), max_tasks=tasks)._tasks()
        loads = [sum(size[piece.path] / piece.parts for piece in pieces) for pieces in found]
        assert len(loads) == min(tasks, 11)  # as Spark, which takes 128 MB a task, and opening a file for 4 MB
        assert max(loads) - min(loads) <= max(36 << 20, sum(loads) / len(loads) / 4)  # a piece
        pieces = [(piece.path, piece.part, piece.parts) for pieces in found for piece in pieces]
        assert sorted(pieces) == sorted(
            (path, part, parts) for path, parts in {(path, parts) for path, _, parts in pieces} for part in range(parts)
        )


def test_a_second_pass_is_computed_by_the_workers_of_the_first(rows: FeatureRows, small_groups: None) -> None:
    pids = set[int]()
    for _ in range(3):
        pids.update(counted(rows.coalesce(4)).toArrow()["pid"].to_pylist())
        fitted(rows)
    assert len(pids) <= 2  # one a core


def test_a_worker_computes_with_one_thread(rows: FeatureRows) -> None:
    def threads(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from threadpoolctl import threadpool_info

        found = [pool["num_threads"] for pool in threadpool_info()]
        yield pa.record_batch({"threads": pa.array([*found, pa.cpu_count()], pa.int32())})
        for _ in batches:
            pass

    found = rows.mapInArrow(threads, "threads int").toArrow()["threads"].to_pylist()
    assert len(found) >= 2
    assert set(found) == {1}


def test_nothing_selected_is_no_row(spark: SparkSession) -> None:
    nothing = FeatureRows(spark, Selection(()), ())
    assert nothing.mapInArrow(lambda batches: batches, "path string").toArrow().num_rows == 0


def test_a_file_that_vanishes_is_recognised(rows: FeatureRows) -> None:
    planned = counted(rows)
    Path(rows.selection.files[1].path).unlink()
    with pytest.raises(Exception, match="the stored file") as caught:
        planned.toArrow()
    assert vanished(caught.value)


def test_a_damaged_file_is_one_clear_line(rows: FeatureRows) -> None:
    file = rows.selection.files[1].path
    Path(file).write_bytes(Path(file).read_bytes()[:2000])
    with pytest.raises(Exception, match="is damaged") as caught:
        moments.compute_moments(rows, DIMENSION)
    assert not vanished(caught.value)
    explained = explain(caught.value)
    assert explained is not None
    assert explained.line == f"{file} is damaged. Delete it: its photographs are computed again."


def test_a_worker_reads_a_bucket_in_ranges(s3_environment: Minio, tmp_path: Path) -> None:
    client, bucket = s3_environment.client(), s3_environment.bucket()
    pq.write_table(table(STORED), tmp_path / "part", row_group_size=100, use_dictionary=False, compression="none")
    client.upload_file(str(tmp_path / "part"), bucket, "out/features/part-0.parquet")
    stores, path = Stores(), f"s3://{bucket}/out/features/part-0.parquet"
    bitmap = np.packbits(np.isin(np.arange(700), WANTED)).tobytes()
    pieces = [_Piece(path, 700, bitmap, part, 3) for part in range(3)]
    read = [batch for piece in pieces for batch in _read_piece(stores, ("path", "features"), piece)]
    numbers = [int(Path(path).stem) for batch in read for path in batch["path"].to_pylist()]
    assert sorted(numbers) == WANTED.tolist()
    np.testing.assert_array_equal(np.vstack([matrix(batch, DIMENSION) for batch in read]), STORED[numbers])
    reading = _read_piece(stores, ("features",), pieces[0])
    next(reading)
    client.delete_object(Bucket=bucket, Key="out/features/part-0.parquet")
    for late in (reading, _read_piece(stores, ("features",), pieces[0])):
        with pytest.raises(FileNotFoundError, match=f"the stored file {path} is gone"):
            list(late)
