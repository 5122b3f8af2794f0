"""Checks of whether a run could work here; each gives one line."""

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
from pathlib import Path
from typing import Literal

from verger.batches import batched
from verger.config import DoctorSettings
from verger.cores import available_cores
from verger.errors import DoesNotFitError, ExitCode, NothingToReadError, Rejection, StoreError, UsageError, VergerError
from verger.network.backbones import resolve
from verger.network.cpu import Cpu, precision_warning
from verger.photographs.folders import PhotographFolders
from verger.photographs.inventory import from_entries
from verger.redaction import redact, words
from verger.residency.preflight import check_access, uris_by_role
from verger.spark import class_archive, machine, s3a, variables
from verger.spark.failures import explain
from verger.spark.machine import java_version
from verger.spark.session import WITHOUT_EVENT_LOG, session, uses_s3
from verger.storage.base import AlreadyPublishedError
from verger.storage.s3_inventory import Report
from verger.storage.stores import Stores
from verger.storage.uri import bucket_name, canonical, join, require_disjoint
from verger.units import bytes_text

SUPPORTED_PYTHONS = ((3, 11), (3, 13))  # the oldest and the newest
WORKER_BYTES = 1_300_000_000  # memory of a Python worker with TensorFlow and a network; each core has one
TEMPORARY_BYTES = 1_000_000_000  # disk for temporary files
MAX_LISTED = 1000  # files of the input that are listed


class Skipped(Exception):
    """Raised by a check that has nothing to check."""


@dataclass(frozen=True)
class Check:
    """What one check found, on one line.

    Attributes
    ----------
    name : str
        Of the check.
    verdict : {"ok", "fails", "skipped"}
        Whether the check holds.
    line : str
        What was found; where the check fails, what to do about it.
    exit_code : ExitCode
        With which a run would end where the check fails; else DONE.
    """

    name: str
    verdict: Literal["ok", "fails", "skipped"]
    line: str
    exit_code: ExitCode = ExitCode.DONE

    def __str__(self) -> str:
        return redact(f"{self.verdict:<8}{self.name:<12}{self.line}")


def examine(config: DoctorSettings, stale_after: float = 24, fix: bool = False) -> Iterator[Check]:
    """Run all checks, each when its result is requested.

    Parameters
    ----------
    config : DoctorSettings
        Settings of the run; checks of an input or output that is not given are skipped.
    stale_after : float, optional
        Hours after which an unfinished upload below the output counts as stale: nobody will finish it.
    fix : bool, optional
        Whether to abort unfinished uploads.

    Yields
    ------
    Check
        One a check.
    """
    stores, source, output = Stores(), config.input, config.output
    yield _check("Python", _python)
    yield _check("Variables", _variables)
    java = _check("Java", lambda: _java(config))
    yield java
    residency = _check("Residency", lambda: _residency(stores, config))
    yield residency
    # Without a known region inside the EU, a bucket is not accessed any further.
    buckets_allowed = residency.verdict != "fails"
    yield _check("Jars", lambda: s3a.class_path() if uses_s3(config.event_log) else _skip("no event log on S3"))
    yield _check(
        "Spark",
        lambda: (
            _spark(stores, config, buckets_allowed and uses_s3(config.event_log))
            if java.verdict == "ok"
            else _skip("it needs Java")
        ),
    )
    yield _check("TensorFlow", lambda: _tensorflow() if config.backbone != "pixels" else _skip("pixels needs none"))
    yield _check("CPU", lambda: Cpu.read().describe())
    yield _check("Precision", lambda: _precision(config) if config.backbone != "pixels" else _skip("pixels needs none"))
    yield _check("Weights", lambda: _weights(stores, config, buckets_allowed))
    yield _check("Input", lambda: _input(stores, _place(source, "input", buckets_allowed), config.exclude))
    if config.inventory:
        report = config.inventory
        yield _check(
            "Inventory",
            lambda: _inventory(
                stores, _place(report, "inventory", buckets_allowed), _place(source, "input", buckets_allowed)
            ),
        )
    yield _check("Output", lambda: _output(stores, _place(output, "output", buckets_allowed), source))
    yield _check("Uploads", lambda: _uploads(stores, _place(output, "output", buckets_allowed), stale_after, fix))
    yield _check("Disk", lambda: _disk(config))
    yield _check("Memory", lambda: _memory(config))


def _place(uri: str | None, role: str, buckets_allowed: bool) -> str:
    """The canonical path or URI of a place that may be accessed."""
    if uri is None:
        raise Skipped(f"no --{role} given")
    place = canonical(uri)
    if bucket_name(place) and not buckets_allowed:
        raise Skipped("the Residency check failed")
    return place


def _check(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", check())
    except Skipped as reason:
        return Check(name, "skipped", str(reason))
    except VergerError as error:
        return Check(name, "fails", error.line, error.exit_code)
    except Exception as error:  # a broken installation may raise anything
        if known := explain(error):
            return Check(name, "fails", known.line, known.exit_code)
        return Check(name, "fails", words(f"{type(error).__name__}: {error}", 300), ExitCode.USAGE)


def _skip(reason: str) -> str:
    raise Skipped(reason)


def _python() -> str:
    version = ".".join(map(str, sys.version_info[:3]))
    low, high = ("{}.{}".format(*bound) for bound in SUPPORTED_PYTHONS)
    if not SUPPORTED_PYTHONS[0] <= sys.version_info[:2] <= SUPPORTED_PYTHONS[1]:
        raise UsageError(f"Python {version} is not supported", f"Install verger with Python {low} to {high}")
    return version


def _java(config: DoctorSettings) -> str:
    version = java_version()
    machine.require_java(version)
    return f"{version} ({machine.java_place()}){_archived(config)}"


def _archived(config: DoctorSettings) -> str:
    """Whether Spark's classes are kept ready for this Java, where they may be."""
    if variables.is_submitted():
        return ""
    if class_archive.options(config.driver_bytes):
        return "; Spark's classes are kept ready"
    return "; `verger prepare` lets Spark start seconds sooner" if class_archive.is_writable() else ""


def _variables() -> str:
    """The variables of the environment that Spark, Java, Python, TensorFlow or boto3 would read."""
    found = {decision: variables.found(os.environ, decision) for decision in variables.Decision}
    if variables.is_submitted():  # Spark has read them
        found = {variables.Decision.HONOURED: sorted(name for names in found.values() for name in names)}
    lines = [f"{decision}: {', '.join(names)}" for decision, names in found.items() if names]
    return "; ".join(lines) or _skip("none is set that Spark, Java, Python, TensorFlow or boto3 reads")


def _spark(stores: Stores, config: DoctorSettings, s3: bool) -> str:
    """Start Spark as a run would, with S3A where asked to, and send a row through a Python worker and back."""
    config = config.model_copy(update={"cores": 1, "event_log": config.event_log if s3 else None})
    with session(config, stores, more=WITHOUT_EVENT_LOG) as spark:
        rows = spark.range(1, numPartitions=1).mapInArrow(lambda batches: batches, "id long").count()
        if rows != 1:
            raise UsageError(f"Spark {spark.version} lost a row between Java and Python", "Install its locked version")
        return f"{spark.version}, a Python worker answers"


def _tensorflow() -> str:
    """Import TensorFlow in a process of its own, since an illegal instruction would end this one."""
    script = "import tensorflow; print(tensorflow.__version__)"
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=quiet, check=False)
    if done.returncode:
        last = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
        raise UsageError(f"TensorFlow does not import: {last}", "Install verger with its requirements: make install")
    return done.stdout.strip()


def _precision(config: DoctorSettings) -> str:
    """Tell whether this machine's CPU has the precision. The run works without, only slower."""
    warning = precision_warning(config.precision)
    return f"{config.precision}; warning: {warning}" if warning else config.precision


def _weights(stores: Stores, config: DoctorSettings, buckets_allowed: bool) -> str:
    if uris_by_role(weights=config.weights):
        _place(config.weights, "weights", buckets_allowed)
    network = resolve(config, stores, config.seed)
    return f"{network.fingerprint}, {network.dimension:,} features; {network.weights.source}"


def _input(stores: Stores, source: str, exclude: tuple[str, ...]) -> str:
    storage, seen = stores.of(source), 0
    for batch in batched(storage.list(source, PhotographFolders(source, exclude)), MAX_LISTED):
        photographs, seen = from_entries(batch, source).photographs, seen + len(batch)
        if photographs.num_rows:
            (first,), rejected = photographs.slice(0, 1).to_pylist(), ""
            try:
                storage.read_version(first["path"], first["version"])
            except Rejection as rejection:  # a run goes on without it
                rejected = f"; {first['path']} would be rejected: {rejection.message}"
            more = " or more" if len(batch) == MAX_LISTED else ""
            return f"{source}, {photographs.num_rows:,}{more} photographs{rejected}"
    raise NothingToReadError(f"no photograph among the {seen:,} files of {source}", "Check the path")


def _inventory(stores: Stores, uri: str, source: str) -> str:
    """Read the manifest of the report that a run would take, but none of its files."""
    report = Report.open(uri, source, stores)
    return f"{report.path}, of {report.created:%Y-%m-%d %H:%M} UTC, {len(report.files):,} files of {report.format}"


def _residency(stores: Stores, config: DoctorSettings) -> str:
    uris = uris_by_role(
        input=config.input,
        inventory=config.inventory,
        output=config.output,
        event_log=config.event_log,
        weights=config.weights,
    )
    if not any(map(bucket_name, uris.values())):
        raise Skipped("no bucket given")
    found = check_access(stores, uris, config, written={"output", "event log"})
    return f"{found.verdict}: {'; '.join(found.evidence)}"


def _output(stores: Stores, output: str, source: str | None) -> str:
    """Write, read back and delete a probe; check that what was published once is not overwritten."""
    if source:
        require_disjoint(source, output)
    storage, probe = stores.of(output), join(output, f"_doctor-{secrets.token_hex(4)}")
    try:
        storage.publish_once(probe, b"verger")
        if storage.read(probe) != b"verger":
            raise StoreError(f"{output} returns other bytes than were written", "Choose another output")
        with suppress(AlreadyPublishedError):
            storage.publish_once(probe, b"another")
            raise StoreError(f"{output} ignores If-None-Match: a run could be overwritten", "Use another store")
    finally:
        storage.delete(probe)
    return f"{output} can be written"


def _uploads(stores: Stores, output: str, stale_after: float, fix: bool) -> str:
    name = bucket_name(output)
    if name is None:
        raise Skipped("no s3:// output given")
    from verger.storage import uploads

    client = stores.client(stores.bucket(name))
    found = list(uploads.list_unfinished(client, output, datetime.now(UTC) - timedelta(hours=stale_after)))
    if found and not fix:
        raise StoreError(
            f"{len(found)} uploads below {output} were started over {stale_after:g} hours ago and never finished; "
            "their parts are stored and paid for",
            "Abort them with --fix, and see manifests/aws for a rule that does so",
        )
    for upload in found:
        uploads.abort(client, upload)
    return f"{len(found)} unfinished uploads aborted" if found else "no unfinished upload"


def _disk(config: DoctorSettings) -> str:
    folder = config.local_dir or tempfile.gettempdir()
    existing = next(place for place in (Path(folder).absolute(), *Path(folder).absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < TEMPORARY_BYTES:
        raise DoesNotFitError(
            f"{folder} has {bytes_text(free)} free, less than {bytes_text(TEMPORARY_BYTES)}",
            "Free some space, or choose another --local-dir",
        )
    unpacked = machine.executable_folder(str(existing))  # raises where there is none
    elsewhere = (
        f"; libraries are unpacked in {unpacked}, as none can be loaded or written there"
        if unpacked != str(existing)
        else ""
    )
    return f"{bytes_text(free)} free in {folder}{elsewhere}"


def _memory(config: DoctorSettings) -> str:
    cores = config.cores or available_cores()
    needed, available = config.driver_bytes + cores * WORKER_BYTES, available_memory()
    what = f"driver {config.driver_memory} and {cores} workers"
    line = f"{bytes_text(available)} available, {bytes_text(needed)} needed: {what}"
    if available < needed:
        raise DoesNotFitError(line, "Give fewer --cores or less --driver-memory")
    return line


def available_memory() -> int:
    """Memory that this process and its children can still take.

    Returns
    -------
    int
        Bytes; a container's limit (cgroup v2) is taken into account.
    """
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) << 10
    group = Path("/sys/fs/cgroup")
    limit = (group / "memory.max").read_text().strip() if (group / "memory.max").is_file() else "max"
    if limit != "max":
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # The kernel frees inactive cache on demand.
        used = int((group / "memory.current").read_text()) - int(statistics["inactive_file"])
        available = min(available, int(limit) - used)
    return available
