"""The jars of S3A: pinned, fitting the PySpark that is installed, and nothing beside them."""

from __future__ import annotations

import importlib.util
import re
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import ROOT

IMAGE = ROOT / "image"
# What PySpark carries of its own, and what of ours is called like it.
CARRIED = ("netty-", "slf4j", "http", "commons-", "log4j", "jcl", "spark-", "hadoop-")
OURS = {
    "hadoop-aws",
    "http-auth",
    "http-auth-aws",
    "http-auth-aws-eventstream",
    "http-auth-spi",
    "http-client-spi",
    "netty-nio-client",
}


@pytest.fixture(scope="module")
def dependencies() -> dict[str, ElementTree.Element]:
    project = ElementTree.parse(IMAGE / "pom.xml").getroot()
    versions = {f"${{{found.tag}}}": found.text or "" for found in project.find("properties") or ()}
    found = {}
    for dependency in project.iter("dependency"):
        version = dependency.find("version")
        assert version is not None
        version.text = versions[version.text or ""]
        found[dependency.findtext("artifactId", "")] = dependency
    return found


@pytest.fixture(scope="module")
def listed() -> dict[str, str]:
    """Digests by file name, as `sha256sum` writes them."""
    lines = [line.split() for line in (IMAGE / "jars.sha256").read_text().splitlines() if not line.startswith("#")]
    return {name: digest for digest, name in lines}


@pytest.fixture(scope="module")
def pyspark() -> set[str]:
    """The jars that PySpark carries."""
    package = importlib.util.find_spec("pyspark")
    assert package is not None and package.origin is not None
    return {jar.name for jar in Path(package.origin).with_name("jars").glob("*.jar")}


def artifact(jar: str) -> str:
    """A jar's name without its version."""
    return re.sub(r"-\d[^_]*\.jar$", "", jar)


def test_every_version_is_exact(dependencies: dict[str, ElementTree.Element]) -> None:
    assert len(dependencies) == 5
    for name, dependency in dependencies.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", dependency.findtext("version", "")), name


def test_hadoop_aws_is_of_the_hadoop_in_pyspark(
    dependencies: dict[str, ElementTree.Element], pyspark: set[str]
) -> None:
    ours = dependencies["hadoop-aws"].findtext("version")
    assert {f"hadoop-client-api-{ours}.jar", f"hadoop-client-runtime-{ours}.jar"} <= pyspark


@pytest.mark.parametrize("name", ["hadoop-aws", "analyticsaccelerator-s3"])
def test_these_bring_nothing_with_them(dependencies: dict[str, ElementTree.Element], name: str) -> None:
    (exclusion,) = dependencies[name].iter("exclusion")
    assert [part.text for part in exclusion] == ["*", "*"]


def test_the_list_is_of_the_versions_in_the_pom(
    dependencies: dict[str, ElementTree.Element], listed: dict[str, str]
) -> None:
    assert {f"{name}-{found.findtext('version')}.jar" for name, found in dependencies.items()} <= listed.keys()
    aws = dependencies["s3"].findtext("version")
    others = {jar for jar in listed if not jar.endswith(f"-{aws}.jar")}
    assert {artifact(jar) for jar in others} == {
        "analyticsaccelerator-s3",
        "eventstream",
        "hadoop-aws",
        "reactive-streams",
    }


def test_nothing_is_listed_that_pyspark_carries(listed: dict[str, str], pyspark: set[str]) -> None:
    names = {artifact(jar) for jar in listed}
    assert len(names) == len(listed) == 36
    assert not names & {artifact(jar) for jar in pyspark}
    assert {name for name in names if name.startswith(CARRIED)} == OURS


def test_the_jars_that_are_installed_are_those_listed(jars: Path, listed: dict[str, str]) -> None:
    installed = {jar.name: sha256(jar.read_bytes()).hexdigest() for jar in jars.glob("*.jar")}
    assert installed == listed
