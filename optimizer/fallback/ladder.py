"""Fallback ladder of a planning cycle: verified optimum, shifted plan, plan by rule, load shedding.

The first schedule that the verifier accepts is chosen and labelled with its source. The verifier
runs in the service's own process, so that wrong results of the solver are detected. Where no
schedule is safe, all movable work is stopped if that relieves limits; it gives people time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

import numpy as np
import structlog
import xarray as xr

from optimizer.curves.operating_range import start_setpoints_at_present_temperature
from optimizer.fallback.plan_by_rule import (
    constant_work_plan,
    hall_power,
    shorten_to_safe_horizon,
    with_connection_power,
)
from optimizer.planner.decision import Decision
from optimizer.planner.schedule import COPIED_OUTLOOK_VARIABLES
from optimizer.problem.problem import Problem
from optimizer.verification.verifier import ScheduleVerdict, verify
from twin import time_axes, variables
from twin.errors import GigatwinError, InvalidInputError, NoScheduleError
from twin.simulation import operating_limits
from twin.simulation.operating_limits import Violation
from twin.site import Site
from twin.units import format_minute
from twin.variables import net_import

MIN_REMAINING_PLAN: Final = np.timedelta64(12, "h")
"""Shortest remainder of a plan that may be followed again."""

TRIED_WORK_SHARES: Final = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the running work that a plan by rule tries to keep, in this order. [1]"""

MAX_RELIEVED_EXCESS_SHARE: Final = 0.9
"""A violation counts as relieved below this share of its former excess. [1]"""

RUNNING_POWER_TOLERANCE_MW: Final = 1e-6
"""Power that is treated as zero. [MW]"""

NOTHING_TO_SHED: Final = "no work runs that could be shed: other orders cannot relieve the limits"
"""Reason given where all movable work is stopped already."""

FALLBACK_PLAN_PERIOD: Final = np.timedelta64(1, "h")
"""How long a plan that is not optimal is used; later targets do not reduce work now."""

LOAD_TARGET_TOLERANCE_MW: Final = 0.01
"""Power above a target that is ignored. [MW]"""

logger = structlog.get_logger(__name__)


class ScheduleSource(StrEnum):
    """Source of a schedule."""

    OPTIMUM = "optimum"
    SHIFTED = "shifted"
    RULE = "rule"
    HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class ScheduleChoice:
    """A verified schedule; one with violations only describes the load shedding.

    - `schedule`, `replay`, `verdict`: the schedule, its simulation by the twin, and the verifier's
      result.
    - `reason`: why it is not the optimum; empty if it is.
    - `decision`: decision with its explanation, if the schedule is an optimum or was one.
    """

    schedule: xr.Dataset
    replay: xr.Dataset
    verdict: ScheduleVerdict
    source: ScheduleSource
    reason: str = ""
    decision: Decision | None = None


type DecideFunction = Callable[[Problem, Decision | None], Decision]


def choose_schedule(
    problem: Problem, decide: DecideFunction, *, last: Decision | None, running_power: float
) -> ScheduleChoice:
    """Return the best schedule available.

    `decide` calls the solver, and `running_power` is the power above idle of the work that runs now
    [MW]. The result has violations only where no plan by rule meets every limit and load shedding
    relieves the violations.

    Raises NoScheduleError if no schedule meets every limit and load shedding has no effect.
    """
    part: Problem | None = None
    try:
        return _verified_optimum(problem, decide(problem, last))
    except GigatwinError as error:
        reason = str(error)
        logger.warning("no optimum", site=problem.site.name, because=reason)
        if isinstance(error, NoScheduleError):
            part = shorten_to_safe_horizon(problem)
    try:
        if part is not None:
            return _verified_optimum(part, decide(part, last), reason=_partial_reason(part, reason))
    except GigatwinError as error:
        logger.warning(
            "no optimum of the shortened horizon", site=problem.site.name, because=str(error)
        )
    try:
        return _shifted(problem, last, reason)
    except GigatwinError as error:
        logger.warning("previous plan not usable", site=problem.site.name, because=str(error))
    try:
        return plan_by_rule(problem, running_power, source=ScheduleSource.RULE, reason=reason)
    except NoScheduleError as error:
        return _shed_load(problem, running_power, error)


def _shed_load(problem: Problem, running_power: float, refusal: NoScheduleError) -> ScheduleChoice:
    """Return the schedule without movable work; raise the refusal where that has no effect."""
    try:
        found = shed_all_work(problem, running_power)
    except InvalidInputError as error:
        raise refusal from error
    if found is None:
        raise refusal
    schedule, verdict, effect = found
    return ScheduleChoice(
        schedule=schedule,
        replay=cast(xr.Dataset, verdict.replay),
        verdict=verdict,
        source=ScheduleSource.RULE,
        reason=f"{refusal}\n{effect}",
    )


def _verified_optimum(problem: Problem, decision: Decision, reason: str = "") -> ScheduleChoice:
    """Return the verified optimum of a problem, or of a shortened one with its reason."""
    replay, verdict = _verify(problem, decision.schedule)
    return ScheduleChoice(
        schedule=decision.schedule,
        replay=replay,
        verdict=verdict,
        source=ScheduleSource.OPTIMUM,
        reason=reason,
        decision=decision,
    )


def _partial_reason(part: Problem, reason: str) -> str:
    """Return in words where a shortened horizon ends, and why."""
    return f"planned until {format_minute(part.outlook['instant'].to_numpy()[-1])} only: {reason}"


def _verify(
    problem: Problem, schedule: xr.Dataset, *, may_be_exposed: bool = False
) -> tuple[xr.Dataset, ScheduleVerdict]:
    """Return the replay of a schedule that the verifier accepts, and its verdict.

    With `may_be_exposed`, a schedule without the required ride-through time is accepted: no other
    schedule would be better.
    """
    try:
        verdict = verify(problem.site, problem.state, schedule)
    except Exception as error:  # an invalid schedule must not end the service
        logger.exception("schedule cannot be verified")
        message = f"{problem.site.name}: the twin cannot verify the schedule: {error}"
        raise NoScheduleError(message) from error
    refusals = verdict.violations if may_be_exposed else verdict.rejection_reasons
    if verdict.replay is None or refusals:
        raise NoScheduleError(_refusal(problem.site, refusals))
    return verdict.replay, verdict


def _refusal(site: Site, refusals: Sequence[Violation]) -> str:
    lines = "\n".join(f"  {violation}" for violation in refusals)
    return f"{site.name}: the twin refuses the schedule\n{lines}"


def _shifted(problem: Problem, last: Decision | None, reason: str) -> ScheduleChoice:
    """Return the remainder of the last plan with connection power from the current state."""
    if last is None:
        raise NoScheduleError("there is no previous plan")
    now = problem.outlook["time"].to_numpy()[0]
    is_ahead = last.schedule["time"].to_numpy() >= now
    remaining = last.schedule.isel(time=is_ahead, instant=np.append(is_ahead, True))
    if not is_ahead.any() or remaining["time"].to_numpy()[0] != now:
        raise NoScheduleError("the previous plan does not cover this quarter-hour")
    ahead = remaining["instant"].to_numpy()[-1] - now
    if ahead < MIN_REMAINING_PLAN:
        message = f"only {ahead / np.timedelta64(1, 'h'):.1f} h are left of the previous plan"
        raise NoScheduleError(message)
    schedule = with_connection_power(problem, _with_current_outlook(problem, remaining))
    if exceeds_load_targets(problem.outlook, schedule):
        raise NoScheduleError("the previous plan exceeds the load target of a partner")
    replay, verdict = _verify(problem, schedule)
    old = last.with_degradation(f"the plan of {format_minute(last.start)} stays in force")
    return ScheduleChoice(
        schedule=schedule,
        replay=replay,
        source=ScheduleSource.SHIFTED,
        reason=reason,
        decision=old,
        verdict=verdict,
    )


def _with_current_outlook(problem: Problem, remaining: xr.Dataset) -> xr.Dataset:
    """Return a plan under current forecasts of weather, prices, service and renewables.

    The inference service has priority over work where it needs more racks than before. The share of
    renewable power that is used stays the same. Set points start from the current water
    temperature.
    """
    plan = start_setpoints_at_present_temperature(problem, remaining).assign_attrs(
        problem.outlook.attrs
    )
    known, wanted = time_axes.interval_edges(problem.outlook), time_axes.interval_edges(remaining)
    if wanted[-1] > known[-1]:
        raise NoScheduleError("the previous plan reaches beyond the forecasts")
    for name in (*COPIED_OUTLOOK_VARIABLES, "renewable_available_power"):
        if name in remaining:
            current = problem.outlook[name].transpose(..., "time")
            values = time_axes.regrid(current.to_numpy(), known, wanted)
            plan[name] = remaining[name].transpose(..., "time").copy(data=values)
    used = remaining["work_racks"].sum(["cohort", "level"])
    free = (problem.site.rack_count - plan["service_racks"]).clip(min=0.0)
    work_share = (free / used.where(used > 0.0)).fillna(1.0).clip(max=1.0)
    for name in ("work_racks", "work_power"):
        plan[name] = variables.tag_variable(remaining[name] * work_share, name)
    plan["hall_power"] = hall_power(problem.site, plan, plan["work_power"].sum("cohort"))
    if "renewable_available_power" in remaining:
        before, now = remaining["renewable_available_power"], plan["renewable_available_power"]
        share = (
            (remaining["renewable_used_power"] / before.where(before > 0.0)).fillna(1.0).clip(max=1)
        )
        plan["renewable_used_power"] = variables.tag_variable(share * now, "renewable_used_power")
    return plan


def plan_by_rule(
    problem: Problem, running_power: float, *, source: ScheduleSource, reason: str
) -> ScheduleChoice:
    """Return a plan in which running work continues and renewables are used as far as possible.

    Tanks idle, and batteries only keep the connection's ramp limit. `running_power` is the power
    above idle of the work that runs now [MW]. The plan keeps as much running work as limits and
    load targets allow; otherwise it has the least work, or ends before the first violation.

    Raises NoScheduleError if no such plan meets every limit.
    """
    refusal = NoScheduleError(f"{problem.site.name}: no plan by rule")
    found: ScheduleChoice | None = None
    for share in TRIED_WORK_SHARES:
        try:
            schedule = constant_work_plan(problem, share * running_power)
            # during a HOLD no work is shed to reduce exposure
            is_last = share == TRIED_WORK_SHARES[-1] or source is ScheduleSource.HOLD
            replay, verdict = _verify(problem, schedule, may_be_exposed=is_last)
        except (NoScheduleError, InvalidInputError) as error:
            refusal = NoScheduleError(str(error))
            continue
        found = ScheduleChoice(
            schedule=schedule, replay=replay, verdict=verdict, source=source, reason=reason
        )
        if source is ScheduleSource.HOLD or not exceeds_load_targets(problem.outlook, schedule):
            break
    if found is None and (part := shorten_to_safe_horizon(problem)) is not None:
        reasons = f"{reason}\n{_partial_reason(part, str(refusal))}"
        return plan_by_rule(part, running_power, source=source, reason=reasons)
    if found is None:
        raise refusal
    return found


type ShedResult = tuple[xr.Dataset, ScheduleVerdict, str]
"""Schedule without movable work, its verdict, and its effect in words."""


def shed_all_work(problem: Problem, running_power: float) -> ShedResult | None:
    """Return schedule, verdict and effect of stopping all movable work, where that relieves limits.

    The result is None where it breaks another limit or relieves too little. If no work runs, the
    schedule is returned as well, since caps follow the inference service. `running_power` is the
    power above idle of the work that runs now [MW].
    """
    schedule = constant_work_plan(problem, 0.0)
    verdict = verify(problem.site, problem.state, schedule)
    if running_power <= RUNNING_POWER_TOLERANCE_MW:
        return (schedule, verdict, NOTHING_TO_SHED) if verdict.replay is not None else None
    continued = verify(problem.site, problem.state, constant_work_plan(problem, running_power))
    if verdict.replay is None or continued.replay is None:
        return None
    names = {limit.name for limit in operating_limits.operating_limits(problem.site)}
    before, after = (
        {one.limit: one for one in found.violations if one.limit in names}
        for found in (continued, verdict)
    )
    if any(_is_worse(one, after[limit]) for limit, one in before.items() if limit in after):
        return None
    relieved = [one for limit, one in before.items() if _is_relieved(one, after.get(limit))]
    if not relieved or after.keys() - before.keys():
        return None
    return schedule, verdict, _describe_relief(relieved, after)


def stop_all_work(problem: Problem, reason: str) -> ScheduleChoice:
    """Return the schedule without movable work, whatever limits it violates.

    A simulated plant needs orders also where no schedule is safe; a service issues none.
    """
    schedule = constant_work_plan(problem, 0.0)
    verdict = verify(problem.site, problem.state, schedule)
    return ScheduleChoice(
        schedule=schedule,
        replay=schedule if verdict.replay is None else verdict.replay,
        verdict=verdict,
        source=ScheduleSource.RULE,
        reason=f"{reason}\nno schedule is safe: all movable work is stopped",
    )


def _is_worse(before: Violation, after: Violation) -> bool:
    """Return whether a limit is violated earlier, or by more, than before."""
    return after.time < before.time or after.excess * MAX_RELIEVED_EXCESS_SHARE > before.excess


def _is_relieved(before: Violation, after: Violation | None) -> bool:
    """Return whether a limit is met now, violated later, or by clearly less."""
    if after is None:
        return True
    return after.time > before.time or after.excess < MAX_RELIEVED_EXCESS_SHARE * before.excess


def _describe_relief(relieved: Sequence[Violation], after: dict[str, Violation]) -> str:
    """Return the effect of load shedding in words, limit by limit."""
    effects = []
    for one in relieved:
        shed = after.get(one.limit)
        if shed is None:
            effect = "is met"
        elif shed.time > one.time:
            later, first = format_minute(shed.time), format_minute(one.time)
            effect = f"is violated from {later} instead of {first}"
        else:
            effect = f"is violated by {shed.excess / one.excess:.0%} of the excess with work"
        effects.append(f"{one.limit} {effect}")
    return f"all movable work is stopped and caps are lowered: {'; '.join(effects)}"


def exceeds_load_targets(outlook: xr.Dataset, schedule: xr.Dataset) -> bool:
    """Return whether a plan imports more than partners request, as long as it is used."""
    if "grid_import_target" not in outlook:
        return False
    time = schedule["time"].to_numpy()
    near = time[time < time[0] + FALLBACK_PLAN_PERIOD]
    target = outlook["grid_import_target"].min("contract").sel(time=near, method="pad")
    net = net_import(schedule).sel(time=near)
    return bool((net.to_numpy() > target.to_numpy() + LOAD_TARGET_TOLERANCE_MW).any())
