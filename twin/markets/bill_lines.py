"""What the meter of a connection showed, as a bill wants it.

Money and quantities as bills write them: decimal, rounded half up.

Lines of a bill: one rule, its quantity, its price, and the money that they make.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twin.errors import SeriesError, ValidationIssue
from twin.markets.tariffs import (
    InstantArray,
    Tariff,
    TariffCalendar,
    month_end,
    month_numbers,
    month_start,
    year_bounds,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.time_axes import HOUR, QUARTER_HOUR, local_midnight
from twin.units import MAX_IMPORT_POWER_MW, format_minute

MONTHS_PER_YEAR_DECIMAL = Decimal(12)


class MeteredImport:
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
        self, tariff: Tariff, starts: InstantArray, power: FloatArray, *, time_zone: str
    ) -> None:
        check_quarter_hours(starts, power)
        self.tariff, self.time_zone = tariff, time_zone
        self.starts, self.import_power = starts, np.maximum(power, 0.0)
        self.clock = TariffCalendar(starts, time_zone, holidays=tariff.holidays)

    @cached_property
    def end(self) -> np.datetime64:
        """End of the last quarter-hour. [datetime64, UTC]"""
        return np.datetime64(self.starts[-1] + QUARTER_HOUR, "us")

    @cached_property
    def first_day(self) -> date:
        """First day of the site's calendar that is billed."""
        first: date = self.clock.days[0].item()
        return first

    @cached_property
    def time_class(self) -> NDArray[np.int64]:
        """Number of the time class of each quarter-hour. [1]"""
        return self.clock.time_class(self.tariff.periods)

    @cached_property
    def month_number(self) -> NDArray[np.int64]:
        """Number of the month of each quarter-hour. [1]"""
        return month_numbers(self.starts, self.time_zone)

    def energy(self, where: BoolArray | None = None) -> float:
        """Return the energy taken, where it is asked for. [MWh]"""
        chosen = self.import_power if where is None else self.import_power[where]
        return float(chosen.sum()) * float(QUARTER_HOUR / HOUR)

    def peak(self, where: BoolArray | None = None) -> float:
        """Return the greatest import, where it is asked for. [MW]"""
        chosen = self.import_power if where is None else self.import_power[where]
        return float(chosen.max(initial=0.0))

    def by_month(self) -> Iterator[tuple[str, BoolArray]]:
        """Yield each month's name, ``YYYY-MM``, and which quarter-hours lie in it."""
        for month in np.unique(self.month_number).tolist():
            yield f"{month // 12}-{month % 12 + 1:02d}", self.month_number == month

    @cached_property
    def time_share(self) -> float:
        """Share of the year that was metered. [1]"""
        begin, end = year_bounds(self.starts[0], self.time_zone)
        return len(self.starts) / float((end - begin) / QUARTER_HOUR)

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
            yield (
                Decimal(int(inside.sum()))
                / Decimal(int(whole / QUARTER_HOUR))
                / MONTHS_PER_YEAR_DECIMAL
            )

    def _days(self) -> Iterator[Decimal]:
        """Yield the same of each day: one of 23 or 25 hours is a day as any other."""
        days, counts = np.unique(self.clock.days, return_counts=True)
        ends = pd.DatetimeIndex(np.append(days, days[-1] + np.timedelta64(1, "D")))
        edges = np.array([local_midnight(day, self.time_zone) for day in ends])
        for day, count, whole in zip(days, counts, np.diff(edges) / QUARTER_HOUR, strict=True):
            year = day.astype("datetime64[Y]")
            length = (year + np.timedelta64(1, "Y")).astype(day.dtype) - year.astype(day.dtype)
            yield Decimal(int(count)) / Decimal(int(whole)) / Decimal(int(length.astype(int)))


def check_quarter_hours(starts: InstantArray, power: FloatArray, *, source: str = "meter") -> None:
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
    remedy = "a bill needs every quarter-hour once, in order"
    issues = []
    steps = np.diff(starts)
    if not len(starts) or len(starts) != len(power):
        issues.append(
            ValidationIssue(location=source, found=f"{len(starts)} quarter-hours", remedy=remedy)
        )
    elif (steps != QUARTER_HOUR).any():
        hole = starts[int(np.argmax(steps != QUARTER_HOUR))]
        issues.append(
            ValidationIssue(
                location=f"{source}, after {format_minute(hole)}",
                found="no quarter-hour",
                remedy=remedy,
            )
        )
    elif (starts[0] - starts[0].astype("datetime64[h]")) % QUARTER_HOUR:
        remedy = "a bill's quarter-hours begin at 00, 15, 30 and 45; write the start of each"
        issues.append(
            ValidationIssue(location=source, found=format_minute(starts[0]), remedy=remedy)
        )
    elif not np.isfinite(power).all():
        wrong = starts[int(np.argmin(np.isfinite(power)))]
        issues.append(
            ValidationIssue(
                location=f"{source}, {format_minute(wrong)}", found="not a number", remedy=remedy
            )
        )
    elif (np.abs(power) > MAX_IMPORT_POWER_MW).any():
        most = int(np.argmax(np.abs(power)))
        remedy = f"no connection carries more than {MAX_IMPORT_POWER_MW:,.0f} MW; look at the unit"
        place, value = f"{source}, {format_minute(starts[most])}", f"{power[most]:g} MW"
        issues.append(ValidationIssue(location=place, found=value, remedy=remedy))
    if issues:
        raise SeriesError(source, issues)


CENT_EUR: Final = Decimal("0.01")
BILLED_STEP: Final = Decimal("0.001")
"""A kWh of a MWh, a kW of a MW: what meters and bills count in."""

MONEY_RESOLUTION_EUR: Final = Decimal("1e-12")
"""Less than this is what division left over. [EUR]"""

SIGNIFICANT_DIGITS: Final = 12
"""Significant digits of a number that a file gave; a float carries three or four more. [1]"""


def declared_decimal(value: float) -> Decimal:
    """Return a declared number as it was written: 12.3, not 12.300000000000001."""
    return Decimal(f"{value:.{SIGNIFICANT_DIGITS}g}")


def billed_quantity(value: float) -> Decimal:
    """Return a quantity in whole kWh of MWh, or whole kW of MW."""
    return declared_decimal(value).quantize(BILLED_STEP, rounding=ROUND_HALF_UP)


def round_to_cents(money: Decimal) -> Decimal:
    """Return money in whole cents. [EUR]

    A twelfth of a year has no end of digits: what lies that near to half a cent is half a cent.
    """
    return money.quantize(MONEY_RESOLUTION_EUR).quantize(CENT_EUR, rounding=ROUND_HALF_UP)


LineGroup = Literal["network", "levy", "standing", "tax"]


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """One line of a bill.

    Attributes
    ----------
    rule
        What is charged.
    quantity, unit
        How much of what.
    price, price_unit
        Price of a unit, in words of the rule. [EUR]
    money
        What is charged: rounded where the tariff rounds every line. [EUR]
    group
        Network, levy, standing charge or tax.
    """

    rule: str
    quantity: Decimal
    unit: str
    price: Decimal
    price_unit: str
    money: Decimal
    group: LineGroup = "network"


class BillWriter:
    """Writes lines as a tariff rounds them."""

    def __init__(self, metered: MeteredImport) -> None:
        self.metered = metered
        self.rounds = metered.tariff.rounding == "line"

    def line(
        self,
        rule: str,
        quantity: Decimal,
        unit: str,
        *,
        price: Decimal,
        per: str = "",
        share: Decimal = Decimal(1),
        group: LineGroup = "network",
    ) -> BillLine:
        """Return a line; of a price of a year a share is charged. [EUR]"""
        money = quantity * price * share
        if share != 1:
            rule = f"{rule}, {share:.4f} of a year"
        return BillLine(
            rule=rule,
            quantity=quantity,
            unit=unit,
            price=price,
            price_unit=per or f"EUR/{unit}",
            money=round_to_cents(money) if self.rounds else money,
            group=group,
        )

    def energy(self) -> Iterator[BillLine]:
        """Yield the lines of energy: for each price, those of its time classes."""
        periods = self.metered.tariff.periods
        for price in self.metered.tariff.energy:
            numbers = [n for n, period in enumerate(periods) if period.name in price.periods]
            where = np.isin(self.metered.time_class, numbers) if price.periods else None
            yield self.line(
                price.name,
                billed_quantity(self.metered.energy(where)),
                "MWh",
                price=declared_decimal(price.price),
                group="levy" if price.is_levy else "network",
            )

    def peaks(self) -> Iterator[BillLine]:
        """Yield the charges on the peak of each month, or of the year."""
        for price in self.metered.tariff.peaks:
            counts = self.metered.clock.in_any_window(price.windows)
            if price.of == "year":
                peak, share = self.metered.peak(counts), self.metered.year_share
                yield self.line(
                    price.name,
                    billed_quantity(peak),
                    "MW",
                    price=declared_decimal(price.price),
                    share=share,
                )
                continue
            for month, inside in self.metered.by_month():
                peak = self.metered.peak(inside & counts)
                yield self.line(
                    f"{price.name} {month}",
                    billed_quantity(peak),
                    "MW",
                    price=declared_decimal(price.price),
                )

    def contracted(self) -> Iterator[BillLine]:
        """Yield the contracted powers, and by month what went beyond them."""
        metered = self.metered
        for contract in metered.tariff.contracted:
            yield self.line(
                f"contracted power {contract.period}",
                billed_quantity(contract.power),
                "MW",
                price=declared_decimal(contract.price),
                share=metered.year_share,
            )
        for rule, power, price in _excesses(metered):
            yield self.line(rule, billed_quantity(power), "MW", price=declared_decimal(price))

    def standing(self) -> Iterator[BillLine]:
        """Yield what is paid whatever is taken."""
        for charge in self.metered.tariff.standing:
            share = self.metered.year_share
            price = declared_decimal(charge.price)
            yield self.line(
                charge.name, Decimal(1), "year", price=price, share=share, group="standing"
            )

    def taxes(self, subtotal: Decimal) -> Iterator[BillLine]:
        """Yield the taxes, each on all that stands above it. [EUR]"""
        for tax in self.metered.tariff.taxes:
            line = self.line(
                tax.name, subtotal, "EUR", price=declared_decimal(tax.share), group="tax"
            )
            subtotal += line.money
            yield line


def excess_charges(metered: MeteredImport) -> Iterator[tuple[str, float, float]]:
    """Yield what went beyond each contracted power in each month, and what it comes to.

    Parameters
    ----------
    metered
        What was taken.

    Yields
    ------
    tuple of str and float
        The rule, what the excess counts as [MW], and its price with the taxes above it. [EUR MW-1]
    """
    for rule, power, price in _excesses(metered):
        yield rule, power, price * metered.tariff.tax_factor


def _excesses(metered: MeteredImport) -> Iterator[tuple[str, float, float]]:
    """Yield the same at the price that stands on the line."""
    tariff = metered.tariff
    for contract in tariff.contracted:
        numbers = [n for n, period in enumerate(tariff.periods) if period.name == contract.period]
        inside = np.isin(metered.time_class, numbers)
        for month, of_month in metered.by_month():
            over = np.maximum(metered.import_power[inside & of_month] - contract.power, 0.0)
            if over.any():
                is_greatest = tariff.excess == "greatest"
                power = over.max() if is_greatest else np.sqrt((over**2).sum())
                rule = f"excess power {contract.period} {month}"
                yield rule, float(power), contract.excess_price
