"""Write models of the benches where `--export-mps` says, so that others can solve them."""

from benchmarks.bench import Place
from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData
from optimizer.model.objective import account_weights
from optimizer.solver.highs import LpSolver


def prices_of(inputs: ModelData) -> dict[str, float]:
    """Return what a unit of every account costs."""
    return account_weights(inputs.problem.weights)


def export_problem(place: Place, name: str, inputs: ModelData) -> None:
    """Write our linear model of a problem, if models are wanted."""
    if place.export:
        structure = compile_model(signature_of(inputs))
        arrays = structure.with_parameter_values(parameter_values(inputs))
        labels = structure.column_and_row_names(inputs.problem.outlook["instant"].to_numpy())
        LpSolver(arrays, prices_of(inputs)).export(place.export / f"{name}.mps", labels)
