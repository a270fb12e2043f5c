"""The solver in its own process: called with a time limit, killed when it passes, and restarted.

The process is spawned, because HiGHS hangs after a fork. A failing solver costs one time limit and
never stops the service.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Final, Self

import structlog

from optimizer.module_loading import import_without_gc
from optimizer.planner.decision import Decision
from optimizer.problem.problem import Problem
from optimizer.stochastic.scenarios import ScenarioInputs
from telemetry.runtime import run_with_logging
from twin.errors import GigatwinError, NoScheduleError, SolverError

SOLVER_TIMEOUT_S: Final = 60.0
"""Longest wait for a decision by the wall clock, a small part of a quarter-hour. [s]"""

SOLVER_EXIT_TIMEOUT_S: Final = 2.0
"""Longest wait for the process to exit. [s]"""

logger = structlog.get_logger(__name__)


type SolveFunction = Callable[[Problem, Decision | None, ScenarioInputs | None], Decision]


class SolverProcess:
    """A process that decides.

    ``deadline`` is the longest wait for an answer [s]. ``solve`` is a function that the other
    process can import, by default :func:`optimizer.stochastic.planner.create_solver`, which only it
    loads.
    """

    def __init__(
        self, deadline: float = SOLVER_TIMEOUT_S, solve: SolveFunction | None = None
    ) -> None:
        self.deadline = deadline
        self._solve = solve
        self._lock, self._changing = threading.Lock(), threading.Lock()
        self._is_aborted = False
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def __enter__(self) -> Self:
        """Return the running process."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.stop()

    def decide(
        self,
        problem: Problem,
        previous: Decision | None,
        scenario_inputs: ScenarioInputs | None = None,
    ) -> Decision:
        """Return the best schedule of a problem, found in the other process.

        ``previous`` is the decision in force until now; ``scenario_inputs`` None plans for the
        forecast alone.

        Raises
        ------
        NoScheduleError
            If no plan keeps every limit.
        SolverError
            If the solver fails, hangs or exits, or the service ends.
        """
        with self._lock:
            self._check_running()
            if not self._process.is_alive():
                self._restart("it exited between two calls")
            late = threading.Event()
            try:
                answer = self._request(late, problem, previous, scenario_inputs)
            except (EOFError, OSError) as error:
                self._restart("it hung" if late.is_set() else "it exited")
                message = "the solver's process exited"
                if late.is_set():
                    message = f"the solver gave no answer within {self.deadline:g} s"
                raise SolverError(message) from error
        match answer:
            case Decision():
                return answer
            case NoScheduleError.__name__, str(text):
                raise NoScheduleError(text)
            case str(), str(text):
                raise SolverError(text)
        raise SolverError(f"the solver gave no decision: {answer!r:.80}")

    def _request(self, late: threading.Event, *question: object) -> object:
        """Return the answer; at the time limit the process is killed."""

        def give_up() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(self.deadline, give_up)
        timer.daemon = True
        timer.start()
        try:
            self._pipe.send(question)
            answer: object = self._pipe.recv()
            return answer
        finally:
            timer.cancel()

    def abort(self) -> None:
        """Decide nothing more: a waiting caller gets an error at once; usable from any thread.

        An idle process exits by itself, as in :meth:`stop`.
        """
        with self._changing:
            self._is_aborted = True
            if self._lock.locked():
                self._process.kill()

    def stop(self, timeout: float = SOLVER_EXIT_TIMEOUT_S) -> None:
        """End the process; kill it if it does not exit within ``timeout``. [s]"""
        self._pipe.close()
        self._process.join(timeout)
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        self._pipe, child_end = self._context.Pipe()
        self._process = self._context.Process(
            target=run_with_logging,
            args=(_serve, child_end, self._solve),
            name="solver",
            daemon=True,
        )
        mask = signal.pthread_sigmask(
            signal.SIG_BLOCK, {signal.SIGINT}
        )  # only the service handles it
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        child_end.close()

    def _check_running(self) -> None:
        if self._is_aborted:
            raise SolverError("the service ends: nothing more is decided")

    def _restart(self, why: str) -> None:
        """Kill the process and start another, unless it was ended for good."""
        with self._changing:
            self._check_running()
            logger.warning("solver restarted", because=why)
            self.stop(0.0)
            self._start()


def _serve(pipe: Connection, solve: SolveFunction | None) -> None:
    """Answer calls until the other end is closed."""
    # Pyomo makes a lock at import. Under the start method fork, which nothing uses here, a lock has
    # no name, so a killed process leaves no semaphore behind.
    multiprocessing.set_start_method("fork", force=True)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer = solve or _load_solver()
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_solve_or_describe_error(answer, *question))
        except BrokenPipeError:
            return


def _end_with_parent() -> None:
    """Exit at once when the service has exited, even if a solver hangs."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _load_solver() -> SolveFunction:
    """Load the solver, which the service itself does not need."""
    solver: Callable[[], SolveFunction] = import_without_gc(
        "optimizer.stochastic.planner"
    ).create_solver
    return solver()


def _solve_or_describe_error(
    solve: SolveFunction,
    problem: Problem,
    previous: Decision | None,
    scenario_inputs: ScenarioInputs | None,
) -> Decision | tuple[str, str]:
    """Return the decision, or the class name and the text of an error."""
    try:
        return solve(problem, previous, scenario_inputs)
    except GigatwinError as error:
        return type(error).__name__, str(error)
    except Exception as error:  # the service must get every error
        return SolverError.__name__, f"{type(error).__name__}: {error}"
