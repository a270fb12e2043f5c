"""How a simulated plant moves from set point to set point, and how its meter counts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics import FloatArray
from twin.run import Key

STEP: Final = 15
"""Minutes for which one set of orders holds, and over which the connection's meter averages."""


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
        """Return the share of the way made at the end of each coming minute, and move on. [1]"""
        way = np.clip(np.arange(self.since + 1, self.since + minutes + 1) / self.over, 0.0, 1.0)
        self.since += minutes
        return np.asarray(way)


class Meter:
    """The meter of the connection: it averages over quarter-hours and keeps the greatest mean.

    Parameters
    ----------
    net
        Mean import less export of the last quarter-hour. [MW]
    peak
        Greatest mean import of the billing period so far. [MW]
    """

    def __init__(self, net: float, *, peak: float) -> None:
        self.net, self.peak = net, peak
        self._count = 0
        self._last: list[float] = []

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
                self.peak = max(self.peak, float(np.mean(self._last)))
        self.net = float(np.mean(self._last))
