"""What may be asked of the machines of a plant, and what holds of its water."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from telemetry.metadata.listing import units_of
from twin.equipment import Cdu, CoolingPlant, HeatReuse
from twin.relations import SetPoints
from twin.run import Key
from twin.site import Site
from twin.steering import gathered

COOLER: Final = 3.0
"""How far below its declared set point the supply water may be asked for. [K]"""

NARROWEST: Final = 0.05
"""Narrowest temperature range that may be asked for, of the declared one. [1]"""

COOLANT: Final = "technology_supply_request"
"""Word of the request that the contract has: from it the warm supply follows."""

SUPPLY: Final = "facility_supply_request"
"""Word of the request for the supply water of a circuit, which goes before that of the coolant."""

UNITS: Final = "cooling_plant_units_request"
"""Word of the request for the number of chillers that run."""

RANGES: Final = {
    "facility_range_request": "facility_range_set_point",
    "technology_range_request": "technology_range_set_point",
}
"""What is asked for -> word of the set point."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """What may be asked of one machine: from low to high, and what holds if nothing is asked."""

    low: float
    high: float
    safe: float


@dataclass(frozen=True, kw_only=True)
class Water:
    """What the water of a plant is held at.

    Attributes
    ----------
    supply
        Circuit -> set point of its supply water. [degC]
    ranges
        (word of the set point, circuit or bank of CDUs) -> temperature range that its flow follows;
        those that are left out stand as declared. [K]
    is_local
        Whether the plant's own people have it, and no request holds.
    """

    supply: Mapping[str, float]
    ranges: Mapping[Key, float] = field(default_factory=dict)
    is_local: bool = False

    def points(self, site: Site) -> SetPoints | None:
        """Return the ranges as set points of the twin, or None where all are declared."""
        return gathered(site, {key: np.asarray(value) for key, value in self.ranges.items()})


def ranges_of(site: Site) -> dict[Key, Range]:
    """Return what may be asked of each machine; what nobody asks of water is not a number."""
    ranges = {}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        span = Range(low=-store.discharge_limit, high=store.charge_limit, safe=0.0)
        ranges[f"{kind}_request", store.owner] = span
    for exchange in site.exchanges:
        if exchange.available:
            span = Range(low=0.0, high=np.inf, safe=np.inf)
            ranges["renewable_request", exchange.owner] = span
    for pump in site.of(HeatReuse):
        span = Range(low=0.0, high=min(pump.rated_heat, pump.contract_power), safe=0.0)
        ranges["heat_reuse_request", pump.name] = span
    warm = [plant for plant in site.of(CoolingPlant) if plant.serves == "warm"]
    water = [coldest_and_warmest(plant) for plant in warm]
    for bank in site.of(Cdu):
        for low, high in water:
            span = Range(low=low, high=high + bank.approach, safe=np.nan)
            ranges.update(dict.fromkeys(((COOLANT, unit) for unit in units_of(bank)), span))
        span = _around(bank.technology_range, site.set_points.coolant_range)
        for unit in units_of(bank):
            ranges["technology_range_request", unit] = span
    for plant in site.of(CoolingPlant):
        low, high = coldest_and_warmest(plant)
        ranges[SUPPLY, plant.name] = Range(low=low, high=high, safe=np.nan)
        span = _around(plant.temperature_range, site.set_points.widest_range)
        ranges["facility_range_request", plant.name] = span
    return ranges | _units(site)


def _units(site: Site) -> dict[Key, Range]:
    """Return how many chillers may be asked for, on a site whose plans commit some of them."""
    if not site.committed:
        return {}
    counts = {p.name: p.chillers.count if p.chillers else 0 for p in site.of(CoolingPlant)}
    return {
        (UNITS, name): Range(low=0.0, high=float(count), safe=np.nan)
        for name, count in counts.items()
    }


def _around(declared: float, widest: float) -> Range:
    """Return which temperature ranges may be asked for beside a declared one. [K]"""
    return Range(low=NARROWEST * declared, high=widest * declared, safe=np.nan)


def declared_ranges(site: Site) -> dict[Key, float]:
    """Return word and machine -> the declared temperature range that its flow follows. [K]"""
    found = {
        ("facility_range_set_point", plant.name): plant.temperature_range
        for plant in site.of(CoolingPlant)
    }
    banks = site.of(Cdu)
    return found | {("technology_range_set_point", b.name): b.technology_range for b in banks}


def coldest_and_warmest(plant: CoolingPlant) -> tuple[float, float]:
    """Return the coldest and the warmest supply water that may be asked for. [degC]"""
    return plant.supply_temperature - COOLER, plant.supply_limit - plant.supply_margin
