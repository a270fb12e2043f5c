"""What the water of a site was held at in a history: set points move, and no machine is worn by it.

What is told is taken as told. Where nothing is told, and what is read lies elsewhere than the site
file says, nobody knows what the machine was held at: its channels are left out, and it is named.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from twin.calibration.history import TelemetryHistory, rack_liquid_heat
from twin.equipment import CduBank, CoolingPlant
from twin.physics import FloatArray, fluid_flow
from twin.physics.numerics import BoolArray
from twin.relations import SetPoints
from twin.simulation.setpoints import minimum_flows
from twin.site import Site

SUPPLY_VARIABLES: Final = ("facility_supply_set_point", "facility_supply_applied")
RANGE_VARIABLES: Final = ("facility_range_set_point", "facility_range_applied")
COOLANT_RANGE_VARIABLES: Final = ("technology_range_set_point", "technology_range_applied")
UNITS_VARIABLES: Final = ("cooling_plant_units_applied", "cooling_plant_units_on")
FLOW_VARIABLES: Final = ("facility_flow", "cooling_plant_flow")
"""Words for one thing, the one to be preferred first: orders of a plan, and what a plant says."""

FLOW_DEVIATION: Final = "its flow"
"""What of a plant is elsewhere than declared."""

SET_POINT_TOLERANCE_K: Final = 1e-3
"""Difference of a set point from the declared one that is none. [K]"""

SUPPLY_DEVIATION_K: Final = 1.2
"""Distance of supply water from its set point that no offset of a sensor explains. [K]"""

FLOW_DEVIATION_SHARE: Final = 0.2
"""Deviation of a flow, or of a warming, that no meter explains. [1]"""

DEVIATING_TIME_SHARE: Final = 0.1
"""Share of quarter-hours in which that must be so. [1]"""


@dataclass(kw_only=True)
class AppliedSetPoints:
    """What the water of a site was held at.

    Attributes
    ----------
    set_points
        Set points on quarter-hours; None where all are as declared.
    unknown
        Cooling plant or bank of CDUs -> quarter-hours in which it is not known what it was held at.
    exclusions
        What is left out, in words.
    """

    set_points: SetPoints | None = None
    unknown: dict[str, BoolArray] = field(default_factory=dict)
    exclusions: tuple[str, ...] = ()

    @classmethod
    def from_history(cls, site: Site, history: TelemetryHistory) -> Self:
        """Return what the water was held at, as far as a history tells it.

        Parameters
        ----------
        site
            The site with its declared set points.
        history
            May hold set points as orders or as what the plant applies, and what has been read of
            flow, supply temperature and coolant.

        Returns
        -------
        AppliedSetPoints
            Set points, and where they are not known.
        """
        found = _Found(site, history)
        plants, banks = site.machines_of(CoolingPlant), site.machines_of(CduBank)
        supply = found.told(
            {plant.name: plant.supply_temperature for plant in plants}, SUPPLY_VARIABLES
        )
        ranges = {plant.name: plant.temperature_range for plant in plants}
        spans = {bank.name: bank.technology_range for bank in banks}
        is_ranged = found.moves(ranges, RANGE_VARIABLES) or found.moves(
            spans, COOLANT_RANGE_VARIABLES
        )
        wide = found.told(ranges, RANGE_VARIABLES) if is_ranged else {}
        warm = found.told(spans, COOLANT_RANGE_VARIABLES) if is_ranged else {}
        found.wonder(wide | warm, ranges | spans)
        for plant in plants:
            found.look_at_plant(plant, is_supply_told=plant.name in supply)
        for bank in banks:
            found.look_at_bank(bank)
        units = found.units()
        points = SetPoints(
            supply_temperature=supply,
            temperature_range=wide,
            technology_range=warm,
            minimum_flow={n: least for n, least in minimum_flows(site).items() if n in wide | warm},
            units_on=units,
        )
        is_told = bool(supply or wide or warm or units)
        return cls(
            set_points=points if is_told else None, unknown=found.unknown, exclusions=found.said
        )

    def mask_unknown(self, values: FloatArray, machines: Iterable[str]) -> FloatArray:
        """Return readings with NaN where it is not known what one of some machines was held at."""
        values = np.asarray(values)
        for name in machines:
            if name in self.unknown:
                values = np.where(self.unknown[name], np.nan, values)
        return values


class _Found:
    """The working papers: what is told, and what is not known."""

    def __init__(self, site: Site, history: TelemetryHistory) -> None:
        self._site, self._history = site, history
        self.unknown: dict[str, BoolArray] = {}
        self._left: dict[str, list[str]] = {}

    @property
    def said(self) -> tuple[str, ...]:
        """What is left out, in words."""
        return tuple(
            f"{name} is left out: the history does not tell its set points, and those declared do "
            f"not fit {' and '.join(what)}"
            for name, what in self._left.items()
        )

    def _first(self, words: tuple[str, ...], owner: str) -> FloatArray:
        """Return the first of some words that has been read of a machine; NaN without one."""
        read = (self._history.get(word, owner) for word in words)
        nothing = np.full(self._history.count, np.nan)
        return next((values for values in read if np.isfinite(values).any()), nothing)

    def _ordered(self, words: tuple[str, ...], owner: str) -> bool:
        return bool(np.isfinite(self._history.get(words[0], owner)).any())

    def moves(self, declared: Mapping[str, float], words: tuple[str, ...]) -> bool:
        """Return whether one of some machines was ordered, or applied, another than declared."""
        return any(
            self._ordered(words, name)
            or bool((np.abs(self._first(words, name) - value) > SET_POINT_TOLERANCE_K).any())
            for name, value in declared.items()
        )

    def told(self, declared: Mapping[str, float], words: tuple[str, ...]) -> dict[str, FloatArray]:
        """Return what machines were told; where one is not heard, the declared one, unknown."""
        found = {}
        for name, value in declared.items():
            values = self._first(words, name)
            if np.isfinite(values).any():
                self._doubt(name, np.isnan(values))
                found[name] = np.where(np.isnan(values), value, values)
        return found

    def wonder(self, told: Mapping[str, FloatArray], declared: Mapping[str, float]) -> None:
        """Doubt the flow where all ranges stand as declared: was it asked to keep more?

        A plant that follows ranges keeps enough for the trip of a unit, any other its declared
        least flow; what it applies does not say which.
        """
        if not told or any(
            self._ordered(w, n) for w in (RANGE_VARIABLES, COOLANT_RANGE_VARIABLES) for n in told
        ):
            return
        apart = [
            np.abs(values - declared[name]) > SET_POINT_TOLERANCE_K for name, values in told.items()
        ]
        is_plain = ~np.any(apart, axis=0)
        for name in told:
            self._doubt(name, is_plain)

    def units(self) -> dict[str, FloatArray]:
        """Return the chillers that ran, of plants whose chillers are committed by plans."""
        found = {}
        for name in self._site.switchable_units:
            ran = self._first(UNITS_VARIABLES, name)
            if np.isfinite(ran).any():
                whole = np.round(np.nan_to_num(ran))
                self._doubt(name, ~(np.abs(ran - whole) < SET_POINT_TOLERANCE_K))
                found[name] = whole
        return found

    def look_at_plant(self, plant: CoolingPlant, *, is_supply_told: bool) -> None:
        """Leave a plant out whose water is elsewhere than declared while nothing is told of it."""
        name, history = plant.name, self._history
        read = history.get("facility_supply_temperature", name)
        if not is_supply_told and _is_often(
            np.abs(read - plant.supply_temperature) > SUPPLY_DEVIATION_K, read
        ):
            self._leave(name, "its supply water")
        if np.isfinite(self._first(RANGE_VARIABLES, name)).any():
            return
        load = history.get("cooling_plant_output", name)
        rate = plant.capacity_rate(np.nan_to_num(load), history.weather)
        per_flow = fluid_flow.capacity_rate(
            1.0, plant.loop.liquid, temperature=plant.supply_temperature
        )
        off = self._first(FLOW_VARIABLES, name) * float(per_flow) / rate - 1.0 + 0.0 * load
        if _is_often(np.abs(off) > FLOW_DEVIATION_SHARE, off):
            self._leave(name, FLOW_DEVIATION)

    def look_at_bank(self, bank: CduBank) -> None:
        """Leave a bank out whose coolant warms otherwise than declared.

        Where the flow of a plant moves untold, so may that of the coolant: it must be seen.
        """
        if np.isfinite(self._first(COOLANT_RANGE_VARIABLES, bank.name)).any():
            return
        history = self._history
        heat = rack_liquid_heat(self._site, history)
        flow = bank.coolant_flow(np.nan_to_num(heat))
        declared = bank.technology_range * heat / bank.rated_heat_total / flow
        cold, warm = (
            history.get(f"technology_{way}_temperature", bank.name) for way in ("supply", "return")
        )
        off = warm - cold - declared
        is_off = (np.abs(off) > FLOW_DEVIATION_SHARE * declared) & (
            np.abs(off) > SUPPLY_DEVIATION_K
        )
        is_moved = any(FLOW_DEVIATION in what for what in self._left.values())
        if _is_often(is_off, off):
            self._leave(bank.name, "the warming of its coolant")
        elif is_moved and np.isnan(off).all():
            self._leave(bank.name, "the flow of its plant")

    def _doubt(self, name: str, is_unknown: BoolArray) -> None:
        if is_unknown.any():
            self.unknown[name] = self.unknown.get(name, np.zeros_like(is_unknown)) | is_unknown

    def _leave(self, name: str, what: str) -> None:
        self._doubt(name, np.ones(self._history.count, dtype=bool))
        self._left.setdefault(name, []).append(what)


def _is_often(is_so: BoolArray, values: FloatArray) -> bool:
    """Return whether something is so in more than a few of the quarter-hours that were read."""
    read = int(np.count_nonzero(np.isfinite(values)))
    return read > 0 and int(np.count_nonzero(is_so)) > DEVIATING_TIME_SHARE * read
