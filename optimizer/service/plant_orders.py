"""Commands to a plant: caps of jobs and halls, requests to machines, water set points."""

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.realtime.orders import DispatchOrders, caps_in_queue_order
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.decision_inputs import APPLIED_SETPOINT_VARIABLES, SETPOINT_REQUEST_VARIABLES
from optimizer.service.status import SetPointStatus
from telemetry.commands import PlantCommands
from telemetry.points.site_points import rack_ids, unit_ids
from twin.equipment import CduBank, CoolingPlant, HeatReuse, ITHall
from twin.simulation import setpoints
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.workload.queue import hall_powers, running_power


def setpoint_requests(site: Site, orders: DispatchOrders) -> dict[VariableKey, float]:
    """Return the planned water set points as requests; none where the site uses declared ones.

    The keys are (variable, circuit or unit of CDUs); values are supply temperatures [degC] or
    temperature differences [K].
    """
    found: dict[VariableKey, float] = {}
    for variable, request in SETPOINT_REQUEST_VARIABLES.items():
        for owner, value in getattr(orders, variable).items():
            found |= {(request, label): value for label in _objects(site, owner)}
    return found


def setpoint_refusal(site: Site, points: Collection[VariableKey], observed: xr.Dataset) -> str:
    """Return why water set points cannot be requested; empty if they can, or are declared.

    ``points`` are (variable, object) of the points that we may write; ``observed`` holds the newest
    good readings, among them ``facility_enabled(circuit)``.
    """
    choice = site.set_points.choice
    if choice == "declared":
        return ""
    names = (
        setpoints.SET_POINT_VARIABLES
        if choice == "cheapest"
        else (setpoints.SUPPLY_SET_POINT_VARIABLE,)
    )
    owners = [(name, m.name) for name in names for m in site.machines_of(_kind(name))]
    for variable, owner in owners:
        unwritable = [
            label
            for label in _objects(site, owner)
            if (SETPOINT_REQUEST_VARIABLES[variable], label) not in points
        ]
        if unwritable:
            return f"no point takes a {SETPOINT_REQUEST_VARIABLES[variable]} of {unwritable[0]}"
    for plant in site.machines_of(CoolingPlant):
        if _value(observed, "facility_enabled", plant.name) != 1.0:
            return f"{plant.name} does not report that it follows requests"
    return ""


def setpoint_status(
    site: Site, observed: xr.Dataset, requested: Mapping[VariableKey, float]
) -> list[SetPointStatus]:
    """Return the requested and the applied set point of each circuit and bank."""
    found = []
    for variable in setpoints.SET_POINT_VARIABLES:
        is_supply = variable == setpoints.SUPPLY_SET_POINT_VARIABLE
        for machine in site.machines_of(_kind(variable)):
            target = requested.get(
                (SETPOINT_REQUEST_VARIABLES[variable], _objects(site, machine.name)[0])
            )
            applied = _value(observed, APPLIED_SETPOINT_VARIABLES[variable], machine.name)
            row = SetPointStatus(
                machine=machine.name,
                what="supply temperature" if is_supply else "differential temperature",
                unit="degC" if is_supply else "K",
                asked=target,
                applied=applied if np.isfinite(applied) else None,
            )
            found.append(row)
    return found


def _kind(variable: str) -> type[CoolingPlant] | type[CduBank]:
    return CduBank if setpoints.SET_POINT_VARIABLES[variable][1] == "cdu" else CoolingPlant


def _objects(site: Site, owner: str) -> list[str]:
    """Return the objects that have the points of a machine: itself, or each unit of a bank."""
    machine = site.equipment[owner]
    return unit_ids(machine) if isinstance(machine, CduBank) else [owner]


def _value(observed: xr.Dataset, name: str, owner: str) -> float:
    """Return a reading of a machine; NaN if there is none."""
    if name not in observed:
        return float("nan")
    array = observed[name]
    dim = str(array.dims[0])
    return float(array.sel({dim: owner})) if owner in array[dim].to_numpy() else float("nan")


HALL_CAP_MARGIN: Final = 0.03
"""Share by which the cap of a hall exceeds its expected power, because racks differ. [1]"""


def plant_commands(site: Site, result: DecisionResult) -> PlantCommands:
    """Return the commands of a decision.

    They hold caps of jobs, and caps of halls a little above their expected power, without excluded
    racks. Requests go to stores (charging is positive), renewables, heat pumps and coolant
    temperatures; to chillers where the plan commits them, and for water set points where the plan
    chose them.
    """
    orders, queue = result.orders, result.queue
    caps = caps_in_queue_order(queue, orders.jobs)
    halls = site.machines_of(ITHall)
    excluded_racks = result.excluded_racks
    without = {
        hall.name: tuple(
            rack.removeprefix(f"{hall.name}-") for rack in rack_ids(hall) if rack in excluded_racks
        )
        for hall in halls
    }
    racks = float(result.problem.outlook["service_racks"][0]) - len(excluded_racks)
    powers = hall_powers(
        site,
        work_power=running_power(queue, caps),
        service_racks=max(racks, 0.0),
        idle_racks=len(excluded_racks),
    )
    hall_caps = {}
    for hall in halls:
        share = (hall.racks - len(without[hall.name])) / hall.racks
        hall_caps[hall.name] = min(
            powers[hall.name] * share * (1.0 + HALL_CAP_MARGIN), hall.full_power * share
        )
    excluded = {name: names for name, names in without.items() if names}
    requests = _requests(site, result, orders)
    return PlantCommands(
        job_caps=orders.jobs,
        hall_caps=hall_caps,
        excluded_racks=excluded,
        set_point_requests=requests,
    )


def storage_requests(site: Site, orders: DispatchOrders) -> dict[VariableKey, float]:
    """Return requests to batteries and tanks; charging is positive. [MW]"""
    found: dict[VariableKey, float] = {}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        found[f"{kind}_request", store.owner] = orders.net_charge(kind, store.owner)
    return found


def _requests(
    site: Site, result: DecisionResult, orders: DispatchOrders
) -> dict[VariableKey, float]:
    found = storage_requests(site, orders)
    for exchange in site.exchanges:
        if exchange.availability_variable:
            cap = orders.renewable_cap.get(exchange.owner, exchange.import_limit)
            found["renewable_request", exchange.owner] = min(cap, exchange.import_limit)
    for pump in site.machines_of(HeatReuse):
        found["heat_reuse_request", pump.name] = orders.heat_reuse_power.get(pump.name, 0.0)
    found |= setpoint_requests(site, orders)
    for plant, units in orders.cooling_plant_units_on.items():
        found["cooling_plant_units_request", plant] = units
    water = result.choice.replay["technology_supply_temperature"].isel(time=0)
    for bank in site.machines_of(CduBank):
        for unit in range(1, bank.count + 1):
            found["technology_supply_request", f"{bank.name}/{unit:03d}"] = float(water[0])
    return found
