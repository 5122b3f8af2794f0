"""Spark as spark-submit has started it, in Kubernetes above all: what the session adds to the submission."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from verger.errors import UsageError
from verger.storage.buckets import Bucket

if TYPE_CHECKING:
    from pyspark import SparkConf

# Read at the UI's address, where there is one: /metrics/prometheus of the driver, /metrics/executors/prometheus of all.
_METRICS = {
    "spark.ui.prometheus.enabled": "true",
    "spark.metrics.namespace": "verger",  # else every run's id, and a series of its own for each
    "spark.metrics.conf.driver.sink.prometheusServlet.class": "org.apache.spark.metrics.sink.PrometheusServlet",
    "spark.metrics.conf.driver.sink.prometheusServlet.path": "/metrics/prometheus",
}

# Executors come and go with their machines; a photograph is computed again at little cost.
_KUBERNETES = {
    "spark.task.maxFailures": "8",
    "spark.executor.failuresValidityInterval": "1h",
    # An executor that is told of its end takes no new task. What it holds is not moved elsewhere: nothing is cached,
    # and shuffles are small.
    "spark.decommission.enabled": "true",
    # Fixed, so that a network policy can name them.
    "spark.driver.port": "7078",
    "spark.driver.blockManager.port": "7079",
    "spark.blockManager.port": "7079",
    "spark.executor.syncLogLevel.enabled": "true",
}


def complete(submitted: SparkConf) -> None:
    """Add what the submission does not say itself, before the context starts.

    All of it is read when the driver's context or an executor starts, so that it still counts after the driver's JVM
    has; its memory, options and class path do not.
    """
    settings = _METRICS
    if (submitted.get("spark.master") or "").startswith("k8s"):
        settings = _METRICS | _KUBERNETES | _of_size(submitted)
    for name, value in settings.items():
        submitted.setIfMissing(name, value)


def _of_size(submitted: SparkConf) -> dict[str, str]:
    """What depends on the number of executors."""
    executors = int(submitted.get("spark.executor.instances") or 2)
    settings = {"spark.executor.maxNumFailures": str(max(20, 5 * executors))}
    if submitted.get("spark.dynamicAllocation.enabled", "false") != "true":
        # Not as many cores as have come so far: an image may take minutes to be pulled.
        cores = int(submitted.get("spark.executor.cores") or 1)
        settings["spark.default.parallelism"] = str(executors * cores)
    return settings


def require_trust(buckets: Iterable[Bucket]) -> None:
    """See that the JVM, which reads no PEM file, was started with a trust store where a bucket needs one.

    Raises
    ------
    UsageError
        It was not; its requests would fail at the first write.
    """
    from pyspark import SparkContext

    bundles = [bucket.ca_bundle for bucket in buckets if bucket.ca_bundle]
    if bundles and SparkContext._jvm.java.lang.System.getProperty("javax.net.ssl.trustStore") is None:  # type: ignore[union-attr]
        raise UsageError(
            f"the store's authority is in {bundles[0]}, and the JVM that spark-submit started does not know it",
            "In Verger's image set AWS_CA_BUNDLE on driver and executors, elsewhere -Djavax.net.ssl.trustStore on both",
        )
