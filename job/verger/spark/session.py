"""The SparkSession: embedded on one machine, or the one that spark-submit started; and what its errors mean."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verger.config import RunConfig
from verger.cores import available_cores
from verger.errors import UsageError
from verger.spark import failures, outages, submitted
from verger.spark.jobs import cancel_until
from verger.storage.buckets import Bucket, connected
from verger.storage.stores import storage_of
from verger.storage.uri import bucket_name, canonical

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import DataFrame, SparkSession

MINIMUM_JAVA = 17

# What the job itself asks of Spark, on one machine and on a cluster alike.
SETTINGS = {
    # One Arrow batch is one partition, so that the driver alone decides how many tasks a wave has.
    "spark.sql.execution.arrow.localRelationThreshold": "0",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",  # a row of 25,088 features is 100 kB
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # not INT96, which has no zone
    "spark.sql.catalogImplementation": "in-memory",
    # A worker holds the network: a fresh one would import TensorFlow and build it again.
    "spark.python.worker.reuse": "true",
    # One thread a worker: cores are shared out by Spark, and sums come out the same everywhere.
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.TF_CPP_MIN_LOG_LEVEL": "3",
    "spark.ui.showConsoleProgress": "false",
    # What the UI and the event log never show. Keys are no settings of ours, but may be of whoever submits.
    "spark.redaction.regex": "(?i)secret|password|token|access[._]?key|trustStore",
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
    """Write to a folder that must not exist yet: nothing is overwritten in place."""
    table.write.mode("errorifexists").options(**PARQUET).parquet(uri)


def java_version() -> int | None:
    """The major version of the Java that Spark would start, or None where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = os.path.join(home, "bin", "java") if home else shutil.which("java")
    if java is None:
        return None
    try:
        said = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=60, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else None


@contextmanager
def session(config: RunConfig) -> Iterator[SparkSession]:
    """A SparkSession for one run, stopped when the context ends.

    Parameters
    ----------
    config : RunConfig
        ``cores``, ``driver_memory``, ``local_dir`` and ``log_level`` shape an embedded Spark;
        under spark-submit the master and memory are the submission's.

    Yields
    ------
    pyspark.sql.SparkSession

    Raises
    ------
    UsageError
        There is no Java, or one that is too old.
    """
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        with _started(_submitted(config)) as spark, outages.watched(_reached(config)):
            spark.sparkContext.setLogLevel(_log4j_level(config))  # once more, for executors
            yield equipped(spark, config)
        return
    _require_java()
    # Or Spark looks up the machine's own name, and does not start where that has no address, as in many a container.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    stores = _stores(config)
    with (
        _quiet(config) as (folder, kwargs),
        _started(_conf(SETTINGS | stores | _embedded(config, folder)), kwargs) as spark,
        outages.watched(_reached(config)),
    ):
        yield equipped(spark, config)


def _submitted(config: RunConfig) -> SparkConf:
    """The settings of spark-submit, completed by ours; its JVM is there, and speaks as loudly as is asked for."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    submitted.require_trust(_reached(config) if uses_s3(config) else ())
    conf = SparkConf().setAll(list((SETTINGS | _stores(config)).items()))
    submitted.complete(conf)
    # Not by spark.log.level, which says so in a line of its own that no layout of the log shapes.
    conf._jconf.initializeLogIfNecessary(False)  # type: ignore[union-attr]
    SparkContext._jvm.org.apache.spark.util.Utils.setLogLevelIfNeeded(_log4j_level(config))  # type: ignore[union-attr]
    return conf


def _stores(config: RunConfig) -> dict[str, str]:
    """Settings of S3 and of the event log."""
    settings = {}
    if config.event_log:
        place = canonical(config.event_log)
        storage_of(place).make_folder(place)  # Spark refuses to start without it
        settings = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": storage_of(place).spark_uri(place)}
    if uses_s3(config):
        from verger.spark import s3a

        settings |= s3a.settings(_reached(config), config)
    return settings


def _reached(config: RunConfig) -> tuple[Bucket, ...]:
    """The buckets of a run, among those that this process has connected for whatever else it did."""
    names = {bucket_name(canonical(uri)) for uri in (config.input, config.output, config.event_log) if uri}
    return tuple(bucket for bucket in connected() if bucket.name in names)


def uses_s3(config: RunConfig) -> bool:
    """Whether Spark itself touches a bucket: photographs are read by boto3."""
    return any(bucket_name(canonical(uri)) for uri in (config.output, config.event_log) if uri)


def equipped(spark: SparkSession, config: RunConfig) -> SparkSession:
    """The session, which can write where the run writes.

    Raises
    ------
    UsageError
        It lacks what S3 takes.
    """
    if uses_s3(config):
        from verger.spark import s3a

        s3a.require_committer(spark)
    return spark


@contextmanager
def _started(conf: Any, popen_kwargs: dict[str, Any] | None = None) -> Iterator[SparkSession]:
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with failures.explained():
        interrupts = _Interrupts()
        own = SparkContext._gateway is None and "PYSPARK_GATEWAY_PORT" not in os.environ
        if SparkContext._gateway is None:
            SparkContext._ensure_initialized(gateway=launch_gateway(conf, popen_kwargs), conf=conf)  # type: ignore[no-untyped-call]
        spark = SparkSession.builder.config(conf=conf).getOrCreate()
    jvm = SparkContext._gateway if own else None
    try:
        with interrupts.waking(spark):
            yield spark
    except BaseException as error:
        told = failures.told(error)
        # In a thread of its own, for a call that was interrupted still owns this thread's connection to the JVM.
        stopping = threading.Thread(target=_stop, args=(spark,), daemon=True)
        stopping.start()
        stopping.join(timeout=10)
        if interrupts.caught is not None and error is not interrupts.caught:
            raise interrupts.caught from error
        if told is not error:
            raise told from error
        raise
    else:
        _stop(spark)
    finally:
        if jvm is not None:
            _end(jvm)


def _end(jvm: Any) -> None:
    """End the JVM with its session: it keeps the keys, endpoints and class path with which it was started."""
    from pyspark import SparkContext

    with suppress(Exception):
        jvm.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    with suppress(OSError):
        jvm.proc.stdin.close()  # it reads the other end
    try:
        jvm.proc.wait(timeout=5)
    except subprocess.TimeoutExpired:
        jvm.proc.kill()


def _stop(spark: SparkSession) -> None:
    try:
        spark.stop()
    except Exception:  # the JVM is gone already: a second call ends what Python has of Spark, and passes over the JVM
        with suppress(Exception):
            spark.sparkContext.stop()


class _Interrupts:
    """SIGINT and SIGTERM while Spark computes: who waits for the JVM is woken by cancelling what it waits for.

    Without that, an interrupted call may wait for its job all the same, as `DataFrame.toArrow` does, and raise the
    job's error instead of the interrupt. To be made before the SparkContext, whose own SIGINT handler asks the JVM to
    cancel over the connection that is in use.

    Attributes
    ----------
    caught : KeyboardInterrupt, optional
        What the handler raised.
    """

    def __init__(self) -> None:
        self.caught: KeyboardInterrupt | None = None
        self._handlers: dict[int, Callable[..., Any]] = {}
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            self._handlers = {number: handler for number, handler in found.items() if callable(handler)}

    @contextmanager
    def waking(self, spark: SparkSession) -> Iterator[None]:
        """Handle the signals, as their handlers did before, for as long as the context lasts."""
        over = threading.Event()

        def handle(number: int, frame: Any) -> None:
            threading.Thread(target=cancel_until, args=(over, spark.sparkContext), daemon=True).start()
            try:
                self._handlers[number](number, frame)
            except KeyboardInterrupt as caught:
                self.caught = caught
                raise

        for number in self._handlers:
            signal.signal(number, handle)
        try:
            yield
        finally:
            over.set()
            for number, handler in self._handlers.items():
                signal.signal(number, handler)


def _conf(settings: dict[str, str]) -> SparkConf:
    from pyspark import SparkConf

    return SparkConf().setAppName("verger").setAll(list(settings.items()))


def _embedded(config: RunConfig, folder: Path) -> dict[str, str]:
    """An embedded Spark listens on the loopback only and leaves nothing behind."""
    log4j = (folder / "log4j2.properties").as_uri()
    # The first compiler alone: a JVM that lives for a minute and moves bytes never earns back the second.
    options = [f'-XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="{log4j}"']
    settings = {
        "spark.master": f"local[{config.cores or available_cores()}]",
        "spark.driver.memory": config.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
    }
    if config.local_dir:
        os.makedirs(config.local_dir, exist_ok=True)
        settings["spark.local.dir"] = os.path.abspath(config.local_dir)
    if uses_s3(config):
        from verger.spark import s3a

        settings["spark.driver.extraClassPath"] = s3a.class_path()
        options += s3a.trusting(folder / "authorities.p12", _reached(config))
    return settings | {"spark.driver.extraJavaOptions": " ".join(options)}


# Spark takes the level from its Python gateway's logger, and is at 'warn' whatever the root says where that has none.
# The last two would tell session tokens, in the headers of requests, at 'debug'.
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
logger.http.level = {of_requests}
logger.aws.name = software.amazon.awssdk
logger.aws.level = {of_requests}
"""


def _log4j_level(config: RunConfig) -> str:
    return {"warning": "warn"}.get(config.log_level, config.log_level)


@contextmanager
def _quiet(config: RunConfig) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder for the session, and how to start the JVM: out of our group, its messages only where asked for.

    A signal to the group, as a shell or an init system sends, must not take the JVM from under a run that ends in
    order. The JVM ends when we do: it reads our end of a pipe.
    """
    with tempfile.TemporaryDirectory(prefix="verger-") as folder:
        level = _log4j_level(config)
        log4j = Path(folder, "log4j2.properties")
        log4j.write_text(_LOG4J.format(level=level, of_requests="info" if level == "debug" else level))
        if config.log_level in ("debug", "info"):
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
