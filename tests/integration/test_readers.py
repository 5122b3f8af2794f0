"""What a person tries first on a table of an output: a folder's name, in pandas, Polars, DuckDB, pyarrow and Spark."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import verger
from tests.integration.runs import WITHOUT_INSIGHT, photographs, run
from verger.photographs import inventory
from verger.spool import spool
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.tables import compaction
from verger.tables.pruning import Listing, prune_gone

pytestmark = pytest.mark.required_in_ci

GOOD, BAD, WIDTH = 30, 2, 8 * 8 * 3
ROWS = {"projection": GOOD, "features": GOOD, "rejected": BAD, "rejects": BAD, "audit": None}


@pytest.fixture(scope="module")
def folders(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folder of each table of an output, by its name."""
    folder = tmp_path_factory.mktemp("read")
    photographs(folder / "in", GOOD)
    for number in range(BAD):
        (folder / "in" / f"{number}.jpg").touch()
    done = run(spark, folder, wave_size=16, partitions=2, components=3)
    return folders_of_tables(str(folder / "out"), done)


def folders_of_tables(output: str, manifest: dict[str, Any]) -> dict[str, str]:
    """The folder of each table that a run has left, by its name."""
    return {
        "projection": f"{output}/{manifest['projection']['path']}",
        "features": f"{output}/{manifest['features']['path']}",
        "rejected": f"{output}/runs/{manifest['run_id']}/rejected",
        "rejects": f"{output}/rejects/{manifest['features']['fingerprint']}",
        "audit": f"{output}/{manifest['audit']['path']}",
    }


def polars(path: str) -> int:
    return int(pytest.importorskip("polars").read_parquet(path).height)


def duckdb(path: str) -> int:
    with pytest.importorskip("duckdb").connect() as database:
        return int(database.execute(f"SELECT count(*) FROM read_parquet('{path}')").fetchone()[0])


READERS: dict[str, Callable[[str], int]] = {
    "pandas": lambda path: len(pd.read_parquet(path)),
    "polars": polars,
    "polars, lazily": lambda path: int(
        pytest.importorskip("polars").scan_parquet(path).select("path").collect().height
    ),
    "pyarrow.parquet": lambda path: int(pq.read_table(path).num_rows),
    "pyarrow.dataset": lambda path: int(ds.dataset(path).to_table().num_rows),
    "duckdb": duckdb,
}


@pytest.mark.parametrize("slash", ["", "/"], ids=["folder", "slash"])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("table", ROWS)
def test_a_folder_is_read_at_the_first_attempt(folders: dict[str, str], table: str, reader: str, slash: str) -> None:
    expected = ROWS[table]
    got = READERS[reader](folders[table] + slash)
    assert got == expected if expected is not None else got > 0


@pytest.mark.parametrize("reader", ["polars", "duckdb"])
@pytest.mark.parametrize("table", ROWS)
def test_a_pattern_of_files_is_read_at_the_first_attempt(folders: dict[str, str], table: str, reader: str) -> None:
    expected = ROWS[table]
    assert READERS[reader](folders[table] + "/**/*.parquet") == (expected or READERS[reader](folders[table]))


@pytest.mark.parametrize("table", ROWS)
def test_spark_reads_a_folder_at_the_first_attempt(spark: Any, folders: dict[str, str], table: str) -> None:
    got = spark.read.parquet(folders[table]).count()
    assert got == ROWS[table] if ROWS[table] is not None else got > 0


def test_no_folder_of_a_table_holds_anything_but_parquet_files(folders: dict[str, str]) -> None:
    for folder in folders.values():
        names = [name for _, _, files in os.walk(folder) for name in files]
        assert [name for name in names if not name.endswith(".parquet") or name[0] in "._"] == []


def test_lists_become_an_array_as_the_documentation_has_it(folders: dict[str, str]) -> None:
    features = folders["features"]
    expected = np.stack(verger.load_features(str(Path(features).parents[1]))["features"].to_pylist())
    pl, database = pytest.importorskip("polars"), pytest.importorskip("duckdb").connect()
    table = ds.dataset(features).to_table().sort_by("path")
    got = {
        "pandas": np.stack(pd.read_parquet(features).sort_values("path")["features"]),
        "polars": pl.read_parquet(features).sort("path")["features"].list.to_array(WIDTH).to_numpy(),
        "duckdb": np.stack(database.execute(f"FROM read_parquet('{features}') ORDER BY path").df()["features"]),
        "pyarrow": pa.compute.list_flatten(table["features"]).to_numpy().reshape(len(table), -1),
    }
    for name, array in got.items():
        assert array.dtype == np.float32, name
        np.testing.assert_array_equal(array, expected, err_msg=name)


@pytest.fixture(scope="module")
def compacted_and_pruned(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output whose features were compacted and pruned: files of Spark beside files of pyarrow."""
    folder = tmp_path_factory.mktemp("compacted")
    files = photographs(folder / "in", 12)
    run(spark, folder, wave_size=6, partitions=2, **WITHOUT_INSIGHT)
    output = str(folder / "out")
    compaction.compact(LocalStorage(), output, spark, pytest.fail)
    there = inventory.take(str(folder / "in"), Stores()).photographs.to_table()
    present = spool(there.schema, [there.filter(pa.compute.is_in(there["path"], pa.array(map(str, files[:9]))))])
    listing = Listing(str(folder / "in"), present, datetime.now(UTC))
    forgotten = prune_gone(LocalStorage(), output, listing, pytest.fail)
    assert forgotten == {"photographs": 6, "versions": 0, "rejections": 0, "refused": 0}  # with their copies
    photographs(folder / "in", 2, start=12)
    run(spark, folder, **WITHOUT_INSIGHT)
    return folder / "out"


@pytest.mark.parametrize("reader", [*READERS, "spark"])
def test_features_that_were_compacted_and_pruned_are_read_too(
    spark: Any, compacted_and_pruned: Path, reader: str
) -> None:
    (folder,) = map(str, (compacted_and_pruned / "features").iterdir())
    read = READERS.get(reader, lambda path: spark.read.parquet(path).count())
    assert read(folder) >= 14  # a copy of a row may still be there: see docs/output-format.md


def test_damage_inside_a_page_is_found(spark: Any, compacted_and_pruned: Path, tmp_path: Path) -> None:
    """Hadoop's .crc files, which told of it, are not written; readers that are asked to verify pages' checksums do."""
    verified = spark.read.option("parquet.page.verify-checksum.enabled", "true")
    for number, file in enumerate(compacted_and_pruned.glob("features/*/*/*.parquet")):
        data = bytearray(file.read_bytes())
        column = pq.ParquetFile(file).metadata.row_group(0).column(4)  # sha256: text, which zstd may take unnoticed
        data[column.data_page_offset + column.total_compressed_size - 3] ^= 1
        damaged = tmp_path / f"part-{number}.parquet"
        damaged.write_bytes(data)
        with pytest.raises(OSError, match="CRC"):
            pq.ParquetFile(damaged, page_checksum_verification=True).read(["sha256"])
        with pytest.raises(Exception, match=f"{damaged.name}|corrupt") as raised:
            verified.parquet(str(damaged)).select("sha256").collect()
        assert "FAILED_READ_FILE" in str(raised.value) or "could not verify page integrity" in str(raised.value)
