"""A few failed tests of `.ci/run` are repeated alone; only those that fail by chance pass then."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repeating import HEADING, MOST_REPEATED

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

BY_CHANCE = """\
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["a", "b c::d"])
def test_by_chance(name):
    flag = Path(__file__).with_name(name)
    ran = flag.exists()
    flag.touch()
    assert ran, "only the first time"


def test_sound():
    pass
"""

ALWAYS = f"""\
import pytest


@pytest.mark.parametrize("number", range({MOST_REPEATED + 1}))
def test_always(number):
    assert number is None
"""

ONCE_THEN_SKIPPED = """\
from pathlib import Path

import pytest


def test_skipped():
    flag = Path(__file__).with_name("ran")
    if flag.exists():
        pytest.skip("not again")
    flag.touch()
    assert False
"""


@pytest.fixture
def run(tmp_path):
    """Return a function that runs tests of these texts; it returns the exit code and the lines."""

    def run(*texts, options=()):
        for number, text in enumerate(texts):
            (tmp_path / f"test_{number}.py").write_text(text)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-p", "tests.support.repeating", *options]
        done = subprocess.run(
            [*command, "--rootdir", str(tmp_path), "-c", str(tmp_path / "pytest.ini")],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    return run


def test_tests_that_pass_when_repeated_are_named(run):
    """Proves: the run passes, the closing line is pytest's, and each name has its failure."""
    code, lines = run(BY_CHANCE, options=["-n", "2"])
    assert code == 0
    assert "3 passed, 2 repeated" in lines[-1]
    text = "\n".join(lines[lines.index(next(line for line in lines if HEADING in line)) :])
    assert "REPEATED test_0.py::test_by_chance[a]" in text
    assert "REPEATED test_0.py::test_by_chance[b c::d]" in text
    assert text.count("AssertionError: only the first time") == 2


def test_deterministic_failure_stays(run):
    """Proves: one that fails again leaves the run failed, whatever passes beside it."""
    code, lines = run(BY_CHANCE, ALWAYS.replace(str(MOST_REPEATED + 1), "1"))
    assert code == 1
    assert "3 failed, 1 passed" in lines[-1]
    assert not any(HEADING in line or line.startswith("REPEATED") for line in lines)


@pytest.mark.parametrize("text", [ALWAYS, ONCE_THEN_SKIPPED], ids=["too many", "skipped"])
def test_other_failures_stay(run, text):
    """Proves: neither many failures nor a test that is skipped when repeated let the run pass."""
    code, lines = run(text)
    assert code == 1
    assert "failed" in lines[-1]
    assert any("repeating" in line for line in lines) == (text is ONCE_THEN_SKIPPED)
