"""Growth of a fleet: 2, 4, 8 and 16 sites that share work, in one model.

Measured is all from the sites' questions to the cheapest exchange. The limit is the same sites in
models of their own, which exchange nothing: what a fleet takes beyond them is the price of sharing.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.bench import Bench, Measured, Place, cpu
from benchmarks.solve_cycle import elsewhere
from benchmarks.solve_wide import TWO_DAYS, Wide
from optimizer.compiler.structure import compile_model
from optimizer.fleet.planner import solve_relaxation
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolver

COUNTS = (2, 4, 8, 16)

type Horizon = tuple[tuple[float, float], ...]


def made(count: int, horizon: Horizon) -> tuple[Problem, ...]:
    """Return the questions of a fleet."""
    return Wide(count, horizon).problems()


def as_one(_: Place, *, count: int, horizon: Horizon = TWO_DAYS) -> Measured:
    """Solve all sites in one model."""
    problems = elsewhere(made, count, horizon)
    compile_model.cache_clear()
    with cpu() as clock:
        found = solve_relaxation(problems)
    return Measured(value=clock.seconds, cost=clock.seconds / count, figures={"cost": found.cost})


def apart(_: Place, *, count: int, horizon: Horizon = TWO_DAYS) -> Measured:
    """Solve every site in a model of its own, without exchange."""
    problems = elsewhere(made, count, horizon)
    compile_model.cache_clear()
    with cpu() as clock:
        costs = [_alone(problem) for problem in problems]
    return Measured(value=clock.seconds, cost=clock.seconds / count, figures={"cost": sum(costs)})


def _alone(problem: Problem) -> float:
    """Return the relaxed cost of a site without exchange. [EUR]"""
    nothing = np.zeros_like(problem.migration.min_net_work_sent)
    closed = replace(problem, migration=problem.migration.with_fixed_net(nothing))
    data = build_model_data(closed)
    arrays = compile_model(signature_of(data)).with_parameter_values(parameter_values(data))
    return LpSolver(arrays, account_weights(problem.weights)).run().objective


BENCHES = tuple(
    Bench(
        name=f"solve.fleet_{count}",
        unit="CPU s",
        ours=partial(as_one, count=count),
        limit=partial(apart, count=count),
        runs=1,
        tolerance=1.0,  # sharing is cheaper
        note=f"{count} sites x 120 steps x 12 kinds that share two of them, in one model; "
        "limit: the sites one by one, without exchange",
    )
    for count in COUNTS
)
