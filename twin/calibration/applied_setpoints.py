"""The set points of a site's water in a history, so that their changes do not count as wear.

Reported set points are used. If none is reported and readings differ from the declared ones, the
channels of the machine are excluded and it is named.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from twin.calibration.telemetry_history import TelemetryHistory, rack_liquid_heat
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
"""Names of one quantity, the preferred first: command of a plan, and report of the plant."""

FLOW_DEVIATION: Final = "its flow"
"""Deviation of a plant's flow, as text."""

SET_POINT_TOLERANCE_K: Final = 1e-3
"""Difference from the declared set point that counts as zero. [K]"""

SUPPLY_DEVIATION_K: Final = 1.2
"""Deviation of supply water from its set point that no sensor offset explains. [K]"""

FLOW_DEVIATION_SHARE: Final = 0.2
"""Deviation of a flow or a temperature rise that no meter error explains. [1]"""

DEVIATING_TIME_SHARE: Final = 0.1
"""Share of quarter-hours from which a deviation counts. [1]"""


@dataclass(kw_only=True)
class AppliedSetPoints:
    """The set points of a site's water in a history.

    - ``set_points``: Set points on quarter-hours; None where all are as declared.
    - ``unknown_intervals``: Cooling plant or bank of CDUs -> quarter-hours with unknown set points.
    - ``exclusions``: Excluded machines, as text.
    """

    set_points: SetPoints | None = None
    unknown_intervals: dict[str, BoolArray] = field(default_factory=dict)
    exclusions: tuple[str, ...] = ()

    @classmethod
    def from_history(cls, site: Site, history: TelemetryHistory) -> Self:
        """Return the set points that a history reports, and where they are unknown.

        The history may have set points as commanded or as applied, and readings of flow, supply
        temperature and coolant.
        """
        found = _SetPointSearch(site, history)
        plants, banks = site.machines_of(CoolingPlant), site.machines_of(CduBank)
        supply = found.reported(
            {plant.name: plant.supply_temperature for plant in plants}, SUPPLY_VARIABLES
        )
        ranges = {plant.name: plant.temperature_range for plant in plants}
        spans = {bank.name: bank.technology_range for bank in banks}
        is_ranged = found.moves(ranges, RANGE_VARIABLES) or found.moves(
            spans, COOLANT_RANGE_VARIABLES
        )
        temperature_ranges = found.reported(ranges, RANGE_VARIABLES) if is_ranged else {}
        coolant_ranges = found.reported(spans, COOLANT_RANGE_VARIABLES) if is_ranged else {}
        found.exclude_ambiguous_flow(temperature_ranges | coolant_ranges, ranges | spans)
        for plant in plants:
            found.check_plant(plant, is_supply_reported=plant.name in supply)
        for bank in banks:
            found.check_bank(bank)
        units = found.units()
        points = SetPoints(
            supply_temperature=supply,
            temperature_range=temperature_ranges,
            technology_range=coolant_ranges,
            minimum_flow={
                n: share
                for n, share in minimum_flows(site).items()
                if n in temperature_ranges | coolant_ranges
            },
            units_on=units,
        )
        is_reported = bool(supply or temperature_ranges or coolant_ranges or units)
        return cls(
            set_points=points if is_reported else None,
            unknown_intervals=found.unknown,
            exclusions=found.exclusions,
        )

    def mask_unknown(self, values: FloatArray, machines: Iterable[str]) -> FloatArray:
        """Return readings with NaN where the set point of one of some machines is unknown."""
        values = np.asarray(values)
        for name in machines:
            if name in self.unknown_intervals:
                values = np.where(self.unknown_intervals[name], np.nan, values)
        return values


class _SetPointSearch:
    """Search for reported and unknown set points."""

    def __init__(self, site: Site, history: TelemetryHistory) -> None:
        self._site, self._history = site, history
        self.unknown: dict[str, BoolArray] = {}
        self._deviations: dict[str, list[str]] = {}

    @property
    def exclusions(self) -> tuple[str, ...]:
        """Excluded machines, as text."""
        return tuple(
            f"{name} is left out: the history lacks its set points, and the declared ones do not "
            f"fit {' and '.join(what)}"
            for name, what in self._deviations.items()
        )

    def _first_reported(self, names: tuple[str, ...], owner: str) -> FloatArray:
        """Return the first of some variables with readings of a machine; NaN without one."""
        read = (self._history.get(word, owner) for word in names)
        nothing = np.full(self._history.count, np.nan)
        return next((values for values in read if np.isfinite(values).any()), nothing)

    def _is_commanded(self, names: tuple[str, ...], owner: str) -> bool:
        return bool(np.isfinite(self._history.get(names[0], owner)).any())

    def moves(self, declared: Mapping[str, float], names: tuple[str, ...]) -> bool:
        """Return whether a machine was commanded, or applied, another set point than declared."""
        return any(
            self._is_commanded(names, name)
            or bool(
                (np.abs(self._first_reported(names, name) - value) > SET_POINT_TOLERANCE_K).any()
            )
            for name, value in declared.items()
        )

    def reported(
        self, declared: Mapping[str, float], names: tuple[str, ...]
    ) -> dict[str, FloatArray]:
        """Return reported set points; missing ones are as declared and marked unknown."""
        found = {}
        for name, value in declared.items():
            values = self._first_reported(names, name)
            if np.isfinite(values).any():
                self._mark_unknown(name, np.isnan(values))
                found[name] = np.where(np.isnan(values), value, values)
        return found

    def exclude_ambiguous_flow(
        self, reported: Mapping[str, FloatArray], declared: Mapping[str, float]
    ) -> None:
        """Mark the flow as unknown where all ranges are as declared.

        A plant that follows ranges keeps enough flow for the failure of a unit, any other its
        declared minimum flow. The applied range does not distinguish the two.
        """
        if not reported or any(
            self._is_commanded(w, n)
            for w in (RANGE_VARIABLES, COOLANT_RANGE_VARIABLES)
            for n in reported
        ):
            return
        is_changed = [
            np.abs(values - declared[name]) > SET_POINT_TOLERANCE_K
            for name, values in reported.items()
        ]
        is_plain = ~np.any(is_changed, axis=0)
        for name in reported:
            self._mark_unknown(name, is_plain)

    def units(self) -> dict[str, FloatArray]:
        """Return the chillers that ran, of plants with unit commitment."""
        found = {}
        for name in self._site.switchable_units:
            ran = self._first_reported(UNITS_VARIABLES, name)
            if np.isfinite(ran).any():
                whole = np.round(np.nan_to_num(ran))
                self._mark_unknown(name, ~(np.abs(ran - whole) < SET_POINT_TOLERANCE_K))
                found[name] = whole
        return found

    def check_plant(self, plant: CoolingPlant, *, is_supply_reported: bool) -> None:
        """Exclude a plant whose water deviates from the declared set points without a report."""
        name, history = plant.name, self._history
        read = history.get("facility_supply_temperature", name)
        if not is_supply_reported and _is_often(
            np.abs(read - plant.supply_temperature) > SUPPLY_DEVIATION_K, read
        ):
            self._exclude(name, "its supply water")
        if np.isfinite(self._first_reported(RANGE_VARIABLES, name)).any():
            return
        load = history.get("cooling_plant_output", name)
        rate = plant.capacity_rate(np.nan_to_num(load), history.weather)
        per_flow = fluid_flow.capacity_rate(
            1.0, plant.loop.liquid, temperature=plant.supply_temperature
        )
        off = self._first_reported(FLOW_VARIABLES, name) * float(per_flow) / rate - 1.0 + 0.0 * load
        if _is_often(np.abs(off) > FLOW_DEVIATION_SHARE, off):
            self._exclude(name, FLOW_DEVIATION)

    def check_bank(self, bank: CduBank) -> None:
        """Exclude a bank whose coolant has another temperature rise than declared.

        If the flow of its plant changes without a report, the coolant's may change too and must be
        read.
        """
        if np.isfinite(self._first_reported(COOLANT_RANGE_VARIABLES, bank.name)).any():
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
        is_moved = any(FLOW_DEVIATION in what for what in self._deviations.values())
        if _is_often(is_off, off):
            self._exclude(bank.name, "the warming of its coolant")
        elif is_moved and np.isnan(off).all():
            self._exclude(bank.name, "the flow of its plant")

    def _mark_unknown(self, name: str, is_unknown: BoolArray) -> None:
        if is_unknown.any():
            self.unknown[name] = self.unknown.get(name, np.zeros_like(is_unknown)) | is_unknown

    def _exclude(self, name: str, what: str) -> None:
        self._mark_unknown(name, np.ones(self._history.count, dtype=bool))
        self._deviations.setdefault(name, []).append(what)


def _is_often(is_so: BoolArray, values: FloatArray) -> bool:
    """Return whether a condition holds in more than a few of the measured quarter-hours."""
    read = int(np.count_nonzero(np.isfinite(values)))
    return read > 0 and int(np.count_nonzero(is_so)) > DEVIATING_TIME_SHARE * read
