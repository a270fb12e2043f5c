"""Reserves of a back-test: a plant that the grid calls, what it holds, and what is settled.

Load targets call the reserves that wait for an order, as a partner does. Batteries with a
controller respond by themselves, see :mod:`telemetry.simulator.reserve_facility`. Work, and all
else that waits for an order, is planned again relative to the previous plan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from optimizer.backtesting.case import BacktestCase, PlannedSchedule
from optimizer.problem.obligations_and_reserves import CAPACITY_TOLERANCE_MW, request_outlook
from optimizer.problem.planning_outlook import reserve_outlook
from telemetry.simulator.plant import SimulatedFacility
from telemetry.simulator.reserve_facility import ReserveFacility, ReserveOrder
from twin import time_axes, variables
from twin.markets.contracts import LoadTargetContract
from twin.markets.reserve_products import ReserveProduct, is_recovering
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.simulation.operating_limits import count_violations
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN, QUARTER_HOUR, interval_edges
from twin.units import MINUTES_PER_HOUR
from twin.variables import net_import


def activation_contract_by_product(site: Site) -> Mapping[str, LoadTargetContract]:
    """Return products that are called by orders -> their contract."""
    return {name: one for one in site.machines_of(LoadTargetContract) for name in one.activates}


class ReserveCaller:
    """Call the reserves that a site holds for orders; the plant stores the orders for the bill.

    Products that no contract of the site activates are not called.
    """

    def __init__(self, site: Site, plant: SimulatedFacility) -> None:
        self._site, self._by, self._start = site, activation_contract_by_product(site), plant.now
        self._due: dict[str, BoolArray] = {}
        self._orders: list[ReserveOrder] = []
        if isinstance(plant, ReserveFacility):
            self._orders = plant.orders
            self._due = {
                name: one[::METERING_PERIOD_MIN] > 0.0 for name, one in plant.waiting.items()
            }

    def call_due(self, now: np.datetime64, plan: xr.Dataset | None) -> bool:
        """Call what is due at ``now``, and return whether a call begins.

        ``plan`` is the schedule in force; None where nothing is planned, and so nothing held.
        """
        count, called = len(self._orders), 0.0
        first = round((now - self._start) / QUARTER_HOUR)
        for name, due in self._due.items():
            if (
                plan is None
                or "reserve_capacity" not in plan
                or not due[first]
                or (first > 0 and due[first - 1])
            ):
                continue
            lasts = int(np.argmin(np.append(due[first:], False)))
            order = _call(name, first, plan, times=now + np.arange(-1, lasts) * QUARTER_HOUR)
            if order.ordered_power > CAPACITY_TOLERANCE_MW:
                self._orders.append(replace(order, baseline=order.baseline - called))
                called += order.ordered_power
        return len(self._orders) > count

    def requested_outlook(self, axes: xr.Dataset) -> xr.Dataset:
        """Return the calls over a horizon as variables of an outlook; empty without contracts."""
        if not self._by:
            return xr.Dataset()
        edges, grid = interval_edges(axes), self._site.grid_connection
        max_import, never = (
            np.full(len(edges) - 1, grid.import_limit),
            np.zeros(len(edges) - 1, bool),
        )
        targets = {
            one.name: (max_import.copy(), one.price_above_target(never))
            for one in self._by.values()
        }
        called = {name: never.copy() for name in self._site.reserves}
        for order in self._orders:
            requested = np.maximum(self._requested_import(order, edges), -grid.export_limit)
            called[order.product] |= np.isfinite(requested)
            power, _ = targets[self._by[order.product].name]
            np.minimum(power, requested, out=power)
        calls = {name: self._recovers(name, is_called, edges) for name, is_called in called.items()}
        return request_outlook(axes, targets=targets, activated=calls)

    def _requested_import(self, order: ReserveOrder, edges: np.ndarray) -> FloatArray:
        """Return the lowest import that an order requires by interval, else infinity. [MW]"""
        found = np.full(len(edges) - 1, np.inf)
        for number, baseline in enumerate(order.baseline, order.first_quarter_hour):
            start = self._start + number * QUARTER_HOUR
            touches = (edges[:-1] < start + QUARTER_HOUR) & (edges[1:] > start)
            found[touches] = np.minimum(found[touches], baseline - order.ordered_power)
        return found

    def _recovers(self, product: str, called: BoolArray, edges: np.ndarray) -> BoolArray:
        """Return the intervals in which a product is called or recovers from a call."""
        ends = [
            self._start + (order.first_quarter_hour + len(order.baseline)) * QUARTER_HOUR
            for order in self._orders
            if order.product == product
        ]
        ended = max((end for end in ends if end <= edges[0]), default=None)
        return is_recovering(self._site.reserves[product], called, edges, last_use_end=ended)


def _call(product: str, first: int, plan: xr.Dataset, *, times: np.ndarray) -> ReserveOrder:
    """Return a call of a product's whole capacity; ``times`` begin a quarter-hour before."""
    steps = plan.sel(time=np.maximum(times, plan["time"].to_numpy()[0]), method="pad")
    capacity, net = steps["reserve_capacity"].sel(product=product), net_import(steps).to_numpy()
    power = float(capacity[1:].min())
    return ReserveOrder(
        product=product,
        first_quarter_hour=first,
        baseline=net[1:],
        previous_net_import=net[0],
        ordered_power=power,
    )


SETTLED_RESERVE_VARIABLES = (
    "reserve_capacity",
    "reserve_shortfall",
    "reserve_price",
    "reserve_excused",
)
"""Variables of a schedule that are settled."""


def build_plant(case: BacktestCase, *, seed: int) -> SimulatedFacility:
    """Return the plant of a back-test; for a site with reserves one that the grid calls.

    ``seed`` sets the plant and the calls, which come as often as the products expect.
    """
    site = case.site
    if not site.reserves:
        return SimulatedFacility(site, case.boundary_conditions, case.initial_state, seed=seed)
    plant = ReserveFacility(site, case.boundary_conditions, case.initial_state, seed=seed)
    signals = draw_reserve_calls(site.reserves, case.boundary_conditions.sizes["time"], seed=seed)
    plant.set_calls(signals, by_order=activation_contract_by_product(site))
    return plant


def hold_reserves(
    plant: SimulatedFacility, decisions: Sequence[PlannedSchedule], now: np.datetime64
) -> None:
    """Let a plant hold the reserves of the plan in force at ``now``; a rule holds none.

    ``now`` is the start of a quarter-hour. [datetime64, UTC]
    """
    if not isinstance(plant, ReserveFacility) or not decisions:
        return
    if "battery_reserve" not in decisions[-1].schedule:  # a plan by rule
        plant.set_reserved_capacity({})
        return
    step = decisions[-1].schedule["battery_reserve"].sel(time=now, method="pad")
    plant.set_reserved_capacity(
        {
            (str(name), str(battery)): float(step.sel(product=name, battery=battery))
            for name in step["product"].to_numpy()
            for battery in step["battery"].to_numpy()
        }
    )


def count_violations_outside_calls(plant: SimulatedFacility, site: Site) -> xr.DataArray:
    """Return the violations of a run by :func:`twin.count_violations`, calls exempt."""
    called = plant.called_power() if isinstance(plant, ReserveFacility) else 0.0
    return count_violations(site, plant.record(), called_reserve_power=called)


def reserve_record(
    plant: SimulatedFacility, decisions: Sequence[PlannedSchedule], case: BacktestCase
) -> xr.Dataset | None:
    """Return what was held and called in each quarter-hour of a run; None without reserves.

    A rule holds nothing, so everything that was sold is missing throughout.
    """
    if not isinstance(plant, ReserveFacility):
        return None
    called = plant.called_and_missed_power()
    if not decisions:
        return _undelivered(case, called.sizes["time"])
    time = called["time"].to_numpy()
    starts = [decision.start for decision in decisions]
    current = np.searchsorted(starts, time, side="right") - 1
    undelivered = _undelivered(case, len(time))
    steps = [
        _settled_step(decisions[which].schedule, case.site, undelivered, moment=moment)
        for moment, which in zip(time, current, strict=True)
    ]
    grid = time_axes.regular_axes(case.inputs.start, len(time))
    planned = xr.concat(steps, "time", coords="minimal", compat="override", join="exact")
    variables_only = planned[[*SETTLED_RESERVE_VARIABLES]].drop_vars(
        [n for n in planned.coords if n not in {"time", "product"}]
    )
    found = grid.merge(variables_only.assign_coords(time=time)).merge(called, compat="override")
    paid = found["reserve_capacity"] + found["reserve_excused"]
    return found.assign(reserve_capacity=paid).drop_vars("reserve_excused")


def _settled_step(
    schedule: xr.Dataset, site: Site, undelivered: xr.Dataset | None, *, moment: np.datetime64
) -> xr.Dataset:
    """Return what a schedule holds at a moment; a plan by rule holds nothing of what was sold."""
    if "reserve_capacity" in schedule:
        return schedule[[*SETTLED_RESERVE_VARIABLES]].sel(time=moment, method="pad")
    products = xr.DataArray(
        np.zeros(len(site.reserves)), dims="product", coords={"product": list(site.reserves)}
    )
    step = xr.Dataset(dict.fromkeys(SETTLED_RESERVE_VARIABLES, products)).assign_coords(time=moment)
    if undelivered is None:
        return step
    return step.assign(reserve_shortfall=undelivered["reserve_shortfall"].sel(time=moment))


def _undelivered(case: BacktestCase, count: int) -> xr.Dataset | None:
    """Return what was sold in the first quarter-hours, none of it held; None if nothing was."""
    inputs, grid = case.inputs, time_axes.regular_axes(case.inputs.start, count)
    known = reserve_outlook(case.site, inputs.series, inputs.start, axes=grid, foresight=True)
    if "reserve_held" not in known:
        return None
    shortfall = known["reserve_held"]
    nothing = xr.zeros_like(shortfall)
    sold = {"reserve_capacity": nothing, "reserve_shortfall": shortfall, "reserve_price": nothing}
    return variables.tag_dataset(grid.merge({name: one.drop_attrs() for name, one in sold.items()}))


def draw_reserve_calls(
    products: Mapping[str, ReserveProduct], minutes: int, *, seed: int, share: float | None = None
) -> dict[str, FloatArray]:
    """Return how the grid calls each product: full activations at random times.

    - `minutes`: length of the series. [min]
    - `seed`: seed of the times and directions.
    - `share`: mean share of time of a call in each direction; by default the declared energy. [1]

    Returns
    -------
    dict
        Product -> -1 (fully downwards) to 1 (fully upwards), on (minute). After each call of the
        product's duration there is none for its recovery time.
    """
    found = {}
    for number, (name, product) in enumerate(products.items()):
        rng = np.random.default_rng([seed, number])
        up, down = product.activation_up, product.activation_down
        if share is not None:
            up, down = share * product.is_upward, share * product.is_downward
        lasts = max(round(product.duration * MINUTES_PER_HOUR), 1)
        pause = round(product.recovery * MINUTES_PER_HOUR)
        calls = np.zeros(minutes)
        # the call must be the wanted share of a cycle of waiting, call and recovery
        wait = lasts / max(up + down, 1e-9) - lasts - pause
        minute = int(rng.exponential(max(wait, 1.0))) if up + down > 0.0 else minutes
        while minute < minutes:
            direction = 1.0 if rng.uniform() * (up + down) < up else -1.0
            calls[minute : minute + lasts] = direction
            minute += lasts + pause + int(rng.exponential(max(wait, 1.0)))
        found[name] = calls
    return found
