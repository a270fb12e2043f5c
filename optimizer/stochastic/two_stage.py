"""Decide now for many courses of the world: one first stage, a recourse for each, a priced tail.

Every scenario is a problem of its own over the same intervals and becomes a block of one model.
What is done in the first intervals is the same in all; the objective weighs the mean of all with
the mean of the worst.

What is decided now and what may still change: the first stage of a plan.

Where a hedge begins: what is best for every course alone.

What binds courses is little. Found course by course, in models a fraction as large, a basis leaves
the model of all a few hundred steps instead of thousands.
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
    ACCOUNTS,
    VIOLATION_ACCOUNTS,
    RiskPreference,
    account_weights,
    cvar,
)
from optimizer.model.signature import ModelSignature
from optimizer.planner.planner import fix_first_stage
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolution, LpSolver, slack_basis
from optimizer.solver.warm_start import SimplexBasis, WarmStart, shift_basis
from optimizer.stochastic.scenarios import ScenarioProblem, check_scenarios
from twin.errors import NoScheduleError
from twin.physics import FloatArray
from twin.workload.flexibility import EXPECTED_COHORT_SUFFIX

FIRST_STAGE_BLOCK: Final = "first_stage"
COST_CVAR_BLOCK: Final = "cost_tail"
VIOLATION_CVAR_BLOCK: Final = "violation_tail"
"""Blocks of what binds scenarios."""


@dataclass(frozen=True, kw_only=True)
class TwoStageSolution:
    """What is best now for all courses.

    Attributes
    ----------
    first_stage
        ``<owner>.level`` and ``work.racks`` -> what is decided now, on the leading axes; NaN where
        it is left open.
    costs, violations
        What each course then pays, and how much of it for
        :data:`~optimizer.model.objective.VIOLATION_ACCOUNTS`, ``(case,)``. [EUR]
    probability
        Of each. [1]
    names
        What they are called.
    risk
        What was weighed.
    objective
        (1 - w) mean + w CVaR of cost + v CVaR of violations. [EUR]
    values
        ``s<number>.<owner>.<variable>`` -> values of every course, as a solved problem has them.
    warm_start
        What the next one may begin from.
    """

    first_stage: Mapping[str, FloatArray]
    costs: FloatArray
    violations: FloatArray
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
        """Mean of the worst costs. [EUR]"""
        return cvar(self.costs, self.probability, self.risk.level)


FIRST_STAGE_H: Final = 1.0
"""How long what is decided now stays decided: until the next plan. [h]"""


def solve_two_stage(
    scenarios: Sequence[ScenarioProblem],
    *,
    risk: RiskPreference | None = None,
    now: float = FIRST_STAGE_H,
    given: Mapping[str, FloatArray] | None = None,
    warm_start: WarmStart | None = None,
) -> TwoStageSolution:
    """Return what is best now for all courses.

    Parameters
    ----------
    scenarios
        Courses of one site from one state, over the same intervals.
    risk
        What is weighed.
    now
        How long what is decided now stays decided; 0 for courses that are each known. [h]
    given
        A first stage that is not sought but kept, as :attr:`Hedge.first`.
    warm_start
        What the last one left.

    Returns
    -------
    TwoStageSolution
        The first stage, and what each course then pays.

    Raises
    ------
    NoScheduleError
        If no first stage lets every course keep its limits.
    ProblemError
        If the courses do not belong together.
    SolverError
        If the solver fails.

    Notes
    -----
    Linear: units are in fractions, and waste is not held from any course; both are decided whole
    in the plan that keeps the first stage.
    """
    check_scenarios(scenarios)
    weighed = risk or RiskPreference()
    many = _blocks(scenarios)
    shape = coupled_signature(many, now)
    numbers = _numbers(many, shape, _probability(scenarios), risk=weighed)
    arrays = compile_model(shape).arrays(numbers)
    if given is not None:
        arrays = fix_first_stage(arrays, given, blocks=[one.name for one in many])
    instants = scenarios[0].problem.outlook["instant"].to_numpy()
    stood = (
        shift_basis(warm_start, arrays, instants)
        if warm_start is not None and warm_start.shape == shape
        else None
    )
    basis = (
        stood if given is not None else decomposed_warm_start(many, numbers, arrays, before=stood)
    )
    solver = LpSolver(arrays, _prices(scenarios, weighed), basis=basis)
    lp_solution = solver.run()
    if lp_solution is None:
        message = (
            f"{scenarios[0].problem.site.name}: no first stage keeps the limits of every scenario"
        )
        raise NoScheduleError(message)
    left = WarmStart(shape=shape, instants=instants, basis=solver.basis)
    return _hedge(scenarios, weighed, arrays, lp_solution=lp_solution, warm_start=left)


def _blocks(scenarios: Sequence[ScenarioProblem]) -> list[ModelData]:
    """Return the courses as blocks of one model, their curves laid."""
    laid = build_scenario_data([case.problem for case in scenarios])
    return [replace(one, block=f"s{i}") for i, one in enumerate(laid)]


def _hedge(
    scenarios: Sequence[ScenarioProblem],
    risk: RiskPreference,
    arrays: ModelArrays,
    *,
    lp_solution: LpSolution,
    warm_start: WarmStart,
) -> TwoStageSolution:
    """Return what the solver found as a hedge."""
    values = {name: lp_solution.values[at] for name, at in arrays.columns.items()}
    costs, violations = _paid(arrays, lp_solution.values, scenarios)
    return TwoStageSolution(
        first_stage=_first(values, warm_start.shape),
        costs=costs,
        violations=violations,
        probability=_probability(scenarios),
        names=tuple(case.name for case in scenarios),
        risk=risk,
        objective=lp_solution.objective,
        values=values,
        warm_start=warm_start,
    )


def _probability(scenarios: Sequence[ScenarioProblem]) -> FloatArray:
    return np.array([case.probability for case in scenarios])


def coupled_signature(many: Sequence[ModelData], now: float) -> ModelSignature:
    """Return the shape of all scenarios, bound to one another.

    Parameters
    ----------
    many
        The scenarios, each a block of its own name.
    now
        How long what is decided now stays decided. [h]
    """
    names, first = tuple(one.name for one in many), many[0].problem
    tails = {
        COST_CVAR_BLOCK: CvarSignature(
            scenarios=names, account=COST_CVAR_BLOCK, accounts=tuple(ACCOUNTS)
        ),
        VIOLATION_CVAR_BLOCK: CvarSignature(
            scenarios=names, account=VIOLATION_CVAR_BLOCK, accounts=VIOLATION_ACCOUNTS
        ),
    }
    shared = first_stage_signature(first, now, scenarios=names)
    couplings: dict[str, object] = {FIRST_STAGE_BLOCK: shared} if shared.steps else {}
    return replace(signature_of(*many), couplings=tuple((couplings | tails).items()))


def _numbers(
    many: Sequence[ModelData],
    shape: ModelSignature,
    probability: FloatArray,
    *,
    risk: RiskPreference,
) -> dict[str, FloatArray]:
    """Return the numbers of all scenarios and of their tails."""
    prices = account_weights(many[0].problem.weights)
    found = parameter_values(*many)
    for name, part in shape.couplings:
        if isinstance(part, CvarSignature):
            found[f"{name}.price"] = np.array([prices[account] for account in part.accounts])
            found[f"{name}.share"] = probability / (1.0 - risk.level)
    return found


def _prices(scenarios: Sequence[ScenarioProblem], risk: RiskPreference) -> dict[str, float]:
    """Return what every account weighs in the objective, by ``<scenario>.<account>``."""
    own = account_weights(scenarios[0].problem.weights)
    prices = {
        f"s{i}.{name}": (1.0 - risk.weight) * case.probability * price
        for i, case in enumerate(scenarios)
        for name, price in own.items()
    }
    return prices | {COST_CVAR_BLOCK: risk.weight, VIOLATION_CVAR_BLOCK: risk.violations}


def _paid(
    arrays: ModelArrays, values: FloatArray, scenarios: Sequence[ScenarioProblem]
) -> tuple[FloatArray, FloatArray]:
    """Return what each scenario pays in all, and what of it for violations. [EUR]"""
    own = account_weights(scenarios[0].problem.weights)
    every = dict.fromkeys(arrays.accounts.names, 1.0)
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


def _first(values: Mapping[str, FloatArray], shape: ModelSignature) -> dict[str, FloatArray]:
    """Return what is decided now, as the first scenario has it."""
    shared = dict(shape.couplings).get(FIRST_STAGE_BLOCK)
    if not isinstance(shared, NonanticipativitySignature):
        return {}
    before = f"{shared.scenarios[0]}."
    own = {name.removeprefix(before): v for name, v in values.items() if name.startswith(before)}
    return first_stage_values(own, shared)


TIME_TOLERANCE_H: Final = 1e-9
"""Hours that count as none. [h]"""


def first_stage_signature(
    problem: Problem, now: float, *, scenarios: tuple[str, ...] = ("",)
) -> NonanticipativitySignature:
    """Return what of a problem is decided now.

    Parameters
    ----------
    problem
        The question.
    now
        How long what is decided now stays decided. [h]
    scenarios
        Blocks that it binds.
    """
    labels = problem.outlook["cohort"].to_numpy().tolist()
    return NonanticipativitySignature(
        scenarios=scenarios,
        steps=int((np.cumsum(problem.hours) <= now + TIME_TOLERANCE_H).sum()),
        stores=tuple(store.owner for store in problem.site.stores),
        cohorts=tuple(
            i for i, label in enumerate(labels) if not label.endswith(f"/{EXPECTED_COHORT_SUFFIX}")
        ),
    )


def first_stage_values(
    values: Mapping[str, FloatArray], bound: NonanticipativitySignature
) -> dict[str, FloatArray]:
    """Return what a plan decides now.

    Parameters
    ----------
    values
        ``<owner>.<variable>`` -> values.
    bound
        What is decided now.
    """
    found = {
        f"{store}.level": values[f"{store}.level"][: bound.steps + 1] for store in bound.stores
    }
    racks = values["work.racks"][: bound.steps].copy()
    racks[:, np.setdiff1d(np.arange(racks.shape[1]), bound.cohorts)] = np.nan
    return found | {"work.racks": racks}


def decomposed_warm_start(
    many: Sequence[ModelData],
    numbers: Mapping[str, FloatArray],
    arrays: ModelArrays,
    *,
    before: SimplexBasis | None,
) -> SimplexBasis:
    """Return a basis of the model of all in which every course stands best for itself.

    Parameters
    ----------
    many
        The courses, each a block of its own name.
    numbers
        Of the model of all.
    arrays
        The model of all.
    before
        Where it stood before, for the first course; each begins where the one before it ended,
        which asks for fewer steps than from where it stood itself an hour ago.

    Returns
    -------
    SimplexBasis
        A course that is impossible by itself stands where the solver left it: then so is the whole.
    """
    found, last = slack_basis(arrays), None
    for one in many:
        block = f"{one.name}."
        own = compile_model(signature_of(one)).arrays(_of_one(numbers, block))
        columns = _places(own.columns, arrays.columns, block)
        rows = _places(own.rows, arrays.rows, block)
        if last is None and before is not None:
            last = SimplexBasis(columns=before.columns[columns], rows=before.rows[rows])
        solver = LpSolver(own, account_weights(one.problem.weights), basis=last)
        solver.run()
        last = solver.basis
        found.columns[columns], found.rows[rows] = last.columns, last.rows
    return found


def _of_one(numbers: Mapping[str, FloatArray], block: str) -> dict[str, FloatArray]:
    """Return the numbers of one course as its own model has them."""
    return {n.removeprefix(block): v for n, v in numbers.items() if n.startswith(block)}


def _places(own: Mapping[str, IntArray], whole: Mapping[str, IntArray], block: str) -> IntArray:
    """Return where the positions of a course's own model are in the model of all, in its order."""
    found = np.empty(sum(at.size for at in own.values()), dtype=np.int32)
    for name, at in own.items():
        found[at.ravel()] = whole[f"{block}{name}"].ravel()
    return found
