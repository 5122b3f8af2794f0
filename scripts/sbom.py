"""Check that a list of an image's packages (an SBOM) names what the image was built of.

    python scripts/sbom.py SBOM    SBOM is CycloneDX as JSON, as `make image-check` has syft write it

A scanner judges what such a list names, and nothing else. So it must have Debian's packages, those of
requirements/run.lock, the jars of image/jars.sha256 and of PySpark, and the JDK, which is no package of Debian there.
This needs nothing but Python: a workflow runs it without an environment.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
DEBIAN = ("ca-certificates", "libc6", "libnss-wrapper", "python3-minimal", "tini")
SPARK = ("hadoop-client-api", "scala-library", "spark-core_2.13", "zstd-jni")
"""Some of the jars that PySpark carries, of each kind that the image keeps."""
JDK = ("generic", "openjdk")
# What the lock installs and image/omitted.txt removes again, with its metadata.
OMITTED = {"libclang", "pip", "setuptools", "wheel"}
Package = tuple[str, str]


def packages(sbom: dict[str, Any]) -> dict[Package, set[str]]:
    """The versions of each package that the list names, by kind and name, such as ``("pypi", "numpy")``."""
    found: dict[Package, set[str]] = {}
    for component in sbom.get("components", []):
        address = re.match(r"pkg:([^/]+)/(?:.*/)?([^/@]+)@([^?#]+)", component.get("purl", ""))
        if address:
            kind, name, version = address[1], unquote(address[2]), unquote(address[3])
            name = name.lower().replace("_", "-") if kind == "pypi" else name
            found.setdefault((kind, name), set()).add(version)
    return found


def missing(found: dict[Package, set[str]]) -> Iterator[str]:
    """What the image was built of and the list does not name, a line each."""
    for name in DEBIAN:
        if ("deb", name) not in found:
            yield f"Debian's package {name}"
    for name, versions in locked().items():
        if not found.get(("pypi", name), set()) & versions:
            yield f"the Python package {name} {' or '.join(sorted(versions))}"
    jars = jar_versions()
    for name in (*jars, *SPARK):
        if name not in jars and ("maven", name) not in found:
            yield f"PySpark's jar {name}"
        if name in jars and jars[name] not in found.get(("maven", name), set()):
            yield f"the jar {name} {jars[name]}"
    if JDK not in found:
        yield "the JDK (its file /opt/java/release)"


def locked() -> dict[str, set[str]]:
    """The versions of each package in requirements/run.lock that an image may have: one for each range of Python's."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "requirements" / "run.lock").read_text().splitlines():
        pin = re.match(r"([a-z0-9-]+)(?:\[.*\])?==([^ ;]+)", line)
        if pin and "win32" not in line and pin[1] not in OMITTED:
            found.setdefault(pin[1], set()).add(pin[2])
    return found


def jar_versions() -> dict[str, str]:
    """The version of each jar of S3 that the image fetches, by its artifact's name."""
    sums = (ROOT / "image" / "jars.sha256").read_text()
    return dict(re.findall(r"^\w+ +\*?(\S+?)-(\d\S*)\.jar$", sums, re.MULTILINE))


def expired(text: str, today: date) -> Iterator[str]:
    """What of image/grype.yaml accepts a vulnerability for too long, or does not say why and until when."""
    for rule in re.split(r"^ *- ", text.partition("\nignore:")[2], flags=re.MULTILINE)[1:]:
        reason = re.search(r"reason: *[\"']?until (\d{4}-\d\d-\d\d): \S", rule)
        name = rule.split("\n")[0].removeprefix("vulnerability:").strip()
        if not reason:
            yield f'{name}: give `reason: "until YYYY-MM-DD: why"`'
        elif date.fromisoformat(reason[1]) < today:
            yield f"{name}: was accepted until {reason[1]}. Look at it again"


def main() -> int:
    """Tell what is missing, or what the list has."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = packages(json.loads(Path(sys.argv[1]).read_text()))
    wrong = [f"{sys.argv[1]} does not name {line}." for line in missing(found)]
    accepted = (ROOT / "image" / "grype.yaml").read_text()
    wrong += [f"image/grype.yaml: {line}." for line in expired(accepted, date.today())]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    kinds = [kind for kind, _ in found]
    print(", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
