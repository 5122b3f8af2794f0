"""Spark as spark-submit started it, mostly in Kubernetes: settings that the session adds to the submission."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from verger.errors import UsageError
from verger.redaction import words
from verger.spark import variables
from verger.storage.buckets import Bucket

if TYPE_CHECKING:
    from pyspark import SparkConf

SPARK_VERSION = "4.3"
"""Major and minor version of the Spark that is pinned."""

_REPLACED = "[?\ufffd]"  # what Java, or a program in between, puts in the place of a letter
_LOCALE = ("LC_ALL", "LC_CTYPE", "LANG")  # the first one that is set counts

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


def require_arguments(places: Collection[str], patterns: Collection[str]) -> None:
    """Check that spark-submit has not replaced letters of the arguments by question marks.

    Java decodes them in the encoding of its locale. In the locale C, or in one that is not installed, every byte of a
    letter that is not ASCII becomes a question mark, before Verger starts: nothing can bring the letter back.

    Parameters
    ----------
    places : collection of str
        Arguments that name files, folders and buckets.
    patterns : collection of str
        Globs and regular expressions, in which a question mark is nothing unusual: of these it warns.

    Raises
    ------
    UsageError
        A place has a question mark, and Java's encoding is not UTF-8.
    """
    if not variables.is_submitted() or not any(re.search(_REPLACED, text) for text in (*places, *patterns)):
        return
    try:
        connect()
    except UsageError:  # a command that needs Spark says so itself
        return
    encoding = encoding_of_names()
    for place in places:
        require_letters(place, encoding)
    for pattern in patterns:
        if encoding != "UTF-8" and re.search(_REPLACED, pattern):
            logging.getLogger("verger").warning(_lost_letters(pattern, encoding))


def encoding_of_names() -> str:
    """In which encoding the JVM of this process reads its arguments and names files.

    Returns
    -------
    str
        As Java calls it: "UTF-8", or "ANSI_X3.4-1968" for ASCII.
    """
    from pyspark import SparkContext

    return str(SparkContext._jvm.java.lang.System.getProperty("sun.jnu.encoding"))  # type: ignore[union-attr]


def require_letters(path: str, encoding: str) -> None:
    """Check that spark-submit has not replaced letters of a path by question marks.

    Parameters
    ----------
    path : str
        As the command line gave it.
    encoding : str
        As `encoding_of_names` gives it.

    Raises
    ------
    UsageError
        The path has a question mark, and the encoding is not UTF-8.
    """
    if encoding != "UTF-8" and re.search(_REPLACED, path):
        raise UsageError(_lost_letters(path, encoding), "Set LC_ALL=C.UTF-8 for spark-submit")


def _lost_letters(text: str, encoding: str) -> str:
    # Python sets LC_CTYPE=C.UTF-8 for itself, where there is no other locale.
    named = (name for name in _LOCALE if os.environ.get(name) and (name, os.environ[name]) != ("LC_CTYPE", "C.UTF-8"))
    locale = next((f"{name}={os.environ[name]}" for name in named), "no locale is set")
    return f"{text}: spark-submit reads its arguments in {encoding} ({locale}), and has perhaps replaced letters by '?'"


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
        Those to which Spark itself writes: that of the event log.

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
            "In Verger's image set AWS_CA_BUNDLE on the driver, elsewhere give its JVM -Djavax.net.ssl.trustStore",
        )
