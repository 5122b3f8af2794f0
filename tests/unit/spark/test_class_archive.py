"""spark/class_archive: where the archives of Spark's classes are, and what a JVM is told of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from verger.errors import UsageError
from verger.spark import class_archive

pytestmark = pytest.mark.required_in_ci


def test_a_jvm_is_told_of_the_archive_of_its_jars_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert class_archive.options() == class_archive.options(s3=True) == []
    class_archive.require_place()
    file = class_archive.place(s3=True)
    file.write_bytes(b"")
    assert class_archive.options() == []
    assert class_archive.options(s3=True) == [f"-XX:SharedArchiveFile={file}"]


def test_java_could_not_tell_a_folder_with_a_colon_from_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "a:b"))
    class_archive.require_place()
    class_archive.place().write_bytes(b"")
    assert class_archive.options() == []


def test_what_java_says_is_told_and_the_former_archive_stays(tmp_path: Path) -> None:
    file = tmp_path / "spark-classes.jsa"
    file.write_bytes(b"former")
    java = tmp_path / "home" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text("#!/bin/sh\necho 'Error: no such option'; exit 1\n")
    java.chmod(0o755)
    with pytest.raises(UsageError, match="no such option"):
        class_archive.write(file, tmp_path / "list", str(java.parent.parent), "/jars/*")
    assert file.read_bytes() == b"former"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "spark-classes.jsa"]
