"""Preparing a machine: Spark's classes are kept ready, so that it starts sooner."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from verger.config import RunConfig
from verger.errors import UsageError
from verger.photographs import synthetic
from verger.pipeline import story
from verger.progress import Progress
from verger.spark import class_archive, variables
from verger.spark.session import session
from verger.storage.stores import Stores


def prepare(progress: Progress) -> tuple[Path, int]:
    """Let Spark do what it does in a run, and keep the classes that its JVM loads for it.

    Parameters
    ----------
    progress : Progress
        Told of the stages.

    Returns
    -------
    tuple of (Path, int)
        The folder of the archive, and its size in bytes.

    Raises
    ------
    UsageError
        There is no Java, or one that is too old or makes no archive; or the archive cannot be written.
    DoesNotFitError
        There is too little disk space or memory.
    """
    if variables.is_submitted():
        raise UsageError("spark-submit has started Spark already", "Call `verger prepare` itself")
    class_archive.require_place()
    with tempfile.TemporaryDirectory(prefix="verger-") as temporary:
        classes = Path(temporary, "classes.txt")
        with progress.stage("list", "Listing the classes that Spark loads"):
            java_home, class_path = _load_classes(Path(temporary), classes)
        class_archive.require_place(java_home)
        with progress.stage("store", "Storing them"):
            file = class_archive.place()
            assert file is not None
            written = class_archive.write(file, classes, java_home, class_path)
            class_archive.remove_others(file)
    return class_archive.folder(), written


def _load_classes(folder: Path, classes: Path) -> tuple[str, str]:
    """Two small runs in a JVM that lists its classes. Returns the home of its Java, and its class path."""
    config = RunConfig(
        input=str(folder / "in"),
        output=str(folder / "out"),
        backbone="pixels",
        classifier=False,
        audit=False,
        report=False,
    )
    with (
        open(os.devnull, "w") as nowhere,
        Progress(nowhere) as quiet,
        session(config, Stores(), more=class_archive.listing_settings(classes)) as spark,
    ):
        context = spark.sparkContext
        context.parallelize(range(2), 2).map(str).collect()  # as a run's workers load the network
        for photographs in (20, 30):  # a first run, and one that knows most
            synthetic.draw(config.input, photographs)
            story.run(config, spark=spark, progress=quiet)
        jvm = context._jvm
        assert jvm is not None
        read = jvm.java.lang.System.getProperty
        return str(read("java.home")), str(read("java.class.path"))
