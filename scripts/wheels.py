"""Tell which packages of requirements/run.lock have no wheel for 64-bit ARM: what stands between it and an image.

uv asks the index, downloads nothing and installs nothing. Exits 1 where other packages lack a wheel than `KNOWN` says:
docs/image.md, which says the same, is then out of date.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ARCHITECTURE = "aarch64"
LOCK = Path(__file__).parents[1] / "requirements" / "run.lock"
PYTHONS = ("3.11", "3.13")
"""Those of the Debians on which the image builds, 12 and 13."""
KNOWN = {"tensorflow-cpu"}
SOURCE = {"pyspark"}
"""What comes as source, and is the same for every architecture."""
NONE = re.compile(r"[Bb]ecause ([a-z0-9-]+)==\S+ has no wheels with a matching")


def pinned(text: str) -> dict[str, str]:
    """Each pin of a lock with its hashes, by package and version; without those that come as source."""
    blocks = re.split(r"\n(?=[a-z])", text)
    pins = {block.split()[0]: block for block in blocks if re.match(r"[a-z]", block)}
    return {pin: block for pin, block in pins.items() if pin.partition("==")[0] not in SOURCE}


def refused(said: str) -> str:
    """The package of which uv says that it has no wheel; its message is wrapped anywhere."""
    found = NONE.search(" ".join(said.split()))
    if not found:
        raise SystemExit(f"uv failed for another reason:\n{said}")
    return found[1]


def missing(architecture: str, python: str) -> Iterator[str]:
    """The packages without a wheel. uv names one at a time, so that one is asked for less each time."""
    pins = pinned(LOCK.read_text())
    uv = str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "asked.txt"
        command = [uv, "pip", "install", "--dry-run", "--no-deps", "--no-build", "--require-hashes", "--quiet"]
        command += ["--python-platform", f"{architecture}-manylinux_2_28", "--python-version", python]
        while True:
            asked.write_text("\n".join(pins.values()) + "\n")
            whole = [*command, "--target", folder, "-r", str(asked)]
            done = subprocess.run(whole, check=False, capture_output=True, text=True)
            if done.returncode == 0:
                return
            name = refused(done.stderr)
            yield name
            pins = {pin: block for pin, block in pins.items() if pin.partition("==")[0] != name}


def main() -> int:
    """Tell it for each Python."""
    found: set[str] = set()
    for python in PYTHONS:
        lacking = sorted(missing(ARCHITECTURE, python))
        print(f"Python {python} on {ARCHITECTURE} lacks a wheel of: {', '.join(lacking) or 'nothing'}")
        found |= set(lacking)
    if found != KNOWN:
        print(f"Expected: {', '.join(sorted(KNOWN))}. Say so in docs/image.md and in {sys.argv[0]}.", file=sys.stderr)
    return int(found != KNOWN)


if __name__ == "__main__":
    sys.exit(main())
