"""Waiting for what another thread or process brings about."""

import inspect
import time
from collections.abc import Callable

DEADLINE = 60.0
"""Longest wait unless told otherwise: machines of CI stand still for seconds. [s]"""

PAUSE = 0.005
"""Pause between two looks unless told otherwise. [s]"""


def until[T](
    is_so: Callable[[], T],
    *,
    deadline: float = DEADLINE,
    what: str | Callable[[], str] = "",
    pause: float = PAUSE,
) -> T:
    """Ask again and again; return the first answer that is true, and fail if none is in time.

    It is asked once more after the deadline: what stood still was this machine, perhaps.

    Parameters
    ----------
    is_so
        The question. What it raises ends the waiting.
    deadline
        Longest wait. [s]
    what
        What is waited for, or what says so in the end; the question's own text if empty.
    pause
        Time between two questions. [s]
    """
    end = time.monotonic() + deadline
    while True:
        is_late = time.monotonic() > end
        if answer := is_so():
            return answer
        if is_late:
            text = what() if callable(what) else what or _text(is_so)
            message = f"waited {deadline:g} s in vain: {text}"
            raise AssertionError(message)
        time.sleep(pause)


def _text(is_so: Callable[[], object]) -> str:
    try:
        return inspect.getsource(is_so).strip()
    except (OSError, TypeError):  # it was not read from a file
        return repr(is_so)
