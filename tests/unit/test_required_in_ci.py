"""tests/required_in_ci.py: a run in CI fails where a required test did not run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PASSES = "def test_passes(): pass\n"
REQUIRED = "@pytest.mark.required_in_ci\ndef test_required(): pass\n"
SKIPS = "@pytest.mark.required_in_ci\ndef test_skips(): pytest.skip('no helm')\n"
SKIPS_BY_FIXTURE = "@pytest.fixture\ndef jars(): pytest.skip('no jars')\ndef test_jars(jars): pass\n"
OPTIONAL = "def test_optional(): pytest.skip('no keytool')\n"
MAY_SKIP = f"{SKIPS_BY_FIXTURE.partition('def test')[0]}@pytest.mark.may_skip_in_ci\ndef test_extension(jars): pass\n"
WHOLE_FILE = "pytest.skip('no boto3', allow_module_level=True)\n"


def run(folder: Path, content: str, *options: str, ci: str = "true") -> subprocess.CompletedProcess[str]:
    """Pytest with the rule, on one file of tests."""
    (folder / "test_it.py").write_text(f"import pytest\n{content}")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n required_in_ci\n may_skip_in_ci\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.required_in_ci", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CI": ci}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (REQUIRED + SKIPS, "test_it.py::test_skips was skipped"),
        (REQUIRED + SKIPS_BY_FIXTURE, "test_it.py::test_jars was skipped"),
        (PASSES + OPTIONAL, "no test marked required_in_ci has run"),
        (REQUIRED + WHOLE_FILE, "skips as a whole, which no file may in CI"),
        ("", "no tests ran"),
    ],
    ids=["marker", "fixture", "none", "whole-file", "empty"],
)
def test_a_run_in_ci_without_a_required_test_fails(
    tmp_path: Path, content: str, said: str, options: tuple[str, ...]
) -> None:
    done = run(tmp_path, content, *options)
    assert done.returncode != 0
    assert said in done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_run_in_ci_passes_where_every_required_test_ran(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = run(tmp_path, REQUIRED + PASSES + OPTIONAL + MAY_SKIP, *options)
    assert done.returncode == 0, done.stdout


def test_elsewhere_required_tests_may_skip(tmp_path: Path) -> None:
    done = run(tmp_path, SKIPS, ci="")
    assert done.returncode == 0, done.stdout
