"""A fleet in one model: what prices are held against, while it still can be solved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from optimizer.build import numbers_of, shape_of
from optimizer.compile.structure import structure_of
from optimizer.forms import sharing
from optimizer.inputs import Inputs
from optimizer.objectives import account_prices
from optimizer.solve import Solver
from twin.errors import NoScheduleError
from twin.physics import FloatArray

TIME_LIMIT: Final = 3600.0
"""Longest that the model of a fleet may take. [s]"""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """The cheapest plan of a fleet, waste and units in parts allowed.

    Attributes
    ----------
    objective
        What it costs. [EUR]
    values
        ``<site>.<owner>.<variable>`` -> values.
    duals
        The same and ``sharing.carries`` -> prices. [EUR per its unit]
    """

    objective: float
    values: Mapping[str, FloatArray]
    duals: Mapping[str, FloatArray]


def solve_whole(many: Sequence[Inputs]) -> Whole:
    """Return the cheapest plan of several sites that share work, sought in one model.

    Parameters
    ----------
    many
        Questions of at least two sites with the same lanes over the same intervals.

    Raises
    ------
    NoScheduleError
        If no plan keeps every limit.
    """
    first = many[0].problem.moves
    names = tuple(inputs.problem.site.name for inputs in many)
    couplings: tuple[tuple[str, object], ...] = ()
    if first is not None:
        shared = sharing.Shape(sites=names, lanes=len(first.lanes), starts=first.edges[:-1])
        couplings = (("sharing", shared),)
    shape = replace(shape_of(*many), couplings=couplings)
    arrays = structure_of(shape).arrays(numbers_of(*many))
    prices = {
        f"{inputs.problem.site.name}.{account}": price
        for inputs in many
        for account, price in account_prices(inputs.problem.weights).items()
    }
    answer = Solver(arrays, prices, time_limit=TIME_LIMIT).run()
    if answer is None:
        message = f"{', '.join(names)}: no schedule of the fleet keeps every limit"
        raise NoScheduleError(message)
    duals = {name: answer.duals[at] for name, at in arrays.rows.items()}
    return Whole(
        objective=answer.objective,
        values={name: answer.values[at] for name, at in arrays.columns.items()},
        duals=duals | {name: answer.reduced_costs[at] for name, at in arrays.columns.items()},
    )
