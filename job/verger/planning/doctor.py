"""Whether a run could work here: one finding a check."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Literal

from verger.config import RunConfig
from verger.cores import available_cores
from verger.errors import DoesNotFitError, ExitCode, NothingToReadError, StoreError, UsageError, VergerError
from verger.network.backbones import resolve
from verger.photographs.inventory import SUFFIXES
from verger.residency.preflight import admit, places
from verger.spark import s3a
from verger.spark.session import MINIMUM_JAVA, java_version, session, uses_s3
from verger.storage.base import AlreadyPublishedError
from verger.storage.stores import storage_of
from verger.storage.uri import apart, bucket_name, canonical, join

PYTHONS = ((3, 11), (3, 13))
WORKER_BYTES = 1_300_000_000  # a Python worker with TensorFlow and a network, one a core
TEMPORARY_BYTES = 1_000_000_000
LOOKED_AT = 1000  # entries of the input


class Skipped(Exception):
    """A check that had nothing to look at."""


@dataclass(frozen=True)
class Finding:
    """What one check found, on one line."""

    name: str
    verdict: Literal["ok", "fails", "skipped"]
    line: str
    exit_code: ExitCode = ExitCode.DONE

    def __str__(self) -> str:
        return f"{self.verdict:<8}{self.name:<12}{self.line}"


def examine(
    config: RunConfig,
    absent: dict[str, str] | None = None,
    stale_after: float = 24,
    fix: bool = False,
) -> Iterator[Finding]:
    """Run every check, each as it is asked for.

    Parameters
    ----------
    config : RunConfig
    absent : dict, optional
        The values of ``input`` and ``output`` that mean that there is none: their checks are skipped.
    stale_after : float, optional
        The age, in hours, from which on an upload below the output is one that nobody will finish.
    fix : bool, optional
        Whether to abort these.
    """
    given = config.model_dump(include={"input", "output"})
    source, output = (None if absent and uri == absent[name] else uri for name, uri in given.items())
    yield _find("Python", _python)
    java = _find("Java", _java)
    yield java
    residency = _find("Residency", lambda: _residency(source, output, config))
    yield residency
    # Where it is not known where a bucket stands, nothing more is asked of it.
    open_ = residency.verdict != "fails"
    yield _find("Jars", lambda: s3a.class_path() if uses_s3(config) else _skip("no s3:// output given"))
    yield _find("Spark", lambda: _spark(config, open_) if java.verdict == "ok" else _skip("it needs Java"))
    yield _find("TensorFlow", lambda: _tensorflow() if config.backbone != "pixels" else _skip("pixels needs none"))
    yield _find("Weights", lambda: _weights(config, open_))
    yield _find("Input", lambda: _input(_asked(source, "input", open_)))
    yield _find("Output", lambda: _output(_asked(output, "output", open_), source))
    yield _find("Uploads", lambda: _uploads(_asked(output, "output", open_), stale_after, fix))
    yield _find("Disk", lambda: _disk(config))
    yield _find("Memory", lambda: _memory(config))


def _asked(uri: str | None, role: str, open_: bool) -> str:
    """A place that may be looked at."""
    if uri is None:
        raise Skipped(f"no --{role} given")
    place = canonical(uri)
    if bucket_name(place) and not open_:
        raise Skipped("residency first")
    return place


def _find(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "ok", check())
    except Skipped as reason:
        return Finding(name, "skipped", str(reason))
    except VergerError as error:
        return Finding(name, "fails", error.line, error.exit_code)
    except Exception as error:  # whatever a broken installation raises is a finding, too
        line = " ".join(f"{type(error).__name__}: {error}".split())
        return Finding(name, "fails", line[:300], ExitCode.USAGE)


def _skip(reason: str) -> str:
    raise Skipped(reason)


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    low, high = ("{}.{}".format(*bound) for bound in PYTHONS)
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        raise UsageError(f"Python {version} is not supported", f"Install verger with Python {low} to {high}")
    return version


def _java() -> str:
    version = java_version()
    home = os.environ.get("JAVA_HOME")
    where = f"JAVA_HOME {home}" if home else f"{shutil.which('java') or 'no java'} on the PATH, JAVA_HOME is not set"
    if version is None or version < MINIMUM_JAVA:
        found = "none that works" if version is None else f"version {version}"
        raise UsageError(
            f"Spark needs Java {MINIMUM_JAVA} or newer and finds {found} ({where})",
            "Install one (Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME",
        )
    return f"{version} ({where})"


def _spark(config: RunConfig, open_: bool) -> str:
    """Start Spark as a run would, and send a row through a Python worker and back."""
    alone = {} if open_ else {"output": os.curdir}
    with session(config.model_copy(update={"cores": 1, "event_log": None, **alone})) as spark:
        rows = spark.range(1, numPartitions=1).mapInArrow(lambda batches: batches, "id long").count()
        if rows != 1:
            raise UsageError(f"Spark {spark.version} lost a row between Java and Python", "Install its locked version")
        return f"{spark.version}, a Python worker answers"


def _tensorflow() -> str:
    """Import it in a process of its own, so that this one stays light and survives an illegal instruction."""
    script = "import tensorflow; print(tensorflow.__version__)"
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=quiet, check=False)
    if done.returncode:
        last = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
        raise UsageError(f"TensorFlow does not import: {last}", "Install verger with its requirements: make install")
    return done.stdout.strip()


def _weights(config: RunConfig, open_: bool) -> str:
    if "weights" in places(config, "weights"):
        _asked(config.weights, "weights", open_)
    network = resolve(config)
    return f"{network.fingerprint}, {network.dimension:,} features; {network.weights.source}"


def _input(source: str) -> str:
    seen = list(islice(storage_of(source).list(source), LOOKED_AT))
    photographs = [entry for entry in seen if entry.path.lower().endswith(SUFFIXES)]
    if not photographs:
        raise NothingToReadError(f"no photograph among the first {len(seen)} files of {source}", "Check the path")
    storage_of(source).read_version(photographs[0].path, photographs[0].version)
    more = " or more" if len(seen) == LOOKED_AT else ""
    return f"{source}, {len(photographs):,}{more} photographs"


def _residency(source: str | None, output: str | None, config: RunConfig) -> str:
    given = [role for role, uri in (("input", source), ("output", output)) if uri]
    asked = places(config, *given, "event log", "weights")
    if not any(map(bucket_name, asked.values())):
        raise Skipped("no bucket given")
    found = admit(asked, config, written={"output", "event log"})
    return f"{found.verdict}: {'; '.join(found.evidence)}"


def _output(output: str, source: str | None) -> str:
    """Write, read back and remove an object of our own; what is published once must stay."""
    if source:
        apart(source, output)
    storage, probe = storage_of(output), join(output, f"_doctor-{secrets.token_hex(4)}")
    try:
        storage.publish_once(probe, b"verger")
        if storage.read(probe) != b"verger":
            raise StoreError(f"{output} gives back something else than was written", "Choose another output")
        with suppress(AlreadyPublishedError):
            storage.publish_once(probe, b"another")
            raise StoreError(f"{output} ignores If-None-Match: a run could be overwritten", "Use another store")
    finally:
        storage.delete(probe)
    return f"{output} can be written"


def _uploads(output: str, stale_after: float, fix: bool) -> str:
    if bucket_name(output) is None:
        raise Skipped("no s3:// output given")
    from verger.storage import uploads

    found = list(uploads.stale(output, datetime.now(UTC) - timedelta(hours=stale_after)))
    if found and not fix:
        raise StoreError(
            f"{len(found)} uploads below {output} were begun over {stale_after:g} hours ago and never finished; "
            "their parts are stored and paid for",
            "Abort them with --fix, and see manifests/aws for a rule that does so",
        )
    for upload in found:
        uploads.abort(upload)
    return f"{len(found)} stale uploads aborted" if found else "no stale upload"


def _disk(config: RunConfig) -> str:
    folder = config.local_dir or tempfile.gettempdir()
    existing = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < TEMPORARY_BYTES:
        raise DoesNotFitError(
            f"{folder} has {_gb(free)} free, less than {_gb(TEMPORARY_BYTES)}",
            "Free some, or choose another --local-dir",
        )
    return f"{_gb(free)} free in {folder}"


def _memory(config: RunConfig) -> str:
    cores = config.cores or available_cores()
    needed, available = config.driver_bytes + cores * WORKER_BYTES, available_memory()
    line = f"{_gb(available)} available, {_gb(needed)} needed: driver {config.driver_memory} and {cores} workers"
    if available < needed:
        raise DoesNotFitError(line, "Give fewer --cores or less --driver-memory")
    return line


def available_memory() -> int:
    """Bytes that this process and its children can still take, a container's limit (cgroup v2) included."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) << 10
    group = Path("/sys/fs/cgroup")
    limit = (group / "memory.max").read_text().strip() if (group / "memory.max").is_file() else "max"
    if limit != "max":
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(statistics["inactive_file"])  # cache goes when asked
        available = min(available, int(limit) - used)
    return available


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
