"""What an embedded Spark takes from the machine: Java, a folder for its files, the environment, the user's name."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from verger.errors import UsageError
from verger.spark import submitted, variables

MINIMUM_JAVA = 17

# All of a libc's locale.
_LC_ALL_MASK = 0x1FBF


def java_version() -> int | None:
    """The major version of the Java that Spark would start.

    Returns
    -------
    int or None
        None where there is no Java.
    """
    found = re.search(r'version "(\d+)', _said_by_java("-version"))
    return int(found[1]) if found else None


def _said_by_java(*options: str) -> str:
    """What Java says to some options; nothing where there is none that works."""
    environment = variables.without_spark(os.environ)
    try:
        command = [java_program() or "java", *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment).stderr
    except (OSError, subprocess.SubprocessError):
        return ""


def java_program() -> str | None:
    """Path of the Java that Spark would start; None where there is none."""
    home = os.environ.get("JAVA_HOME")
    return os.path.join(home, "bin", "java") if home else shutil.which("java")


def java_place() -> str:
    """Where Java is looked for, in words."""
    home = os.environ.get("JAVA_HOME")
    return f"JAVA_HOME {home}" if home else f"{shutil.which('java') or 'no java'} on the PATH, JAVA_HOME is not set"


def require_java(version: int | None) -> None:
    """Check that a version of Java is one with which Spark runs.

    Parameters
    ----------
    version : int or None
        As `java_version` found it.

    Raises
    ------
    UsageError
        It is too old, or there is none.
    """
    if version is None or version < MINIMUM_JAVA:
        found = "none that works" if version is None else f"version {version}"
        raise UsageError(
            f"Spark needs Java {MINIMUM_JAVA} or newer and finds {found} ({java_place()})",
            "Install one (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME",
        )


@contextmanager
def surroundings(local_dir: str | None) -> Iterator[Path | None]:
    """What a session needs before its JVM starts: a folder for its files, and the environment of this process.

    Parameters
    ----------
    local_dir : str, optional
        As in `folder_of_session`.

    Yields
    ------
    Path or None
        The folder, deleted when the context ends; None under spark-submit, where nothing is changed.

    Raises
    ------
    UsageError
        There is no Java, or one that is too old; or no folder from which native libraries can be loaded.
    """
    if variables.is_submitted():
        yield None
        return
    _require_spark()
    with folder_of_session(local_dir) as folder, variables.replaced(environment(folder)):
        yield folder


def _require_spark() -> None:
    require_java(java_version())
    if importlib.util.find_spec("pyspark") is None:
        raise UsageError("pyspark is not installed", "Install verger with its requirements: make install")
    submitted.require_version()


@contextmanager
def folder_of_session(local_dir: str | None) -> Iterator[Path]:
    """A folder for the files of one session, from which native libraries can be loaded.

    Java would take /tmp, which many machines mount noexec.

    Parameters
    ----------
    local_dir : str, optional
        Where to make it; default: in TMPDIR, else in the user's cache.

    Yields
    ------
    Path
        Deleted when the context ends.

    Raises
    ------
    UsageError
        Each place is mounted noexec.
    """
    with tempfile.TemporaryDirectory(prefix="verger-", dir=executable_folder(local_dir)) as folder:
        yield Path(folder)


def executable_folder(local_dir: str | None) -> str:
    """The first folder for temporary files that is not mounted noexec.

    Parameters
    ----------
    local_dir : str, optional
        The first to be tried; made where it is missing.

    Returns
    -------
    str
        ``local_dir``, the system's temporary folder, or the user's cache.

    Raises
    ------
    UsageError
        Each of them is mounted noexec.
    """
    cache = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    tried = list(dict.fromkeys(filter(None, (local_dir and os.path.abspath(local_dir), tempfile.gettempdir()))))
    for folder in filter(os.path.isabs, (*tried, cache)):  # a user without a home has no cache
        with suppress(OSError):
            os.makedirs(folder, exist_ok=True)
            if os.access(folder, os.W_OK) and not os.statvfs(folder).f_flag & os.ST_NOEXEC:
                return folder
    if "ZstdNativePath" in _said_by_java("-XshowSettings:properties", "-version"):  # that of the image has it unpacked
        return tried[0]
    raise UsageError(
        f"{' and '.join(tried)}: mounted noexec, or not writable, and Spark unpacks native libraries there",
        "Give --local-dir or TMPDIR a folder on another disk",
    )


def environment(folder: Path) -> dict[str, str]:
    """The environment of an embedded Spark: its JVM, its workers, and PySpark in this process.

    Parameters
    ----------
    folder : Path
        That of the session. Nothing in it configures Spark.

    Returns
    -------
    dict of str to str
        That of this process, without what another Spark set there.
    """
    import pyspark

    ours = {
        "SPARK_HOME": os.path.dirname(pyspark.__file__),
        # There is none, and so no spark-defaults.conf, spark-env.sh or log4j2.properties.
        "SPARK_CONF_DIR": str(folder / "conf"),
        "SPARK_ENV_LOADED": "1",
        # Otherwise Spark looks up the host name, and fails where it has no address, as in many containers.
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    return variables.without_spark(os.environ) | ours | locale()


def locale() -> dict[str, str]:
    """The locale in which the JVM and workers name files as this process does: they take both from the environment.

    Java's messages are English in it, by which errors are recognised.

    Returns
    -------
    dict of str to str
        ``LC_ALL``, or nothing where this process has another encoding than UTF-8.
    """
    if sys.getfilesystemencoding() != "utf-8":
        return {}
    libc = ctypes.CDLL(None)
    libc.newlocale.restype = ctypes.c_void_p
    for name in ("C.UTF-8", "en_US.UTF-8"):
        if libc.newlocale(_LC_ALL_MASK, name.encode(), None):
            return {"LC_ALL": name}
    return {}


def require_names(jvm: Any, *paths: str | None) -> None:
    """Check that a JVM can name local files as this process does.

    Parameters
    ----------
    jvm : py4j.java_gateway.JVMView
        Of the session.
    *paths : str or None
        Where Spark writes, canonical or as they were given.

    Raises
    ------
    UsageError
        The JVM would write to a folder of another name.
    """
    charset = jvm.java.lang.System.getProperty("sun.jnu.encoding")
    for path in filter(None, paths):
        if variables.is_submitted():
            submitted.require_letters(path, charset)
        try:
            path.encode(_PYTHON_NAMES.get(charset, charset))
        except LookupError:
            continue
        except UnicodeEncodeError:
            raise UsageError(
                f"{path}: Spark's JVM writes names of files in {charset}, which lacks a character of this one",
                "Set LC_ALL=C.UTF-8, or choose another name",
            ) from None


_PYTHON_NAMES = {"ANSI_X3.4-1968": "ascii"}


def java_options(folder: Path) -> str:
    """The JVM's options that keep its files in one folder.

    Parameters
    ----------
    folder : Path
        That of the session. Native libraries are unpacked there.

    Returns
    -------
    str
        Separated by spaces, as Spark reads them.
    """
    found = {
        "log4j2.configurationFile": (folder / "log4j2.properties").as_uri(),
        "java.io.tmpdir": str(folder),
        "java.library.path": str(folder),  # not that of LD_LIBRARY_PATH, where another Hadoop has libhadoop.so
    }
    if not has_name():
        found |= {"user.name": user_name(), "user.home": _home(folder)}
    # Only the first compiler: in a JVM that runs for a minute, the second costs more time than it saves.
    return " ".join(["-XX:TieredStopAtLevel=1", *(f"-D{name}={quoted(value)}" for name, value in found.items())])


def quoted(value: str) -> str:
    """A value as Spark reads it among a JVM's options.

    Parameters
    ----------
    value : str
        Such as a path.
    """
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def has_name() -> bool:
    """Whether the system has a name for the user of this process. Hadoop asks for it."""
    try:
        return bool(pwd.getpwuid(os.geteuid()).pw_name)
    except KeyError:
        return False


def user_name() -> str:
    """What a user without a name is called in Spark."""
    return f"user-{os.geteuid()}"


def _home(folder: Path) -> str:
    home = os.path.expanduser("~")
    return home if os.path.isabs(home) else str(folder)


def name_user(jvm: Any) -> None:
    """Tell Hadoop who the user is, where the system has no name for it. Its own login fails then.

    Parameters
    ----------
    jvm : py4j.java_gateway.JVMView
        In which nothing has asked for the user yet.
    """
    if not has_name():
        hadoop = jvm.org.apache.hadoop.security.UserGroupInformation
        hadoop.setLoginUser(hadoop.createRemoteUser(user_name()))
