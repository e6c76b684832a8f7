"""Processes for the tests of faults, and a table of what held."""

import re
from pathlib import Path

import pytest

from fault_processes import Processes

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    started = Processes(tmp_path_factory.mktemp("processes"))
    yield started
    started.close()


def pytest_terminal_summary(terminalreporter):
    """Say of each promise of docs/reliability.md whether its test held."""
    outcomes = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            name = report.nodeid.rpartition("::")[2].partition("[")[0]
            outcomes.setdefault(name, []).append(outcome)
    rows = re.findall(r"^\| (.+?) \| `(\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    if not any(test in outcomes for _, test in rows):
        return
    terminalreporter.write_sep("=", "faults")
    for promise, test in rows:
        found = outcomes.get(test)
        if found is None:
            continue
        word = "BROKEN" if {"failed", "error"} & {*found} else "skipped" if {*found} == {"skipped"} else "holds"
        terminalreporter.write_line(f"{word:<8} {promise} ({len(found)})")
