"""Judge a schedule before it leaves: replay it on the twin and hold it against every limit.

Physics is shared with the optimiser, judgement is not: this file knows no model and no solver, and
believes no promise. The outlook for which a schedule was made is what it is judged in.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from twin import time_axes, variables
from twin.contingency.coverage import ContingencyCoverage, contingency_coverage
from twin.equipment import CoolingPlant, HeatReuse
from twin.errors import GigatwinError, StateError
from twin.feasibility import connection, consistency, reserve_deliverability
from twin.physics.numerics import BoolArray
from twin.relations import Store
from twin.simulation import limits, setpoints, simulate
from twin.simulation.limits import Violation, find_violation
from twin.site import Site
from twin.validation import axis_issues, check_argument_types, negative_value_issues
from twin.variables import machine_values, net_import

VERIFIED_MARGIN_SHARE: Final = 0.5
"""Share of the planning margins that the verdict still asks for. [1]"""

IMPORT_TOLERANCE_SHARE: Final = 0.02
"""Greatest difference of promised and replayed import, share of the connection. [1]"""

POWER_TOLERANCE_MW: Final = 0.01
"""Power that is no difference. [MW]"""

PLANT_LOAD_TOLERANCE_MW: Final = 1e-6
"""Load of a cooling plant whose tank does all its work. [MW]"""

MAX_SIMULTANEOUS_POWER_MW: Final = 0.1
"""Power that may go both ways at once through a store or the connection. [MW]"""

CONNECTION_VARIABLES: Final = ("grid_import_power", "grid_export_power")
"""What a schedule says of the connection."""

DEPENDENT_VARIABLES: Final = {
    "renewable_used_power": "renewable_available_power",
    "work_racks": "work_power",
}
"""What can be judged only by another word of the same schedule."""

STATE_LIMIT_VARIABLES: Final = ("battery_level", "tank_level", "facility_supply_temperature")
"""Limited variables of the state."""

VERIFIED_PERIOD_H: Final = 48.0
"""Hours of a schedule that are judged: what comes later is planned anew many times before. [h]"""

ORDER_TOLERANCE_SHARE: Final = 0.05
"""Share of a store's power by which it may differ from its orders: levels are measured. [1]"""


@dataclass(frozen=True, kw_only=True)
class ScheduleVerdict:
    """What the twin says of a schedule.

    Attributes
    ----------
    violations
        Every limit that would be broken; empty when the schedule may leave.
    replay
        What the twin did with it; None if it could not even be replayed.
    power_error
        Greatest difference of promised and replayed net import. [MW]
    uncovered_failures
        Every single failure that must be endured, is not, and with less work would be.
    coverage
        How long each single failure is endured; None if it could not even be replayed.
    extra_units
        Every bank of which more units have to run than the schedule tells; what that costs is in
        the replay, and nothing is refused for it.
    unavoidable_violations
        Where the connection's ramp, or what others leave of it, is not kept, as nothing can: what
        need not be is refused.
    """

    violations: tuple[Violation, ...]
    replay: xr.Dataset | None
    power_error: float
    uncovered_failures: tuple[Violation, ...] = ()
    coverage: ContingencyCoverage | None = None
    extra_units: tuple[Violation, ...] = ()
    unavoidable_violations: tuple[Violation, ...] = ()

    @property
    def is_safe(self) -> bool:
        """Whether the schedule may leave."""
        return not self.refusals

    @property
    def refusals(self) -> tuple[Violation, ...]:
        """All for which it is refused."""
        return (*self.violations, *self.uncovered_failures)


def verify(site: Site, state: xr.Dataset, schedule: xr.Dataset) -> ScheduleVerdict:
    """Replay a schedule on the twin and judge it.

    Parameters
    ----------
    site
        The site, as the service believes it to be.
    state
        Its state at the first edge.
    schedule
        The operation with its weather, what is promised at the connection, and what binds it:
        ``service_racks``, ``renewable_available_power``.

    Returns
    -------
    ScheduleVerdict
        The judgement of :data:`VERIFIED_PERIOD_H` hours, the replay of all; it never raises for bad
        schedules.

    Raises
    ------
    ProblemError
        If the site or the state is none.
    """
    check_argument_types("verify", site=(site, Site), state=(state, xr.Dataset))
    try:
        _check_sense(state, schedule)
        whole = simulate.simulate(site, state, schedule)
    except GigatwinError as error:
        return _refused(str(error), np.datetime64(state["instant"].to_numpy().item(), "us"))
    schedule, replay = (
        time_axes.first_hours(data, VERIFIED_PERIOD_H) for data in (schedule, whole)
    )
    time = schedule["time"].to_numpy()
    miss = np.abs(net_import(replay).to_numpy() - net_import(schedule).to_numpy())
    unlike = miss / (IMPORT_TOLERANCE_SHARE * site.grid.import_limit)
    floor, keep = (
        consistency.service_only_power(site, schedule),
        VERIFIED_MARGIN_SHARE * site.margins.power,
    )
    taken = connection.check_connection(
        site, state, schedule, replay=replay, floor=floor, safety_margin=keep
    )
    breaches = [
        *_limits(site, state, replay, time),
        *taken.avoidable,
        *_service(site, schedule, time),
        *_check_orders(site, schedule, replay, time),
        *_check_simultaneous(site, schedule, time),
        *_check_setpoints(site, schedule, replay, time),
        *_check_reserves_and_consistency(site, state, schedule, replay=replay),
        *find_violation("promise at the connection differs from the twin", unlike, time),
    ]
    covered = contingency_coverage(site, state, schedule, result=replay, floor=floor)
    return ScheduleVerdict(
        violations=tuple(breaches),
        replay=whole,
        power_error=float(miss.max()),
        uncovered_failures=tuple(
            b for name, beyond in covered.violations() for b in find_violation(name, beyond, time)
        ),
        coverage=covered,
        extra_units=tuple(_find_extra_units(schedule, replay, time)),
        unavoidable_violations=taken.total,
    )


def _check_sense(state: xr.Dataset, schedule: xr.Dataset) -> None:
    """Refuse a schedule that lacks a word or a unit, has other axes, or promises no power."""
    check_argument_types("verify", schedule=(schedule, xr.Dataset))
    pairs = [pair for pair in DEPENDENT_VARIABLES.items() if pair[0] in schedule]
    names = [*CONNECTION_VARIABLES, "service_racks", *(name for pair in pairs for name in pair)]
    variables.check_variables(
        schedule, *names, *(word for word in consistency.SCHEDULE_AXES if word in schedule)
    )
    faults = [
        *time_axes.time_axis_issues(schedule, state["instant"].to_numpy()),
        *reserve_deliverability.reserve_issues(schedule),
    ]
    faults += axis_issues(schedule, consistency.SCHEDULE_AXES, "schedule")
    for name in names:
        faults += negative_value_issues(schedule[name], of="schedule")
    if faults:
        raise StateError("schedule", faults)


def _refused(reason: str, start: np.datetime64) -> ScheduleVerdict:
    breach = Violation(limit=reason, time=start, count=1, excess=np.inf)
    return ScheduleVerdict(violations=(breach,), replay=None, power_error=np.inf)


def _limits(site: Site, state: xr.Dataset, replay: xr.Dataset, time: np.ndarray) -> list[Violation]:
    """Judge every limit; one that the state itself breaks must not be broken further.

    Below its window a store may fall by what it loses while it rests at its low end.
    """
    hours = float(replay["duration"].sum())
    left = {store.owner: (1.0 - store.standing_loss) ** hours for store in site.stores}
    keeps = {"level": 0.0, "power": site.margins.power, "temperature": site.margins.temperature}
    found = []
    for declared in limits.operating_limits(site):
        limit = declared
        keep = (
            0.0
            if limit.variable == "hall_power"
            else VERIFIED_MARGIN_SHARE * keeps[limit.margin_kind]
        )
        if limit.variable in STATE_LIMIT_VARIABLES:
            now = float(state[limit.variable].sel({limit.dimension: limit.owner}))
            low = min(limit.lower, now) * left.get(limit.owner, 1.0)
            limit = replace(limit, lower=low, upper=max(limit.upper, now))
        found += find_violation(limit.name, limit.excess_ratio(replay, safety_margin=keep), time)
    return found


def _service(site: Site, schedule: xr.Dataset, time: np.ndarray) -> list[Violation]:
    """Judge that inference is served first."""
    given = schedule["hall_power"].sum("hall").to_numpy()
    tolerance = limits.LIMIT_TOLERANCE * site.racks * site.flexible_loads[0].full_power
    beyond = (consistency.service_only_power(site, schedule) - given) / tolerance
    return find_violation("service floor of hall_power", beyond, time)


def _check_simultaneous(site: Site, schedule: xr.Dataset, time: np.ndarray) -> list[Violation]:
    """Judge that nothing is charged and discharged, or bought and sold, at the same time."""
    pairs = {"connection": [schedule[name] for name in CONNECTION_VARIABLES]}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        names = f"{kind}_charge", f"{kind}_discharge"
        if set(names) <= set(schedule):
            pairs[store.owner] = [schedule[name].sel({kind: store.owner}) for name in names]
    found = []
    for owner, (one, other) in pairs.items():
        beyond = np.minimum(one.to_numpy(), other.to_numpy()) / MAX_SIMULTANEOUS_POWER_MW
        found += find_violation(f"both ways at once through {owner}", beyond, time)
    return found


def _check_setpoints(
    site: Site, schedule: xr.Dataset, replay: xr.Dataset, time: np.ndarray
) -> list[Violation]:
    """Judge that chosen set points keep the coolant above the dew point, and move slowly."""
    if setpoints.SUPPLY_SET_POINT not in schedule:
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
    """Judge that power and energy stand behind reserves, and that all words agree with orders."""
    keep, time = VERIFIED_MARGIN_SHARE * site.margins.power, schedule["time"].to_numpy()
    told = [
        *reserve_deliverability.check_reserves(
            site, state, schedule, replay=replay, safety_margin=keep
        ),
        *consistency.inconsistencies(site, state, schedule),
    ]
    return [breach for pair in told for breach in find_violation(*pair, time)]


def _find_extra_units(
    schedule: xr.Dataset, replay: xr.Dataset, time: np.ndarray
) -> list[Violation]:
    """Find where the plant has to run more units than it is told."""
    if setpoints.UNITS_ON not in schedule:
        return []
    found, told = [], schedule[setpoints.UNITS_ON]
    for name in told["cooling_plant"].to_numpy():
        ran = replay[setpoints.UNITS_ON].sel(circuit=name).to_numpy()
        more = ran - told.sel(cooling_plant=name).to_numpy()
        found += find_violation(
            f"more chillers of {name} run than planned", more, time, allowed=0.0
        )
    return found


def _tank_serves_all(site: Site, store: Store, replay: xr.Dataset) -> BoolArray:
    """Return where a tank does all the work of its plant: what is told beyond that it keeps."""
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
    """Judge that stores and heat pumps can do what they are told, and that the sun shines."""
    found = []
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        for direction, limit in (
            ("charge", store.charge_limit),
            ("discharge", store.discharge_limit),
        ):
            name = f"{kind}_{direction}"
            if name in schedule:
                told, done = (
                    machine_values(data, name, store.owner) for data in (schedule, replay)
                )
                refused = np.abs(told - done) / (ORDER_TOLERANCE_SHARE * limit)
                if direction == "discharge":
                    refused[_tank_serves_all(site, store, replay)] = 0.0
                found += find_violation(f"{name} of {store.owner} beyond its store", refused, time)
    for pump in site.machines_of(HeatReuse):
        name, limit = "heat_reuse_power", pump.contract_power
        if name in schedule:
            told, done = (machine_values(data, name, pump.name) for data in (schedule, replay))
            refused = np.abs(told - done) / (ORDER_TOLERANCE_SHARE * limit)
            found += find_violation(f"{name} of {pump.name} beyond network or heat", refused, time)
    if schedule.get("renewable_used_power", xr.DataArray([])).size:
        over = schedule["renewable_used_power"] - schedule["renewable_available_power"]
        beyond = over.max("renewable").to_numpy() / POWER_TOLERANCE_MW
        found += find_violation("renewable_used_power above what is available", beyond, time)
    return found
