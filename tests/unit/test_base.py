"""On which Debian the image is built: the Dockerfile's, another that is named, or the one that a machine has."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

DEFAULT = "debian:trixie-slim"
OLDER = "debian:bookworm-slim"


def base(folder: Path, *images: str, registry: bool = False, **variables: str) -> subprocess.CompletedProcess[str]:
    """What requirements/machine says beside a stand-in for docker, which has some images and perhaps a registry."""
    docker = folder / "docker"
    docker.write_text(
        f"""#!/bin/sh
case "$1 $2" in
    "image inspect") case " {" ".join(images)} " in *" $3 "*) exit 0 ;; esac ;;
    "manifest inspect") {"exit 0" if registry else ""} ;;
esac
exit 1
"""
    )
    docker.chmod(0o755)
    environment = {name: text for name, text in os.environ.items() if name != "BASE"}
    environment |= {"PATH": f"{folder}:{os.environ['PATH']}", **variables}
    command = [ROOT / "requirements" / "machine", "base"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_it_is_the_dockerfiles(tmp_path: Path) -> None:
    assert re.findall(r"^ARG BASE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE) == [DEFAULT]


@pytest.mark.parametrize(
    "images, registry, expected",
    [
        ((), False, DEFAULT),  # docker build says what is missing
        ((), True, DEFAULT),
        ((DEFAULT, OLDER), False, DEFAULT),
        ((OLDER,), True, DEFAULT),
        ((OLDER,), False, OLDER),
    ],
)
def test_a_machine_without_a_registry_builds_on_the_debian_that_it_has(
    tmp_path: Path, images: tuple[str, ...], registry: bool, expected: str
) -> None:
    done = base(tmp_path, *images, registry=registry)
    assert (done.returncode, done.stdout) == (0, expected + "\n")
    assert (OLDER in done.stderr) is (expected == OLDER)


def test_what_is_named_is_taken(tmp_path: Path) -> None:
    named = "debian@sha256:" + "0" * 64
    assert base(tmp_path, OLDER, BASE=named).stdout == named + "\n"
