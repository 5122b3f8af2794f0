"""One Spark for all integration tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from verger.access.session import session
from verger.config import RunConfig

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# The workers, and the runs that tests start as processes of their own, use this interpreter.
os.environ["PYSPARK_PYTHON"] = sys.executable

if "COVERAGE_PROCESS_CONFIG" in os.environ:  # the workers are measured too
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        "--conf spark.python.daemon.module=tests.integration.measured_daemon pyspark-shell"
    )


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A session with two cores. Tests must not stop it."""
    folder = tmp_path_factory.mktemp("spark")
    config = RunConfig(input=str(folder / "in"), output=str(folder / "out"), cores=2, local_dir=str(folder / "local"))
    with session(config) as spark:
        yield spark
