"""Network charges by hours of use, and the two discounts on them: atypical use and band load.

The bill of a network contract: quarter-hours of import in, lines and cents out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from twin.markets.bill_lines import (
    BillLine,
    BillWriter,
    MeteredImport,
    billed_quantity,
    check_quarter_hours,
    declared_decimal,
    round_to_cents,
)
from twin.markets.tariffs import (
    MONTHS_PER_YEAR,
    AtypicalUse,
    ConstantLoadClass,
    ConstantLoadRebate,
    InstantArray,
    Tariff,
    UtilisationPrices,
    month_end,
    month_numbers,
    month_start,
    valid_tariffs,
)
from twin.physics import FloatArray
from twin.time_axes import QUARTER_HOUR


@dataclass(frozen=True, kw_only=True)
class NetworkChargeOption:
    """One way in which a network charge may be reckoned.

    Attributes
    ----------
    name
        ``published``, ``atypical`` or ``band_load``.
    lines
        Its lines.
    note
        Why it is open, or why not.
    is_eligible
        Whether what was taken meets its conditions.
    """

    name: str
    lines: tuple[BillLine, ...]
    note: str
    is_eligible: bool = True

    @property
    def money(self) -> Decimal:
        """What it charges. [EUR]"""
        return sum((line.money for line in self.lines), Decimal(0))


@dataclass(frozen=True, kw_only=True)
class NetworkBill:
    """What a tariff charges for a span.

    Attributes
    ----------
    tariff
        Its name.
    start, end
        The span. [datetime64, UTC]
    lines
        What is charged, network first.
    charge_options
        Every way in which the network charge could be reckoned, open or not.
    charge_option
        The one that was taken: the cheapest that is open; empty if there is only one rule.
    energy, peak
        Energy taken [MWh] and greatest import [MW].
    utilisation_hours
        Hours of use of a year, those of a part of one projected. [h]
    notes
        What else is to be said.
    """

    tariff: str
    start: np.datetime64
    end: np.datetime64
    lines: tuple[BillLine, ...]
    charge_options: tuple[NetworkChargeOption, ...]
    charge_option: str
    energy: float
    peak: float
    utilisation_hours: float
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> Decimal:
        """Sum of the bill. [EUR]"""
        return round_to_cents(sum((line.money for line in self.lines), Decimal(0)))


def bills_by_year(
    tariffs: Mapping[str, Tariff], starts: InstantArray, power: FloatArray, *, time_zone: str
) -> tuple[NetworkBill, ...]:
    """Return one bill per year and tariff that was in force, in the order of time.

    Parameters
    ----------
    tariffs
        Name -> tariff.
    starts
        Starts of quarter-hours, UTC, rising and without holes. [datetime64]
    power
        Mean import less export in each. [MW]
    time_zone
        IANA zone of the site.

    Raises
    ------
    SeriesError
        If a quarter-hour is missing, or no tariff is in force.
    """
    check_quarter_hours(starts, power)
    year = month_numbers(starts, time_zone) // MONTHS_PER_YEAR
    parts = [
        (tariff, here & (year == one))
        for tariff, here in valid_tariffs(tariffs, starts, time_zone)
        for one in np.unique(year[here]).tolist()
    ]
    found = [compute_bill(t, starts[here], power[here], time_zone=time_zone) for t, here in parts]
    return tuple(sorted(found, key=lambda one: one.start))


PUBLISHED_CHARGE = "published"


def network_charge_options(metered: MeteredImport) -> tuple[NetworkChargeOption, ...]:
    """Return all ways in which the network charge of a tariff may be reckoned, none if it has none.

    Parameters
    ----------
    metered
        What was taken. Hours of use and energy are those of a year: of a part of one, projected.
    """
    prices = metered.tariff.utilisation
    if prices is None:
        return ()
    found = [_published(metered, prices)]
    day = metered.first_day
    atypical, band = metered.tariff.atypical, metered.tariff.band_load
    if atypical and atypical.is_valid_on(day):
        found.append(_atypical(metered, prices, atypical, published=found[0].money))
    if band and band.is_valid_on(day):
        found.append(_band(metered, band, found[0]))
    return tuple(found)


def utilisation_hours(energy: float, peak: float) -> Decimal:
    """Return the hours in which a peak would have taken an energy, both as bills count them. [h]

    Parameters
    ----------
    energy
        Energy of a year. [MWh]
    peak
        Its greatest import. [MW]

    Notes
    -----
    Meters count whole kW and kWh, so that 7,000 h are met to the letter: no rounding of floats may
    decide on a discount.
    """
    greatest = billed_quantity(peak)
    return billed_quantity(energy) / greatest if greatest else Decimal(0)


def annual_utilisation_hours(metered: MeteredImport) -> Decimal:
    """Return the hours of use of a year, of a part of one those that it projects. [h]"""
    return utilisation_hours(metered.energy() / metered.time_share, metered.peak())


def rebate_class(
    band: ConstantLoadRebate, hours: Decimal, energy: float | None
) -> ConstantLoadClass | None:
    """Return the class of the discount that a year reaches.

    Parameters
    ----------
    band
        The rule.
    hours
        Hours of use. [h]
    energy
        Energy of the year; None where it is not known, and so is taken to be enough. [MWh]
    """
    if energy is not None and billed_quantity(energy) <= declared_decimal(band.least_energy):
        return None
    reached = [one for one in band.classes if hours >= declared_decimal(one.hours)]
    return min(reached, key=lambda one: one.share, default=None)


def prices_for_utilisation(prices: UtilisationPrices, hours: Decimal) -> tuple[float, float]:
    """Return what power [EUR MW-1] and energy [EUR MWh-1] cost at some hours of use. [h]"""
    if hours >= declared_decimal(prices.limit):
        return prices.power_price, prices.energy_price
    return prices.power_price_below, prices.energy_price_below


def _published(metered: MeteredImport, prices: UtilisationPrices) -> NetworkChargeOption:
    hours = annual_utilisation_hours(metered)
    side = "from" if hours >= declared_decimal(prices.limit) else "below"
    lines = _lines(metered, prices, metered.peak())
    return NetworkChargeOption(
        name=PUBLISHED_CHARGE,
        lines=lines,
        note=f"{_told(hours)} of use: prices {side} {prices.limit:,g} h",
    )


def _lines(metered: MeteredImport, prices: UtilisationPrices, peak: float) -> tuple[BillLine, ...]:
    power, energy = prices_for_utilisation(prices, annual_utilisation_hours(metered))
    writer = BillWriter(metered)
    return (
        writer.line(
            "network power",
            billed_quantity(peak),
            "MW",
            price=declared_decimal(power),
            share=metered.year_share,
        ),
        writer.line(
            "network energy",
            billed_quantity(metered.energy()),
            "MWh",
            price=declared_decimal(energy),
        ),
    )


def _atypical(
    metered: MeteredImport, prices: UtilisationPrices, rule: AtypicalUse, *, published: Decimal
) -> NetworkChargeOption:
    inside = metered.clock.in_any_window(rule.windows)
    peak, low = metered.peak(), metered.peak(inside)
    whole, below = billed_quantity(peak), billed_quantity(peak) - billed_quantity(low)
    is_low = below >= max(
        declared_decimal(rule.least_shift) * whole, declared_decimal(rule.least_power)
    )
    lines = _lines(metered, prices, low)
    least = declared_decimal(rule.least_share) * published
    short = least - sum((line.money for line in lines), Decimal(0))
    if short > 0:
        words = f"raised to {_percent(rule.least_share)} of the published charge"
        lines += (BillWriter(metered).line(words, short, "EUR", price=Decimal(1)),)
    note = (
        f"peak in the windows {low:.3f} MW, {below / (whole or 1):.1%} below the year's; "
        f"needs {_percent(rule.least_shift)} and {rule.least_power:g} MW"
    )
    if not inside.any():
        note = "no quarter-hour lies in a window: nothing can be said"
    return NetworkChargeOption(
        name="atypical", lines=lines, note=note, is_eligible=is_low and bool(inside.any())
    )


def _band(
    metered: MeteredImport, band: ConstantLoadRebate, published: NetworkChargeOption
) -> NetworkChargeOption:
    hours = annual_utilisation_hours(metered)
    energy = metered.energy() / metered.time_share
    reached = rebate_class(band, hours, energy)
    note = f"{_told(hours)} of use and {energy:,.0f} MWh of a year"
    if reached is None:
        first = min(band.classes, key=lambda one: one.hours)
        note += f"; needs {first.hours:,g} h and more than {band.least_energy:,.0f} MWh"
        return NetworkChargeOption(
            name="band_load", lines=published.lines, note=note, is_eligible=False
        )
    words = f"band load of {reached.hours:g} h: {_percent(reached.share)} is paid"
    saved = declared_decimal(reached.share) - 1
    line = BillWriter(metered).line(words, published.money, "EUR", price=saved)
    return NetworkChargeOption(name="band_load", lines=(*published.lines, line), note=note)


def _told(hours: Decimal) -> str:
    """Return hours of use in whole ones, never more than they are: what is not met looks so."""
    return f"{int(hours):,} h"


def _percent(share: float) -> str:
    """Return a declared share as people write it: 12.5 stays 12.5."""
    return f"{100.0 * share:g}%"


def compute_bill(
    tariff: Tariff, starts: InstantArray, power: FloatArray, *, time_zone: str
) -> NetworkBill:
    """Return what a tariff charges for some quarter-hours.

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

    Returns
    -------
    NetworkBill
        In decimal money, energy in whole kWh and power in whole kW, rounded half up, each line or
        the sum in whole cents. A price of a year is charged by the share of the year that is
        billed.

    Raises
    ------
    SeriesError
        If a quarter-hour is missing or not a number.
    """
    metered = MeteredImport(tariff, starts, power, time_zone=time_zone)
    writer = BillWriter(metered)
    ways = network_charge_options(metered)
    taken = min((way for way in ways if way.is_eligible), key=lambda way: way.money, default=None)
    lines = [*(taken.lines if taken else ()), *writer.energy(), *writer.peaks()]
    lines += [*writer.contracted(), *writer.standing()]
    lines += writer.taxes(sum((line.money for line in lines), Decimal(0)))
    dated = {tariff.name: tariff, "atypical": tariff.atypical, "band_load": tariff.band_load}
    notes = [f"{name}: {rule.status}, {rule.source}" for name, rule in dated.items() if rule]
    if metered.year_share < 1:
        notes.append("a part of a year: hours of use and energy of the year are projected")
    if any(price.of == "month" for price in tariff.peaks):
        notes += _partial(metered, starts[0], time_zone)
    if fed := int((power < 0.0).sum()):
        notes.append(
            f"in {fed:,} quarter-hours more was fed in than taken: they count as no import"
        )
    return NetworkBill(
        tariff=tariff.name,
        start=starts[0],
        end=metered.end,
        lines=tuple(lines),
        charge_options=ways,
        charge_option=taken.name if taken else "",
        energy=metered.energy(),
        peak=metered.peak(),
        utilisation_hours=float(annual_utilisation_hours(metered)),
        notes=tuple(notes),
    )


def _partial(metered: MeteredImport, start: np.datetime64, time_zone: str) -> Iterator[str]:
    """Yield what is to be said of a month of which a part is billed, as one of UTC in Europe."""
    months = [month for month, _ in metered.by_month()]
    last = metered.end - QUARTER_HOUR
    ends = {months[0]: start == month_start(start, time_zone)}
    ends[months[-1]] = ends.get(months[-1], True) and metered.end == month_end(last, time_zone)
    for month, is_whole in ends.items():
        if not is_whole:
            yield f"{month} is billed in part (months are those of {time_zone}), its peak whole"
