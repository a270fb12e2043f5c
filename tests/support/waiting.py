"""Waiting for an effect of another thread or process."""

import inspect
import time
from collections.abc import Callable

DEADLINE = 60.0
"""Longest wait by default: CI machines sometimes stall for seconds. [s]"""

PAUSE = 0.005
"""Time between two checks by default. [s]"""


def until[T](
    is_met: Callable[[], T],
    *,
    deadline: float = DEADLINE,
    what: str | Callable[[], str] = "",
    pause: float = PAUSE,
) -> T:
    """Check a condition repeatedly; return its first true result, or fail after the deadline.

    It is checked once more after the deadline, as the machine itself may have stalled.

    Parameters
    ----------
    is_met
        The condition. An exception from it ends the waiting.
    deadline
        Longest wait. [s]
    what
        Description of the condition, or a function that returns it; by default its source.
    pause
        Time between two checks. [s]
    """
    end = time.monotonic() + deadline
    while True:
        is_late = time.monotonic() > end
        if result := is_met():
            return result
        if is_late:
            text = what() if callable(what) else what or _text(is_met)
            message = f"waited {deadline:g} s in vain: {text}"
            raise AssertionError(message)
        time.sleep(pause)


def _text(is_met: Callable[[], object]) -> str:
    try:
        return inspect.getsource(is_met).strip()
    except (OSError, TypeError):  # its source is not in a file
        return repr(is_met)
