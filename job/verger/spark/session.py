"""The SparkSession: embedded on one machine, or the one that spark-submit started."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from verger.config import SessionSettings
from verger.cores import available_cores
from verger.spark import class_archive, failures, jvm, machine, outages, submitted
from verger.spark.executor_timeout import end_without_executors
from verger.spark.signals import SignalHandlers
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, canonical

if TYPE_CHECKING:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

# Spark settings of the job, on one machine and on a cluster alike.
SETTINGS = {
    # One Arrow batch is one partition, so that the driver decides how many tasks a wave has.
    "spark.sql.execution.arrow.localRelationThreshold": "0",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",  # a row of 25,088 features is 100 kB
    "spark.sql.execution.arrow.pyspark.validateSchema.enabled": "true",
    "spark.sql.execution.pyspark.udf.faulthandler.enabled": "true",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.catalogImplementation": "in-memory",
    # A worker holds the network. A new one would import TensorFlow and build the network again. Jobs with and without
    # SQL share their workers where the environment is the same; these two give those without SQL what SQL sets.
    "spark.python.worker.reuse": "true",
    "spark.python.worker.faulthandler.enabled": "true",
    "spark.executorEnv.SPARK_SIMPLIFIED_TRACEBACK": "1",
    # One thread a worker: Spark divides the cores among workers, and sums are the same on every machine.
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.TF_CPP_MIN_LOG_LEVEL": "3",
    # Otherwise oneDNN may compute in bfloat16 what the fingerprint calls float32.
    "spark.executorEnv.ONEDNN_DEFAULT_FPMATH_MODE": "STRICT",
    "spark.ui.showConsoleProgress": "false",
    # With each heartbeat an executor tells how many photographs it has computed: see `verger.spark.live_rows`. It may
    # miss heartbeats for ten minutes, as by default, before it ends itself.
    "spark.executor.heartbeatInterval": "2s",
    "spark.executor.heartbeat.maxFailures": "300",
    # What the UI and the event log never show. Our settings hold no keys, but those of a submission may.
    "spark.redaction.regex": "(?i)secret|password|token|access[._]?key|trustStore",
}

# For an event log on a disk: Hadoop's file system without the .crc files of its usual one, which spark-submit may have
# in the cache. S3A needs the usual one, for its buffers.
_WITHOUT_CRC = {
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.fs.file.impl.disable.cache": "true",
}

WITHOUT_EVENT_LOG = {"spark.eventLog.enabled": "false"}
"""Further settings for a session that is ready to write the event log of a run, and writes none."""

Then = Callable[["SparkContext", ExitStack], None]
"""Takes a context as soon as there is one, and a stack that ends before it."""


@contextmanager
def session(
    settings: SessionSettings,
    stores: Stores,
    *places: str | None,
    more: Mapping[str, str] | None = None,
) -> Iterator[SparkSession]:
    """A SparkSession for one run, stopped when the context ends.

    All data is read and written by Python, in Spark's workers and in the driver. The JVM writes the event log, and
    temporary files.

    Parameters
    ----------
    settings : SessionSettings
        ``cores``, ``driver_memory``, ``local_dir`` and ``log_level`` shape an embedded Spark;
        under spark-submit the master and memory are the submission's, and ``executors_timeout`` counts.
    stores : Stores
        The buckets of ``places`` and of the event log are connected in it.
    *places : str or None
        Where the run reads and writes, local paths or URIs. Spark's work ends where one of their stores is gone.
    more : mapping of str to str, optional
        Further settings of Spark.

    Yields
    ------
    pyspark.sql.SparkSession
        Embedded, or that of spark-submit; with S3A where the event log is in a bucket.

    Raises
    ------
    UsageError
        There is no Java, or one that is too old; or Spark cannot write its event log to S3 and should.
    StoreError
        A bucket does not answer any more; or Java finds no credentials for that of the event log.
    DoesNotFitError
        There is too little memory or disk space, Spark's JVM died, or no executor has come for ``executors_timeout``.
    """
    signals = SignalHandlers()
    with (
        machine.surroundings(settings.local_dir) as folder,
        started(folder, settings, stores, more=more) as spark,
        in_use(spark, signals, settings, stores, *places),
    ):
        yield spark


@contextmanager
def started(
    folder: Path | None,
    settings: SessionSettings,
    stores: Stores,
    cancelled: threading.Event | None = None,
    then: Then | None = None,
    more: Mapping[str, str] | None = None,
) -> Iterator[SparkSession]:
    """A JVM and a session in it, both stopped when the context ends. It may be entered in one thread, left in another.

    Parameters
    ----------
    folder : Path or None
        As `verger.spark.machine.surroundings` gives it.
    settings, stores
        As in `session`.
    cancelled : threading.Event, optional
        Ends the start of the JVM where it is set meanwhile.
    then : callable, optional
        Called as soon as tasks can run, which is seconds before the session is complete.
    more : mapping of str to str, optional
        Further settings of Spark; those of a submission come first.

    Yields
    ------
    pyspark.sql.SparkSession
        Nothing handles signals for it yet, and nothing watches its stores: see `in_use`.

    Raises
    ------
    UsageError, StoreError, DoesNotFitError
        As in `session`.
    """
    storage = _event_log_settings(settings, stores)
    if folder is None:
        conf = _conf_of_submission(settings, stores, storage, more or {})
        with _started_session(conf, settings, stores, then) as spark:
            spark.sparkContext.setLogLevel(jvm.log4j_level(settings))  # again, for the executors
            yield spark
        return
    java_options = _java_options(folder, settings, stores)
    conf = _conf(SETTINGS | storage | dict(more or {}) | _embedded(settings, folder) | java_options)
    with _started_jvm(conf, settings, folder, cancelled), _started_session(conf, settings, stores, then) as spark:
        yield spark


@contextmanager
def in_use(
    spark: SparkSession,
    signals: SignalHandlers,
    settings: SessionSettings,
    stores: Stores,
    *places: str | None,
) -> Iterator[None]:
    """Let signals, outages of the stores and a lack of executors end Spark's work, until the context ends.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
        As `started` gives it.
    signals : SignalHandlers
        Made in this thread, before the session.
    settings, stores, *places
        As in `session`.

    Raises
    ------
    StoreError
        A bucket does not answer any more.
    DoesNotFitError
        No executor has come for ``executors_timeout``.
    """
    names = {bucket_name(canonical(uri)) for uri in (*places, settings.event_log) if uri}
    buckets = [bucket for bucket in stores.buckets if bucket.name in names]
    with (
        signals.installed(spark),
        outages.watch_stores(stores, buckets),
        end_without_executors(spark.sparkContext, settings.executors_timeout),
    ):
        yield


def _conf_of_submission(
    settings: SessionSettings, stores: Stores, storage: dict[str, str], more: Mapping[str, str]
) -> SparkConf:
    """The settings of spark-submit, completed by ours. Its JVM runs already, and gets its log level here."""
    from pyspark import SparkConf, SparkContext

    submitted.connect()
    submitted.require_trust_store(_bucket_of_event_log(settings, stores))
    conf = SparkConf()
    further = {name: value for name, value in more.items() if not conf.contains(name)}
    conf.setAll(list((SETTINGS | storage | further).items()))
    submitted.add_defaults(conf)
    # Not with spark.log.level: Spark reports that in a line that is not in the format of the log.
    conf._jconf.initializeLogIfNecessary(False)  # type: ignore[union-attr]
    SparkContext._jvm.org.apache.spark.util.Utils.setLogLevelIfNeeded(jvm.log4j_level(settings))  # type: ignore[union-attr]
    return conf


def _event_log_settings(settings: SessionSettings, stores: Stores) -> dict[str, str]:
    """Settings of the event log, and of the file system that holds it."""
    if not settings.event_log:
        return {}
    folder = canonical(settings.event_log)
    if not uses_s3(folder):  # of a path Spark makes a URI, and of a URI with a space it makes a path
        return {"spark.eventLog.enabled": "true", "spark.eventLog.dir": folder} | _WITHOUT_CRC
    from verger.spark import s3a

    there = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": s3a.uri(folder)}
    return there | s3a.spark_settings(_bucket_of_event_log(settings, stores), settings)


def _bucket_of_event_log(settings: SessionSettings, stores: Stores) -> list[Bucket]:
    """The bucket to which Spark itself writes, if there is one."""
    name = bucket_name(canonical(settings.event_log)) if settings.event_log else None
    return [stores.bucket(name)] if name else []


def uses_s3(event_log: str | None) -> bool:
    """Whether Spark itself reaches a bucket, by Hadoop's S3A. It does for its event log alone: all else is boto3's.

    Parameters
    ----------
    event_log : str, optional
        The setting of that name.
    """
    return bool(event_log and bucket_name(canonical(event_log)))


@contextmanager
def _started_jvm(
    conf: SparkConf, settings: SessionSettings, folder: Path, cancelled: threading.Event | None
) -> Iterator[None]:
    """The JVM of an embedded Spark, stopped when the context ends; none where this process has one already."""
    from pyspark import SparkContext

    if SparkContext._gateway is not None:
        yield
        return
    class_path = None
    if uses_s3(settings.event_log):
        from verger.spark import s3a

        class_path = s3a.class_path()
    gateway = jvm.launch(conf, settings, folder, cancelled, class_path)
    try:
        SparkContext._ensure_initialized(gateway=gateway, conf=conf)
        yield
    except failures.JvmLostError as error:
        with suppress(subprocess.TimeoutExpired):
            raise jvm.explain_end(gateway.proc.wait(timeout=5), jvm.log_file(folder), "died") from error
        raise
    finally:
        jvm.stop(gateway)


@contextmanager
def _started_session(
    conf: SparkConf, settings: SessionSettings, stores: Stores, then: Then | None
) -> Iterator[SparkSession]:
    """A session in the JVM of this process, which writes to its local folders and the event log."""
    from pyspark import SparkContext

    s3 = uses_s3(settings.event_log)
    with failures.detach_errors():  # the JVM ends before they are told
        machine.require_names(SparkContext._jvm, None if s3 else settings.event_log)
        machine.name_user(SparkContext._jvm)
        if s3:  # before the context, which opens the event log
            from verger.spark import s3a

            s3a.require_file_system(SparkContext._jvm)
        if settings.event_log and conf.get("spark.eventLog.enabled") == "true":
            stores.of(settings.event_log).make_folder(canonical(settings.event_log))  # Spark does not start without it
        context = SparkContext.getOrCreate(conf)
    try:
        with ExitStack() as stack:
            if then:
                then(context, stack)
            yield _session_in(conf)
    except BaseException as error:
        detached = failures.detach_error(error)
        # In another thread: an interrupted call still holds this thread's connection to the JVM.
        stopping = threading.Thread(target=_stop, args=(context,), daemon=True)
        stopping.start()
        stopping.join(timeout=10)
        if detached is not error:
            raise detached from error
        raise
    else:
        _stop(context)


def _session_in(conf: SparkConf) -> SparkSession:
    """The session in the context of this process."""
    from pyspark.sql import SparkSession

    return SparkSession.builder.config(conf=conf).getOrCreate()


def _stop(context: SparkContext) -> None:
    """Stop a context, and the session in it."""
    from pyspark.sql import SparkSession

    try:
        (SparkSession._instantiatedSession or context).stop()
    except Exception:  # the JVM has ended: a second call cleans up the Python side only
        with suppress(Exception):
            context.stop()


def _conf(settings: dict[str, str]) -> SparkConf:
    from pyspark import SparkConf

    return SparkConf().setAppName("verger").setAll(list(settings.items()))


def _embedded(settings: SessionSettings, folder: Path) -> dict[str, str]:
    """The settings of an embedded Spark. It listens on the loopback interface only."""
    # The folder is not in the system's temporary one where that is mounted noexec; data may lie there all the same.
    local_dir = str(folder) if folder.parent == Path(tempfile.gettempdir()) else tempfile.gettempdir()
    found = {
        "spark.master": f"local[{settings.cores or available_cores()}]",
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": local_dir,
        "spark.hadoop.hadoop.tmp.dir": local_dir,  # where S3A buffers files, unless local_dir is given
    }
    if settings.local_dir:
        os.makedirs(settings.local_dir, exist_ok=True)
        found["spark.local.dir"] = os.path.abspath(settings.local_dir)
    return found


def _java_options(folder: Path, settings: SessionSettings, stores: Stores) -> dict[str, str]:
    """The options of the driver's JVM. Its log configuration and trust store are in ``folder``."""
    options = [*map(machine.quoted, class_archive.options(settings.driver_bytes)), machine.java_options(folder)]
    if uses_s3(settings.event_log):
        from verger.spark import s3a

        options += s3a.trust_store_options(folder / "authorities.p12", _bucket_of_event_log(settings, stores))
    return {"spark.driver.extraJavaOptions": " ".join(options)}
