"""The benches of the solver: a rolling cycle of four sites, its first build, and the guard.

Sites share nothing but prices, so each has its own model, as each has its own process in a fleet.
The questions are made, and the physics laid into curves, in another process beforehand: both ways
begin from the same curves and end with an optimum.
"""

import multiprocessing
import statistics
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache

from benchmarks.bench import Bench, Measured, Place, cpu
from benchmarks.exporting import prices_of
from benchmarks.solve_bare import Bare
from benchmarks.solve_fleet import WEEK, Fleet
from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData
from optimizer.solver.highs import LpSolver
from optimizer.solver.solution import WarmStart, shift_basis

CYCLES = 12
"""Cycles of a run that are timed, after the first, which begins from nothing. [1]"""

PATIENCE = 600.0
"""Longest that one solve may take, on a machine that has other work too. [s]"""

DAY = 96
"""Quarter-hours of a day. [1]"""


def questions(steps: int, cycles: int) -> Iterator[list[ModelData]]:
    """Yield the questions of some cycles, each a list of the sites', made in another process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as other:
        for cycle in range(cycles):
            yield other.submit(_made, steps, cycle).result()


def elsewhere[T](make: Callable[..., T], *given: int) -> T:
    """Return what a function makes in another process, whose memory is not counted."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as other:
        return other.submit(make, *given).result()


def _made(steps: int, cycle: int) -> list[ModelData]:
    return fleet_of(steps).inputs(cycle)


@cache
def fleet_of(steps: int) -> Fleet:
    """Return the fleet, its series read once."""
    return Fleet(steps)


def ours(place: Place, *, steps: int, cycles: int = CYCLES) -> Measured:
    """Roll the sites on by our engine: numbers into slots, the last basis shifted, solved."""
    left: dict[str, WarmStart] = {}
    seconds, found = [], []
    for many in questions(steps, cycles + 1):
        with cpu() as clock:
            solvers, total = {}, 0.0
            for inputs in many:
                total += _cycle(inputs, left, solvers if place.export else None)
        seconds.append(clock.seconds)
        found.append(total)
        for name, solver in solvers.items():
            solver.export(place.export / f"{name}-{steps}-ours.mps")
    return _measured(seconds, found)


def _cycle(
    inputs: ModelData, left: dict[str, WarmStart], solvers: dict[str, LpSolver] | None
) -> float:
    """Return a site's optimum; its solver lives on only where it is asked for."""
    name, shape = inputs.problem.site.name, signature_of(inputs)
    instants = inputs.problem.outlook["instant"].to_numpy()
    arrays = compile_model(shape).with_parameter_values(parameter_values(inputs))
    is_fit = name in left and left[name].model_signature == shape
    basis = shift_basis(left[name], arrays, instants) if is_fit else None
    solver = LpSolver(arrays, prices_of(inputs), basis=basis, time_limit=PATIENCE)
    answer = solver.run()
    assert answer is not None
    left[name] = WarmStart(model_signature=shape, instants=instants, basis=solver.basis)
    if solvers is not None:
        solvers[name] = solver
    return answer.objective


def limit(place: Place, *, steps: int, cycles: int = CYCLES) -> Measured:
    """Roll the sites on by arrays written by hand."""
    models: dict[str, Bare] = {}
    bases: dict[str, object] = {}
    seconds, found = [], []
    for many in questions(steps, cycles + 1):
        with cpu() as clock:
            solvers, total = {}, 0.0
            for inputs in many:
                name = inputs.problem.site.name
                if name not in models or not models[name].fits(inputs):
                    models[name] = Bare(inputs)
                    bases.pop(name, None)
                models[name].fill(inputs)
                solver = models[name].solved(bases.get(name))
                bases[name] = solver.getBasis()
                total += solver.getObjectiveValue()
                if place.export:
                    solvers[name] = solver
        seconds.append(clock.seconds)
        found.append(total)
        for name, solver in solvers.items():
            solver.writeModel(str(place.export / f"{name}-{steps}-limit.mps"))
    return _measured(seconds, found)


def _measured(seconds: list[float], found: list[float]) -> Measured:
    figures = {f"objective_{number}": value for number, value in enumerate(found)}
    return Measured(value=statistics.median(seconds[1:]), figures=figures)


def build(_: Place) -> Measured:
    """Build and compile the models of all sites, and write the first numbers into them."""
    many = elsewhere(_made, WEEK, 0)
    compile_model.cache_clear()
    with cpu() as clock:
        sizes = [
            compile_model(signature_of(one))
            .with_parameter_values(parameter_values(one))
            .matrix_values.size
            for one in many
        ]
    return Measured(value=clock.seconds, figures={"elements": float(sum(sizes))})


def bare_build(_: Place) -> Measured:
    """Count the positions of the models by hand, and write the first numbers into them."""
    many = elsewhere(_made, WEEK, 0)
    with cpu() as clock:
        models = [Bare(one) for one in many]
        for model, one in zip(models, many, strict=True):
            model.fill(one)
    return Measured(
        value=clock.seconds, figures={"elements": float(sum(model.value.size for model in models))}
    )


BENCHES = (
    Bench(
        name="solve.cycle",
        unit="CPU s",
        ours=lambda place: ours(place, steps=WEEK),
        limit=lambda place: limit(place, steps=WEEK),
        runs=1,
        note="4 sites x 672 steps x 12 kinds, one model a site; median of 12 cycles; limit: same"
        " update and warm solve in arrays written by hand; curves laid beforehand for both",
    ),
    Bench(
        name="solve.build",
        unit="CPU s",
        ours=build,
        limit=bare_build,
        note="4 sites x 672 steps x 12 kinds, from curves to arrays; limit: positions by hand",
    ),
    Bench(
        name="solve.guard",
        unit="CPU s",
        ours=lambda place: ours(place, steps=DAY),
        limit=lambda place: limit(place, steps=DAY),
        runs=1,
        note="4 sites x 96 steps x 12 kinds, sum of the sites; median of 12 cycles, as solve.cycle",
    ),
)
