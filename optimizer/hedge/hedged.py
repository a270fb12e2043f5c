"""Decide with scenarios: hedge now, plan the rest for the forecast, and tell what was weighed.

The plan that leaves is one for the forecast, judged by the twin as any other; only what is done
until the next plan is taken from the hedge.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.compile.shift import Warm
from optimizer.deciding import decide
from optimizer.decision import Decision
from optimizer.hedge.case import Case
from optimizer.hedge.known import LEAST
from optimizer.hedge.risk import Risk
from optimizer.hedge.scenarios import Hedge, hedge
from optimizer.hedge.weighed import Weighed, Worst
from optimizer.plan import told
from optimizer.problem import Problem
from twin.errors import NoScheduleError, SolverError
from twin.physics import FloatArray

MOST_TOLD: Final = 3
"""Scenarios of the tail that are told, the dearest first. [1]"""

TOO_FEW: Final = "the series hold no two past forecasts to look back at; give longer ones"

TOLD: Final = ("electricity_price", "air_temperature")
"""Words of the outlook whose means tell courses apart, beside sun, wind and work."""


@dataclass(frozen=True, kw_only=True)
class Hedged:
    """A decision that was hedged.

    Attributes
    ----------
    decision
        What is to be done; its explanation tells of the hedge.
    warm
        What the next hedge may begin from; None where there was none.
    """

    decision: Decision
    warm: Warm | None


def decide_hedged(
    problem: Problem,
    cases: Sequence[Case],
    *,
    risk: Risk | None = None,
    previous: Decision | None = None,
    warm: Warm | None = None,
    export: Path | None = None,
) -> Hedged:
    """Return a decision whose next hour is best for many courses of the world.

    Parameters
    ----------
    problem
        The question with the forecast alone.
    cases
        The courses that it may take; fewer than two are no reason to hedge.
    risk
        What is weighed.
    previous
        The decision in force until now.
    warm
        What the last hedge left.
    export
        File for the linear model of the plan, if somebody wants it.

    Returns
    -------
    Hedged
        The decision. Where no first stage does for all courses, or none that does gives a safe
        plan, it is that for the forecast alone, and says so.

    Raises
    ------
    NoScheduleError
        If not even that keeps every limit.
    SolverError
        If the solver fails at that.
    """
    last = previous.warm if previous else None
    problem = told(problem, last)
    cases = [replace(case, problem=told(case.problem, last)) for case in cases]
    if len(cases) < LEAST:
        return Hedged(decision=_bare(problem, previous, export, because=TOO_FEW), warm=warm)
    try:
        found = hedge(cases, risk=risk, warm=warm)
        decision = decide(problem, previous=previous, first=found.first, export=export)
    except (NoScheduleError, SolverError) as error:
        return Hedged(decision=_bare(problem, previous, export, because=str(error)), warm=warm)
    explained = replace(decision.explanation, hedge=_weighed(cases, found))
    return Hedged(decision=replace(decision, explanation=explained), warm=found.warm)


def _bare(
    problem: Problem, previous: Decision | None, export: Path | None, *, because: str
) -> Decision:
    """Return the decision for the forecast alone, which says why it is not hedged."""
    found = decide(problem, previous=previous, export=export)
    said = found.explanation.degraded
    return found.degraded("; ".join(filter(None, [said, f"not hedged: {because}"])))


def _weighed(cases: Sequence[Case], found: Hedge) -> Weighed:
    """Return a hedge for people: mean and tail, and the scenarios of the tail."""
    return Weighed(
        scenarios=len(cases),
        risk=found.risk,
        mean=found.mean,
        tail=found.tail,
        worst=tuple(_worst(cases, found)),
    )


def _worst(cases: Sequence[Case], found: Hedge) -> Iterator[Worst]:
    """Yield the scenarios of the tail, the dearest first."""
    means = _means(cases)
    usual = {word: float(found.probability @ values) for word, values in means.items()}
    dearest = np.argsort(-found.costs)
    before = np.cumsum(found.probability[dearest]) - found.probability[dearest]
    for share, i in list(zip(before, dearest.tolist(), strict=True))[:MOST_TOLD]:
        if share < 1.0 - found.risk.level:
            yield Worst(
                scenario=found.names[i],
                probability=float(found.probability[i]),
                cost=float(found.costs[i]),
                violations=float(found.violations[i]),
                apart={word: float(values[i]) - usual[word] for word, values in means.items()},
            )


def _means(cases: Sequence[Case]) -> Mapping[str, FloatArray]:
    """Return the means over the horizon of what differs between courses, ``(case,)``."""
    found: dict[str, list[float]] = {}
    for case in cases:
        ahead, hours = case.problem.outlook, case.problem.hours
        rows = {name: case.problem.series(name) for name in TOLD}
        if "renewable_available_power" in ahead:
            power = case.problem.series("renewable_available_power")
            rows["renewable_available_power"] = power.sum(axis=1)
        for name, values in rows.items():
            found.setdefault(name, []).append(float(hours @ values / hours.sum()))
        done = float(case.problem.series("work_most")[-1].sum())
        found.setdefault("work_most", []).append(done)
    return {name: np.array(values) for name, values in found.items()}
