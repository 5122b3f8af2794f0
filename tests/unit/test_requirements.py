"""The locks: every package pinned and hashed, no address, and the same versions in all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.lock"))


def pins(lock: Path) -> set[str]:
    """``name==version``, with its marker where it has one."""
    return {line.removesuffix(" \\") for line in lock.read_text().splitlines() if line[:1] not in ("", " ", "#")}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_pins_and_hashes_every_package_and_names_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert all(re.match(r"[a-z0-9-]+==\S+( ; .+)?$", pin) for pin in pins(lock))
    assert len(re.findall(r"^\S+==.* \\\n    --hash=sha256:", text, re.MULTILINE)) == len(pins(lock)) > 0
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)


def test_what_is_asked_for_is_locked() -> None:
    assert {lock.stem for lock in LOCKS} == {asked.stem for asked in REQUIREMENTS.glob("*.in")}
    for lock in LOCKS:
        asked = re.findall(r"^([a-z][a-z0-9-]*)", lock.with_suffix(".in").read_text(), re.MULTILINE)
        assert set(asked) <= {pin.partition("==")[0] for pin in pins(lock)}


def test_tests_run_on_the_versions_that_users_get() -> None:
    run, dev = pins(REQUIREMENTS / "run.lock"), pins(REQUIREMENTS / "dev.lock")
    assert run | pins(REQUIREMENTS / "heic.lock") <= dev
    assert pins(REQUIREMENTS / "build.lock") <= run
