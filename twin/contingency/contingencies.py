"""Single failures: every one that a site can have, and how people call it."""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from twin.equipment import (
    CduBank,
    ChilledWaterTank,
    CoolingPlant,
    HeatReuse,
    TransformerBank,
    UpsBank,
)
from twin.errors import ProblemError, ValidationIssue
from twin.site import Site

_NUMBER: Final = re.compile(r"\d+")
_CLOSE: Final = 3  # names that are offered


class FailedPart(StrEnum):
    """What of a machine fails."""

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

    Attributes
    ----------
    name
        What it is called, as ``chilled_plant/chiller_3`` or ``cdu_1/017``.
    owner
        Id of the machine in the site file.
    failed_part
        What of it fails.
    equivalent_units
        Number of units of which any one may be it; all have the same consequences. [1]
    """

    name: str
    owner: str
    failed_part: FailedPart
    equivalent_units: int = 1

    @property
    def is_total_supply_loss(self) -> bool:
        """Whether the only transformer is lost, and all plants with it."""
        return self.failed_part is FailedPart.TRANSFORMER and self.equivalent_units == 1

    @property
    def title(self) -> str:
        """What it is in words."""
        if self.failed_part in _WHOLE:
            back = ", which comes back" if self.failed_part is FailedPart.POWER else ""
            return f"{self.failed_part} of {self.owner}{back}"
        if self.failed_part in _MACHINES:
            return f"{self.failed_part} {self.owner}"
        return f"one {self.failed_part} of {self.owner} ({self.equivalent_units} alike)"


def single_contingencies(site: Site) -> tuple[Contingency, ...]:
    """Return every single failure of a site, one for units that are alike.

    Parameters
    ----------
    site
        The site.

    Returns
    -------
    tuple of Contingency
        In the order of the file; of units that are alike, the first.
    """
    return tuple(trip for machine in site.equipment for trip in _of(site, machine))


def find_contingency(site: Site, name: str) -> Contingency:
    """Return a failure by its name.

    Parameters
    ----------
    site
        The site.
    name
        A name as of :class:`Contingency` with the number of any unit, as ``cdu_1/017``; the machine
        may be left out where only one has such units, as in ``chiller_3``, and ``cdu_17`` will do.

    Returns
    -------
    Contingency
        The failure of that very unit.

    Raises
    ------
    ProblemError
        If the site has no such machine, or several have such a unit; close names are offered.
    """
    plain, every = _plain(name), single_contingencies(site)
    units = [(trip, unit) for trip in every for unit in _names(trip)]
    found = [pair for pair in units if plain and f"/{_plain(pair[1])}".endswith(f"/{plain}")]
    found = found or [pair for pair in units if plain and _said(site, *pair) == plain]
    exact = [pair for pair in found if _plain(pair[1]) == plain] or found
    if len(exact) == 1:
        trip, unit = exact[0]
        return replace(trip, name=unit)
    if exact:
        remedy = f"say which: {' or '.join(unit for _, unit in exact)}"
    else:
        remedy = _hint(plain, [unit for _, unit in units])
        remedy += f"there are {', '.join(trip.name for trip in every)}"
    raise ProblemError(site.name, [ValidationIssue(location="trip", found=name, remedy=remedy)])


def _said(site: Site, trip: Contingency, unit: str) -> str:
    """Return how people call a unit of a bank by its kind and number, as ``cdu_17``."""
    if trip.failed_part not in {FailedPart.CDU, FailedPart.TRANSFORMER}:
        return ""
    return f"{site.equipment[trip.owner].kind}_{_plain(_NUMBER.findall(unit)[-1])}"


def _plain(name: str) -> str:
    """Return a name as it is compared: small letters, numbers without leading zeros."""
    return _NUMBER.sub(lambda digits: digits[0].lstrip("0") or "0", name.strip().lower())


def _hint(plain: str, units: list[str]) -> str:
    """Return an offer of the names that are spelt much like one."""
    ends = {_plain(unit): unit for unit in units}
    ends |= {_plain(unit).partition("/")[2]: unit for unit in units if "/" in unit}
    close = difflib.get_close_matches(plain, ends, n=_CLOSE, cutoff=0.7)
    named = list(dict.fromkeys(ends[name] for name in close))
    return f"did you mean {' or '.join(named)}? " if named else ""


def _of(site: Site, owner: str) -> Iterator[Contingency]:
    machine = site.equipment[owner]
    match machine:
        case CduBank():
            first = f"{owner}/001"
            yield Contingency(
                name=first, owner=owner, failed_part=FailedPart.CDU, equivalent_units=machine.count
            )
            yield Contingency(
                name=f"{first}/pump",
                owner=owner,
                failed_part=FailedPart.CDU_PUMP,
                equivalent_units=machine.count,
            )
        case CoolingPlant():
            yield from _of_plant(site, machine)
        case UpsBank():
            blocks = ups_blocks(site, machine)
            yield Contingency(
                name=f"{owner}/block_1",
                owner=owner,
                failed_part=FailedPart.BLOCK,
                equivalent_units=blocks,
            )
        case TransformerBank():
            name = f"{owner}/unit_1"
            yield Contingency(
                name=name,
                owner=owner,
                failed_part=FailedPart.TRANSFORMER,
                equivalent_units=machine.count,
            )
        case HeatReuse():
            yield Contingency(name=owner, owner=owner, failed_part=FailedPart.HEAT_PUMP)
        case ChilledWaterTank():
            yield Contingency(name=owner, owner=owner, failed_part=FailedPart.TANK)


def _of_plant(site: Site, plant: CoolingPlant) -> Iterator[Contingency]:
    owner, cooler = plant.name, plant.rejection
    pumps = site.contingency.pumps
    yield Contingency(
        name=f"{owner}/pump_1", owner=owner, failed_part=FailedPart.PUMP, equivalent_units=pumps
    )
    if plant.chillers is not None:
        count = plant.chillers.count
        yield Contingency(
            name=f"{owner}/chiller_1",
            owner=owner,
            failed_part=FailedPart.CHILLER,
            equivalent_units=count,
        )
    name = f"{owner}/{cooler.kind}_1"
    yield Contingency(
        name=name, owner=owner, failed_part=FailedPart.REJECTION, equivalent_units=cooler.count
    )
    yield Contingency(name=f"{owner}/power", owner=owner, failed_part=FailedPart.POWER)
    yield Contingency(name=owner, owner=owner, failed_part=FailedPart.PLANT)


def ups_blocks(site: Site, ups: UpsBank) -> int:
    """Return the number of blocks of a UPS. [1]"""
    return max(1, round(ups.rating / site.contingency.ups_block))


def _names(trip: Contingency) -> Iterator[str]:
    """Yield the names of all units that are alike."""
    unit = trip.name.removeprefix(trip.owner)
    first = _NUMBER.search(unit)
    for number in range(1, trip.equivalent_units + 1):
        digits = f"{number:0{len(first[0])}d}" if first else ""
        yield trip.owner + _NUMBER.sub(digits, unit)
