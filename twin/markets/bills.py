"""Network bills: charges by utilisation hours, the two discounts on them, and the whole bill.

Input are quarter-hours of import; output are lines with cents.
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
    """One rule by which a network charge may be computed.

    ``name`` is ``published``, ``atypical`` or ``band_load``; ``note`` says why the option is
    eligible or not.
    """

    name: str
    lines: tuple[BillLine, ...]
    note: str
    is_eligible: bool = True

    @property
    def money(self) -> Decimal:
        """Total charge. [EUR]"""
        return sum((line.money for line in self.lines), Decimal(0))


@dataclass(frozen=True, kw_only=True)
class NetworkBill:
    """The charges of a tariff for a span of time.

    - `start`, `end`: the span. [datetime64, UTC]
    - `lines`: all charges, the network's first.
    - `charge_options`: all options of the network charge, eligible or not.
    - `charge_option`: name of the cheapest eligible option; empty if the tariff has no options.
    - `energy`, `peak`: imported energy [MWh] and greatest import [MW].
    - `utilisation_hours`: utilisation hours of the year, projected if only a part is billed. [h]
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
    """Return one bill per year and valid tariff, in order of time.

    ``starts`` are UTC starts of quarter-hours, rising and without gaps [datetime64]; ``power`` is
    the mean import less export in each [MW].
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


PUBLISHED_CHARGE_OPTION = "published"


def network_charge_options(metered: MeteredImport) -> tuple[NetworkChargeOption, ...]:
    """Return all options of a tariff's network charge; none if it has no such charge."""
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
    """Return yearly energy [MWh] over peak [MW], both in the resolution of bills. [h]

    Meters count whole kW and kWh, so that 7,000 h are met exactly: rounding of floats must not
    decide on a discount.
    """
    greatest = billed_quantity(peak)
    return billed_quantity(energy) / greatest if greatest else Decimal(0)


def annual_utilisation_hours(metered: MeteredImport) -> Decimal:
    """Return the utilisation hours of the year, projected from a part of it. [h]"""
    return utilisation_hours(metered.energy() / metered.metered_year_share, metered.peak())


def rebate_class(
    band: ConstantLoadRebate, hours: Decimal, energy: float | None
) -> ConstantLoadClass | None:
    """Return the rebate class that a year reaches, or None.

    ``hours`` are utilisation hours [h]; ``energy`` is that of the year [MWh], None if it is unknown
    and assumed sufficient.
    """
    if energy is not None and billed_quantity(energy) <= declared_decimal(band.least_energy):
        return None
    reached = [one for one in band.classes if hours >= declared_decimal(one.hours)]
    return min(reached, key=lambda one: one.share, default=None)


def prices_for_utilisation(prices: UtilisationPrices, hours: Decimal) -> tuple[float, float]:
    """Return power [EUR MW-1] and energy price [EUR MWh-1] at given utilisation hours. [h]"""
    if hours >= declared_decimal(prices.limit):
        return prices.power_price, prices.energy_price
    return prices.power_price_below, prices.energy_price_below


def _published(metered: MeteredImport, prices: UtilisationPrices) -> NetworkChargeOption:
    hours = annual_utilisation_hours(metered)
    side = "from" if hours >= declared_decimal(prices.limit) else "below"
    lines = _lines(metered, prices, metered.peak())
    return NetworkChargeOption(
        name=PUBLISHED_CHARGE_OPTION,
        lines=lines,
        note=f"{_format_hours(hours)} of use: prices {side} {prices.limit:,g} h",
    )


def _lines(metered: MeteredImport, prices: UtilisationPrices, peak: float) -> tuple[BillLine, ...]:
    power, energy = prices_for_utilisation(prices, annual_utilisation_hours(metered))
    writer, share = BillWriter(metered), metered.billed_year_share
    quantity = billed_quantity(metered.energy())
    return (
        writer.power_line("network power", peak, power, share=share),
        writer.line("network energy", quantity, "MWh", price=declared_decimal(energy)),
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
    min_charge = declared_decimal(rule.least_share) * published
    shortfall = min_charge - sum((line.money for line in lines), Decimal(0))
    if shortfall > 0:
        label = f"raised to {_percent(rule.least_share)} of the published charge"
        lines += (BillWriter(metered).line(label, shortfall, "EUR", price=Decimal(1)),)
    note = (
        f"peak in the windows {low:.3f} MW, {below / (whole or 1):.1%} below the year's; "
        f"needs {_percent(rule.least_shift)} and {rule.least_power:g} MW"
    )
    if not inside.any():
        note = "no quarter-hour lies in a window: the rule cannot be applied"
    return NetworkChargeOption(
        name="atypical", lines=lines, note=note, is_eligible=is_low and bool(inside.any())
    )


def _band(
    metered: MeteredImport, band: ConstantLoadRebate, published: NetworkChargeOption
) -> NetworkChargeOption:
    hours = annual_utilisation_hours(metered)
    energy = metered.energy() / metered.metered_year_share
    reached = rebate_class(band, hours, energy)
    note = f"{_format_hours(hours)} of use and {energy:,.0f} MWh of a year"
    if reached is None:
        first = min(band.classes, key=lambda one: one.hours)
        note += f"; needs {first.hours:,g} h and more than {band.least_energy:,.0f} MWh"
        return NetworkChargeOption(
            name="band_load", lines=published.lines, note=note, is_eligible=False
        )
    label = f"band load of {reached.hours:g} h: {_percent(reached.share)} is paid"
    saved = declared_decimal(reached.share) - 1
    line = BillWriter(metered).line(label, published.money, "EUR", price=saved)
    return NetworkChargeOption(name="band_load", lines=(*published.lines, line), note=note)


def _format_hours(hours: Decimal) -> str:
    """Return whole hours, rounded down so that a missed threshold is visible."""
    return f"{int(hours):,} h"


def _percent(share: float) -> str:
    """Return a declared share as a percentage without needless digits."""
    return f"{100.0 * share:g}%"


def compute_bill(
    tariff: Tariff, starts: InstantArray, power: FloatArray, *, time_zone: str
) -> NetworkBill:
    """Return the bill of a tariff for quarter-hours.

    ``starts`` are UTC starts of quarter-hours, rising and without gaps [datetime64]; ``power`` is
    the mean import less export in each [MW].
    """
    metered = MeteredImport(tariff, starts, power, time_zone=time_zone)
    writer = BillWriter(metered)
    options = network_charge_options(metered)
    eligible = (option for option in options if option.is_eligible)
    cheapest = min(eligible, key=lambda option: option.money, default=None)
    lines = [
        *(cheapest.lines if cheapest else ()),
        *writer.energy_lines(),
        *writer.demand_charge_lines(),
    ]
    lines += [*writer.contracted_power_lines(), *writer.standing()]
    lines += writer.taxes(sum((line.money for line in lines), Decimal(0)))
    dated = {tariff.name: tariff, "atypical": tariff.atypical, "band_load": tariff.band_load}
    notes = [f"{name}: {rule.status}, {rule.source}" for name, rule in dated.items() if rule]
    if metered.billed_year_share < 1:
        notes.append("part of a year: utilisation hours and yearly energy are projected")
    if any(price.of == "month" for price in tariff.peaks):
        notes += _partial_months(metered, starts[0], time_zone)
    if exporting := int((power < 0.0).sum()):
        notes.append(
            f"{exporting:,} quarter-hours have more export than import: they count as zero import"
        )
    return NetworkBill(
        tariff=tariff.name,
        start=starts[0],
        end=metered.end,
        lines=tuple(lines),
        charge_options=options,
        charge_option=cheapest.name if cheapest else "",
        energy=metered.energy(),
        peak=metered.peak(),
        utilisation_hours=float(annual_utilisation_hours(metered)),
        notes=tuple(notes),
    )


def _partial_months(metered: MeteredImport, start: np.datetime64, time_zone: str) -> Iterator[str]:
    """Yield a note for each month that is billed in part."""
    months = [month for month, _ in metered.by_month()]
    last = metered.end - QUARTER_HOUR
    ends = {months[0]: start == month_start(start, time_zone)}
    ends[months[-1]] = ends.get(months[-1], True) and metered.end == month_end(last, time_zone)
    for month, is_whole in ends.items():
        if not is_whole:
            yield f"{month} is billed in part (months follow {time_zone}), but its peak in full"
