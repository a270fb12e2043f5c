"""Repeat a few failed tests alone: `pytest -p tests.support.repeating`.

`.ci/run` runs thousands of tests beside each other. A test that depends on speed or order may fail
there once. When at most :data:`MOST_REPEATED` tests fail, they run once more, in one process and
nothing beside them. If all of them pass, the run passes, and names them so that they get corrected.
A test that fails again, or is skipped, leaves the run failed.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

MOST_REPEATED = 5
"""Failed tests that are repeated; more than these have one cause. [1]"""

HEADING = "passed only when repeated: correct these tests"


@pytest.hookimpl(trylast=True)  # the processes of pytest-xdist have ended
def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(session.config, "workerinput"):
        return
    reports = reporter.stats.get("failed", []) + reporter.stats.get("error", [])
    names = list(dict.fromkeys(report.nodeid for report in reports))
    are_tests = all(isinstance(report, pytest.TestReport) for report in reports)
    if exitstatus != pytest.ExitCode.TESTS_FAILED or not are_tests:
        return
    if not 0 < len(names) <= MOST_REPEATED:
        return
    reporter.write_sep("=", f"repeating {len(names)} failed alone")
    if _passes_alone(session.config, names):
        reporter.stats.pop("error", None)
        reporter._add_stats("passed", reporter.stats.pop("failed", []))
        reporter._add_stats("repeated", reports)
        session.exitstatus = pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter):
    repeated = terminalreporter.stats.get("repeated", [])
    if not repeated:
        return
    terminalreporter.write_sep("=", HEADING, yellow=True)
    for report in repeated:
        terminalreporter.write_sep("_", report.head_line or report.nodeid)
        report.toterminal(terminalreporter._tw)
    for name in dict.fromkeys(report.nodeid for report in repeated):
        terminalreporter.write_line(f"REPEATED {name}")


def _passes_alone(config, names):
    """Run these tests in a process of their own; return whether each has passed."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "-m",
            "",
            "-p",
            "no:cacheprovider",
        ]
        command += [f"--rootdir={config.rootpath}", f"--junitxml={results}"]
        if config.inipath is not None:
            command += ["-c", str(config.inipath)]
        code = subprocess.run([*command, *names], cwd=config.rootpath, check=False).returncode
        if code != pytest.ExitCode.OK:
            return False
        (suite,) = ElementTree.parse(results).getroot().iter("testsuite")
    unpassed = sum(int(suite.get(name, 0)) for name in ("failures", "errors", "skipped"))
    return int(suite.get("tests", 0)) - unpassed == len(names)
