"""The JVM of an embedded Spark: how it is started, and what it says when it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verger.config import LogLevelSettings, SessionSettings
from verger.errors import DoesNotFitError, UsageError, VergerError
from verger.redaction import words
from verger.spark import variables

if TYPE_CHECKING:
    from pyspark import SparkConf

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


def log4j_level(settings: LogLevelSettings) -> str:
    """The level of the settings as log4j calls it.

    Parameters
    ----------
    settings : LogLevelSettings
        ``log_level`` counts.
    """
    return {"warning": "warn"}.get(settings.log_level, settings.log_level)


def launch(
    conf: SparkConf,
    settings: SessionSettings,
    folder: Path,
    cancelled: threading.Event | None = None,
    class_path: str | None = None,
) -> Any:
    """Start a JVM and connect to it.

    The JVM runs in a process group of its own: a signal to ours, as a shell or an init system sends it, must not end
    it before the run has cleaned up. It ends with this process, as it reads from a pipe that we hold open. Its output
    is shown only at the log levels ``debug`` and ``info``.

    Parameters
    ----------
    conf : pyspark.SparkConf
        Settings of the session.
    settings : SessionSettings
        ``log_level`` counts.
    folder : Path
        That of the session, for the log and its configuration.
    cancelled : threading.Event, optional
        Where it is set before the JVM answers, the JVM is killed.
    class_path : str, optional
        Jars for the end of the JVM's class path. Before Spark's own they would keep Java from `class_archive`'s file.

    Returns
    -------
    py4j.java_gateway.JavaGateway
        Its ``proc`` is the process.

    Raises
    ------
    UsageError
        The JVM ended as it started.
    DoesNotFitError
        It ended for want of memory.
    CancelledError
        ``cancelled`` was set.
    """
    from pyspark.java_gateway import launch_gateway
    from pyspark.serializers import UTF8Deserializer, read_int

    level = log4j_level(settings)
    text = _LOG4J.format(level=level, http_level="info" if level == "debug" else level)
    (folder / "log4j2.properties").write_text(text, encoding="ascii")
    shown = settings.log_level in ("debug", "info")
    process = _start(conf, folder, shown, cancelled or threading.Event(), class_path)
    with open(folder / "gateway", "rb") as told:
        port, secret = read_int(told), UTF8Deserializer().loads(told)  # type: ignore[no-untyped-call]
    submission = {"PYSPARK_GATEWAY_PORT": str(port), "PYSPARK_GATEWAY_SECRET": secret}
    with variables.replaced(dict(os.environ) | submission):
        gateway = launch_gateway()  # type: ignore[no-untyped-call]
    gateway.proc = process
    return gateway


def _start(
    conf: SparkConf, folder: Path, shown: bool, cancelled: threading.Event, class_path: str | None
) -> subprocess.Popen[bytes]:
    """Start spark-submit, which becomes the JVM, and wait until it listens."""
    command = [os.path.join(os.environ["SPARK_HOME"], "bin", "spark-submit")]
    command += [part for name, value in conf.getAll() for part in ("--conf", f"{name}={value}")]
    told = folder / "gateway"
    known = os.environ | {"SPARK_CONNECT_MODE": "0", "_PYSPARK_DRIVER_CONN_INFO_PATH": str(told)}
    if class_path:
        known["SPARK_DIST_CLASSPATH"] = class_path  # which Spark puts behind its own jars
    with open(log_file(folder), "wb") as log:
        streams: Mapping[str, Any] = {} if shown else {"stdout": log, "stderr": log}
        command.append("pyspark-shell")
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=known, start_new_session=True, **streams)
    try:
        while not told.is_file():
            if process.poll() is not None:
                raise explain_end(process.returncode, log_file(folder), "ended as it started")
            if cancelled.wait(0.02):
                raise CancelledError
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process


def log_file(folder: Path) -> Path:
    """Where the JVM's output is, unless it is shown.

    Parameters
    ----------
    folder : Path
        That of the session.
    """
    return folder / "spark.log"


_WITHOUT_MEMORY = (
    "Could not reserve enough space|insufficient memory|Cannot allocate memory|OutOfMemoryError"
    "|maximum heap size|os::commit_memory"
)


def explain_end(code: int | None, log: Path, how: str) -> VergerError:
    """Why a JVM ended, by its exit code and its own words.

    Parameters
    ----------
    code : int or None
        Of the process: negative for a signal, None where it is not known.
    log : Path
        Its output.
    how : str
        When it ended, after "Spark's JVM".

    Returns
    -------
    VergerError
        `DoesNotFitError` where memory is the cause.
    """
    said = error_line(log)
    what = f"Spark's JVM {how}" + (f": {said}" if said else "")
    if re.search(_WITHOUT_MEMORY, said):
        return DoesNotFitError(what, "Give another --driver-memory, or use a machine with more memory")
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return DoesNotFitError(
            f"Spark's JVM {how}: it was killed (SIGKILL)",
            "The kernel's out-of-memory killer does that, and dmesg tells: give less --driver-memory or fewer --cores",
        )
    if not said:
        what += f" with exit code {code}" if code is not None and code >= 0 else ""
        what += f" by signal {-code}" if code is not None and code < 0 else ""
    return UsageError(what, "Its output is shown with --log-level info; `verger doctor` checks this machine")


def error_line(log: Path) -> str:
    """What a JVM said of its end.

    Parameters
    ----------
    log : Path
        Its output.

    Returns
    -------
    str
        One line; empty where it said nothing.
    """
    try:
        lines = log.read_text(encoding="utf-8", errors="replace")[-20_000:].splitlines()
    except OSError:
        return ""
    telling = [line.strip(" #") for line in lines if not re.match(r"\s+at |\s*$|WARNING: |Picked up |#\s*$", line)]
    errors = [line for line in telling if re.search(r"Exception|Error|error|insufficient|not reserve|No such", line)]
    for line in errors[-1:] or telling[-1:]:
        return words(line, 300)
    return ""


def stop(gateway: Any) -> None:
    """Stop the JVM after its session: it would keep the keys, endpoints and class path with which it was started.

    Parameters
    ----------
    gateway : py4j.java_gateway.JavaGateway
        As `launch` made it.
    """
    from pyspark import SparkContext

    with suppress(Exception):
        gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    with suppress(OSError):
        gateway.proc.stdin.close()  # the JVM ends when its standard input is closed
    try:
        gateway.proc.wait(timeout=5)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
