"""Decide with scenarios: hedge now, plan the rest for the forecast, and tell what was weighed.

The plan that leaves is one for the forecast, judged by the twin as any other; only what is done
until the next plan is taken from the hedge.

Decisions that are weighed over many courses of the world, and the policy that makes them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.diagnostics.explanation import HedgeSummary, TailScenario
from optimizer.model.objective import RiskPreference
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide, with_past_units
from optimizer.problem.problem import Problem
from optimizer.solver.warm_start import WarmStart
from optimizer.stochastic.scenarios import (
    MIN_SCENARIOS,
    ScenarioInputs,
    ScenarioProblem,
    generate_scenarios,
)
from optimizer.stochastic.two_stage import TwoStageSolution, solve_two_stage
from twin.errors import NoScheduleError, SolverError
from twin.forecast.scenarios import ForecastErrors
from twin.physics import FloatArray

MAX_LISTED_SCENARIOS: Final = 3
"""Scenarios of the tail that are told, the dearest first. [1]"""

TOO_FEW_SCENARIOS_MESSAGE: Final = (
    "the series hold no two past forecasts to look back at; give longer ones"
)

COMPARED_VARIABLES: Final = ("electricity_price", "air_temperature")
"""Words of the outlook whose means tell courses apart, beside sun, wind and work."""


@dataclass(frozen=True, kw_only=True)
class HedgedDecision:
    """A decision that was hedged.

    Attributes
    ----------
    decision
        What is to be done; its explanation tells of the hedge.
    warm_start
        What the next hedge may begin from; None where there was none.
    """

    decision: Decision
    warm_start: WarmStart | None


def decide_with_scenarios(
    problem: Problem,
    scenarios: Sequence[ScenarioProblem],
    *,
    risk: RiskPreference | None = None,
    previous: Decision | None = None,
    warm_start: WarmStart | None = None,
    export: Path | None = None,
) -> HedgedDecision:
    """Return a decision whose next hour is best for many courses of the world.

    Parameters
    ----------
    problem
        The question with the forecast alone.
    scenarios
        The courses that it may take; fewer than two are no reason to hedge.
    risk
        What is weighed.
    previous
        The decision in force until now.
    warm_start
        What the last hedge left.
    export
        File for the linear model of the plan, if somebody wants it.

    Returns
    -------
    HedgedDecision
        The decision. Where no first stage does for all courses, or none that does gives a safe
        plan, it is that for the forecast alone, and says so.

    Raises
    ------
    NoScheduleError
        If not even that keeps every limit.
    SolverError
        If the solver fails at that.
    """
    last = previous.warm_start if previous else None
    problem = with_past_units(problem, last)
    scenarios = [replace(case, problem=with_past_units(case.problem, last)) for case in scenarios]
    if len(scenarios) < MIN_SCENARIOS:
        return HedgedDecision(
            decision=_decide_without_scenarios(
                problem, previous, export, because=TOO_FEW_SCENARIOS_MESSAGE
            ),
            warm_start=warm_start,
        )
    try:
        found = solve_two_stage(scenarios, risk=risk, warm_start=warm_start)
        decision = decide(problem, previous=previous, first=found.first_stage, export=export)
    except (NoScheduleError, SolverError) as error:
        return HedgedDecision(
            decision=_decide_without_scenarios(problem, previous, export, because=str(error)),
            warm_start=warm_start,
        )
    explained = replace(decision.explanation, hedge=_summarise(scenarios, found))
    return HedgedDecision(
        decision=replace(decision, explanation=explained), warm_start=found.warm_start
    )


def _decide_without_scenarios(
    problem: Problem, previous: Decision | None, export: Path | None, *, because: str
) -> Decision:
    """Return the decision for the forecast alone, which says why it is not hedged."""
    found = decide(problem, previous=previous, export=export)
    said = found.explanation.degraded
    return found.with_degradation("; ".join(filter(None, [said, f"not hedged: {because}"])))


def _summarise(scenarios: Sequence[ScenarioProblem], found: TwoStageSolution) -> HedgeSummary:
    """Return a hedge for people: mean and tail, and the scenarios of the tail."""
    return HedgeSummary(
        scenarios=len(scenarios),
        risk=found.risk,
        mean=found.mean,
        tail=found.cvar_cost,
        worst=tuple(_worst(scenarios, found)),
    )


def _worst(scenarios: Sequence[ScenarioProblem], found: TwoStageSolution) -> Iterator[TailScenario]:
    """Yield the scenarios of the tail, the dearest first."""
    means = _means(scenarios)
    usual = {word: float(found.probability @ values) for word, values in means.items()}
    dearest = np.argsort(-found.costs)
    before = np.cumsum(found.probability[dearest]) - found.probability[dearest]
    for share, i in list(zip(before, dearest.tolist(), strict=True))[:MAX_LISTED_SCENARIOS]:
        if share < 1.0 - found.risk.level:
            yield TailScenario(
                scenario=found.names[i],
                probability=float(found.probability[i]),
                cost=float(found.costs[i]),
                violations=float(found.violations[i]),
                difference_from_mean={
                    word: float(values[i]) - usual[word] for word, values in means.items()
                },
            )


def _means(scenarios: Sequence[ScenarioProblem]) -> Mapping[str, FloatArray]:
    """Return the means over the horizon of what differs between courses, ``(case,)``."""
    found: dict[str, list[float]] = {}
    for case in scenarios:
        ahead, hours = case.problem.outlook, case.problem.hours
        rows = {name: case.problem.series(name) for name in COMPARED_VARIABLES}
        if "renewable_available_power" in ahead:
            power = case.problem.series("renewable_available_power")
            rows["renewable_available_power"] = power.sum(axis=1)
        for name, values in rows.items():
            found.setdefault(name, []).append(float(hours @ values / hours.sum()))
        done = float(case.problem.series("work_most")[-1].sum())
        found.setdefault("work_most", []).append(done)
    return {name: np.array(values) for name, values in found.items()}


class StochasticPlanner:
    """What decides for many courses of the world, and keeps past errors and the last basis.

    Parameters
    ----------
    risk
        What is weighed.
    """

    def __init__(self, risk: RiskPreference | None = None) -> None:
        self._risk = risk or RiskPreference()
        self._errors: ForecastErrors | None = None
        self._warm: WarmStart | None = None

    def decide(
        self,
        problem: Problem,
        previous: Decision | None,
        scenario_inputs: ScenarioInputs,
        *,
        count: int,
        export: Path | None = None,
    ) -> Decision:
        """Return a decision whose next hour is best for many courses.

        Parameters
        ----------
        problem
            The question with the forecast alone.
        previous
            The decision in force until now.
        scenario_inputs
            What the courses are drawn from.
        count
            How many courses, at most; with fewer than two it is decided for the forecast alone. [1]
        export
            File for the linear model of the plan, if somebody wants it.
        """
        if count < MIN_SCENARIOS:
            return decide(problem, previous=previous, export=export)
        if self._errors is None:
            self._errors = ForecastErrors(problem.site, scenario_inputs.record)
        self._errors.history = scenario_inputs.record
        scenarios = generate_scenarios(
            problem,
            scenario_inputs.record,
            queue=scenario_inputs.queue,
            past=scenario_inputs.past,
            errors=self._errors,
            count=count,
        )
        found = decide_with_scenarios(
            problem,
            scenarios,
            risk=self._risk,
            previous=previous,
            warm_start=self._warm,
            export=export,
        )
        self._warm = found.warm_start
        return found.decision


def create_solver() -> Callable[[Problem, Decision | None, ScenarioInputs | None], Decision]:
    """Return what decides in the solver's own process: hedged where the site asks for it."""
    hedger = StochasticPlanner()

    def solve(
        problem: Problem, previous: Decision | None, scenario_inputs: ScenarioInputs | None
    ) -> Decision:
        if scenario_inputs is None:
            return decide(problem, previous=previous)
        return hedger.decide(problem, previous, scenario_inputs, count=problem.site.scenarios.count)

    return solve
