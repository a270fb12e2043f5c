"""Deliverability of reserve capacity: who may hold it, and whether power and energy suffice.

A promise is checked against full activation in one direction for the full time of its product,
ended at any time while the plan continues, with all products together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import time_axes, variables
from twin.argument_checks import negative_value_issues
from twin.equipment import Battery, TransformerBank
from twin.errors import IssueCode, ValidationIssue
from twin.feasibility import connection
from twin.feasibility.reserve_activation import (
    MIN_CAPACITY_MW,
    deferred_work,
    extreme_levels,
    reserved_power,
)
from twin.markets.reserve_products import (
    ReserveProduct,
    is_gate_open,
    is_product_valid,
    starts_block,
)
from twin.physics import FloatArray
from twin.relations import Store
from twin.simulation import operating_limits
from twin.simulation.operating_limits import Finding
from twin.site import Site
from twin.site_settings import WorkKind
from twin.variables import net_import
from twin.workload.cohorts import EXPECTED_COHORT_SUFFIX
from twin.workload.queue import RackPool

SCHEDULED_RESERVE_VARIABLES: Final = ("reserve_capacity", "reserve_shortfall", "reserve_held")
"""Variables of a schedule on ``time`` and ``product``."""

HOLDER_AXES: Final = {"battery_reserve": "battery", "work_reserve": "cohort"}
"""Variables of the holders of a product, and their additional axes."""


def battery_may_hold(product: ReserveProduct, battery: Battery) -> bool:
    """Return whether a battery may hold a product: some products need a local controller."""
    return battery.local_controller or not product.needs_controller


def work_may_hold(product: ReserveProduct, kind: WorkKind) -> bool:
    """Return whether a kind of work may hold a product: upwards only, and if it stops in time."""
    is_load = product.direction == "up" and not product.needs_controller
    stops = kind.pause_time
    return is_load and stops is not None and stops <= product.full_activation


def eligible_stores(site: Site, product: ReserveProduct) -> tuple[Store, ...]:
    """Return the stores that may hold a product."""
    names = {b.name for b in site.machines_of(Battery) if battery_may_hold(product, b)}
    return tuple(store for store in site.stores if store.owner in names)


def reserve_issues(schedule: xr.Dataset) -> Iterator[ValidationIssue]:
    """Yield the issues of a schedule's reserve variables.

    Raises ``UnitError`` if a variable or its unit is missing.
    """
    axes_of = {variable: {"time", "product"} for variable in SCHEDULED_RESERVE_VARIABLES}
    axes_of |= {variable: {"time", "product", axis} for variable, axis in HOLDER_AXES.items()}
    present = [variable for variable in axes_of if variable in schedule]
    if not present:
        return
    variables.check_variables(schedule, *dict.fromkeys((*SCHEDULED_RESERVE_VARIABLES, *present)))
    for variable in present:
        values, wanted = schedule[variable], axes_of[variable]
        if set(values.dims) != wanted or not wanted <= set(schedule.coords):
            yield IssueCode.WRONG_AXES.issue(
                variable,
                found=", ".join(map(str, values.dims)),
                expected=f"the axes {', '.join(sorted(wanted))}",
                remedy="correct the axes and their coordinates",
            )
            continue
        yield from negative_value_issues(values, of="schedule")


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A plan and its reserves.

    - ``replay``: Simulation of the plan.
    - ``products``: Products of the plan that the site declares, by name.
    - ``hours``: Lengths of the intervals. [h]
    """

    site: Site
    schedule: xr.Dataset
    replay: xr.Dataset
    products: Mapping[str, ReserveProduct]
    hours: FloatArray

    def of(self, variable: str, product: str) -> FloatArray:
        """Return a variable of one product, ``(time, ...)``; zero if it is absent. [MW]"""
        if variable not in self.schedule:
            return np.zeros(len(self.hours))
        return self.schedule[variable].sel(product=product).transpose("time", ...).to_numpy()

    def capacities(self, variable: str, axis: str, label: str) -> dict[str, FloatArray]:
        """Return the capacity that one holder has of each product, ``(time,)``. [MW]"""
        if variable not in self.schedule or label not in self.schedule[axis].to_numpy():
            return {}
        part = self.schedule[variable].sel({axis: label})
        found = {name: part.sel(product=name).to_numpy() for name in self.products}
        return {name: values for name, values in found.items() if (values > MIN_CAPACITY_MW).any()}


def check_reserves(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    replay: xr.Dataset,
    safety_margin: float = 0.0,
) -> Iterator[Finding]:
    """Yield each shortcoming of a schedule's reserves and its size in each interval; above 1 it
    counts.

    Without ``reserve_capacity`` there is nothing to check.

    - ``schedule``: A plan; ``reserve_capacity``, ``reserve_shortfall`` and ``reserve_held`` on
      ``time`` and ``product``, ``battery_reserve`` and ``work_reserve`` by holder.
    - ``replay``: Simulation of the plan.
    - ``safety_margin``: Share of the limits of connection and transformers that stays free. [1]
    """
    if SCHEDULED_RESERVE_VARIABLES[0] not in schedule:
        return
    names = [str(name) for name in schedule["product"].to_numpy()]
    for name in names:
        if name not in site.reserves:
            count = schedule.sizes["time"]
            yield f"reserve {name} is no product of the site", np.full(count, np.inf)
    plan = _Plan(
        site=site,
        schedule=schedule,
        replay=replay,
        products={name: site.reserves[name] for name in names if name in site.reserves},
        hours=schedule["duration"].to_numpy(),
    )
    for product in plan.products.values():
        yield from _sold(plan, product)
    for battery in site.machines_of(Battery):
        yield from _battery(plan, battery)
    yield from _work(plan)
    yield from _connection(plan, state, safety_margin)


def _sold(plan: _Plan, product: ReserveProduct) -> Iterator[Finding]:
    """Check that sold capacity is a valid bid, one per block, in time, kept, and held."""
    name, instants = product.name, time_axes.interval_edges(plan.schedule)
    capacity, short, before = (plan.of(word, name) for word in SCHEDULED_RESERVE_VARIABLES)
    more = capacity + short - before
    yield f"{name} falls short of what is sold and does not say so", -more / MIN_CAPACITY_MW
    yield (
        f"{name} is no bid of the market",
        np.abs(more - product.sellable_capacity(more)) / MIN_CAPACITY_MW,
    )
    shut = ~is_gate_open(product, instants)
    yield (
        f"{name} is offered after its gate has closed",
        np.where(shut, more, 0.0) / MIN_CAPACITY_MW,
    )
    exists = is_product_valid(product, instants)
    yield (
        f"{name} is held while there is no such product",
        np.where(exists, 0.0, capacity) / MIN_CAPACITY_MW,
    )
    inside = ~starts_block(product, instants)[1:-1]
    change = np.where(inside, np.abs(np.diff(more)), 0.0)
    yield f"{name} changes within a block", np.concatenate([[0.0], change]) / MIN_CAPACITY_MW
    shares = np.zeros(len(capacity))
    for word in HOLDER_AXES:
        values = plan.of(word, name)
        shares = shares + values.reshape(len(values), -1).sum(axis=1)
    yield f"{name} is promised and held by nobody", (capacity - shares) / MIN_CAPACITY_MW


def _battery(plan: _Plan, battery: Battery) -> Iterator[Finding]:
    """Check the power and energy of a battery's reserves."""
    capacities = plan.capacities("battery_reserve", "battery", battery.name)
    for name, values in capacities.items():
        if not battery_may_hold(plan.products[name], battery):
            yield (
                f"{name} is held by {battery.name}, which has no local controller",
                values / MIN_CAPACITY_MW,
            )
    if not capacities:
        return
    store = next(one for one in plan.site.stores if one.owner == battery.name)
    flows = (
        plan.replay[f"battery_{way}"].sel(battery=battery.name) for way in ("charge", "discharge")
    )
    charge, discharge = (flow.to_numpy() for flow in flows)
    net = charge - discharge
    up, down = reserved_power(plan.products, capacities)
    for direction, power, limit in (
        ("upwards", up - net, store.discharge_limit),
        ("downwards", down + net, store.charge_limit),
    ):
        beyond = (power - limit) / (operating_limits.LIMIT_TOLERANCE * limit)
        is_used = (up if direction == "upwards" else down) > MIN_CAPACITY_MW
        yield (
            f"power of {battery.name} behind its reserves, {direction}",
            np.where(is_used, beyond, 0.0),
        )
    level = plan.replay["battery_level"].sel(battery=battery.name).to_numpy()
    lowest, highest = extreme_levels(
        store, plan.products, capacities, level=level, net=net, durations=plan.hours
    )
    tolerance = operating_limits.LIMIT_TOLERANCE * store.max_level
    yield (
        f"energy in {battery.name} behind its reserves, upwards",
        (store.min_level - lowest) / tolerance,
    )
    yield (
        f"room in {battery.name} behind its reserves, downwards",
        (highest - store.max_level) / tolerance,
    )


def _work(plan: _Plan) -> Iterator[Finding]:
    """Check that the work of a reserve runs, may stop, and can be recovered."""
    if "work_reserve" not in plan.schedule:
        return
    for label in plan.schedule["cohort"].to_numpy().tolist():
        capacities = plan.capacities("work_reserve", "cohort", label)
        if capacities:
            yield from _cohort(plan, str(label), capacities)


def _cohort(plan: _Plan, label: str, capacities: Mapping[str, FloatArray]) -> Iterator[Finding]:
    one, pool = plan.schedule.sel(cohort=label), RackPool.from_site(plan.site)
    kind = plan.site.work[str(one["kind"].item())]
    for name, values in capacities.items():
        if label.endswith(EXPECTED_COHORT_SUFFIX) or not work_may_hold(plan.products[name], kind):
            yield f"{name} is held by {label}, which may not pause for it", values / MIN_CAPACITY_MW
    racks = one["work_racks"].transpose("time", "level").to_numpy()
    levels = one["level_power"].to_numpy()
    power = racks @ pool.power_above_idle(levels)
    each = pool.rack_power * kind.throughput.throughput_at(levels)
    up, _ = reserved_power(plan.products, capacities)
    yield f"power of {label} behind its reserves", (up - power) / MIN_CAPACITY_MW
    if "work_least" not in plan.schedule:
        yield f"work_least is missing behind the reserves of {label}", np.where(up > 0, np.inf, 0.0)
        return
    done = np.cumsum(racks @ each * plan.hours)
    late, least = (one[word].to_numpy()[1:] for word in ("work_late", "work_least"))
    rate = float((each / pool.power_above_idle(levels)).max())
    debt = sum(
        rate * deferred_work(plan.products[name], values, kind.pause_loss, durations=plan.hours)
        for name, values in capacities.items()
    )
    beyond = (debt - (done + late - least)) / (MIN_CAPACITY_MW * max(1.0, float(least[-1])))
    yield f"work that {label} can put off behind its reserves", np.where(debt > 0.0, beyond, 0.0)


def _connection(plan: _Plan, state: xr.Dataset, keep: float) -> Iterator[Finding]:
    """Check that connection and transformers carry activated reserves on top of the plan."""
    capacities = {name: plan.of("reserve_capacity", name) for name in plan.products}
    up, down = reserved_power(plan.products, capacities)
    if not (up + down > MIN_CAPACITY_MW).any():
        return
    grid, replay = plan.site.grid_connection, plan.replay
    net = net_import(replay).to_numpy()
    tolerance = operating_limits.LIMIT_TOLERANCE * grid.import_limit
    beyond = (net + down - (1.0 - keep) * grid.import_limit) / tolerance
    more = replay.assign(grid_import_power=("time", np.maximum(net + down, 0.0)))
    left = connection.import_limit_excess(
        plan.site, state, plan.schedule, replay=more, safety_margin=keep
    )
    beyond = np.where(down > MIN_CAPACITY_MW, np.maximum(beyond, left), 0.0)
    yield "import with all reserves activated downwards", beyond
    beyond = (up - net - (1.0 - keep) * grid.export_limit) / tolerance
    yield "export with all reserves activated upwards", np.where(up > MIN_CAPACITY_MW, beyond, 0.0)
    for machine in plan.site.machines_of(TransformerBank):
        loading = replay["transformer_loading"].sel(transformer=machine.name).to_numpy()
        rated = machine.power_factor * machine.count * machine.rating
        for direction, power, forward in (("downwards", down, loading), ("upwards", up, -loading)):
            beyond = (forward + power / rated - (1.0 - keep)) / operating_limits.LIMIT_TOLERANCE
            words = f"load of {machine.name} with all reserves activated {direction}"
            yield words, np.where(power > MIN_CAPACITY_MW, beyond, 0.0)
