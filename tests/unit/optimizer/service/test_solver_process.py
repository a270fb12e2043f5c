"""The solver process: any failure costs one deadline, and the next problem is solved."""

import os
import select
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.planner.decision import Decision
from optimizer.service.solver_process import SolverProcess
from optimizer.stochastic.scenarios import ScenarioInputs
from tests.support import moments, small_days
from tests.support.failing_solvers import asked, moody
from twin.errors import NoScheduleError, SolverError

pytestmark = pytest.mark.slow  # each process takes seconds to start

PATIENT = 600.0
"""Deadline that a process meets which starts on however slow a machine. [s]"""

LARGE = 4_000_000
"""Numbers in a question that no pipe holds."""


@pytest.fixture(scope="module")
def shared():
    with SolverProcess(solve=moody) as worker:
        yield worker


@pytest.fixture
def worker(shared):
    """Return a started solver process."""
    shared.deadline = PATIENT
    shared.decide(asked(), None)
    yield shared
    shared.deadline = PATIENT


def process(worker):
    return worker.decide(asked(), None).schedule.attrs["process"]


def is_alive(process):
    return Path(f"/proc/{process}").exists()


def test_ctrl_c_does_not_reach_the_solver_process(worker):
    """Sensitivity: Ctrl-C during its imports printed a traceback."""
    words = Path(f"/proc/{process(worker)}/status").read_text().split()
    blocked = int(words[words.index("SigBlk:") + 1], 16)
    assert blocked >> (signal.SIGINT - 1) & 1


def test_another_process_decides_with_the_previous_decision(worker):
    decision = worker.decide(asked(), "the last one")
    assert decision.schedule.attrs["process"] != os.getpid()
    assert decision.schedule.attrs["previous"] == "the last one"


@pytest.mark.parametrize(
    ("mood", "error", "text"),
    [
        ("no schedule", NoScheduleError, "^the peak is too low$"),
        ("series", SolverError, "series has 0 issues"),
        ("fault", SolverError, "ZeroDivisionError"),
        ("memory", SolverError, "MemoryError"),
        ("rubbish", SolverError, "no decision"),
    ],
)
def test_errors_are_reported_and_the_process_survives(worker, mood, error, text):
    before = process(worker)
    with pytest.raises(error, match=text):
        worker.decide(asked(mood), None)
    assert process(worker) == before


def test_large_problem_is_sent(worker):
    assert isinstance(worker.decide(asked(size=LARGE), None), Decision)


def test_unpicklable_problem_breaks_nothing(worker):
    before = process(worker)
    with pytest.raises((AttributeError, TypeError, OSError)) as caught:
        worker.decide({"mood": lambda: None}, None)
    assert not isinstance(caught.value, OSError)
    assert process(worker) == before


@pytest.mark.parametrize("mood", ["crash", "exit", "no pickle"])
def test_next_problem_is_solved_after_a_crash(worker, mood):
    before = process(worker)
    with pytest.raises(SolverError, match="the solver's process exited"):
        worker.decide(asked(mood), None)
    assert process(worker) != before
    assert not is_alive(before)


@pytest.mark.parametrize("mood", ["hang", "stop"])
def test_a_solver_that_hangs_is_killed_at_the_deadline(worker, mood):
    before = process(worker)
    worker.deadline = 0.3
    with pytest.raises(SolverError, match=r"no answer within 0\.3 s"):
        worker.decide(asked(mood), None)
    worker.deadline = PATIENT
    assert process(worker) != before
    assert not is_alive(before)


def test_timeout_is_reported_with_any_clock(worker, monkeypatch):
    """Proves: the deadline is the reason, even if the clock does not advance."""
    worker.deadline = 0.3
    monkeypatch.setattr("time.monotonic", lambda: 0.0)
    with pytest.raises(SolverError, match=r"no answer within 0\.3 s"):
        worker.decide(asked("hang"), None)


def test_stopped_process_is_killed_at_the_deadline(worker):
    """It is stopped by SIGSTOP, and the problem is larger than the pipe."""
    before = process(worker)
    os.kill(before, 19)
    worker.deadline = 0.3
    with pytest.raises(SolverError, match=r"no answer within 0\.3 s"):
        worker.decide(asked(size=LARGE), None)
    worker.deadline = PATIENT
    assert process(worker) != before


def test_process_that_died_while_idle_is_replaced(worker):
    before = process(worker)
    os.kill(before, 9)
    worker._process.join()
    assert process(worker) != before


def test_a_stopped_worker_leaves_no_process():
    with SolverProcess(solve=moody) as worker:
        child = process(worker)
    assert not is_alive(child)


def test_waiting_caller_learns_of_shutdown_at_once():
    """Proves: a hanging solver does not delay shutdown and is not started again."""
    with SolverProcess(solve=moody) as worker:
        child = process(worker)
        timer = threading.Timer(0.3, worker.abort)
        timer.start()
        for _ in range(2):
            with pytest.raises(SolverError, match="the service ends"):
                worker.decide(asked("hang"), None)
        timer.join()
    assert not is_alive(child)


LOCKING_SERVICE = """
from optimizer.service.solver_process import SolverProcess
from tests.support.failing_solvers import asked, moody
from twin.errors import SolverError

if __name__ == "__main__":
    with SolverProcess(solve=moody) as worker:
        try:
            worker.decide(asked("crash with a lock"), None)
        except SolverError:
            print("killed")
"""


def test_a_killed_solver_leaves_no_semaphore(tmp_path):
    """Sensitivity: Ctrl-C during a decision printed a warning about a leaked semaphore."""
    script = tmp_path / "service.py"
    script.write_text(LOCKING_SERVICE)
    found = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.endswith("killed\n")
    assert "semaphore" not in found.stderr


SERVICE = """
import sys
from optimizer.service.solver_process import SolverProcess
from tests.support.failing_solvers import asked, moody

if __name__ == "__main__":
    worker = SolverProcess(solve=moody)
    sys.stdout.write(f"{worker.decide(asked(), None).schedule.attrs['process']}\\n")
    sys.stdout.flush()
    worker.decide(asked(sys.argv[1]), None)
    sys.stdin.read()
"""


@pytest.mark.parametrize("mood", ["good", "hang"])
def test_the_process_ends_when_the_service_is_killed(tmp_path, mood):
    script = tmp_path / "service.py"
    script.write_text(SERVICE)
    root = Path(__file__).parents[4]
    with subprocess.Popen(
        [sys.executable, script, mood],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as service:
        child = int(service.stdout.readline())
        end = os.pidfd_open(child)
        service.kill()
        assert select.select([end], [], [], 60.0)[0]
        os.close(end)


def test_real_solver_decides_the_same_in_the_process():
    with SolverProcess() as worker:
        there = worker.decide(small_days.problem(), small_days.decision())
    here = small_days.decision()
    assert float(there.schedule["money"].sum()) == pytest.approx(
        float(here.schedule["money"].sum())
    )
    assert there.verdict.is_safe


def test_scenarios_are_evaluated_in_the_solver_process():
    facts = moments.facts()
    known = ScenarioInputs(record=facts.series, queue=facts.queue, past_jobs=facts.past_jobs)
    asked = replace(moments.asked(), site=moments.weighing(3))
    with SolverProcess() as worker:
        bare = worker.decide(asked, None)
        weighed = [worker.decide(asked, bare, known) for _ in range(2)]
    assert bare.explanation.hedge is None
    assert [one.explanation.hedge.scenario_count for one in weighed] == [3, 3]
    assert all(one.verdict.is_safe for one in weighed)
