"""Solve a problem: build, compile, solve, and solve again where the answer wastes."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from optimizer.build import numbers_of, shape_of
from optimizer.commit import committed, kept_units, units_of
from optimizer.compile.arrays import Arrays
from optimizer.compile.shift import Instants, Warm, shifted
from optimizer.compile.structure import structure_of
from optimizer.forms.work import MET
from optimizer.hedge.first_stage import freed, kept
from optimizer.inputs import Inputs, inputs_of
from optimizer.objectives import account_prices
from optimizer.problem import Problem
from optimizer.question.sense import banks
from optimizer.reasons.refusal import refusal
from optimizer.reserves.bids import in_bids
from optimizer.shape import Shape
from optimizer.solution import Solution
from optimizer.solve import Answer, Solver, can_be_kept
from optimizer.tight import named, tight
from twin.physics import FloatArray

LONG: Final = 15_000
"""Rows from which on a model that is solved from nothing is first asked whether any values keep
them: without costs that takes a tenth of the time, and it can take seconds to find that none do."""

GIVEN: Final = 1e-9
"""Room below which work that is met by an instant is given. [MWh]"""


class Clock:
    """CPU time by part of the work. [s]"""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count the time of a part."""
        begun = time.process_time()
        yield
        self.spent[part] += time.process_time() - begun


def solve_problem(
    problem: Problem,
    warm: Warm | None = None,
    *,
    keep_units: bool = False,
    export: Path | None = None,
    first: Mapping[str, FloatArray] | None = None,
) -> Solution:
    """Return the cheapest plan of a problem.

    Parameters
    ----------
    problem
        The question.
    warm
        What the last solve left; the search begins there if the model has the same shape.
    keep_units
        Whether units that are on or off stay so as the last plan had them, which makes the question
        linear; where that does not do, they are sought anew.
    export
        File for the linear model, if somebody wants to solve it with another program.
    first
        What is decided already of the first intervals, as a hedge over scenarios gives it.

    Returns
    -------
    Solution
        Values, duals and accounts.

    Raises
    ------
    NoScheduleError
        If no plan keeps every limit.
    SolverError
        If the solver fails.
    """
    problem = told(problem, warm)
    return _solved(problem, warm, keep_units=keep_units, export=export, first=first or {})


def told(problem: Problem, warm: Warm | None) -> Problem:
    """Return the problem with what the last plan made its units do, where it does not say.

    Parameters
    ----------
    problem
        The question.
    warm
        What the last solve left.
    """
    if warm is None or not warm.units:
        return problem
    now, then = problem.outlook["instant"].to_numpy()[:2]
    known = warm.within(banks(problem.site))
    return replace(problem, past_units={**known.ran(now, then - now), **problem.past_units})


def _solved(
    problem: Problem,
    warm: Warm | None,
    *,
    keep_units: bool,
    export: Path | None,
    first: Mapping[str, FloatArray],
) -> Solution:
    """Solve the linear model, then with whole units and bids, then without waste."""
    clock = Clock()
    model = _modelled(problem, warm, first=first, clock=clock)
    arrays, prices, instants = model.arrays, model.prices, model.instants
    with clock("solve"):
        basis = shifted(model.fit, arrays, instants) if model.fit else None
        solver = Solver(arrays, prices, basis=basis)
        relaxed = _relaxed(model, solver, export)
        basis = solver.basis
    with clock("commit"):
        answer = _with_units(model, solver, relaxed=relaxed, keep=keep_units)
        units, past = units_of(arrays, answer.values), model.problem.past_units
        answer = in_bids(solver, arrays, inputs=model.inputs, answer=answer)
    with clock("hold"):
        answer, held = tight(solver, arrays, inputs=model.inputs, answer=answer)
    return Solution(
        inputs=model.inputs,
        values=named(arrays.columns, answer.values),
        duals=model.duals(answer),
        accounts=arrays.paid(answer.values, prices),
        objective=answer.objective,
        relaxed=relaxed.objective,
        held=held,
        warm=Warm(shape=model.shape, instants=instants, basis=basis, units=units, past_units=past),
        seconds=dict(clock.spent),
    )


@dataclass(frozen=True, kw_only=True)
class _Model:
    """A problem as arrays.

    Attributes
    ----------
    problem, inputs, shape, prices, instants
        The question, what the forms build from, the shape, account -> price, edges of intervals.
    free, arrays
        The model, and the same with what is decided already kept.
    fit
        What the last solve left, if its model had the same shape.
    """

    problem: Problem
    inputs: Inputs
    shape: Shape
    prices: Mapping[str, float]
    instants: Instants
    free: Arrays
    arrays: Arrays
    fit: Warm | None

    def duals(self, answer: Answer) -> dict[str, FloatArray]:
        """Return the prices of rows and of the bounds of columns by their names."""
        costs = freed(answer.reduced_costs, self.free, self.arrays)
        if (done := self.arrays.columns.get(MET)) is not None:
            # what must be done as it comes is given: solvers tell any price for it
            is_given = self.free.column_high[done] - self.free.column_low[done] < GIVEN
            costs[done[is_given]] = 0.0
        return named(self.arrays.rows, answer.duals) | named(self.arrays.columns, costs)


def _modelled(
    problem: Problem,
    warm: Warm | None,
    *,
    first: Mapping[str, FloatArray],
    clock: Clock,
) -> _Model:
    with clock("curves"):
        inputs = inputs_of(problem)
    with clock("compile"):
        shape = shape_of(inputs)
        structure = structure_of(shape)
    with clock("numbers"):
        free = structure.arrays(numbers_of(inputs))
    return _Model(
        problem=problem,
        inputs=inputs,
        shape=shape,
        prices=account_prices(problem.weights),
        instants=problem.outlook["instant"].to_numpy(),
        free=free,
        arrays=kept(free, first),
        fit=warm if warm is not None and warm.shape == shape else None,
    )


def _relaxed(model: _Model, solver: Solver, export: Path | None) -> Answer:
    """Return the plan with units in fractions."""
    if export is not None:
        solver.export(export)
    is_long = model.fit is None and len(model.arrays.row_low) >= LONG
    found = solver.run() if not is_long or can_be_kept(model.arrays) else None
    if found is None:
        raise refusal(model.inputs, model.arrays)
    return found


def _with_units(model: _Model, solver: Solver, *, relaxed: Answer, keep: bool) -> Answer:
    """Return the plan with whole units; those that were kept are sought anew if they do not do."""
    arrays, fit = model.arrays, model.fit
    last = kept_units(arrays, fit, model.instants) if fit else None
    if not arrays.is_integer.any():
        return relaxed
    seek = partial(committed, arrays, model.prices, solver, relaxed=relaxed)
    answer = seek(last=last, is_kept=keep)
    if answer is None and keep:
        answer = seek(last=None, is_kept=False)
    if answer is None:
        raise refusal(model.inputs, solver.bounded(arrays))
    return answer
