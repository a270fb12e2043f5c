"""Implausible values of a site: sizes that do not match, mostly through a wrong unit or decimal
point.

Issues of :mod:`sites.checks` keep a site from loading; these do not. All but the name are ratios of
two sizes of one site, so that they apply to plants of any size.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from twin.equipment import CduBank, ChilledWaterTank, CoolingPlant, CrahBank, ITHall
from twin.errors import IssueCode, ValidationIssue
from twin.physics import refrigeration
from twin.physics.psychrometrics import STANDARD_PRESSURE_KPA, standard_pressure
from twin.site import Site, design_loads, rated_outputs
from twin.text import NAME_RULE, is_valid_name
from twin.units import KW_PER_MW

__all__ = ["design_loads", "implausible_values", "rated_outputs"]

STORAGE_DURATION_LIMITS_H: Final = (0.1, 100.0)
"""Plausible discharge time of a store; declared sites have 1.6 to 8. [h]"""

MAX_STORE_POWER_RATIO: Final = 3.0
"""Maximum power of a store over its carrier's load; declared sites have up to 0.5. [1]"""

MAX_RATING_RATIO: Final = 10.0
"""Maximum rating of a machine over its load with all racks; declared sites have up to 2. [1]"""

MAX_CONNECTION_RATIO: Final = 10.0
"""Maximum import limit over the load with all racks; declared sites have up to 1.7. [1]"""

MAX_CURRENT_KA: Final = 10.0
"""Maximum current of the connection; the declared site has 1.2. [kA]"""

MAX_RENEWABLE_RATIO: Final = 5.0
"""Maximum power of a renewable over the connection; declared sites have up to 0.6. [1]"""

MIN_RENEWABLE_RATIO: Final = 0.005
"""Minimum power of a renewable over the connection; declared sites have 0.09 or more. [1]"""

RACK_POWER_LIMITS_MW: Final = (0.002, 2.0)
"""Plausible full power of a rack; declared ones have 0.06 to 0.4. [MW]"""

MAX_RAMP_TIME_H: Final = 6.0
"""Maximum time of the connection's ramp from idle to full racks. [h]"""

NEGLIGIBLE_LOAD_SHARE: Final = 1e-6
"""Share of the site's draw below which the load of a machine is negligible. [1]"""

MAX_AUXILIARY_SHARE: Final = 0.2
"""Maximum power of pumps or fans over their cooling; declared sites have up to 0.04. [1]"""

WARMING_LIMITS_K_MIN: Final = (0.1, 100.0)
"""Plausible warming of an uncooled circuit at rating; declared ones have 2 to 7. [K/min]"""

HIGH_ELEVATION_M: Final = 1000.0
"""Elevation above which fans move clearly less air mass than rated, here 0.89 of it. [m]"""

MAX_DELTA_T_RATIO: Final = 1.25
"""Maximum ratio of the temperature ranges of plant and consumer; declared: 1.15. [1]"""

MAX_POWER_RISE: Final = 1.1
"""Maximum power of a chiller over that at any higher load; declared ones have up to 1.04. [1]"""

_CHECKED_PART_LOADS: Final = 33  # from the minimum to full load
_CHECKED_CONDENSER_TEMPERATURES: Final = 9  # of condenser water

MAX_SOLAR_TIME_OFFSET_H: Final = 4.0
"""Maximum difference of local and solar time; the largest of a country is 3.5. [h]"""


def implausible_values(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for each implausible value of a site that can be loaded.

    Each has location, value with unit, and the suspected cause.
    """
    if not is_valid_name(site.name):
        yield IssueCode.INVALID_FORMAT.issue(
            "name",
            found=site.name,
            expected=f"a name of {NAME_RULE}",
            remedy="rename the file: no service can run under this name",
        )
    loads, idle = design_loads(site, busy_share=1.0), design_loads(site, busy_share=0.0)
    yield from _of_stores(site, loads)
    yield from _of_machines(site, loads)
    yield from _of_connection(site, loads["grid"], idle["grid"])
    yield from _of_caps(site)
    yield from _of_place(site)
    yield from _of_coolant(site)
    for plant in site.machines_of(CoolingPlant):
        yield from _of_plant(plant)
        yield from _of_chillers(plant)
        yield from _of_ranges(site, plant)


def _of_stores(site: Site, loads: Mapping[str, float]) -> Iterator[ValidationIssue]:
    for store in site.stores:
        location, kept = f"equipment.{store.owner}", store.max_level - store.min_level
        if (
            not STORAGE_DURATION_LIMITS_H[0]
            <= (hours := kept / store.discharge_limit)
            <= STORAGE_DURATION_LIMITS_H[1]
        ):
            yield IssueCode.IMPLAUSIBLE.issue(
                location,
                found=f"{kept:g} MWh at {store.discharge_limit:g} MW",
                expected="0.1 to 100 h of discharge",
                remedy=f"check units and decimal point: it would be empty in {_time(hours)}",
            )
        power = max(store.charge_limit, store.discharge_limit)
        if power > MAX_STORE_POWER_RATIO * loads[store.carrier]:
            yield IssueCode.IMPLAUSIBLE.issue(
                location,
                found=f"{power:g} MW",
                expected=f"at most {MAX_STORE_POWER_RATIO:g} times the load",
                remedy=f"check the unit: the load of {store.carrier.replace('_', ' ')} is "
                f"{loads[store.carrier]:.3g} MW",
            )


def _of_machines(site: Site, loads: Mapping[str, float]) -> Iterator[ValidationIssue]:
    ratings, negligible = rated_outputs(site), NEGLIGIBLE_LOAD_SHARE * loads["grid"]
    for convert in site.conversions:
        load, rating = loads[convert.output_carrier], ratings[convert.owner]
        if load > negligible and rating > MAX_RATING_RATIO * load:
            yield IssueCode.IMPLAUSIBLE.issue(
                f"equipment.{convert.owner}",
                found=f"{rating:.4g} MW",
                expected=f"at most {MAX_RATING_RATIO:g} times the load",
                remedy=f"check count and units: the load with all racks is {load:.3g} MW",
            )
    for work in site.flexible_loads:
        if not RACK_POWER_LIMITS_MW[0] <= work.full_power <= RACK_POWER_LIMITS_MW[1]:
            yield IssueCode.IMPLAUSIBLE.issue(
                f"equipment.{work.owner}",
                found=f"{1e3 * work.full_power:.4g} kW a rack",
                expected="0.002 to 2 MW per rack",
                remedy="check the chips per rack and their power",
            )
    yield from _of_renewables(site)


def _of_renewables(site: Site) -> Iterator[ValidationIssue]:
    connection = site.grid_connection.import_limit
    for exchange in site.exchanges:
        if not exchange.availability_variable:
            continue
        ratio, expected = exchange.import_limit / connection, ""
        if ratio > MAX_RENEWABLE_RATIO:
            expected = f"at most {MAX_RENEWABLE_RATIO:g} times the connection"
        elif ratio < MIN_RENEWABLE_RATIO:
            expected = f"at least {MIN_RENEWABLE_RATIO:g} of the connection"
        if expected:
            yield IssueCode.IMPLAUSIBLE.issue(
                f"equipment.{exchange.owner}",
                found=f"{exchange.import_limit:g} MW",
                expected=expected,
                remedy=f"check the unit: the connection has {connection:g} MW",
            )


def _of_caps(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for accelerators whose lowest cap is above that of plans."""
    for hall in site.machines_of(ITHall):
        lowest_cap = (hall.min_capped_power or 0.0) / hall.rack_power
        for kind in site.work.values():
            if kind.min_power_share < lowest_cap:
                yield IssueCode.IMPLAUSIBLE.issue(
                    f"equipment.{hall.name}, chip_power_least",
                    found=f"{lowest_cap:.2f} of a rack's full load",
                    expected=f"at most {kind.min_power_share:.2f}, the deepest cap of {kind.name}",
                    remedy=f"lower the tolerance of {kind.name}, or racks draw more than planned",
                )


def _of_connection(site: Site, full: float, idle: float) -> Iterator[ValidationIssue]:
    location = f"equipment.{site.grid_connection.name}"
    if site.grid_connection.import_limit > MAX_CONNECTION_RATIO * full:
        yield IssueCode.IMPLAUSIBLE.issue(
            location,
            found=f"import of {site.grid_connection.import_limit:g} MW",
            expected=f"at most {MAX_CONNECTION_RATIO:g} times the load",
            remedy=f"check the unit: the load with all racks is {full:.3g} MW",
        )
    elif site.network is not None:
        voltage = site.network.nodes[site.network.source].voltage
        current = site.grid_connection.import_limit / (math.sqrt(3.0) * voltage)
        if current > MAX_CURRENT_KA:
            yield IssueCode.IMPLAUSIBLE.issue(
                location,
                found=f"import of {site.grid_connection.import_limit:g} MW",
                expected=f"at most {MAX_CURRENT_KA:g} kA",
                remedy=f"check the unit: at {voltage:g} kV the current is {1e3 * current:,.0f} A",
            )
    if (full - idle) / 60.0 > MAX_RAMP_TIME_H * site.grid_connection.ramp:
        hours = (full - idle) / 60.0 / site.grid_connection.ramp
        yield IssueCode.IMPLAUSIBLE.issue(
            location,
            found=f"ramp of {site.grid_connection.ramp:g} MW/min",
            expected=f"at most {MAX_RAMP_TIME_H:g} h from idle to full racks",
            remedy=f"check the unit: the ramp to full racks takes {_time(hours)}",
        )


def _of_place(site: Site) -> Iterator[ValidationIssue]:
    rated = [plant.rejection.rated_air_pressure for plant in site.machines_of(CoolingPlant)]
    if site.elevation > HIGH_ELEVATION_M and None in rated:
        share = standard_pressure(site.elevation) / STANDARD_PRESSURE_KPA
        remedy = (
            'add rated_air_pressure = "101.3 kPa" if air_flow is that of a data sheet, or give '
            f"air_flow and conductance in this air, of {share:.2f} times the density at sea level"
        )
        yield IssueCode.IMPLAUSIBLE.issue(
            "elevation",
            found=f"{site.elevation:g} m",
            expected="fans rated at the air density of the site",
            remedy=remedy,
        )
    noon = datetime(2026, 1, 1, tzinfo=UTC).astimezone(ZoneInfo(site.time_zone))
    offset = noon.utcoffset()
    away = site.longitude / 15.0 - (offset.total_seconds() / 3600.0 if offset else 0.0)
    if abs(away) > MAX_SOLAR_TIME_OFFSET_H and abs(abs(away) - 24.0) > MAX_SOLAR_TIME_OFFSET_H:
        yield IssueCode.IMPLAUSIBLE.issue(
            "latitude, longitude",
            found=f"{site.latitude:g} N {site.longitude:g} E",
            expected=f"a longitude within {MAX_SOLAR_TIME_OFFSET_H:g} h of the time zone",
            remedy=f"exchange the two if they are swapped: solar time is {abs(away):.0f} h off "
            f"{site.time_zone}",
        )


def _of_plant(plant: CoolingPlant) -> Iterator[ValidationIssue]:
    location, cooling = f"equipment.{plant.name}", plant.rated_cooling
    fans = plant.rejection.count * plant.rejection.fan_power
    for word, power in (("pump_power", plant.pump_power), ("rejection.fan_power", fans)):
        if power > MAX_AUXILIARY_SHARE * cooling:
            remedy = f"check the unit: it is {power / cooling:.2g} of the cooling of {cooling:g} MW"
            yield IssueCode.IMPLAUSIBLE.issue(
                f"{location}, {word}",
                found=f"{power:g} MW in all",
                expected=f"at most {MAX_AUXILIARY_SHARE:g} of the cooling",
                remedy=remedy,
            )
    warming = cooling / plant.loop.heat_capacity / 60.0
    if not WARMING_LIMITS_K_MIN[0] <= warming <= WARMING_LIMITS_K_MIN[1]:
        yield IssueCode.IMPLAUSIBLE.issue(
            f"{location}, loop.volume",
            found=f"{plant.loop.volume:g} m3",
            expected="0.1 to 100 K/min of warming without cooling",
            remedy=f"check the unit: uncooled it would warm by {warming:.2g} K/min at rating",
        )


def _of_chillers(plant: CoolingPlant) -> Iterator[ValidationIssue]:
    """Yield an issue for chillers that need more power for less load, by their curves."""
    if (bank := plant.chillers) is None:
        return
    loads = np.linspace(bank.minimum_part_load, 1.0, _CHECKED_PART_LOADS)
    water = np.linspace(bank.condenser_low, bank.condenser_high, _CHECKED_CONDENSER_TEMPERATURES)[
        :, None
    ]
    chilled = min(max(plant.supply_temperature, bank.chilled_low), bank.chilled_high)
    available = bank.capacity(chilled, water) / bank.count
    power = bank.eir_factor * np.asarray(
        refrigeration.chiller_power(
            loads * available,
            bank.rated_cooling,
            chilled_temperature=chilled,
            condenser_temperature=water,
            curves=bank.curves,
        )
    )
    least = np.minimum.accumulate(power[:, ::-1], axis=1)[:, ::-1]  # of this and higher loads
    row, low = np.unravel_index(int(np.argmax(power / least)), power.shape)
    high = low + int(np.argmin(power[row, low:]))
    if power[row, low] > MAX_POWER_RISE * power[row, high]:
        yield IssueCode.IMPLAUSIBLE.issue(
            f"equipment.{plant.name}.chillers.eir_part_load_curve",
            found=f"{KW_PER_MW * power[row, low]:.3g} kW at {100 * loads[low]:.0f} % and "
            f"{KW_PER_MW * power[row, high]:.3g} kW at {100 * loads[high]:.0f} % of the load, "
            f"condenser water of {float(water[row, 0]):.3g} degC",
            expected="no more power for less load",
            remedy="check the curve, or raise minimum_part_load",
        )


def _of_ranges(site: Site, plant: CoolingPlant) -> Iterator[ValidationIssue]:
    """Yield an issue for consumers rated at another temperature range than their circuit."""
    span = plant.temperature_range
    if plant.serves == "warm":
        counted = [(m.name, "facility_range", m.facility_range) for m in site.machines_of(CduBank)]
    else:
        counted = [(m.name, "water_range", m.water_range) for m in site.machines_of(CrahBank)]
        for tank in site.machines_of(ChilledWaterTank):
            if tank.temperature_span > MAX_DELTA_T_RATIO * span:
                yield IssueCode.IMPLAUSIBLE.issue(
                    f"equipment.{tank.name}, temperature_span",
                    found=f"{tank.temperature_span:g} K",
                    expected=f"about {span:g} K, the range of {plant.name}",
                    remedy=f"lower it: the tank stores only {span / tank.temperature_span:.2g} of "
                    f"{tank.capacity:.3g} MWh",
                )
    for name, word, own in counted:
        if not 1.0 / MAX_DELTA_T_RATIO <= span / own <= MAX_DELTA_T_RATIO:
            yield IssueCode.IMPLAUSIBLE.issue(
                f"equipment.{name}, {word}",
                found=f"{own:g} K",
                expected=f"about {span:g} K, the range of {plant.name}",
                remedy="give both the same range",
            )


def _of_coolant(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for warm circuits so cold that water condenses at low load."""
    rules = site.set_points
    minimum = rules.hall_dew_point + rules.dew_point_distance
    for plant in site.machines_of(CoolingPlant):
        if (
            plant.serves == "warm"
            and plant.supply_temperature < minimum
            and any(site.machines_of(CduBank))
        ):
            yield IssueCode.IMPLAUSIBLE.issue(
                f"equipment.{plant.name}, supply_temperature",
                found=f"{plant.supply_temperature:g} degC",
                expected=f"at least {minimum:g} degC, so that no water condenses in the halls",
                remedy="raise it, or lower set_points.hall_dew_point",
            )


def _time(hours: float) -> str:
    """Return a time in a suitable unit."""
    if hours < 1.0 / 60.0:
        return f"{3600.0 * hours:.2g} s"
    return f"{60.0 * hours:.3g} min" if hours < 1.0 else f"{hours:.4g} h"
