"""The SparkSession: embedded on one machine, or the one that spark-submit started."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verger.config import LogLevelSettings, SessionSettings
from verger.cores import available_cores
from verger.errors import UsageError
from verger.spark import failures, outages, submitted
from verger.spark.signals import SignalHandlers
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, canonical

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import DataFrame, SparkSession

MINIMUM_JAVA = 17

# Spark settings of the job, on one machine and on a cluster alike.
SETTINGS = {
    # One Arrow batch is one partition, so that the driver decides how many tasks a wave has.
    "spark.sql.execution.arrow.localRelationThreshold": "0",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",  # a row of 25,088 features is 100 kB
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # INT96 has no time zone
    "spark.sql.catalogImplementation": "in-memory",
    # A worker holds the network. A new one would import TensorFlow and build the network again.
    "spark.python.worker.reuse": "true",
    # One thread a worker: Spark divides the cores among workers, and sums are the same on every machine.
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.TF_CPP_MIN_LOG_LEVEL": "3",
    "spark.ui.showConsoleProgress": "false",
    # No _SUCCESS: a table's folder holds Parquet files and nothing else, as many readers take every file.
    "spark.hadoop.mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
    # Instead of .crc files, which only a disk had: Parquet has a checksum of every page, which Spark writes.
    "spark.hadoop.parquet.page.verify-checksum.enabled": "true",
    # What the UI and the event log never show. Our settings hold no keys, but those of a submission may.
    "spark.redaction.regex": "(?i)secret|password|token|access[._]?key|trustStore",
}

# Hadoop's file system of a disk, without the .crc files of its usual one, at which Polars fails too. spark-submit may
# have the usual one in the cache. S3A needs that one, for its buffers.
_WITHOUT_CRC = {
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.file.impl.disable.cache": "true",
}

# How features and projections are written. Floats compress as byte streams, not by dictionary;
# row groups are sized in bytes, since a row is 5 kB or 100 kB.
PARQUET = {
    "compression": "zstd",
    "parquet.enable.dictionary": "false",
    "parquet.enable.bytestreamsplit": "true",
    "parquet.block.size": str(32 << 20),
    "parquet.page.row.count.limit": "2000",
}


def write_parquet(table: DataFrame, uri: str) -> None:
    """Write a table as Parquet into a folder that must not exist yet: nothing is overwritten in place.

    Parameters
    ----------
    table : pyspark.sql.DataFrame
        Computed as it is written; each partition with rows becomes a file.
    uri : str
        As `Storage.spark_uri` gives it.
    """
    table.write.mode("errorifexists").options(**PARQUET).parquet(uri)


def java_version() -> int | None:
    """The major version of the Java that Spark would start.

    Returns
    -------
    int or None
        None where there is no Java.
    """
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if java is None:
        return None
    try:
        output = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', output)
    return int(found[1]) if found else None


@contextmanager
def session(
    settings: SessionSettings, stores: Stores, output: str | None, source: str | None = None
) -> Iterator[SparkSession]:
    """A SparkSession for one run, stopped when the context ends.

    Parameters
    ----------
    settings : SessionSettings
        ``cores``, ``driver_memory``, ``local_dir`` and ``log_level`` shape an embedded Spark;
        under spark-submit the master and memory are the submission's.
    stores : Stores
        The buckets of ``output``, ``source`` and event log are connected in it.
    output : str, optional
        Where Spark writes, a local path or URI; None where it writes nothing.
    source : str, optional
        Where the photographs are, a local path or URI.

    Yields
    ------
    pyspark.sql.SparkSession
        Embedded, or that of spark-submit; with S3A where Spark writes to a bucket.

    Raises
    ------
    UsageError
        There is no Java, or one that is too old; or Spark cannot write to S3 and should.
    StoreError
        A bucket does not answer any more.
    DoesNotFitError
        There is too little memory or disk space, or Spark's JVM died.
    """
    buckets = _buckets_of(stores, source, output, settings.event_log)
    s3 = uses_s3(output, settings.event_log)
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        conf = _conf_of_submission(settings, _storage_settings(settings, stores, buckets, s3), buckets if s3 else ())
        with _started_session(conf) as spark, outages.watch_stores(stores, buckets):
            spark.sparkContext.setLogLevel(_log4j_level(settings))  # again, for the executors
            require_s3_support(spark, s3)
            yield spark
        return
    _require_java()
    # Otherwise Spark looks up the host name, and fails where it has no address, as in many containers.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with _jvm_launch(settings) as (folder, popen_kwargs):
        storage = _storage_settings(settings, stores, buckets, s3)
        conf = _conf(SETTINGS | storage | _embedded(settings) | _java_options(folder, buckets, s3))
        with _started_session(conf, popen_kwargs) as spark, outages.watch_stores(stores, buckets):
            require_s3_support(spark, s3)
            yield spark


def _conf_of_submission(settings: SessionSettings, storage: dict[str, str], trusted: Collection[Bucket]) -> SparkConf:
    """The settings of spark-submit, completed by ours. Its JVM runs already, and gets its log level here."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    submitted.require_trust_store(trusted)
    conf = SparkConf().setAll(list((SETTINGS | storage).items()))
    submitted.add_defaults(conf)
    # Not with spark.log.level: Spark reports that in a line that is not in the format of the log.
    conf._jconf.initializeLogIfNecessary(False)  # type: ignore[union-attr]
    SparkContext._jvm.org.apache.spark.util.Utils.setLogLevelIfNeeded(_log4j_level(settings))  # type: ignore[union-attr]
    return conf


def _storage_settings(
    settings: SessionSettings, stores: Stores, buckets: Collection[Bucket], s3: bool
) -> dict[str, str]:
    """Settings of S3 and of the event log."""
    found = {}
    if settings.event_log:
        folder = canonical(settings.event_log)
        storage = stores.of(folder)
        storage.make_folder(folder)  # Spark does not start without it
        found = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": storage.spark_uri(folder)}
    if s3:
        from verger.spark import s3a

        return found | s3a.spark_settings(buckets, settings)
    return found | _WITHOUT_CRC


def _buckets_of(stores: Stores, *uris: str | None) -> tuple[Bucket, ...]:
    """The connected buckets of some URIs."""
    names = {bucket_name(canonical(uri)) for uri in uris if uri}
    return tuple(bucket for bucket in stores.buckets if bucket.name in names)


def uses_s3(output: str | None, event_log: str | None) -> bool:
    """Whether Spark writes to a bucket. It does not read photographs: boto3 does.

    Parameters
    ----------
    output, event_log : str, optional
        Local paths or URIs of what Spark writes.
    """
    return any(bucket_name(canonical(uri)) for uri in (output, event_log) if uri)


def require_s3_support(spark: SparkSession, s3: bool) -> None:
    """Check that a session can write to S3, where the run does.

    Parameters
    ----------
    spark : SparkSession
        The session whose JVM has to load S3A and its committer.
    s3 : bool
        Whether the run writes to S3.

    Raises
    ------
    UsageError
        S3A or its committer is missing.
    """
    if s3:
        from verger.spark import s3a

        s3a.require_committer(spark)


@contextmanager
def _started_session(conf: Any, popen_kwargs: dict[str, Any] | None = None) -> Iterator[SparkSession]:
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with failures.translate_errors():
        signals = SignalHandlers()
        starts_jvm = SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ
        if SparkContext._gateway is None:
            SparkContext._ensure_initialized(gateway=launch_gateway(conf, popen_kwargs), conf=conf)  # type: ignore[no-untyped-call]
        spark = SparkSession.builder.config(conf=conf).getOrCreate()
    jvm = SparkContext._gateway if starts_jvm else None
    try:
        with signals.installed(spark):
            yield spark
    except BaseException as error:
        detached = failures.detach_error(error)
        # In another thread: an interrupted call still holds this thread's connection to the JVM.
        stopping = threading.Thread(target=_stop_session, args=(spark,), daemon=True)
        stopping.start()
        stopping.join(timeout=10)
        if signals.caught is not None and error is not signals.caught:
            raise signals.caught from error
        if detached is not error:
            raise detached from error
        raise
    else:
        _stop_session(spark)
    finally:
        if jvm is not None:
            _stop_jvm(jvm)


def _stop_jvm(jvm: Any) -> None:
    """Stop the JVM after its session: it would keep the keys, endpoints and class path with which it was started."""
    from pyspark import SparkContext

    with suppress(Exception):
        jvm.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    with suppress(OSError):
        jvm.proc.stdin.close()  # the JVM ends when its standard input is closed
    try:
        jvm.proc.wait(timeout=5)
    except subprocess.TimeoutExpired:
        jvm.proc.kill()


def _stop_session(spark: SparkSession) -> None:
    try:
        spark.stop()
    except Exception:  # the JVM has ended: a second call cleans up the Python side only
        with suppress(Exception):
            spark.sparkContext.stop()


def _conf(settings: dict[str, str]) -> SparkConf:
    from pyspark import SparkConf

    return SparkConf().setAppName("verger").setAll(list(settings.items()))


def _embedded(settings: SessionSettings) -> dict[str, str]:
    """The settings of an embedded Spark. It listens on the loopback interface only."""
    found = {
        "spark.master": f"local[{settings.cores or available_cores()}]",
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
    }
    if settings.local_dir:
        os.makedirs(settings.local_dir, exist_ok=True)
        found["spark.local.dir"] = os.path.abspath(settings.local_dir)
    return found


def _java_options(folder: Path, buckets: Collection[Bucket], s3: bool) -> dict[str, str]:
    """The options of the driver's JVM. Its log configuration and trust store are in ``folder``."""
    log4j = (folder / "log4j2.properties").as_uri()
    # Only the first compiler: in a JVM that runs for a minute, the second costs more time than it saves.
    options, class_path = [f'-XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="{log4j}"'], {}
    if s3:
        from verger.spark import s3a

        class_path = {"spark.driver.extraClassPath": s3a.class_path()}
        options += s3a.trust_store_options(folder / "authorities.p12", buckets)
    return class_path | {"spark.driver.extraJavaOptions": " ".join(options)}


# Spark takes its level from the logger of its Python gateway; without one it is 'warn', whatever the root logger has.
# The last two loggers would log session tokens, in the headers of requests, at 'debug'.
_LOG4J = """
status = error
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{{HH:mm:ss}} %p %c{{1}}: %m%n%ex
rootLogger.level = {level}
rootLogger.appenderRef.console.ref = console
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = {level}
logger.http.name = org.apache.http
logger.http.level = {http_level}
logger.aws.name = software.amazon.awssdk
logger.aws.level = {http_level}
"""


def _log4j_level(settings: LogLevelSettings) -> str:
    return {"warning": "warn"}.get(settings.log_level, settings.log_level)


@contextmanager
def _jvm_launch(settings: LogLevelSettings) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder for the session's files, and arguments of Popen to start the JVM.

    The JVM runs in a process group of its own: a signal to ours, as a shell or an init system sends it, must not end
    it before the run has cleaned up. It ends with this process, as it reads from a pipe that we hold open. Its output
    is shown only at the log levels ``debug`` and ``info``.
    """
    with tempfile.TemporaryDirectory(prefix="verger-") as folder:
        level = _log4j_level(settings)
        log4j = Path(folder, "log4j2.properties")
        log4j.write_text(_LOG4J.format(level=level, http_level="info" if level == "debug" else level))
        if settings.log_level in ("debug", "info"):
            yield Path(folder), {"start_new_session": True}
            return
        with open(Path(folder, "spark.log"), "wb") as log:
            yield Path(folder), {"start_new_session": True, "stdout": log, "stderr": log}


def _require_java() -> None:
    version = java_version()
    if version is None or version < MINIMUM_JAVA:
        found = "no Java was found" if version is None else f"Java {version} was found"
        raise UsageError(
            f"Spark needs Java {MINIMUM_JAVA} or newer, and {found}",
            "Install one (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME",
        )
    if importlib.util.find_spec("pyspark") is None:
        raise UsageError("pyspark is not installed", "Install verger with its requirements: make install")
