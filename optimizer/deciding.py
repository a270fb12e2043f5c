"""Decide: solve a problem, let the twin judge the answer, and say why it is as it is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.compile.shift import Warm
from optimizer.decision import Decision
from optimizer.explain import Explanation, explain
from optimizer.plan import solve_problem
from optimizer.problem import Problem
from optimizer.question.sense import banks
from optimizer.reasons.softened import softened
from optimizer.reserves.reserved import told
from optimizer.schedule import schedule_of
from optimizer.solution import Solution
from optimizer.verify import Verdict, verify
from twin.errors import NoScheduleError
from twin.physics import FloatArray
from twin.validation import check_argument_types

EASED: Final = (0.8, 0.5, 0.0)
"""Shares of its power that work keeps, each time a plan is sought anew, where a failure would not
be endured. [1]"""

WIDER: Final = 1.5
"""Factor by which the margins grow from one attempt to the next. [1]"""


def decide(
    problem: Problem,
    *,
    previous: Decision | None = None,
    keep_units: bool = False,
    export: Path | None = None,
    first: Mapping[str, FloatArray] | None = None,
    warm: Warm | None = None,
) -> Decision:
    """Return the best schedule of a problem that the twin finds safe.

    Parameters
    ----------
    problem
        The question.
    previous
        The decision in force until now, to tell what changed and to begin the search from.
    keep_units
        Whether units stay on or off as the last decision had them: a guard's quick question.
    export
        File for the linear model of the attempt that is taken, if somebody wants it.
    first
        What is decided already of the first intervals, as a hedge over scenarios gives it.
    warm
        Where the search begins, if not where the last decision's ended.

    Returns
    -------
    Decision
        The schedule and all that is to be said of it.

    Raises
    ------
    ProblemError
        If anything is of another kind.
    NoScheduleError
        If no plan keeps every limit, or the twin refuses every plan found.
    SolverError
        If the solver fails.
    """
    _check_kinds(problem, previous, warm, first=first, export=export)
    asked = problem
    warm = warm or (previous.warm if previous else None)
    warm = warm and warm.within(banks(problem.site))  # the last plan may be of another site
    for attempt, share in enumerate((*EASED, 0.0), start=1):
        solution = solve_problem(asked, warm, keep_units=keep_units, export=export, first=first)
        schedule = schedule_of(solution).assign_attrs(problem.outlook.attrs)
        verdict = verify(problem.site, problem.state, schedule)
        if verdict.is_safe:
            last = previous.schedule if previous else None
            return Decision(
                schedule=schedule,
                verdict=verdict,
                explanation=_reasons(solution, schedule, verdict, last=last),
                attempts=attempt,
                warm=solution.warm,
                objective=solution.objective,
                relaxed=solution.relaxed,
            )
        warm = solution.warm
        asked = _safer(asked, schedule, verdict, share=share)
    raise _refused(problem, verdict)


def _check_kinds(
    problem: object, previous: object, warm: object, *, first: object, export: object
) -> None:
    others = {
        "previous": (previous, Decision),
        "warm": (warm, Warm),
        "first": (first, Mapping),
        "export": (export, Path),
    }
    told = {name: one for name, one in others.items() if one[0] is not None}
    check_argument_types("decide", problem=(problem, Problem), **told)


def _refused(problem: Problem, verdict: Verdict) -> NoScheduleError:
    """Return the error that tells why no plan is safe."""
    refusals = "\n".join(f"  {breach}" for breach in verdict.refusals)
    mend = "lower the service or the work, or widen the limits named"
    return NoScheduleError(
        f"{problem.site.name}: the twin refuses every plan found\n{refusals}\n  mend: {mend}"
    )


def _reasons(
    solution: Solution, schedule: xr.Dataset, verdict: Verdict, *, last: xr.Dataset | None
) -> Explanation:
    """Return why a schedule is as it is."""
    return replace(
        explain(solution, schedule, last),
        failures=verdict.coverage.reached() if verdict.coverage else (),
        softened=softened(solution),
        reserves=told(solution, schedule),
        units=[str(called) for called in verdict.called],
    )


def _safer(problem: Problem, schedule: xr.Dataset, verdict: Verdict, *, share: float) -> Problem:
    """Return the question whose answer stays further from what the last one was refused for.

    Limits are met with wider margins. That a failure is not endured is nothing that the model
    knows: there work may only use a share of what it would have.
    """
    margins = problem.margins
    if verdict.breaches:
        wider = {name: WIDER * value for name, value in margins.model_dump().items()}
        margins = margins.model_copy(update=wider)
    limit = problem.most_work.copy()
    if verdict.coverage and "work_power" in schedule:
        short = np.flatnonzero(verdict.coverage.exposed.any(axis=0))
        used = schedule["work_power"].sum("cohort").to_numpy()
        limit[short] = np.minimum(limit, share * used)[short]
    return replace(problem, site=problem.site.with_margins(margins), work_limit=limit)
