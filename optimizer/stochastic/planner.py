"""Decisions with scenarios: the first stage is optimal over scenarios, the rest for the forecast.

The schedule is a plan for the forecast with a fixed first stage, verified like any other.
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
from optimizer.solver.solution import WarmStart
from optimizer.stochastic.scenarios import (
    MIN_SCENARIOS,
    ScenarioInputs,
    ScenarioProblem,
    ScenarioSet,
    generate_scenarios,
)
from optimizer.stochastic.two_stage import TwoStageSolution, solve_two_stage
from twin.errors import NoScheduleError, SolverError
from twin.forecast.forecast_errors import ForecastErrors
from twin.physics import FloatArray

MAX_LISTED_SCENARIOS: Final = 3
"""Largest number of tail scenarios in a report. [1]"""

TOO_FEW_SCENARIOS_MESSAGE: Final = (
    "there are neither past forecasts nor past arrivals; provide longer series"
)

COMPARED_OUTLOOK_VARIABLES: Final = ("electricity_price", "air_temperature")
"""Outlook variables whose means are compared between scenarios, beside renewables and work."""


@dataclass(frozen=True, kw_only=True)
class HedgedDecision:
    """A decision with scenarios, and start values of the next stochastic solve."""

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
    """Return a decision whose first stage is optimal over scenarios.

    With fewer than two scenarios the forecast alone is used. So it is, marked as degraded, if no
    first stage is feasible for all scenarios, or its plan is not safe. Raises NoScheduleError if
    the plan for the forecast is infeasible too. Raises SolverError if the solver fails there too.
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
    """Return the decision for the forecast alone, marked as degraded."""
    found = decide(problem, previous=previous, export=export)
    reasons = [found.explanation.degradation_reason, f"not hedged: {because}"]
    return found.with_degradation("; ".join(filter(None, reasons)))


def _summarise(scenarios: Sequence[ScenarioProblem], found: TwoStageSolution) -> HedgeSummary:
    """Return the summary of a stochastic plan."""
    return HedgeSummary(
        scenario_count=len(scenarios),
        risk=found.risk,
        mean=found.mean,
        tail=found.cvar_cost,
        worst=tuple(_worst(scenarios, found)),
    )


def _worst(scenarios: Sequence[ScenarioProblem], found: TwoStageSolution) -> Iterator[TailScenario]:
    """Yield the scenarios of the tail, the most expensive first."""
    means = _means(scenarios)
    usual = {name: float(found.probability @ values) for name, values in means.items()}
    order = np.argsort(-found.costs)
    before = np.cumsum(found.probability[order]) - found.probability[order]
    for share, i in list(zip(before, order.tolist(), strict=True))[:MAX_LISTED_SCENARIOS]:
        if share < 1.0 - found.risk.level:
            yield TailScenario(
                scenario=found.names[i],
                probability=float(found.probability[i]),
                cost=float(found.costs[i]),
                violation_cost=float(found.scenario_violation_costs[i]),
                difference_from_mean={
                    name: float(values[i]) - usual[name] for name, values in means.items()
                },
            )


def _means(scenarios: Sequence[ScenarioProblem]) -> Mapping[str, FloatArray]:
    """Return means over the horizon of variables that differ between scenarios, ``(scenario,)``."""
    found: dict[str, list[float]] = {}
    for case in scenarios:
        ahead, hours = case.problem.outlook, case.problem.interval_hours
        rows = {name: case.problem.series(name) for name in COMPARED_OUTLOOK_VARIABLES}
        if "renewable_available_power" in ahead:
            power = case.problem.series("renewable_available_power")
            rows["renewable_available_power"] = power.sum(axis=1)
        for name, values in rows.items():
            found.setdefault(name, []).append(float(hours @ values / hours.sum()))
        done = float(case.problem.series("work_most")[-1].sum())
        found.setdefault("work_most", []).append(done)
    return {name: np.array(values) for name, values in found.items()}


def _with_scenario_notes(decision: Decision, drawn: ScenarioSet) -> Decision:
    """Return a decision whose summary states how its scenarios were drawn."""
    explanation = decision.explanation
    if explanation.hedge is None:
        return decision
    summary = replace(explanation.hedge, reduction_loss=drawn.reduction_loss, notices=drawn.notices)
    return replace(decision, explanation=replace(explanation, hedge=summary))


class StochasticPlanner:
    """Planner with scenarios, which keeps past forecast errors and the last basis."""

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
        """Return a decision whose first stage is optimal over at most ``count`` scenarios.

        With fewer than two scenarios the forecast alone is used. ``scenario_inputs`` is the
        information from which scenarios are drawn.
        """
        if count < MIN_SCENARIOS:
            return decide(problem, previous=previous, export=export)
        waiting = {"waiting": self._risk.waiting}
        problem = replace(problem, weights={**problem.weights, **waiting})
        if self._errors is None:
            self._errors = ForecastErrors(problem.site, scenario_inputs.record)
        self._errors.history = scenario_inputs.record
        drawn = generate_scenarios(
            problem,
            scenario_inputs.record,
            queue=scenario_inputs.queue,
            past=scenario_inputs.past_jobs,
            errors=self._errors,
            count=count,
        )
        found = decide_with_scenarios(
            problem,
            drawn.scenarios,
            risk=self._risk,
            previous=previous,
            warm_start=self._warm,
            export=export,
        )
        self._warm = found.warm_start
        return _with_scenario_notes(found.decision, drawn)


def create_solver() -> Callable[[Problem, Decision | None, ScenarioInputs | None], Decision]:
    """Return the decision function of the solver process; sites choose whether to use scenarios."""
    planner = StochasticPlanner()

    def solve(
        problem: Problem, previous: Decision | None, scenario_inputs: ScenarioInputs | None
    ) -> Decision:
        if scenario_inputs is None:
            return decide(problem, previous=previous)
        return planner.decide(
            problem, previous, scenario_inputs, count=problem.site.scenarios.count
        )

    return solve
