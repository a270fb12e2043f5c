"""When the rules of a tariff apply: windows and time classes by the site's own clock."""

from collections.abc import Collection, Sequence
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twin.physics.numeric import BoolArray
from twin.tariffs.declaration import Period, Window, minutes
from twin.tariffs.periods import Moments

SATURDAY = 5
"""First day of the week without work, Monday being 0. [1]"""

NO_PERIOD = -1


class Clock:
    """Moments as a tariff sees them.

    Parameters
    ----------
    moments
        Starts of intervals, UTC. [datetime64]
    time_zone
        IANA zone of the site.
    holidays
        Days that count as no working days, weekends apart.
    """

    def __init__(
        self, moments: Moments, time_zone: str, *, holidays: Collection[date] = ()
    ) -> None:
        local = pd.DatetimeIndex(moments, tz="UTC").tz_convert(time_zone)
        self.month = np.asarray(local.month)
        self.minute = np.asarray(60 * local.hour + local.minute)
        self.days = local.tz_localize(None).to_numpy().astype("datetime64[D]")
        free = np.array(sorted(holidays), dtype="datetime64[D]")
        self.is_working = (np.asarray(local.day_of_week) < SATURDAY) & ~np.isin(self.days, free)

    def within(self, window: Window) -> BoolArray:
        """Return which intervals begin in a window."""
        inside = np.isin(self.month, window.months)
        if window.days != "all":
            inside &= self.is_working == (window.days == "working")
        hours = np.zeros_like(inside)
        for span in window.hours:
            begin, end = minutes(span)
            hours |= (begin <= self.minute) & (self.minute < end)
        return np.asarray(inside & hours)

    def within_any(self, windows: Sequence[Window]) -> BoolArray:
        """Return which intervals begin in any of some windows; without any, all."""
        if not windows:
            return np.ones(len(self.month), dtype=bool)
        return np.asarray(np.any([self.within(window) for window in windows], axis=0))

    def period(self, periods: Sequence[Period]) -> NDArray[np.int64]:
        """Return the number of the first period that fits each interval; -1 if there is none."""
        found = np.full(len(self.month), NO_PERIOD, dtype=np.int64)
        for number in reversed(range(len(periods))):
            found[self.within(periods[number])] = number
        return found
