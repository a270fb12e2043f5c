"""What must be heard before a decision: waits for it, and tells when it is there again."""

import time
from collections.abc import Iterator
from threading import Event
from typing import Final

from optimizer.service.clock import Clock
from optimizer.service.house import PAUSE
from optimizer.service.plant_link import PlantLink
from optimizer.service.watching.unheard import Unheard
from twin.errors import NoScheduleError, StateError
from twin.estimation.observer import estimate_state
from twin.site import Site

FIRST: Final = 120.0
"""Longest wait for the first telemetry: a plant says everything within 100 s. [s]"""


class Awaited:
    """Fresh readings of all that an estimate needs, and the jobs.

    Parameters
    ----------
    site
        The site.
    link
        What is heard of it.
    clock
        The service's.

    Attributes
    ----------
    is_blind
        Whether the last decision was made without them.
    """

    def __init__(self, site: Site, link: PlantLink, *, clock: Clock) -> None:
        self._site, self._link, self._clock = site, link, clock
        self._unheard = Unheard(site, link.window)
        self.is_blind = False

    def missing(self) -> str:
        """Return what must be known and nobody says now, in words; empty if all is heard."""
        try:
            estimate_state(self._site, self._link.observed(self._clock.now()))
        except StateError as error:
            return str(self._unheard.told(error))
        return self._link.jobs.unheard

    def told(self, error: Exception) -> Exception:
        """Return why there is no plan, with where to look, and what is not heard besides."""
        if isinstance(error, StateError):
            return self._unheard.told(error)
        if isinstance(error, NoScheduleError) and self.is_blind:
            return NoScheduleError(f"{error}\nit may come of this: {self.missing()}")
        return error

    def waits(self, stop: Event) -> Iterator[str]:
        """Yield what is missing, until nothing is, the longest wait is over, or it is to stop."""
        until = time.monotonic() + FIRST
        while (words := self.missing()) and time.monotonic() < until:
            yield words
            if stop.wait(PAUSE):
                return

    def judge(self, *, is_known: bool) -> None:
        """Take note of a decision: whether enough was known for a plan."""
        self.is_blind = not is_known and bool(self.missing())

    def look(self) -> None:
        """Have a quarter-hour that was decided blindly decided anew once all is heard again."""
        if self.is_blind and not self.missing():
            self.is_blind = False
            self._clock.again()
