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
    """Return the faults of a site as a whole."""
    issues = [*_connection(site), *_suppliers(site), *_halls(site), *_work(site)]
    issues += [*_floors(site), *network_issues(site), *tariff_issues(site)]
    issues += reserve_product_issues(site)
    issues += contract_issues(site)
    issues = issues or list(_crowds(site))
    try:
        return issues or [*_sizes(site), *_temperatures(site), *backup_issues(site)]
    except SiteError as error:  # of a machine whose numbers overflow
        return list(error.issues)


def time_zone_issues(values: Mapping[str, object], key: str = "time_zone") -> list[ValidationIssue]:
    """Return the fault of a time zone that nobody knows; what is no text is a fault elsewhere."""
    zones, name = _zones(), values.get(key)
    if not isinstance(name, str) or name in zones:
        return []
    remedy = f"write an IANA name such as Europe/Berlin{closest_match_hint(name, zones)}"
    return [ValidationIssue(location=key, found=toml_text(name), remedy=remedy)]


@cache
def _zones() -> frozenset[str]:
    """Return all names of time zones, which takes a walk through the files of the machine."""
    return frozenset(available_timezones())


def _connection(site: Site) -> Iterator[ValidationIssue]:
    grids = [grid.name for grid in site.machines_of(GridConnection)]
    if len(grids) != 1:
        named = ", ".join(grids)
        yield ValidationIssue(
            location="[equipment]", found=named, remedy="a site has exactly one grid"
        )


def _suppliers(site: Site) -> Iterator[ValidationIssue]:
    """Yield carriers without a supplier or with several, and circles."""
    yield from unsupplied_carriers(site)
    converts = [relation for relation in site.relations if isinstance(relation, Convert)]
    supplied = Counter(convert.output for convert in converts)
    for carrier, count in supplied.items():
        if count > 1:
            owners = ", ".join(convert.owner for convert in converts if convert.output == carrier)
            remedy = f"all deliver {carrier}; write them as one machine, of their size together"
            yield ValidationIssue(location="[equipment]", found=owners, remedy=remedy)
    try:
        _ = site.conversions
    except SiteError as error:
        yield from error.issues


def _halls(site: Site) -> Iterator[ValidationIssue]:
    halls = site.machines_of(ITHall)
    if not halls:
        yield ValidationIssue(
            location="[equipment]", found="", remedy="a site has at least one hall: accelerators"
        )
    for hall in halls[1:]:
        for key in ("rack_power", "rack_idle_power"):
            first, other = getattr(halls[0], key), getattr(hall, key)
            if first != other:
                place = key_location(f"equipment.{hall.name}", key)
                remedy = f"halls of a site have equal racks; {halls[0].name} has {first:g} MW"
                yield ValidationIssue(location=place, found=f"{other:g} MW", remedy=remedy)


def _floors(site: Site) -> Iterator[ValidationIssue]:
    """Yield floors of power smoothing under which a cap would lower the work, but no power."""
    for hall in site.machines_of(ITHall):
        for kind in site.work.values():
            if hall.smoothing.floor > kind.min_power_share:
                place = key_location(f"equipment.{hall.name}.smoothing", "floor")
                remedy = (
                    f"a floor burns power and is no reduction, but {kind.name} may be capped to "
                    f"{kind.min_power_share:.3g} of it; "
                    f"lower the floor or the tolerance of {kind.name}"
                )
                yield ValidationIssue(
                    location=place, found=f"{hall.smoothing.floor:g}", remedy=remedy
                )


def _work(site: Site) -> Iterator[ValidationIssue]:
    if site.service.racks > site.racks:
        remedy = f"the halls have {site.racks} racks"
        yield ValidationIssue(
            location="[service] racks", found=f"{site.service.racks:g}", remedy=remedy
        )
    bounds = [kind.longer_than for kind in site.work.values()]
    if not bounds or min(bounds) > 0:
        remedy = "one kind of work must take the shortest jobs: give it no longer_than"
        yield ValidationIssue(location="[work]", found="", remedy=remedy)
    for bound, count in Counter(bounds).items():
        if count > 1:
            remedy = f"{count} kinds have longer_than of {bound:g} h; a job would belong to each"
            yield ValidationIssue(location="[work]", found="", remedy=remedy)


def _crowds(site: Site) -> Iterator[ValidationIssue]:
    """Yield halls so large that a number is wrong: what they ask of others says nothing."""
    limit = site.grid.import_limit
    for hall in site.machines_of(ITHall):
        if hall.full_power > MAX_HALL_TO_CONNECTION * limit:
            remedy = (
                f"racks of {1e3 * hall.rack_power:g} kW draw {hall.full_power:.4g} MW together, "
                f"and the connection has {limit:g} MW; are they too many, or is its import_limit "
                "not in MW?"
            )
            place = key_location(f"equipment.{hall.name}", "racks")
            yield ValidationIssue(location=place, found=f"{hall.racks}", remedy=remedy)


def _sizes(site: Site) -> Iterator[ValidationIssue]:
    """Yield ratings below full halls, and a connection below idle ones.

    A connection may well be smaller than the full halls: the schedule keeps them below it.
    """
    full, most = design_loads(site, busy_share=1.0), rated_outputs(site)
    for convert in site.conversions:
        load, limit = full[convert.output], most[convert.owner]
        if load > limit:
            remedy = f"must deliver {load:.4g} MW of {convert.output} with every rack at full work"
            yield ValidationIssue(
                location=f"[equipment.{convert.owner}]", found=f"{limit:.4g} MW", remedy=remedy
            )
    least = design_loads(site, busy_share=site.service.racks / site.racks)["grid"]
    if least > site.grid.import_limit:
        place = key_location(f"equipment.{site.grid.name}", "import_limit")
        remedy = f"the inference service and the racks that wait need {least:.4g} MW"
        yield ValidationIssue(location=place, found=f"{site.grid.import_limit:g} MW", remedy=remedy)


def _temperatures(site: Site) -> Iterator[ValidationIssue]:
    """Yield set points and limits that cannot be kept even when all goes well."""
    margin = site.margins.temperature
    supply: dict[str, float] = {}
    for plant in site.machines_of(CoolingPlant):
        supply[plant.serves] = plant.supply_temperature
        if plant.supply_temperature + margin > plant.supply_limit:
            place = key_location(f"equipment.{plant.name}", "supply_limit")
            remedy = (
                f"must be above supply_temperature, {plant.supply_temperature:g} degC, "
                f"by the margin of {margin:g} K"
            )
            yield ValidationIssue(
                location=place, found=f"{plant.supply_limit:g} degC", remedy=remedy
            )
    yield from _source(site)
    heat, least = design_loads(site, busy_share=1.0), design_loads(site, busy_share=0.0)
    for hall in site.machines_of(ITHall):
        for cdu in site.machines_of(CduBank):
            turn = (
                cdu.minimum_flow * cdu.rated_heat_total
            )  # where less flow begins to warm the chips
            most = min(heat["liquid"], cdu.rated_heat_total)  # more of it is a fault of its size
            liquid = np.array([most, np.clip(turn, least["liquid"], most)])
            coolant = cdu.technology_supply_temperature(liquid, np.full(2, supply["warm"]))
            if not hall.is_air_cooled:
                yield from _chip(site, hall, coolant, flow_share=cdu.cold_plate_flow(liquid))
        for machine in site.machines_of(CrahBank):
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
    warm = [plant for plant in site.machines_of(CoolingPlant) if plant.serves == "warm"]
    back = max((plant.supply_temperature + plant.temperature_range for plant in warm), default=0.0)
    for pump in site.machines_of(HeatReuse):
        if pump.source_inlet_temperature > back:
            place = key_location(f"equipment.{pump.name}", "source_inlet_temperature")
            remedy = f"the warm circuit comes back at {back:g} degC"
            yield ValidationIssue(
                location=place, found=f"{pump.source_inlet_temperature:g} degC", remedy=remedy
            )


def _too_hot(site: Site, hall: ITHall, key: str, reached: float) -> Iterator[ValidationIssue]:
    limit = float(getattr(hall, key))
    margin = site.margins.temperature
    if reached + margin > limit:
        remedy = (
            f"a rack's full work at the plant's set point brings {reached:.1f} degC, "
            f"and the margin is {margin:g} K; lower the plant's supply_temperature"
        )
        yield ValidationIssue(
            location=key_location(f"equipment.{hall.name}", key),
            found=f"{limit:g} degC",
            remedy=remedy,
        )


def contract_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield contracts that cannot stand side by side, or ask for more than the connection has."""
    if not site.machines_of(GridConnection):  # told elsewhere
        return
    for kind in (DayAheadPosition, HourlyMatching):
        for other in site.machines_of(kind)[1:]:
            remedy = f"a site has one {kind.kind} at most; remove it"
            yield ValidationIssue(
                location=key_location(f"equipment.{other.name}", "kind"), found="", remedy=remedy
            )
    is_matched = bool(site.machines_of(HourlyMatching))
    if is_matched != (site.grid.carbon == "matched"):
        place = key_location(f"equipment.{site.grid.name}", "carbon")
        remedy = 'an hourly_matching goes with carbon = "matched" here, and "matched" with it'
        yield ValidationIssue(location=place, found=f'"{site.grid.carbon}"', remedy=remedy)
    issuers: set[str] = set()
    for contract in site.machines_of(LoadTargetContract):
        if contract.least > site.grid.import_limit:
            place = key_location(f"equipment.{contract.name}", "least")
            remedy = f"the connection has {site.grid.import_limit:g} MW only"
            yield ValidationIssue(location=place, found=f"{contract.least:g} MW", remedy=remedy)
        if contract.issuer in issuers:
            place = key_location(f"equipment.{contract.name}", "partner")
            remedy = "another contract has the same partner, whose targets cannot be told apart"
            yield ValidationIssue(location=place, found=f'"{contract.issuer}"', remedy=remedy)
        issuers.add(contract.issuer)
        yield from _calls(site, contract)


def _calls(site: Site, contract: LoadTargetContract) -> Iterator[ValidationIssue]:
    """Yield what a contract cannot call: only what waits for an order, and lowers import."""
    place = key_location(f"equipment.{contract.name}", "activates")
    for name in contract.activates:
        product = site.reserves.get(name)
        if product is None:
            known = ", ".join(site.reserves) or "none"
            yield ValidationIssue(
                location=place, found=f'"{name}"', remedy=f"the site sells: {known}"
            )
        elif product.needs_controller or not product.is_upward:
            remedy = "a limit of import calls what goes up and needs no controller; remove it"
            yield ValidationIssue(location=place, found=f'"{name}"', remedy=remedy)
    if contract.activates and contract.effect == "curtailment":
        remedy = 'what is sold is called by a target; make the effect "priced" or "hard"'
        place = key_location(f"equipment.{contract.name}", "effect")
        yield ValidationIssue(location=place, found='"curtailment"', remedy=remedy)


def tariff_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield what is wrong with the tariffs of a site as a whole."""
    yield from tariff_date_issues(site.tariffs)
    for grid in site.machines_of(GridConnection):
        for key in ("import_fee", "peak_price"):
            if site.tariffs and getattr(grid, key):
                place = key_location(f"equipment.{grid.name}", key)
                remedy = "the tariff says what the network charges: leave this out"
                yield ValidationIssue(
                    location=place, found=str(declared_values(grid)[key]), remedy=remedy
                )


def tariff_date_issues(tariffs: Mapping[str, Tariff]) -> Iterator[ValidationIssue]:
    """Yield tariffs that do not follow one another."""
    in_order = sorted(tariffs.values(), key=lambda tariff: tariff.valid_from)
    for before, after in pairwise(in_order):
        if (before.valid_to or date.max) > after.valid_from:
            place = key_location(f"tariffs.{before.name}", "valid_to")
            remedy = f"two tariffs on one day: {after.name} holds from {after.valid_from} on"
            yield ValidationIssue(location=place, found=str(before.valid_to or ""), remedy=remedy)
        elif (before.valid_to or date.max) > after.valid_from.replace(day=1) and (
            _charges_months(before) and _charges_months(after)
        ):
            place = key_location(f"tariffs.{after.name}", "valid_from")
            remedy = (
                f"{before.name} holds in this month too, whose peak both would charge: let it hold "
                "from the first of a month on"
            )
            yield ValidationIssue(location=place, found=str(after.valid_from), remedy=remedy)
    for before, after in pairwise(tariff for tariff in in_order if tariff.peak_span):
        if before.peak_span != after.peak_span:
            remedy = (
                f"its peaks are of a {after.peak_span}, "
                f"those of {before.name} of a {before.peak_span}"
            )
            yield ValidationIssue(location=f"[tariffs.{after.name}]", found="", remedy=remedy)


def _charges_months(tariff: Tariff) -> bool:
    """Return whether a tariff charges for something greatest of a month."""
    has_peak = any(peak.of == "month" and peak.price for peak in tariff.peaks)
    return has_peak or any(contract.excess_price for contract in tariff.contracted)


def reserve_product_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield products that nobody may hold, and work that would be late for having held one."""
    for name, product in site.reserves.items():
        place = f"reserves.{name}"
        kinds = [kind for kind in site.work.values() if may_pause(product, kind)]
        if not eligible_stores(site, product) and not kinds:
            remedy = (
                "nobody may hold it; give a battery local_controller = true"
                if product.needs_controller
                else "nobody may hold it; give a battery, or for a product upwards a kind of work "
                f"with a pause_time of at most {product.full_activation:g} min"
            )
            yield ValidationIssue(location=f"[{place}]", found=name, remedy=remedy)
        for kind in kinds:
            lost = product.duration + kind.pause_loss
            if lost > DEADLINE_SLACK_H:
                remedy = (
                    f"with the pause_loss of {kind.name} a call puts off {lost:g} h of work, and "
                    f"plans keep {DEADLINE_SLACK_H:g} h in hand; leave its pause_time out"
                )
                yield ValidationIssue(
                    location=key_location(place, "duration"),
                    found=f"{product.duration:g} h",
                    remedy=remedy,
                )


WINDING_VOLTAGE_RATIO: Final = (0.75, 1.35)
"""Rated voltage of a winding over the nominal one of its node; common are 0.9 to 1.1. [1]"""


def network_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield what of a network fits neither the machines of its site nor itself."""
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
            remedy = f"{name} draws from medium voltage or gives to it; name the nodes it stands at"
            yield ValidationIssue(location=f"[network.feeds.{name}]", found="", remedy=remedy)
    for name in feeds:
        if name not in fed:
            remedy = f"no machine on medium voltage is named so; there are {', '.join(fed)}"
            yield ValidationIssue(location=f"[network.feeds.{name}]", found="", remedy=remedy)


def _banks(site: Site, network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    banks = {bank.name: bank.count for bank in site.machines_of(TransformerBank)}
    used = Counter[str]()
    for name, units in network.transformers.items():
        used[units.machine] += units.count
        if units.machine not in banks:
            place = key_location(f"network.transformers.{name}", "machine")
            remedy = f"must be a transformer of the site; there are {', '.join(banks)}"
            yield ValidationIssue(location=place, found=f'"{units.machine}"', remedy=remedy)
    for name, count in banks.items():
        if used[name] != count:
            place = key_location(f"equipment.{name}", "count")
            remedy = f"the network has {used[name]} of its units; the two must agree"
            yield ValidationIssue(location=place, found=f"{count}", remedy=remedy)


def _cables(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield cables that carry nothing, or join two voltages, of which no load flow is known."""
    for name, cable in network.cables.items():
        place, value = key_location(f"network.cables.{name}", "ends"), toml_text(cable.ends)
        one, other = cable.ends
        if one == other:
            remedy = "a cable leads from one node to another; name two nodes"
            yield ValidationIssue(location=place, found=value, remedy=remedy)
        elif not _is_level(network, cable.ends):
            remedy = (
                f"a cable joins nodes of one voltage, but {_at(network, one)} and "
                f"{_at(network, other)}; correct an end or a voltage, or use a transformer"
            )
            yield ValidationIssue(location=place, found=value, remedy=remedy)


def _windings(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield transformers whose sides stand at nodes of other voltages than their windings."""
    for name, units in network.transformers.items():
        table = f"network.transformers.{name}"
        if units.high == units.low:
            remedy = "a transformer leads from one node to another; name another one here"
            yield ValidationIssue(
                location=key_location(table, "low"), found=f'"{units.low}"', remedy=remedy
            )
            continue
        for key, rated in (("high", units.high_voltage), ("low", units.low_voltage)):
            node = getattr(units, key)
            if (
                not WINDING_VOLTAGE_RATIO[0]
                <= rated / network.nodes[node].voltage
                <= WINDING_VOLTAGE_RATIO[1]
            ):
                remedy = (
                    f"{_at(network, node)}, but {key}_voltage is {rated:g} kV; are high and low "
                    "exchanged? name the node of that side, or correct a voltage"
                )
                yield ValidationIssue(
                    location=key_location(table, key), found=f'"{node}"', remedy=remedy
                )


def _network_checks_source(network: MediumVoltageNetwork) -> Iterator[ValidationIssue]:
    """Yield a source behind the transformers, whose losses the run has the connection pay."""
    joined = [cable.ends for cable in network.cables.values() if _is_level(network, cable.ends)]
    near = reachable_nodes(network.source, joined)
    behind = [name for name, units in network.transformers.items() if units.low in near]
    if behind:
        high = ", ".join(sorted({units.high for units in network.transformers.values()} - near))
        remedy = (
            f"{_at(network, network.source)} and stands on the low side of {behind[0]}; the "
            f"connection feeds the high sides: {high or 'name a node of its own there'}"
        )
        yield ValidationIssue(
            location=key_location("network", "source"), found=f'"{network.source}"', remedy=remedy
        )


def _is_level(network: MediumVoltageNetwork, ends: tuple[str, str]) -> bool:
    """Return whether two nodes have one voltage."""
    return network.nodes[ends[0]].voltage == network.nodes[ends[1]].voltage


def _at(network: MediumVoltageNetwork, node: str) -> str:
    return f"{node} has {network.nodes[node].voltage:g} kV"


SECONDS_PER_HOUR: Final = 3600.0
"""Seconds in an hour."""


def backup_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield gensets that start too late or carry too little, and stores that hold too little."""
    full, least = (
        design_loads(site, busy_share=1.0),
        design_loads(site, busy_share=site.service.racks / site.racks),
    )
    critical, needed = full["critical"], least["medium_voltage"]
    for genset in site.machines_of(Genset):
        place = f"equipment.{genset.name}"
        floor = genset.bridging_energy(critical)
        hours = floor / critical if critical else 0.0
        held = site.contingency.ups_autonomy / SECONDS_PER_HOUR * critical
        held += sum(_given(battery, hours) for battery in site.machines_of(Battery))
        if held < floor:
            remedy = (
                f"the sets take {SECONDS_PER_HOUR * hours:g} s with failed starts, transfer and "
                f"blocks, {floor:.3g} MWh of critical load; UPS and reserves of batteries give "
                f"{held:.3g} MWh in that time; raise contingency.ups_autonomy, or the reserve "
                "or the power of a battery"
            )
            yield ValidationIssue(
                location=key_location(place, "start_time"),
                found=f"{genset.start_time:g} s",
                remedy=remedy,
            )
        start = genset.start_time + genset.transfer_time
        if site.contingency.power_gap < start:
            remedy = f"{genset.name} gives power after {start:g} s at the earliest; raise the gap"
            gap = f"{site.contingency.power_gap:g} s"
            yield ValidationIssue(
                location=key_location("contingency", "power_gap"), found=gap, remedy=remedy
            )
    sets = site.machines_of(Genset)
    limit = sum(genset.firm_power for genset in sets)
    if sets and limit < needed:
        spare = ", ".join(f"{genset.spare} spare of {genset.name}" for genset in sets)
        remedy = (
            f"without {spare} the sets give {limit:.4g} MW, but the inference service and the "
            f"racks that wait need {needed:.4g} MW; declare more sets"
        )
        place = key_location(f"equipment.{sets[-1].name}", "count")
        yield ValidationIssue(location=place, found=f"{sets[-1].count}", remedy=remedy)


def _given(battery: Battery, hours: float) -> float:
    """Return the energy that a battery gives at the bus from below its reserve. [MWh]"""
    kept = battery.reserve * battery.usable_capacity * battery.discharge_efficiency
    return min(kept, battery.max_power * hours)
