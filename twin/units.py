"""Canonical units, and the one place where texts such as "5.2 MW" become numbers.

Inside the house a quantity is a bare float in its canonical unit; texts with units live at the
edges only (site files, command line, sources). pint is reached here and nowhere else.

What prices, carbon and differences of temperature can be: beyond, a unit or a point is wrong.

Greater numbers would also drown all others in a plan's sums.
"""

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pint
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from twin.errors import UnitError, ValidationIssue

ZERO_CELSIUS_K: Final = 273.15
"""Zero degC. [K]"""

_TEXT: Final = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")
_COMMAS: Final = re.compile(r"^\s*([-+]?\d[\d.]*,[\d.,]*\d(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")
_THOUSANDS: Final = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_EURO: Final = re.compile(r"€|\b[Ee]uros?\b|\beur\b")
_ALIASES: Final = {"%": "percent", "": "dimensionless", "1": "dimensionless"}
_POWER: Final = re.compile(r"(?<=[A-Za-z])(-?\d+)")
_BELOW: Final = re.compile(r" ([A-Za-z]+)-(\d)")


def format_unit(unit: str) -> str:
    """Return a canonical unit as people write it: "EUR MWh-1" becomes "EUR/MWh".

    Parameters
    ----------
    unit
        A canonical unit.

    Returns
    -------
    str
        What :func:`canonical` reads as the same unit.
    """
    return _BELOW.sub(lambda found: f"/{found[1]}{found[2].removeprefix('1')}", unit)


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry[float]:
    registry: pint.UnitRegistry[float] = pint.UnitRegistry()
    registry.define("EUR = [currency]")
    registry.define("MVA = megavolt_ampere")
    registry.define("kVA = kilovolt_ampere")
    return registry


@lru_cache(maxsize=4096)
def parse_quantity(text: str, unit: str) -> float:
    """Return the number that a text with a unit means in the canonical unit.

    Parameters
    ----------
    text
        A number and its unit, such as ``"5.2 MW"`` or ``"35 degC"``. A bare number is understood
        only where the canonical unit is ``"1"``.
    unit
        The canonical unit of the quantity.

    Returns
    -------
    float
        The value. [``unit``]

    Raises
    ------
    UnitError
        If the text has no number, a comma in it, no unit, or a unit of another dimension.
    """
    _check_spelling(text)
    match = _TEXT.match(text)
    if match is None:
        raise UnitError(
            "quantity",
            [_fault(text, f'write a number and a unit, as in "5.2 {format_unit(unit)}"')],
        )
    number, given = match.groups()
    if not given and unit != "1":
        remedy = f'name the unit, as in "{number} {format_unit(unit)}"'
        raise UnitError("quantity", [_fault(text, remedy)])
    registry = _registry()
    try:
        quantity = registry.Quantity(float(number), _expression(given))
        return float(quantity.to(_expression(unit)).magnitude)
    except Exception as error:  # pint raises many kinds, also of Python's own parser
        remedy = f"use a unit that converts to {format_unit(unit)}"
        if unit == "1":
            remedy = "write a number without a unit"
        raise UnitError("quantity", [_fault(text, remedy)]) from error


def _check_spelling(text: str) -> None:
    """Refuse commas in numbers, and other names of EUR: there it can be told what is meant."""
    commas = _COMMAS.match(text)
    if commas is not None:
        number, given = commas.groups()
        unit = _EURO.sub("EUR", given)
        ways = " or ".join(f'"{f"{way} {unit}".strip()}"' for way in _without_comma(number))
        raise UnitError(
            "quantity", [_fault(text, f"numbers have a point and no comma: write {ways}")]
        )
    if _EURO.search(text):
        remedy = f'EUR is written EUR: write "{_EURO.sub("EUR", text)}"'
        raise UnitError("quantity", [_fault(text, remedy)])


def _without_comma(number: str) -> list[str]:
    """Return what a number with commas may mean: 20,5 is 20.5, and 3,300 may be 3300 or 3.300."""
    whole = number.replace(",", "")
    if number.count(",") > 1 or number.find(",") < number.rfind("."):
        return [whole]
    parted = number.replace(".", "").replace(",", ".")
    return [whole, parted] if _THOUSANDS.fullmatch(number) else [parted]


def _expression(unit: str) -> str:
    """Return the unit in pint's grammar: "kg s-1" becomes "kg*s**-1"."""
    if unit in _ALIASES:
        return _ALIASES[unit]
    return "*".join(_POWER.sub(r"**\1", unit).split())


def _fault(text: str, remedy: str) -> ValidationIssue:
    return ValidationIssue(location="text", found=repr(text), remedy=remedy)


@dataclass(frozen=True)
class ParameterDescription:
    """Declare what a parameter without unit is, inside ``Annotated[str, ...]``; see Quantity."""

    description: str


@dataclass(frozen=True)
class Quantity:
    """Declare a parameter with unit, meaning and bounds, inside ``Annotated[float, ...]``.

    Pydantic reads a text with a unit through it. A bare number is a fault where the quantity has a
    unit, unless the validation context says ``{"canonical": True}`` (for values already converted).

    Attributes
    ----------
    unit
        Canonical unit; ``"1"`` for a share or a factor.
    meaning
        What the parameter is, in one sentence fragment.
    above, at_least, below, at_most
        Bounds in the canonical unit. A price or a difference of temperatures without one, either
        way, has that of its unit in :data:`twin.units.MAX_BY_UNIT`.
    """

    unit: str
    meaning: str
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """Bound prices and differences, so that none is believed that no market or water knows."""
        greatest = MAX_BY_UNIT.get(self.unit)
        if greatest is not None and self.below is None and self.at_most is None:
            object.__setattr__(self, "at_most", greatest)
        if greatest is not None and self.above is None and self.at_least is None:
            object.__setattr__(self, "at_least", -greatest)

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return pydantic's schema: parse the text, convert, check the bounds."""
        check = self._validate_whole if source is int else self._validate
        return core_schema.with_info_plain_validator_function(check)

    def _validate_whole(self, value: Any, info: core_schema.ValidationInfo) -> int:
        number = self._validate(value, info)
        if number != int(number):
            raise PydanticCustomError("quantity", "must be a whole number")
        return int(number)

    def _validate(self, value: Any, info: core_schema.ValidationInfo) -> float:
        number = self._number(value, bool((info.context or {}).get("canonical")))
        if not math.isfinite(number):
            raise PydanticCustomError("quantity", "must be a finite number")
        for bound, holds, word in (
            (self.above, operator.gt, "above"),
            (self.at_least, operator.ge, "at least"),
            (self.below, operator.lt, "below"),
            (self.at_most, operator.le, "at most"),
        ):
            if bound is not None and not holds(number, bound):
                shown = f"{bound:g} {format_unit(self.unit)}".removesuffix(" 1")
                raise PydanticCustomError(
                    "quantity", f"must be {word} {shown}{self._meant(value, number)}"
                )
        return number

    def _meant(self, value: object, number: float) -> str:
        """Return what a text in another unit comes to, as 18 K are -255.15 degC."""
        if not isinstance(value, str):
            return ""
        match = _TEXT.match(value)
        if match is None or match[2] in {"", self.unit, format_unit(self.unit)}:
            return ""
        return f"; {value.strip()} is {number:.5g} {format_unit(self.unit)}".removesuffix(" 1")

    def _number(self, value: Any, is_canonical: bool) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            remedy = f'write it as a text, as in "5 {format_unit(self.unit)}"'
            if self.unit == "1":
                remedy = "write a number without a unit"
            raise PydanticCustomError("quantity", remedy)
        if isinstance(value, str):
            try:
                return parse_quantity(value, self.unit)
            except UnitError as error:
                raise PydanticCustomError("quantity", error.issues[0].remedy) from error
        if self.unit != "1" and not is_canonical:
            raise PydanticCustomError(
                "quantity", f'a bare number has no unit; write "{value:g} {format_unit(self.unit)}"'
            )
        try:
            return float(value)
        except OverflowError as error:
            raise PydanticCustomError("quantity", "must be a finite number") from error


MAX_BY_UNIT: Final[Mapping[str, float]] = {
    "EUR MWh-1": 1e4,  # European markets close at 4,000 to 9,999
    "EUR MW-1 h-1": 1e4,
    "EUR MW-1": 1e6,  # of a month or a year: 1,000 EUR for each kW
    "EUR kg-1": 100.0,
    "EUR m-3": 1e4,
    "EUR GB-1": 100.0,
    "K": 100.0,  # 2 degC is 275 K, and no difference
}
"""Unit -> the greatest that is believed, either way. Everything declared in it has this bound."""

MAX_ENERGY_PRICE_EUR_MWH: Final = MAX_BY_UNIT["EUR MWh-1"]
"""Greatest price of energy; of lateness too. [EUR MWh-1; EUR MWh-1 h-1]"""

MAX_STORAGE_PRICE_EUR_MWH: Final = 1e7
"""Greatest price of storage capacity: 10,000 EUR for each kWh. [EUR MWh-1]"""

MAX_START_COST_EUR: Final = 1e5
"""Greatest cost of a start of one machine. [EUR]"""

MAX_STANDING_CHARGE_EUR: Final = 1e9
"""Greatest charge of a year that is paid whatever is taken. [EUR]"""

MAX_IMPORT_POWER_MW: Final = 1e6
"""Greatest power that a meter of a connection shows: all that Europe takes, and more. [MW]"""

MAX_CARBON_INTENSITY_KG_MWH: Final = 3e3
"""Greatest carbon intensity of electricity: three times that of coal. [kg MWh-1]"""

MAX_OBJECTIVE_WEIGHTS: Final[Mapping[str, tuple[float, str]]] = {
    "money": (1e3, "1"),
    "carbon": (MAX_BY_UNIT["EUR kg-1"], "EUR kg-1"),
    "water": (MAX_BY_UNIT["EUR m-3"], "EUR m-3"),
    "lateness": (MAX_ENERGY_PRICE_EUR_MWH, "EUR MWh-1 h-1"),
}
"""What a plan may weigh -> the most that it may, and the unit of that."""


def format_minute(moment: np.datetime64) -> str:
    """Return a moment in words, to the minute, as ``2026-07-01T00:00Z``."""
    return f"{np.datetime_as_string(moment, unit='m')}Z"


def format_second(moment: np.datetime64) -> str:
    """Return a moment in words, to the second, as ``2026-07-01T00:00:00Z``."""
    return f"{np.datetime_as_string(moment, unit='s')}Z"


class Declaration(BaseModel):
    """A frozen set of parameters, each declared once with unit, meaning and bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
