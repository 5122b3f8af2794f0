"""The locks: every package pinned and hashed, no address, and the same versions in all of them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.lock"))


def pins(lock: Path) -> set[str]:
    """``name==version``, with its marker where it has one."""
    return {line.removesuffix(" \\") for line in lock.read_text().splitlines() if line[:1] not in ("", " ", "#")}


def name(pin: str) -> str:
    return re.split(r"\[|==", pin)[0].lower()


def extras(pin: str) -> set[str]:
    found = re.search(r"\[(.*)\]", pin)
    return set(found[1].split(",")) if found else set()


def required(package: str) -> list[Requirement]:
    """What an installed package asks for here; nothing of one that is for another platform."""
    try:
        asked = [Requirement(text) for text in requires(package) or []]
    except PackageNotFoundError:
        return []
    return [needed for needed in asked if needed.marker is None or needed.marker.evaluate({"extra": ""})]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_and_hashes_every_package_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert all(re.match(r"[a-z0-9-]+(\[[a-z0-9,-]+\])?==\S+( ; .+)?$", pin) for pin in pins(lock))
    assert len(re.findall(r"^\S+==.* \\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins(lock)) > 0
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_what_is_asked_for_is_locked() -> None:
    assert {lock.stem for lock in LOCKS} == {asked.stem for asked in REQUIREMENTS.glob("*.in")}
    for lock in LOCKS:
        asked = re.findall(r"^([a-z][a-z0-9-]*)", lock.with_suffix(".in").read_text(), re.MULTILINE)
        assert set(asked) <= {name(pin) for pin in pins(lock)}


def test_an_extra_that_a_locked_package_asks_for_is_in_the_lock() -> None:
    """Of ``name[extra]``, no pinned name to it, pip 23 takes the newest version, and finds no hash for that."""
    locked = {name(pin): extras(pin.partition("==")[0]) for pin in pins(REQUIREMENTS / "dev.lock")}
    asked = [needed for package in locked for needed in required(package) if needed.extras]
    assert "coverage[toml]" in {f"{needed.name}[{','.join(needed.extras)}]" for needed in asked}
    assert [needed for needed in asked if not needed.extras <= locked[needed.name]] == []


def test_tests_run_on_the_versions_that_users_get() -> None:
    run, dev = pins(REQUIREMENTS / "run.lock"), pins(REQUIREMENTS / "dev.lock")
    assert run | pins(REQUIREMENTS / "heic.lock") <= dev
    assert pins(REQUIREMENTS / "build.lock") <= run
