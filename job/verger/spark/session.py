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
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verger.config import LogLevelSettings, SessionSettings
from verger.cores import available_cores
from verger.errors import UsageError
from verger.spark import failures, outages, submitted
from verger.spark.jobs import cancel_until
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores
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
        In which the buckets of ``output``, ``source`` and event log are connected.
    output : str, optional
        Where Spark writes, a local path or URI; None where it writes nowhere.
    source : str, optional
        Where the photographs are.

    Yields
    ------
    pyspark.sql.SparkSession

    Raises
    ------
    UsageError
        There is no Java, or one that is too old.
    """
    buckets = _connected(stores, source, output, settings.event_log)
    s3 = uses_s3(output, settings.event_log)
    if "PYSPARK_GATEWAY_PORT" in os.environ:
        conf = _submitted(settings, _storage_settings(settings, stores, buckets, s3), buckets if s3 else ())
        with _started(conf) as spark, outages.watched(stores, buckets):
            spark.sparkContext.setLogLevel(_log4j_level(settings))  # once more, for executors
            yield equipped(spark, s3)
        return
    _require_java()
    # Or Spark looks up the machine's own name, and does not start where that has no address, as in many a container.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    with _quiet(settings) as (folder, kwargs):
        storage = _storage_settings(settings, stores, buckets, s3)
        conf = _conf(SETTINGS | storage | _embedded(settings) | _java_options(folder, buckets, s3))
        with _started(conf, kwargs) as spark, outages.watched(stores, buckets):
            yield equipped(spark, s3)


def _submitted(settings: SessionSettings, storage: dict[str, str], trusted: Collection[Bucket]) -> SparkConf:
    """The settings of spark-submit, completed by ours; its JVM is there, and speaks as loudly as is asked for."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    submitted.require_trust(trusted)
    conf = SparkConf().setAll(list((SETTINGS | storage).items()))
    submitted.complete(conf)
    # Not by spark.log.level, which says so in a line of its own that no layout of the log shapes.
    conf._jconf.initializeLogIfNecessary(False)  # type: ignore[union-attr]
    SparkContext._jvm.org.apache.spark.util.Utils.setLogLevelIfNeeded(_log4j_level(settings))  # type: ignore[union-attr]
    return conf


def _storage_settings(
    settings: SessionSettings, stores: Stores, buckets: Collection[Bucket], s3: bool
) -> dict[str, str]:
    """Settings of S3 and of the event log."""
    found = {}
    if settings.event_log:
        place = canonical(settings.event_log)
        storage = stores.of(place)
        storage.make_folder(place)  # Spark refuses to start without it
        found = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": storage.spark_uri(place)}
    if s3:
        from verger.spark import s3a

        found |= s3a.settings(buckets, settings)
    return found


def _connected(stores: Stores, *places: str | None) -> tuple[Bucket, ...]:
    """The buckets of these places, among all that the command has connected."""
    names = {bucket_name(canonical(uri)) for uri in places if uri}
    return tuple(bucket for bucket in stores.buckets if bucket.name in names)


def uses_s3(output: str | None, event_log: str | None) -> bool:
    """Whether Spark itself touches a bucket: photographs are read by boto3.

    Parameters
    ----------
    output, event_log : str, optional
        Local paths or URIs of what Spark writes.
    """
    return any(bucket_name(canonical(uri)) for uri in (output, event_log) if uri)


def equipped(spark: SparkSession, s3: bool) -> SparkSession:
    """The session, which can write where the run writes.

    Parameters
    ----------
    spark : SparkSession
    s3 : bool
        Whether that is a bucket.

    Raises
    ------
    UsageError
        It lacks what S3 takes.
    """
    if s3:
        from verger.spark import s3a

        s3a.require_committer(spark)
    return spark


@contextmanager
def _started(conf: Any, popen_kwargs: dict[str, Any] | None = None) -> Iterator[SparkSession]:
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    with failures.translate_errors():
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
        detached = failures.detach_error(error)
        # In a thread of its own, for a call that was interrupted still owns this thread's connection to the JVM.
        stopping = threading.Thread(target=_stop, args=(spark,), daemon=True)
        stopping.start()
        stopping.join(timeout=10)
        if interrupts.caught is not None and error is not interrupts.caught:
            raise interrupts.caught from error
        if detached is not error:
            raise detached from error
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


def _embedded(settings: SessionSettings) -> dict[str, str]:
    """An embedded Spark listens on the loopback only and leaves nothing behind."""
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
    """What the driver's JVM is started with; ``folder`` holds its log configuration and trust store."""
    log4j = (folder / "log4j2.properties").as_uri()
    # The first compiler alone: a JVM that lives for a minute and moves bytes never earns back the second.
    options, class_path = [f'-XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="{log4j}"'], {}
    if s3:
        from verger.spark import s3a

        class_path = {"spark.driver.extraClassPath": s3a.class_path()}
        options += s3a.trusting(folder / "authorities.p12", buckets)
    return class_path | {"spark.driver.extraJavaOptions": " ".join(options)}


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


def _log4j_level(settings: LogLevelSettings) -> str:
    return {"warning": "warn"}.get(settings.log_level, settings.log_level)


@contextmanager
def _quiet(settings: LogLevelSettings) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder for the session, and how to start the JVM: out of our group, its messages only where asked for.

    A signal to the group, as a shell or an init system sends, must not take the JVM from under a run that ends in
    order. The JVM ends when we do: it reads our end of a pipe.
    """
    with tempfile.TemporaryDirectory(prefix="verger-") as folder:
        level = _log4j_level(settings)
        log4j = Path(folder, "log4j2.properties")
        log4j.write_text(_LOG4J.format(level=level, of_requests="info" if level == "debug" else level))
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
