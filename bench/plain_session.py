"""The SparkSession of a job that knows nothing of Verger: all cores, and Spark's own settings."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DRIVER_MEMORY = "2g"  # as much as Verger gives its own by default


def start_session() -> SparkSession:
    """A SparkSession on all cores, whose workers are this Python."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable  # else workers are the python3 of the PATH, which may have no pandas
    builder = SparkSession.builder.appName("notebook").master("local[*]")
    for name, value in {
        "spark.driver.memory": DRIVER_MEMORY,
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
