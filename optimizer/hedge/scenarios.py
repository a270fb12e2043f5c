"""Decide now for many courses of the world: one first stage, a recourse for each, a priced tail.

Every scenario is a problem of its own over the same intervals and becomes a block of one model.
What is done in the first intervals is the same in all; the objective weighs the mean of all with
the mean of the worst.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from optimizer.build import numbers_of, shape_of
from optimizer.compile.arrays import Arrays
from optimizer.compile.shift import Warm, shifted
from optimizer.compile.structure import structure_of
from optimizer.forms.scenarios import FirstStage, Tail
from optimizer.hedge.apart import begun
from optimizer.hedge.case import Case, check
from optimizer.hedge.first_stage import NOW, decided_now, first_stage, kept
from optimizer.hedge.risk import VIOLATIONS, Risk, cvar
from optimizer.inputs import Inputs, inputs_of_all
from optimizer.objectives import ACCOUNTS, account_prices
from optimizer.shape import Shape
from optimizer.solve import Answer, Solver
from twin.errors import NoScheduleError
from twin.physics import FloatArray

FIRST_STAGE: Final = "first_stage"
COST_TAIL: Final = "cost_tail"
VIOLATION_TAIL: Final = "violation_tail"
"""Blocks of what binds scenarios."""


@dataclass(frozen=True, kw_only=True)
class Hedge:
    """What is best now for all courses.

    Attributes
    ----------
    first
        ``<owner>.level`` and ``work.racks`` -> what is decided now, on the leading axes; NaN where
        it is left open.
    costs, violations
        What each course then pays, and how much of it for :data:`~optimizer.hedge.risk.VIOLATIONS`,
        ``(case,)``. [EUR]
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
    warm
        What the next one may begin from.
    """

    first: Mapping[str, FloatArray]
    costs: FloatArray
    violations: FloatArray
    probability: FloatArray
    names: tuple[str, ...]
    risk: Risk
    objective: float
    values: Mapping[str, FloatArray]
    warm: Warm

    @property
    def mean(self) -> float:
        """Mean cost. [EUR]"""
        return float(self.probability @ self.costs)

    @property
    def tail(self) -> float:
        """Mean of the worst costs. [EUR]"""
        return cvar(self.costs, self.probability, self.risk.level)


def hedge(
    cases: Sequence[Case],
    *,
    risk: Risk | None = None,
    now: float = NOW,
    given: Mapping[str, FloatArray] | None = None,
    warm: Warm | None = None,
) -> Hedge:
    """Return what is best now for all courses.

    Parameters
    ----------
    cases
        Courses of one site from one state, over the same intervals.
    risk
        What is weighed.
    now
        How long what is decided now stays decided; 0 for courses that are each known. [h]
    given
        A first stage that is not sought but kept, as :attr:`Hedge.first`.
    warm
        What the last one left.

    Returns
    -------
    Hedge
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
    check(cases)
    weighed = risk or Risk()
    many = _blocks(cases)
    shape = bound(many, now)
    numbers = _numbers(many, shape, _probability(cases), risk=weighed)
    arrays = structure_of(shape).arrays(numbers)
    if given is not None:
        arrays = kept(arrays, given, blocks=[one.name for one in many])
    instants = cases[0].problem.outlook["instant"].to_numpy()
    stood = shifted(warm, arrays, instants) if warm is not None and warm.shape == shape else None
    basis = stood if given is not None else begun(many, numbers, arrays, before=stood)
    solver = Solver(arrays, _prices(cases, weighed), basis=basis)
    answer = solver.run()
    if answer is None:
        message = f"{cases[0].problem.site.name}: no first stage keeps the limits of every scenario"
        raise NoScheduleError(message)
    left = Warm(shape=shape, instants=instants, basis=solver.basis)
    return _hedge(cases, weighed, arrays, answer=answer, warm=left)


def _blocks(cases: Sequence[Case]) -> list[Inputs]:
    """Return the courses as blocks of one model, their curves laid."""
    laid = inputs_of_all([case.problem for case in cases])
    return [replace(one, block=f"s{i}") for i, one in enumerate(laid)]


def _hedge(
    cases: Sequence[Case], risk: Risk, arrays: Arrays, *, answer: Answer, warm: Warm
) -> Hedge:
    """Return what the solver found as a hedge."""
    values = {name: answer.values[at] for name, at in arrays.columns.items()}
    costs, violations = _paid(arrays, answer.values, cases)
    return Hedge(
        first=_first(values, warm.shape),
        costs=costs,
        violations=violations,
        probability=_probability(cases),
        names=tuple(case.name for case in cases),
        risk=risk,
        objective=answer.objective,
        values=values,
        warm=warm,
    )


def _probability(cases: Sequence[Case]) -> FloatArray:
    return np.array([case.probability for case in cases])


def bound(many: Sequence[Inputs], now: float) -> Shape:
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
        COST_TAIL: Tail(scenarios=names, account=COST_TAIL, accounts=tuple(ACCOUNTS)),
        VIOLATION_TAIL: Tail(scenarios=names, account=VIOLATION_TAIL, accounts=VIOLATIONS),
    }
    shared = decided_now(first, now, scenarios=names)
    couplings: dict[str, object] = {FIRST_STAGE: shared} if shared.steps else {}
    return replace(shape_of(*many), couplings=tuple((couplings | tails).items()))


def _numbers(
    many: Sequence[Inputs], shape: Shape, probability: FloatArray, *, risk: Risk
) -> dict[str, FloatArray]:
    """Return the numbers of all scenarios and of their tails."""
    prices = account_prices(many[0].problem.weights)
    found = numbers_of(*many)
    for name, part in shape.couplings:
        if isinstance(part, Tail):
            found[f"{name}.price"] = np.array([prices[account] for account in part.accounts])
            found[f"{name}.share"] = probability / (1.0 - risk.level)
    return found


def _prices(cases: Sequence[Case], risk: Risk) -> dict[str, float]:
    """Return what every account weighs in the objective, by ``<scenario>.<account>``."""
    own = account_prices(cases[0].problem.weights)
    prices = {
        f"s{i}.{name}": (1.0 - risk.weight) * case.probability * price
        for i, case in enumerate(cases)
        for name, price in own.items()
    }
    return prices | {COST_TAIL: risk.weight, VIOLATION_TAIL: risk.violations}


def _paid(
    arrays: Arrays, values: FloatArray, cases: Sequence[Case]
) -> tuple[FloatArray, FloatArray]:
    """Return what each scenario pays in all, and what of it for violations. [EUR]"""
    own = account_prices(cases[0].problem.weights)
    every = dict.fromkeys(arrays.accounts.names, 1.0)
    money = arrays.paid(values, every)

    def total(accounts: Sequence[str]) -> FloatArray:
        names = [[f"s{i}.{name}" for name in accounts] for i in range(len(cases))]
        return np.array(
            [
                sum(own[n.partition(".")[2]] * money[n].sum() for n in row if n in money)
                for row in names
            ]
        )

    return total(tuple(own)), total(VIOLATIONS)


def _first(values: Mapping[str, FloatArray], shape: Shape) -> dict[str, FloatArray]:
    """Return what is decided now, as the first scenario has it."""
    shared = dict(shape.couplings).get(FIRST_STAGE)
    if not isinstance(shared, FirstStage):
        return {}
    before = f"{shared.scenarios[0]}."
    own = {name.removeprefix(before): v for name, v in values.items() if name.startswith(before)}
    return first_stage(own, shared)
