"""A pytest plugin: run a failed test of real processes once more, and list those that then pass.

Tests of processes, signals, ports and servers have ``@pytest.mark.real_processes``; tests that use one of ``FIXTURES``
get it automatically. Such tests depend on the load of the machine: a first failure is reported, but does not fail the
run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

MARK = "real_processes"
FIXTURES = {"browser", "local_ray", "postgres_server", "s3_server", "serve"}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", f"{MARK}: uses real processes, signals, ports or servers; a failure is run once more"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the mark of pytest-rerunfailures to these tests."""
    for item in items:
        if FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(MARK)
        if item.get_closest_marker(MARK):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print ``FLAKY``, the test and the first failure's message for each test that passed the second time."""
    stats = terminalreporter.stats
    passed = {report.nodeid for report in stats.get("passed", [])}
    flaky = {report.nodeid: report for report in stats.get("rerun", []) if report.nodeid in passed}
    if flaky:
        terminalreporter.section("flaky tests: failed, then passed")
    for nodeid, report in sorted(flaky.items()):
        crash = getattr(report.longrepr, "reprcrash", None)
        terminalreporter.write_line(f"FLAKY {nodeid} - {crash.message.splitlines()[0] if crash else ''}")
