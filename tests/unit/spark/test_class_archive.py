"""spark/class_archive: where the archives of Spark's classes are, and what a JVM is told of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pyspark
import pytest

from verger.errors import DoesNotFitError, UsageError
from verger.spark import class_archive

pytestmark = pytest.mark.required_in_ci


GIB = 1 << 30


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of this Python, with an empty archive."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    class_archive.require_place()
    put()
    return tmp_path


def put() -> Path:
    file = class_archive.place()
    assert file is not None
    file.touch()
    return file


def test_a_jvm_is_told_of_the_archive_of_its_jars_alone(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = class_archive.options(GIB)
    assert told[0] == f"-XX:SharedArchiveFile={class_archive.place()}"
    monkeypatch.setattr(pyspark, "__file__", str(prefix / "pyspark" / "__init__.py"))
    (prefix / "pyspark" / "jars").mkdir(parents=True)
    (prefix / "pyspark" / "jars" / "spark-core.jar").touch()
    assert class_archive.options(GIB) == []
    file = put()
    assert class_archive.options(GIB)[0] == f"-XX:SharedArchiveFile={file}" != told[0]
    (prefix / "pyspark" / "jars" / "spark-core.jar").write_bytes(b"of another version")
    assert class_archive.options(GIB) == []


def test_another_java_takes_no_archive(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java would start slower with an archive that it refuses."""
    for name in ("bin/java", "lib/server/libjvm.so"):
        (prefix / "java" / name).parent.mkdir(parents=True)
        (prefix / "java" / name).touch()
    assert class_archive.options(GIB)
    monkeypatch.setenv("JAVA_HOME", str(prefix / "java"))
    assert class_archive.options(GIB) == []
    put()
    assert class_archive.options(GIB)
    (prefix / "java" / "lib/server/libjvm.so").write_bytes(b"an update")
    assert class_archive.options(GIB) == []


def test_a_large_heap_takes_no_archive(prefix: Path) -> None:
    assert class_archive.options(32 * GIB - 1)
    assert class_archive.options(32 * GIB) == []


def test_java_could_not_tell_a_folder_with_a_colon_from_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "a:b"))
    class_archive.require_place()
    put()
    assert class_archive.options(GIB) == []


def test_a_java_of_which_nothing_is_known_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert class_archive.options(GIB) == []
    with pytest.raises(UsageError, match=f"which Java Spark starts .JAVA_HOME {tmp_path}"):
        class_archive.require_place()


@pytest.mark.parametrize(
    ("says", "error", "told"),
    [
        ("Error: no such option", UsageError, "no such option"),
        ("Picked up JAVA_TOOL_OPTIONS: -Dkey=a\nError: a folder named space", UsageError, "a folder named space"),
        ("Unable to write to shared archive.", DoesNotFitError, "200 MB of disk"),
    ],
)
def test_what_java_says_is_told_and_the_former_archive_stays(
    tmp_path: Path, says: str, error: type[Exception], told: str
) -> None:
    file = tmp_path / "spark-classes.jsa"
    file.write_bytes(b"former")
    java = tmp_path / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\nprintf '%s\\n' '{says}'; exit 1\n")
    java.chmod(0o755)
    with pytest.raises(error, match=told):
        class_archive.write(file, tmp_path / "list", str(java.parent.parent), "/jars/*")
    assert file.read_bytes() == b"former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "spark-classes.jsa"]
