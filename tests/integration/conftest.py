"""One Spark for all integration tests, and S3 servers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT
from tests.integration.runs import photographs, run
from tests.integration.s3 import Minio, Versity
from tests.integration.s3_runs import COUNT, Place, Tables, reach
from verger.config import RunConfig
from verger.photographs.synthetic import draw
from verger.spark.session import session
from verger.storage.stores import Stores

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The workers, and the runs that tests start as processes of their own, use this interpreter.
os.environ["PYSPARK_PYTHON"] = sys.executable

if "COVERAGE_PROCESS_CONFIG" in os.environ:  # the workers are measured too
    paths = (str(Path(__file__).with_name("measured")), str(ROOT), os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session with two cores. Tests must not stop it."""
    folder = tmp_path_factory.mktemp("spark")
    config = RunConfig(input=str(folder / "in"), output=str(folder / "out"), cores=2, local_dir=str(folder / "local"))
    with session(config, Stores(), config.output, config.input) as spark:
        yield spark


@dataclass(frozen=True)
class DrawnRun:
    """A finished run: the folder with ``in`` and ``out``, and the manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def output(self) -> Path:
        return self.folder / "out"


@pytest.fixture(scope="session")
def drawn_run(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> DrawnRun:
    """A run of the bundled network on drawn fruit, by fruit, with classifier. Tests copy what they change."""
    folder = tmp_path_factory.mktemp("drawn")
    draw(str(folder / "in"), 150)
    settings = {"backbone": "mobilenet_v2", "input_size": 96, "classifier": True, "class_regex": r"^\w+"}
    return DrawnRun(folder, run(spark, folder, **settings))


@pytest.fixture(scope="session")
def expected(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """The tables of an undisturbed run on folders, over the photographs that `s3_runs.Place` puts into a bucket."""
    folder = tmp_path_factory.mktemp("expected")
    photographs(folder / "in", COUNT)
    run(spark, folder)
    return Tables.load(str(folder / "out"), str(folder / "in"))


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    """A MinIO for all tests, which make buckets of their own in it. Tests must not stop it."""
    with Minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def versity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versity]:
    """A versitygw for all tests, which make buckets of their own in it. Tests must not stop it."""
    with Versity(tmp_path_factory.mktemp("versity")) as server:
        yield server


@pytest.fixture
def minios(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Minio]]:
    """Starts a MinIO for one test, with the parameters of `Minio` but its folder: another region, TLS."""
    with ExitStack() as running:

        def start(**parameters: Any) -> Minio:
            return running.enter_context(Minio(tmp_path_factory.mktemp("minio"), **parameters))

        yield start


@pytest.fixture
def own_minio(minios: Callable[..., Minio]) -> Minio:
    """A MinIO that the test may stop, pause and start again."""
    return minios()


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch, minio: Minio) -> Minio:
    """The `minio` of all tests, as what this process and those that it starts find in AWS's own variables."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in minio.environment().items():
        monkeypatch.setenv(name, value)
    return minio


@pytest.fixture
def place(minio: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A bucket with photographs, for runs that read it, and write to it."""
    reach(minio, monkeypatch)
    return Place.make(minio, tmp_path)
