"""What a person tries first on a table in a bucket, with AWS's own variables set as for the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest

from tests.conftest import ROOT
from tests.integration.runs import finished
from tests.integration.s3 import Minio
from tests.integration.s3_runs import COUNT, Place, reach
from tests.integration.test_readers import BAD, READERS, folders_of_tables
from verger.spark import s3a

pytestmark = pytest.mark.slow

COPIES = 1
ROWS = {"projection": COUNT + COPIES, "features": COUNT + COPIES, "rejected": BAD, "rejects": BAD, "audit": None}
# By readers of s3:// that they bring along; pandas takes pyarrow's where s3fs is not installed.
# Polars takes a URI without a slash at its end for an object, as docs/output-format.md says.
BY_URI = [
    (name, slash)
    for name in READERS
    for slash in ("", "/")
    if name != "duckdb" and (slash or not name.startswith("polars"))
]

# A person's own Spark session; it has nothing of Verger but the jars, which any Spark needs for a bucket.
COUNT_BY_SPARK = """
import json, sys
from pyspark.sql import SparkSession
settings, folders = json.load(sys.stdin)
builder = SparkSession.builder.master("local[1]")
for name, value in settings.items():
    builder = builder.config(name, value)
spark = builder.getOrCreate()
print(json.dumps({name: spark.read.parquet(folder).count() for name, folder in folders.items()}))
"""


@pytest.fixture(scope="module")
def folders(jars: Path, minio: Minio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URI of each table of a run's output, by its name."""
    with pytest.MonkeyPatch.context() as patch:
        reach(minio, patch)
        place = Place.make(minio, tmp_path_factory.mktemp("read"))
        for number in range(BAD):
            place.put(f"in/{number}.jpg", b"")
        place.put("in/label 1/copy.png", place.get("in/label 0/0000.png"))  # of which the audit tells
        code, stderr, _ = finished(place.start("--components", "3"))
        assert code == 0, stderr
        (manifest,) = place.documents("manifest.json")
        yield folders_of_tables(place.output, manifest)


def assert_rows(table: str, got: int) -> None:
    expected = ROWS[table]
    assert got == expected if expected is not None else got > 0


@pytest.mark.parametrize(("reader", "slash"), BY_URI)
@pytest.mark.parametrize("table", ROWS)
def test_a_folder_in_a_bucket_is_read_at_the_first_attempt(
    folders: dict[str, str], table: str, reader: str, slash: str
) -> None:
    assert_rows(table, READERS[reader](folders[table] + slash))


@pytest.mark.may_skip_in_ci
@pytest.mark.parametrize("table", ROWS)
def test_duckdb_reads_a_folder_of_a_bucket_by_its_own_extension(
    folders: dict[str, str], minio: Minio, table: str
) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as database:
        try:
            database.execute("LOAD httpfs")
        except duckdb.Error:
            pytest.skip("DuckDB's extension httpfs is not installed: `INSTALL httpfs` downloads it from DuckDB's site")
        database.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{minio.access_key}', SECRET '{minio.secret_key}', "
            f"ENDPOINT '127.0.0.1:{minio.port}', REGION '{minio.region}', USE_SSL false, URL_STYLE 'path')"
        )
        query = f"SELECT count(*) FROM read_parquet('{folders[table]}/**/*.parquet')"
        assert_rows(table, database.execute(query).fetchone()[0])


@pytest.mark.parametrize("table", ROWS)
def test_duckdb_reads_a_folder_of_a_bucket_by_pyarrow(folders: dict[str, str], table: str) -> None:
    """Without its extension."""
    with pytest.importorskip("duckdb").connect() as database:
        assert_rows(table, len(database.from_arrow(ds.dataset(folders[table]))))


def test_spark_reads_the_folders_of_a_bucket_at_the_first_attempt(folders: dict[str, str], minio: Minio) -> None:
    settings = {
        "spark.driver.extraClassPath": s3a.class_path(),
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.hadoop.fs.s3a.endpoint": minio.endpoint_url,
        "spark.hadoop.fs.s3a.endpoint.region": minio.region,
        "spark.hadoop.fs.s3a.path.style.access": "true",
    }
    uris = {name: folder.replace("s3://", "s3a://", 1) for name, folder in folders.items()}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_BY_SPARK],
        input=json.dumps([settings, uris]),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    for table, got in json.loads(done.stdout.splitlines()[-1]).items():
        assert_rows(table, got)
