"""From the values of a solved model to a schedule: labelled, tagged, ready to be judged."""

import numpy as np
import xarray as xr

from optimizer.inputs import caps
from optimizer.moves import coming
from optimizer.reserves.reserved import add_reserves
from optimizer.solution import ROUNDING, Solution
from twin import steering, vocabulary
from twin.equipment import Accelerators, Battery, DayAhead, HeatReuse, Renewable, Tank
from twin.forecast.record import WEATHER
from twin.physics import FloatArray
from twin.workloads.queue import Pool

KNOWN = (
    *WEATHER,
    "electricity_price",
    "carbon_intensity",
    "service_racks",
    "grid_import_limit",
    "grid_import_target",
    "grid_import_target_price",
)
"""Variables of the outlook that a schedule takes along: what it was made for."""


def schedule_of(solution: Solution) -> xr.Dataset:
    """Return the schedule of a solved problem.

    Parameters
    ----------
    solution
        What the optimiser answered.

    Returns
    -------
    xarray.Dataset
        On the axes of the outlook: what the twin can replay (``hall_power``, orders to stores,
        ``renewable_used_power``, ``heat_reuse_power``, weather), what is promised at the
        connection, the racks by cohort and cap behind it, and the money by account; the set points
        of the water, if they were chosen; the capacity held of reserve products, if there are any.
    """
    problem = solution.inputs.problem
    site, outlook = problem.site, problem.outlook
    data = outlook[[name for name in KNOWN if name in outlook]].copy()
    if "renewable_available_power" in outlook:
        data["renewable_available_power"] = outlook["renewable_available_power"]
    data = data.assign_coords({name: outlook[name] for name in ("instant", "cohort", "kind")})
    _add_work(data, solution)
    for kind, machines in (("battery", site.of(Battery)), ("tank", site.of(Tank))):
        names = [machine.name for machine in machines]
        data = data.assign_coords({kind: names})
        for way in ("charge", "discharge"):
            data[f"{kind}_{way}"] = ("time", kind), _columns(solution, names, way)
        levels = [solution.values[f"{name}.level"] for name in names]
        stacked = np.stack(levels, axis=-1) if levels else np.empty((data.sizes["instant"], 0))
        data[f"{kind}_level"] = ("instant", kind), stacked
    sources = [source.name for source in site.of(Renewable)]
    data = data.assign_coords(renewable=sources)
    data["renewable_used_power"] = (
        ("time", "renewable"),
        _columns(solution, sources, "import_power"),
    )
    pumps = [pump.name for pump in site.of(HeatReuse)]
    if pumps:
        data = data.assign_coords(heat_reuse=pumps)
        sold = _columns(solution, pumps, "export_power")
        data["heat_reuse_power"] = ("time", "heat_reuse"), sold
    _add_connection(data, solution)
    _add_trades(data, solution)
    banks = [convert.owner for convert in site.converts if convert.units is not None]
    if banks:
        data = data.assign_coords(cooling_plant=banks)
        on = np.ceil(np.maximum(_columns(solution, banks, "on") - ROUNDING, 0.0))
        data["cooling_plant_units_on"] = ("time", "cooling_plant"), on
    if solution.inputs.points is not None:
        data = data.assign(steering.labelled(solution.inputs.points))
    accounts = list(solution.accounts)
    money = np.stack([solution.accounts[name] for name in accounts], axis=-1)
    data["money"] = (("time", "account"), money)
    return add_reserves(vocabulary.tag_all(data.assign_coords(account=accounts)), solution)


def _columns(solution: Solution, owners: list[str], variable: str) -> FloatArray:
    count = len(solution.inputs.hours)
    columns = [np.maximum(solution.values[f"{owner}.{variable}"], 0.0) for owner in owners]
    return np.stack(columns, axis=-1) if columns else np.empty((count, 0))


def _add_work(data: xr.Dataset, solution: Solution) -> None:
    """Add racks, power and lateness of the work, and what the halls draw for all of it."""
    problem = solution.inputs.problem
    site, pool = problem.site, Pool.of(problem.site)
    kinds = [site.work[str(name)] for name in problem.outlook["kind"].to_numpy()]
    levels = np.array([caps(kind) for kind in kinds])
    racks = np.maximum(solution.values["work.racks"], 0.0)
    power = (racks * pool.power(levels)).sum(axis=-1)
    data["work_racks"] = ("time", "cohort", "level"), racks
    data["work_power"] = ("time", "cohort"), power
    late = np.maximum(solution.values["work.late"], 0.0)
    if "moves.late" in solution.values:  # of guests
        late[:, coming(problem.outlook)] += np.maximum(solution.values["moves.late"], 0.0)
    data["work_late"] = ("instant", "cohort"), late
    always = pool.racks * pool.rack_idle_power + problem.service * pool.power(1.0)
    total = always + power.sum(axis=-1)
    halls = site.of(Accelerators)
    shares = np.array([hall.racks / pool.racks for hall in halls])
    data["hall_power"] = ("time", "hall"), total[:, None] * shares
    data.coords["hall"] = [hall.name for hall in halls]
    data.coords["level_power"] = ("cohort", "level"), levels


def _add_connection(data: xr.Dataset, solution: Solution) -> None:
    """Add what is promised at the connection, netted, and the power of the site behind it."""
    grid = solution.inputs.problem.site.grid.name
    values = solution.values
    net = values[f"{grid}.import_power"] - values[f"{grid}.export_power"]
    data["grid_import_power"] = "time", np.maximum(net, 0.0)
    data["grid_export_power"] = "time", np.maximum(-net, 0.0)
    own = data["renewable_used_power"].sum("renewable").to_numpy()
    battery = (data["battery_discharge"] - data["battery_charge"]).sum("battery").to_numpy()
    data["facility_power"] = "time", net + own + battery


def _add_trades(data: xr.Dataset, solution: Solution) -> None:
    """Add what is to be bought and sold intraday, if anything can be."""
    for market in solution.inputs.problem.site.of(DayAhead):
        bought = solution.values.get(f"{market.name}.bought")
        if bought is not None:
            data["intraday_power"] = "time", bought - solution.values[f"{market.name}.sold"]
