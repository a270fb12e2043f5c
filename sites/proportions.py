"""What a site may have and hardly has: sizes that do not go together, mostly a unit or a comma.

Faults keep a site from being loaded, doubts do not. But for the name, each is a proportion of two
sizes of the same site, so that plants of a kilowatt and of a gigawatt are asked the same.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from sites.sizing import demand, ratings
from twin.equipment import Accelerators, Cdu, CoolingPlant, HallAir, Tank
from twin.errors import Fault
from twin.names import NAMES, may_go_out
from twin.physics.atmosphere import STANDARD_PRESSURE, standard_pressure
from twin.site import Site

HOURS: Final = (0.1, 100.0)
"""Hours in which a store runs from full to empty; declared sites have 1.6 to 8. [h]"""

STORE: Final = 3.0
"""Power of a store over all that its carrier is asked for; declared sites have up to 0.5. [1]"""

RATING: Final = 10.0
"""What a machine can deliver over what all racks ask of it; declared sites have up to 2. [1]"""

CONNECTION: Final = 10.0
"""Import limit over the draw of all racks at work; declared sites have up to 1.7. [1]"""

CURRENT: Final = 10.0
"""Import limit over the voltage of the connection; the declared site has 1.2. [kA]"""

SOURCE: Final = 5.0
"""Power of a renewable over the connection; declared sites have up to 0.6. [1]"""

RACK: Final = (0.002, 2.0)
"""Full power of a rack; declared ones have 0.06 to 0.4. [MW]"""

FOLLOWED: Final = 6.0
"""Time in which the ramp of the connection lets all racks begin to work. [h]"""

NOTHING: Final = 1e-6
"""Load over the draw of the site below which a machine is not asked for anything. [1]"""

PUMPS_AND_FANS: Final = 0.2
"""Power of pumps, or of fans, over the cooling they serve; declared sites have up to 0.04. [1]"""

WARMING: Final = (0.1, 100.0)
"""Rise of a circuit's water a minute that nobody cools at its rating; declared ones have 2 to 7."""

THIN: Final = 1000.0
"""Height from which on fans move clearly less air than data sheets say; there 0.89 of it. [m]"""

OTHER_FLOW: Final = 1.25
"""Warming of a circuit's water at its plant over that at what it cools; declared: 1.15. [1]"""

AWAY: Final = 4.0
"""How far local time may lie from the sun's; no country is further than 3.5. [h]"""


def doubts(site: Site) -> Iterator[Fault]:
    """Yield what of a site that can be loaded is hardly meant.

    Parameters
    ----------
    site
        The site.

    Yields
    ------
    Fault
        Place, value with its unit, and what it may be.
    """
    if not may_go_out(site.name):
        mend = f"no service runs under this name: rename the file; a name has {NAMES}"
        yield Fault(place="name", value=site.name, mend=mend)
    asked, idle = demand(site, busy=1.0), demand(site, busy=0.0)
    yield from _of_stores(site, asked)
    yield from _of_machines(site, asked)
    yield from _of_connection(site, asked["grid"], idle["grid"])
    yield from _of_caps(site)
    yield from _of_place(site)
    yield from _of_coolant(site)
    for plant in site.of(CoolingPlant):
        yield from _of_plant(plant)
        yield from _of_ranges(site, plant)


def _of_stores(site: Site, asked: Mapping[str, float]) -> Iterator[Fault]:
    for store in site.stores:
        place, kept = f"equipment.{store.owner}", store.high - store.low
        if not HOURS[0] <= (hours := kept / store.discharge_limit) <= HOURS[1]:
            value = f"{kept:g} MWh at {store.discharge_limit:g} MW"
            mend = f"it would be empty in {_time(hours)}; look at units and decimal sign"
            yield Fault(place=place, value=value, mend=mend)
        power = max(store.charge_limit, store.discharge_limit)
        if power > STORE * asked[store.carrier]:
            mend = (
                f"all that asks for {store.carrier.replace('_', ' ')} takes "
                f"{asked[store.carrier]:.3g} MW; is it in MW?"
            )
            yield Fault(place=place, value=f"{power:g} MW", mend=mend)


def _of_machines(site: Site, asked: Mapping[str, float]) -> Iterator[Fault]:
    most, least = ratings(site), NOTHING * asked["grid"]
    for convert in site.converts:
        load, rating = asked[convert.output], most[convert.owner]
        if load > least and rating > RATING * load:
            mend = f"all racks at work ask {load:.3g} MW of it; look at its count and units"
            yield Fault(place=f"equipment.{convert.owner}", value=f"{rating:.4g} MW", mend=mend)
    for work in site.works:
        if not RACK[0] <= work.full_power <= RACK[1]:
            mend = "a rack draws some 0.01 to 0.5 MW; look at chips a rack and their power"
            value = f"{1e3 * work.full_power:.4g} kW a rack"
            yield Fault(place=f"equipment.{work.owner}", value=value, mend=mend)
    for exchange in site.exchanges:
        if exchange.available and exchange.import_limit > SOURCE * site.grid.import_limit:
            mend = f"the connection has {site.grid.import_limit:g} MW; is it in MW?"
            value = f"{exchange.import_limit:g} MW"
            yield Fault(place=f"equipment.{exchange.owner}", value=value, mend=mend)


def _of_caps(site: Site) -> Iterator[Fault]:
    """Yield accelerators that take no cap as deep as plans may lay on their racks."""
    for hall in site.of(Accelerators):
        least = (hall.least_cap or 0.0) / hall.rack_power
        for kind in site.work.values():
            if kind.least_power < least:
                mend = (
                    f"{kind.name} may be capped to {kind.least_power:.2f}, and the racks would "
                    f"draw more than planned; lower the tolerance of {kind.name}"
                )
                place = f"equipment.{hall.name}, chip_power_least"
                yield Fault(place=place, value=f"{least:.2f} of a rack's full work", mend=mend)


def _of_connection(site: Site, full: float, idle: float) -> Iterator[Fault]:
    place = f"equipment.{site.grid.name}"
    if site.grid.import_limit > CONNECTION * full:
        mend = f"all racks at work need {full:.3g} MW; is it in MW?"
        yield Fault(place=place, value=f"import of {site.grid.import_limit:g} MW", mend=mend)
    elif site.network is not None:
        voltage = site.network.nodes[site.network.source].voltage
        current = site.grid.import_limit / (math.sqrt(3.0) * voltage)
        if current > CURRENT:
            mend = f"at {voltage:g} kV that is {1e3 * current:,.0f} A; is it in MW?"
            yield Fault(place=place, value=f"import of {site.grid.import_limit:g} MW", mend=mend)
    if (full - idle) / 60.0 > FOLLOWED * site.grid.ramp:
        hours = (full - idle) / 60.0 / site.grid.ramp
        mend = f"all racks would begin to work in {_time(hours)}; is it in MW/min?"
        yield Fault(place=place, value=f"ramp of {site.grid.ramp:g} MW/min", mend=mend)


def _of_place(site: Site) -> Iterator[Fault]:
    rated = [plant.rejection.rated_air_pressure for plant in site.of(CoolingPlant)]
    if site.elevation > THIN and None in rated:
        share = standard_pressure(site.elevation) / STANDARD_PRESSURE
        mend = (
            f"air there is {share:.2f} as dense as at sea level, and fans move so much less of it "
            'than data sheets say; give rated_air_pressure = "101.3 kPa" with such an air_flow, or '
            "air_flow and conductance at this air"
        )
        yield Fault(place="elevation", value=f"{site.elevation:g} m", mend=mend)
    noon = datetime(2026, 1, 1, tzinfo=UTC).astimezone(ZoneInfo(site.time_zone))
    offset = noon.utcoffset()
    away = site.longitude / 15.0 - (offset.total_seconds() / 3600.0 if offset else 0.0)
    if abs(away) > AWAY and abs(abs(away) - 24.0) > AWAY:
        value = f"{site.latitude:g} N {site.longitude:g} E"
        mend = f"the sun is {abs(away):.0f} h off {site.time_zone}; are the two exchanged?"
        yield Fault(place="latitude, longitude", value=value, mend=mend)


def _of_plant(plant: CoolingPlant) -> Iterator[Fault]:
    place, cooling = f"equipment.{plant.name}", plant.rated_cooling
    fans = plant.rejection.count * plant.rejection.fan_power
    for word, power in (("pump_power", plant.pump_power), ("rejection.fan_power", fans)):
        if power > PUMPS_AND_FANS * cooling:
            mend = f"that is {power / cooling:.2g} of the {cooling:g} MW they serve; is it in MW?"
            yield Fault(place=f"{place}, {word}", value=f"{power:g} MW in all", mend=mend)
    warming = cooling / plant.loop.heat_capacity / 60.0
    if not WARMING[0] <= warming <= WARMING[1]:
        mend = f"uncooled it would warm by {warming:.2g} K a minute at rating; is it in m3?"
        value = f"{plant.loop.volume:g} m3"
        yield Fault(place=f"{place}, loop.volume", value=value, mend=mend)


def _of_ranges(site: Site, plant: CoolingPlant) -> Iterator[Fault]:
    """Yield what counts on water that warms otherwise than that of its circuit."""
    span = plant.temperature_range
    if plant.serves == "warm":
        counted = [(m.name, "facility_range", m.facility_range) for m in site.of(Cdu)]
    else:
        counted = [(m.name, "water_range", m.water_range) for m in site.of(HallAir)]
        for tank in site.of(Tank):
            if tank.temperature_span > OTHER_FLOW * span:
                mend = (
                    f"the water of {plant.name} warms by {span:g} K, so that it holds "
                    f"{span / tank.temperature_span:.2g} of {tank.capacity:.3g} MWh"
                )
                place = f"equipment.{tank.name}, temperature_span"
                yield Fault(place=place, value=f"{tank.temperature_span:g} K", mend=mend)
    for name, word, own in counted:
        if not 1.0 / OTHER_FLOW <= span / own <= OTHER_FLOW:
            mend = (
                f"the water of {plant.name} warms by {span:g} K, with other flow than this counts "
                "on; give both the same"
            )
            yield Fault(place=f"equipment.{name}, {word}", value=f"{own:g} K", mend=mend)


def _of_coolant(site: Site) -> Iterator[Fault]:
    """Yield warm circuits so cold that at little load water condenses on pipes and plates."""
    rules = site.set_points
    least = rules.hall_dew_point + rules.dew_point_distance
    for plant in site.of(CoolingPlant):
        if plant.serves == "warm" and plant.supply_temperature < least and any(site.of(Cdu)):
            mend = (
                f"at little load the coolant is as cold, and within {rules.dew_point_distance:g} K "
                f"of the halls' dew point of {rules.hall_dew_point:g} degC; keep it at "
                f"{least:g} degC, or hold the halls drier (set_points.hall_dew_point)"
            )
            place = f"equipment.{plant.name}, supply_temperature"
            yield Fault(place=place, value=f"{plant.supply_temperature:g} degC", mend=mend)


def _time(hours: float) -> str:
    """Return a time in a unit that people read."""
    if hours < 1.0 / 60.0:
        return f"{3600.0 * hours:.2g} s"
    return f"{60.0 * hours:.3g} min" if hours < 1.0 else f"{hours:.4g} h"
