"""From a problem to a Pyomo model: every relation of the site through its form, then balances."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pyomo.environ as pyo
from pyomo.common.gc_manager import PauseGC

from optimizer import objectives
from optimizer.forms import commitment, convert, exchange, store, work
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.relations import Commitment, Convert, Exchange, Store

FORMS: Final[Mapping[type, Callable[..., None]]] = {
    Convert: convert.build,
    Store: store.build,
    Exchange: exchange.build,
    Commitment: commitment.build,
}
"""Relation -> what writes it into its block."""


def build(inputs: Inputs) -> pyo.ConcreteModel:
    """Return the model of a problem.

    Parameters
    ----------
    inputs
        The problem, its curves and worths.

    Returns
    -------
    pyomo.environ.ConcreteModel
        One block per machine under its id (a promise under ``<id>_promise``), the blocks ``work``,
        ``water``, ``balance`` (one row per carrier and interval) and ``account`` (one objective
        per account).
    """
    site, count = inputs.problem.site, len(inputs.hours)
    model = pyo.ConcreteModel(name=site.name)
    model.time = pyo.RangeSet(0, count - 1)
    model.instant = pyo.RangeSet(0, count)
    ledger = Ledger()
    with PauseGC():
        for relation in (*site.converts, *site.stores, *site.exchanges, *site.commitments):
            block = _block(model, relation)
            FORMS[type(relation)](block, relation, ledger=ledger, inputs=inputs)
        model.work = pyo.Block()
        work.build(model.work, site.works, ledger=ledger, inputs=inputs)
        objectives.buy_water(model, ledger=ledger, inputs=inputs)
        ledger.close(model)
    return model


def _block(model: pyo.ConcreteModel, relation: Any) -> pyo.Block:
    name = relation.owner
    if isinstance(relation, Commitment):
        name = f"{name}_promise"
    if model.component(name) is None:
        model.add_component(name, pyo.Block())
    return model.component(name)
