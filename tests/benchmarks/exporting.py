"""Write models of the benches where `--export-mps` says, so that others can solve them."""

from optimizer.build import numbers_of, shape_of
from optimizer.compile.structure import structure_of
from optimizer.inputs import Inputs
from optimizer.objectives import account_prices
from optimizer.solve import Solver
from tests.benchmarks.bench import Place


def prices_of(inputs: Inputs) -> dict[str, float]:
    """Return what a unit of every account costs."""
    return account_prices(inputs.problem.weights)


def export_problem(place: Place, name: str, inputs: Inputs) -> None:
    """Write our linear model of a problem, if models are wanted."""
    if place.export:
        arrays = structure_of(shape_of(inputs)).arrays(numbers_of(inputs))
        Solver(arrays, prices_of(inputs)).export(place.export / f"{name}.mps")
