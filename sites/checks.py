"""What machines that are sound one by one must keep together to be a site.

Faults between contracts of a site, and between them and its connection.

Whether the dated tariffs of a site follow one another, and leave the plain fees to none.

What the reserves of a site must keep to: somebody holds each, and work can make up for it.

What a declared network and the machines of its site must keep together.

Whether what a site holds and starts carries it when its connection is lost.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import available_timezones

import numpy as np

from sites.plausibility import design_loads, rated_outputs
from sites.schema import declared_values, key_location, toml_text
from twin.equipment import (
    Battery,
    CduBank,
    CoolingPlant,
    CrahBank,
    Genset,
    GridConnection,
    HeatReuse,
    ITHall,
    TransformerBank,
)
from twin.equipment.network import MediumVoltageNetwork, reachable_nodes
from twin.errors import SiteError, ValidationIssue
from twin.feasibility.reserve_deliverability import eligible_stores, may_pause
from twin.markets.contracts import DayAheadPosition, HourlyMatching, LoadTargetContract
from twin.markets.tariffs import Tariff
from twin.physics import FloatArray
from twin.relations import Convert
from twin.site import Site, network_machines, unsupplied_carriers
from twin.text import closest_match_hint
from twin.workload.flexibility import DEADLINE_SLACK_H

MAX_HALL_TO_CONNECTION: Final = 10.0
"""Full power of a hall over the connection; declared sites have up to 0.9. [1]"""


def site_issues(site: Site) -> list[ValidationIssue]:
    """Return the faults of a site as a whole.

    Parameters
    ----------
    site
        A site of sound machines.

    Returns
    -------
    list of ValidationIssue
        Empty if the site can be; the sizes are judged only where every carrier has its supplier.
    """
    faults = [*_connection(site), *_suppliers(site), *_halls(site), *_work(site)]
    faults += [*_floors(site), *network_issues(site), *tariff_issues(site)]
    faults += reserve_product_issues(site)
    faults += contract_issues(site)
    faults = faults or list(_crowds(site))
    try:
        return faults or [*_sizes(site), *_temperatures(site), *backup_issues(site)]
    except SiteError as error:  # of a machine whose numbers overflow
        return list(error.faults)


def time_zone_issues(values: Mapping[str, object], key: str = "time_zone") -> list[ValidationIssue]:
    """Return the fault of a time zone that nobody knows; what is no text is a fault elsewhere."""
    zones, name = _zones(), values.get(key)
    if not isinstance(name, str) or name in zones:
        return []
    mend = f"write an IANA name such as Europe/Berlin{closest_match_hint(name, zones)}"
    return [ValidationIssue(place=key, value=toml_text(name), mend=mend)]


@cache
def _zones() -> frozenset[str]:
    """Return all names of time zones, which takes a walk through the files of the machine."""
    return frozenset(available_timezones())


def _connection(site: Site) -> Iterator[ValidationIssue]:
    grids = [grid.name for grid in site.of(GridConnection)]
    if len(grids) != 1:
        named = ", ".join(grids)
        yield ValidationIssue(place="[equipment]", value=named, mend="a site has exactly one grid")


def _suppliers(site: Site) -> Iterator[ValidationIssue]:
    """Yield carriers without a supplier or with several, and circles."""
    yield from unsupplied_carriers(site)
    converts = [relation for relation in site.relations if isinstance(relation, Convert)]
    supplied = Counter(convert.output for convert in converts)
    for carrier, count in supplied.items():
        if count > 1:
            owners = ", ".join(convert.owner for convert in converts if convert.output == carrier)
            mend = f"all deliver {carrier}; write them as one machine, of their size together"
            yield ValidationIssue(place="[equipment]", value=owners, mend=mend)
    try:
        _ = site.converts
    except SiteError as error:
        yield from error.faults


def _halls(site: Site) -> Iterator[ValidationIssue]:
    halls = site.of(ITHall)
    if not halls:
        yield ValidationIssue(
            place="[equipment]", value="", mend="a site has at least one hall: accelerators"
        )
    for hall in halls[1:]:
        for key in ("rack_power", "rack_idle_power"):
            first, other = getattr(halls[0], key), getattr(hall, key)
            if first != other:
                place = key_location(f"equipment.{hall.name}", key)
                mend = f"halls of a site have equal racks; {halls[0].name} has {first:g} MW"
                yield ValidationIssue(place=place, value=f"{other:g} MW", mend=mend)


def _floors(site: Site) -> Iterator[ValidationIssue]:
    """Yield floors of power smoothing under which a cap would lower the work, but no power."""
    for hall in site.of(ITHall):
        for kind in site.work.values():
            if hall.smoothing.floor > kind.least_power:
                place = key_location(f"equipment.{hall.name}.smoothing", "floor")
                mend = (
                    f"a floor burns power and is no reduction, but {kind.name} may be capped to "
                    f"{kind.least_power:.3g} of it; lower the floor or the tolerance of {kind.name}"
                )
                yield ValidationIssue(place=place, value=f"{hall.smoothing.floor:g}", mend=mend)


def _work(site: Site) -> Iterator[ValidationIssue]:
    if site.service.racks > site.racks:
        mend = f"the halls have {site.racks} racks"
        yield ValidationIssue(place="[service] racks", value=f"{site.service.racks:g}", mend=mend)
    bounds = [kind.longer_than for kind in site.work.values()]
    if not bounds or min(bounds) > 0:
        mend = "one kind of work must take the shortest jobs: give it no longer_than"
        yield ValidationIssue(place="[work]", value="", mend=mend)
    for bound, count in Counter(bounds).items():
        if count > 1:
            mend = f"{count} kinds have longer_than of {bound:g} h; a job would belong to each"
            yield ValidationIssue(place="[work]", value="", mend=mend)


def _crowds(site: Site) -> Iterator[ValidationIssue]:
    """Yield halls so large that a number is wrong: what they ask of others says nothing."""
    limit = site.grid.import_limit
    for hall in site.of(ITHall):
        if hall.full_power > MAX_HALL_TO_CONNECTION * limit:
            mend = (
                f"racks of {1e3 * hall.rack_power:g} kW draw {hall.full_power:.4g} MW together, "
                f"and the connection has {limit:g} MW; are they too many, or is its import_limit "
                "not in MW?"
            )
            place = key_location(f"equipment.{hall.name}", "racks")
            yield ValidationIssue(place=place, value=f"{hall.racks}", mend=mend)


def _sizes(site: Site) -> Iterator[ValidationIssue]:
    """Yield ratings below full halls, and a connection below idle ones.

    A connection may well be smaller than the full halls: the schedule keeps them below it.
    """
    full, most = design_loads(site, busy=1.0), rated_outputs(site)
    for convert in site.converts:
        load, limit = full[convert.output], most[convert.owner]
        if load > limit:
            mend = f"must deliver {load:.4g} MW of {convert.output} with every rack at full work"
            yield ValidationIssue(
                place=f"[equipment.{convert.owner}]", value=f"{limit:.4g} MW", mend=mend
            )
    least = design_loads(site, busy=site.service.racks / site.racks)["grid"]
    if least > site.grid.import_limit:
        place = key_location(f"equipment.{site.grid.name}", "import_limit")
        mend = f"the inference service and the racks that wait need {least:.4g} MW"
        yield ValidationIssue(place=place, value=f"{site.grid.import_limit:g} MW", mend=mend)


def _temperatures(site: Site) -> Iterator[ValidationIssue]:
    """Yield set points and limits that cannot be kept even when all goes well."""
    margin = site.margins.temperature
    supply: dict[str, float] = {}
    for plant in site.of(CoolingPlant):
        supply[plant.serves] = plant.supply_temperature
        if plant.supply_temperature + margin > plant.supply_limit:
            place = key_location(f"equipment.{plant.name}", "supply_limit")
            mend = (
                f"must be above supply_temperature, {plant.supply_temperature:g} degC, "
                f"by the margin of {margin:g} K"
            )
            yield ValidationIssue(place=place, value=f"{plant.supply_limit:g} degC", mend=mend)
    yield from _source(site)
    heat, least = design_loads(site, busy=1.0), design_loads(site, busy=0.0)
    for hall in site.of(ITHall):
        for cdu in site.of(CduBank):
            turn = cdu.minimum_flow * cdu.rated  # where less flow begins to warm the chips
            most = min(heat["liquid"], cdu.rated)  # more of it is a fault of its size
            liquid = np.array([most, np.clip(turn, least["liquid"], most)])
            coolant = cdu.technology_supply_temperature(liquid, np.full(2, supply["warm"]))
            if not hall.is_air_cooled:
                yield from _chip(site, hall, coolant, flow_share=cdu.plate_flow(liquid))
        for machine in site.of(CrahBank):
            warmth = np.array([min(heat["air"], machine.rated_heat)])
            inlet = machine.rack_inlet_temperature(warmth, np.array([supply["chilled"]]))
            yield from _too_hot(site, hall, "inlet_temperature_limit", float(inlet[0]))
            if hall.is_air_cooled:
                yield from _chip(site, hall, inlet)


def _chip(
    site: Site, hall: ITHall, cold: FloatArray, *, flow_share: FloatArray | float = 1.0
) -> Iterator[ValidationIssue]:
    """Yield chips that full work of their rack makes too hot over what cools them. [degC]"""
    chip = hall.chip_temperature(hall.rack_power, cold, flow_share=flow_share)
    yield from _too_hot(site, hall, "chip_temperature_limit", float(chip.max()))


def _source(site: Site) -> Iterator[ValidationIssue]:
    """Yield heat pumps that count on warmer water than comes back from the racks."""
    warm = [plant for plant in site.of(CoolingPlant) if plant.serves == "warm"]
    back = max((plant.supply_temperature + plant.temperature_range for plant in warm), default=0.0)
    for pump in site.of(HeatReuse):
        if pump.source_inlet_temperature > back:
            place = key_location(f"equipment.{pump.name}", "source_inlet_temperature")
            mend = f"the warm circuit comes back at {back:g} degC"
            yield ValidationIssue(
                place=place, value=f"{pump.source_inlet_temperature:g} degC", mend=mend
            )


def _too_hot(site: Site, hall: ITHall, key: str, reached: float) -> Iterator[ValidationIssue]:
    limit = float(getattr(hall, key))
    margin = site.margins.temperature
    if reached + margin > limit:
        mend = (
            f"a rack's full work at the plant's set point brings {reached:.1f} degC, "
            f"and the margin is {margin:g} K; lower the plant's supply_temperature"
        )
        yield ValidationIssue(
            place=key_location(f"equipment.{hall.name}", key), value=f"{limit:g} degC", mend=mend
        )


def contract_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield contracts that cannot stand side by side, or ask for more than the connection has.

    Parameters
    ----------
    site
        The site.
    """
    if not site.of(GridConnection):  # told elsewhere
        return
    for kind in (DayAheadPosition, HourlyMatching):
        for other in site.of(kind)[1:]:
            mend = f"a site has one {kind.kind} at most; remove it"
            yield ValidationIssue(
                place=key_location(f"equipment.{other.name}", "kind"), value="", mend=mend
            )
    is_matched = bool(site.of(HourlyMatching))
    if is_matched != (site.grid.carbon == "matched"):
        place = key_location(f"equipment.{site.grid.name}", "carbon")
        mend = 'an hourly_matching goes with carbon = "matched" here, and "matched" with it'
        yield ValidationIssue(place=place, value=f'"{site.grid.carbon}"', mend=mend)
    issuers: set[str] = set()
    for contract in site.of(LoadTargetContract):
        if contract.least > site.grid.import_limit:
            place = key_location(f"equipment.{contract.name}", "least")
            mend = f"the connection has {site.grid.import_limit:g} MW only"
            yield ValidationIssue(place=place, value=f"{contract.least:g} MW", mend=mend)
        if contract.issuer in issuers:
            place = key_location(f"equipment.{contract.name}", "partner")
            mend = "another contract has the same partner, whose targets cannot be told apart"
            yield ValidationIssue(place=place, value=f'"{contract.issuer}"', mend=mend)
        issuers.add(contract.issuer)
        yield from _calls(site, contract)


def _calls(site: Site, contract: LoadTargetContract) -> Iterator[ValidationIssue]:
    """Yield what a contract cannot call: only what waits for an order, and lowers import."""
    place = key_location(f"equipment.{contract.name}", "activates")
    for name in contract.activates:
        product = site.reserves.get(name)
        if product is None:
            known = ", ".join(site.reserves) or "none"
            yield ValidationIssue(place=place, value=f'"{name}"', mend=f"the site sells: {known}")
        elif product.needs_controller or not product.goes_up:
            mend = "a limit of import calls what goes up and needs no controller; remove it"
            yield ValidationIssue(place=place, value=f'"{name}"', mend=mend)
    if contract.activates and contract.effect == "curtailment":
        mend = 'what is sold is called by a target; make the effect "priced" or "hard"'
        place = key_location(f"equipment.{contract.name}", "effect")
        yield ValidationIssue(place=place, value='"curtailment"', mend=mend)


def tariff_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield what is wrong with the tariffs of a site as a whole.

    Parameters
    ----------
    site
        The site.
    """
    yield from tariff_date_issues(site.tariffs)
    for grid in site.of(GridConnection):
        for key in ("import_fee", "peak_price"):
            if site.tariffs and getattr(grid, key):
                place = key_location(f"equipment.{grid.name}", key)
                mend = "the tariff says what the network charges: leave this out"
                yield ValidationIssue(place=place, value=str(declared_values(grid)[key]), mend=mend)


def tariff_date_issues(tariffs: Mapping[str, Tariff]) -> Iterator[ValidationIssue]:
    """Yield tariffs that do not follow one another.

    Parameters
    ----------
    tariffs
        Name -> tariff of one site.
    """
    in_order = sorted(tariffs.values(), key=lambda tariff: tariff.valid_from)
    for before, after in pairwise(in_order):
        if (before.valid_to or date.max) > after.valid_from:
            place = key_location(f"tariffs.{before.name}", "valid_to")
            mend = f"two tariffs on one day: {after.name} holds from {after.valid_from} on"
            yield ValidationIssue(place=place, value=str(before.valid_to or ""), mend=mend)
        elif (before.valid_to or date.max) > after.valid_from.replace(day=1) and (
            _charges_months(before) and _charges_months(after)
        ):
            place = key_location(f"tariffs.{after.name}", "valid_from")
            mend = (
                f"{before.name} holds in this month too, whose peak both would charge: let it hold "
                "from the first of a month on"
            )
            yield ValidationIssue(place=place, value=str(after.valid_from), mend=mend)
    for before, after in pairwise(tariff for tariff in in_order if tariff.billing):
        if before.billing != after.billing:
            mend = (
                f"its peaks are of a {after.billing}, those of {before.name} of a {before.billing}"
            )
            yield ValidationIssue(place=f"[tariffs.{after.name}]", value="", mend=mend)


def _charges_months(tariff: Tariff) -> bool:
    """Return whether a tariff charges for something greatest of a month."""
    has_peak = any(peak.of == "month" and peak.price for peak in tariff.peaks)
    return has_peak or any(contract.excess_price for contract in tariff.contracted)


def reserve_product_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield products that nobody may hold, and work that would be late for having held one.

    Parameters
    ----------
    site
        A site of sound machines.
    """
    for name, product in site.reserves.items():
        place = f"reserves.{name}"
        kinds = [kind for kind in site.work.values() if may_pause(product, kind)]
        if not eligible_stores(site, product) and not kinds:
            mend = (
                "nobody may hold it; give a battery local_controller = true"
                if product.needs_controller
                else "nobody may hold it; give a battery, or for a product upwards a kind of work "
                f"with a pause_time of at most {product.full_activation:g} min"
            )
            yield ValidationIssue(place=f"[{place}]", value=name, mend=mend)
        for kind in kinds:
            lost = product.duration + kind.pause_loss
            if lost > DEADLINE_SLACK_H:
                mend = (
                    f"with the pause_loss of {kind.name} a call puts off {lost:g} h of work, and "
                    f"plans keep {DEADLINE_SLACK_H:g} h in hand; leave its pause_time out"
                )
                yield ValidationIssue(
                    place=key_location(place, "duration"),
                    value=f"{product.duration:g} h",
                    mend=mend,
                )


WINDING_VOLTAGE_RATIO: Final = (0.75, 1.35)
"""Rated voltage of a winding over the nominal one of its node; common are 0.9 to 1.1. [1]"""


def network_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield what of a network fits neither the machines of its site nor itself.

    Parameters
    ----------
    site
        A site of sound machines; without a network it has no faults here.
    """
    if site.network is None:
        return
    yield from _feeds(site, site.network)
    yield from _banks(site, site.network)
    yield from _cables(site.network)
    turned = list(_windings(site.network))
    yield from turned or _network_checks_source(site.network)


def _feeds(site: Site, network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    fed, feeds = network_machines(site), network.feeds
    for name in fed:
        if name not in feeds:
            mend = f"{name} draws from medium voltage or gives to it; name the nodes it stands at"
            yield ValidationIssue(place=f"[network.feeds.{name}]", value="", mend=mend)
    for name in feeds:
        if name not in fed:
            mend = f"no machine on medium voltage is named so; there are {', '.join(fed)}"
            yield ValidationIssue(place=f"[network.feeds.{name}]", value="", mend=mend)


def _banks(site: Site, network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    banks = {bank.name: bank.count for bank in site.of(TransformerBank)}
    used = Counter[str]()
    for name, units in network.transformers.items():
        used[units.machine] += units.count
        if units.machine not in banks:
            place = key_location(f"network.transformers.{name}", "machine")
            mend = f"must be a transformer of the site; there are {', '.join(banks)}"
            yield ValidationIssue(place=place, value=f'"{units.machine}"', mend=mend)
    for name, count in banks.items():
        if used[name] != count:
            place = key_location(f"equipment.{name}", "count")
            mend = f"the network has {used[name]} of its units; the two must agree"
            yield ValidationIssue(place=place, value=f"{count}", mend=mend)


def _cables(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield cables that carry nothing, or join two voltages, of which no load flow is known."""
    for name, cable in network.cables.items():
        place, value = key_location(f"network.cables.{name}", "ends"), toml_text(cable.ends)
        one, other = cable.ends
        if one == other:
            mend = "a cable leads from one node to another; name two nodes"
            yield ValidationIssue(place=place, value=value, mend=mend)
        elif not _is_level(network, cable.ends):
            mend = (
                f"a cable joins nodes of one voltage, but {_at(network, one)} and "
                f"{_at(network, other)}; mend an end or a voltage, or use a transformer"
            )
            yield ValidationIssue(place=place, value=value, mend=mend)


def _windings(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield transformers whose sides stand at nodes of other voltages than their windings."""
    for name, units in network.transformers.items():
        table = f"network.transformers.{name}"
        if units.high == units.low:
            mend = "a transformer leads from one node to another; name another one here"
            yield ValidationIssue(
                place=key_location(table, "low"), value=f'"{units.low}"', mend=mend
            )
            continue
        for key, rated in (("high", units.high_voltage), ("low", units.low_voltage)):
            node = getattr(units, key)
            if (
                not WINDING_VOLTAGE_RATIO[0]
                <= rated / network.nodes[node].voltage
                <= WINDING_VOLTAGE_RATIO[1]
            ):
                mend = (
                    f"{_at(network, node)}, but {key}_voltage is {rated:g} kV; are high and low "
                    "exchanged? name the node of that side, or mend a voltage"
                )
                yield ValidationIssue(place=key_location(table, key), value=f'"{node}"', mend=mend)


def _network_checks_source(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield a source behind the transformers, whose losses the run has the connection pay."""
    joined = [cable.ends for cable in network.cables.values() if _is_level(network, cable.ends)]
    near = reachable_nodes(network.source, joined)
    behind = [name for name, units in network.transformers.items() if units.low in near]
    if behind:
        high = ", ".join(sorted({units.high for units in network.transformers.values()} - near))
        mend = (
            f"{_at(network, network.source)} and stands on the low side of {behind[0]}; the "
            f"connection feeds the high sides: {high or 'name a node of its own there'}"
        )
        yield ValidationIssue(
            place=key_location("network", "source"), value=f'"{network.source}"', mend=mend
        )


def _is_level(network: MediumVoltageNetwork, ends: tuple[str, str]) -> bool:
    """Return whether two nodes have one voltage."""
    return network.nodes[ends[0]].voltage == network.nodes[ends[1]].voltage


def _at(network: MediumVoltageNetwork, node: str) -> str:
    return f"{node} has {network.nodes[node].voltage:g} kV"


SECONDS_PER_HOUR: Final = 3600.0
"""Seconds in an hour."""


def backup_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield gensets that start too late or carry too little, and stores that hold too little.

    Parameters
    ----------
    site
        A site where every carrier has its supplier; without gensets it promises nothing.

    Yields
    ------
    ValidationIssue
        The charge that must never be traded is the critical power over the time of failed starts,
        start, transfer and blocks. It is held by the UPS, for its autonomy, and by what batteries
        keep below their reserve, as far as their power gives it in that time. All banks of sets
        carry the load together.
    """
    full, least = (
        design_loads(site, busy=1.0),
        design_loads(site, busy=site.service.racks / site.racks),
    )
    critical, needed = full["critical"], least["medium_voltage"]
    for genset in site.of(Genset):
        place = f"equipment.{genset.name}"
        floor = genset.charge_floor(critical)
        hours = floor / critical if critical else 0.0
        held = site.contingency.ups_autonomy / SECONDS_PER_HOUR * critical
        held += sum(_given(battery, hours) for battery in site.of(Battery))
        if held < floor:
            mend = (
                f"the sets take {SECONDS_PER_HOUR * hours:g} s with failed starts, transfer and "
                f"blocks, {floor:.3g} MWh of critical load; UPS and reserves of batteries give "
                f"{held:.3g} MWh in that time; raise contingency.ups_autonomy, or the reserve "
                "or the power of a battery"
            )
            yield ValidationIssue(
                place=key_location(place, "start_time"), value=f"{genset.start_time:g} s", mend=mend
            )
        start = genset.start_time + genset.transfer_time
        if site.contingency.power_gap < start:
            mend = f"{genset.name} gives power after {start:g} s at the earliest; raise the gap"
            gap = f"{site.contingency.power_gap:g} s"
            yield ValidationIssue(
                place=key_location("contingency", "power_gap"), value=gap, mend=mend
            )
    sets = site.of(Genset)
    limit = sum(genset.limit for genset in sets)
    if sets and limit < needed:
        spare = ", ".join(f"{genset.spare} spare of {genset.name}" for genset in sets)
        mend = (
            f"without {spare} the sets give {limit:.4g} MW, but the inference service and the "
            f"racks that wait need {needed:.4g} MW; declare more sets"
        )
        place = key_location(f"equipment.{sets[-1].name}", "count")
        yield ValidationIssue(place=place, value=f"{sets[-1].count}", mend=mend)


def _given(battery: Battery, hours: float) -> float:
    """Return the energy that a battery gives at the bus from below its reserve. [MWh]"""
    kept = battery.reserve * battery.usable * battery.discharge_efficiency
    return min(kept, battery.limit * hours)
