"""The ladder of a cycle: verified optimum, last plan shifted, a plan by rule; each is labelled.

Where no rung holds, work rests if that keeps the site farther from its limits.

Every rung is judged by the same verdict in the service's own process: a solver that lies is
caught here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

import numpy as np
import structlog
import xarray as xr

from optimizer.curves.operating_range import restart_setpoints
from optimizer.fallback.baseline_plan import (
    baseline_plan,
    hall_power,
    safe_horizon,
    with_connection_power,
)
from optimizer.fallback.load_shedding import shed_all_work
from optimizer.planner.decision import Decision
from optimizer.planner.schedule import COPIED_VARIABLES
from optimizer.problem.contracts import exceeds_load_targets
from optimizer.problem.problem import Problem
from optimizer.verification.verifier import ScheduleVerdict, verify
from twin import time_axes, variables
from twin.errors import GigatwinError, InvalidInputError, NoScheduleError
from twin.simulation.limits import Violation
from twin.site import Site
from twin.units import format_minute

MIN_REMAINING_PLAN: Final = np.timedelta64(12, "h")
"""Least that must be left of an old plan to be followed once more."""

WORK_SHARES: Final = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the running work that a plan by rule tries to keep, in this order. [1]"""

logger = structlog.get_logger(__name__)


class ScheduleSource(StrEnum):
    """Where a schedule comes from."""

    OPTIMUM = "optimum"
    SHIFTED = "shifted"
    RULE = "rule"
    HOLD = "hold"


@dataclass(frozen=True, kw_only=True)
class ScheduleChoice:
    """A schedule that may leave, unless its verdict has breaches: then it tells how work rests.

    Attributes
    ----------
    schedule
        What is to be done.
    replay
        What the twin did with it.
    source
        Which rung of the ladder it stands on.
    reason
        Why it is not the optimum; empty if it is.
    decision
        The decision with its explanation, if it is an optimum or was one.
    verdict
        What the twin says of it.
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
    """Return the best schedule that there is.

    Parameters
    ----------
    problem
        The question.
    decide
        Asks the solver.
    last
        The last decision.
    running_power
        Power above idle of the work that runs now. [MW]

    Returns
    -------
    Choice
        Verified, and labelled by its source. With breaches only where not even a plan by rule keeps
        every limit, and work at rest is nearer to that.

    Raises
    ------
    NoScheduleError
        If none keeps every limit, and rest relieves nothing.
    """
    part: Problem | None = None
    try:
        return _verified_optimum(problem, decide(problem, last))
    except GigatwinError as error:
        reason = str(error)
        logger.warning("no optimum", site=problem.site.name, because=reason)
        if isinstance(error, NoScheduleError):
            part = safe_horizon(problem)
    try:
        if part is not None:
            return _verified_optimum(part, decide(part, last), reason=_partial_reason(part, reason))
    except GigatwinError as error:
        logger.warning("no optimum of a part", site=problem.site.name, because=str(error))
    try:
        return _shifted(problem, last, reason)
    except GigatwinError as error:
        logger.warning("no old plan", site=problem.site.name, because=str(error))
    try:
        return plan_by_rule(problem, running_power, source=ScheduleSource.RULE, reason=reason)
    except NoScheduleError as error:
        return _shed_load(problem, running_power, error)


def _shed_load(problem: Problem, running_power: float, refusal: NoScheduleError) -> ScheduleChoice:
    """Return what happens with all work at rest; where it relieves nothing, raise the refusal."""
    try:
        found = shed_all_work(problem, running_power)
    except InvalidInputError as error:
        raise refusal from error
    if found is None:
        raise refusal
    schedule, verdict, words = found
    return ScheduleChoice(
        schedule=schedule,
        replay=cast(xr.Dataset, verdict.replay),
        verdict=verdict,
        source=ScheduleSource.RULE,
        reason=f"{refusal}\n{words}",
    )


def _verified_optimum(problem: Problem, decision: Decision, reason: str = "") -> ScheduleChoice:
    """Return the optimum of a question, or of a part of one for a reason."""
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
    """Return in words how far a part of a question reaches, and why no farther."""
    return f"planned until {format_minute(part.outlook['instant'].to_numpy()[-1])} only: {reason}"


def _verify(
    problem: Problem, schedule: xr.Dataset, *, may_be_exposed: bool = False
) -> tuple[xr.Dataset, ScheduleVerdict]:
    """Return the replay of a schedule that the verdict finds safe, and what else it says of it.

    What is still exposed with hardly any work may leave: no plan at all would endure no more.
    """
    try:
        verdict = verify(problem.site, problem.state, schedule)
    except Exception as error:  # what is no schedule at all must not end the service
        logger.exception("a schedule that cannot be judged")
        message = f"{problem.site.name}: the twin cannot judge the schedule: {error}"
        raise NoScheduleError(message) from error
    refusals = verdict.violations if may_be_exposed else verdict.refusals
    if verdict.replay is None or refusals:
        raise NoScheduleError(_refusal(problem.site, refusals))
    return verdict.replay, verdict


def _refusal(site: Site, refusals: Sequence[Violation]) -> str:
    lines = "\n".join(f"  {breach}" for breach in refusals)
    return f"{site.name}: the twin refuses the schedule\n{lines}"


def _shifted(problem: Problem, last: Decision | None, reason: str) -> ScheduleChoice:
    """Return what is left of the last plan, promised anew from where the site stands now."""
    if last is None:
        message = "there is no plan before"
        raise NoScheduleError(message)
    now = problem.outlook["time"].to_numpy()[0]
    keep = last.schedule["time"].to_numpy() >= now
    left = last.schedule.isel(time=keep, instant=np.append(keep, True))
    if not keep.any() or left["time"].to_numpy()[0] != now:
        message = "the plan before does not cover this quarter-hour"
        raise NoScheduleError(message)
    ahead = left["instant"].to_numpy()[-1] - now
    if ahead < MIN_REMAINING_PLAN:
        message = f"only {ahead / np.timedelta64(1, 'h'):.1f} h are left of the plan before"
        raise NoScheduleError(message)
    schedule = with_connection_power(problem, _with_current_outlook(problem, left))
    if exceeds_load_targets(problem.outlook, schedule):
        message = "the plan before takes more than a partner asks for"
        raise NoScheduleError(message)
    replay, verdict = _verify(problem, schedule)
    old = last.with_degradation(f"the plan of {format_minute(last.start)} is kept on")
    return ScheduleChoice(
        schedule=schedule,
        replay=replay,
        source=ScheduleSource.SHIFTED,
        reason=reason,
        decision=old,
        verdict=verdict,
    )


def _with_current_outlook(problem: Problem, left: xr.Dataset) -> xr.Dataset:
    """Return a plan in the weather and with the prices, the service and the sun expected now.

    Service goes before work, which gives way where it wants more racks than before. Of sun and
    wind the same share is used. Water that has stayed cooler than planned is warmed from there.
    """
    plan = restart_setpoints(problem, left).assign_attrs(problem.outlook.attrs)
    given, wanted = time_axes.interval_edges(problem.outlook), time_axes.interval_edges(left)
    if wanted[-1] > given[-1]:
        message = "the plan before reaches beyond what is expected"
        raise NoScheduleError(message)
    for name in (*COPIED_VARIABLES, "renewable_available_power"):
        if name in left:
            fresh = problem.outlook[name].transpose(..., "time")
            values = time_axes.regrid(fresh.to_numpy(), given, wanted)
            plan[name] = left[name].transpose(..., "time").copy(data=values)
    used = left["work_racks"].sum(["cohort", "level"])
    free = (problem.site.racks - plan["service_racks"]).clip(min=0.0)
    squeezed = (free / used.where(used > 0.0)).fillna(1.0).clip(max=1.0)
    for name in ("work_racks", "work_power"):
        plan[name] = variables.tag_variable(left[name] * squeezed, name)
    plan["hall_power"] = hall_power(problem.site, plan, plan["work_power"].sum("cohort"))
    if "renewable_available_power" in left:
        before, now = left["renewable_available_power"], plan["renewable_available_power"]
        share = (left["renewable_used_power"] / before.where(before > 0.0)).fillna(1.0).clip(max=1)
        plan["renewable_used_power"] = variables.tag_variable(share * now, "renewable_used_power")
    return plan


def plan_by_rule(
    problem: Problem, running_power: float, *, source: ScheduleSource, reason: str
) -> ScheduleChoice:
    """Return a plan that a rule makes: what runs goes on, sun and wind are used as they can be.

    Tanks rest, and batteries do but for what keeps the ramp of the connection.

    Parameters
    ----------
    problem
        The question.
    running_power
        Power above idle of the work that runs now. [MW]
    source
        What it is called: RULE, or HOLD.
    reason
        Why a rule makes it.

    Returns
    -------
    Choice
        The plan that keeps as much of the running work as the limits allow, and as partners ask
        for; where none does that, the one with least work, or one until a limit is broken.

    Raises
    ------
    NoScheduleError
        If none keeps every limit.
    """
    refusal = NoScheduleError(f"{problem.site.name}: no plan by rule")
    found: ScheduleChoice | None = None
    for share in WORK_SHARES:
        try:
            schedule = baseline_plan(problem, share * running_power)
            last = (
                share == WORK_SHARES[-1] or source is ScheduleSource.HOLD
            )  # a HOLD eases no work for this
            replay, verdict = _verify(problem, schedule, may_be_exposed=last)
        except (NoScheduleError, InvalidInputError) as error:
            refusal = NoScheduleError(str(error))
            continue
        found = ScheduleChoice(
            schedule=schedule, replay=replay, verdict=verdict, source=source, reason=reason
        )
        if source is ScheduleSource.HOLD or not exceeds_load_targets(problem.outlook, schedule):
            break
    if found is None and (part := safe_horizon(problem)) is not None:
        told = f"{reason}\n{_partial_reason(part, str(refusal))}"
        return plan_by_rule(part, running_power, source=source, reason=told)
    if found is None:
        raise refusal
    return found
