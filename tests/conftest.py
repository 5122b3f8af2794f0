"""What all tests share: the real photographs, where there are some, and what CI must not skip."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Browser
from verger.spark import s3a

ROOT = Path(__file__).parents[1]

# Tests with one of these words in their file's or their own name count as marked `required_in_ci`,
REQUIRED_IN_CI = ("pca", "randomized", "projection", "s3", "chart", "e2e")
# and so do those that use one of these fixtures, directly or through another.
FIXTURES_REQUIRED_IN_CI = {"browser", "minio", "minios", "versity", "jars"}


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real photographs and weights; it is no part of the project."""
    folder = Path(os.environ.get("VERGER_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real photographs: set VERGER_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def jars() -> Path:
    """The folder of the jars with which Spark reaches S3."""
    folder = s3a.jars_folder()
    if folder is None:
        pytest.skip("no jars for S3: `make jars` fetches them, with Maven (Debian: apt-get install maven)")
    return folder


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A tab of a browser that shows what a user would see."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH (Debian: apt-get install chromium)")
    with Browser(tmp_path / "profile") as opened:
        yield opened


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what CI must not skip by its name and fixtures, so that a new test cannot forget it."""
    named = any(word in item.nodeid.lower() for word in REQUIRED_IN_CI)
    if named or FIXTURES_REQUIRED_IN_CI.intersection(getattr(item, "fixturenames", ())):
        item.add_marker(pytest.mark.required_in_ci)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in CI that has skipped what it must not."""
    if _wrongly_skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the tests that failed the run by not running."""
    skipped = _wrongly_skipped(config)
    if skipped:
        terminalreporter.section("skipped, but required in CI", red=True)
        for nodeid in skipped:
            terminalreporter.line(nodeid)


def _wrongly_skipped(config: pytest.Config) -> list[str]:
    if os.environ.get("CI") != "true" or hasattr(config, "workerinput"):  # a worker of pytest-xdist reports to another
        return []
    reporter: pytest.TerminalReporter = config.pluginmanager.get_plugin("terminalreporter")
    return [
        report.nodeid
        for report in reporter.stats.get("skipped", [])
        if "required_in_ci" in report.keywords or any(word in report.nodeid.lower() for word in REQUIRED_IN_CI)
    ]
