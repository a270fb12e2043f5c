"""Texts with units become numbers, and nothing else does."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from twin.errors import UnitError
from twin.units import Quantity, format_unit, parse_quantity


class Machine(BaseModel):
    """A machine with one parameter of each sort."""

    power: Annotated[float, Quantity("MW", "rated power", above=0)] = 1.0
    count: Annotated[int, Quantity("1", "number of units", at_least=1)] = 1
    share: Annotated[float, Quantity("1", "share", at_least=0, at_most=1)] = 0.5


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("5.2 MW", "MW", 5.2),
        ("5200 kW", "MW", 5.2),
        ("35 degC", "degC", 35.0),
        ("308.15 K", "degC", 35.0),
        ("7 K", "K", 7.0),
        ("5 %", "1", 0.05),
        ("0.05", "1", 0.05),
        ("12 EUR/MWh", "EUR MWh-1", 12.0),
        ("0.012 EUR/kWh", "EUR MWh-1", 12.0),
        ("3600 kg/h", "kg s-1", 1.0),
        ("500 m^3", "m3", 500.0),
        ("500 m3", "m3", 500.0),
        ("63 MVA", "MVA", 63.0),
        ("-1e-3 MW", "MW", -0.001),
    ],
)
def test_text_becomes_a_canonical_number(text: str, unit: str, number: float) -> None:
    assert parse_quantity(text, unit) == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize(
    ("unit", "people"),
    [
        ("EUR MWh-1", "EUR/MWh"),
        ("EUR MW-1 h-1", "EUR/MW/h"),
        ("EUR m-3", "EUR/m3"),
        ("kg s-1", "kg/s"),
        ("MW/min", "MW/min"),
        ("MWh", "MWh"),
        ("1", "1"),
    ],
)
def test_unit_is_written_as_it_is_read(unit: str, people: str) -> None:
    """Proves: people read EUR/MWh, and what they read may be copied into a site file."""
    assert format_unit(unit) == people
    assert parse_quantity(f"7 {people}", unit) == 7.0


def test_dimensionless_values_need_no_unit() -> None:
    """Proves: "53.4 N" of latitude is refused with the advice to write a number."""
    with pytest.raises(UnitError, match="write a number without a unit"):
        parse_quantity("53.4 N", "1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5.2", "name the unit"),
        ("5.2 MWh", "use a unit that converts to MW"),
        ("MW", "write a number and a unit"),
        ("5.2 bananas", "use a unit that converts to MW"),
        ("5 MW; import os", "use a unit that converts to MW"),
        ("", "write a number and a unit"),
        ("20,5 MW", 'write "20.5 MW": numbers have a decimal point'),
        ("0,005 MW", 'write "0.005 MW"'),
        ("3,300 kW", 'write "3300 kW" or "3.300 kW"'),  # thousands, or three decimals
        ("1,234,567 W", 'write "1234567 W"'),
        ("1,234.5 kW", 'write "1234.5 kW"'),
        ("1.234,5 kW", 'write "1234.5 kW"'),
        ("-1,5e3 kW", 'write "-1.5e3 kW"'),
        ("12 €/MWh", 'write EUR, as in "12 EUR/MWh"'),
        ("12,5 Euro/MWh", 'write "12.5 EUR/MWh"'),
    ],
)
def test_invalid_texts_are_refused_with_a_remedy(text: str, words: str) -> None:
    with pytest.raises(UnitError, match=words):
        parse_quantity(text, "MW")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("power", 5.2, "write the unit"),
        ("power", "-3 MW", r"must be above 0 MW \["),
        ("power", "-3 kW", "must be above 0 MW; -3 kW is -0.003 MW"),
        ("share", "150 %", "must be at most 1; 150 % is 1.5"),
        ("share", "2", r"must be at most 1 \["),
        ("power", "nan MW", "write a number"),
        ("power", True, "write a text with a unit"),
        ("power", None, "write a text with a unit"),
        ("count", "2.5", "whole number"),
        ("share", 1.5, "must be at most 1"),
        ("share", float("nan"), "finite"),
    ],
)
def test_parameter_refuses_invalid_values(field: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Machine.model_validate({field: value})


class Contract(BaseModel):
    """Prices and a difference without bounds of their own, and with some."""

    approach: Annotated[float, Quantity("K", "of two waters", above=0)] = 2.0
    rise: Annotated[float, Quantity("K", "of water")] = 0.0

    energy: Annotated[float, Quantity("EUR MWh-1", "for energy")] = 0.0
    peak: Annotated[float, Quantity("EUR MW-1", "for the peak", at_least=0)] = 0.0
    cells: Annotated[float, Quantity("EUR MWh-1", "for cells", above=0, at_most=1e7)] = 1.0


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("energy", "1e9 EUR/MWh", "must be at most 10000 EUR/MWh"),
        ("energy", "-1e9 EUR/MWh", "must be at least -10000 EUR/MWh"),
        ("energy", "11 EUR/kWh", "must be at most 10000 EUR/MWh"),
        ("peak", "1001 EUR/kW", r"must be at most 1e\+06 EUR/MW"),
        ("peak", "-1 EUR/kW", "must be at least 0 EUR/MW"),
        ("cells", "1e8 EUR/MWh", r"must be at most 1e\+07 EUR/MWh"),
        ("cells", "0 EUR/MWh", "must be above 0 EUR/MWh"),
        ("approach", "2 degC", "must be at most 100 K; 2 degC is 275.15 K"),
        ("approach", "36 degF", "must be at most 100 K"),
        ("rise", "-101 K", "must be at least -100 K"),
    ],
)
def test_price_bounds_depend_on_the_unit(field: str, value: str, words: str) -> None:
    """Proves: whether or not a declaration says so, no price is greater than any market's.

    Nor is a temperature taken for a difference.
    """
    with pytest.raises(ValidationError, match=words):
        Contract.model_validate({field: value})


def test_prices_of_real_contracts_are_accepted() -> None:
    """Proves: 10 EUR/kWh either way, 1,000 EUR/kW, cells of 120 EUR/kWh."""
    given = {"energy": "-10 EUR/kWh", "peak": "1000 EUR/kW", "cells": "120 EUR/kWh"}
    contract = Contract.model_validate(given)
    assert (contract.energy, contract.peak, contract.cells) == (-1e4, 1e6, 1.2e5)


def test_parameter_accepts_texts_and_canonical_numbers() -> None:
    assert Machine.model_validate({"power": "5200 kW", "count": 3, "share": "20 %"}) == Machine(
        power="5.2 MW",  # type: ignore[arg-type]  # pydantic reads the text
        count=3,
        share=0.2,
    )
    assert Machine.model_validate({"power": 5.2}, context={"canonical": True}).power == 5.2
