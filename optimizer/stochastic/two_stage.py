"""Two-stage stochastic programme: equal first-stage decisions, recourse by scenario, and CVaR.

Every scenario is a problem over the same intervals and becomes a block of one model. First-stage
decisions are equal; the objective combines the mean with the CVaR.

Few rows couple the scenarios. A basis assembled from scenarios solved one by one leaves a few
hundred iterations of the coupled model instead of thousands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.compiler.structure import compile_model
from optimizer.model.components.stochastic import CvarSignature, NonanticipativitySignature
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData, build_scenario_data
from optimizer.model.objective import (
    VIOLATION_ACCOUNTS,
    WEIGHT_OF_ACCOUNT,
    RiskPreference,
    account_weights,
    cvar,
)
from optimizer.model.rows import ModelSignature
from optimizer.planner.planner import fix_first_stage
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolution, LpSolver, slack_basis
from optimizer.solver.solution import SimplexBasis, WarmStart, shift_basis
from optimizer.stochastic.scenarios import ScenarioProblem, check_scenarios
from twin.errors import NoScheduleError
from twin.physics import FloatArray
from twin.workload.cohorts import EXPECTED_COHORT_SUFFIX

FIRST_STAGE_BLOCK: Final = "first_stage"
COST_CVAR_BLOCK: Final = "cost_tail"
VIOLATION_CVAR_BLOCK: Final = "violation_tail"
"""Blocks that couple scenarios."""


@dataclass(frozen=True, kw_only=True)
class TwoStageSolution:
    """Solution of a two-stage programme, for each scenario the cost and its part for violations.
    [EUR]

    ``first_stage`` maps ``<owner>.level`` and ``work.racks`` to decisions on the leading axes, NaN
    where open; ``values`` maps ``s<number>.<owner>.<variable>``. The objective is (1 - w) mean + w
    CVaR of cost + v CVaR of violations. [EUR]
    """

    first_stage: Mapping[str, FloatArray]
    costs: FloatArray
    scenario_violation_costs: FloatArray
    probability: FloatArray
    names: tuple[str, ...]
    risk: RiskPreference
    objective: float
    values: Mapping[str, FloatArray]
    warm_start: WarmStart

    @property
    def mean(self) -> float:
        """Mean cost. [EUR]"""
        return float(self.probability @ self.costs)

    @property
    def cvar_cost(self) -> float:
        """CVaR of the cost. [EUR]"""
        return cvar(self.costs, self.probability, self.risk.level)


FIRST_STAGE_H: Final = 1.0
"""Length of the first stage: the time until the next plan. [h]"""


def solve_two_stage(
    scenarios: Sequence[ScenarioProblem],
    *,
    risk: RiskPreference | None = None,
    now: float = FIRST_STAGE_H,
    given: Mapping[str, FloatArray] | None = None,
    warm_start: WarmStart | None = None,
) -> TwoStageSolution:
    """Return the best first-stage decisions over scenarios; ``now`` is the length of the first
    stage. [h]

    The programme is linear: units are fractional and waste is allowed. The plan with this first
    stage decides both exactly. ``given`` is a fixed first stage of another solution. Raises
    NoScheduleError if no first stage is feasible for all scenarios. Raises ProblemError if the
    scenarios do not match. Raises SolverError if the solver fails.
    """
    check_scenarios(scenarios)
    preference = risk or RiskPreference()
    blocks = _blocks(scenarios)
    signature = coupled_signature(blocks, now)
    numbers = _numbers(blocks, signature, _probability(scenarios), risk=preference)
    arrays = compile_model(signature).with_parameter_values(numbers)
    if given is not None:
        arrays = fix_first_stage(arrays, given, blocks=[one.block_name for one in blocks])
    instants = scenarios[0].problem.outlook["instant"].to_numpy()
    shifted = (
        shift_basis(warm_start, arrays, instants)
        if warm_start is not None and warm_start.model_signature == signature
        else None
    )
    basis = (
        shifted
        if given is not None
        else decomposed_warm_start(blocks, numbers, arrays, before=shifted)
    )
    solver = LpSolver(arrays, _prices(scenarios, preference), basis=basis)
    lp_solution = solver.run()
    if lp_solution is None:
        raise NoScheduleError(
            f"{scenarios[0].problem.site.name}: no first stage keeps the limits of every scenario; "
            "plan without scenarios"
        )
    next_start = WarmStart(model_signature=signature, instants=instants, basis=solver.basis)
    return _two_stage_solution(
        scenarios, preference, arrays, lp_solution=lp_solution, warm_start=next_start
    )


def _blocks(scenarios: Sequence[ScenarioProblem]) -> list[ModelData]:
    """Return the scenarios as blocks of one model, with their curves."""
    data = build_scenario_data([case.problem for case in scenarios])
    return [replace(one, block=f"s{i}") for i, one in enumerate(data)]


def _two_stage_solution(
    scenarios: Sequence[ScenarioProblem],
    risk: RiskPreference,
    arrays: ModelArrays,
    *,
    lp_solution: LpSolution,
    warm_start: WarmStart,
) -> TwoStageSolution:
    """Return the solution of the programme."""
    values = {name: lp_solution.values[at] for name, at in arrays.columns_by_variable.items()}
    costs, violations = _costs(arrays, lp_solution.values, scenarios)
    return TwoStageSolution(
        first_stage=_first(values, warm_start.model_signature),
        costs=costs,
        scenario_violation_costs=violations,
        probability=_probability(scenarios),
        names=tuple(case.name for case in scenarios),
        risk=risk,
        objective=lp_solution.objective,
        values=values,
        warm_start=warm_start,
    )


def _probability(scenarios: Sequence[ScenarioProblem]) -> FloatArray:
    return np.array([case.probability for case in scenarios])


def coupled_signature(blocks: Sequence[ModelData], now: float) -> ModelSignature:
    """Return the signature of all scenarios with their coupling; ``now`` is the first stage. [h]"""
    names, first = tuple(one.block_name for one in blocks), blocks[0].problem
    tails = {
        COST_CVAR_BLOCK: CvarSignature(
            scenarios=names, account=COST_CVAR_BLOCK, accounts=tuple(WEIGHT_OF_ACCOUNT)
        ),
        VIOLATION_CVAR_BLOCK: CvarSignature(
            scenarios=names, account=VIOLATION_CVAR_BLOCK, accounts=VIOLATION_ACCOUNTS
        ),
    }
    shared = first_stage_signature(first, now, scenarios=names)
    couplings: dict[str, object] = (
        {FIRST_STAGE_BLOCK: shared} if shared.first_stage_interval_count else {}
    )
    return replace(signature_of(*blocks), couplings=tuple((couplings | tails).items()))


def _numbers(
    blocks: Sequence[ModelData],
    signature: ModelSignature,
    probability: FloatArray,
    *,
    risk: RiskPreference,
) -> dict[str, FloatArray]:
    """Return the parameter values of all scenarios and of the CVaR."""
    prices = account_weights(blocks[0].problem.weights)
    found = parameter_values(*blocks)
    for name, part in signature.couplings:
        if isinstance(part, CvarSignature):
            found[f"{name}.price"] = np.array([prices[account] for account in part.accounts])
            found[f"{name}.share"] = probability / (1.0 - risk.level)
    return found


def _prices(scenarios: Sequence[ScenarioProblem], risk: RiskPreference) -> dict[str, float]:
    """Return the weight of every account, by ``<scenario>.<account>``."""
    own = account_weights(scenarios[0].problem.weights)
    prices = {
        f"s{i}.{name}": (1.0 - risk.weight) * case.probability * price
        for i, case in enumerate(scenarios)
        for name, price in own.items()
    }
    return prices | {COST_CVAR_BLOCK: risk.weight, VIOLATION_CVAR_BLOCK: risk.violations}


def _costs(
    arrays: ModelArrays, values: FloatArray, scenarios: Sequence[ScenarioProblem]
) -> tuple[FloatArray, FloatArray]:
    """Return the cost of each scenario, and the part of it for violations. [EUR]"""
    own = account_weights(scenarios[0].problem.weights)
    every = dict.fromkeys(arrays.accounts.account_names, 1.0)
    money = arrays.cost_by_account(values, every)

    def total(accounts: Sequence[str]) -> FloatArray:
        names = [[f"s{i}.{name}" for name in accounts] for i in range(len(scenarios))]
        return np.array(
            [
                sum(own[n.partition(".")[2]] * money[n].sum() for n in row if n in money)
                for row in names
            ]
        )

    return total(tuple(own)), total(VIOLATION_ACCOUNTS)


def _first(values: Mapping[str, FloatArray], signature: ModelSignature) -> dict[str, FloatArray]:
    """Return the first-stage decisions, which the first scenario has."""
    shared = dict(signature.couplings).get(FIRST_STAGE_BLOCK)
    if not isinstance(shared, NonanticipativitySignature):
        return {}
    before = f"{shared.scenarios[0]}."
    own = {name.removeprefix(before): v for name, v in values.items() if name.startswith(before)}
    return first_stage_values(own, shared)


TIME_TOLERANCE_H: Final = 1e-9
"""Difference of times that is ignored. [h]"""


def first_stage_signature(
    problem: Problem, now: float, *, scenarios: tuple[str, ...] = ("",)
) -> NonanticipativitySignature:
    """Return the signature of first-stage decisions; ``now`` is their length. [h]"""
    labels = problem.outlook["cohort"].to_numpy().tolist()
    return NonanticipativitySignature(
        scenarios=scenarios,
        first_stage_interval_count=int(
            (np.cumsum(problem.interval_hours) <= now + TIME_TOLERANCE_H).sum()
        ),
        stores=tuple(store.owner for store in problem.site.stores),
        cohorts=tuple(
            i for i, label in enumerate(labels) if not label.endswith(f"/{EXPECTED_COHORT_SUFFIX}")
        ),
    )


def first_stage_values(
    values: Mapping[str, FloatArray], bound: NonanticipativitySignature
) -> dict[str, FloatArray]:
    """Return the first-stage decisions of a plan, from ``<owner>.<variable>`` -> values."""
    found = {
        f"{store}.level": values[f"{store}.level"][: bound.first_stage_interval_count + 1]
        for store in bound.stores
    }
    racks = values["work.racks"][: bound.first_stage_interval_count].copy()
    racks[:, np.setdiff1d(np.arange(racks.shape[1]), bound.cohorts)] = np.nan
    return found | {"work.racks": racks}


def decomposed_warm_start(
    blocks: Sequence[ModelData],
    numbers: Mapping[str, FloatArray],
    arrays: ModelArrays,
    *,
    before: SimplexBasis | None,
) -> SimplexBasis:
    """Return a basis of the coupled model in which every scenario is optimal by itself.

    ``before`` is an earlier basis, used for the first scenario; each later one starts from the one
    before it, which takes fewer iterations. A scenario that is infeasible by itself keeps the
    solver's last basis; the coupled model is infeasible then.
    """
    found, last = slack_basis(arrays), None
    for one in blocks:
        block = f"{one.block_name}."
        own = compile_model(signature_of(one)).with_parameter_values(
            _scenario_parameters(numbers, block)
        )
        columns = _places(own.columns_by_variable, arrays.columns_by_variable, block)
        rows = _places(own.rows_by_constraint, arrays.rows_by_constraint, block)
        if last is None and before is not None:
            last = SimplexBasis(
                column_statuses=before.column_statuses[columns],
                row_statuses=before.row_statuses[rows],
            )
        solver = LpSolver(own, account_weights(one.problem.weights), basis=last)
        solver.run()
        last = solver.basis
        found.column_statuses[columns], found.row_statuses[rows] = (
            last.column_statuses,
            last.row_statuses,
        )
    return found


def _scenario_parameters(numbers: Mapping[str, FloatArray], block: str) -> dict[str, FloatArray]:
    """Return the parameter values of one scenario."""
    return {n.removeprefix(block): v for n, v in numbers.items() if n.startswith(block)}


def _places(own: Mapping[str, IntArray], coupled: Mapping[str, IntArray], block: str) -> IntArray:
    """Return the positions of a scenario's columns or rows in the coupled model."""
    found = np.empty(sum(at.size for at in own.values()), dtype=np.int32)
    for name, at in own.items():
        found[at.ravel()] = coupled[f"{block}{name}"].ravel()
    return found
