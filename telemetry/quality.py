"""Whether a reading may be believed: one verdict, by thresholds of one table.

Pure: the clock and what was read before are handed in.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self

import numpy as np

from telemetry.samples import GOOD, RackBatch
from twin.equipment import Equipment
from twin.vocabulary import term

FUTURE: Final = np.timedelta64(5, "s")
"""How far a clock of the plant may be ahead of ours."""

LATE: Final = np.timedelta64(15, "m")
"""How old a reading may be when it comes; older ones are counted and not used."""

PERIODS: Final = 3
"""Periods after which a point that is silent is stale."""

_SECOND: Final = np.timedelta64(1, "s")
_NEVER: Final = np.datetime64("NaT", "us")


class Flag(StrEnum):
    """The verdict on a reading."""

    GOOD = "good"
    BAD_SOURCE = "bad_source"
    RANGE = "range"
    RATE = "rate"
    STUCK = "stuck"
    LATE = "late"
    FUTURE = "future"
    STALE = "stale"


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """What is plausible for a variable, in its canonical unit.

    Attributes
    ----------
    low, high
        Least and greatest value.
    rate
        Greatest change in a second, between two readings.
    stuck
        How long a sensor may show one number to the last digit; None for what may stand still.
    share_of
        Parameter of the machine of which ``low`` and ``high`` are shares, or "".
    """

    low: float
    high: float
    rate: float = math.inf
    stuck: np.timedelta64 | None = None
    share_of: str = ""

    def of(self, machine: Equipment | None) -> Self:
        """Return the band of one machine, in canonical units."""
        if not self.share_of or machine is None:
            return self
        whole = float(getattr(machine, self.share_of))
        return replace(self, low=self.low * whole, high=self.high * whole, share_of="")


_HOURS: Final = np.timedelta64(2, "h")

BANDS: Final[dict[str, Band]] = {
    "grid_import_power": Band(low=-1.5, high=1.5, stuck=_HOURS, share_of="import_limit"),
    "peak_power": Band(low=0.0, high=1.5, share_of="import_limit"),
    "ups_output": Band(low=-0.02, high=1.3, share_of="rating"),
    "distribution_output": Band(low=-0.02, high=1.3, share_of="rating"),
    "hall_power": Band(low=-0.02, high=1.3, share_of="full_power"),
    "battery_level": Band(low=-0.02, high=1.1, share_of="capacity"),
    "battery_charge": Band(low=-1.2, high=1.2, share_of="power"),
    "battery_applied": Band(low=-1.2, high=1.2, share_of="power"),
    "tank_level": Band(low=-0.05, high=1.1, share_of="capacity"),
    "tank_charge": Band(low=-1.2, high=1.2, share_of="power"),
    "tank_applied": Band(low=-1.2, high=1.2, share_of="power"),
    "renewable_used_power": Band(low=-0.05, high=1.2, share_of="power"),
    "renewable_available_power": Band(low=-0.05, high=1.2, share_of="power"),
    "renewable_applied": Band(low=-0.05, high=1.2, share_of="power"),
    "heat_reuse_power": Band(low=-0.05, high=1.3, share_of="rated_heat"),
    "heat_reuse_applied": Band(low=-0.05, high=1.3, share_of="rated_heat"),
    "cooling_plant_output": Band(low=-0.1, high=1.6, share_of="rated_cooling"),
    "cooling_plant_draw": Band(low=-0.01, high=1.0, share_of="rated_cooling"),
    "facility_supply_temperature": Band(low=1.0, high=70.0, rate=2.0, stuck=_HOURS),
    "facility_return_temperature": Band(low=1.0, high=90.0, rate=2.0),
    "technology_supply_temperature": Band(low=1.0, high=80.0, rate=2.0),
    "technology_return_temperature": Band(low=1.0, high=95.0, rate=5.0),
    "rack_supply_temperature": Band(low=1.0, high=80.0, rate=5.0),
    "rack_return_temperature": Band(low=1.0, high=95.0, rate=10.0),
    "rack_power": Band(low=-0.01, high=1.5, share_of="rack_power"),
    "air_temperature": Band(low=-60.0, high=60.0, rate=1.0),
    "relative_humidity": Band(low=0.0, high=1.05),
}
"""By variable. The widths are ours: wide enough for a plant in trouble, narrow enough to see a kW
that was meant as MW."""

UNIT_BANDS: Final[dict[str, Band]] = {
    "MW": Band(low=-5000.0, high=5000.0),
    "MWh": Band(low=0.0, high=1e5),
    "degC": Band(low=-60.0, high=150.0),
    "K": Band(low=0.0, high=100.0),
    "kg s-1": Band(low=-1.0, high=1e5),
    "1": Band(low=-0.01, high=1.01),
    "ms": Band(low=0.0, high=4.2e12),
}
"""By canonical unit, for variables that have no band of their own."""

CHIP_LOW: Final = np.array([[-1.0], [-20.0], [-0.01], [-0.01], [-1.0]], dtype=np.float32)
CHIP_HIGH: Final = np.array([[5e3], [150.0], [1.01], [1.01], [1e4]], dtype=np.float32)
"""Bands of the rows of a rack batch: [W], [degC], [1], [1], [MHz]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """A value in the canonical unit of its variable; None if the sender has none."""

    value: float | None
    time: np.datetime64
    quality: int = GOOD


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What was read at a point before: the last reading, and since when it shows that number."""

    value: float = math.nan
    time: np.datetime64 = _NEVER
    since: np.datetime64 = _NEVER

    def then(self, reading: Reading) -> "History":
        """Return the history after a reading; one that is out of order or empty changes nothing."""
        if reading.value is None or reading.time <= self.time:
            return self
        since = self.since if reading.value == self.value else reading.time
        return History(value=reading.value, time=reading.time, since=since)


NOTHING: Final = History()
"""The history of a point that was never heard."""


def band(variable: str, machine: Equipment | None = None) -> Band:
    """Return what is plausible for a variable of a machine."""
    found = BANDS.get(variable) or UNIT_BANDS[term(variable).unit]
    return found.of(machine)


def judge(
    reading: Reading, now: np.datetime64 | None, history: History = NOTHING, *, limits: Band
) -> Flag:
    """Return the verdict on a reading.

    Parameters
    ----------
    reading
        The value in its canonical unit.
    now
        When it came; None in simulated time, where nothing is early or late.
    history
        What was read before.
    limits
        What is plausible; see :func:`band`.

    Returns
    -------
    Flag
        The first fault found, in the order: source, clock, range, rate, stuck.
    """
    value = reading.value
    if value is None or reading.quality != GOOD:
        return Flag.BAD_SOURCE
    if now is not None:
        if reading.time - now > FUTURE:
            return Flag.FUTURE
        if now - reading.time > LATE:
            return Flag.LATE
    if not limits.low <= value <= limits.high:
        return Flag.RANGE
    return _course(value, reading.time, history, limits)


def _course(value: float, time: np.datetime64, history: History, limits: Band) -> Flag:
    """Return the verdict on a value beside the one before it."""
    if not history.time < time:  # also where there is none
        return Flag.GOOD
    if limits.rate < math.inf:
        seconds = max(float((time - history.time) / _SECOND), 1.0)
        if abs(value - history.value) > limits.rate * seconds:
            return Flag.RATE
    is_same = value == history.value
    if limits.stuck is not None and is_same and time - history.since > limits.stuck:
        return Flag.STUCK
    return Flag.GOOD


def judge_batch(batch: RackBatch, now: np.datetime64 | None) -> Flag:
    """Return the verdict on a rack batch; see :func:`judge`."""
    if now is not None:
        if batch.time - now > FUTURE:
            return Flag.FUTURE
        if now - batch.time > LATE:
            return Flag.LATE
    if (batch.values < CHIP_LOW).any() or (batch.values > CHIP_HIGH).any():
        return Flag.RANGE
    return Flag.GOOD
