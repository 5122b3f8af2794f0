"""What the image leaves out: the list, and how it is applied."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import verger
from tests.conftest import ROOT

IMAGE = ROOT / "image"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    for name in (
        "bin/pip",
        "bin/pip3",
        "lib/a/include/a.h",
        "lib/a/a.so",
        "lib/data/s3/x",
        "lib/data/ec2/x",
        "lib/data/x",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "bin" / "link").symlink_to("../lib")
    return folder


def omit(root: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    omitted = root.parent / "list.txt"
    omitted.write_text("\n".join(lines))
    command = [sys.executable, IMAGE / "omit.py", omitted, root]
    return subprocess.run(command, capture_output=True, text=True)


def left(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_what_is_named_is_removed_and_what_is_excepted_stays(root: Path) -> None:
    done = omit(
        root,
        *("# A comment.", "[bin]", "pip*", "link  # and another", "", "[lib]"),
        *("**/include", "a/include/a.h", "data/*/", "!data/s3"),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert left(root) == {"lib/a/a.so", "lib/data/s3/x", "lib/data/x"}


@pytest.mark.parametrize("stale", ["gone*", "!data/gone"])
def test_a_pattern_that_matches_nothing_fails_and_nothing_is_removed(root: Path, stale: str) -> None:
    before = left(root)
    done = omit(root, "[lib]", "a", stale)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"lib/{stale}" in line
    assert left(root) == before


def test_every_section_of_the_list_says_why() -> None:
    previous = ""
    for line in (IMAGE / "omitted.txt").read_text().splitlines():
        if line and line[0] not in "#[":
            assert previous, f"{line}: no comment above"
        previous = "" if not line or line.startswith("[") else line


def test_the_version_in_the_label_is_that_of_the_package() -> None:
    assert re.findall(r"^ARG VERSION=(.*)$", (ROOT / "Dockerfile").read_text(), re.M) == [verger.__version__]


def test_the_dockerfile_needs_no_frontend_of_its_own_and_names_no_registry() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "syntax=" not in text
    assert "--mount" not in text and "<<" not in text  # so that every builder builds it
    assert set(re.findall(r"^FROM (\S+)", text, re.M)) <= {"${BASE}", "java", "locked"}
    assert re.findall(r"^ARG BASE=(.*)$", text, re.M) == ["debian:trixie-slim"]  # the current stable
    assert "://" not in text
