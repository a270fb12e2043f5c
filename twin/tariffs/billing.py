"""How import is billed: when its peak begins anew, what counts in it, and what it costs."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from twin.axes import QUARTER
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
from twin.tariffs import planned
from twin.tariffs.clock import NO_PERIOD, Clock
from twin.tariffs.declaration import Tariff
from twin.tariffs.force import MONTHS, in_force
from twin.tariffs.periods import Moments, month_end, month_start, months, year_ends


class Billing:
    """The billing of one connection.

    Parameters
    ----------
    time_zone
        IANA zone of the site.
    tariffs
        Name -> dated tariff, of which the last goes on until another follows; without any, peaks
        are of the calendar month and always count.
    """

    def __init__(self, time_zone: str, tariffs: Mapping[str, Tariff]) -> None:
        self.time_zone, self.tariffs = time_zone, tariffs

    @property
    def span(self) -> Literal["month", "year"]:
        """Over what the peak is counted."""
        spans = (tariff.billing for tariff in self.tariffs.values())
        return next((span for span in spans if span is not None), "month")

    def numbers(self, moments: Moments) -> NDArray[np.int64]:
        """Return the billing period in which each moment lies, as a number that rises by 1."""
        month = months(moments, self.time_zone)
        return month if self.span == "month" else np.asarray(month // MONTHS)

    def start(self, moment: np.datetime64) -> np.datetime64:
        """Return when the billing period of a moment begins. [datetime64, UTC]"""
        if self.span == "month":
            return month_start(moment, self.time_zone)
        return year_ends(moment, self.time_zone)[0]

    def end(self, moment: np.datetime64) -> np.datetime64:
        """Return when the billing period of a moment ends. [datetime64, UTC]"""
        if self.span == "month":
            return month_end(moment, self.time_zone)
        return year_ends(moment, self.time_zone)[1]

    def counts(self, moments: Moments) -> BoolArray:
        """Return which quarter-hours count in the peak."""
        found = np.ones(len(moments), dtype=bool)
        for tariff, here, clock in self._parts(moments):
            found[here] = clock.within_any(tariff.windows)
        return found

    def count_within(self, instants: Moments) -> BoolArray:
        """Return in which intervals between two instants some quarter-hour counts in the peak."""
        which, starts = _quarters(instants)
        return np.asarray(np.bincount(which, self.counts(starts)) > 0.0)

    def energy_prices(self, moments: Moments) -> FloatArray:
        """Return what the tariffs charge for energy taken in each interval. [EUR MWh-1]"""
        found = np.zeros(len(moments))
        for tariff, here, clock in self._parts(moments):
            found[here] = planned.energy_price(tariff, clock)
        return found

    def mean_energy_prices(self, instants: Moments) -> FloatArray:
        """Return the same on the mean of each interval between two instants. [EUR MWh-1]

        Time classes may change within an interval, but with a quarter-hour.
        """
        which, starts = _quarters(instants)
        return np.asarray(np.bincount(which, self.energy_prices(starts)) / np.bincount(which))

    def peak_prices(self, moments: Moments) -> FloatArray:
        """Return what a MW of the peak costs in the billing period of each moment. [EUR MW-1]"""
        found = np.zeros(len(moments))
        for tariff, here, _ in self._parts(moments):
            found[here] = planned.peak_price(tariff)
        return found

    def expected_peaks(self, moments: Moments) -> FloatArray:
        """Return the peak that comes anyway, by the tariff of each moment. [MW]"""
        found = np.zeros(len(moments))
        for tariff, here, _ in self._parts(moments):
            found[here] = tariff.expected_peak
        return found

    def contracted(self, moments: Moments) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Return the contract that binds each moment.

        Returns
        -------
        tuple of numpy.ndarray
            Number of the time class with a contracted power among all of the tariffs', -1 for
            none; its power [MW], infinite for none; and its price beyond, taxed. [EUR MW-1]
        """
        names = self.classes
        number = np.full(len(moments), NO_PERIOD, dtype=np.int64)
        power, price = np.full(len(moments), np.inf), np.zeros(len(moments))
        for tariff, here, clock in self._parts(moments):
            own = [period.name for period in tariff.periods]
            period = clock.period(tariff.periods)
            places = np.flatnonzero(here)
            for contract in tariff.contracted:
                classes = [i for i, name in enumerate(own) if name == contract.period]
                at = places[np.isin(period, classes)]
                number[at] = names.index(contract.period)
                power[at] = contract.power
                price[at] = contract.excess_price * tariff.taxed
        return number, power, price

    def contracted_within(
        self, instants: Moments
    ) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Return the same of each interval between two instants: the least power within it."""
        which, starts = _quarters(instants)
        number, power, price = self.contracted(starts)
        order = np.lexsort((power, which))
        first = order[np.searchsorted(which, np.arange(len(instants) - 1))]
        return number[first], power[first], price[first]

    @property
    def classes(self) -> list[str]:
        """Names of all time classes with a contracted power."""
        found = [one.period for tariff in self.tariffs.values() for one in tariff.contracted]
        return list(dict.fromkeys(found))

    def adds_squares(self, moment: Moments) -> BoolArray:
        """Return whether powers beyond a contract count as the root of their squares' sum."""
        found = np.zeros(len(moment), dtype=bool)
        for tariff, here, _ in self._parts(moment):
            found[here] = tariff.excess == "root_of_squares"
        return found

    def calm_import(self, moment: np.datetime64, *, peak: float, usual: float) -> float:
        """Return the import that raises nothing at a moment; infinite where nothing is charged.

        Parameters
        ----------
        moment
            Start of the quarter-hour, UTC.
        peak, usual
            Greatest import of the billing period so far, and the usual one. [MW]
        """
        if not self.tariffs:
            return max(peak, usual)
        now = np.array([moment])
        contracted = float(self.contracted(now)[1][0])
        is_charged = self.counts(now)[0] and self.peak_prices(now)[0] > 0.0
        anyway = max(peak, usual, float(self.expected_peaks(now)[0]))
        return min(contracted, anyway) if is_charged else contracted

    def tariff_at(self, moment: np.datetime64) -> Tariff:
        """Return the tariff that plans count with at a moment."""
        return next(self._planned(np.array([moment])))[0]

    def _parts(self, moments: Moments) -> list[tuple[Tariff, BoolArray, Clock]]:
        """Return each tariff in force, at which of the moments, and these by its clock."""
        if not self.tariffs:
            return []
        return [
            (tariff, here, Clock(moments[here], self.time_zone, holidays=tariff.holidays))
            for tariff, here in self._planned(moments)
        ]

    def _planned(self, moments: Moments) -> Iterator[tuple[Tariff, BoolArray]]:
        """Yield the tariffs that plans count with, year by year of their bills, and when."""
        year = months(moments, self.time_zone) // MONTHS
        for tariff, here in in_force(self.tariffs, moments, self.time_zone, goes_on=True):
            for one in np.unique(year[here]).tolist():
                yield (
                    tariff.planned_on(max(date(one, 1, 1), tariff.valid_from)),
                    here & (year == one),
                )


def _quarters(instants: Moments) -> tuple[NDArray[np.int64], Moments]:
    """Return each quarter-hour between instants: the interval in which it lies, and its start."""
    parts = -(-np.diff(instants) // QUARTER)
    which = np.repeat(np.arange(len(parts)), parts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    return which, instants[which] + within * QUARTER
