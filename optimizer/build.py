"""From the shape of a problem to a Pyomo model: each relation's form, then the balances.

A model is written for a shape: which machines, carriers, intervals, segments and cohorts there are.
No form sees a number, so that problems of one shape share one model, whatever their prices, weather
and state.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer import objectives
from optimizer.forms import (
    commitment,
    convert,
    exchange,
    fence,
    moves,
    peak,
    reserve,
    scenarios,
    sharing,
    store,
    units,
    work,
)
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from optimizer.question.promised import promises
from optimizer.shape import Shape, SiteShape
from twin.physics import FloatArray
from twin.relations import Convert, DemandCharge, Exchange, Store

FORMS: Final[Mapping[type, Any]] = {
    Convert: convert,
    Store: store,
    Exchange: exchange,
    DemandCharge: peak,
}
"""Relation -> its form: ``shape``, ``numbers`` and ``build``."""

_FORMS: Final = (*FORMS.values(), units, work, moves, reserve, fence, commitment)

BUILDERS: Final[Mapping[type, Callable[..., None]]] = {
    **{form.Shape: form.build for form in _FORMS},
    objectives.Water: objectives.buy_water,
}
"""Shape -> what writes it into its block."""

COUPLERS: Final[Mapping[type, Callable[..., None]]] = {
    scenarios.FirstStage: scenarios.build_first_stage,
    scenarios.Tail: scenarios.build_tail,
    sharing.Shape: sharing.build,
}
"""Shape of a part that couples sites -> what writes it into a block beside theirs.

Called as ``build(block, shape, ledger, sites=...)``: the ledger is that of the parts that couple,
``sites`` maps a site's name to its own, closed by then; a site's block is
``block.model().component(name)``.
"""


def shape_of(*many: Inputs) -> Shape:
    """Return the shape of a problem, or of problems of several sites over the same intervals.

    Parameters
    ----------
    *many
        Problems with their curves and worths.
    """
    is_fleet = len(many) > 1
    names = [inputs.name if is_fleet else "" for inputs in many]
    return Shape(
        steps=len(many[0].hours),
        sites=tuple(
            SiteShape(name=name, parts=tuple(_parts(inputs)))
            for name, inputs in zip(names, many, strict=True)
        ),
    )


def numbers_of(*many: Inputs) -> dict[str, FloatArray]:
    """Return all numbers of problems by ``<block>.<parameter>``; in a fleet after the site.

    Parameters
    ----------
    *many
        Problems with their curves and worths.
    """
    found = {}
    for inputs in many:
        before = f"{inputs.name}." if len(many) > 1 else ""
        for name, form, about in (*_all(inputs), *_promised(inputs)):
            for word, values in form.numbers(about, inputs).items():
                found[f"{before}{name}.{word}"] = np.asarray(values, dtype=float)
        found[f"{before}water.hours"] = inputs.hours
    return found


def build(shape: Shape) -> pyo.ConcreteModel:
    """Return the model of a shape.

    Parameters
    ----------
    shape
        The shape.

    Returns
    -------
    pyomo.environ.ConcreteModel
        For each site one block per machine under its id (a charge on a peak under ``<id>_peak``),
        the blocks ``work``, ``water``, ``balance`` (one row per carrier and interval) and
        ``account`` (one objective per account). What couples sites stands beside them, with
        accounts of its own. ``bounds`` tells what bounds the variables. No parameter has a value;
        :func:`fill` gives them.
    """
    model = pyo.ConcreteModel()
    model.time = pyo.RangeSet(0, shape.steps - 1)
    model.instant = pyo.RangeSet(0, shape.steps)
    model.bounds = []
    ledgers = {}
    for site in shape.sites:
        ledger, place = Ledger(), _block(model, site.name) if site.name else model
        for name, part in site.parts:
            BUILDERS[type(part)](_block(place, name), part, ledger)
        ledger.close(place)
        ledgers[site.name] = ledger
    if shape.couplings:
        whole = Ledger()
        for name, part in shape.couplings:
            COUPLERS[type(part)](_block(model, name), part, whole, sites=ledgers)
        whole.close(model)
    return model


def fill(model: pyo.ConcreteModel, numbers: Mapping[str, FloatArray]) -> None:
    """Give a model its numbers, so that it is an ordinary model of Pyomo.

    Parameters
    ----------
    model
        From :func:`build`.
    numbers
        From :func:`numbers_of` a problem of the same shape.
    """
    for parameter in model.component_objects(pyo.Param):
        given = numbers[parameter.name].ravel().tolist()
        parameter.store_values(dict(zip(parameter.index_set(), given, strict=True)))
    for bound in model.bounds:
        variable = bound.variable
        for index in variable.index_set():
            variable[index].setlb(_value(bound.low, index))
            variable[index].setub(_value(bound.high, index))
            first = index[0] if isinstance(index, tuple) else index
            if bound.integers and first < bound.integers:
                variable[index].domain = pyo.Integers


def _value(bound: Any, index: Any) -> float:
    """Return a bound at an index of its variable."""
    if isinstance(bound, float):
        return bound
    whole = index if isinstance(index, tuple) else (index,)
    leading = whole[: bound.dim()]
    return float(pyo.value(bound[leading[0] if len(leading) == 1 else leading or None]))


def _parts(inputs: Inputs) -> Iterator[tuple[str, Any]]:
    yield from ((name, form.shape(about, inputs)) for name, form, about in _all(inputs))
    yield "water", objectives.Water()
    yield from ((name, form.shape(about, inputs)) for name, form, about in _promised(inputs))


def _all(inputs: Inputs) -> Iterator[tuple[str, Any, Any]]:
    """Yield block, form and relation of every member of a site, and of its halls together."""
    site = inputs.problem.site
    relation: Any
    for relation in (*site.converts, *site.stores, *site.exchanges, *site.peaks):
        charge = f"_{relation.name}" if isinstance(relation, DemandCharge) else ""
        yield f"{relation.owner}{charge}", FORMS[type(relation)], relation
        if getattr(relation, "units", None) is not None:
            yield relation.owner, units, relation
    yield "work", work, site.works
    if inputs.problem.moves is not None:
        yield "moves", moves, inputs.problem.moves
    for product in site.reserves.values():
        yield f"{product.name}_reserve", reserve, product
    if site.reserves:
        yield "reserves", fence, site


def _promised(inputs: Inputs) -> Iterator[tuple[str, Any, Any]]:
    """Yield block, form and promise of what stands upon the flows of all others."""
    for promise in promises(inputs.problem.site, inputs.problem.outlook):
        yield promise.owner, commitment, promise


def _block(place: pyo.Block, name: str) -> pyo.Block:
    if place.component(name) is None:
        place.add_component(name, pyo.Block())
    return place.component(name)
