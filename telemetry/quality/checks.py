"""Quality flag of a reading, from its value, its stamp and the readings before it.

All functions are pure: the caller passes the time of receipt and the history. :func:`check_stamp`
is the only comparison of a stamp with a clock.

A reading may come in another unit than the one before. Within its band it is doubted only if the
conversion of it is close to the last reading and the reading itself is far from it. Readings that
follow a doubted one closely are doubted too, as a gateway that changed its unit stays changed. A
power that merely fell to almost zero soon moves away.

Points that are bound to no variable are checked by their clock, states and unit alone. Their bands
are wide enough for any machine, also in a failure: a value outside is an error of the sender.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, Self

import numpy as np

from telemetry.messages.samples import (
    GOOD_QUALITY,
    PointMetadata,
    PointValue,
    RackBatch,
    epoch_microseconds,
)
from telemetry.points.plausible_ranges import (
    CHIP_MAX_VALUES,
    CHIP_MIN_VALUES,
    HEARTBEAT_RANGE,
    POWER_FACTOR_RANGE,
    RANGE_BY_WIRE_UNIT,
    UNBOUND_RANGE_BY_UNIT,
    UNLIMITED_RANGE,
    PlausibleRange,
)
from telemetry.points.point_meanings import unit_conversion
from twin.time_axes import SECOND, UNKNOWN_TIME

MAX_CLOCK_LEAD: Final = np.timedelta64(5, "s")
"""How far the clock of a sender may be ahead of the receiver's."""

MAX_STAMP_US: Final = int(np.iinfo(np.int64).max)
"""The largest possible stamp. [us since 1970]"""

MAX_READING_AGE: Final = np.timedelta64(15, "m")
"""Greatest age of a reading when it arrives; older ones are counted and not used."""

_MAX_LEAD: Final = MAX_CLOCK_LEAD.item()  # the same as timedelta
_MAX_AGE: Final = MAX_READING_AGE.item()  # the same as timedelta

STALE_PERIODS: Final = 3
"""Periods without a message after which a point is stale. [1]"""


class QualityFlag(StrEnum):
    """Quality of a reading; ``meaning`` is what it states, for people."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Return the flag of a value, with its meaning."""
        flag = str.__new__(cls, value)
        flag._value_ = value
        flag.meaning = meaning
        return flag

    GOOD = "good", "No check failed."
    BAD_SOURCE = "bad_source", "The source sent no value, or called it bad."
    RANGE = "range", "The value is outside the plausible range, or is no announced state."
    RATE = "rate", "The value changed faster than the limit; three in a row are accepted as a step."
    STUCK = "stuck", "The same number was repeated for longer than a working sensor does."
    LATE = "late", "The stamp was over 15 min old when the value arrived."
    FUTURE = "future", "The stamp was over 5 s ahead of the clock here; the value is not archived."
    STALE = "stale", "The value is older than three repetition periods; no archived value has it."
    UNIT = "unit", "The value matches the one before it in another unit, such as kW for MW."
    FLAT = "flat", "The value changed less than a working sensor does within six hours."
    DISAGREES = "disagrees", "Redundant sensors differ by more than their tolerance."


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
"""Flags of readings that the next reading is not compared with."""

JUMP_CONFIRMATION_COUNT: Final = 3
"""Consecutive readings that must agree before a jump is accepted. [1]"""

_CANDIDATE_FLAGS: Final = (QualityFlag.RATE, QualityFlag.UNIT)


@dataclass(frozen=True, kw_only=True, slots=True)
class PointReading:
    """A value in the canonical unit of its variable; None if the sender reports none."""

    value: float | None
    time: np.datetime64
    quality: int = GOOD_QUALITY


@dataclass(frozen=True, kw_only=True, slots=True)
class PointHistory:
    """Earlier readings of a point.

    ``last_trusted_value``, ``time`` and ``flag`` are the last trusted reading, ``since`` when the
    value last changed. The readings stay within tolerance of ``steady_level`` since
    ``steady_since``. The candidate is the newest untrusted reading after it, with the number of
    consecutive readings that agree with it and its flag, which is ``good`` without a candidate.
    """

    last_trusted_value: float = math.nan
    time: np.datetime64 = UNKNOWN_TIME
    flag: QualityFlag = QualityFlag.GOOD
    since: np.datetime64 = UNKNOWN_TIME
    steady_level: float = math.nan
    steady_since: np.datetime64 = UNKNOWN_TIME
    candidate: float = math.nan
    candidate_time: np.datetime64 = UNKNOWN_TIME
    candidate_count: int = 0
    candidate_flag: QualityFlag = QualityFlag.GOOD

    def with_reading(
        self, reading: PointReading, flag: QualityFlag, limits: PlausibleRange
    ) -> "PointHistory":
        """Return the history after a flagged reading; an untrusted one becomes the candidate at
        most.
        """
        value = reading.value
        if flag not in UNTRUSTED_FLAGS:
            return self.after_trusted(reading, limits.min_change, flag)
        if flag not in _CANDIDATE_FLAGS or value is None or self.candidate_time >= reading.time:
            return self
        count = (
            self.candidate_count + 1
            if self.candidate_flag is flag and self.confirms(reading, limits)
            else 1
        )
        return replace(
            self,
            candidate=value,
            candidate_time=reading.time,
            candidate_count=count,
            candidate_flag=flag,
        )

    def confirms(self, reading: PointReading, limits: PlausibleRange) -> bool:
        """Return whether a reading follows the candidate no faster than the rate limit."""
        if reading.value is None or not self.candidate_time < reading.time:
            return False
        return not _exceeds_rate(
            reading.value - self.candidate, reading.time - self.candidate_time, limits
        )

    def after_trusted(
        self, reading: PointReading, flat: float = 0.0, flag: QualityFlag = QualityFlag.GOOD
    ) -> "PointHistory":
        """Return the history after a trusted reading; an empty or out-of-order one changes nothing.

        Changes up to ``flat``, in the unit of the reading, count as steady.
        """
        value = reading.value
        if value is None or reading.time <= self.time:
            return self
        since = self.since if value == self.last_trusted_value else reading.time
        is_steady = abs(value - self.steady_level) <= flat
        return PointHistory(
            last_trusted_value=value,
            time=reading.time,
            flag=flag,
            since=since,
            steady_level=self.steady_level if is_steady else value,
            steady_since=self.steady_since if is_steady else reading.time,
        )


def _exceeds_rate(change: float, span: np.timedelta64, limits: PlausibleRange) -> bool:
    """Return whether a change is faster than the rate limit."""
    if limits.max_rate == math.inf:
        return False
    return abs(change) > limits.max_rate * max(float(span / SECOND), 1.0)


NO_HISTORY: Final = PointHistory()
"""History of a point without readings."""


def check_stamp(time: np.datetime64, received: np.datetime64) -> QualityFlag:
    """Return ``future``, ``late`` or ``good`` from a stamp and its time of receipt, both in UTC.

    At an unknown time of receipt, nothing is early or late.
    """
    now = received.item()  # arithmetic of numpy's scalars takes ten times as long
    if now is None:
        return QualityFlag.GOOD
    lead = time.item() - now
    if lead > _MAX_LEAD:
        return QualityFlag.FUTURE
    return QualityFlag.LATE if -lead > _MAX_AGE else QualityFlag.GOOD


def check_reading(
    reading: PointReading,
    now: np.datetime64,
    history: PointHistory = NO_HISTORY,
    *,
    limits: PlausibleRange,
) -> QualityFlag:
    """Return the quality flag of a reading in its canonical unit.

    ``now`` is the time of receipt; see :func:`check_stamp`. The first check that fails decides, in
    the order source, stamp, unit, range, rate, stuck, flat. A late reading out of range has the
    flag ``range``, as the archive trusts late readings.
    """
    value = reading.value
    if value is None or reading.quality != GOOD_QUALITY:
        return QualityFlag.BAD_SOURCE
    flag, is_plausible = check_stamp(reading.time, now), limits.low <= value <= limits.high
    if flag is not QualityFlag.GOOD:
        return flag if is_plausible or flag is QualityFlag.FUTURE else QualityFlag.RANGE
    if not is_plausible:
        is_other = _matches_conversion(value, history, limits) or _continues_candidate(
            value, history, limits
        )
        return QualityFlag.UNIT if is_other else QualityFlag.RANGE
    return _check_trend(reading, value, history, limits)


def _check_trend(
    reading: PointReading, value: float, history: PointHistory, limits: PlausibleRange
) -> QualityFlag:
    """Return the flag of a value within its band, compared with the one before."""
    time = reading.time
    if not history.time < time:  # also where there is none
        return QualityFlag.GOOD
    if _is_in_other_unit(value, time, history, limits):
        return QualityFlag.UNIT
    is_fast = limits.max_rate < math.inf and _exceeds_rate(
        value - history.last_trusted_value, time - history.time, limits
    )
    if is_fast:
        if _matches_conversion(value, history, limits):
            return QualityFlag.UNIT
        is_step = (
            history.candidate_flag is QualityFlag.RATE
            and history.candidate_count >= JUMP_CONFIRMATION_COUNT - 1
        )
        return (
            QualityFlag.GOOD if is_step and history.confirms(reading, limits) else QualityFlag.RATE
        )
    is_same = value == history.last_trusted_value
    if limits.stuck_period is not None and is_same and time - history.since > limits.stuck_period:
        return QualityFlag.STUCK
    is_steady = limits.min_change > 0.0 and abs(value - history.steady_level) <= limits.min_change
    if is_steady and time - history.steady_since > limits.flat_period:
        return QualityFlag.FLAT
    return QualityFlag.GOOD


class UnitMistake(NamedTuple):
    """Factor and offset that convert a value in a wrong unit to the right one.

    ``affected_units`` are the canonical units in which the wrong value may lie within the band.
    """

    factor: float
    offset: float = 0.0
    affected_units: frozenset[str] = frozenset()


UNIT_MISTAKES: Final = (
    UnitMistake(1e3, affected_units=frozenset({"MW", "MWh"})),  # MW sent for kW
    UnitMistake(1e-3),  # kW sent for MW
    UnitMistake(100.0, affected_units=frozenset({"MWh", "1"})),  # a share sent for per cent
    UnitMistake(0.01),  # per cent sent for a share
    UnitMistake(5.0 / 9.0, -160.0 / 9.0, frozenset({"degC"})),  # Fahrenheit sent for Celsius
    UnitMistake(1.8, 32.0),  # Celsius sent for Fahrenheit
    UnitMistake(1.0, -273.15),  # kelvin sent for Celsius
    UnitMistake(1.0, 273.15),  # Celsius sent for kelvin
)
"""Likely mistakes of units. A value outside its band, or one that changes too fast, is compared by
all of them; one within its band by those of its unit only.
"""

_MISTAKES_WITHIN_BAND: Final = {
    unit: tuple(one for one in UNIT_MISTAKES if unit in one.affected_units)
    for unit in ("MW", "MWh", "1", "degC")
}

MAX_WRONG_UNIT_RATIO: Final = 1e3  # ratio to the greatest value up to which a unit may be wrong
MIN_WRONG_UNIT_RATIO: Final = 20.0
"""Ratio of a first value to its band from which, up to a thousand, its unit is wrong. [1]"""

CONVERTED_RANGE_SHARE: Final = 0.02
"""Share of the band within which a converted value matches the one before. [1]"""


def _matches_conversion(value: float, history: PointHistory, limits: PlausibleRange) -> bool:
    """Return whether the value, converted from another unit, matches the one before it."""
    if math.isnan(history.last_trusted_value):
        greatest = max(abs(limits.low), abs(limits.high))
        return MIN_WRONG_UNIT_RATIO * greatest <= abs(value) <= MAX_WRONG_UNIT_RATIO * greatest
    near = CONVERTED_RANGE_SHARE * (limits.high - limits.low)
    return any(
        abs(value * one.factor + one.offset - history.last_trusted_value) <= near
        for one in UNIT_MISTAKES
    )


CONVERTED_TOLERANCE_SHARE: Final = 0.005
"""Relative tolerance between a converted value and the one before. [1]"""

WRONG_UNIT_FOLLOWING_TOLERANCE_SHARE: Final = 0.1
"""Relative tolerance between consecutive values in a wrong unit. [1]"""

MIN_UNIT_IDENTIFYING_SHARE: Final = 0.05
"""Share of the band's greater end below which a value does not identify its unit. [1]"""

CONVERTED_TOLERANCE_K: Final = 0.5
"""Tolerance between a converted temperature and the one before. [K]"""

WRONG_UNIT_FOLLOWING_TOLERANCE_K: Final = 3.0
"""Tolerance between consecutive temperatures in a wrong unit. [K]"""

MIN_TEMPERATURE_JUMP_K: Final = 10.0
"""Change of a temperature that is implausible between two readings. [K]"""

MAX_UNIT_COMPARISON_AGE: Final = np.timedelta64(1, "h")
"""Age from which a reading does not identify the unit of the next."""


def _is_in_other_unit(
    value: float, time: np.datetime64, history: PointHistory, limits: PlausibleRange
) -> bool:
    """Return whether a value within its band is the one before in another unit, or continues
    one.
    """
    before = history.last_trusted_value
    if _continues_candidate(value, history, limits):
        return True
    if limits.unit == "degC":
        is_significant = abs(value - before) > MIN_TEMPERATURE_JUMP_K
        near = CONVERTED_TOLERANCE_K
    else:
        greatest = max(abs(limits.low), abs(limits.high))
        is_significant = abs(before) >= MIN_UNIT_IDENTIFYING_SHARE * greatest
        near = CONVERTED_TOLERANCE_SHARE * abs(before)
    return (
        is_significant
        and any(
            abs(value * one.factor + one.offset - before) <= near
            for one in _MISTAKES_WITHIN_BAND.get(limits.unit, ())
        )
        and bool(time - history.time <= MAX_UNIT_COMPARISON_AGE)
    )


def _continues_candidate(value: float, history: PointHistory, limits: PlausibleRange) -> bool:
    """Return whether a value follows the doubted one in another unit, not the trusted one
    before.
    """
    if history.candidate_flag is not QualityFlag.UNIT:
        return False
    doubted = history.candidate
    distance = abs(value - doubted)
    near = (
        WRONG_UNIT_FOLLOWING_TOLERANCE_K
        if limits.unit == "degC"
        else WRONG_UNIT_FOLLOWING_TOLERANCE_SHARE * abs(doubted)
    )
    return distance <= near and distance < abs(value - history.last_trusted_value)


@lru_cache(maxsize=1)  # samples of one batch share the time of receipt
def latest_valid_time(now: np.datetime64) -> int:
    """Return the latest stamp that is not of the future. [us since 1970]

    A stored reading with a later stamp came from a clock that was ahead; newer ones replace it.
    Every stamp is valid at an unknown time.
    """
    return MAX_STAMP_US if np.isnat(now) else epoch_microseconds(now + MAX_CLOCK_LEAD)


def check_batch(batch: RackBatch, now: np.datetime64) -> QualityFlag:
    """Return the quality flag of a rack batch; see :func:`check_reading`."""
    flag = check_stamp(batch.time, now)
    if flag is not QualityFlag.GOOD:
        return flag
    if (batch.values < CHIP_MIN_VALUES).any() or (batch.values > CHIP_MAX_VALUES).any():
        return QualityFlag.RANGE
    return QualityFlag.GOOD


MAX_CACHED_POINTS: Final = 200_000
"""Points whose limits are cached. [1]"""


@dataclass(frozen=True, kw_only=True)
class UnboundPointLimits:
    """Plausible values of a point that is bound to no variable, in the unit of the wire.

    ``states`` is empty if it has none, ``unit`` if it is unknown.
    """

    low: float
    high: float
    unit: str = ""
    states: frozenset[int] = frozenset()

    def check(self, sample: PointValue, received: np.datetime64) -> QualityFlag:
        """Return the flag of a value in the unit of the wire; see :func:`check_stamp`.

        The flag is ``bad_source``, ``future``, ``range``, ``late`` or ``good``. A value that is
        none of the states of its point is out of range.
        """
        value = sample.value
        if value is None or sample.quality != GOOD_QUALITY:
            return QualityFlag.BAD_SOURCE
        flag = check_stamp(sample.time, received)
        if flag is QualityFlag.FUTURE:
            return flag
        is_known = not self.states or value in self.states
        return flag if self.low <= value <= self.high and is_known else QualityFlag.RANGE


@lru_cache(maxsize=MAX_CACHED_POINTS)
def unbound_point_limits(metadata: PointMetadata | None) -> UnboundPointLimits:
    """Return the plausible values of a point; ``metadata`` is None if none was received."""
    band, (factor, offset) = _limits(metadata)
    ends = sorted(((band.low - offset) / factor, (band.high - offset) / factor))
    states = frozenset(state for state, _ in metadata.state_text) if metadata else frozenset()
    unit = metadata.unit if metadata else ""
    return UnboundPointLimits(low=ends[0], high=ends[1], unit=unit, states=states)


def _limits(metadata: PointMetadata | None) -> tuple[PlausibleRange, tuple[float, float]]:
    """Return the band of a point, and factor and offset from its unit to that of the band."""
    identity = (1.0, 0.0)
    if metadata is None:
        return UNLIMITED_RANGE, identity
    if metadata.point_type.startswith("Heartbeat"):
        return HEARTBEAT_RANGE, identity
    if metadata.point_type == "PowerFactor":
        return POWER_FACTOR_RANGE, identity
    if metadata.unit.casefold() in RANGE_BY_WIRE_UNIT:
        return RANGE_BY_WIRE_UNIT[metadata.unit.casefold()], identity
    for canonical, found in UNBOUND_RANGE_BY_UNIT.items():
        scale = unit_conversion(metadata.unit, canonical) if metadata.unit else None
        if scale is not None:
            return found, scale
    return UNLIMITED_RANGE, identity


UNKNOWN_POINT_LIMITS: Final = unbound_point_limits(None)
"""Plausible values of a point without metadata."""
