"""The solver's own process: asked with a deadline, killed when it passes, and there again at once.

It is spawned, for HiGHS hangs after a fork; and it is alone, for whatever a solver does, it must
cost one deadline and never the service.
"""

import multiprocessing
import signal
import threading
from multiprocessing.connection import Connection
from typing import Final, Self

import structlog

from optimizer.decision import Decision, decide
from optimizer.problem import Problem
from twin.errors import GigatwinError, NoScheduleError, SolverError

DEADLINE: Final = 60.0
"""Longest wait for a decision, of the wall clock: a small part of a quarter-hour. [s]"""

logger = structlog.get_logger(__name__)


class Worker:
    """A process that decides.

    Parameters
    ----------
    deadline
        Longest wait for an answer. [s]
    """

    def __init__(self, deadline: float = DEADLINE) -> None:
        self._deadline = deadline
        self._lock = threading.Lock()
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def __enter__(self) -> Self:
        """Return the running worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        self.stop()

    def decide(self, problem: Problem, previous: Decision | None) -> Decision:
        """Return the best schedule of a problem, found in the other process.

        Parameters
        ----------
        problem
            The question.
        previous
            The decision in force until now, to tell what changed.

        Raises
        ------
        NoScheduleError
            If no plan keeps every limit.
        SolverError
            If the solver fails, hangs or dies.
        """
        with self._lock:
            try:
                self._pipe.send((problem, previous))
                if not self._pipe.poll(self._deadline):
                    self._again("hung")
                    message = f"the solver gave no answer within {self._deadline:.0f} s"
                    raise SolverError(message)
                answer = self._pipe.recv()
            except (EOFError, OSError) as error:
                self._again("died")
                message = "the solver's process died"
                raise SolverError(message) from error
        if isinstance(answer, Decision):
            return answer
        kind, text = answer
        raise (NoScheduleError if kind == NoScheduleError.__name__ else SolverError)(text)

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def _again(self, what: str) -> None:
        """Kill the process and start another."""
        logger.warning("solver restarted", because=what)
        self.stop()
        self._start()


def _serve(pipe: Connection) -> None:
    """Answer questions until the other end is closed; Ctrl-C is for the service, not for us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            problem, previous = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(problem, previous))


def _answer(problem: Problem, previous: Decision | None) -> Decision | tuple[str, str]:
    """Return the decision, or the kind and the words of what went wrong."""
    try:
        return decide(problem, previous=previous)
    except GigatwinError as error:
        return type(error).__name__, str(error)
    except Exception as error:  # whatever it is, the service must hear of it
        return SolverError.__name__, f"{type(error).__name__}: {error}"
