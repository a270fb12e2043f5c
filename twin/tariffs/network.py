"""Network charges by hours of use, and the two discounts on them: atypical use and band load."""

from dataclasses import dataclass
from decimal import Decimal

from twin.tariffs.declaration import AtypicalUse, BandClass, BandLoad, UtilisationPrices
from twin.tariffs.lines import Line, Writer
from twin.tariffs.metered import Metered
from twin.tariffs.money import counted, decimal

PLAIN = "published"


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One way in which a network charge may be reckoned.

    Attributes
    ----------
    name
        ``published``, ``atypical`` or ``band_load``.
    lines
        Its lines.
    note
        Why it is open, or why not.
    is_open
        Whether what was taken meets its conditions.
    """

    name: str
    lines: tuple[Line, ...]
    note: str
    is_open: bool = True

    @property
    def money(self) -> Decimal:
        """What it charges. [EUR]"""
        return sum((line.money for line in self.lines), Decimal(0))


def branches(metered: Metered) -> tuple[Branch, ...]:
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
    day = metered.day
    atypical, band = metered.tariff.atypical, metered.tariff.band_load
    if atypical and atypical.holds_on(day):
        found.append(_atypical(metered, prices, atypical, published=found[0].money))
    if band and band.holds_on(day):
        found.append(_band(metered, band, found[0]))
    return tuple(found)


def hours_of_use(energy: float, peak: float) -> Decimal:
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
    greatest = counted(peak)
    return counted(energy) / greatest if greatest else Decimal(0)


def hours_of(metered: Metered) -> Decimal:
    """Return the hours of use of a year, of a part of one those that it projects. [h]"""
    return hours_of_use(metered.energy() / metered.time_share, metered.peak())


def class_of(band: BandLoad, hours: Decimal, energy: float | None) -> BandClass | None:
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
    if energy is not None and counted(energy) <= decimal(band.least_energy):
        return None
    reached = [one for one in band.classes if hours >= decimal(one.hours)]
    return min(reached, key=lambda one: one.share, default=None)


def prices_at(prices: UtilisationPrices, hours: Decimal) -> tuple[float, float]:
    """Return what power [EUR MW-1] and energy [EUR MWh-1] cost at some hours of use. [h]"""
    if hours >= decimal(prices.limit):
        return prices.power_price, prices.energy_price
    return prices.power_price_below, prices.energy_price_below


def _published(metered: Metered, prices: UtilisationPrices) -> Branch:
    hours = hours_of(metered)
    side = "from" if hours >= decimal(prices.limit) else "below"
    lines = _lines(metered, prices, metered.peak())
    return Branch(
        name=PLAIN, lines=lines, note=f"{_told(hours)} of use: prices {side} {prices.limit:,g} h"
    )


def _lines(metered: Metered, prices: UtilisationPrices, peak: float) -> tuple[Line, ...]:
    power, energy = prices_at(prices, hours_of(metered))
    writer = Writer(metered)
    return (
        writer.line(
            "network power", counted(peak), "MW", price=decimal(power), share=metered.year_share
        ),
        writer.line("network energy", counted(metered.energy()), "MWh", price=decimal(energy)),
    )


def _atypical(
    metered: Metered, prices: UtilisationPrices, rule: AtypicalUse, *, published: Decimal
) -> Branch:
    inside = metered.clock.within_any(rule.windows)
    peak, low = metered.peak(), metered.peak(inside)
    whole, below = counted(peak), counted(peak) - counted(low)
    is_low = below >= max(decimal(rule.least_shift) * whole, decimal(rule.least_power))
    lines = _lines(metered, prices, low)
    least = decimal(rule.least_share) * published
    short = least - sum((line.money for line in lines), Decimal(0))
    if short > 0:
        words = f"raised to {_percent(rule.least_share)} of the published charge"
        lines += (Writer(metered).line(words, short, "EUR", price=Decimal(1)),)
    note = (
        f"peak in the windows {low:.3f} MW, {below / (whole or 1):.1%} below the year's; "
        f"needs {_percent(rule.least_shift)} and {rule.least_power:g} MW"
    )
    if not inside.any():
        note = "no quarter-hour lies in a window: nothing can be said"
    return Branch(name="atypical", lines=lines, note=note, is_open=is_low and bool(inside.any()))


def _band(metered: Metered, band: BandLoad, published: Branch) -> Branch:
    hours = hours_of(metered)
    energy = metered.energy() / metered.time_share
    reached = class_of(band, hours, energy)
    note = f"{_told(hours)} of use and {energy:,.0f} MWh of a year"
    if reached is None:
        first = min(band.classes, key=lambda one: one.hours)
        note += f"; needs {first.hours:,g} h and more than {band.least_energy:,.0f} MWh"
        return Branch(name="band_load", lines=published.lines, note=note, is_open=False)
    words = f"band load of {reached.hours:g} h: {_percent(reached.share)} is paid"
    saved = decimal(reached.share) - 1
    line = Writer(metered).line(words, published.money, "EUR", price=saved)
    return Branch(name="band_load", lines=(*published.lines, line), note=note)


def _told(hours: Decimal) -> str:
    """Return hours of use in whole ones, never more than they are: what is not met looks so."""
    return f"{int(hours):,} h"


def _percent(share: float) -> str:
    """Return a declared share as people write it: 12.5 stays 12.5."""
    return f"{100.0 * share:g}%"
