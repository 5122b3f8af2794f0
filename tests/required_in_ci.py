"""Fail a run in CI (``CI=true``) that has not run what it must: tests marked ``required_in_ci``.

Everywhere else a test that lacks a program, jars or photographs skips, and says why.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# A test that uses one of these, directly or through another fixture, has the marker without being given it.
FIXTURES = {"browser", "minio", "minios", "versity", "jars"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark a test by its fixtures, so that a new test cannot forget it."""
    may_skip = item.get_closest_marker("may_skip_in_ci") is not None
    if FIXTURES.intersection(getattr(item, "fixturenames", ())) and not may_skip:
        item.add_marker(pytest.mark.required_in_ci)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make it an error in CI that a whole file skips: the markers of its tests are not known then."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skips as a whole, which no file may in CI: {report.longrepr}"
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run."""
    if _faults(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say why it failed, where no test did."""
    faults = _faults(config)
    if faults:
        terminalreporter.section("required in CI", red=True)
        for line in faults:
            terminalreporter.line(line)


def _faults(config: pytest.Config) -> list[str]:
    """The required tests that skipped, or that there was none."""
    worker_of_xdist = hasattr(config, "workerinput")  # it reports to the process that counts
    if os.environ.get("CI") != "true" or worker_of_xdist or config.getoption("collectonly"):
        return []
    reporter: pytest.TerminalReporter = config.pluginmanager.get_plugin("terminalreporter")

    def required(*outcomes: str) -> list[str]:
        reports = [report for outcome in outcomes for report in reporter.stats.get(outcome, [])]
        return [report.nodeid for report in reports if "required_in_ci" in getattr(report, "keywords", ())]

    if not required("passed", "failed", "error", "xfailed", "skipped"):
        return ["no test marked required_in_ci has run"]
    return [f"{nodeid} was skipped" for nodeid in required("skipped")]
