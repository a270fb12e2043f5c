"""Whether a load still moves to what a new target has made of its plan, by the meter."""

import math
from typing import Final

import numpy as np

from telemetry.grid.flex import Event
from twin.axes import QUARTER

SHARE: Final = 0.01
"""Share of the connection by which a load may be off and still be there. [1]"""


class Flight:
    """The way of a load after its limit has changed.

    A flight begins once the plan has moved in the direction of that change from where the meter
    last stood, and the meter is not there yet. That may be later than the change, as plans follow
    targets; under HOLD, or where a target is not kept, it is never. It ends once the meter is
    there.

    Parameters
    ----------
    most
        What the connection takes. [MW]
    """

    def __init__(self, most: float) -> None:
        self.is_on = False
        self._near = SHARE * most
        self._limit, self._way, self._stood = math.inf, "", math.nan
        self._changed = np.datetime64("NaT", "us")

    def look(self, measured: float, planned: float, *, limit: float, now: np.datetime64) -> Event:
        """Return what has happened since the last look.

        Parameters
        ----------
        measured
            What the meter shows; where it is not finite nothing is known to have happened. [MW]
        planned
            What is planned now; not finite where there is no plan, and then nothing flies. [MW]
        limit
            Tightest target in force, infinite if none is. [MW]
        now
            The moment.
        """
        if limit != self._limit:
            self._way = "down" if limit < self._limit else "up"
            self._limit, self._changed, self.is_on = limit, now, False
        self.is_on = self.is_on and math.isfinite(planned)
        if not math.isfinite(measured - planned):
            return "periodic"
        if abs(measured - planned) <= self._near:
            self._stood = planned
        if not self.is_on and self._is_over(measured, now):
            self._way = ""
        if not self._way:
            return "periodic"
        sign = 1.0 if self._way == "down" else -1.0
        has_moved = not sign * (self._stood - planned) <= self._near  # nor is where it stood known
        was_on = self.is_on
        self.is_on = sign * (measured - planned) > self._near and (was_on or has_moved)
        if was_on == self.is_on:
            return "periodic"
        if self._way == "down":
            return "start_ramp_down" if self.is_on else "end_ramp_down"
        return "start_ramp_up" if self.is_on else "end_ramp_up"

    def _is_over(self, measured: float, now: np.datetime64) -> bool:
        """Return whether nothing of the change is left to follow; upward, plans need not."""
        if self._way == "down":
            return measured <= self._limit + self._near
        return bool(now - self._changed >= QUARTER)
