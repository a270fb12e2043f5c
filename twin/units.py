"""Canonical units, and the conversion of texts such as "5.2 MW" to numbers.

Inside the project a quantity is a bare float in its canonical unit. Texts with units occur only at
the boundaries (site files, command line, sources). Only this module uses pint. It also bounds
prices, carbon and temperature differences: greater values have a wrong unit or decimal point, and
would dominate the objective of a plan.
"""

import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, get_args

import numpy as np
import pint
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from twin.errors import IssueCode, SiteError, UnitError, ValidationIssue

ZERO_CELSIUS_K: Final = 273.15
"""0 degC in kelvin. [K]"""

KW_PER_MW: Final = 1000.0
"""Kilowatts of a megawatt. [kW MW-1]"""

W_PER_MW: Final = 1e6
"""Watts of a megawatt, as VA of an MVA and var of an Mvar. [W MW-1]"""

MICROSECONDS_PER_MS: Final = 1000
"""Microseconds of a millisecond. [us ms-1]"""

MICROSECONDS_PER_S: Final = 1_000_000
"""Microseconds of a second; numpy is slower with its own times than with numbers. [us s-1]"""

MILLISECONDS_PER_HOUR: Final = 3_600_000
"""Milliseconds of an hour. [ms h-1]"""

SECONDS_PER_HOUR: Final = 3600
"""Seconds of an hour. [s h-1]"""

MINUTES_PER_HOUR: Final = 60.0
"""Minutes of an hour. [min h-1]"""

MINUTES_PER_DAY: Final = 1440
"""Minutes of a day by the clock. [min d-1]"""

HOURS_PER_DAY: Final = 24
"""Hours of a day by the clock. [h d-1]"""

QUARTER_HOURS_PER_DAY: Final = 96
"""Quarter-hours of a day by the clock. [d-1]"""

QUARTER_HOUR_H: Final = 0.25
"""Length of a quarter-hour. [h]"""

_QUANTITY_TEXT: Final = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")
_COMMAS: Final = re.compile(r"^\s*([-+]?\d[\d.]*,[\d.,]*\d(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")
_THOUSANDS: Final = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
_EURO: Final = re.compile(r"€|\b[Ee]uros?\b|\beur\b")
_ALIASES: Final = {"%": "percent", "": "dimensionless", "1": "dimensionless"}
_EXPONENT: Final = re.compile(r"(?<=[A-Za-z])(-?\d+)")
_BELOW: Final = re.compile(r" ([A-Za-z]+)-(\d)")


def format_unit(unit: str) -> str:
    """Return a canonical unit for display: "EUR MWh-1" becomes "EUR/MWh"."""
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
    """Return the number of a text with a unit, in the canonical unit. [``unit``]"""
    _check_spelling(text)
    match = _QUANTITY_TEXT.match(text)
    if match is None:
        remedy = f'write a number and a unit, as in "5.2 {format_unit(unit)}"'
        raise _unit_error(text, remedy, IssueCode.INVALID_FORMAT)
    number, text_unit = match.groups()
    if not text_unit and unit != "1":
        raise _unit_error(text, f'name the unit, as in "{number} {format_unit(unit)}"')
    registry = _registry()
    try:
        quantity = registry.Quantity(float(number), _expression(text_unit))
        return float(quantity.to(_expression(unit)).magnitude)
    except Exception as error:  # pint raises many kinds, also those of Python's parser
        remedy = f"use a unit that converts to {format_unit(unit)}"
        if unit == "1":
            remedy = "write a number without a unit"
        raise _unit_error(text, remedy) from error


def _check_spelling(text: str) -> None:
    """Raise a UnitError for commas in numbers and for other names of EUR."""
    commas = _COMMAS.match(text)
    if commas is not None:
        number, text_unit = commas.groups()
        unit = _EURO.sub("EUR", text_unit)
        readings = " or ".join(f'"{f"{one} {unit}".strip()}"' for one in _without_comma(number))
        remedy = f"write {readings}: numbers have a decimal point and no comma"
        raise _unit_error(text, remedy, IssueCode.INVALID_FORMAT)
    if _EURO.search(text):
        raise _unit_error(text, f'write EUR, as in "{_EURO.sub("EUR", text)}"')


def _without_comma(number: str) -> list[str]:
    """Return the possible readings of a number with commas: 3,300 is 3300 or 3.300."""
    whole = number.replace(",", "")
    if number.count(",") > 1 or number.find(",") < number.rfind("."):
        return [whole]
    parted = number.replace(".", "").replace(",", ".")
    return [whole, parted] if _THOUSANDS.fullmatch(number) else [parted]


def _expression(unit: str) -> str:
    """Return the unit in pint's grammar: "kg s-1" becomes "kg*s**-1"."""
    if unit in _ALIASES:
        return _ALIASES[unit]
    return "*".join(_EXPONENT.sub(r"**\1", unit).split())


def _unit_error(text: str, remedy: str, code: IssueCode = IssueCode.WRONG_UNIT) -> UnitError:
    return UnitError.single(
        "quantity", code, "text", found=repr(text), expected="a number with a unit", remedy=remedy
    )


@dataclass(frozen=True)
class ParameterDescription:
    """Description of a parameter without a unit, inside ``Annotated[str, ...]``."""

    description: str


@dataclass(frozen=True)
class Quantity:
    """Unit, meaning and bounds of a parameter, inside ``Annotated[float, ...]``.

    Pydantic uses it to read a text with a unit. A bare number is an error if the quantity has a
    unit, unless the validation context is ``{"canonical": True}`` (for values already converted).

    - `unit`: canonical unit; ``"1"`` for a share or a factor.
    - `meaning`: what the parameter is, in a sentence fragment.
    - `above`, `at_least`, `below`, `at_most`: bounds in the canonical unit. Prices and temperature
      differences have, by default, the bound of their unit in :data:`twin.units.MAX_BY_UNIT`, with
      either sign.
    """

    unit: str
    meaning: str
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        """Bound prices and temperature differences to plausible values."""
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
        for bound, is_within, relation in (
            (self.above, operator.gt, "above"),
            (self.at_least, operator.ge, "at least"),
            (self.below, operator.lt, "below"),
            (self.at_most, operator.le, "at most"),
        ):
            if bound is not None and not is_within(number, bound):
                shown = f"{bound:g} {format_unit(self.unit)}".removesuffix(" 1")
                raise PydanticCustomError(
                    "quantity", f"must be {relation} {shown}{self._converted_text(value, number)}"
                )
        return number

    def _converted_text(self, value: object, number: float) -> str:
        """Return the converted value of a text in another unit, such as 18 K as -255.15 degC."""
        if not isinstance(value, str):
            return ""
        match = _QUANTITY_TEXT.match(value)
        if match is None or match[2] in {"", self.unit, format_unit(self.unit)}:
            return ""
        return f"; {value.strip()} is {number:.5g} {format_unit(self.unit)}".removesuffix(" 1")

    def _number(self, value: Any, is_canonical: bool) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            remedy = f'write a text with a unit, as in "5 {format_unit(self.unit)}"'
            if self.unit == "1":
                remedy = "write a number without a unit"
            raise PydanticCustomError(IssueCode.WRONG_TYPE.value, remedy)
        if isinstance(value, str):
            try:
                return parse_quantity(value, self.unit)
            except UnitError as error:
                issue = error.issues[0]
                raise PydanticCustomError(issue.code.value, issue.remedy) from error
        if self.unit != "1" and not is_canonical:
            remedy = f'write the unit, as in "{value:g} {format_unit(self.unit)}"'
            raise PydanticCustomError(IssueCode.WRONG_UNIT.value, remedy)
        try:
            return float(value)
        except OverflowError as error:
            raise PydanticCustomError("quantity", "must be a finite number") from error


MAX_BY_UNIT: Final[Mapping[str, float]] = {
    "EUR MWh-1": 1e4,  # limits of European markets are 4,000 to 9,999
    "EUR MW-1 h-1": 1e4,
    "EUR MW-1": 1e6,  # per month or year: 1,000 EUR for each kW
    "EUR kg-1": 100.0,
    "EUR m-3": 1e4,
    "EUR GB-1": 100.0,
    "K": 100.0,  # a temperature written in K exceeds it
}
"""Unit -> largest plausible absolute value; the default bound of all quantities in this unit."""

MAX_ENERGY_PRICE_EUR_MWH: Final = MAX_BY_UNIT["EUR MWh-1"]
"""Maximum price of energy, and of lateness. [EUR MWh-1; EUR MWh-1 h-1]"""

MAX_STORAGE_PRICE_EUR_MWH: Final = 1e7
"""Maximum price of storage capacity: 10,000 EUR per kWh. [EUR MWh-1]"""

MAX_START_COST_EUR: Final = 1e5
"""Maximum cost of a start of one machine. [EUR]"""

MAX_STANDING_CHARGE_EUR: Final = 1e9
"""Maximum standing charge per year. [EUR]"""

MAX_IMPORT_POWER_MW: Final = 1e6
"""Maximum power of a connection's meter: more than the load of Europe. [MW]"""

MAX_CARBON_INTENSITY_KG_MWH: Final = 3e3
"""Maximum carbon intensity of electricity: three times that of coal. [kg MWh-1]"""

MAX_OBJECTIVE_WEIGHTS: Final[Mapping[str, tuple[float, str]]] = {
    "money": (1e3, "1"),
    "carbon": (MAX_BY_UNIT["EUR kg-1"], "EUR kg-1"),
    "water": (MAX_BY_UNIT["EUR m-3"], "EUR m-3"),
    "lateness": (MAX_ENERGY_PRICE_EUR_MWH, "EUR MWh-1 h-1"),
    "waiting": (MAX_ENERGY_PRICE_EUR_MWH, "EUR MWh-1 h-1"),
}
"""Objective term -> its maximum weight and the unit of this."""


def format_minute(moment: np.datetime64) -> str:
    """Return a moment to the minute, as ``2026-07-01T00:00Z``."""
    return f"{np.datetime_as_string(moment, unit='m')}Z"


def format_second(moment: np.datetime64) -> str:
    """Return a moment to the second, as ``2026-07-01T00:00:00Z``."""
    return f"{np.datetime_as_string(moment, unit='s')}Z"


class Declaration(BaseModel):
    """A frozen set of parameters, each with unit, meaning and bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **values: object) -> None:
        """Check the values: texts with units, or bare numbers in canonical units.

        Raises SiteError with an issue for each wrong value. Files are read by ``model_validate``,
        which requires units.
        """
        try:
            self.__pydantic_validator__.validate_python(
                values, self_instance=self, context={"canonical": True}
            )
        except ValidationError as error:
            name = type(self).__name__
            raise SiteError(
                name, [_declaration_issue(name, item) for item in error.errors()]
            ) from error

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pydantic's own mark


def _declaration_issue(name: str, item: ErrorDetails) -> ValidationIssue:
    """Return an error of pydantic as an issue of a declaration."""
    kind = item["type"]
    codes = {"missing": IssueCode.MISSING, "extra_forbidden": IssueCode.UNKNOWN_KEY}
    is_code = kind in IssueCode
    return ValidationIssue(
        code=IssueCode(kind) if is_code else codes.get(kind, IssueCode.OUT_OF_RANGE),
        location=".".join([name, *map(str, item["loc"])]),
        found="" if kind in codes else repr(item["input"]),
        expected="a parameter as in docs/reference/equipment.md",
        remedy=item["msg"].removeprefix("Value error, "),
    )


def declared_quantity(field: FieldInfo) -> Quantity | None:
    """Return the declared quantity of a parameter, or None if it has none."""
    return _quantity((field.annotation, *field.metadata))


def _quantity(notes: tuple[object, ...]) -> Quantity | None:
    """Return the first quantity, also in ``Annotated[float, Quantity(...)] | None``."""
    for note in notes:
        found = note if isinstance(note, Quantity) else _quantity(get_args(note))
        if found:
            return found
    return None
