"""What the meter of a connection showed, as a bill wants it."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twin.axes import HOUR, QUARTER, local_midnight, to_minute
from twin.bounds import GREATEST_IMPORT
from twin.errors import Fault, SeriesError
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
from twin.tariffs.clock import Clock
from twin.tariffs.declaration import Tariff
from twin.tariffs.periods import (
    Moments,
    month_end,
    month_start,
    months,
    year_ends,
)

TWELVE = Decimal(12)


class Metered:
    """Quarter-hours of import under one tariff.

    Parameters
    ----------
    tariff
        The tariff in force.
    starts
        Starts of quarter-hours, UTC, rising and without holes. [datetime64]
    power
        Mean import less export in each. [MW]
    time_zone
        IANA zone of the site.

    Raises
    ------
    SeriesError
        If there is none, one is missing, or a power is not finite.
    """

    def __init__(
        self, tariff: Tariff, starts: Moments, power: FloatArray, *, time_zone: str
    ) -> None:
        check(starts, power)
        self.tariff, self.time_zone = tariff, time_zone
        self.starts, self.taken = starts, np.maximum(power, 0.0)
        self.clock = Clock(starts, time_zone, holidays=tariff.holidays)

    @cached_property
    def end(self) -> np.datetime64:
        """End of the last quarter-hour. [datetime64, UTC]"""
        return np.datetime64(self.starts[-1] + QUARTER, "us")

    @cached_property
    def day(self) -> date:
        """First day of the site's calendar that is billed."""
        first: date = self.clock.days[0].item()
        return first

    @cached_property
    def period(self) -> NDArray[np.int64]:
        """Number of the time class of each quarter-hour. [1]"""
        return self.clock.period(self.tariff.periods)

    @cached_property
    def month(self) -> NDArray[np.int64]:
        """Number of the month of each quarter-hour. [1]"""
        return months(self.starts, self.time_zone)

    def energy(self, where: BoolArray | None = None) -> float:
        """Return the energy taken, where it is asked for. [MWh]"""
        chosen = self.taken if where is None else self.taken[where]
        return float(chosen.sum()) * float(QUARTER / HOUR)

    def peak(self, where: BoolArray | None = None) -> float:
        """Return the greatest import, where it is asked for. [MW]"""
        chosen = self.taken if where is None else self.taken[where]
        return float(chosen.max(initial=0.0))

    def by_month(self) -> Iterator[tuple[str, BoolArray]]:
        """Yield each month's name, ``YYYY-MM``, and which quarter-hours lie in it."""
        for month in np.unique(self.month).tolist():
            yield f"{month // 12}-{month % 12 + 1:02d}", self.month == month

    @cached_property
    def time_share(self) -> float:
        """Share of the year that was metered. [1]"""
        begin, end = year_ends(self.starts[0], self.time_zone)
        return len(self.starts) / float((end - begin) / QUARTER)

    @cached_property
    def year_share(self) -> Decimal:
        """Share of a year that is billed: whole months count a twelfth, or whole days a day."""
        parts = self._days() if self.tariff.year_by == "days" else self._months()
        return sum(parts, Decimal(0)).quantize(Decimal("1e-20")).normalize()

    def _months(self) -> Iterator[Decimal]:
        """Yield the share of a year of each month, by the part of it that was metered."""
        for _, inside in self.by_month():
            first = self.starts[inside][0]
            whole = month_end(first, self.time_zone) - month_start(first, self.time_zone)
            yield Decimal(int(inside.sum())) / Decimal(int(whole / QUARTER)) / TWELVE

    def _days(self) -> Iterator[Decimal]:
        """Yield the same of each day: one of 23 or 25 hours is a day as any other."""
        days, counts = np.unique(self.clock.days, return_counts=True)
        ends = pd.DatetimeIndex(np.append(days, days[-1] + np.timedelta64(1, "D")))
        edges = np.array([local_midnight(day, self.time_zone) for day in ends])
        for day, count, whole in zip(days, counts, np.diff(edges) / QUARTER, strict=True):
            year = day.astype("datetime64[Y]")
            length = (year + np.timedelta64(1, "Y")).astype(day.dtype) - year.astype(day.dtype)
            yield Decimal(int(count)) / Decimal(int(whole)) / Decimal(int(length.astype(int)))


def check(starts: Moments, power: FloatArray, *, source: str = "meter") -> None:
    """Refuse quarter-hours that are not whole.

    Parameters
    ----------
    starts, power
        Starts of quarter-hours [datetime64], and mean power in each. [MW]
    source
        What messages call the meter, as its file.

    Raises
    ------
    SeriesError
        If there is none, one is missing or lies beside those of the clock, or a power is not finite
        or beyond all connections.
    """
    mend = "a bill needs every quarter-hour once, in order"
    faults = []
    steps = np.diff(starts)
    if not len(starts) or len(starts) != len(power):
        faults.append(Fault(place=source, value=f"{len(starts)} quarter-hours", mend=mend))
    elif (steps != QUARTER).any():
        hole = starts[int(np.argmax(steps != QUARTER))]
        faults.append(
            Fault(place=f"{source}, after {to_minute(hole)}", value="no quarter-hour", mend=mend)
        )
    elif (starts[0] - starts[0].astype("datetime64[h]")) % QUARTER:
        mend = "a bill's quarter-hours begin at 00, 15, 30 and 45; write the start of each"
        faults.append(Fault(place=source, value=to_minute(starts[0]), mend=mend))
    elif not np.isfinite(power).all():
        wrong = starts[int(np.argmin(np.isfinite(power)))]
        faults.append(Fault(place=f"{source}, {to_minute(wrong)}", value="not a number", mend=mend))
    elif (np.abs(power) > GREATEST_IMPORT).any():
        most = int(np.argmax(np.abs(power)))
        mend = f"no connection carries more than {GREATEST_IMPORT:,.0f} MW; look at the unit"
        place, value = f"{source}, {to_minute(starts[most])}", f"{power[most]:g} MW"
        faults.append(Fault(place=place, value=value, mend=mend))
    if faults:
        raise SeriesError(source, faults)
