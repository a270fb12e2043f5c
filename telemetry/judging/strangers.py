"""Points that mean nothing to the twin: judged by their clock, their states and their unit alone.

Wide enough for a plant in trouble, and for any machine; what is outside is a fault of the sender.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from telemetry.judging.bands import Band
from telemetry.metadata.units import conversion
from telemetry.quality import FUTURE, LATE, Flag
from telemetry.samples import GOOD, PointMetadata, PointValue

MOST: Final = 200_000
"""Points whose limits are kept. [1]"""

MICROSECOND: Final = np.timedelta64(1, "us")
FUTURE_US: Final = int(FUTURE / MICROSECOND)
LATE_US: Final = int(LATE / MICROSECOND)

ANY: Final = Band(low=-1e12, high=1e12)
"""Of a unit that nobody knows, and of none: a time in milliseconds is one too."""

TIMES: Final = Band(low=0.0, high=4.2e12)
"""Of signs of life, which are moments. [ms]"""

FACTOR: Final = Band(low=-1.05, high=1.05)
"""Of power factors, which have no unit. [1]"""

CANONICAL: Final[dict[str, Band]] = {
    "1": Band(low=-0.05, high=1.1),
    "degC": Band(low=-100.0, high=1000.0),
    "MW": Band(low=-5000.0, high=5000.0),
    "MWh": Band(low=-1e5, high=1e5),
    "kg s-1": Band(low=-1e5, high=1e5),
}
"""By canonical unit, for units that the twin knows: valves overshoot, exhaust is hot."""

OTHERS: Final[dict[str, Band]] = {
    "k": Band(low=-1000.0, high=2000.0),  # differences too
    "hz": Band(low=-1.0, high=1000.0),
    "v": Band(low=-1e6, high=1e6),
    "kv": Band(low=-1e3, high=1e3),
    "a": Band(low=-1e6, high=1e6),
    "kva": Band(low=-5e6, high=5e6),
    "kvar": Band(low=-5e6, high=5e6),
    "pa": Band(low=-1e8, high=1e8),
    "kpa": Band(low=-1e5, high=1e5),
    "bar": Band(low=-10.0, high=1e3),
    "psi": Band(low=-100.0, high=15e3),
    "rpm": Band(low=-1e5, high=1e5),
    "cfm": Band(low=-1e7, high=1e7),
    "db": Band(low=-50.0, high=250.0),
}
"""By unit of the wire, in small letters."""


@dataclass(frozen=True, kw_only=True)
class Plausible:
    """What is plausible of a point.

    Attributes
    ----------
    low, high
        Least and greatest value, in the unit of the wire.
    states
        Its states; empty if it has none.
    """

    low: float
    high: float
    states: frozenset[int] = frozenset()

    def verdict(self, sample: PointValue, age: int = 0) -> Flag:
        """Return the verdict on a value.

        Parameters
        ----------
        sample
            The value, in the unit of the wire.
        age
            Time from its stamp until it came. [us]

        Returns
        -------
        Flag
            ``bad_source``, ``future``, ``range``, ``late`` or ``good``: of a point with states, a
            value that is none of them is out of range.
        """
        value = sample.value
        if value is None or sample.quality != GOOD:
            return Flag.BAD_SOURCE
        if age < -FUTURE_US:
            return Flag.FUTURE
        is_known = not self.states or value in self.states
        if not (self.low <= value <= self.high and is_known):
            return Flag.RANGE
        return Flag.LATE if age > LATE_US else Flag.GOOD


def judge_stranger(
    metadata: PointMetadata | None, sample: PointValue, now: np.datetime64 | None
) -> Flag:
    """Return the verdict on a value of any point.

    Parameters
    ----------
    metadata
        What the point is; None if that was never said.
    sample
        The value, in the unit of the wire.
    now
        When it came; None in simulated time, where nothing is early or late.

    Returns
    -------
    Flag
        As :meth:`Plausible.verdict` gives it.
    """
    age = 0 if now is None else int((now - sample.time) / MICROSECOND)
    return plausible(metadata).verdict(sample, age)


@lru_cache(maxsize=MOST)
def plausible(metadata: PointMetadata | None) -> Plausible:
    """Return what is plausible for a point.

    Parameters
    ----------
    metadata
        What the point is; None if that was never said.
    """
    band, (factor, offset) = _limits(metadata)
    ends = sorted(((band.low - offset) / factor, (band.high - offset) / factor))
    states = frozenset(state for state, _ in metadata.state_text) if metadata else frozenset()
    return Plausible(low=ends[0], high=ends[1], states=states)


def _limits(metadata: PointMetadata | None) -> tuple[Band, tuple[float, float]]:
    """Return what is plausible for a point, and how its numbers become those of the band."""
    same = (1.0, 0.0)
    if metadata is None:
        return ANY, same
    if metadata.point_type.startswith("Heartbeat"):
        return TIMES, same
    if metadata.point_type == "PowerFactor":
        return FACTOR, same
    if metadata.unit.casefold() in OTHERS:
        return OTHERS[metadata.unit.casefold()], same
    for canonical, found in CANONICAL.items():
        scale = conversion(metadata.unit, canonical) if metadata.unit else None
        if scale is not None:
            return found, scale
    return ANY, same
