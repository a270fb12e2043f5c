"""Single failures of a site and their names."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final

from twin.equipment import (
    CduBank,
    ChilledWaterTank,
    CoolingPlant,
    HeatReuse,
    TransformerBank,
    UpsBank,
)
from twin.errors import IssueCode, ProblemError
from twin.site import Site

_DIGITS: Final = re.compile(r"\d+")
_MAX_SUGGESTIONS: Final = 3  # similar names that an error proposes


class FailedPart(StrEnum):
    """The part of a machine that fails."""

    CDU = "CDU"
    CDU_PUMP = "pump of a CDU"
    PUMP = "pump"
    REJECTION = "cooler"
    CHILLER = "chiller"
    PLANT = "whole plant"
    POWER = "power supply"
    BLOCK = "block"
    TRANSFORMER = "transformer"
    HEAT_PUMP = "heat pump"
    TANK = "tank"


_WHOLE: Final = {FailedPart.PLANT, FailedPart.POWER}
_MACHINES: Final = {FailedPart.HEAT_PUMP, FailedPart.TANK}


@dataclass(frozen=True, kw_only=True)
class Contingency:
    """One failure.

    - ``name``: Name such as ``chilled_plant/chiller_3`` or ``cdu_1/017``.
    - ``failed_machine``: Machine in the site file.
    - ``failed_part``: The part that fails.
    - ``equivalent_units``: Number of equal units; the failure of any one has the same consequences.
      [1]
    """

    name: str
    failed_machine: str
    failed_part: FailedPart
    equivalent_units: int = 1

    @property
    def is_total_supply_loss(self) -> bool:
        """Whether the only transformer fails, and with it all plants."""
        return self.failed_part is FailedPart.TRANSFORMER and self.equivalent_units == 1

    @property
    def title(self) -> str:
        """Description for people."""
        if self.failed_part in _WHOLE:
            back = ", which comes back" if self.failed_part is FailedPart.POWER else ""
            return f"{self.failed_part} of {self.failed_machine}{back}"
        if self.failed_part in _MACHINES:
            return f"{self.failed_part} {self.failed_machine}"
        return f"one {self.failed_part} of {self.failed_machine} ({self.equivalent_units} alike)"


def single_contingencies(site: Site) -> tuple[Contingency, ...]:
    """Return every single failure of a site, in the order of its file; of equal units the first."""
    return tuple(
        trip for machine in site.equipment for trip in _machine_contingencies(site, machine)
    )


def find_contingency(site: Site, name: str) -> Contingency:
    """Return the failure of one unit by its name.

    - ``name``: A name as in :class:`Contingency` with the number of any unit, such as
      ``cdu_1/017``. The machine may be omitted where only one has such units (``chiller_3``);
      ``cdu_17`` works too.

    Raises ``ProblemError`` if the site has no such machine, or several have such a unit; the error
    suggests close names.
    """
    normalised, every = _normalised(name), single_contingencies(site)
    units = [(trip, unit) for trip in every for unit in _unit_names(trip)]
    found = [
        pair
        for pair in units
        if normalised and f"/{_normalised(pair[1])}".endswith(f"/{normalised}")
    ]
    found = found or [
        pair for pair in units if normalised and _short_name(site, *pair) == normalised
    ]
    exact = [pair for pair in found if _normalised(pair[1]) == normalised] or found
    if len(exact) == 1:
        trip, unit = exact[0]
        return replace(trip, name=unit)
    if exact:
        expected = "a name that fits one unit"
        remedy = f"write {' or '.join(unit for _, unit in exact)}"
    else:
        expected = f"one of {', '.join(trip.name for trip in every)}"
        remedy = f"correct the name{_hint(normalised, [unit for _, unit in units])}"
    raise ProblemError.single(
        site.name, IssueCode.UNKNOWN_NAME, "trip", found=name, expected=expected, remedy=remedy
    )


def _short_name(site: Site, trip: Contingency, unit: str) -> str:
    """Return the short name of a unit, from its kind and number, such as ``cdu_17``."""
    if trip.failed_part not in {FailedPart.CDU, FailedPart.TRANSFORMER}:
        return ""
    return f"{site.equipment[trip.failed_machine].kind}_{_normalised(_DIGITS.findall(unit)[-1])}"


def _normalised(name: str) -> str:
    """Return a name for comparison: lower case, numbers without leading zeros."""
    return _DIGITS.sub(lambda digits: digits[0].lstrip("0") or "0", name.strip().lower())


def _hint(normalised: str, units: list[str]) -> str:
    """Return a suggestion of names with a similar spelling."""
    ends = {_normalised(unit): unit for unit in units}
    ends |= {_normalised(unit).partition("/")[2]: unit for unit in units if "/" in unit}
    close = difflib.get_close_matches(normalised, ends, n=_MAX_SUGGESTIONS, cutoff=0.7)
    named = list(dict.fromkeys(ends[name] for name in close))
    return f"; did you mean {' or '.join(named)}?" if named else ""


def _machine_contingencies(site: Site, owner: str) -> Iterator[Contingency]:
    machine, failure = site.equipment[owner], partial(_failure, owner)
    match machine:
        case CduBank():
            yield failure(FailedPart.CDU, "/001", machine.count)
            yield failure(FailedPart.CDU_PUMP, "/001/pump", machine.count)
        case CoolingPlant():
            yield failure(FailedPart.PUMP, "/pump_1", site.contingency.pumps)
            if machine.chillers is not None:
                yield failure(FailedPart.CHILLER, "/chiller_1", machine.chillers.count)
            cooler = machine.rejection
            yield failure(FailedPart.REJECTION, f"/{cooler.kind}_1", cooler.count)
            yield failure(FailedPart.POWER, "/power")
            yield failure(FailedPart.PLANT)
        case UpsBank():
            yield failure(FailedPart.BLOCK, "/block_1", ups_blocks(site, machine))
        case TransformerBank():
            yield failure(FailedPart.TRANSFORMER, "/unit_1", machine.count)
        case HeatReuse():
            yield failure(FailedPart.HEAT_PUMP)
        case ChilledWaterTank():
            yield failure(FailedPart.TANK)


def _failure(owner: str, part: FailedPart, unit: str = "", alike: int = 1) -> Contingency:
    return Contingency(
        name=owner + unit, failed_machine=owner, failed_part=part, equivalent_units=alike
    )


def ups_blocks(site: Site, ups: UpsBank) -> int:
    """Return the number of blocks of a UPS. [1]"""
    return max(1, round(ups.rating / site.contingency.ups_block))


def _unit_names(trip: Contingency) -> Iterator[str]:
    """Yield the names of all equal units."""
    unit = trip.name.removeprefix(trip.failed_machine)
    first = _DIGITS.search(unit)
    for number in range(1, trip.equivalent_units + 1):
        digits = f"{number:0{len(first[0])}d}" if first else ""
        yield trip.failed_machine + _DIGITS.sub(digits, unit)
