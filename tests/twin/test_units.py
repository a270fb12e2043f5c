"""Texts with units become numbers, and nothing else does."""

from typing import Annotated

import pytest
from pydantic import BaseModel, ValidationError

from twin.errors import UnitError
from twin.units import Quantity, canonical


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
def test_text_becomes_canonical(text: str, unit: str, number: float) -> None:
    assert canonical(text, unit) == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5.2", "name the unit"),
        ("5.2 MWh", "use a unit that converts to MW"),
        ("MW", "write a number and a unit"),
        ("5.2 bananas", "use a unit that converts to MW"),
        ("5 MW; import os", "use a unit that converts to MW"),
        ("", "write a number and a unit"),
    ],
)
def test_other_texts_are_refused_with_the_mend(text: str, words: str) -> None:
    with pytest.raises(UnitError, match=words):
        canonical(text, "MW")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("power", 5.2, "a bare number has no unit"),
        ("power", "-3 MW", "must be above 0 MW"),
        ("power", "nan MW", "write a number"),
        ("power", True, "write it as a text"),
        ("power", None, "write it as a text"),
        ("count", "2.5", "whole number"),
        ("share", 1.5, "must be at most 1"),
        ("share", float("nan"), "finite"),
    ],
)
def test_a_parameter_refuses(field: str, value: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Machine.model_validate({field: value})


def test_a_parameter_takes_texts_and_canonical_numbers() -> None:
    assert Machine.model_validate({"power": "5200 kW", "count": 3, "share": "20 %"}) == Machine(
        power="5.2 MW",  # type: ignore[arg-type]  # pydantic reads the text
        count=3,
        share=0.2,
    )
    assert Machine.model_validate({"power": 5.2}, context={"canonical": True}).power == 5.2
