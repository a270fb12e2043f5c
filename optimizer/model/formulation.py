"""From the shape of a problem to a Pyomo model: each relation's form, then the balances.

A model is written for a shape: which machines, carriers, intervals, segments and cohorts there are.
No form sees a number, so that problems of one shape share one model, whatever their prices, weather
and state.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler
from optimizer.model.components import (
    contract_position,
    converter,
    demand_charge,
    import_export,
    migration,
    reserve_headroom,
    reserve_product,
    stochastic,
    storage,
    unit_commitment,
    workload,
)
from optimizer.model.model_data import ModelData
from optimizer.model.signature import ModelSignature, SiteSignature
from optimizer.problem.contracts import described_obligations
from twin.physics import FloatArray
from twin.relations import Convert, DemandCharge, Exchange, Store

COMPONENT_OF_RELATION: Final[Mapping[type, Any]] = {
    Convert: converter,
    Store: storage,
    Exchange: import_export,
    DemandCharge: demand_charge,
}
"""Relation -> its component: a module with ``signature``, ``parameters`` and ``build``."""

BUILDERS_BY_SIGNATURE: Final[Mapping[type, Callable[..., None]]] = {
    converter.ConverterSignature: converter.build,
    storage.StorageSignature: storage.build,
    import_export.ImportExportSignature: import_export.build,
    demand_charge.DemandChargeSignature: demand_charge.build,
    unit_commitment.UnitCommitmentSignature: unit_commitment.build,
    workload.WorkloadSignature: workload.build,
    migration.MigrationSignature: migration.build,
    reserve_product.ReserveProductSignature: reserve_product.build,
    reserve_headroom.ReserveHeadroomSignature: reserve_headroom.build,
    contract_position.ContractPositionSignature: contract_position.build,
    import_export.WaterSupplySignature: import_export.build_water_supply,
}
"""Shape -> what writes it into its block."""

COUPLING_BUILDERS: Final[Mapping[type, Callable[..., None]]] = {
    stochastic.NonanticipativitySignature: stochastic.build_nonanticipativity,
    stochastic.CvarSignature: stochastic.build_cvar,
    migration.MigrationBalanceSignature: migration.build_migration_balance,
}
"""Shape of a part that couples sites -> what writes it into a block beside theirs.

Called as ``build(block, shape, ledger, sites=...)``: the ledger is that of the parts that couple,
``sites`` maps a site's name to its own, closed by then; a site's block is
``block.model().component(name)``.
"""


def signature_of(*many: ModelData) -> ModelSignature:
    """Return the shape of a problem, or of problems of several sites over the same intervals.

    Parameters
    ----------
    *many
        Problems with their curves and worths.
    """
    is_fleet = len(many) > 1
    names = [inputs.name if is_fleet else "" for inputs in many]
    return ModelSignature(
        interval_count=len(many[0].hours),
        sites=tuple(
            SiteSignature(name=name, components=tuple(_parts(inputs)))
            for name, inputs in zip(names, many, strict=True)
        ),
    )


def parameter_values(*many: ModelData) -> dict[str, FloatArray]:
    """Return all numbers of problems by ``<block>.<parameter>``; in a fleet after the site.

    Parameters
    ----------
    *many
        Problems with their curves and worths.
    """
    found = {}
    for inputs in many:
        before = f"{inputs.name}." if len(many) > 1 else ""
        for name, component, about in (*_all(inputs), *_contract_components(inputs)):
            for word, values in component.parameters(about, inputs).items():
                found[f"{before}{name}.{word}"] = np.asarray(values, dtype=float)
        found[f"{before}water.hours"] = inputs.hours
    return found


def build_model(shape: ModelSignature) -> pyo.ConcreteModel:
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
    model.time = pyo.RangeSet(0, shape.interval_count - 1)
    model.instant = pyo.RangeSet(0, shape.interval_count)
    model.bounds = []
    ledgers = {}
    for site in shape.sites:
        assembler, place = ModelAssembler(), _block(model, site.name) if site.name else model
        for name, part in site.components:
            BUILDERS_BY_SIGNATURE[type(part)](_block(place, name), part, assembler)
        assembler.write(place)
        ledgers[site.name] = assembler
    if shape.couplings:
        whole = ModelAssembler()
        for name, part in shape.couplings:
            COUPLING_BUILDERS[type(part)](_block(model, name), part, whole, sites=ledgers)
        whole.write(model)
    return model


def set_parameters(model: pyo.ConcreteModel, numbers: Mapping[str, FloatArray]) -> None:
    """Give a model its numbers, so that it is an ordinary model of Pyomo.

    Parameters
    ----------
    model
        From :func:`build`.
    numbers
        From :func:`parameter_values` a problem of the same shape.
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
            if bound.integer_count and first < bound.integer_count:
                variable[index].domain = pyo.Integers


def _value(bound: Any, index: Any) -> float:
    """Return a bound at an index of its variable."""
    if isinstance(bound, float):
        return bound
    whole = index if isinstance(index, tuple) else (index,)
    leading = whole[: bound.dim()]
    return float(pyo.value(bound[leading[0] if len(leading) == 1 else leading or None]))


def _parts(data: ModelData) -> Iterator[tuple[str, Any]]:
    yield from ((name, component.signature(about, data)) for name, component, about in _all(data))
    yield "water", import_export.WaterSupplySignature()
    yield from (
        (name, component.signature(about, data))
        for name, component, about in _contract_components(data)
    )


def _all(data: ModelData) -> Iterator[tuple[str, Any, Any]]:
    """Yield block, component and relation of every member of a site, and of its halls together."""
    site = data.problem.site
    relation: Any
    for relation in (*site.conversions, *site.stores, *site.exchanges, *site.demand_charges):
        charge = f"_{relation.name}" if isinstance(relation, DemandCharge) else ""
        yield f"{relation.owner}{charge}", COMPONENT_OF_RELATION[type(relation)], relation
        if getattr(relation, "units", None) is not None:
            yield relation.owner, unit_commitment, relation
    yield "work", workload, site.flexible_loads
    if data.problem.migration is not None:
        yield "moves", migration, data.problem.migration
    for product in site.reserves.values():
        yield f"{product.name}_reserve", reserve_product, product
    if site.reserves:
        yield "reserves", reserve_headroom, site


def _contract_components(data: ModelData) -> Iterator[tuple[str, Any, Any]]:
    """Yield block, component and promise of what stands upon the flows of all others."""
    for promise in described_obligations(data.problem.site, data.problem.outlook):
        yield promise.owner, contract_position, promise


def _block(place: pyo.Block, name: str) -> pyo.Block:
    if place.component(name) is None:
        place.add_component(name, pyo.Block())
    return place.component(name)
