"""Verification of a schedule: simulate it on the twin and check every limit.

The verifier shares physics with the optimiser but uses no model and no solver. It checks a schedule
with the forecast for which the schedule was made.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from twin import time_axes, variables
from twin.argument_checks import axis_issues, check_argument_types, negative_value_issues
from twin.contingency.coverage import ContingencyCoverage, contingency_coverage
from twin.equipment import CoolingPlant, HeatReuse
from twin.errors import GigatwinError, StateError
from twin.feasibility import connection, consistency, reserve_deliverability
from twin.physics.numerics import BoolArray
from twin.relations import Store
from twin.simulation import operating_limits, setpoints, simulate
from twin.simulation.operating_limits import Violation, find_violation
from twin.site import Site
from twin.variables import machine_values, net_import

VERIFIED_MARGIN_SHARE: Final = 0.5
"""Share of the planning margins that a schedule must keep. [1]"""

IMPORT_TOLERANCE_SHARE: Final = 0.02
"""Largest difference of planned and simulated import, share of the connection. [1]"""

RENEWABLE_POWER_TOLERANCE_MW: Final = 0.01
"""Difference of power that is ignored. [MW]"""

PLANT_LOAD_TOLERANCE_MW: Final = 1e-6
"""Load of a cooling plant below which its tank supplies everything. [MW]"""

MAX_SIMULTANEOUS_POWER_MW: Final = 0.1
"""Power that may flow in both directions at once through a store or the connection. [MW]"""

VERIFIED_CONNECTION_VARIABLES: Final = ("grid_import_power", "grid_export_power")
"""Variables of the connection."""

DEPENDENT_VARIABLES: Final = {
    "renewable_used_power": "renewable_available_power",
    "work_racks": "work_power",
}
"""Variable -> another variable that is needed to check it."""

STATE_LIMIT_VARIABLES: Final = ("battery_level", "tank_level", "facility_supply_temperature")
"""Limited variables of the state."""

VERIFIED_PERIOD_H: Final = 48.0
"""Hours of a schedule that are checked; later hours are planned again many times. [h]"""

STORE_ORDER_TOLERANCE_SHARE: Final = 0.05
"""Share of a store's power by which it may deviate from its orders, for measured levels. [1]"""


@dataclass(frozen=True, kw_only=True)
class ScheduleVerdict:
    """Result of the verification of a schedule.

    - `violations`: violated limits; empty if the schedule is safe.
    - `replay`: simulated operation; None if it could not be simulated.
    - `uncovered_failures`: single failures that must be survived, are not, and would be with less
      work.
    - `contingency_coverage`: ride-through time of each single failure; None if it could not be
      simulated.
    - `banks_with_extra_units`: banks that run more units than planned. The replay contains their
      cost; they are no reason for rejection.
    - `unavoidable_violations`: violations of the ramp, or of external import limits, that no plan
      avoids. Avoidable ones are in ``violations``.
    """

    violations: tuple[Violation, ...]
    replay: xr.Dataset | None
    uncovered_failures: tuple[Violation, ...] = ()
    contingency_coverage: ContingencyCoverage | None = None
    banks_with_extra_units: tuple[Violation, ...] = ()
    unavoidable_violations: tuple[Violation, ...] = ()

    @property
    def is_safe(self) -> bool:
        """Whether the schedule may be sent."""
        return not self.rejection_reasons

    @property
    def rejection_reasons(self) -> tuple[Violation, ...]:
        """All reasons for rejection."""
        return (*self.violations, *self.uncovered_failures)


def verify(site: Site, state: xr.Dataset, schedule: xr.Dataset) -> ScheduleVerdict:
    """Simulate a schedule on the twin and check it.

    Raises ProblemError if the site or the state has the wrong type.

    - `site`: the site as estimated by the service.
    - `state`: its state at the first instant.
    - `schedule`: the operation with weather, import and export, ``service_racks`` and
      ``renewable_available_power``.

    Returns
    -------
    ScheduleVerdict
        Check of the first :data:`VERIFIED_PERIOD_H` hours, replay of all. An invalid schedule gives
        a verdict with a violation, not an error.
    """
    check_argument_types("verify", site=(site, Site), state=(state, xr.Dataset))
    try:
        _check_schedule(state, schedule)
        simulated = simulate.simulate(site, state, schedule)
    except GigatwinError as error:
        return _refused(str(error), np.datetime64(state["instant"].to_numpy().item(), "us"))
    schedule, replay = (
        time_axes.first_hours(data, VERIFIED_PERIOD_H) for data in (schedule, simulated)
    )
    time = schedule["time"].to_numpy()
    import_error = np.abs(net_import(replay).to_numpy() - net_import(schedule).to_numpy())
    error_ratio = import_error / (IMPORT_TOLERANCE_SHARE * site.grid_connection.import_limit)
    floor, margin = (
        consistency.service_only_power(site, schedule),
        VERIFIED_MARGIN_SHARE * site.margins.power,
    )
    avoidable, at_connection = connection.check_connection(
        site, state, schedule, replay=replay, floor=floor, safety_margin=margin
    )
    violations = [
        *_check_limits(site, state, replay, time),
        *avoidable,
        *_check_service(site, schedule, time),
        *_check_orders(site, schedule, replay, time),
        *_check_simultaneous(site, schedule, time),
        *_check_setpoints(site, schedule, replay, time),
        *_check_reserves_and_consistency(site, state, schedule, replay=replay),
        *find_violation(
            "planned net import differs from the twin",
            error_ratio,
            time,
            allowed=IMPORT_TOLERANCE_SHARE * site.grid_connection.import_limit,
            unit="MW",
        ),
    ]
    covered = contingency_coverage(site, state, schedule, result=replay, floor=floor)
    return ScheduleVerdict(
        violations=tuple(violations),
        replay=simulated,
        uncovered_failures=tuple(
            b for name, excess in covered.violations() for b in find_violation(name, excess, time)
        ),
        contingency_coverage=covered,
        banks_with_extra_units=tuple(_find_extra_units(schedule, replay, time)),
        unavoidable_violations=tuple(at_connection),
    )


def _check_schedule(state: xr.Dataset, schedule: xr.Dataset) -> None:
    """Raise an error if a schedule lacks a variable or unit, has wrong axes, or negative powers."""
    check_argument_types("verify", schedule=(schedule, xr.Dataset))
    pairs = [pair for pair in DEPENDENT_VARIABLES.items() if pair[0] in schedule]
    names = [
        *VERIFIED_CONNECTION_VARIABLES,
        "service_racks",
        *(name for pair in pairs for name in pair),
    ]
    variables.check_variables(
        schedule, *names, *(name for name in consistency.SCHEDULE_AXES if name in schedule)
    )
    issues = [
        *time_axes.time_axis_issues(schedule, state["instant"].to_numpy()),
        *reserve_deliverability.reserve_issues(schedule),
    ]
    issues += axis_issues(schedule, consistency.SCHEDULE_AXES, "schedule")
    for name in names:
        issues += negative_value_issues(schedule[name], of="schedule")
    StateError.raise_if_any("schedule", issues)


def _refused(reason: str, start: np.datetime64) -> ScheduleVerdict:
    violation = Violation(limit=reason, time=start, violated_interval_count=1, excess=np.inf)
    return ScheduleVerdict(violations=(violation,), replay=None)


def _check_limits(
    site: Site, state: xr.Dataset, replay: xr.Dataset, time: np.ndarray
) -> list[Violation]:
    """Check every limit; one that the state violates already must not be violated further.

    A store below its window may fall by its standing losses.
    """
    hours = float(replay["duration"].sum())
    left = {store.owner: (1.0 - store.standing_loss) ** hours for store in site.stores}
    margins = {"level": 0.0, "power": site.margins.power, "temperature": site.margins.temperature}
    found = []
    for declared in operating_limits.operating_limits(site):
        limit = declared
        margin = (
            0.0
            if limit.variable == "hall_power"
            else VERIFIED_MARGIN_SHARE * margins[limit.margin_kind]
        )
        if limit.variable in STATE_LIMIT_VARIABLES:
            now = float(state[limit.variable].sel({limit.dimension: limit.owner}))
            low = min(limit.lower, now) * left.get(limit.owner, 1.0)
            limit = replace(limit, lower=low, upper=max(limit.upper, now))
        excess = limit.excess_ratio(replay, safety_margin=margin)
        found += find_violation(limit.name, excess, time, allowed=limit.tolerance, unit=limit.unit)
    return found


def _check_service(site: Site, schedule: xr.Dataset, time: np.ndarray) -> list[Violation]:
    """Check that inference has all its power."""
    power = schedule["hall_power"].sum("hall").to_numpy()
    tolerance = (
        operating_limits.LIMIT_TOLERANCE * site.rack_count * site.flexible_loads[0].full_power
    )
    excess = (consistency.service_only_power(site, schedule) - power) / tolerance
    return find_violation("service floor of hall_power", excess, time, allowed=tolerance, unit="MW")


def _check_simultaneous(site: Site, schedule: xr.Dataset, time: np.ndarray) -> list[Violation]:
    """Check that no store charges and discharges, and the site does not import and export, at
    once.
    """
    pairs = {"connection": [schedule[name] for name in VERIFIED_CONNECTION_VARIABLES]}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        names = f"{kind}_charge", f"{kind}_discharge"
        if set(names) <= set(schedule):
            pairs[store.owner] = [schedule[name].sel({kind: store.owner}) for name in names]
    found = []
    for owner, (one, other) in pairs.items():
        excess = np.minimum(one.to_numpy(), other.to_numpy()) / MAX_SIMULTANEOUS_POWER_MW
        name = f"both ways at once through {owner}"
        found += find_violation(name, excess, time, allowed=MAX_SIMULTANEOUS_POWER_MW, unit="MW")
    return found


def _check_setpoints(
    site: Site, schedule: xr.Dataset, replay: xr.Dataset, time: np.ndarray
) -> list[Violation]:
    """Check that set points keep the coolant above the dew point, and their ramp."""
    if setpoints.SUPPLY_SET_POINT_VARIABLE not in schedule:
        return []
    dry = consistency.dew_point_excess(site, replay)
    slow = consistency.supply_ramp_ratio(site, schedule, replay)
    return [
        *find_violation("coolant near the dew point of the halls", dry, time),
        *find_violation("ramp of the supply temperatures", slow, time),
    ]


def _check_reserves_and_consistency(
    site: Site, state: xr.Dataset, schedule: xr.Dataset, *, replay: xr.Dataset
) -> list[Violation]:
    """Check power and energy behind reserves, and the consistency of all variables."""
    margin, time = VERIFIED_MARGIN_SHARE * site.margins.power, schedule["time"].to_numpy()
    checks = [
        *reserve_deliverability.check_reserves(
            site, state, schedule, replay=replay, safety_margin=margin
        ),
        *consistency.inconsistencies(site, state, schedule),
    ]
    return [one for check in checks for one in find_violation(*check, time)]


def _find_extra_units(
    schedule: xr.Dataset, replay: xr.Dataset, time: np.ndarray
) -> list[Violation]:
    """Return where a plant must run more units than planned."""
    if setpoints.UNITS_ON_VARIABLE not in schedule:
        return []
    found, ordered = [], schedule[setpoints.UNITS_ON_VARIABLE]
    for name in ordered["cooling_plant"].to_numpy():
        ran = replay[setpoints.UNITS_ON_VARIABLE].sel(circuit=name).to_numpy()
        more = ran - ordered.sel(cooling_plant=name).to_numpy()
        what = f"more chillers of {name} run than planned"
        found += find_violation(what, more, time, allowed=0.0, unit="chillers")
    return found


def _tank_serves_all(site: Site, store: Store, replay: xr.Dataset) -> BoolArray:
    """Return where a tank supplies the simulated load of its plant; larger orders are then not
    needed.
    """
    plants = [
        plant.name for plant in site.machines_of(CoolingPlant) if plant.serves == store.carrier
    ]
    left = [
        machine_values(replay, "cooling_load", name) < PLANT_LOAD_TOLERANCE_MW for name in plants
    ]
    return np.all(left, axis=0) if left else np.zeros(replay.sizes["time"], dtype=np.bool_)


def _check_orders(
    site: Site, schedule: xr.Dataset, replay: xr.Dataset, time: np.ndarray
) -> list[Violation]:
    """Check that stores and heat pumps can follow their orders, and that renewables are
    available.
    """
    found = []
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        for direction, limit in (
            ("charge", store.charge_limit),
            ("discharge", store.discharge_limit),
        ):
            name = f"{kind}_{direction}"
            if name in schedule:
                ordered, done = (
                    machine_values(data, name, store.owner) for data in (schedule, replay)
                )
                tolerance = STORE_ORDER_TOLERANCE_SHARE * limit
                refused = np.abs(ordered - done) / tolerance
                if direction == "discharge":
                    refused[_tank_serves_all(site, store, replay)] = 0.0
                what = f"{name} of {store.owner} beyond its store"
                found += find_violation(what, refused, time, allowed=tolerance, unit="MW")
    for pump in site.machines_of(HeatReuse):
        name, limit = "heat_reuse_power", pump.contract_power
        if name in schedule:
            ordered, done = (machine_values(data, name, pump.name) for data in (schedule, replay))
            tolerance = STORE_ORDER_TOLERANCE_SHARE * limit
            what = f"{name} of {pump.name} beyond network or heat"
            refused = np.abs(ordered - done) / tolerance
            found += find_violation(what, refused, time, allowed=tolerance, unit="MW")
    if schedule.get("renewable_used_power", xr.DataArray([])).size:
        over = schedule["renewable_used_power"] - schedule["renewable_available_power"]
        excess = over.max("renewable").to_numpy() / RENEWABLE_POWER_TOLERANCE_MW
        name, allowed = "renewable_used_power above what is available", RENEWABLE_POWER_TOLERANCE_MW
        found += find_violation(name, excess, time, allowed=allowed, unit="MW")
    return found
