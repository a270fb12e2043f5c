"""Commitment of the chillers of four sites over a week: from nothing, and after new forecasts.

Each site has a model of its own, as in a fleet. They are solved one after another, so two cores
need half of the reported time. Units are whole for a day and fractional beyond. The gap is that to
the linear model, which is solved first and counted too.
"""

from dataclasses import replace

from benchmarks.bench import Bench, Measured, Place, cpu
from benchmarks.solve_cycle import PATIENCE, elsewhere, prices_of
from benchmarks.solve_fleet import WEEK, Fleet
from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData, build_model_data
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolver
from optimizer.solver.mip import MIP_GAP, shift_units, solve_unit_commitment, units_on
from optimizer.solver.solution import WarmStart, shift_basis

RULES = {"minimum_up": 1.0, "minimum_down": 0.5, "restart": 1.0, "start_cost": 20.0}
"""What chillers keep: hours on and off, hours between two starts, and EUR for each."""


def made(steps: int) -> list[list[ModelData]]:
    """Return the questions of two cycles, their curves laid."""
    fleet = Fleet(steps)
    return [[build_model_data(_ruled(p)) for p in fleet.problems(cycle)] for cycle in (0, 1)]


def _ruled(problem: Problem) -> Problem:
    plant = problem.site.equipment["chilled_plant"]
    chillers = plant.chillers.model_copy(update=RULES)
    own = {"chilled_plant": plant.model_copy(update={"chillers": chillers})}
    return replace(problem, site=problem.site.with_equipment(problem.site.equipment | own))


def commit(inputs: ModelData, last: WarmStart | None) -> WarmStart:
    """Return what a commitment leaves to the next."""
    shape, instants = signature_of(inputs), inputs.problem.outlook["instant"].to_numpy()
    prices, arrays = (
        prices_of(inputs),
        compile_model(shape).with_parameter_values(parameter_values(inputs)),
    )
    basis = shift_basis(last, arrays, instants) if last else None
    solver = LpSolver(arrays, prices, basis=basis, time_limit=PATIENCE)
    relaxed = solver.run()
    assert relaxed is not None
    basis = solver.basis
    units = shift_units(arrays, last, instants) if last else None
    found = solve_unit_commitment(arrays, prices, solver, relaxed=relaxed, last=units)
    assert found is not None
    assert found.objective - relaxed.objective <= MIP_GAP * abs(found.objective)
    on = units_on(arrays, found.values)
    return WarmStart(model_signature=shape, instants=instants, basis=basis, units_on=on)


def cold(_: Place, *, steps: int = WEEK) -> Measured:
    """Commit all sites from nothing."""
    first, _ = elsewhere(made, steps)
    with cpu() as clock:
        for inputs in first:
            commit(inputs, None)
    return Measured(value=clock.seconds)


def warm(_: Place, *, steps: int = WEEK) -> Measured:
    """Commit all sites a quarter-hour later, with new forecasts, from the last plan's units."""
    first, second = elsewhere(made, steps)
    left = [commit(inputs, None) for inputs in first]
    with cpu() as clock:
        for inputs, last in zip(second, left, strict=True):
            commit(inputs, last)
    return Measured(value=clock.seconds)


BENCHES = (
    Bench(
        name="solve.commitment",
        unit="CPU s",
        ours=cold,
        runs=1,
        note="4 sites x 672 steps x 12 kinds, chillers in whole units, from nothing; every gap"
        " to the linear model at most 0.1 %, else the run fails",
    ),
    Bench(
        name="solve.commitment_warm",
        unit="CPU s",
        ours=warm,
        runs=1,
        note="the same a quarter-hour later, after new forecasts, from the last plan's units",
    ),
)
