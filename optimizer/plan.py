"""Solve a problem: build, compile, solve, and solve again where the answer wastes."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.build import numbers_of, shape_of
from optimizer.commit import committed, kept_units, units_of
from optimizer.compile.arrays import Arrays, IntArray
from optimizer.compile.shift import Instants, Warm, shifted
from optimizer.compile.structure import structure_of
from optimizer.curves import MOST_SEGMENTS
from optimizer.hedge.first_stage import freed, kept
from optimizer.hold import Held, hold, stacked
from optimizer.inputs import Inputs, inputs_of
from optimizer.objectives import account_prices
from optimizer.problem import Problem
from optimizer.refusal import refusal
from optimizer.reserves.bids import in_bids
from optimizer.shape import Shape
from optimizer.solution import Solution
from optimizer.solve import Answer, Solver
from optimizer.waste import wasteful
from twin.errors import SolverError
from twin.physics import FloatArray

ROUNDS: Final = 10
"""Most times that a plan is solved again for its waste. [1]"""

GAIN: Final = 1e-6
"""Share of the objective that a round must bring to count. [1]"""

PATIENCE: Final = 2
"""Rounds in a row that may bring nothing: the ways of stores are turned in two phases. [1]"""


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


def _named(places: Mapping[str, IntArray], flat: FloatArray) -> dict[str, FloatArray]:
    """Return bare results under their names."""
    return {name: flat[at] for name, at in places.items()}


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
    problem = _told(problem, warm)
    return _solved(problem, warm, keep_units=keep_units, export=export, first=first or {})


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
        answer = in_bids(solver, arrays, problem=model.problem, answer=answer)
    with clock("hold"):
        answer, held = _without_waste(solver, arrays, model.inputs, answer)
    return Solution(
        inputs=model.inputs,
        values=_named(arrays.columns, answer.values),
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
        return _named(self.arrays.rows, answer.duals) | _named(self.arrays.columns, costs)


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
    found = solver.run()
    if found is None:
        raise refusal(model.problem, model.arrays, solver)
    return found


def _told(problem: Problem, warm: Warm | None) -> Problem:
    """Return the problem with what the last plan made its units do, where it does not say."""
    if warm is None:
        return problem
    now = problem.outlook["instant"].to_numpy()[0]
    return replace(problem, past_units={**warm.ran(now), **problem.past_units})


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
        raise refusal(model.problem, arrays, solver)
    return answer


def _without_waste(
    solver: Solver, arrays: Arrays, inputs: Inputs, answer: Answer
) -> tuple[Answer, tuple[Held, ...]]:
    """Return a plan in which physics is kept where waste would pay, and what had to be held."""
    held: list[Held] = []
    idle, turn, is_loose = 0, 0, False
    while idle < PATIENCE and turn < ROUNDS:
        turn += 1
        values = _named(arrays.columns, answer.values)
        fresh = list(hold(inputs, values, where=wasteful(inputs, values)))
        fresh = [one for one in fresh if not (is_loose and one.is_chain)]
        if not (held or fresh):
            break
        tried = [replace(one, piece=one.moved(values, turn)) for one in held] + fresh
        found, again = _solve_held(solver, arrays, tried)
        if not again and held and not is_loose:
            break  # the plan before wastes nothing
        if not again:  # one that wastes but runs in no circle: the twin judges what it really draws
            is_loose, again = True, [one for one in tried if not one.is_chain]
        held = again
        is_better = answer.objective - found.objective > GAIN * abs(found.objective)
        idle = 0 if fresh or is_better else idle + 1
        answer = found
    return answer, tuple(held)


def _solve_held(solver: Solver, arrays: Arrays, held: list[Held]) -> tuple[Answer, list[Held]]:
    """Return the best plan that is held, and what holds it.

    What one machine wasted others had to carry: without it their outputs may lie in pieces before
    those that they are held to, so these are opened until a plan is found, which tells the right
    ones. Where nothing can be held, the best plan that wastes.
    """
    slack = 0
    for _ in range(2 * MOST_SEGMENTS):
        for one in held:
            low, high = one.bounds(slack)
            places = stacked(one.names, arrays.columns)[one.steps]
            high = np.minimum(high, arrays.column_high[places])
            solver.bound(places.ravel(), np.minimum(low, high).ravel(), high=high.ravel())
        found = solver.run()
        if found is None:
            slack += 1
            continue
        again = [one.at(_named(arrays.columns, found.values)) for one in held]
        if not slack or all((a.piece == b.piece).all() for a, b in zip(again, held, strict=True)):
            return found, held
        held, slack = again, 0
    for one in (one for one in held if one.is_chain):  # nothing runs in a circle all the same
        places = stacked(one.names, arrays.columns)[one.steps].ravel()
        solver.bound(places, arrays.column_low[places], high=arrays.column_high[places])
    found = solver.run()
    if found is None:
        message = "the plan cannot be kept from waste"
        raise SolverError(message)
    return found, []
