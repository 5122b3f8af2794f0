"""What a list of the image's packages must name, and how long a vulnerability may be accepted."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from tests.conftest import ROOT

spec = importlib.util.spec_from_file_location("sbom", ROOT / "scripts" / "sbom.py")
assert spec and spec.loader
sbom = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sbom)

Packages = dict[tuple[str, str], set[str]]

# As syft 1.57.0 wrote them of the image on Debian 13, one of each kind.
RECORDED = [
    {
        "type": "library",
        "name": "libc6",
        "version": "2.41-12+deb13u5",
        "purl": "pkg:deb/debian/libc6@2.41-12%2Bdeb13u5?arch=amd64&distro=debian-13.8&upstream=glibc",
    },
    {"type": "library", "name": "ml-dtypes", "version": "0.6.0", "purl": "pkg:pypi/ml-dtypes@0.6.0"},
    {
        "type": "library",
        "name": "s3",
        "version": "2.35.4",
        "purl": "pkg:maven/software.amazon.awssdk/s3@2.35.4",
    },
    {
        "type": "application",
        "name": "openjdk",
        "version": "21.0.13.1+2-1-deb13u1-Debian",
        "purl": "pkg:generic/oracle/openjdk@21.0.13.1%2B2-1-deb13u1-Debian",
    },
    {"type": "operating-system", "name": "debian", "version": "13"},
]


@pytest.fixture
def complete() -> Packages:
    """A list that names all that this checkout's image is built of."""
    found = {("pypi", name): set(versions) for name, versions in sbom.locked().items()}
    found |= {("maven", name): {version} for name, version in sbom.jar_versions().items()}
    found |= {("maven", name): {"1"} for name in sbom.SPARK}
    return found | {("deb", name): {"1"} for name in sbom.DEBIAN} | {sbom.JDK: {"21.0.13.1"}}


def test_what_syft_writes_is_read_by_kind_and_name() -> None:
    assert sbom.packages({"components": RECORDED}) == {
        ("deb", "libc6"): {"2.41-12+deb13u5"},
        ("pypi", "ml-dtypes"): {"0.6.0"},
        ("maven", "s3"): {"2.35.4"},
        ("generic", "openjdk"): {"21.0.13.1+2-1-deb13u1-Debian"},
    }


def test_a_complete_list_lacks_nothing(complete: Packages) -> None:
    sums = (ROOT / "image" / "jars.sha256").read_text().splitlines()
    assert len(sbom.jar_versions()) == len([line for line in sums if not line.startswith("#")])
    assert len(sbom.locked()) > 50
    assert list(sbom.missing(complete)) == []


@pytest.mark.parametrize(
    "package, line",
    [
        (("deb", "tini"), "Debian's package tini"),
        (("pypi", "pyspark"), "the Python package pyspark "),
        (("maven", "hadoop-aws"), "the jar hadoop-aws "),
        (("maven", "spark-core_2.13"), "PySpark's jar spark-core_2.13"),
        (("generic", "openjdk"), "the JDK"),
    ],
)
def test_a_list_that_lacks_one_kind_is_refused(complete: Packages, package: tuple[str, str], line: str) -> None:
    del complete[package]
    (said,) = sbom.missing(complete)
    assert said.startswith(line)


def test_another_version_than_the_locks_is_refused(complete: Packages) -> None:
    complete["pypi", "pillow"] = {"1.0"}
    (said,) = sbom.missing(complete)
    assert said.startswith("the Python package pillow ")


def test_a_list_without_packages_fails_in_lines(tmp_path: Path) -> None:
    empty = tmp_path / "sbom.json"
    empty.write_text("{}")
    done = subprocess.run([sys.executable, ROOT / "scripts" / "sbom.py", empty], capture_output=True, text=True)
    assert done.returncode == 1
    assert "does not name the JDK" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_omitted_from_the_image_is_omitted_with_its_metadata() -> None:
    patterns = (ROOT / "image" / "omitted.txt").read_text()
    assert set(re.findall(r"^(\w+)-\*\.dist-info$", patterns, re.MULTILINE)) == sbom.OMITTED


ACCEPTED = (
    'only-fixed: true\nignore:\n  - vulnerability: CVE-2026-1\n    reason: "{}"\n  - vulnerability: CVE-2026-2\n{}'
)
UNTIL = '    reason: "until 2027-01-31: not loaded"\n'


def test_an_accepted_vulnerability_needs_a_reason_and_a_day_that_is_not_over() -> None:
    today = date(2026, 11, 30)
    assert list(sbom.expired(ACCEPTED.format("until 2026-11-30: not loaded", UNTIL), today)) == []
    assert [line.split(":")[1] for line in sbom.expired(ACCEPTED.format("until 2026-11-29: old", UNTIL), today)] == [
        " was accepted until 2026-11-29. Look at it again"
    ]
    assert len(list(sbom.expired(ACCEPTED.format("not loaded", ""), today))) == 2


def test_what_is_accepted_today_has_its_reasons() -> None:
    text = (ROOT / "image" / "grype.yaml").read_text()
    assert re.search(r"^fail-on-severity: high$", text, re.MULTILINE)
    assert [line for line in sbom.expired(text, date.min) if "give" in line] == []
