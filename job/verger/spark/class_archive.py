"""The classes of Spark's JVM, kept ready in a file, so that Spark starts sooner: Java's class data sharing (CDS).

Half of the time in which Spark starts, and plans its first job, goes into loading and verifying some 17,000 classes.
Java can map them from a file instead. It refuses a file that another Java made, or that was made for other jars, and
then does without its own archive, too. So the name of a file tells what it was made for. See "Class Data Sharing" in
the manual of the ``java`` command.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from verger.errors import DoesNotFitError, UsageError
from verger.redaction import words
from verger.spark import machine, variables

_SECONDS = 600.0  # after which the dump is ended; it takes half a minute on two cores
_LARGEST_HEAP = 32 << 30  # from there on Java's pointers are longer, and no archive fits
_ABANDONED_S = 3600.0  # age of a file that a dump which was killed has left
_NO_SPACE = "Unable to write to shared archive|No space left"
_NO_MEMORY = "OutOfMemoryError|[Ii]nsufficient memory|Could not reserve|Cannot allocate memory"
_WITHOUT = "Spark starts without it, as before"


def folder() -> Path:
    """Where the archives are: in the environment of this Python, whose jars they belong to."""
    return Path(sys.prefix, "share", "verger")


def place() -> Path | None:
    """The archive for this Java and Spark's jars, whether it is there or not.

    Returns
    -------
    Path or None
        None where there is no Java whose files are known.
    """
    import pyspark

    home = _java_home()
    jars = Path(pyspark.__file__).parent / "jars"
    digest = hashlib.sha256()
    try:
        for file in (Path(home or "/", "lib", "server", "libjvm.so"), *sorted(jars.glob("*.jar"))):
            found = file.stat()
            digest.update(f"{file} {found.st_size} {found.st_mtime_ns}\n".encode(errors="surrogateescape"))
    except OSError:
        return None
    return folder() / f"spark-classes-{digest.hexdigest()[:12]}.jsa"


def _java_home() -> str | None:
    """The home of the Java that Spark would start."""
    java = machine.java_program()
    return os.path.dirname(os.path.dirname(os.path.realpath(java))) if java else None


def options(heap_bytes: int) -> list[str]:
    """The options of a JVM that takes its classes from an archive, if there is one for it.

    Parameters
    ----------
    heap_bytes : int
        Its largest heap.

    Returns
    -------
    list of str
        Empty where there is none.
    """
    file = place()
    # Java reads a list of files here, which this character separates.
    if file is None or not file.is_file() or heap_bytes >= _LARGEST_HEAP or os.pathsep in str(file):
        return []
    return [f"-XX:SharedArchiveFile={file}", "-Xlog:cds*=off"]


def listing_settings(class_list: Path) -> dict[str, str]:
    """The settings of a Spark whose JVM lists the classes that it loads.

    Parameters
    ----------
    class_list : Path
        The file that is written.
    """
    return {"spark.driver.defaultJavaOptions": machine.quoted(f"-XX:DumpLoadedClassList={class_list}")}


def require_place(java_home: str | None = None) -> None:
    """Check that an archive can be written, and would be found.

    Parameters
    ----------
    java_home : str, optional
        Of the JVM that Spark has started.

    Raises
    ------
    UsageError
        The environment of this Python belongs to somebody else, or it is not known which Java Spark starts.
    """
    if place() is None or (java_home is not None and os.path.realpath(java_home) != _java_home()):
        raise UsageError(f"it is not known which Java Spark starts ({machine.java_place()})", "Set JAVA_HOME")
    try:
        folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder()}: {error.strerror}", "Install verger into an environment of your own") from error
    if not is_writable():
        raise UsageError(f"{folder()} cannot be written", "Install verger into an environment of your own")


def is_writable() -> bool:
    """Whether this user may write archives."""
    there = next(parent for parent in (folder(), *folder().parents) if parent.is_dir())
    return os.access(there, os.W_OK)


def write(file: Path, class_list: Path, java_home: str, class_path: str) -> int:
    """Write an archive.

    Parameters
    ----------
    file : Path
        As `place` gives it.
    class_list : Path
        Classes to keep, as a JVM with `listing_settings` wrote them.
    java_home : str
        Of that JVM.
    class_path : str
        Of that JVM: an archive is only for JVMs whose class path begins with it.

    Returns
    -------
    int
        Size of the archive, bytes.

    Raises
    ------
    UsageError
        Java cannot make such an archive.
    DoesNotFitError
        There is too little disk space or memory.
    """
    with tempfile.TemporaryDirectory(prefix=".spark-classes-", dir=file.parent, ignore_cleanup_errors=True) as made:
        archive = Path(made, file.name)
        command = [os.path.join(java_home, "bin", "java"), "-Xshare:dump", f"-XX:SharedClassListFile={class_list}"]
        command += [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable", "-Xlog:all=error", "-cp", class_path]
        said = _dump(command, file)
        if not archive.is_file():
            raise UsageError(f"{file}: Java has not made it{f': {said}' if said else ''}", _WITHOUT)
        os.replace(archive, file)
    return file.stat().st_size


def _dump(command: list[str], file: Path) -> str:
    """Run Java. Returns what it said."""
    environment = variables.without_spark(os.environ)
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, env=environment)
    except subprocess.TimeoutExpired:
        raise UsageError(f"{file}: Java did not end within {_SECONDS:.0f} s", _WITHOUT) from None
    text = (done.stdout + done.stderr).decode(errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(("Picked up ", "NOTE: "))]
    said = words(lines[0], 300) if lines else ""
    if done.returncode and re.search(f"{_NO_SPACE}|{_NO_MEMORY}", text):
        raise DoesNotFitError(f"{file}: {said}", "It takes 200 MB of disk and 1 GB of memory")
    if done.returncode:
        raise UsageError(f"{file}: Java cannot make it: {said or f'exit code {done.returncode}'}", _WITHOUT)
    return said


def remove_others(kept: Path) -> None:
    """Remove archives of other versions of Java and of the jars, and what a dump that was killed has left.

    Parameters
    ----------
    kept : Path
        The archive that stays.
    """
    for file in set(folder().glob("spark-classes-*.jsa")) - {kept}:
        file.unlink(missing_ok=True)
    for left in folder().glob(".spark-classes-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left)
