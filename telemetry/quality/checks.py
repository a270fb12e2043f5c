"""Whether a reading may be believed: one verdict, by thresholds of one table.

Pure: the clock and what was read before are handed in.

Readings that come in another unit than the one before: told by the number alone, and with care.

A number within its band is doubted only where it is the last one, converted, and far from it. What
follows it as closely is doubted too, since a gateway that changed its unit goes on so; a power that
merely fell to almost nothing soon moves otherwise.

Points that mean nothing to the twin: judged by their clock, their states and their unit alone.

Wide enough for a plant in trouble, and for any machine; what is outside is a fault of the sender.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

import numpy as np

from telemetry.messages.models import (
    GOOD_QUALITY,
    PointMetadata,
    PointValue,
    RackBatch,
    epoch_microseconds,
)
from telemetry.points.catalogue import unit_conversion
from telemetry.points.limits import PlausibleRange

MAX_CLOCK_LEAD: Final = np.timedelta64(5, "s")
"""How far a clock of the plant may be ahead of ours."""

MAX_STAMP_US: Final = int(np.iinfo(np.int64).max)
"""A stamp that none is later than. [us]"""

MAX_READING_AGE: Final = np.timedelta64(15, "m")
"""How old a reading may be when it comes; older ones are counted and not used."""

STALE_PERIODS: Final = 3
"""Periods after which a point that is silent is stale."""

_SECOND: Final = np.timedelta64(1, "s")
_NEVER: Final = np.datetime64("NaT", "us")


class QualityFlag(StrEnum):
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


UNTRUSTED_FLAGS: Final = frozenset(
    {
        QualityFlag.BAD_SOURCE,
        QualityFlag.FUTURE,
        QualityFlag.LATE,
        QualityFlag.RANGE,
        QualityFlag.RATE,
        QualityFlag.UNIT,
    }
)
"""Verdicts on readings that the next one is not measured by."""

STEP_CONFIRMATIONS: Final = 3
"""Readings in a row that agree, and make a jump believed."""

_DOUBTS: Final = (QualityFlag.RATE, QualityFlag.UNIT)


CHIP_MIN: Final = np.array([[-1.0], [-20.0], [-0.01], [-0.01], [-1.0]], dtype=np.float32)
CHIP_MAX: Final = np.array([[5e3], [150.0], [1.01], [1.01], [1e4]], dtype=np.float32)
"""Bands of the rows of a rack batch: [W], [degC], [1], [1], [MHz]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointReading:
    """A value in the canonical unit of its variable; None if the sender has none."""

    value: float | None
    time: np.datetime64
    quality: int = GOOD_QUALITY


@dataclass(frozen=True, kw_only=True, slots=True)
class PointHistory:
    """What was read at a point before.

    Attributes
    ----------
    value, time
        The last reading.
    since
        Since when it shows that very number.
    level, steady_since
        Since when it has stayed within a hair's breadth of which number.
    candidate, candidate_time, candidate_count, candidate_flag
        The newest reading since that was not believed, how many like it came in a row, and the
        verdict on it; ``good`` if there is none.
    """

    value: float = math.nan
    time: np.datetime64 = _NEVER
    since: np.datetime64 = _NEVER
    level: float = math.nan
    steady_since: np.datetime64 = _NEVER
    candidate: float = math.nan
    candidate_time: np.datetime64 = _NEVER
    candidate_count: int = 0
    candidate_flag: QualityFlag = QualityFlag.GOOD

    def after(
        self, reading: PointReading, flag: QualityFlag, limits: PlausibleRange
    ) -> "PointHistory":
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
        if flag not in UNTRUSTED_FLAGS:
            return self.then(reading, limits.min_change)
        if flag not in _DOUBTS or value is None or self.candidate_time >= reading.time:
            return self
        doubts = (
            self.candidate_count + 1
            if self.candidate_flag is flag and self.confirms(reading, limits)
            else 1
        )
        return replace(
            self,
            candidate=value,
            candidate_time=reading.time,
            candidate_count=doubts,
            candidate_flag=flag,
        )

    def confirms(self, reading: PointReading, limits: PlausibleRange) -> bool:
        """Return whether a reading is as near to the one that was doubted as its rate allows."""
        if reading.value is None or not self.candidate_time < reading.time:
            return False
        return not _leaps(
            reading.value - self.candidate, reading.time - self.candidate_time, limits
        )

    def then(self, reading: PointReading, flat: float = 0.0) -> "PointHistory":
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
        return PointHistory(
            value=value,
            time=reading.time,
            since=since,
            level=self.level if is_steady else value,
            steady_since=self.steady_since if is_steady else reading.time,
        )


def _leaps(change: float, span: np.timedelta64, limits: PlausibleRange) -> bool:
    """Return whether a change is faster than what is plausible."""
    if limits.rate == math.inf:
        return False
    return abs(change) > limits.rate * max(float(span / _SECOND), 1.0)


NO_HISTORY: Final = PointHistory()
"""The history of a point that was never heard."""


def check_reading(
    reading: PointReading,
    now: np.datetime64 | None,
    history: PointHistory = NO_HISTORY,
    *,
    limits: PlausibleRange,
) -> QualityFlag:
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
        What is plausible; see :func:`telemetry.points.limits.plausible_range`.

    Returns
    -------
    QualityFlag
        The first fault found, in the order: source, clock, unit, range, rate, stuck, flat; of what
        is late first the range, as history believes a late reading.
    """
    value = reading.value
    if value is None or reading.quality != GOOD_QUALITY:
        return QualityFlag.BAD_SOURCE
    if now is not None:
        if reading.time - now > MAX_CLOCK_LEAD:
            return QualityFlag.FUTURE
        if now - reading.time > MAX_READING_AGE:
            return QualityFlag.LATE if limits.low <= value <= limits.high else QualityFlag.RANGE
    if not limits.low <= value <= limits.high:
        is_other = _is_mixed_up(value, history, limits) or _goes_on(value, history, limits)
        return QualityFlag.UNIT if is_other else QualityFlag.RANGE
    return _course(reading, value, history, limits)


def _course(
    reading: PointReading, value: float, history: PointHistory, limits: PlausibleRange
) -> QualityFlag:
    """Return the verdict on a value beside the one before it."""
    time = reading.time
    if not history.time < time:  # also where there is none
        return QualityFlag.GOOD
    if _is_in_other_unit(value, time, history, limits):
        return QualityFlag.UNIT
    is_fast = limits.rate < math.inf and _leaps(value - history.value, time - history.time, limits)
    if is_fast:
        if _is_mixed_up(value, history, limits):
            return QualityFlag.UNIT
        is_step = (
            history.candidate_flag is QualityFlag.RATE
            and history.candidate_count >= STEP_CONFIRMATIONS - 1
        )
        return (
            QualityFlag.GOOD if is_step and history.confirms(reading, limits) else QualityFlag.RATE
        )
    is_same = value == history.value
    if limits.stuck_period is not None and is_same and time - history.since > limits.stuck_period:
        return QualityFlag.STUCK
    is_steady = limits.min_change > 0.0 and abs(value - history.level) <= limits.min_change
    if is_steady and time - history.steady_since > limits.flat_period:
        return QualityFlag.FLAT
    return QualityFlag.GOOD


UNIT_FACTORS: Final = ((1e3, 0.0), (1e-3, 0.0), (100.0, 0.0), (0.01, 0.0))
"""Factor and offset of what else a number may have been meant as: kW for MW, per cent for 1."""

TEMPERATURE_CONVERSIONS: Final = ((1.8, 32.0), (1 / 1.8, -32 / 1.8), (1.0, 273.15), (1.0, -273.15))
"""The same of temperatures: Fahrenheit and kelvin for Celsius, and back."""

MAX_UNIT_RATIO: Final = 1e3
MIN_UNIT_RATIO: Final = 20.0
"""A first number that is so many times too large, up to a thousand times, is of another unit."""

CONVERTED_RANGE_SHARE: Final = 0.02
"""Share of the band within which a converted number is like the one before. [1]"""


def _is_mixed_up(value: float, history: PointHistory, limits: PlausibleRange) -> bool:
    """Return whether another unit makes a number of the band, and like the one before it."""
    if math.isnan(history.value):
        most = max(abs(limits.low), abs(limits.high))
        return MIN_UNIT_RATIO * most <= abs(value) <= MAX_UNIT_RATIO * most
    near = CONVERTED_RANGE_SHARE * (limits.high - limits.low)
    return any(
        abs(value * factor + offset - history.value) <= near
        for factor, offset in (*UNIT_FACTORS, *TEMPERATURE_CONVERSIONS)
    )


def _is_in_other_unit(
    value: float, time: np.datetime64, history: PointHistory, limits: PlausibleRange
) -> bool:
    """Return whether a number of the band is the one before in another unit, or goes on so."""
    if _goes_on(value, history, limits):
        return True
    greatest = max(abs(limits.low), abs(limits.high))
    return matches_other_unit(value, history.value, unit=limits.unit, greatest=greatest) and bool(
        time - history.time <= MAX_COMPARISON_AGE
    )


def _goes_on(value: float, history: PointHistory, limits: PlausibleRange) -> bool:
    return history.candidate_flag is QualityFlag.UNIT and continues_other_unit(
        value, history.candidate, history.value, unit=limits.unit
    )


@lru_cache(maxsize=1)  # all that came together has one moment
def latest_valid_time(now: np.datetime64 | None) -> int:
    """Return the latest stamp that is not of the future, in microseconds since 1970.

    What was kept with a later one came by a clock that was ahead, and is in nobody's way.

    Parameters
    ----------
    now
        When something comes; None where no clock tells.
    """
    return MAX_STAMP_US if now is None else epoch_microseconds(now + MAX_CLOCK_LEAD)


def check_batch(batch: RackBatch, now: np.datetime64 | None) -> QualityFlag:
    """Return the verdict on a rack batch; see :func:`judge`."""
    if now is not None:
        if batch.time - now > MAX_CLOCK_LEAD:
            return QualityFlag.FUTURE
        if now - batch.time > MAX_READING_AGE:
            return QualityFlag.LATE
    if (batch.values < CHIP_MIN).any() or (batch.values > CHIP_MAX).any():
        return QualityFlag.RANGE
    return QualityFlag.GOOD


KILO_CONVERSION: Final = (1e3, 0.0)
PERCENT_CONVERSION: Final = (100.0, 0.0)
FAHRENHEIT_CONVERSION: Final = (5.0 / 9.0, -160.0 / 9.0)

MISMATCHES_BY_UNIT: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "MW": (KILO_CONVERSION,),
    "MWh": (KILO_CONVERSION, PERCENT_CONVERSION),
    "1": (PERCENT_CONVERSION,),
    "degC": (FAHRENHEIT_CONVERSION,),
}
"""Canonical unit -> factor and offset by which a number in a wrong unit is the one before: MW sent
for kW, a share for per cent, degrees Fahrenheit for Celsius. What is too large by a factor lies
outside its band."""

CONVERTED_TOLERANCE_SHARE: Final = 0.005
"""Share by which a converted number may differ from the one before. [1]"""

NEXT_TOLERANCE_SHARE: Final = 0.1
"""Share by which the next number in a wrong unit may differ from the one before it. [1]"""

MIN_SIGNIFICANT_SHARE: Final = 0.05
"""Share of the band's greater end below which a number says nothing of its unit. [1]"""

CONVERTED_TOLERANCE_K: Final = 0.5
"""How far a converted temperature may be from the one before. [K]"""

NEXT_TOLERANCE_K: Final = 3.0
"""How far the next one in a wrong unit may be from the one before it. [K]"""

MIN_TEMPERATURE_JUMP_K: Final = 10.0
"""Change of a temperature that is too large for a machine between two readings. [K]"""

MAX_COMPARISON_AGE: Final = np.timedelta64(1, "h")
"""Age of a reading from which on it says nothing of the unit of the next."""


def matches_other_unit(value: float, before: float, *, unit: str, greatest: float) -> bool:
    """Return whether a number within its band is the one before it in another unit.

    Parameters
    ----------
    value, before
        The number and the last that was believed, in the canonical unit.
    unit
        The canonical unit.
    greatest
        Greatest absolute value of the band.
    """
    if unit == "degC":
        is_telling, near = abs(value - before) > MIN_TEMPERATURE_JUMP_K, CONVERTED_TOLERANCE_K
    else:
        is_telling, near = (
            abs(before) >= MIN_SIGNIFICANT_SHARE * greatest,
            CONVERTED_TOLERANCE_SHARE * abs(before),
        )
    if not is_telling:
        return False
    for factor, offset in MISMATCHES_BY_UNIT.get(unit, ()):
        if abs(value * factor + offset - before) <= near:
            return True
    return False


def continues_other_unit(value: float, doubted: float, before: float, *, unit: str) -> bool:
    """Return whether a number follows one that was in another unit, and not the one believed.

    Parameters
    ----------
    value, doubted, before
        The number, the last that was doubted, and the last that was believed.
    unit
        The canonical unit.
    """
    away = abs(value - doubted)
    near = NEXT_TOLERANCE_K if unit == "degC" else NEXT_TOLERANCE_SHARE * abs(doubted)
    return away <= near and away < abs(value - before)


MAX_CACHED_POINTS: Final = 200_000
"""Points whose limits are kept. [1]"""

MICROSECOND: Final = np.timedelta64(1, "us")
FUTURE_US: Final = int(MAX_CLOCK_LEAD / MICROSECOND)
LATE_US: Final = int(MAX_READING_AGE / MICROSECOND)

UNLIMITED_RANGE: Final = PlausibleRange(low=-1e12, high=1e12)
"""Of a unit that nobody knows, and of none: a time in milliseconds is one too."""

HEARTBEAT_RANGE: Final = PlausibleRange(low=0.0, high=4.2e12)
"""Of signs of life, which are moments. [ms]"""

POWER_FACTOR_RANGE: Final = PlausibleRange(low=-1.05, high=1.05)
"""Of power factors, which have no unit. [1]"""

UNBOUND_RANGE_BY_UNIT: Final[dict[str, PlausibleRange]] = {
    "1": PlausibleRange(low=-0.05, high=1.1),
    "degC": PlausibleRange(low=-100.0, high=1000.0),
    "MW": PlausibleRange(low=-5000.0, high=5000.0),
    "MWh": PlausibleRange(low=-1e5, high=1e5),
    "kg s-1": PlausibleRange(low=-1e5, high=1e5),
}
"""By canonical unit, for units that the twin knows: valves overshoot, exhaust is hot."""

RANGE_BY_WIRE_UNIT: Final[dict[str, PlausibleRange]] = {
    "k": PlausibleRange(low=-1000.0, high=2000.0),  # differences too
    "hz": PlausibleRange(low=-1.0, high=1000.0),
    "v": PlausibleRange(low=-1e6, high=1e6),
    "kv": PlausibleRange(low=-1e3, high=1e3),
    "a": PlausibleRange(low=-1e6, high=1e6),
    "kva": PlausibleRange(low=-5e6, high=5e6),
    "kvar": PlausibleRange(low=-5e6, high=5e6),
    "pa": PlausibleRange(low=-1e8, high=1e8),
    "kpa": PlausibleRange(low=-1e5, high=1e5),
    "bar": PlausibleRange(low=-10.0, high=1e3),
    "psi": PlausibleRange(low=-100.0, high=15e3),
    "rpm": PlausibleRange(low=-1e5, high=1e5),
    "cfm": PlausibleRange(low=-1e7, high=1e7),
    "db": PlausibleRange(low=-50.0, high=250.0),
}
"""By unit of the wire, in small letters."""


@dataclass(frozen=True, kw_only=True)
class UnboundPointLimits:
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

    def check(self, sample: PointValue, age: int = 0) -> QualityFlag:
        """Return the verdict on a value.

        Parameters
        ----------
        sample
            The value, in the unit of the wire.
        age
            Time from its stamp until it came. [us]

        Returns
        -------
        QualityFlag
            ``bad_source``, ``future``, ``range``, ``late`` or ``good``: of a point with states, a
            value that is none of them is out of range.
        """
        value = sample.value
        if value is None or sample.quality != GOOD_QUALITY:
            return QualityFlag.BAD_SOURCE
        if age < -FUTURE_US:
            return QualityFlag.FUTURE
        is_known = not self.states or value in self.states
        if not (self.low <= value <= self.high and is_known):
            return QualityFlag.RANGE
        return QualityFlag.LATE if age > LATE_US else QualityFlag.GOOD


def check_unbound(
    metadata: PointMetadata | None, sample: PointValue, now: np.datetime64 | None
) -> QualityFlag:
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
    QualityFlag
        As :meth:`Plausible.verdict` gives it.
    """
    age = 0 if now is None else int((now - sample.time) / MICROSECOND)
    return unbound_point_limits(metadata).check(sample, age)


@lru_cache(maxsize=MAX_CACHED_POINTS)
def unbound_point_limits(metadata: PointMetadata | None) -> UnboundPointLimits:
    """Return what is plausible for a point.

    Parameters
    ----------
    metadata
        What the point is; None if that was never said.
    """
    band, (factor, offset) = _limits(metadata)
    ends = sorted(((band.low - offset) / factor, (band.high - offset) / factor))
    states = frozenset(state for state, _ in metadata.state_text) if metadata else frozenset()
    return UnboundPointLimits(low=ends[0], high=ends[1], states=states)


def _limits(metadata: PointMetadata | None) -> tuple[PlausibleRange, tuple[float, float]]:
    """Return what is plausible for a point, and how its numbers become those of the band."""
    same = (1.0, 0.0)
    if metadata is None:
        return UNLIMITED_RANGE, same
    if metadata.point_type.startswith("Heartbeat"):
        return HEARTBEAT_RANGE, same
    if metadata.point_type == "PowerFactor":
        return POWER_FACTOR_RANGE, same
    if metadata.unit.casefold() in RANGE_BY_WIRE_UNIT:
        return RANGE_BY_WIRE_UNIT[metadata.unit.casefold()], same
    for canonical, found in UNBOUND_RANGE_BY_UNIT.items():
        scale = unit_conversion(metadata.unit, canonical) if metadata.unit else None
        if scale is not None:
            return found, scale
    return UNLIMITED_RANGE, same
