"""spark/class_archive: where the archives of Spark's classes are, and what a JVM is told of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from verger.errors import DoesNotFitError, UsageError
from verger.spark import class_archive, s3a

pytestmark = pytest.mark.required_in_ci


GIB = 1 << 30


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of this Python, with an empty archive for runs without S3."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    class_archive.require_place()
    put()
    return tmp_path


def put(s3: bool = False) -> Path:
    file = class_archive.place(s3)
    assert file is not None
    file.touch()
    return file


def test_a_jvm_is_told_of_the_archive_of_its_jars_alone(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3a, "jars_folder", lambda: prefix)
    (prefix / "hadoop-aws.jar").touch()
    told = class_archive.options(False, GIB)
    assert told[0] == f"-XX:SharedArchiveFile={class_archive.place()}"
    assert class_archive.options(True, GIB) == []
    file = put(s3=True)
    assert class_archive.options(True, GIB)[0] == f"-XX:SharedArchiveFile={file}" != told[0]
    (prefix / "hadoop-aws.jar").write_bytes(b"of another version")
    assert class_archive.options(True, GIB) == []


def test_another_java_takes_no_archive(prefix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java would start slower with an archive that it refuses."""
    for name in ("bin/java", "lib/server/libjvm.so"):
        (prefix / "java" / name).parent.mkdir(parents=True)
        (prefix / "java" / name).touch()
    assert class_archive.options(False, GIB)
    monkeypatch.setenv("JAVA_HOME", str(prefix / "java"))
    assert class_archive.options(False, GIB) == []
    put()
    assert class_archive.options(False, GIB)
    (prefix / "java" / "lib/server/libjvm.so").write_bytes(b"an update")
    assert class_archive.options(False, GIB) == []


def test_a_large_heap_takes_no_archive(prefix: Path) -> None:
    assert class_archive.options(False, 32 * GIB - 1)
    assert class_archive.options(False, 32 * GIB) == []


def test_java_could_not_tell_a_folder_with_a_colon_from_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "a:b"))
    class_archive.require_place()
    put()
    assert class_archive.options(False, GIB) == []


def test_a_java_of_which_nothing_is_known_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert class_archive.options(False, GIB) == []
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
