"""Lines of a bill: one rule, its quantity, its price, and the money that they make."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import numpy as np

from twin.tariffs.metered import Metered
from twin.tariffs.money import cents, counted, decimal

Group = Literal["network", "levy", "standing", "tax"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a bill.

    Attributes
    ----------
    rule
        What is charged.
    quantity, unit
        How much of what.
    price, per
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
    per: str
    money: Decimal
    group: Group = "network"


class Writer:
    """Writes lines as a tariff rounds them."""

    def __init__(self, metered: Metered) -> None:
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
        group: Group = "network",
    ) -> Line:
        """Return a line; of a price of a year a share is charged. [EUR]"""
        money = quantity * price * share
        if share != 1:
            rule = f"{rule}, {share:.4f} of a year"
        return Line(
            rule=rule,
            quantity=quantity,
            unit=unit,
            price=price,
            per=per or f"EUR/{unit}",
            money=cents(money) if self.rounds else money,
            group=group,
        )

    def energy(self) -> Iterator[Line]:
        """Yield the lines of energy: for each price, those of its time classes."""
        periods = self.metered.tariff.periods
        for price in self.metered.tariff.energy:
            numbers = [n for n, period in enumerate(periods) if period.name in price.periods]
            where = np.isin(self.metered.period, numbers) if price.periods else None
            yield self.line(
                price.name,
                counted(self.metered.energy(where)),
                "MWh",
                price=decimal(price.price),
                group="levy" if price.is_levy else "network",
            )

    def peaks(self) -> Iterator[Line]:
        """Yield the charges on the peak of each month, or of the year."""
        for price in self.metered.tariff.peaks:
            counts = self.metered.clock.within_any(price.windows)
            if price.of == "year":
                peak, share = self.metered.peak(counts), self.metered.year_share
                yield self.line(
                    price.name, counted(peak), "MW", price=decimal(price.price), share=share
                )
                continue
            for month, inside in self.metered.by_month():
                peak = self.metered.peak(inside & counts)
                yield self.line(
                    f"{price.name} {month}", counted(peak), "MW", price=decimal(price.price)
                )

    def contracted(self) -> Iterator[Line]:
        """Yield the contracted powers, and by month what went beyond them."""
        metered = self.metered
        for contract in metered.tariff.contracted:
            yield self.line(
                f"contracted power {contract.period}",
                counted(contract.power),
                "MW",
                price=decimal(contract.price),
                share=metered.year_share,
            )
        for rule, power, price in _excesses(metered):
            yield self.line(rule, counted(power), "MW", price=decimal(price))

    def standing(self) -> Iterator[Line]:
        """Yield what is paid whatever is taken."""
        for charge in self.metered.tariff.standing:
            share = self.metered.year_share
            price = decimal(charge.price)
            yield self.line(
                charge.name, Decimal(1), "year", price=price, share=share, group="standing"
            )

    def taxes(self, so_far: Decimal) -> Iterator[Line]:
        """Yield the taxes, each on all that stands above it. [EUR]"""
        for tax in self.metered.tariff.taxes:
            line = self.line(tax.name, so_far, "EUR", price=decimal(tax.share), group="tax")
            so_far += line.money
            yield line


def excess_of(metered: Metered) -> Iterator[tuple[str, float, float]]:
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
        yield rule, power, price * metered.tariff.taxed


def _excesses(metered: Metered) -> Iterator[tuple[str, float, float]]:
    """Yield the same at the price that stands on the line."""
    tariff = metered.tariff
    for contract in tariff.contracted:
        numbers = [n for n, period in enumerate(tariff.periods) if period.name == contract.period]
        inside = np.isin(metered.period, numbers)
        for month, of_month in metered.by_month():
            over = np.maximum(metered.taken[inside & of_month] - contract.power, 0.0)
            if over.any():
                is_greatest = tariff.excess == "greatest"
                power = over.max() if is_greatest else np.sqrt((over**2).sum())
                rule = f"excess power {contract.period} {month}"
                yield rule, float(power), contract.excess_price
