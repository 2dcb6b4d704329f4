"""For all tests: which skips are allowed, and where the slow ones come in."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import HealthCheck, settings

# How fast examples come says how busy the machine is, and nothing about the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

#: Reasons for which a test may be skipped in CI, as regular expressions.
EXPECTED_SKIPS: tuple[str, ...] = ()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--machine", choices=["native", "vm", "all"], default="native", help="where the engine under test lives"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many were skipped; `-ra` has already said why."""
    skipped = terminalreporter.stats.get("skipped", [])
    terminalreporter.write_line(f"skipped: {len(skipped)}, of them unexpected: {len(unexpected(skipped))}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """CI fails on a skip that nobody expected: a missing tool must not look like a green run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK and unexpected(skipped):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def unexpected(skipped: list[pytest.TestReport]) -> list[str]:
    """The reasons that no pattern allows. A skipped report's longrepr is (path, line, reason)."""
    reasons = [report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr) for report in skipped]
    return [reason for reason in reasons if not any(re.search(pattern, reason) for pattern in EXPECTED_SKIPS)]
