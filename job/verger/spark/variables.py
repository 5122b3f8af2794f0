"""Variables of the environment by which a machine speaks to Spark, Java, Python, TensorFlow and boto3."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from verger.redaction import words


class Decision(StrEnum):
    """What becomes of a variable that is set."""

    IGNORED = "ignored"
    HONOURED = "honoured"


@dataclass(frozen=True)
class Variables:
    """Some variables with one decision. docs/environment.md has them as a table.

    Attributes
    ----------
    patterns : tuple of str
        Names; ``*`` stands for any letters.
    decision : Decision
        Whether the embedded Spark and its workers see them.
    shown : bool
        Whether the value may be shown. It must never hold a secret.
    """

    patterns: tuple[str, ...]
    decision: Decision
    shown: bool = False

    def include(self, name: str) -> bool:
        """Whether a variable is one of these.

        Parameters
        ----------
        name : str
            Of the variable.
        """
        return any(fnmatchcase(name, pattern) for pattern in self.patterns)


# The first entry that includes a variable counts.
TABLE = (
    Variables(("SPARK_HOME", "SPARK_CONF_DIR", "SPARK_LOCAL_DIRS", "SPARK_LOCAL_IP"), Decision.IGNORED, True),
    Variables(("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"), Decision.IGNORED, True),
    Variables(("SPARK_*", "_SPARK_*", "PYSPARK_*", "MASTER"), Decision.IGNORED),
    Variables(("HADOOP_HOME", "HADOOP_CONF_DIR", "HADOOP_USER_NAME", "YARN_CONF_DIR"), Decision.IGNORED, True),
    Variables(("HADOOP_*", "YARN_*", "HIVE_*", "LOCAL_DIRS"), Decision.IGNORED),
    Variables(("CLASSPATH", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"), Decision.IGNORED),
    Variables(("*_DEFAULT_FPMATH_MODE", "TF_SET_ONEDNN_FPMATH_MODE"), Decision.IGNORED, True),
    Variables(("JAVA_HOME", "TMPDIR", "XDG_CACHE_HOME", "KERAS_HOME"), Decision.HONOURED, True),
    Variables(("LC_ALL", "LC_CTYPE", "LANG"), Decision.HONOURED, True),
    Variables(("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD"), Decision.HONOURED, True),
    Variables(("PYTHONUTF8", "PYTHONIOENCODING", "PYTHONHASHSEED", "PYTHONOPTIMIZE"), Decision.HONOURED, True),
    Variables(("*_NUM_THREADS", "OPENBLAS_*", "OMP_*", "KMP_*", "GOMP_CPU_AFFINITY"), Decision.HONOURED, True),
    Variables(("TF_CPP_*", "TF_ENABLE_*", "TF_DISABLE_*", "TF_NUM_*", "TF_ONEDNN_*"), Decision.HONOURED, True),
    Variables(("TF_XLA_FLAGS", "TF_DETERMINISTIC_OPS", "ONEDNN_*", "DNNL_*"), Decision.HONOURED, True),
    Variables(("XLA_FLAGS", "MALLOC_*", "ARROW_DEFAULT_MEMORY_POOL"), Decision.HONOURED, True),
    Variables(("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"), Decision.HONOURED),
    Variables(("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"), Decision.HONOURED, True),
    Variables(("AWS_*", "VERGER_*"), Decision.HONOURED),
)


def found(environment: Mapping[str, str], decision: Decision) -> list[str]:
    """The variables of a decision that are set, with the values that may be shown.

    Parameters
    ----------
    environment : mapping of str to str
        Names and values; an empty variable counts as unset.
    decision : Decision
        Which variables are asked for.

    Returns
    -------
    list of str
        ``NAME`` or ``NAME=value``, sorted by name.
    """
    entries = []
    for name in sorted(filter(environment.get, environment)):
        entry = _entry(name)
        if entry and entry.decision is decision:
            entries.append(f"{name}={words(environment[name], 100)}" if entry.shown else name)
    return entries


def ignored(environment: Mapping[str, str]) -> set[str]:
    """The names of the variables that are hidden from the embedded Spark and its workers.

    Parameters
    ----------
    environment : mapping of str to str
        Names and values.
    """
    return set(filter(_is_ignored, environment))


def _is_ignored(name: str) -> bool:
    entry = _entry(name)
    return entry is not None and entry.decision is Decision.IGNORED


def _entry(name: str) -> Variables | None:
    return next((entry for entry in TABLE if entry.include(name)), None)


def is_submitted() -> bool:
    """Whether spark-submit started this process, or a process says so that is itself under spark-submit."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def without_spark(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which no other Spark, Hadoop or Java of the machine says anything.

    Parameters
    ----------
    environment : mapping of str to str
        Names and values, such as `os.environ`.

    Returns
    -------
    dict of str to str
        Without what is ignored, and without the folders of a Spark in PYTHONPATH.
    """
    hidden = ignored(environment)
    kept = {name: value for name, value in environment.items() if name not in hidden}
    if "PYTHONPATH" in kept:
        entries = kept["PYTHONPATH"].split(os.pathsep)
        kept["PYTHONPATH"] = os.pathsep.join(entry for entry in entries if not _is_of_spark(entry))
    return kept


@contextmanager
def replaced(environment: Mapping[str, str]) -> Iterator[None]:
    """Give this process, and those that it starts, another environment until the context ends.

    PySpark reads many variables itself, and takes no others.

    Parameters
    ----------
    environment : mapping of str to str
        All of it.
    """
    before = dict(os.environ)
    removed = {name: value for name, value in before.items() if name not in environment}
    changed = {name: value for name, value in environment.items() if before.get(name) != value}
    for name in removed:
        del os.environ[name]
    os.environ.update(changed)
    try:
        yield
    finally:
        for name in (*changed, *ignored(os.environ)):  # PySpark has set some
            os.environ.pop(name, None)
        kept = {name: value for name, value in before.items() if name in changed or _is_ignored(name)}
        os.environ.update(removed | kept)


def forget_other_pyspark() -> None:
    """Take the Python packages of a Spark distribution off the module path, before PySpark is imported.

    Machines with Spark set PYTHONPATH to them. Under spark-submit they are the submission's own and stay.
    """
    if is_submitted():
        return
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    other = {os.path.abspath(entry) for entry in entries if _is_of_spark(entry)}
    sys.path[:] = [entry for entry in sys.path if not entry or os.path.abspath(entry) not in other]


def _is_of_spark(entry: str) -> bool:
    """Whether an entry of PYTHONPATH is of a Spark distribution: pip's packages have their metadata beside them."""
    if re.search(r"(?:^|/)(?:pyspark|py4j-[^/]*)\.zip$", entry):
        return True
    folder = Path(entry)
    return bool(entry) and (folder / "pyspark").is_dir() and not glob.glob("pyspark-*.*-info", root_dir=folder)
