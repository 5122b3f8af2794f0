"""Spark as spark-submit started it, mostly in Kubernetes: settings that the session adds to the submission."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from verger.errors import UsageError
from verger.redaction import words
from verger.spark import variables
from verger.storage.buckets import Bucket

if TYPE_CHECKING:
    from pyspark import SparkConf

SPARK_VERSION = "4.3"
"""Major and minor version of the Spark that is pinned."""

# Served at the address of the UI: /metrics/prometheus for the driver, /metrics/executors/prometheus for executors.
_METRICS = {
    "spark.ui.prometheus.enabled": "true",
    "spark.metrics.namespace": "verger",  # by default it is the run's id, and every run has its own series
    "spark.metrics.conf.driver.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
    "spark.metrics.conf.driver.sink.prometheusServlet.path": "/metrics/prometheus",
}

# Executors on spot machines come and go. Computing a photograph again costs little.
_KUBERNETES = {
    "spark.task.maxFailures": "8",
    "spark.executor.failuresValidityInterval": "1h",
    # An executor that is about to end takes no new task. Its blocks are not moved: nothing is cached, and shuffles are
    # small.
    "spark.decommission.enabled": "true",
    # Fixed, so that a network policy can name them.
    "spark.driver.port": "7078",
    "spark.driver.blockManager.port": "7079",
    "spark.blockManager.port": "7079",
    "spark.executor.syncLogLevel.enabled": "true",
}


def add_defaults(submitted: SparkConf) -> None:
    """Add settings that the submission leaves out, before the context starts.

    Spark reads all of these when the driver's context or an executor starts. Memory, options and class path of the
    driver's JVM cannot be set here: it runs already.

    Parameters
    ----------
    submitted : pyspark.SparkConf
        Changed in place.
    """
    settings = _METRICS
    if (submitted.get("spark.master") or "").startswith("k8s"):
        settings = _METRICS | _KUBERNETES | _settings_by_size(submitted)
    for name, value in settings.items():
        submitted.setIfMissing(name, value)


def _settings_by_size(submitted: SparkConf) -> dict[str, str]:
    """Settings that depend on the number of executors."""
    executors = int(submitted.get("spark.executor.instances") or 2)
    settings = {"spark.executor.maxNumFailures": str(max(20, 5 * executors))}
    if submitted.get("spark.dynamicAllocation.enabled", "false") != "true":
        # Spark would count the executors that have started so far, but pulling an image may take minutes.
        cores = int(submitted.get("spark.executor.cores") or 1)
        settings["spark.default.parallelism"] = str(executors * cores)
    return settings


def connect() -> None:
    """Connect to the JVM that spark-submit started, and check that it is of our Spark.

    Raises
    ------
    UsageError
        Nothing answers where PYSPARK_GATEWAY_PORT says, or it is another Spark.
    """
    from pyspark import SparkContext

    require_version()
    try:
        SparkContext._ensure_initialized()
    except Exception as error:
        raise UsageError(
            f"PYSPARK_GATEWAY_PORT is set, and no spark-submit answers there ({words(error)})",
            "Unset PYSPARK_GATEWAY_PORT, or start the command by spark-submit",
        ) from error
    spark = SparkContext._jvm.org.apache.spark  # type: ignore[union-attr]
    _require_version(_object(spark, "package").SPARK_VERSION(), "spark-submit")
    if _object(spark, "SparkContext").getActive().isDefined() and SparkContext._active_spark_context is None:
        raise UsageError(
            "PYSPARK_GATEWAY_PORT names the Spark of another program, such as a notebook",
            "Unset PYSPARK_GATEWAY_PORT",
        )


def _object(package: Any, name: str) -> Any:
    """An object of Scala, by whose class Java knows its methods."""
    return getattr(getattr(package, f"{name}$"), "MODULE$")


def require_version() -> None:
    """Check that the PySpark that Python imports is of our Spark.

    Raises
    ------
    UsageError
        It is another one.
    """
    import pyspark

    _require_version(pyspark.__version__, os.path.dirname(pyspark.__file__))


def _require_version(version: str, where: str) -> None:
    if version.startswith(f"{SPARK_VERSION}."):
        return
    named = "SPARK_HOME" if variables.is_submitted() else "PYTHONPATH"
    value = f" ({named} is {os.environ[named]})" if os.environ.get(named) else ""
    raise UsageError(
        f"Verger needs Spark {SPARK_VERSION}, and {where} has {version}{value}",
        f"Unset {named}" if value else "Install verger with its requirements: make install",
    )


def require_trust_store(buckets: Iterable[Bucket]) -> None:
    """Check that the JVM was started with a trust store, where a bucket has a CA bundle. It cannot read PEM files.

    Parameters
    ----------
    buckets : iterable of Bucket
        Those that Spark writes to.

    Raises
    ------
    UsageError
        It was not: its first write would fail.
    """
    from pyspark import SparkContext

    bundles = [bucket.ca_bundle for bucket in buckets if bucket.ca_bundle]
    if bundles and SparkContext._jvm.java.lang.System.getProperty("javax.net.ssl.trustStore") is None:  # type: ignore[union-attr]
        raise UsageError(
            f"the JVM that spark-submit started does not trust the authority in {bundles[0]}",
            "In Verger's image set AWS_CA_BUNDLE on driver and executors, elsewhere -Djavax.net.ssl.trustStore on both",
        )
