"""Schedule of a solved problem: labelled variables with units, ready for verification."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.model.model_data import CAP_LEVEL_COUNT, cap_levels
from optimizer.model.rows import reserve_column_name
from optimizer.problem import obligations_and_reserves
from optimizer.problem.migration import incoming_cohorts
from optimizer.problem.obligations_and_reserves import CAPACITY_TOLERANCE_MW
from optimizer.problem.problem import Problem
from optimizer.solver.solution import UNIT_TOLERANCE, Solution
from twin import variables
from twin.equipment import Battery, ChilledWaterTank, Equipment, HeatReuse, ITHall, Renewable
from twin.markets.contracts import DayAheadPosition
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.simulation import setpoints
from twin.weather import WEATHER_VARIABLES
from twin.workload.queue import RackPool

COPIED_OUTLOOK_VARIABLES: Final = (
    *WEATHER_VARIABLES,
    "electricity_price",
    "carbon_intensity",
    "service_racks",
    "grid_import_limit",
    "grid_import_target",
    "grid_import_target_price",
)
"""Variables of the outlook that a schedule contains."""

COPIED_COORDINATES: Final = ("instant", "cohort", "kind")
"""Coordinates of the outlook that a schedule contains, beside those of these variables."""

EQUIPMENT_BY_DIMENSION: Final[Mapping[str, type[Equipment]]] = {
    "hall": ITHall,
    "battery": Battery,
    "tank": ChilledWaterTank,
    "renewable": Renewable,
    "heat_reuse": HeatReuse,
}
"""Dimension -> machines along it."""

type ScheduleVariables = dict[str, tuple[tuple[str, ...], FloatArray]]
"""Variable -> its dimensions and values. A dataset is created from all of them at once, because
adding one by one checks the labels each time.
"""


def build_schedule(solution: Solution) -> xr.Dataset:
    """Return the schedule of a solved problem, on the axes of the outlook.

    It contains the operation for the twin (``hall_power``, orders to stores,
    ``renewable_used_power``, ``heat_reuse_power``, weather), import and export, racks by cohort and
    cap, and costs by account without penalties; chosen set points and reserve capacity, if any.
    """
    problem = solution.data.problem
    site, outlook = problem.site, problem.outlook
    owners = {
        dim: [machine.name for machine in site.machines_of(kind)]
        for dim, kind in EQUIPMENT_BY_DIMENSION.items()
    }
    banks = list(site.switchable_units)
    known = outlook[
        [
            name
            for name in (*COPIED_OUTLOOK_VARIABLES, "renewable_available_power")
            if name in outlook
        ]
    ]
    variables_of_schedule = _work(solution) | _stores(solution, owners)
    variables_of_schedule |= (
        _connection(solution, variables_of_schedule) | _trades(solution) | _units(solution, banks)
    )
    payments = solution.payments
    variables_of_schedule["money"] = (("time", "account"), np.stack([*payments.values()], axis=-1))
    labels = owners | {"cooling_plant": banks, "account": list(payments)}
    used = {dim for dims, _ in variables_of_schedule.values() for dim in dims}
    data = xr.Dataset(
        {name: known.variables[name] for name in known.data_vars} | variables_of_schedule,
        coords={name: outlook.variables[name] for name in (*known.coords, *COPIED_COORDINATES)}
        | {dim: names for dim, names in labels.items() if dim in used}
        | {"level_power": (("cohort", "level"), _levels(problem))},
        attrs=outlook.attrs,
    )
    if solution.data.setpoints is not None:
        data = data.assign(setpoints.set_point_variables(solution.data.setpoints))
    return add_reserve_variables(variables.tag_dataset(data), solution)


def _work(solution: Solution) -> ScheduleVariables:
    """Return racks, power and lateness of the work, and the power of the halls."""
    problem = solution.data.problem
    pool = RackPool.from_site(problem.site)
    racks = np.maximum(solution.values["work.racks"], 0.0)
    power = (racks * pool.power_above_idle(_levels(problem))).sum(axis=-1)
    late = np.maximum(solution.values["work.work_overdue"], 0.0)
    if "migration.work_overdue" in solution.values:  # of incoming work
        late[:, incoming_cohorts(problem.outlook)] += np.maximum(
            solution.values["migration.work_overdue"], 0.0
        )
    always = pool.total_power(problem.service_racks)
    total = always + power.sum(axis=-1)
    shares = np.array([hall.racks / pool.racks for hall in problem.site.machines_of(ITHall)])
    return {
        "work_racks": (("time", "cohort", "level"), racks),
        "work_power": (("time", "cohort"), power),
        "work_late": (("instant", "cohort"), late),
        "hall_power": (("time", "hall"), total[:, None] * shares),
    }


def _levels(problem: Problem) -> FloatArray:
    """Return the caps of each cohort, ``(cohort, level)``. [1]"""
    kinds = problem.outlook["kind"].to_numpy()
    return np.array([cap_levels(problem.site.work[str(name)]) for name in kinds]).reshape(
        -1, CAP_LEVEL_COUNT
    )


def _stores(solution: Solution, owners: Mapping[str, list[str]]) -> ScheduleVariables:
    """Return orders to stores and their levels, renewable power used, and heat sold."""
    variables_of_schedule: ScheduleVariables = {}
    for kind in ("battery", "tank"):
        names = owners[kind]
        for direction in ("charge", "discharge"):
            variables_of_schedule[f"{kind}_{direction}"] = (
                ("time", kind),
                _columns(solution, names, direction),
            )
        levels = [solution.values[f"{name}.level"] for name in names]
        empty = np.empty((len(solution.data.interval_hours) + 1, 0))
        variables_of_schedule[f"{kind}_level"] = (
            ("instant", kind),
            np.stack(levels, axis=-1) if levels else empty,
        )
    used = _columns(solution, owners["renewable"], "import_power")
    variables_of_schedule["renewable_used_power"] = ("time", "renewable"), used
    if pumps := owners["heat_reuse"]:
        variables_of_schedule["heat_reuse_power"] = (
            ("time", "heat_reuse"),
            _columns(solution, pumps, "export_power"),
        )
    return variables_of_schedule


def _units(solution: Solution, banks: list[str]) -> ScheduleVariables:
    """Return the units on of every bank."""
    on = np.ceil(np.maximum(_columns(solution, banks, "on") - UNIT_TOLERANCE, 0.0))
    return {setpoints.UNITS_ON_VARIABLE: (("time", "cooling_plant"), on)} if banks else {}


def _columns(solution: Solution, owners: list[str], variable: str) -> FloatArray:
    count = len(solution.data.interval_hours)
    columns = [np.maximum(solution.values[f"{owner}.{variable}"], 0.0) for owner in owners]
    return np.stack(columns, axis=-1) if columns else np.empty((count, 0))


def _connection(solution: Solution, variables_of_schedule: ScheduleVariables) -> ScheduleVariables:
    """Return netted import and export, and the power of the facility."""
    grid = solution.data.problem.site.grid_connection.name
    net = solution.values[f"{grid}.import_power"] - solution.values[f"{grid}.export_power"]
    own, up, down = (
        variables_of_schedule[name][1].sum(axis=-1)
        for name in ("renewable_used_power", "battery_discharge", "battery_charge")
    )
    return {
        "grid_import_power": (("time",), np.maximum(net, 0.0)),
        "grid_export_power": (("time",), np.maximum(-net, 0.0)),
        "facility_power": (("time",), net + own + up - down),
    }


def _trades(solution: Solution) -> ScheduleVariables:
    """Return intraday trades, if any are possible."""
    found: ScheduleVariables = {}
    for market in solution.data.problem.site.machines_of(DayAheadPosition):
        bought = solution.values.get(f"{market.name}.bought")
        if bought is not None:
            found["intraday_power"] = ("time",), bought - solution.values[f"{market.name}.sold"]
    return found


def add_reserve_variables(data: xr.Dataset, solution: Solution) -> xr.Dataset:
    """Return a schedule with reserve capacity by product and provider.

    It adds ``reserve_capacity``, ``reserve_shortfall``, ``reserve_held``, ``reserve_price`` and
    ``reserve_excused`` on ``time`` and ``product``, and the shares ``battery_reserve`` and, if work
    may provide any, ``work_reserve`` with ``work_least`` for verification. A site without products
    has none.
    """
    problem = solution.data.problem
    site, outlook = problem.site, problem.outlook
    if not site.reserves:
        return data
    products = list(site.reserves.values())
    batteries = [battery.name for battery in site.machines_of(Battery)]
    sold, required = (
        np.stack([of(outlook, product) for product in products], axis=-1)
        for of in (
            obligations_and_reserves.sold_capacity,
            obligations_and_reserves.required_capacity,
        )
    )
    shortfall = np.stack([_column(solution, p, "shortfall") for p in products], axis=-1)
    shortfall = np.where(shortfall > CAPACITY_TOLERANCE_MW, np.minimum(shortfall, required), 0.0)
    offered = np.stack(
        [p.sellable_capacity(_column(solution, p, "offered")) for p in products], axis=-1
    )
    capacity = required - shortfall + offered
    steps, cohorts = len(problem.interval_hours), outlook.sizes["cohort"]
    rows = [[_reserve(solution, name, p, (steps,)) for name in batteries] for p in products]
    stored = np.reshape(rows, (len(products), -1, steps)).transpose(2, 0, 1)
    worked = np.stack([_reserve(solution, "work", p, (steps, cohorts)) for p in products], axis=1)
    provided = stored.sum(axis=-1) + worked.sum(axis=-1)
    share = np.clip(capacity / np.maximum(provided, CAPACITY_TOLERANCE_MW), 0.0, 1.0)[:, :, None]
    price = np.stack(
        [obligations_and_reserves.reserve_price(outlook, product) for product in products], axis=-1
    )
    by_product = {
        "reserve_capacity": capacity,
        "reserve_shortfall": shortfall,
        "reserve_held": required,
        "reserve_price": price,
        "reserve_excused": sold - required,
    }
    found = data.assign_coords(product=[product.name for product in products])
    found = found.assign({name: (("time", "product"), row) for name, row in by_product.items()})
    found["battery_reserve"] = ("time", "product", "battery"), stored * share
    if any(obligations_and_reserves.eligible_work(site, product) for product in products):
        found["work_reserve"] = ("time", "product", "cohort"), worked * share
        found["work_least"] = outlook["work_least"]
    return variables.tag_dataset(found)


def _column(solution: Solution, product: ReserveProduct, name: str) -> FloatArray:
    return np.maximum(solution.values[f"{product.name}_reserve.{name}"], 0.0)


def _reserve(
    solution: Solution, owner: str, product: ReserveProduct, shape: tuple[int, ...]
) -> FloatArray:
    """Return the capacity of a product that an owner provides, without past intervals. [MW]"""
    values = solution.values.get(f"{owner}.{reserve_column_name(product.name)}", np.zeros(shape))
    return np.maximum(values[-shape[0] :], 0.0)
