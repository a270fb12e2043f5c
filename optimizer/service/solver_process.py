"""The solver's own process: asked with a deadline, killed when it passes, and there again at once.

It is spawned, for HiGHS hangs after a fork; and it is alone, for whatever a solver does, it must
cost one deadline and never the service.
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
from telemetry.logging import run_with_logging
from twin.errors import GigatwinError, NoScheduleError, SolverError

SOLVER_TIMEOUT_S: Final = 60.0
"""Longest wait for a decision, of the wall clock: a small part of a quarter-hour. [s]"""

EXIT_TIMEOUT_S: Final = 2.0
"""Longest wait for the process to end by itself. [s]"""

logger = structlog.get_logger(__name__)


type SolveFunction = Callable[[Problem, Decision | None, ScenarioInputs | None], Decision]


class SolverProcess:
    """A process that decides.

    Parameters
    ----------
    deadline
        Longest wait for an answer. [s]
    solve
        What decides, a function that the other process can import; by default
        :func:`optimizer.stochastic.planner.create_solver`, which only the other process loads.
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
        """Return the running worker."""
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

        Parameters
        ----------
        problem
            The question.
        previous
            The decision in force until now, to tell what changed.
        scenario_inputs
            What courses are drawn from; None to decide for the forecast alone.

        Raises
        ------
        NoScheduleError
            If no plan keeps every limit.
        SolverError
            If the solver fails, hangs or dies, or the service ends.
        """
        with self._lock:
            self._check_running()
            if not self._process.is_alive():
                self._restart("it died between two questions")
            late = threading.Event()
            try:
                answer = self._request(late, problem, previous, scenario_inputs)
            except (EOFError, OSError) as error:
                self._restart("it hung" if late.is_set() else "it died")
                message = "the solver's process died"
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
        message = f"the solver gave no decision: {answer!r:.80}"
        raise SolverError(message)

    def _request(self, late: threading.Event, *question: object) -> object:
        """Return the answer; at the deadline the process is killed, whatever it is at."""

        def give_up() -> None:
            late.set()
            self._process.kill()

        guard = threading.Timer(self.deadline, give_up)
        guard.daemon = True
        guard.start()
        try:
            self._pipe.send(question)
            answer: object = self._pipe.recv()
            return answer
        finally:
            guard.cancel()

    def abort(self) -> None:
        """Answer no more: whoever waits for an answer has an error at once; for any thread.

        A process that is asked nothing ends by itself, as in :meth:`stop`.
        """
        with self._changing:
            self._is_aborted = True
            if self._lock.locked():
                self._process.kill()

    def stop(self, timeout: float = EXIT_TIMEOUT_S) -> None:
        """End the process: by itself, so that its libraries can tidy up, or else by force.

        Parameters
        ----------
        timeout
            Longest wait for it. [s]
        """
        self._pipe.close()
        self._process.join(timeout)
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=run_with_logging, args=(_serve, theirs, self._solve), name="solver", daemon=True
        )
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it is for the service
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()

    def _check_running(self) -> None:
        if self._is_aborted:
            message = "the service ends: no more is decided"
            raise SolverError(message)

    def _restart(self, why: str) -> None:
        """Kill the process and start another, unless it was ended for good."""
        with self._changing:
            self._check_running()
            logger.warning("solver restarted", because=why)
            self.stop(0.0)
            self._start()


def _serve(pipe: Connection, solve: SolveFunction | None) -> None:
    """Answer questions until the other end is closed."""
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
    """End at once when the service is gone, even if a solver hangs."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _load_solver() -> SolveFunction:
    """Load the solver, which the service itself has no need of."""
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
    """Return the decision, or the kind and the words of what went wrong."""
    try:
        return solve(problem, previous, scenario_inputs)
    except GigatwinError as error:
        return type(error).__name__, str(error)
    except Exception as error:  # whatever it is, the service must hear of it
        return SolverError.__name__, f"{type(error).__name__}: {error}"
