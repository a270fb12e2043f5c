"""Whether a reading may be believed: one verdict, by thresholds of one table.

Pure: the clock and what was read before are handed in.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

import numpy as np

from telemetry.judging import mixups
from telemetry.judging.bands import Band
from telemetry.samples import GOOD, RackBatch, microseconds

FUTURE: Final = np.timedelta64(5, "s")
"""How far a clock of the plant may be ahead of ours."""

LAST: Final = int(np.iinfo(np.int64).max)
"""A stamp that none is later than. [us]"""

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
    UNIT = "unit"
    FLAT = "flat"
    DISAGREES = "disagrees"


NO_MEASURE: Final = frozenset(
    {Flag.BAD_SOURCE, Flag.FUTURE, Flag.LATE, Flag.RANGE, Flag.RATE, Flag.UNIT}
)
"""Verdicts on readings that the next one is not measured by."""

STEP: Final = 3
"""Readings in a row that agree, and make a jump believed."""

_DOUBTS: Final = (Flag.RATE, Flag.UNIT)


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
    """What was read at a point before.

    Attributes
    ----------
    value, time
        The last reading.
    since
        Since when it shows that very number.
    level, steady
        Since when it has stayed within a hair's breadth of which number.
    doubted, doubted_at, doubts, doubt
        The newest reading since that was not believed, how many like it came in a row, and the
        verdict on it; ``good`` if there is none.
    """

    value: float = math.nan
    time: np.datetime64 = _NEVER
    since: np.datetime64 = _NEVER
    level: float = math.nan
    steady: np.datetime64 = _NEVER
    doubted: float = math.nan
    doubted_at: np.datetime64 = _NEVER
    doubts: int = 0
    doubt: Flag = Flag.GOOD

    def after(self, reading: Reading, flag: Flag, limits: Band) -> "History":
        """Return the history after a reading on which there is a verdict.

        Parameters
        ----------
        reading
            The reading.
        flag
            The verdict: what is no measure for the next reading is taken down as a doubt, if at
            all.
        limits
            What is plausible.
        """
        value = reading.value
        if flag not in NO_MEASURE:
            return self.then(reading, limits.flat)
        if flag not in _DOUBTS or value is None or self.doubted_at >= reading.time:
            return self
        doubts = self.doubts + 1 if self.doubt is flag and self.bears_out(reading, limits) else 1
        return replace(self, doubted=value, doubted_at=reading.time, doubts=doubts, doubt=flag)

    def bears_out(self, reading: Reading, limits: Band) -> bool:
        """Return whether a reading is as near to the one that was doubted as its rate allows."""
        if reading.value is None or not self.doubted_at < reading.time:
            return False
        return not _leaps(reading.value - self.doubted, reading.time - self.doubted_at, limits)

    def then(self, reading: Reading, flat: float = 0.0) -> "History":
        """Return the history after a reading; one that is out of order or empty changes nothing.

        Parameters
        ----------
        reading
            The reading.
        flat
            The hair's breadth, in the unit of the reading.
        """
        value = reading.value
        if value is None or reading.time <= self.time:
            return self
        since = self.since if value == self.value else reading.time
        is_steady = abs(value - self.level) <= flat
        return History(
            value=value,
            time=reading.time,
            since=since,
            level=self.level if is_steady else value,
            steady=self.steady if is_steady else reading.time,
        )


NOTHING: Final = History()
"""The history of a point that was never heard."""


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
        What is plausible; see :func:`telemetry.judging.bands.band`.

    Returns
    -------
    Flag
        The first fault found, in the order: source, clock, unit, range, rate, stuck, flat; of what
        is late first the range, as history believes a late reading.
    """
    value = reading.value
    if value is None or reading.quality != GOOD:
        return Flag.BAD_SOURCE
    if now is not None:
        if reading.time - now > FUTURE:
            return Flag.FUTURE
        if now - reading.time > LATE:
            return Flag.LATE if limits.low <= value <= limits.high else Flag.RANGE
    if not limits.low <= value <= limits.high:
        is_other = _is_mixed_up(value, history, limits) or _goes_on(value, history, limits)
        return Flag.UNIT if is_other else Flag.RANGE
    return _course(reading, value, history, limits)


def _course(reading: Reading, value: float, history: History, limits: Band) -> Flag:
    """Return the verdict on a value beside the one before it."""
    time = reading.time
    if not history.time < time:  # also where there is none
        return Flag.GOOD
    if _is_in_other_unit(value, time, history, limits):
        return Flag.UNIT
    is_fast = limits.rate < math.inf and _leaps(value - history.value, time - history.time, limits)
    if is_fast:
        if _is_mixed_up(value, history, limits):
            return Flag.UNIT
        is_step = history.doubt is Flag.RATE and history.doubts >= STEP - 1
        return Flag.GOOD if is_step and history.bears_out(reading, limits) else Flag.RATE
    is_same = value == history.value
    if limits.stuck is not None and is_same and time - history.since > limits.stuck:
        return Flag.STUCK
    is_steady = limits.flat > 0.0 and abs(value - history.level) <= limits.flat
    if is_steady and time - history.steady > limits.flat_for:
        return Flag.FLAT
    return Flag.GOOD


MIXED_UP: Final = ((1e3, 0.0), (1e-3, 0.0), (100.0, 0.0), (0.01, 0.0))
"""Factor and offset of what else a number may have been meant as: kW for MW, per cent for 1."""

DEGREES: Final = ((1.8, 32.0), (1 / 1.8, -32 / 1.8), (1.0, 273.15), (1.0, -273.15))
"""The same of temperatures: Fahrenheit and kelvin for Celsius, and back."""

THOUSAND: Final = 1e3
CLEARLY: Final = 20.0
"""A first number that is so many times too large, up to a thousand times, is of another unit."""

NEAR: Final = 0.02
"""Share of the band within which a converted number is like the one before. [1]"""


def _is_mixed_up(value: float, history: History, limits: Band) -> bool:
    """Return whether another unit makes a number of the band, and like the one before it."""
    if math.isnan(history.value):
        most = max(abs(limits.low), abs(limits.high))
        return CLEARLY * most <= abs(value) <= THOUSAND * most
    near = NEAR * (limits.high - limits.low)
    return any(
        abs(value * factor + offset - history.value) <= near
        for factor, offset in (*MIXED_UP, *DEGREES)
    )


def _is_in_other_unit(value: float, time: np.datetime64, history: History, limits: Band) -> bool:
    """Return whether a number of the band is the one before in another unit, or goes on so."""
    if _goes_on(value, history, limits):
        return True
    greatest = max(abs(limits.low), abs(limits.high))
    return mixups.is_other_unit(value, history.value, unit=limits.unit, greatest=greatest) and bool(
        time - history.time <= mixups.SOON
    )


def _goes_on(value: float, history: History, limits: Band) -> bool:
    return history.doubt is Flag.UNIT and mixups.goes_on(
        value, history.doubted, history.value, unit=limits.unit
    )


def _leaps(change: float, span: np.timedelta64, limits: Band) -> bool:
    """Return whether a change is faster than what is plausible."""
    if limits.rate == math.inf:
        return False
    return abs(change) > limits.rate * max(float(span / _SECOND), 1.0)


@lru_cache(maxsize=1)  # all that came together has one moment
def latest(now: np.datetime64 | None) -> int:
    """Return the latest stamp that is not of the future, in microseconds since 1970.

    What was kept with a later one came by a clock that was ahead, and is in nobody's way.

    Parameters
    ----------
    now
        When something comes; None where no clock tells.
    """
    return LAST if now is None else microseconds(now + FUTURE)


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
