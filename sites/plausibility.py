"""What a site may have and hardly has: sizes that do not go together, mostly a unit or a comma.

Faults keep a site from being loaded, doubts do not. But for the name, each is a proportion of two
sizes of the same site, so that plants of a kilowatt and of a gigawatt are asked the same.

What a site asks of its machines when all goes well: the measure for their ratings.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from twin.equipment import CduBank, ChilledWaterTank, CoolingPlant, CrahBank, ITHall
from twin.errors import SiteError, ValidationIssue
from twin.physics import FloatArray, psychrometrics
from twin.physics.psychrometrics import STANDARD_PRESSURE_KPA, standard_pressure
from twin.relations import CARRIER_ENERGY_SIGN, Convert
from twin.site import Site
from twin.text import NAME_RULE, is_valid_name
from twin.weather import Weather

STORAGE_DURATION_LIMITS_H: Final = (0.1, 100.0)
"""Hours in which a store runs from full to empty; declared sites have 1.6 to 8. [h]"""

MAX_STORE_POWER_RATIO: Final = 3.0
"""Power of a store over all that its carrier is asked for; declared sites have up to 0.5. [1]"""

MAX_RATING_RATIO: Final = 10.0
"""What a machine can deliver over what all racks ask of it; declared sites have up to 2. [1]"""

MAX_CONNECTION_RATIO: Final = 10.0
"""Import limit over the draw of all racks at work; declared sites have up to 1.7. [1]"""

MAX_CURRENT_KA: Final = 10.0
"""Import limit over the voltage of the connection; the declared site has 1.2. [kA]"""

MAX_RENEWABLE_RATIO: Final = 5.0
"""Power of a renewable over the connection; declared sites have up to 0.6. [1]"""

RACK_POWER_LIMITS_MW: Final = (0.002, 2.0)
"""Full power of a rack; declared ones have 0.06 to 0.4. [MW]"""

MAX_RAMP_TIME_H: Final = 6.0
"""Time in which the ramp of the connection lets all racks begin to work. [h]"""

NEGLIGIBLE_LOAD_SHARE: Final = 1e-6
"""Load over the draw of the site below which a machine is not asked for anything. [1]"""

MAX_AUXILIARY_SHARE: Final = 0.2
"""Power of pumps, or of fans, over the cooling they serve; declared sites have up to 0.04. [1]"""

WARMING_LIMITS_K_MIN: Final = (0.1, 100.0)
"""Rise of a circuit's water a minute that nobody cools at its rating; declared ones have 2 to 7."""

HIGH_ELEVATION_M: Final = 1000.0
"""Height from which on fans move clearly less air than data sheets say; there 0.89 of it. [m]"""

MAX_DELTA_T_RATIO: Final = 1.25
"""Warming of a circuit's water at its plant over that at what it cools; declared: 1.15. [1]"""

MAX_SOLAR_TIME_OFFSET_H: Final = 4.0
"""How far local time may lie from the sun's; no country is further than 3.5. [h]"""


def implausible_values(site: Site) -> Iterator[ValidationIssue]:
    """Yield what of a site that can be loaded is hardly meant.

    Parameters
    ----------
    site
        The site.

    Yields
    ------
    ValidationIssue
        Place, value with its unit, and what it may be.
    """
    if not is_valid_name(site.name):
        remedy = f"no service runs under this name: rename the file; a name has {NAME_RULE}"
        yield ValidationIssue(location="name", found=site.name, remedy=remedy)
    asked, idle = design_loads(site, busy_share=1.0), design_loads(site, busy_share=0.0)
    yield from _of_stores(site, asked)
    yield from _of_machines(site, asked)
    yield from _of_connection(site, asked["grid"], idle["grid"])
    yield from _of_caps(site)
    yield from _of_place(site)
    yield from _of_coolant(site)
    for plant in site.machines_of(CoolingPlant):
        yield from _of_plant(plant)
        yield from _of_ranges(site, plant)


def _of_stores(site: Site, asked: Mapping[str, float]) -> Iterator[ValidationIssue]:
    for store in site.stores:
        place, kept = f"equipment.{store.owner}", store.max_level - store.min_level
        if (
            not STORAGE_DURATION_LIMITS_H[0]
            <= (hours := kept / store.discharge_limit)
            <= STORAGE_DURATION_LIMITS_H[1]
        ):
            value = f"{kept:g} MWh at {store.discharge_limit:g} MW"
            remedy = f"it would be empty in {_time(hours)}; look at units and decimal sign"
            yield ValidationIssue(location=place, found=value, remedy=remedy)
        power = max(store.charge_limit, store.discharge_limit)
        if power > MAX_STORE_POWER_RATIO * asked[store.carrier]:
            remedy = (
                f"all that asks for {store.carrier.replace('_', ' ')} takes "
                f"{asked[store.carrier]:.3g} MW; is it in MW?"
            )
            yield ValidationIssue(location=place, found=f"{power:g} MW", remedy=remedy)


def _of_machines(site: Site, asked: Mapping[str, float]) -> Iterator[ValidationIssue]:
    most, least = rated_outputs(site), NEGLIGIBLE_LOAD_SHARE * asked["grid"]
    for convert in site.conversions:
        load, rating = asked[convert.output], most[convert.owner]
        if load > least and rating > MAX_RATING_RATIO * load:
            remedy = f"all racks at work ask {load:.3g} MW of it; look at its count and units"
            yield ValidationIssue(
                location=f"equipment.{convert.owner}", found=f"{rating:.4g} MW", remedy=remedy
            )
    for work in site.flexible_loads:
        if not RACK_POWER_LIMITS_MW[0] <= work.full_power <= RACK_POWER_LIMITS_MW[1]:
            remedy = "a rack draws some 0.01 to 0.5 MW; look at chips a rack and their power"
            value = f"{1e3 * work.full_power:.4g} kW a rack"
            yield ValidationIssue(location=f"equipment.{work.owner}", found=value, remedy=remedy)
    for exchange in site.exchanges:
        if (
            exchange.availability_variable
            and exchange.import_limit > MAX_RENEWABLE_RATIO * site.grid.import_limit
        ):
            remedy = f"the connection has {site.grid.import_limit:g} MW; is it in MW?"
            value = f"{exchange.import_limit:g} MW"
            yield ValidationIssue(
                location=f"equipment.{exchange.owner}", found=value, remedy=remedy
            )


def _of_caps(site: Site) -> Iterator[ValidationIssue]:
    """Yield accelerators that take no cap as deep as plans may lay on their racks."""
    for hall in site.machines_of(ITHall):
        least = (hall.min_capped_power or 0.0) / hall.rack_power
        for kind in site.work.values():
            if kind.min_power_share < least:
                remedy = (
                    f"{kind.name} may be capped to {kind.min_power_share:.2f}, and the racks would "
                    f"draw more than planned; lower the tolerance of {kind.name}"
                )
                place = f"equipment.{hall.name}, chip_power_least"
                yield ValidationIssue(
                    location=place, found=f"{least:.2f} of a rack's full work", remedy=remedy
                )


def _of_connection(site: Site, full: float, idle: float) -> Iterator[ValidationIssue]:
    place = f"equipment.{site.grid.name}"
    if site.grid.import_limit > MAX_CONNECTION_RATIO * full:
        remedy = f"all racks at work need {full:.3g} MW; is it in MW?"
        yield ValidationIssue(
            location=place, found=f"import of {site.grid.import_limit:g} MW", remedy=remedy
        )
    elif site.network is not None:
        voltage = site.network.nodes[site.network.source].voltage
        current = site.grid.import_limit / (math.sqrt(3.0) * voltage)
        if current > MAX_CURRENT_KA:
            remedy = f"at {voltage:g} kV that is {1e3 * current:,.0f} A; is it in MW?"
            yield ValidationIssue(
                location=place, found=f"import of {site.grid.import_limit:g} MW", remedy=remedy
            )
    if (full - idle) / 60.0 > MAX_RAMP_TIME_H * site.grid.ramp:
        hours = (full - idle) / 60.0 / site.grid.ramp
        remedy = f"all racks would begin to work in {_time(hours)}; is it in MW/min?"
        yield ValidationIssue(
            location=place, found=f"ramp of {site.grid.ramp:g} MW/min", remedy=remedy
        )


def _of_place(site: Site) -> Iterator[ValidationIssue]:
    rated = [plant.rejection.rated_air_pressure for plant in site.machines_of(CoolingPlant)]
    if site.elevation > HIGH_ELEVATION_M and None in rated:
        share = standard_pressure(site.elevation) / STANDARD_PRESSURE_KPA
        remedy = (
            f"air there is {share:.2f} as dense as at sea level, and fans move so much less of it "
            'than data sheets say; give rated_air_pressure = "101.3 kPa" with such an air_flow, or '
            "air_flow and conductance at this air"
        )
        yield ValidationIssue(location="elevation", found=f"{site.elevation:g} m", remedy=remedy)
    noon = datetime(2026, 1, 1, tzinfo=UTC).astimezone(ZoneInfo(site.time_zone))
    offset = noon.utcoffset()
    away = site.longitude / 15.0 - (offset.total_seconds() / 3600.0 if offset else 0.0)
    if abs(away) > MAX_SOLAR_TIME_OFFSET_H and abs(abs(away) - 24.0) > MAX_SOLAR_TIME_OFFSET_H:
        value = f"{site.latitude:g} N {site.longitude:g} E"
        remedy = f"the sun is {abs(away):.0f} h off {site.time_zone}; are the two exchanged?"
        yield ValidationIssue(location="latitude, longitude", found=value, remedy=remedy)


def _of_plant(plant: CoolingPlant) -> Iterator[ValidationIssue]:
    place, cooling = f"equipment.{plant.name}", plant.rated_cooling
    fans = plant.rejection.count * plant.rejection.fan_power
    for word, power in (("pump_power", plant.pump_power), ("rejection.fan_power", fans)):
        if power > MAX_AUXILIARY_SHARE * cooling:
            remedy = f"that is {power / cooling:.2g} of the {cooling:g} MW they serve; is it in MW?"
            yield ValidationIssue(
                location=f"{place}, {word}", found=f"{power:g} MW in all", remedy=remedy
            )
    warming = cooling / plant.loop.heat_capacity / 60.0
    if not WARMING_LIMITS_K_MIN[0] <= warming <= WARMING_LIMITS_K_MIN[1]:
        remedy = f"uncooled it would warm by {warming:.2g} K a minute at rating; is it in m3?"
        value = f"{plant.loop.volume:g} m3"
        yield ValidationIssue(location=f"{place}, loop.volume", found=value, remedy=remedy)


def _of_ranges(site: Site, plant: CoolingPlant) -> Iterator[ValidationIssue]:
    """Yield what counts on water that warms otherwise than that of its circuit."""
    span = plant.temperature_range
    if plant.serves == "warm":
        counted = [(m.name, "facility_range", m.facility_range) for m in site.machines_of(CduBank)]
    else:
        counted = [(m.name, "water_range", m.water_range) for m in site.machines_of(CrahBank)]
        for tank in site.machines_of(ChilledWaterTank):
            if tank.temperature_span > MAX_DELTA_T_RATIO * span:
                remedy = (
                    f"the water of {plant.name} warms by {span:g} K, so that it holds "
                    f"{span / tank.temperature_span:.2g} of {tank.capacity:.3g} MWh"
                )
                place = f"equipment.{tank.name}, temperature_span"
                yield ValidationIssue(
                    location=place, found=f"{tank.temperature_span:g} K", remedy=remedy
                )
    for name, word, own in counted:
        if not 1.0 / MAX_DELTA_T_RATIO <= span / own <= MAX_DELTA_T_RATIO:
            remedy = (
                f"the water of {plant.name} warms by {span:g} K, with other flow than this counts "
                "on; give both the same"
            )
            yield ValidationIssue(
                location=f"equipment.{name}, {word}", found=f"{own:g} K", remedy=remedy
            )


def _of_coolant(site: Site) -> Iterator[ValidationIssue]:
    """Yield warm circuits so cold that at little load water condenses on pipes and plates."""
    rules = site.set_points
    least = rules.hall_dew_point + rules.dew_point_distance
    for plant in site.machines_of(CoolingPlant):
        if (
            plant.serves == "warm"
            and plant.supply_temperature < least
            and any(site.machines_of(CduBank))
        ):
            remedy = (
                f"at little load the coolant is as cold, and within {rules.dew_point_distance:g} K "
                f"of the halls' dew point of {rules.hall_dew_point:g} degC; keep it at "
                f"{least:g} degC, or hold the halls drier (set_points.hall_dew_point)"
            )
            place = f"equipment.{plant.name}, supply_temperature"
            yield ValidationIssue(
                location=place, found=f"{plant.supply_temperature:g} degC", remedy=remedy
            )


def _time(hours: float) -> str:
    """Return a time in a unit that people read."""
    if hours < 1.0 / 60.0:
        return f"{3600.0 * hours:.2g} s"
    return f"{60.0 * hours:.3g} min" if hours < 1.0 else f"{hours:.4g} h"


MILD_TEMPERATURE_C: Final = 10.0
"""Air so cold that no plant is short of it. [degC]"""

MILD_RELATIVE_HUMIDITY: Final = 0.7
"""Relative humidity of that air. [1]"""


def design_loads(site: Site, *, busy_share: float) -> Mapping[str, float]:
    """Return what is asked of each carrier on a mild day, before stores and renewables.

    Parameters
    ----------
    site
        A site where every carrier has its supplier.
    busy_share
        Share of the racks that work uncapped; the others wait. [1]

    Returns
    -------
    Mapping
        Carrier -> load. [MW; m3 h-1 for water]

    Raises
    ------
    SiteError
        If the numbers of a machine overflow, where NumPy is told to raise that.

    Notes
    -----
    Of a machine that is asked for more than it delivers, as many are thought of as the load takes:
    the losses of one grow with a power of its load, and would be asked of all before it.
    """
    weather = mild_weather(site)
    asked = {carrier: np.zeros(1) for carrier in CARRIER_ENERGY_SIGN}
    for work in site.flexible_loads:
        power = work.racks * (work.idle_power + busy_share * (work.full_power - work.idle_power))
        asked[work.carrier] += power
        for carrier, share in work.heat.items():
            asked[carrier] += share * power
    for convert in site.conversions:
        for carrier, draw in _draws(convert, asked[convert.output], weather).items():
            asked[carrier] += draw
    return {carrier: float(load[0]) for carrier, load in asked.items()}


def _draws(convert: Convert, load: FloatArray, weather: Weather) -> Mapping[str, FloatArray]:
    """Return what a conversion draws, or as many of its like as a load takes. [MW]"""
    most = convert.max_output(weather)
    try:
        if not 0.0 < most[0] < load[0]:
            return convert.physics(load, weather).inputs
        flows = convert.physics(most, weather)
        return {carrier: load / most * draw for carrier, draw in flows.inputs.items()}
    except FloatingPointError as error:
        wrong = "that is far too small"
        if most[0] >= load[0]:
            wrong = "one of its numbers is far too small or far too large"
        remedy = f"its numbers overflow where {load[0]:.4g} MW are asked of it ({error}); {wrong}"
        place = f"[equipment.{convert.owner}]"
        issue = ValidationIssue(location=place, found=f"{most[0]:.4g} MW", remedy=remedy)
        raise SiteError(convert.owner, [issue]) from error


def rated_outputs(site: Site) -> Mapping[str, float]:
    """Return the most that each conversion delivers on a mild day, by its owner. [MW]"""
    weather = mild_weather(site)
    return {convert.owner: float(convert.max_output(weather)[0]) for convert in site.conversions}


def mild_weather(site: Site) -> Weather:
    """Return an interval of a mild day: what a plant cannot carry then, it hardly ever can."""
    temperature, humidity = np.array([MILD_TEMPERATURE_C]), np.array([MILD_RELATIVE_HUMIDITY])
    pressure = np.array([float(psychrometrics.standard_pressure(site.elevation))])
    wet_bulb = psychrometrics.wet_bulb_temperature(temperature, humidity, pressure=pressure)
    ratio = psychrometrics.humidity_ratio(temperature, humidity, pressure=pressure)
    return Weather(
        air_temperature=temperature,
        wet_bulb_temperature=np.asarray(wet_bulb),
        humidity_ratio=np.asarray(ratio),
        air_pressure=pressure,
    )
