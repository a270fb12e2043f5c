"""Of very many refusals the first are told one by one, and the rest as their number.

Who may write on a topic may write without end; a record and a log without end fill a disk, and a
full disk ends planning.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

MOST: Final = 20
"""Refusals of one sender that are told one by one within a period. [1]"""

PERIOD: Final = 60.0
"""Time in which they are counted. [s]"""

_logger = structlog.get_logger(__name__)


class Spate:
    """Counts the refusals of each sender; any thread may call anything.

    Parameters
    ----------
    passed
        Tells the time that passes here. [s]
    """

    def __init__(self, passed: Callable[[], float] = time.monotonic) -> None:
        self._passed, self._lock = passed, threading.Lock()
        self._counts: dict[str, tuple[float, int]] = {}

    def admits(self, who: str) -> bool:
        """Count a refusal of a sender; return whether it is to be told by itself."""
        with self._lock:
            begun, count = self._counts.get(who, (self._passed(), 0))
            self._counts[who] = begun, count + 1
        return count < MOST

    def rest(self) -> list[tuple[str, int]]:
        """Return whose period is over, and how many were not told in it; they count anew."""
        with self._lock:
            over = [
                who for who, (begun, _) in self._counts.items() if self._passed() - begun >= PERIOD
            ]
            counts = [(who, self._counts.pop(who)[1] - MOST) for who in over]
        return [(who, count) for who, count in counts if count > 0]

    def tell(self) -> None:
        """Log how many were not told by themselves."""
        for who, count in self.rest():
            _logger.warning("as many more without effect", sender=who, count=count)


def refusal(issuer: str, reason: str) -> Mapping[str, object]:
    """Log that a load target is refused, and return it for the record."""
    _logger.warning("load target refused", partner=issuer, reason=reason)
    return {"event": "load_target_refused", "partner": issuer, "reason": reason}
