"""Lines of a network bill, computed from metered quarter-hours in decimal arithmetic.

Each line has a rule, a quantity, a price and an amount of money. Bills round half up.
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

from twin.errors import IssueCode, SeriesError
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
    """Metered quarter-hours of import under one tariff.

    Raises SeriesError if quarter-hours are absent or missing, or a power is not finite.

    - `starts`: UTC starts of quarter-hours, rising and without gaps. [datetime64]
    - `power`: mean import less export in each. [MW]
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
        """First billed day of the site's calendar."""
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
        """Return the imported energy, in the quarter-hours of a mask if given. [MWh]"""
        chosen = self.import_power if where is None else self.import_power[where]
        return float(chosen.sum()) * float(QUARTER_HOUR / HOUR)

    def peak(self, where: BoolArray | None = None) -> float:
        """Return the greatest import, in the quarter-hours of a mask if given. [MW]"""
        chosen = self.import_power if where is None else self.import_power[where]
        return float(chosen.max(initial=0.0))

    def by_month(self) -> Iterator[tuple[str, BoolArray]]:
        """Yield the name of each month, ``YYYY-MM``, and the mask of its quarter-hours."""
        for month in np.unique(self.month_number).tolist():
            yield f"{month // 12}-{month % 12 + 1:02d}", self.month_number == month

    @cached_property
    def metered_year_share(self) -> float:
        """Share of the year that was metered. [1]"""
        begin, end = year_bounds(self.starts[0], self.time_zone)
        return len(self.starts) / float((end - begin) / QUARTER_HOUR)

    @cached_property
    def billed_year_share(self) -> Decimal:
        """Billed share of a year: a twelfth per month, or its share per day. [1]"""
        parts = self._days() if self.tariff.year_by == "days" else self._months()
        return sum(parts, Decimal(0)).quantize(Decimal("1e-20")).normalize()

    def _months(self) -> Iterator[Decimal]:
        """Yield the billed share of the year for each month, in proportion to its metered part."""
        for _, inside in self.by_month():
            first = self.starts[inside][0]
            whole = month_end(first, self.time_zone) - month_start(first, self.time_zone)
            yield (
                Decimal(int(inside.sum()))
                / Decimal(int(whole / QUARTER_HOUR))
                / MONTHS_PER_YEAR_DECIMAL
            )

    def _days(self) -> Iterator[Decimal]:
        """Yield the billed share of the year for each day; a day of 23 or 25 hours is one day."""
        days, counts = np.unique(self.clock.days, return_counts=True)
        ends = pd.DatetimeIndex(np.append(days, days[-1] + np.timedelta64(1, "D")))
        edges = np.array([local_midnight(day, self.time_zone) for day in ends])
        for day, count, whole in zip(days, counts, np.diff(edges) / QUARTER_HOUR, strict=True):
            year = day.astype("datetime64[Y]")
            length = (year + np.timedelta64(1, "Y")).astype(day.dtype) - year.astype(day.dtype)
            yield Decimal(int(count)) / Decimal(int(whole)) / Decimal(int(length.astype(int)))


def check_quarter_hours(starts: InstantArray, power: FloatArray, *, source: str = "meter") -> None:
    """Raise a SeriesError unless quarter-hours are complete, in order and plausible.

    ``starts`` are the starts of quarter-hours [datetime64]; ``power`` is the mean power in each
    [MW].
    """
    complete = "every quarter-hour once, in order"
    issues = []
    steps = np.diff(starts)
    if not len(starts) or len(starts) != len(power):
        issues.append(
            IssueCode.MISSING.issue(
                source,
                found=f"{len(starts)} quarter-hours, {len(power)} values",
                expected=complete,
                remedy="add the missing quarter-hours",
            )
        )
    elif (steps != QUARTER_HOUR).any():
        gap = starts[int(np.argmax(steps != QUARTER_HOUR))]
        issues.append(
            IssueCode.TIME_GAP.issue(
                f"{source}, after {format_minute(gap)}",
                found="no quarter-hour",
                expected=complete,
                remedy="add the missing quarter-hours, and sort them by time",
            )
        )
    elif (starts[0] - starts[0].astype("datetime64[h]")) % QUARTER_HOUR:
        issues.append(
            IssueCode.OUT_OF_RANGE.issue(
                source,
                found=format_minute(starts[0]),
                expected="starts at minute 00, 15, 30 or 45",
                remedy="write the start of each quarter-hour",
            )
        )
    elif not np.isfinite(power).all():
        wrong = starts[int(np.argmin(np.isfinite(power)))]
        issues.append(
            IssueCode.NOT_FINITE.issue(
                f"{source}, {format_minute(wrong)}",
                found="not a number",
                expected=complete,
                remedy="write the mean power of this quarter-hour",
            )
        )
    elif (np.abs(power) > MAX_IMPORT_POWER_MW).any():
        largest = int(np.argmax(np.abs(power)))
        issues.append(
            IssueCode.OUT_OF_RANGE.issue(
                f"{source}, {format_minute(starts[largest])}",
                found=f"{power[largest]:g} MW",
                expected=f"at most {MAX_IMPORT_POWER_MW:,.0f} MW",
                remedy="check the unit of the meter",
            )
        )
    SeriesError.raise_if_any(source, issues)


CENT_EUR: Final = Decimal("0.01")
BILLING_RESOLUTION: Final = Decimal("0.001")
"""Resolution of meters and bills: a kWh or a kW. [MWh or MW]"""

MONEY_RESOLUTION_EUR: Final = Decimal("1e-12")
"""Amounts are rounded to this before cents, to remove the remainder of divisions. [EUR]"""

DECLARED_SIGNIFICANT_DIGITS: Final = 12
"""Significant digits of a declared number; a float has three or four more. [1]"""


def declared_decimal(value: float) -> Decimal:
    """Return a declared number as written: 12.3, not 12.300000000000001."""
    return Decimal(f"{value:.{DECLARED_SIGNIFICANT_DIGITS}g}")


def billed_quantity(value: float) -> Decimal:
    """Return a quantity in whole kWh of MWh, or whole kW of MW."""
    return declared_decimal(value).quantize(BILLING_RESOLUTION, rounding=ROUND_HALF_UP)


def round_to_cents(money: Decimal) -> Decimal:
    """Return money in whole cents. [EUR]

    A twelfth of a year has infinitely many digits: amounts within rounding of half a cent count as
    half.
    """
    return money.quantize(MONEY_RESOLUTION_EUR).quantize(CENT_EUR, rounding=ROUND_HALF_UP)


LineGroup = Literal["network", "levy", "standing", "tax"]


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """One line of a bill.

    ``price`` is per ``price_unit`` [EUR]; ``money`` is the charge, rounded if the tariff rounds
    each line [EUR].
    """

    rule: str
    quantity: Decimal
    unit: str
    price: Decimal
    price_unit: str
    money: Decimal
    group: LineGroup = "network"


class BillWriter:
    """Creates bill lines with the rounding of the tariff."""

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
        share: Decimal = Decimal(1),
        group: LineGroup = "network",
    ) -> BillLine:
        """Return a bill line; ``share`` is the billed share of a yearly price. [EUR]"""
        money = quantity * price * share
        if share != 1:
            rule = f"{rule}, {share:.4f} of a year"
        return BillLine(
            rule=rule,
            quantity=quantity,
            unit=unit,
            price=price,
            price_unit=f"EUR/{unit}",
            money=round_to_cents(money) if self.rounds else money,
            group=group,
        )

    def power_line(
        self, rule: str, power: float, price: float, *, share: Decimal = Decimal(1)
    ) -> BillLine:
        """Return the line of a power [MW] at a declared price [EUR MW-1]; see :meth:`line`."""
        quantity = billed_quantity(power)
        return self.line(rule, quantity, "MW", price=declared_decimal(price), share=share)

    def energy_lines(self) -> Iterator[BillLine]:
        """Yield the energy lines of each price, for its time classes."""
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

    def demand_charge_lines(self) -> Iterator[BillLine]:
        """Yield the demand charges of each month or year."""
        for price in self.metered.tariff.peaks:
            counts = self.metered.clock.in_any_window(price.windows)
            if price.of == "year":
                peak, share = self.metered.peak(counts), self.metered.billed_year_share
                yield self.power_line(price.name, peak, price.price, share=share)
                continue
            for month, inside in self.metered.by_month():
                peak = self.metered.peak(inside & counts)
                yield self.power_line(f"{price.name} {month}", peak, price.price)

    def contracted_power_lines(self) -> Iterator[BillLine]:
        """Yield the contracted powers, and the excess above them by month."""
        metered = self.metered
        for contract in metered.tariff.contracted:
            rule, share = f"contracted power {contract.period}", metered.billed_year_share
            yield self.power_line(rule, contract.power, contract.price, share=share)
        for rule, power, price in excess_charges(metered):
            yield self.power_line(rule, power, price)

    def standing(self) -> Iterator[BillLine]:
        """Yield the standing charges."""
        for charge in self.metered.tariff.standing:
            share = self.metered.billed_year_share
            price = declared_decimal(charge.price)
            yield self.line(
                charge.name, Decimal(1), "year", price=price, share=share, group="standing"
            )

    def taxes(self, subtotal: Decimal) -> Iterator[BillLine]:
        """Yield the taxes; each applies to everything above it. [EUR]"""
        for tax in self.metered.tariff.taxes:
            line = self.line(
                tax.name, subtotal, "EUR", price=declared_decimal(tax.share), group="tax"
            )
            subtotal += line.money
            yield line


def excess_charges(metered: MeteredImport) -> Iterator[tuple[str, float, float]]:
    """Yield the rule, counted excess power [MW] and its price before taxes [EUR MW-1], by month."""
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
