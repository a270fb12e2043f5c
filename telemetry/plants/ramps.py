"""How a simulated plant moves from set point to set point, and how its meter counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import steering
from twin.axes import QUARTER
from twin.exchange import net_import
from twin.limits import TRANSITION
from twin.physics import FloatArray
from twin.run import Key
from twin.tariffs.billing import Billing
from twin.tariffs.periods import usual

STEP: Final = 15
"""Minutes for which one set of orders holds, and over which the connection's meter averages."""

MINUTES: Final = 60.0
"""Minutes in an hour. [1]"""


RAMP_SHARE: Final = 0.75
"""Share of the connection's ramp limit that the plant's own controllers use. [1]"""

SWINGS: Final = {
    "hall_power": 1.15,
    "battery_charge": 1.0,
    "battery_discharge": 1.0,
    "tank_charge": 0.2,
    "tank_discharge": 0.2,
    "renewable_used_power": 1.0,
    "heat_reuse_power": 0.15,
    **dict.fromkeys(steering.TOLD, 0.0),
}
"""Change of import for a change of a set point: losses and cooling follow the halls. [1]"""


@dataclass(kw_only=True)
class Move:
    """A move of all set points at once.

    Attributes
    ----------
    begin, goal
        (name, machine) -> where it starts, where it leads. [MW]
    over
        How long it takes. [min]
    since
        How long it has been under way. [min]
    """

    begin: Mapping[Key, float]
    goal: Mapping[Key, float]
    over: float
    since: int = 0

    def way(self, minutes: int) -> FloatArray:
        """Return the share of the way made at the end of each coming minute. [1]"""
        minute = np.arange(self.since + 1, self.since + minutes + 1)
        return np.asarray(np.clip(minute / self.over, 0.0, 1.0))


def time_of(begin: Mapping[Key, float], end: Mapping[Key, float], *, ramp: float) -> float:
    """Return how long a plant takes for a move of its set points. [min]

    Parameters
    ----------
    begin, end
        (name, machine) -> where it starts and ends. [MW]
    ramp
        Greatest change of the import. [MW min-1]
    """
    swing = sum(abs(end[key] - begin[key]) * SWINGS[key[0]] for key in end)
    return max(TRANSITION, swing / (RAMP_SHARE * ramp))


class Meter:
    """The meter of the connection: it averages over quarter-hours and keeps the greatest mean.

    Parameters
    ----------
    state
        State of the plant when it begins to count.
    billing
        How its import is billed.

    Attributes
    ----------
    net
        Mean import less export of the last quarter-hour. [MW]
    peak
        Greatest mean import of the billing period so far, of what counts in it. [MW]
    usual
        Mean import of about the last week. [MW]
    """

    def __init__(self, state: xr.Dataset, billing: Billing) -> None:
        self.net = float(net_import(state))
        self.peak, self.usual = float(state["peak_power"]), float(state["usual_power"])
        self._now = np.datetime64(str(state["instant"].to_numpy()), "us")
        self._billing, self._turn = billing, billing.end(self._now)
        self._last: list[float] = []
        self._count = 0

    def read(self, net: FloatArray) -> None:
        """Count some minutes.

        Parameters
        ----------
        net
            Import less export in each minute. [MW]
        """
        for value in net.tolist():
            self._last = [*self._last[1 - STEP :], value]
            self._count += 1
            if self._count % STEP == 0:
                self._close(float(np.mean(self._last)))
        self.net = float(np.mean(self._last))

    def mean(self, minutes: int) -> float:
        """Return the mean of the last minutes, of those counted and not beyond a quarter-hour. [MW]

        Parameters
        ----------
        minutes
            How many. [min]
        """
        return float(np.mean(self._last[-minutes:]))

    def _close(self, mean: float) -> None:
        """Count a quarter-hour that is over; the last of a billing period ends its peak."""
        if self._billing.counts(np.array([self._now]))[0]:
            self.peak = max(self.peak, mean)
        self.usual = usual(self.usual, max(mean, 0.0), STEP / MINUTES)
        self._now = self._now + QUARTER
        if self._now >= self._turn:
            self.peak = 0.0
            self._turn = self._billing.end(self._now)
