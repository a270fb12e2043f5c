"""Checks of a site as a whole: suppliers, sizes, temperatures, contracts, tariffs, network."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from itertools import pairwise
from typing import Final
from zoneinfo import available_timezones

import numpy as np

from sites.network_checks import network_issues
from sites.schema import declared_values, key_location, toml_value_text
from twin.equipment import (
    Battery,
    CduBank,
    CoolingPlant,
    CrahBank,
    Genset,
    GridConnection,
    HeatReuse,
    ITHall,
)
from twin.errors import IssueCode, SiteError, ValidationIssue
from twin.feasibility.reserve_deliverability import eligible_stores, work_may_hold
from twin.markets.contracts import DayAheadPosition, HourlyMatching, LoadTargetContract
from twin.markets.tariffs import Tariff
from twin.physics import FloatArray
from twin.relations import Conversion
from twin.site import Site, design_loads, undersized_machines, unsupplied_carriers
from twin.text import closest_match_hint
from twin.units import SECONDS_PER_HOUR
from twin.workload.cohorts import DEADLINE_SLACK_H

MAX_HALL_TO_CONNECTION: Final = 10.0
"""Maximum full power of a hall over the connection; declared sites have up to 0.9. [1]"""


def site_issues(site: Site) -> list[ValidationIssue]:
    """Return the issues of a site as a whole."""
    issues = [*_connection(site), *_suppliers(site), *_halls(site), *_work(site)]
    issues += [*_floors(site), *network_issues(site), *tariff_issues(site)]
    issues += reserve_product_issues(site)
    issues += contract_issues(site)
    issues = issues or list(_oversized_halls(site))
    try:
        return issues or [*_sizes(site), *_temperatures(site), *backup_issues(site)]
    except SiteError as error:  # of a machine with overflowing numbers
        return list(error.issues)


def time_zone_issues(values: Mapping[str, object], key: str = "time_zone") -> list[ValidationIssue]:
    """Return an issue for an unknown time zone; the schema reports values of other types."""
    zones, name = _zones(), values.get(key)
    if not isinstance(name, str) or name in zones:
        return []
    return [
        IssueCode.UNKNOWN_NAME.issue(
            key,
            found=toml_value_text(name),
            expected="an IANA time zone",
            remedy=f"write an IANA name such as Europe/Berlin{closest_match_hint(name, zones)}",
        )
    ]


@cache
def _zones() -> frozenset[str]:
    """Return all IANA names; cached, because it reads a folder."""
    return frozenset(available_timezones())


def _connection(site: Site) -> Iterator[ValidationIssue]:
    grids = [grid.name for grid in site.machines_of(GridConnection)]
    if len(grids) != 1:
        yield IssueCode.INCONSISTENT.issue(
            "[equipment]",
            found=", ".join(grids),
            expected="exactly one grid",
            remedy="declare one machine of kind grid",
        )


def _suppliers(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for carriers without a supplier or with several, and for cycles."""
    yield from unsupplied_carriers(site)
    converts = [relation for relation in site.relations if isinstance(relation, Conversion)]
    supplied = Counter(convert.output_carrier for convert in converts)
    for carrier, count in supplied.items():
        if count > 1:
            yield IssueCode.DUPLICATE.issue(
                "[equipment]",
                found=", ".join(
                    convert.owner for convert in converts if convert.output_carrier == carrier
                ),
                expected=f"one machine that delivers {carrier}",
                remedy="merge them into one machine with their total rating",
            )
    try:
        _ = site.conversions
    except SiteError as error:
        yield from error.issues


def _halls(site: Site) -> Iterator[ValidationIssue]:
    halls = site.machines_of(ITHall)
    if not halls:
        yield IssueCode.MISSING.issue(
            "[equipment]", expected="at least one hall", remedy="add a machine of kind accelerators"
        )
    for hall in halls[1:]:
        for key in ("rack_power", "rack_idle_power"):
            first, other = getattr(halls[0], key), getattr(hall, key)
            if first != other:
                yield IssueCode.INCONSISTENT.issue(
                    key_location(f"equipment.{hall.name}", key),
                    found=f"{other:g} MW",
                    expected=f"{first:g} MW, as in {halls[0].name}",
                    remedy="give all halls equal racks",
                )


def _floors(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for smoothing floors above the power of a cap, which then saves no power."""
    for hall in site.machines_of(ITHall):
        for kind in site.work.values():
            if hall.smoothing.floor > kind.min_power_share:
                yield IssueCode.INCONSISTENT.issue(
                    key_location(f"equipment.{hall.name}.smoothing", "floor"),
                    found=f"{hall.smoothing.floor:g}",
                    expected=f"at most {kind.min_power_share:.3g}, the deepest cap of {kind.name}",
                    remedy=f"lower the floor or the tolerance of {kind.name}",
                )


def _work(site: Site) -> Iterator[ValidationIssue]:
    if site.service.racks > site.rack_count:
        yield IssueCode.OUT_OF_RANGE.issue(
            "[service] racks",
            found=f"{site.service.racks:g}",
            expected=f"at most {site.rack_count}, the racks of the halls",
            remedy="lower the racks of the service",
        )
    bounds = [kind.longer_than for kind in site.work.values()]
    if not bounds or min(bounds) > 0:
        yield IssueCode.MISSING.issue(
            "[work]",
            expected="one kind of work for the shortest jobs",
            remedy="remove longer_than from one kind of work",
        )
    for bound, count in Counter(bounds).items():
        if count > 1:
            yield IssueCode.DUPLICATE.issue(
                "[work]",
                found=f"{count} kinds with longer_than of {bound:g} h",
                expected="different values of longer_than",
                remedy="change longer_than of all but one",
            )


def _oversized_halls(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for halls so large that a number must be wrong."""
    limit = site.grid_connection.import_limit
    for hall in site.machines_of(ITHall):
        if hall.full_power > MAX_HALL_TO_CONNECTION * limit:
            remedy = (
                f"correct racks, rack_power or import_limit: racks of {1e3 * hall.rack_power:g} kW "
                f"draw {hall.full_power:.4g} MW together"
            )
            yield IssueCode.OUT_OF_RANGE.issue(
                key_location(f"equipment.{hall.name}", "racks"),
                found=f"{hall.racks}",
                expected=f"at most {MAX_HALL_TO_CONNECTION:g} times the connection of {limit:g} MW",
                remedy=remedy,
            )


def _sizes(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for ratings below full halls, and for a connection below idle ones.

    A connection may be smaller than the full halls: the schedule respects it.
    """
    yield from undersized_machines(site)
    idle = design_loads(site, busy_share=site.service.racks / site.rack_count)["grid"]
    if idle > site.grid_connection.import_limit:
        yield IssueCode.OUT_OF_RANGE.issue(
            key_location(f"equipment.{site.grid_connection.name}", "import_limit"),
            found=f"{site.grid_connection.import_limit:g} MW",
            expected=f"at least {idle:.4g} MW",
            remedy="raise it: the inference service and idle racks need this power",
        )


def _temperatures(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for set points and limits that cannot be kept in normal operation."""
    margin = site.margins.temperature
    supply: dict[str, float] = {}
    for plant in site.machines_of(CoolingPlant):
        supply[plant.serves] = plant.supply_temperature
        if plant.supply_temperature + margin > plant.supply_limit:
            yield IssueCode.OUT_OF_RANGE.issue(
                key_location(f"equipment.{plant.name}", "supply_limit"),
                found=f"{plant.supply_limit:g} degC",
                expected=f"at least {margin:g} K above supply_temperature",
                remedy="raise it, or lower supply_temperature of "
                f"{plant.supply_temperature:g} degC or margins.temperature",
            )
    yield from _heat_pump_sources(site)
    full, idle = design_loads(site, busy_share=1.0), design_loads(site, busy_share=0.0)
    for hall in site.machines_of(ITHall):
        for cdu in site.machines_of(CduBank):
            # below this heat the flow is constant
            min_flow_heat = cdu.minimum_flow * cdu.rated_heat_total
            max_heat = min(full["liquid"], cdu.rated_heat_total)  # _sizes reports an excess
            liquid = np.array([max_heat, np.clip(min_flow_heat, idle["liquid"], max_heat)])
            coolant = cdu.technology_supply_temperature(liquid, np.full(2, supply["warm"]))
            if not hall.is_air_cooled:
                yield from _flow_rule_issues(hall, cdu, float(coolant.max()))
                yield from _chip_issues(site, hall, coolant, flow_share=cdu.cold_plate_flow(liquid))
        for machine in site.machines_of(CrahBank):
            air_heat = np.array([min(full["air"], machine.rated_heat)])
            inlet = machine.rack_inlet_temperature(air_heat, np.array([supply["chilled"]]))
            yield from _temperature_issues(site, hall, "inlet_temperature_limit", float(inlet[0]))
            if hall.is_air_cooled:
                yield from _chip_issues(site, hall, inlet)


def _flow_rule_issues(hall: ITHall, cdu: CduBank, inlet: float) -> Iterator[ValidationIssue]:
    """Yield an issue if racks need more coolant than a bank gives at its temperature [degC]."""
    widest = float(hall.widest_coolant_range(inlet, cdu.liquid))
    highest = max(hall.flow_temperature_points, default=np.inf)
    location = key_location(f"equipment.{cdu.name}", "technology_range")
    if inlet > highest:
        yield IssueCode.OUT_OF_RANGE.issue(
            key_location(f"equipment.{hall.name}", "flow_temperature_points"),
            found=f"up to {highest:g} degC",
            expected=f"a flow at the coolant of {inlet:.3g} degC",
            remedy="add a point, or lower supply_temperature of the warm plant",
        )
    elif cdu.technology_range > widest:
        yield IssueCode.OUT_OF_RANGE.issue(
            location,
            found=f"{cdu.technology_range:g} K",
            expected=f"at most {widest:.3g} K, the flow that {hall.name} needs at {inlet:.3g} degC",
            remedy="lower it, or lower supply_temperature of the warm plant",
        )


def _chip_issues(
    site: Site, hall: ITHall, cold: FloatArray, *, flow_share: FloatArray | float = 1.0
) -> Iterator[ValidationIssue]:
    """Yield an issue if full load of a rack makes its chips too hot; ``cold`` is the coolant.
    [degC]
    """
    chip = hall.chip_temperature(hall.rack_power, cold, flow_share=flow_share)
    yield from _temperature_issues(site, hall, "chip_temperature_limit", float(chip.max()))


def _heat_pump_sources(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for heat pumps whose source is warmer than the racks' return."""
    warm = [plant for plant in site.machines_of(CoolingPlant) if plant.serves == "warm"]
    back = max((plant.supply_temperature + plant.temperature_range for plant in warm), default=0.0)
    for pump in site.machines_of(HeatReuse):
        if pump.source_inlet_temperature > back:
            yield IssueCode.OUT_OF_RANGE.issue(
                key_location(f"equipment.{pump.name}", "source_inlet_temperature"),
                found=f"{pump.source_inlet_temperature:g} degC",
                expected=f"at most {back:g} degC, the return of the warm circuit",
                remedy="lower it",
            )


def _temperature_issues(
    site: Site, hall: ITHall, key: str, reached: float
) -> Iterator[ValidationIssue]:
    limit = float(getattr(hall, key))
    margin = site.margins.temperature
    if reached + margin > limit:
        yield IssueCode.OUT_OF_RANGE.issue(
            key_location(f"equipment.{hall.name}", key),
            found=f"{limit:g} degC",
            expected=f"at least {reached:.1f} degC and the margin of {margin:g} K",
            remedy="lower supply_temperature of the plant, or raise the limit",
        )


def contract_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for contracts that conflict, or exceed the connection."""
    if not site.machines_of(GridConnection):  # reported by _connection
        return
    for kind in (DayAheadPosition, HourlyMatching):
        for other in site.machines_of(kind)[1:]:
            yield IssueCode.DUPLICATE.issue(
                key_location(f"equipment.{other.name}", "kind"),
                expected=f"at most one {kind.kind}",
                remedy="remove this contract",
            )
    is_matched = bool(site.machines_of(HourlyMatching))
    if is_matched != (site.grid_connection.carbon == "matched"):
        yield IssueCode.INCONSISTENT.issue(
            key_location(f"equipment.{site.grid_connection.name}", "carbon"),
            found=f'"{site.grid_connection.carbon}"',
            expected='carbon = "matched" exactly if there is an hourly_matching',
            remedy="change carbon, or add or remove the hourly_matching",
        )
    issuers: set[str] = set()
    for contract in site.machines_of(LoadTargetContract):
        if contract.least > site.grid_connection.import_limit:
            yield IssueCode.OUT_OF_RANGE.issue(
                key_location(f"equipment.{contract.name}", "least"),
                found=f"{contract.least:g} MW",
                expected=f"at most {site.grid_connection.import_limit:g} MW, the import limit",
                remedy="lower it",
            )
        if contract.issuer in issuers:
            yield IssueCode.DUPLICATE.issue(
                key_location(f"equipment.{contract.name}", "partner"),
                found=f'"{contract.issuer}"',
                expected="a different partner in each contract",
                remedy="change the partner",
            )
        issuers.add(contract.issuer)
        yield from _activation_issues(site, contract)


def _activation_issues(site: Site, contract: LoadTargetContract) -> Iterator[ValidationIssue]:
    """Yield an issue for products that a contract cannot activate."""
    location = key_location(f"equipment.{contract.name}", "activates")
    for name in contract.activates:
        product = site.reserves.get(name)
        if product is None:
            known = ", ".join(site.reserves) or "none"
            yield IssueCode.UNKNOWN_NAME.issue(
                location,
                found=f'"{name}"',
                expected=f"one of the site's products: {known}",
                remedy="name a product of the site",
            )
        elif product.needs_controller or not product.is_upward:
            yield IssueCode.UNSUPPORTED.issue(
                location,
                found=f'"{name}"',
                expected="an upward product that needs no controller",
                remedy="remove it: a target only lowers import",
            )
    if contract.activates and contract.effect == "curtailment":
        location = key_location(f"equipment.{contract.name}", "effect")
        yield IssueCode.INCONSISTENT.issue(
            location,
            found='"curtailment"',
            expected='"priced" or "hard", because it activates products',
            remedy="change the effect, or remove activates",
        )


def tariff_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield the issues of a site's tariffs as a whole."""
    yield from tariff_date_issues(site.tariffs)
    for grid in site.machines_of(GridConnection):
        for key in ("import_fee", "peak_price"):
            if site.tariffs and getattr(grid, key):
                yield IssueCode.INCONSISTENT.issue(
                    key_location(f"equipment.{grid.name}", key),
                    found=str(declared_values(grid)[key]),
                    expected="no such fee beside a tariff",
                    remedy="remove it: the tariff contains the network charges",
                )


def tariff_date_issues(tariffs: Mapping[str, Tariff]) -> Iterator[ValidationIssue]:
    """Yield an issue for tariffs whose validity overlaps, or whose peaks differ in period."""
    in_order = sorted(tariffs.values(), key=lambda tariff: tariff.valid_from)
    for before, after in pairwise(in_order):
        if (before.valid_to or date.max) > after.valid_from:
            yield IssueCode.TIME_ORDER.issue(
                key_location(f"tariffs.{before.name}", "valid_to"),
                found=str(before.valid_to or ""),
                expected=f"at most {after.valid_from}, the start of {after.name}",
                remedy="end this tariff before the next one begins",
            )
        elif (before.valid_to or date.max) > after.valid_from.replace(day=1) and (
            _charges_months(before) and _charges_months(after)
        ):
            yield IssueCode.TIME_ORDER.issue(
                key_location(f"tariffs.{after.name}", "valid_from"),
                found=str(after.valid_from),
                expected=f"the first of a month, because {before.name} also charges its peak",
                remedy="begin on the first of a month",
            )
    for before, after in pairwise(tariff for tariff in in_order if tariff.peak_span):
        if before.peak_span != after.peak_span:
            yield IssueCode.INCONSISTENT.issue(
                f"[tariffs.{after.name}]",
                found=f"peaks of a {after.peak_span}",
                expected=f"peaks of a {before.peak_span}, as in {before.name}",
                remedy="use one period of peaks in all tariffs",
            )


def _charges_months(tariff: Tariff) -> bool:
    """Return whether a tariff charges for a monthly maximum."""
    has_peak = any(peak.of == "month" and peak.price for peak in tariff.peaks)
    return has_peak or any(contract.excess_price for contract in tariff.contracted)


def reserve_product_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for products without a provider, and for work that they would delay."""
    for name, product in site.reserves.items():
        location = f"reserves.{name}"
        kinds = [kind for kind in site.work.values() if work_may_hold(product, kind)]
        if not eligible_stores(site, product) and not kinds:
            yield IssueCode.MISSING.issue(
                f"[{location}]",
                found=name,
                expected="a machine or kind of work that may provide it",
                remedy="set local_controller = true in a battery"
                if product.needs_controller
                else "add a battery, or for an upward product a kind of work "
                f"with a pause_time of at most {product.full_activation:g} min",
            )
        for kind in kinds:
            lost = product.duration + kind.pause_loss
            if lost > DEADLINE_SLACK_H:
                remedy = (
                    f"remove pause_time of {kind.name}: activations would delay {lost:g} h of work"
                )
                yield IssueCode.INCONSISTENT.issue(
                    key_location(location, "duration"),
                    found=f"{product.duration:g} h",
                    expected=f"at most {DEADLINE_SLACK_H:g} h with the pause_loss of {kind.name}",
                    remedy=remedy,
                )


def backup_issues(site: Site) -> Iterator[ValidationIssue]:
    """Yield an issue for gensets that are late or too small, and for storage that is too small."""
    critical = design_loads(site, busy_share=1.0)["critical"]
    idle = design_loads(site, busy_share=site.service.racks / site.rack_count)["medium_voltage"]
    for genset in site.machines_of(Genset):
        location = f"equipment.{genset.name}"
        required = genset.bridging_energy(critical)
        hours = required / critical if critical else 0.0
        stored = site.contingency.ups_autonomy / SECONDS_PER_HOUR * critical
        stored += sum(_reserve_energy(battery, hours) for battery in site.machines_of(Battery))
        if stored < required:
            bridge = SECONDS_PER_HOUR * hours
            remedy = (
                f"raise contingency.ups_autonomy, or the reserve or power of a battery: they have "
                f"{stored:.3g} MWh"
            )
            yield IssueCode.INCONSISTENT.issue(
                key_location(location, "start_time"),
                found=f"{genset.start_time:g} s",
                expected=f"{required:.3g} MWh in UPS and battery reserves for {bridge:g} s",
                remedy=remedy,
            )
        start = genset.start_time + genset.transfer_time
        if site.contingency.power_gap < start:
            yield IssueCode.INCONSISTENT.issue(
                key_location("contingency", "power_gap"),
                found=f"{site.contingency.power_gap:g} s",
                expected=f"at least {start:g} s, the start of {genset.name}",
                remedy="raise it",
            )
    sets = site.machines_of(Genset)
    limit = sum(genset.firm_power for genset in sets)
    if sets and limit < idle:
        remedy = (
            f"declare more gensets: they give {limit:.4g} MW, less than the inference service and "
            "idle racks need"
        )
        yield IssueCode.OUT_OF_RANGE.issue(
            key_location(f"equipment.{sets[-1].name}", "count"),
            found=f"{sets[-1].count}",
            expected=f"at least {idle:.4g} MW without spares",
            remedy=remedy,
        )


def _reserve_energy(battery: Battery, hours: float) -> float:
    """Return the energy at the bus from below a battery's reserve. [MWh]"""
    energy = battery.reserve * battery.usable_capacity * battery.discharge_efficiency
    return min(energy, battery.max_power * hours)
