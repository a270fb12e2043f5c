"""How import is billed: when its peak begins anew, what counts in it, and what it costs.

Band load watched through the year: hours of use so far, what they still need, what it is worth.

The discount goes by the year's energy over its greatest quarter-hour: one quarter-hour can lose it,
and so can a year of waiting for cheap hours.

What plans pay under a tariff: energy by the interval, peaks by the MW.

All with the taxes of the bill; the electricity itself is none of its lines. A plan sees a week, a
bill a month or a year. Which branch of a network charge the year will come to, and with how many
hours of use, is declared (``plan_for``, ``expected``); the bill reckons all.

Charges on peaks as plans see them: which interval counts in which peak, free up to where.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from twin.markets.bill_lines import MeteredImport, declared_decimal
from twin.markets.bills import prices_for_utilisation, rebate_class, utilisation_hours
from twin.markets.tariffs import (
    MONTHS_PER_YEAR,
    NO_TIME_CLASS,
    ConstantLoadClass,
    InstantArray,
    Tariff,
    TariffCalendar,
    UtilisationPrices,
    month_end,
    month_numbers,
    month_start,
    valid_tariffs,
    year_bounds,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import NO_PEAK, DemandCharge, DemandChargeTerms
from twin.time_axes import HOUR, QUARTER_HOUR

_NONE: Final = 1e-6  # MWh


@dataclass(frozen=True, kw_only=True)
class ConstantLoadStatus:
    """Where a year of band load stands.

    Attributes
    ----------
    energy, peak
        Energy taken so far [MWh] and greatest import of the year [MW].
    utilisation_hours
        Hours of use so far: energy over peak. [h]
    unmetered_hours
        Part of the year before the first quarter-hour, taken to be as the mean. [h]
    remaining_hours
        Rest of the year. [h]
    expected_utilisation_hours
        Hours of use of the whole year if the rest is as the mean. [h]
    required_mean_import
        Hours of a class -> mean import of the rest that reaches it at the peak so far, and the
        least energy of the rule. [MW] Above the peak it cannot be reached.
    max_peak
        Hours of a class -> greatest peak at which the energy expected reaches it. [MW]
    charge
        Published network charge of the year expected. [EUR]
    rebate_value
        Hours of a class -> what its discount takes off that. [EUR]
    expected_class_hours
        Hours of the class that is expected; 0 if none is. [h]
    """

    energy: float
    peak: float
    utilisation_hours: float
    unmetered_hours: float
    remaining_hours: float
    expected_utilisation_hours: float
    required_mean_import: Mapping[float, float]
    max_peak: Mapping[float, float]
    charge: float
    rebate_value: Mapping[float, float]
    expected_class_hours: float


def constant_load_status(
    tariff: Tariff, starts: InstantArray, power: FloatArray, *, time_zone: str
) -> ConstantLoadStatus | None:
    """Return where the band load of a year stands after some quarter-hours.

    Parameters
    ----------
    tariff
        The tariff in force.
    starts
        Starts of the year's quarter-hours so far, UTC. [datetime64]
    power
        Mean import less export in each. [MW]
    time_zone
        IANA zone of the site.

    Returns
    -------
    ConstantLoadStatus or None
        None without the rule, or where its table does not hold on the first day, as on the bill.
    """
    if tariff.band_load is None or tariff.utilisation is None:
        return None
    metered = MeteredImport(tariff, starts, power, time_zone=time_zone)
    if not tariff.band_load.is_valid_on(metered.first_day):
        return None
    energy, peak, mean = metered.energy(), metered.peak(), float(metered.import_power.mean())
    begin, end = year_bounds(starts[0], time_zone)
    unseen, left = (max(float(span / HOUR), 0.0) for span in (starts[0] - begin, end - metered.end))
    year = energy + mean * (unseen + left)
    classes = sorted(one.hours for one in tariff.band_load.classes)
    least, charge = tariff.band_load.least_energy, published_charge(tariff.utilisation, year, peak)
    reached = rebate_class(tariff.band_load, utilisation_hours(year, peak), year)
    return ConstantLoadStatus(
        energy=energy,
        peak=peak,
        utilisation_hours=float(utilisation_hours(energy, peak)),
        unmetered_hours=unseen,
        remaining_hours=left,
        expected_utilisation_hours=float(utilisation_hours(year, peak)),
        required_mean_import={
            hours: _mean(max(hours * peak, least) - energy - mean * unseen, left)
            for hours in classes
        },
        max_peak={hours: year / hours for hours in classes},
        charge=charge,
        rebate_value={one.hours: (1.0 - one.share) * charge for one in tariff.band_load.classes},
        expected_class_hours=reached.hours if reached else 0.0,
    )


def _mean(energy: float, hours: float) -> float:
    """Return the mean power that gives an energy [MWh] in some hours. [MW]"""
    if energy <= _NONE:
        return 0.0
    return energy / hours if hours else np.inf


def published_charge(prices: UtilisationPrices, energy: float, peak: float) -> float:
    """Return the published network charge of a year. [EUR]

    Parameters
    ----------
    prices
        Prices by hours of use.
    energy
        Energy of the year. [MWh]
    peak
        Its greatest import. [MW]
    """
    power_price, energy_price = prices_for_utilisation(prices, utilisation_hours(energy, peak))
    return power_price * peak + energy_price * energy


REBATE_LOSS_SPREAD: Final = 0.03
"""Share of the peak that band load allows over which the loss of its discount is laid. [1]"""


def planned_energy_price(tariff: Tariff, clock: TariffCalendar) -> FloatArray:
    """Return what a tariff charges for energy taken in each interval, taxes and all. [EUR MWh-1]

    Parameters
    ----------
    tariff
        The tariff.
    clock
        The intervals, with the tariff's holidays.
    """
    period = clock.time_class(tariff.periods)
    names = [one.name for one in tariff.periods]
    total = np.zeros(len(period))
    for price in tariff.energy:
        numbers = [number for number, name in enumerate(names) if name in price.periods]
        total += price.price * (np.isin(period, numbers) if price.periods else 1.0)
    if tariff.utilisation:
        _, price_of_use = _prices(tariff.utilisation)
        total += planned_charge_share(tariff) * price_of_use
    return total * tariff.tax_factor


def planned_peak_price(tariff: Tariff) -> float:
    """Return what a tariff charges for a MW of the peak of a month or year, taxed. [EUR MW-1]"""
    total = sum(price.price for price in tariff.peaks)
    if tariff.utilisation:
        price_of_power, _ = _prices(tariff.utilisation)
        total += planned_charge_share(tariff) * price_of_power
    return total * tariff.tax_factor


def planned_charge_share(tariff: Tariff) -> float:
    """Return the share of the published network charge that plans count with. [1]"""
    reached = planned_rebate_class(tariff)
    return reached.share if reached else 1.0


def planned_rebate_class(tariff: Tariff) -> ConstantLoadClass | None:
    """Return the class of band load that plans are made for; None if they are for none.

    A year that is expected to take too little has none, as on its bill; 0 says nothing.
    """
    prices, band = tariff.utilisation, tariff.band_load
    if prices is None or band is None or prices.plan_for != "band_load":
        return None
    return rebate_class(band, declared_decimal(prices.expected), band.expected_energy or None)


@dataclass(frozen=True, kw_only=True)
class RebatePeakLimit:
    """The peak that band load allows.

    Attributes
    ----------
    max_import
        Greatest import at which the energy expected of the year keeps its class. [MW]
    price
        Loss of the class, laid over a small share of that peak. [EUR MW-1]
    """

    max_import: float
    price: float


def rebate_peak_limit(tariff: Tariff) -> RebatePeakLimit | None:
    """Return the peak that band load allows; None if no energy is expected, or no class.

    The class is lost at once, which no linear price says: so the loss is laid over the first
    :data:`SPREAD` of the way beyond.
    """
    reached, band, prices = planned_rebate_class(tariff), tariff.band_load, tariff.utilisation
    if reached is None or band is None or prices is None or not band.expected_energy:
        return None
    most = band.expected_energy / reached.hours
    below = [one.share for one in band.classes if one.hours < reached.hours]
    lost = min(below, default=1.0) - reached.share
    charge = published_charge(prices, band.expected_energy, most)
    return RebatePeakLimit(
        max_import=most, price=tariff.tax_factor * lost * charge / (REBATE_LOSS_SPREAD * most)
    )


def _prices(prices: UtilisationPrices) -> tuple[float, float]:
    return prices_for_utilisation(prices, declared_decimal(prices.expected))


class BillingRules:
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
        spans = (tariff.peak_span for tariff in self.tariffs.values())
        return next((span for span in spans if span is not None), "month")

    def period_numbers(self, moments: InstantArray) -> NDArray[np.int64]:
        """Return the billing period in which each moment lies, as a number that rises by 1."""
        month = month_numbers(moments, self.time_zone)
        return month if self.span == "month" else np.asarray(month // MONTHS_PER_YEAR)

    def start(self, moment: np.datetime64) -> np.datetime64:
        """Return when the billing period of a moment begins. [datetime64, UTC]"""
        if self.span == "month":
            return month_start(moment, self.time_zone)
        return year_bounds(moment, self.time_zone)[0]

    def end(self, moment: np.datetime64) -> np.datetime64:
        """Return when the billing period of a moment ends. [datetime64, UTC]"""
        if self.span == "month":
            return month_end(moment, self.time_zone)
        return year_bounds(moment, self.time_zone)[1]

    def counts_in_peak(self, moments: InstantArray) -> BoolArray:
        """Return which quarter-hours count in the peak."""
        found = np.ones(len(moments), dtype=bool)
        for tariff, here, clock in self._parts(moments):
            found[here] = clock.in_any_window(tariff.windows)
        return found

    def any_counts_in_peak(self, instants: InstantArray) -> BoolArray:
        """Return in which intervals between two instants some quarter-hour counts in the peak."""
        which, starts = _quarters(instants)
        return np.asarray(np.bincount(which, self.counts_in_peak(starts)) > 0.0)

    def energy_prices(self, moments: InstantArray) -> FloatArray:
        """Return what the tariffs charge for energy taken in each interval. [EUR MWh-1]"""
        found = np.zeros(len(moments))
        for tariff, here, clock in self._parts(moments):
            found[here] = planned_energy_price(tariff, clock)
        return found

    def mean_energy_prices(self, instants: InstantArray) -> FloatArray:
        """Return the same on the mean of each interval between two instants. [EUR MWh-1]

        Time classes may change within an interval, but with a quarter-hour.
        """
        which, starts = _quarters(instants)
        return np.asarray(np.bincount(which, self.energy_prices(starts)) / np.bincount(which))

    def peak_prices(self, moments: InstantArray) -> FloatArray:
        """Return what a MW of the peak costs in the billing period of each moment. [EUR MW-1]"""
        found = np.zeros(len(moments))
        for tariff, here, _ in self._parts(moments):
            found[here] = planned_peak_price(tariff)
        return found

    def expected_peaks(self, moments: InstantArray) -> FloatArray:
        """Return the peak that comes anyway, by the tariff of each moment. [MW]"""
        found = np.zeros(len(moments))
        for tariff, here, _ in self._parts(moments):
            found[here] = tariff.expected_peak
        return found

    def contracted(self, moments: InstantArray) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Return the contract that binds each moment.

        Returns
        -------
        tuple of numpy.ndarray
            Number of the time class with a contracted power among all of the tariffs', -1 for
            none; its power [MW], infinite for none; and its price beyond, taxed. [EUR MW-1]
        """
        names = self.classes
        number = np.full(len(moments), NO_TIME_CLASS, dtype=np.int64)
        power, price = np.full(len(moments), np.inf), np.zeros(len(moments))
        for tariff, here, clock in self._parts(moments):
            own = [period.name for period in tariff.periods]
            period = clock.time_class(tariff.periods)
            places = np.flatnonzero(here)
            for contract in tariff.contracted:
                classes = [i for i, name in enumerate(own) if name == contract.period]
                at = places[np.isin(period, classes)]
                number[at] = names.index(contract.period)
                power[at] = contract.power
                price[at] = contract.excess_price * tariff.tax_factor
        return number, power, price

    def contracted_by_interval(
        self, instants: InstantArray
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

    def uses_root_sum_square(self, moment: InstantArray) -> BoolArray:
        """Return whether powers beyond a contract count as the root of their squares' sum."""
        found = np.zeros(len(moment), dtype=bool)
        for tariff, here, _ in self._parts(moment):
            found[here] = tariff.excess == "root_of_squares"
        return found

    def uncharged_import(self, moment: np.datetime64, *, peak: float, mean_import: float) -> float:
        """Return the import that raises nothing at a moment; infinite where nothing is charged.

        Parameters
        ----------
        moment
            Start of the quarter-hour, UTC.
        peak, mean_import
            Greatest import of the billing period so far, and the usual one. [MW]
        """
        if not self.tariffs:
            return max(peak, mean_import)
        now = np.array([moment])
        contracted = float(self.contracted(now)[1][0])
        is_charged = self.counts_in_peak(now)[0] and self.peak_prices(now)[0] > 0.0
        anyway = max(peak, mean_import, float(self.expected_peaks(now)[0]))
        return min(contracted, anyway) if is_charged else contracted

    def tariff_at(self, moment: np.datetime64) -> Tariff:
        """Return the tariff that plans count with at a moment."""
        return next(self._planned(np.array([moment])))[0]

    def _parts(self, moments: InstantArray) -> list[tuple[Tariff, BoolArray, TariffCalendar]]:
        """Return each tariff in force, at which of the moments, and these by its clock."""
        if not self.tariffs:
            return []
        return [
            (tariff, here, TariffCalendar(moments[here], self.time_zone, holidays=tariff.holidays))
            for tariff, here in self._planned(moments)
        ]

    def _planned(self, moments: InstantArray) -> Iterator[tuple[Tariff, BoolArray]]:
        """Yield the tariffs that plans count with, year by year of their bills, and when."""
        year = month_numbers(moments, self.time_zone) // MONTHS_PER_YEAR
        for tariff, here in valid_tariffs(self.tariffs, moments, self.time_zone, extends_last=True):
            for one in np.unique(year[here]).tolist():
                yield (
                    tariff.planned_from(max(date(one, 1, 1), tariff.valid_from)),
                    here & (year == one),
                )


def _quarters(instants: InstantArray) -> tuple[NDArray[np.int64], InstantArray]:
    """Return each quarter-hour between instants: the interval in which it lies, and its start."""
    parts = -(-np.diff(instants) // QUARTER_HOUR)
    which = np.repeat(np.arange(len(parts)), parts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    return which, instants[which] + within * QUARTER_HOUR


ROOT_SUM_SQUARE_RULE: Final = "root_of_squares"
"""Rule of a tariff by which all that exceeds counts."""

MIN_BILLING_PERIODS: Final = 2
"""Billing periods that every plan has, so that to cross the end of one changes no model. [1]"""

type DemandChargeRule = Callable[[BillingRules, InstantArray], DemandChargeTerms]
"""(billing, instants that bound the intervals) -> the peaks of a charge."""


def site_demand_charges(peak: DemandCharge, billing: BillingRules) -> tuple[DemandCharge, ...]:
    """Return all charges on the peaks of a connection.

    Parameters
    ----------
    peak
        That of the grid's plain price, which holds where there is no tariff.
    billing
        The billing of the site.
    """
    if not billing.tariffs:
        return (replace(peak, terms=partial(_plain, billing, peak.price)),)
    found = [replace(peak, terms=partial(peak_terms, billing))]
    if billing.classes:
        terms = partial(excess_terms, billing)
        adds = any(
            one.excess == ROOT_SUM_SQUARE_RULE for one in billing.tariffs.values() if one.contracted
        )
        found.append(
            replace(peak, name="excess", account="excess", may_be_root_sum_square=adds, terms=terms)
        )
    if any(rebate_peak_limit(tariff) for tariff in billing.tariffs.values()):
        found.append(replace(peak, name="band", terms=partial(rebate_terms, billing)))
    return tuple(found)


def _plain(billing: BillingRules, price: float, instants: InstantArray) -> DemandChargeTerms:
    """Return the peak of each month at one price."""
    slot, reached = _periods(billing, instants[:-1])
    return _of_periods(slot, np.zeros(len(reached)), np.where(reached, price, 0.0))


def peak_terms(billing: BillingRules, instants: InstantArray) -> DemandChargeTerms:
    """Return the peaks of the billing periods by the tariffs in force.

    See :data:`DemandChargeRule`.
    """
    moments = instants[:-1]
    slot, reached = _periods(billing, moments)
    first = np.searchsorted(slot, np.arange(slot[-1] + 1))
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    free[: len(first)] = billing.expected_peaks(moments)[first]
    price[: len(first)] = billing.peak_prices(moments)[first]
    return _of_periods(slot, free, price, counts=billing.any_counts_in_peak(instants))


def excess_terms(billing: BillingRules, instants: InstantArray) -> DemandChargeTerms:
    """Return what goes beyond the contracted powers, by month and class; see
    :data:`DemandChargeRule`.

    What a class has exceeded in this month is paid already. The state knows the running peak of all
    classes only, so that is taken for one of a class if it can be of no other.
    """
    moments = instants[:-1]
    month = month_numbers(moments, billing.time_zone)
    number, power, price = billing.contracted_by_interval(instants)
    classes = max(len(billing.classes), 1)
    count = classes * max(MIN_BILLING_PERIODS, int(month[-1] - month[0]) + 1)
    slot = np.where(number == NO_TIME_CLASS, NO_PEAK, classes * (month - month[0]) + number)
    adds = billing.uses_root_sum_square(moments)
    free, prices, squares = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    for one in np.unique(slot[slot != NO_PEAK]).tolist():
        first = int(np.argmax(slot == one))
        free[one], prices[one], squares[one] = power[first], price[first], adds[first]
    return DemandChargeTerms(
        peak_index=slot,
        free_power=free,
        price=prices,
        is_root_sum_square=squares,
        running_peak_index=_peaked(billing, moments[0]),
        mean_import_index=NO_PEAK,
    )


def _peaked(billing: BillingRules, now: np.datetime64) -> int:
    """Return the class that the running peak must be one of this month's of; -1 if that is unknown.

    It is if all that has counted so far lies in one class, or the peak may be of an earlier month.
    """
    begin = month_start(now, billing.time_zone)
    if billing.start(now) != begin:
        return NO_PEAK
    past = np.arange(begin, now + QUARTER_HOUR, QUARTER_HOUR)
    number = np.unique(billing.contracted(past)[0][billing.counts_in_peak(past)])
    return int(number[0]) if len(number) == 1 else NO_PEAK


def rebate_terms(billing: BillingRules, instants: InstantArray) -> DemandChargeTerms:
    """Return the peaks that band load allows, by year; see :data:`DemandChargeRule`."""
    moments = instants[:-1]
    slot, reached = _periods(billing, moments)
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    for one in range(int(slot[-1]) + 1):
        limit = rebate_peak_limit(billing.tariff_at(moments[np.searchsorted(slot, one)]))
        if limit is not None:
            free[one], price[one] = limit.max_import, limit.price
    return _of_periods(slot, free, price)


def _of_periods(
    slot: NDArray[np.int64], free: FloatArray, price: FloatArray, counts: BoolArray | None = None
) -> DemandChargeTerms:
    """Return peaks of billing periods, the running one in the first, from those that count."""
    return DemandChargeTerms(
        peak_index=slot if counts is None else np.where(counts, slot, NO_PEAK),
        free_power=free,
        price=price,
        is_root_sum_square=np.zeros(len(free), dtype=bool),
        running_peak_index=0,
        mean_import_index=int(slot[-1]),
    )


def _periods(billing: BillingRules, moments: InstantArray) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the billing period of each interval, from 0 on, and which periods are reached."""
    number = billing.period_numbers(moments)
    slot = number - number[0]
    return slot, np.arange(max(MIN_BILLING_PERIODS, int(slot[-1]) + 1)) <= slot[-1]
