"""The classes of Spark's JVM, kept ready in a file, so that Spark starts sooner: Java's class data sharing (CDS).

Half of the time in which Spark starts, and plans its first job, goes into loading and verifying some 17,000 classes.
Java can map them from a file instead. It checks by itself whether the file was made by the same Java from the same
jars, and otherwise loads classes as ever. See "Class Data Sharing" in the manual of the ``java`` command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from verger.errors import DoesNotFitError, UsageError

_SECONDS = 600.0  # after which the dump is ended; it takes half a minute on two cores


def place(s3: bool = False) -> Path:
    """Where an archive is: in the environment of this Python, whose jars it belongs to.

    Parameters
    ----------
    s3 : bool
        Whether the jars of S3 are in its class path.
    """
    return Path(sys.prefix, "share", "verger", f"spark-classes{'-s3' * s3}.jsa")


def options(s3: bool = False) -> list[str]:
    """The options of a JVM that takes its classes from an archive, if there is one.

    Parameters
    ----------
    s3 : bool
        Whether the jars of S3 are in its class path.

    Returns
    -------
    list of str
        Empty where there is no archive.
    """
    file = place(s3)
    # Java has a list of files here, which this character separates.
    return [f"-XX:SharedArchiveFile={file}"] if file.is_file() and os.pathsep not in str(file) else []


def listing_settings(class_list: Path) -> dict[str, str]:
    """The settings of a Spark whose JVM lists the classes that it loads.

    Parameters
    ----------
    class_list : Path
        The file that is written.
    """
    return {"spark.driver.defaultJavaOptions": f'"-XX:DumpLoadedClassList={class_list}"'}


def require_place() -> None:
    """Check that an archive can be written.

    Raises
    ------
    UsageError
        The environment of this Python belongs to somebody else.
    """
    folder = place().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: {error.strerror}", "Install verger into a virtual environment of your own"
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder} cannot be written", "Install verger into a virtual environment of your own")


def write(file: Path, class_list: Path, java_home: str, class_path: str) -> int:
    """Write an archive, in place of the one that may be there.

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
    made = file.with_name(f".{file.name}.{os.getpid()}")
    command = [os.path.join(java_home, "bin", "java"), "-Xshare:dump", f"-XX:SharedClassListFile={class_list}"]
    command += [f"-XX:SharedArchiveFile={made}", "-Xlog:disable", "-Xlog:all=error", "-cp", class_path]
    try:
        _dump(command, file)
        os.replace(made, file)
    finally:
        made.unlink(missing_ok=True)
    return file.stat().st_size


def _dump(command: list[str], file: Path) -> None:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS, errors="replace", check=False
        )
    except subprocess.TimeoutExpired:
        raise UsageError(
            f"{file}: Java did not end within {_SECONDS:.0f} s", "Spark starts without it, as before"
        ) from None
    if not done.returncode:
        return
    said = (done.stdout.strip().splitlines() or [f"exit code {done.returncode}"])[0]
    if re.search("memory|space", said):
        raise DoesNotFitError(f"{file}: {said}", "It takes 200 MB of disk and 1 GB of memory")
    raise UsageError(f"{file}: Java cannot make it: {said}", "Spark starts without it, as before")
