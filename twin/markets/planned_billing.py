"""Billing of import for plans: billing periods, energy prices, demand charges and the band-load
rebate.

Plans pay energy by the interval and peaks by the MW, with the taxes of the bill and without the
electricity itself. A plan sees a week, a bill a month or a year; so the site file declares which
network charge (``plan_for``) and how many utilisation hours (``expected``) plans assume. The bill
computes all options. The band-load rebate depends on the year's energy over its greatest
quarter-hour: one quarter-hour can lose it, and so can a year of waiting for cheap hours.
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
from twin.relations import NO_PEAK_INDEX, DemandCharge, DemandChargeTerms
from twin.time_axes import HOUR, QUARTER_HOUR

NEGLIGIBLE_ENERGY_MWH: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class ConstantLoadStatus:
    """Progress of a year towards the band-load rebate.

    - `energy`, `peak`: energy imported so far [MWh] and greatest import of the year [MW].
    - `utilisation_hours`: utilisation hours so far: energy over peak. [h]
    - `unmetered_hours`: part of the year before the first quarter-hour; its import is assumed equal
      to the mean. [h]
    - `remaining_hours`: remaining part of the year. [h]
    - `expected_utilisation_hours`: utilisation hours of the whole year if the remaining import
      equals the mean. [h]
    - `required_mean_import`: Hours of a class -> mean remaining import that reaches the class at
      the peak so far and the minimum energy of the rule. [MW] If it exceeds the peak, the class
      cannot be reached.
    - `max_peak`: Hours of a class -> greatest peak at which the expected energy reaches the class.
      [MW]
    - `charge`: expected published network charge of the year. [EUR]
    - `rebate_value`: Hours of a class -> amount by which its rebate lowers the charge. [EUR]
    - `expected_class_hours`: hours of the expected class; 0 if none is expected. [h]
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
    """Return the progress towards the band-load rebate, or None if no such rule is valid.

    ``starts`` are the starts of the year's quarter-hours so far [datetime64, UTC]; ``power`` is the
    mean import less export in each [MW].
    """
    if tariff.band_load is None or tariff.utilisation is None:
        return None
    metered = MeteredImport(tariff, starts, power, time_zone=time_zone)
    if not tariff.band_load.is_valid_on(metered.first_day):
        return None
    energy, peak, mean = metered.energy(), metered.peak(), float(metered.import_power.mean())
    begin, end = year_bounds(starts[0], time_zone)
    unmetered, remaining = (
        max(float(span / HOUR), 0.0) for span in (starts[0] - begin, end - metered.end)
    )
    year = energy + mean * (unmetered + remaining)
    classes = sorted(rebate.hours for rebate in tariff.band_load.classes)
    min_energy, charge = (
        tariff.band_load.least_energy,
        published_charge(tariff.utilisation, year, peak),
    )
    reached = rebate_class(tariff.band_load, utilisation_hours(year, peak), year)
    return ConstantLoadStatus(
        energy=energy,
        peak=peak,
        utilisation_hours=float(utilisation_hours(energy, peak)),
        unmetered_hours=unmetered,
        remaining_hours=remaining,
        expected_utilisation_hours=float(utilisation_hours(year, peak)),
        required_mean_import={
            hours: _mean(max(hours * peak, min_energy) - energy - mean * unmetered, remaining)
            for hours in classes
        },
        max_peak={hours: year / hours for hours in classes},
        charge=charge,
        rebate_value={
            rebate.hours: (1.0 - rebate.share) * charge for rebate in tariff.band_load.classes
        },
        expected_class_hours=reached.hours if reached else 0.0,
    )


def _mean(energy: float, hours: float) -> float:
    """Return the mean power that delivers an energy [MWh] in a number of hours [h]. [MW]"""
    if energy <= NEGLIGIBLE_ENERGY_MWH:
        return 0.0
    return energy / hours if hours else np.inf


def published_charge(prices: UtilisationPrices, energy: float, peak: float) -> float:
    """Return the published network charge of a year from its energy [MWh] and peak [MW]. [EUR]"""
    power_price, energy_price = prices_for_utilisation(prices, utilisation_hours(energy, peak))
    return power_price * peak + energy_price * energy


REBATE_LOSS_SPREAD: Final = 0.03
"""Share of the allowed peak over which the loss of the rebate is spread. [1]"""


def planned_energy_price(tariff: Tariff, clock: TariffCalendar) -> FloatArray:
    """Return the tariff's charge for energy imported in each interval, with taxes. [EUR MWh-1]"""
    period = clock.time_class(tariff.periods)
    names = [period.name for period in tariff.periods]
    total = np.zeros(len(period))
    for price in tariff.energy:
        numbers = [number for number, name in enumerate(names) if name in price.periods]
        total += price.price * (np.isin(period, numbers) if price.periods else 1.0)
    if tariff.utilisation:
        _, price_of_use = _prices(tariff.utilisation)
        total += planned_charge_share(tariff) * price_of_use
    return total * tariff.tax_factor


def planned_peak_price(tariff: Tariff) -> float:
    """Return the tariff's charge for a MW of the billing peak, with taxes. [EUR MW-1]"""
    total = sum(price.price for price in tariff.peaks)
    if tariff.utilisation:
        price_of_power, _ = _prices(tariff.utilisation)
        total += planned_charge_share(tariff) * price_of_power
    return total * tariff.tax_factor


def planned_charge_share(tariff: Tariff) -> float:
    """Return the share of the published network charge that plans assume. [1]"""
    reached = planned_rebate_class(tariff)
    return reached.share if reached else 1.0


def planned_rebate_class(tariff: Tariff) -> ConstantLoadClass | None:
    """Return the band-load class that plans assume, or None.

    If the expected energy of the year is too small for the rebate, there is no class, as on the
    bill. An expected energy of 0 means unknown.
    """
    prices, band = tariff.utilisation, tariff.band_load
    if prices is None or band is None or prices.plan_for != "band_load":
        return None
    return rebate_class(band, declared_decimal(prices.expected), band.expected_energy or None)


def rebate_peak_limit(tariff: Tariff) -> tuple[float, float] | None:
    """Return the peak up to which the class is kept, and the price beyond it. [MW; EUR MW-1]

    At this peak the expected energy of the year just keeps the band-load class; None without
    expected energy or class. The class is lost at once, which no linear price expresses. The loss
    is therefore spread over the first :data:`REBATE_LOSS_SPREAD` of the excess.
    """
    reached, band, prices = planned_rebate_class(tariff), tariff.band_load, tariff.utilisation
    if reached is None or band is None or prices is None or not band.expected_energy:
        return None
    max_import = band.expected_energy / reached.hours
    below = [smaller.share for smaller in band.classes if smaller.hours < reached.hours]
    lost = min(below, default=1.0) - reached.share
    charge = published_charge(prices, band.expected_energy, max_import)
    return max_import, tariff.tax_factor * lost * charge / (REBATE_LOSS_SPREAD * max_import)


def _prices(prices: UtilisationPrices) -> tuple[float, float]:
    return prices_for_utilisation(prices, declared_decimal(prices.expected))


class BillingRules:
    """The billing rules of one grid connection.

    - `tariffs`: Name -> dated tariff; the last one is extended until another follows. Without
      tariffs, every quarter-hour counts in the peak of its calendar month.
    """

    def __init__(self, time_zone: str, tariffs: Mapping[str, Tariff]) -> None:
        self.time_zone, self.tariffs = time_zone, tariffs

    @property
    def peak_period(self) -> Literal["month", "year"]:
        """Period over which the peak is measured."""
        spans = (tariff.peak_span for tariff in self.tariffs.values())
        return next((span for span in spans if span is not None), "month")

    def period_numbers(self, moments: InstantArray) -> NDArray[np.int64]:
        """Return the billing period in which each moment lies, as a number that rises by 1."""
        month = month_numbers(moments, self.time_zone)
        return month if self.peak_period == "month" else np.asarray(month // MONTHS_PER_YEAR)

    def period_start(self, moment: np.datetime64) -> np.datetime64:
        """Return when the billing period of a moment begins. [datetime64, UTC]"""
        if self.peak_period == "month":
            return month_start(moment, self.time_zone)
        return year_bounds(moment, self.time_zone)[0]

    def period_end(self, moment: np.datetime64) -> np.datetime64:
        """Return when the billing period of a moment ends. [datetime64, UTC]"""
        if self.peak_period == "month":
            return month_end(moment, self.time_zone)
        return year_bounds(moment, self.time_zone)[1]

    def counts_in_peak(self, moments: InstantArray) -> BoolArray:
        """Return which quarter-hours count in the billing peak."""
        found = self._by_tariff(moments, lambda one, at: at.in_any_window(one.windows), without=1.0)
        return found > 0.0

    def any_counts_in_peak(self, instants: InstantArray) -> BoolArray:
        """Return in which intervals between instants some quarter-hour counts in the peak."""
        which, starts = _quarters(instants)
        return np.asarray(np.bincount(which, self.counts_in_peak(starts)) > 0.0)

    def energy_prices(self, moments: InstantArray) -> FloatArray:
        """Return the tariffs' charge for energy imported in each interval. [EUR MWh-1]"""
        return self._by_tariff(moments, planned_energy_price)

    def mean_energy_prices(self, instants: InstantArray) -> FloatArray:
        """Return the mean energy price of each interval between two instants. [EUR MWh-1]

        Time classes may change within an interval, but only at a quarter-hour.
        """
        which, starts = _quarters(instants)
        return np.asarray(np.bincount(which, self.energy_prices(starts)) / np.bincount(which))

    def peak_prices(self, moments: InstantArray) -> FloatArray:
        """Return the cost of a MW of peak in the billing period of each moment. [EUR MW-1]"""
        return self._by_tariff(moments, lambda one, _: planned_peak_price(one))

    def expected_peaks(self, moments: InstantArray) -> FloatArray:
        """Return the peak that the tariff expects in any case, at each moment. [MW]"""
        return self._by_tariff(moments, lambda one, _: one.expected_peak)

    def contracted_power_terms(
        self, moments: InstantArray
    ) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Return the contracted power that applies at each moment.

        Returns
        -------
        tuple of numpy.ndarray
            Index of the time class in ``contracted_classes``, -1 for none; its contracted power
            [MW], infinite for none; and the price of excess power, with taxes [EUR MW-1].
        """
        names = self.contracted_classes
        number = np.full(len(moments), NO_TIME_CLASS, dtype=np.int64)
        power, price = np.full(len(moments), np.inf), np.zeros(len(moments))
        for tariff, mask, clock in self._parts(moments):
            own = [period.name for period in tariff.periods]
            period = clock.time_class(tariff.periods)
            positions = np.flatnonzero(mask)
            for contract in tariff.contracted:
                classes = [i for i, name in enumerate(own) if name == contract.period]
                at = positions[np.isin(period, classes)]
                number[at] = names.index(contract.period)
                power[at] = contract.power
                price[at] = contract.excess_price * tariff.tax_factor
        return number, power, price

    def contracted_by_interval(
        self, instants: InstantArray
    ) -> tuple[NDArray[np.int64], FloatArray, FloatArray]:
        """Return the same per interval between two instants, by its smallest contracted power."""
        which, starts = _quarters(instants)
        number, power, price = self.contracted_power_terms(starts)
        order = np.lexsort((power, which))
        first = order[np.searchsorted(which, np.arange(len(instants) - 1))]
        return number[first], power[first], price[first]

    @property
    def contracted_classes(self) -> list[str]:
        """Names of all time classes with a contracted power."""
        found = [
            contract.period for tariff in self.tariffs.values() for contract in tariff.contracted
        ]
        return list(dict.fromkeys(found))

    def uses_root_sum_square(self, moment: InstantArray) -> BoolArray:
        """Return when excess powers count as the root of the sum of their squares."""
        return self._by_tariff(moment, lambda one, _: one.excess == ROOT_SUM_SQUARE_RULE) > 0.0

    def uncharged_import(self, moment: np.datetime64, *, peak: float, mean_import: float) -> float:
        """Return the import [MW] up to which no charge rises at a moment; infinite if there is
        none.
        """
        if not self.tariffs:
            return max(peak, mean_import)
        now = np.array([moment])
        contracted = float(self.contracted_power_terms(now)[1][0])
        is_charged = self.counts_in_peak(now)[0] and self.peak_prices(now)[0] > 0.0
        unavoidable = max(peak, mean_import, float(self.expected_peaks(now)[0]))
        return min(contracted, unavoidable) if is_charged else contracted

    def tariff_at(self, moment: np.datetime64) -> Tariff:
        """Return the tariff that plans assume at a moment."""
        return next(self._planned(np.array([moment])))[0]

    def _by_tariff(
        self,
        moments: InstantArray,
        value: Callable[[Tariff, TariffCalendar], FloatArray | BoolArray | float],
        without: float = 0.0,
    ) -> FloatArray:
        """Return a value of the valid tariff at each moment, or that without tariffs."""
        found = np.full(len(moments), float(without))
        for tariff, mask, clock in self._parts(moments):
            found[mask] = value(tariff, clock)
        return found

    def _parts(self, moments: InstantArray) -> list[tuple[Tariff, BoolArray, TariffCalendar]]:
        """Return each valid tariff, a mask of its moments, and its calendar at them."""
        if not self.tariffs:
            return []
        return [
            (tariff, mask, TariffCalendar(moments[mask], self.time_zone, holidays=tariff.holidays))
            for tariff, mask in self._planned(moments)
        ]

    def _planned(self, moments: InstantArray) -> Iterator[tuple[Tariff, BoolArray]]:
        """Yield the tariffs that plans assume, by calendar year, with a mask of their moments."""
        year = month_numbers(moments, self.time_zone) // MONTHS_PER_YEAR
        for tariff, mask in valid_tariffs(self.tariffs, moments, self.time_zone, extends_last=True):
            for year_number in np.unique(year[mask]).tolist():
                yield (
                    tariff.planning_tariff_on(max(date(year_number, 1, 1), tariff.valid_from)),
                    mask & (year == year_number),
                )


def _quarters(instants: InstantArray) -> tuple[NDArray[np.int64], InstantArray]:
    """Return the interval index and the start of each quarter-hour between instants."""
    parts = -(-np.diff(instants) // QUARTER_HOUR)
    which = np.repeat(np.arange(len(parts)), parts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)
    return which, instants[which] + within * QUARTER_HOUR


ROOT_SUM_SQUARE_RULE: Final = "root_of_squares"
"""Tariff rule by which every excess counts, as the root of the sum of squares."""

MIN_BILLING_PERIODS: Final = 2
"""Minimum number of billing periods in a plan; a plan across the end of one keeps its shape. [1]"""

type DemandChargeRule = Callable[[BillingRules, InstantArray], DemandChargeTerms]
"""(billing rules, edges of the intervals) -> terms of one demand charge."""


def site_demand_charges(peak: DemandCharge, billing: BillingRules) -> tuple[DemandCharge, ...]:
    """Return all demand charges of a grid connection."""
    if not billing.tariffs:
        return (replace(peak, terms=partial(_plain, billing, peak.price)),)
    found = [replace(peak, terms=partial(peak_terms, billing))]
    if billing.contracted_classes:
        terms = partial(excess_terms, billing)
        adds = any(
            tariff.excess == ROOT_SUM_SQUARE_RULE
            for tariff in billing.tariffs.values()
            if tariff.contracted
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
    return _period_terms(slot, np.zeros(len(reached)), np.where(reached, price, 0.0))


def peak_terms(billing: BillingRules, instants: InstantArray) -> DemandChargeTerms:
    """Return the demand-charge terms of the billing periods by the valid tariffs.

    See :data:`DemandChargeRule`.
    """
    moments = instants[:-1]
    slot, reached = _periods(billing, moments)
    first = np.searchsorted(slot, np.arange(slot[-1] + 1))
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    free[: len(first)] = billing.expected_peaks(moments)[first]
    price[: len(first)] = billing.peak_prices(moments)[first]
    return _period_terms(slot, free, price, counts=billing.any_counts_in_peak(instants))


def excess_terms(billing: BillingRules, instants: InstantArray) -> DemandChargeTerms:
    """Return the demand-charge terms of power above the contracts, by month and class.

    Excess that a class has reached in this month is already paid. The state holds only the running
    peak of all classes. It is used for a class only if it can belong to no other.
    """
    moments = instants[:-1]
    month = month_numbers(moments, billing.time_zone)
    number, power, price = billing.contracted_by_interval(instants)
    classes = max(len(billing.contracted_classes), 1)
    count = classes * max(MIN_BILLING_PERIODS, int(month[-1] - month[0]) + 1)
    slot = np.where(number == NO_TIME_CLASS, NO_PEAK_INDEX, classes * (month - month[0]) + number)
    adds = billing.uses_root_sum_square(moments)
    free, prices, squares = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    for index in np.unique(slot[slot != NO_PEAK_INDEX]).tolist():
        first = int(np.argmax(slot == index))
        free[index], prices[index], squares[index] = power[first], price[first], adds[first]
    return DemandChargeTerms(
        peak_index=slot,
        uncharged_power=free,
        excess_price=prices,
        is_root_sum_square=squares,
        running_peak_index=_running_peak_class(billing, moments[0]),
        mean_import_index=NO_PEAK_INDEX,
    )


def _running_peak_class(billing: BillingRules, now: np.datetime64) -> int:
    """Return the class to which the running peak belongs; -1 if that is unknown.

    It is known if only one class has counted in this month, and the billing period began with it.
    """
    begin = month_start(now, billing.time_zone)
    if billing.period_start(now) != begin:
        return NO_PEAK_INDEX
    past = np.arange(begin, now + QUARTER_HOUR, QUARTER_HOUR)
    number = np.unique(billing.contracted_power_terms(past)[0][billing.counts_in_peak(past)])
    return int(number[0]) if len(number) == 1 else NO_PEAK_INDEX


def rebate_terms(billing: BillingRules, instants: InstantArray) -> DemandChargeTerms:
    """Return the demand-charge terms of the peaks that the band-load rebate allows, by year."""
    moments = instants[:-1]
    slot, reached = _periods(billing, moments)
    free, price = np.zeros(len(reached)), np.zeros(len(reached))
    for index in range(int(slot[-1]) + 1):
        limit = rebate_peak_limit(billing.tariff_at(moments[np.searchsorted(slot, index)]))
        if limit is not None:
            free[index], price[index] = limit
    return _period_terms(slot, free, price)


def _period_terms(
    slot: NDArray[np.int64], free: FloatArray, price: FloatArray, counts: BoolArray | None = None
) -> DemandChargeTerms:
    """Return terms by billing period; the running peak belongs to the first period."""
    return DemandChargeTerms(
        peak_index=slot if counts is None else np.where(counts, slot, NO_PEAK_INDEX),
        uncharged_power=free,
        excess_price=price,
        is_root_sum_square=np.zeros(len(free), dtype=bool),
        running_peak_index=0,
        mean_import_index=int(slot[-1]),
    )


def _periods(billing: BillingRules, moments: InstantArray) -> tuple[NDArray[np.int64], BoolArray]:
    """Return the billing period index of each interval, and which periods are reached."""
    number = billing.period_numbers(moments)
    slot = number - number[0]
    return slot, np.arange(max(MIN_BILLING_PERIODS, int(slot[-1]) + 1)) <= slot[-1]
