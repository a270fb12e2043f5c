"""Below the ladder: all work rests where no schedule is safe, and rest keeps farther from limits.

Nothing leaves that the twin refuses. But to let work go on would be the worst of all that can be
done: work at rest gives people time.
"""

from collections.abc import Sequence
from typing import Final

import xarray as xr

from optimizer.fallback.baseline_plan import baseline_plan
from optimizer.problem.problem import Problem
from optimizer.verification.verifier import ScheduleVerdict, verify
from twin.simulation import limits
from twin.simulation.limits import Violation
from twin.units import format_minute

MIN_RELIEF: Final = 0.9
"""Share of an excess that rest has to fall below to be worth it. [1]"""

POWER_TOLERANCE_MW: Final = 1e-6
"""Power of work that is none. [MW]"""

NOTHING_TO_SHED: Final = "no work runs that could rest: what is ordered can relieve nothing more"
"""What is told of a site whose work rests."""

type ShedResult = tuple[xr.Dataset, ScheduleVerdict, str]
"""What happens with work at rest, what the twin says of it, and in words what it is good for."""


def shed_all_work(problem: Problem, running_power: float) -> ShedResult | None:
    """Return what happens with all work at rest, where that relieves machines or the import.

    Parameters
    ----------
    problem
        The question, which no plan answers.
    running_power
        Power above idle of the work that runs now. [MW]

    Returns
    -------
    tuple or None
        Schedule, verdict, words; none where rest breaks another limit, or relieves too little. What
        rests already goes on to, as caps follow what inference needs.
    """
    schedule = baseline_plan(problem, 0.0)
    verdict = verify(problem.site, problem.state, schedule)
    if running_power <= POWER_TOLERANCE_MW:
        return (schedule, verdict, NOTHING_TO_SHED) if verdict.replay is not None else None
    goes_on = verify(problem.site, problem.state, baseline_plan(problem, running_power))
    if verdict.replay is None or goes_on.replay is None:
        return None
    named = {limit.name for limit in limits.operating_limits(problem.site)}
    before, after = (
        {one.limit: one for one in found.violations if one.limit in named}
        for found in (goes_on, verdict)
    )
    if any(_is_worse(one, after[limit]) for limit, one in before.items() if limit in after):
        return None
    eased = [one for limit, one in before.items() if _is_relieved(one, after.get(limit))]
    if not eased or after.keys() - before.keys():
        return None
    return schedule, verdict, _describe_relief(eased, after)


def _is_worse(before: Violation, after: Violation) -> bool:
    """Return whether a limit is broken earlier, or farther, than before."""
    return after.time < before.time or after.excess * MIN_RELIEF > before.excess


def _is_relieved(before: Violation, after: Violation | None) -> bool:
    """Return whether a limit is kept now, or broken later, or clearly less."""
    if after is None:
        return True
    return after.time > before.time or after.excess < MIN_RELIEF * before.excess


def _describe_relief(eased: Sequence[Violation], after: dict[str, Violation]) -> str:
    """Return what rest is good for, limit by limit."""
    told = []
    for one in eased:
        rests = after.get(one.limit)
        if rests is None:
            much = "is kept"
        elif rests.time > one.time:
            later, first = format_minute(rests.time), format_minute(one.time)
            much = f"is broken from {later} on instead of {first}"
        else:
            much = f"is broken by {rests.excess / one.excess:.0%} of what it would be"
        told.append(f"{one.limit} {much}")
    return f"all work that may wait rests, caps are lowered: {'; '.join(told)}"
