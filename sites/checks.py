"""What machines that are sound one by one must keep together to be a site."""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final
from zoneinfo import available_timezones

import numpy as np

from sites.backup import check_backup
from sites.contract_checks import check_contracts
from sites.faults import spot, written
from sites.network_checks import check_network
from sites.reserve_checks import check_reserves
from sites.sizing import demand, ratings
from sites.tariff_checks import check_tariffs
from twin.equipment import Accelerators, Cdu, CoolingPlant, Grid, HallAir, HeatReuse
from twin.errors import Fault, SiteError, nearest
from twin.paths import without_path
from twin.physics import FloatArray
from twin.relations import Convert
from twin.site import Site

CROWD: Final = 10.0
"""Full power of a hall over the connection; declared sites have up to 0.9. [1]"""


def check(site: Site) -> list[Fault]:
    """Return the faults of a site as a whole.

    Parameters
    ----------
    site
        A site of sound machines.

    Returns
    -------
    list of Fault
        Empty if the site can be; the sizes are judged only where every carrier has its supplier.
    """
    faults = [*_connection(site), *_suppliers(site), *_halls(site), *_work(site)]
    faults += [*_floors(site), *check_network(site), *check_tariffs(site)]
    faults += check_reserves(site)
    faults += check_contracts(site)
    faults = faults or list(_crowds(site))
    try:
        return faults or [*_sizes(site), *_temperatures(site), *check_backup(site)]
    except SiteError as error:  # of a machine whose numbers overflow
        return list(error.faults)


def check_time_zone(values: Mapping[str, object], key: str = "time_zone") -> list[Fault]:
    """Return the fault of a time zone that nobody knows; what is no text is a fault elsewhere."""
    zones, name = _zones(), values.get(key)
    if not isinstance(name, str) or name in zones:
        return []
    mend = f"write an IANA name such as Europe/Berlin{nearest(name, zones)}"
    return [Fault(place=key, value=written(name), mend=mend)]


@cache
def _zones() -> frozenset[str]:
    """Return all names of time zones, which takes a walk through the files of the machine."""
    return frozenset(available_timezones())


def _connection(site: Site) -> Iterator[Fault]:
    grids = [grid.name for grid in site.of(Grid)]
    if len(grids) != 1:
        named = ", ".join(grids)
        yield Fault(place="[equipment]", value=named, mend="a site has exactly one grid")


def _suppliers(site: Site) -> Iterator[Fault]:
    """Yield carriers without a supplier or with several, and circles."""
    yield from without_path(site)
    converts = [relation for relation in site.relations if isinstance(relation, Convert)]
    supplied = Counter(convert.output for convert in converts)
    for carrier, count in supplied.items():
        if count > 1:
            owners = ", ".join(convert.owner for convert in converts if convert.output == carrier)
            mend = f"all deliver {carrier}; write them as one machine, of their size together"
            yield Fault(place="[equipment]", value=owners, mend=mend)
    try:
        _ = site.converts
    except SiteError as error:
        yield from error.faults


def _halls(site: Site) -> Iterator[Fault]:
    halls = site.of(Accelerators)
    if not halls:
        yield Fault(
            place="[equipment]", value="", mend="a site has at least one hall: accelerators"
        )
    for hall in halls[1:]:
        for key in ("rack_power", "rack_idle_power"):
            first, other = getattr(halls[0], key), getattr(hall, key)
            if first != other:
                place = spot(f"equipment.{hall.name}", key)
                mend = f"halls of a site have equal racks; {halls[0].name} has {first:g} MW"
                yield Fault(place=place, value=f"{other:g} MW", mend=mend)


def _floors(site: Site) -> Iterator[Fault]:
    """Yield floors of power smoothing under which a cap would lower the work, but no power."""
    for hall in site.of(Accelerators):
        for kind in site.work.values():
            if hall.smoothing.floor > kind.least_power:
                place = spot(f"equipment.{hall.name}.smoothing", "floor")
                mend = (
                    f"a floor burns power and is no reduction, but {kind.name} may be capped to "
                    f"{kind.least_power:.3g} of it; lower the floor or the tolerance of {kind.name}"
                )
                yield Fault(place=place, value=f"{hall.smoothing.floor:g}", mend=mend)


def _work(site: Site) -> Iterator[Fault]:
    if site.service.racks > site.racks:
        mend = f"the halls have {site.racks} racks"
        yield Fault(place="[service] racks", value=f"{site.service.racks:g}", mend=mend)
    bounds = [kind.longer_than for kind in site.work.values()]
    if not bounds or min(bounds) > 0:
        mend = "one kind of work must take the shortest jobs: give it no longer_than"
        yield Fault(place="[work]", value="", mend=mend)
    for bound, count in Counter(bounds).items():
        if count > 1:
            mend = f"{count} kinds have longer_than of {bound:g} h; a job would belong to each"
            yield Fault(place="[work]", value="", mend=mend)


def _crowds(site: Site) -> Iterator[Fault]:
    """Yield halls so large that a number is wrong: what they ask of others says nothing."""
    limit = site.grid.import_limit
    for hall in site.of(Accelerators):
        if hall.full_power > CROWD * limit:
            mend = (
                f"racks of {1e3 * hall.rack_power:g} kW draw {hall.full_power:.4g} MW together, "
                f"and the connection has {limit:g} MW; are they too many, or is its import_limit "
                "not in MW?"
            )
            place = spot(f"equipment.{hall.name}", "racks")
            yield Fault(place=place, value=f"{hall.racks}", mend=mend)


def _sizes(site: Site) -> Iterator[Fault]:
    """Yield ratings below full halls, and a connection below idle ones.

    A connection may well be smaller than the full halls: the schedule keeps them below it.
    """
    full, most = demand(site, busy=1.0), ratings(site)
    for convert in site.converts:
        load, limit = full[convert.output], most[convert.owner]
        if load > limit:
            mend = f"must deliver {load:.4g} MW of {convert.output} with every rack at full work"
            yield Fault(place=f"[equipment.{convert.owner}]", value=f"{limit:.4g} MW", mend=mend)
    least = demand(site, busy=site.service.racks / site.racks)["grid"]
    if least > site.grid.import_limit:
        place = spot(f"equipment.{site.grid.name}", "import_limit")
        mend = f"the inference service and the racks that wait need {least:.4g} MW"
        yield Fault(place=place, value=f"{site.grid.import_limit:g} MW", mend=mend)


def _temperatures(site: Site) -> Iterator[Fault]:
    """Yield set points and limits that cannot be kept even when all goes well."""
    margin = site.margins.temperature
    supply: dict[str, float] = {}
    for plant in site.of(CoolingPlant):
        supply[plant.serves] = plant.supply_temperature
        if plant.supply_temperature + margin > plant.supply_limit:
            place = spot(f"equipment.{plant.name}", "supply_limit")
            mend = (
                f"must be above supply_temperature, {plant.supply_temperature:g} degC, "
                f"by the margin of {margin:g} K"
            )
            yield Fault(place=place, value=f"{plant.supply_limit:g} degC", mend=mend)
    yield from _source(site)
    heat, least = demand(site, busy=1.0), demand(site, busy=0.0)
    for hall in site.of(Accelerators):
        for cdu in site.of(Cdu):
            turn = cdu.minimum_flow * cdu.rated  # where less flow begins to warm the chips
            most = min(heat["liquid"], cdu.rated)  # more of it is a fault of its size
            liquid = np.array([most, np.clip(turn, least["liquid"], most)])
            coolant = cdu.technology_supply_temperature(liquid, np.full(2, supply["warm"]))
            if not hall.is_air_cooled:
                yield from _chip(site, hall, coolant, flow_share=cdu.plate_flow(liquid))
        for machine in site.of(HallAir):
            warmth = np.array([min(heat["air"], machine.rated_heat)])
            inlet = machine.rack_inlet_temperature(warmth, np.array([supply["chilled"]]))
            yield from _too_hot(site, hall, "inlet_temperature_limit", float(inlet[0]))
            if hall.is_air_cooled:
                yield from _chip(site, hall, inlet)


def _chip(
    site: Site, hall: Accelerators, cold: FloatArray, *, flow_share: FloatArray | float = 1.0
) -> Iterator[Fault]:
    """Yield chips that full work of their rack makes too hot over what cools them. [degC]"""
    chip = hall.chip_temperature(hall.rack_power, cold, flow_share=flow_share)
    yield from _too_hot(site, hall, "chip_temperature_limit", float(chip.max()))


def _source(site: Site) -> Iterator[Fault]:
    """Yield heat pumps that count on warmer water than comes back from the racks."""
    warm = [plant for plant in site.of(CoolingPlant) if plant.serves == "warm"]
    back = max((plant.supply_temperature + plant.temperature_range for plant in warm), default=0.0)
    for pump in site.of(HeatReuse):
        if pump.source_inlet_temperature > back:
            place = spot(f"equipment.{pump.name}", "source_inlet_temperature")
            mend = f"the warm circuit comes back at {back:g} degC"
            yield Fault(place=place, value=f"{pump.source_inlet_temperature:g} degC", mend=mend)


def _too_hot(site: Site, hall: Accelerators, key: str, reached: float) -> Iterator[Fault]:
    limit = float(getattr(hall, key))
    margin = site.margins.temperature
    if reached + margin > limit:
        mend = (
            f"a rack's full work at the plant's set point brings {reached:.1f} degC, "
            f"and the margin is {margin:g} K; lower the plant's supply_temperature"
        )
        yield Fault(place=spot(f"equipment.{hall.name}", key), value=f"{limit:g} degC", mend=mend)
