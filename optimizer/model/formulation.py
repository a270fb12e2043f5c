"""Builds a Pyomo model from a signature: every component, then the balances.

A signature holds machines, carriers, intervals, segments and cohorts, but no numbers. Problems of
equal signature share one model, whatever their prices, weather and state.
"""

from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, empty_model
from optimizer.model.components import (
    converter,
    demand_charge,
    import_export,
    migration,
    obligation,
    reserve_product,
    stochastic,
    storage,
    storage_reserve,
    unit_commitment,
    workload,
)
from optimizer.model.model_data import ModelData
from optimizer.model.rows import ModelSignature, SiteSignature
from optimizer.problem.obligations_and_reserves import obligations_in_outlook
from twin.physics import FloatArray
from twin.relations import Conversion, DemandCharge, Exchange, Store

COMPONENT_OF_RELATION: Final[Mapping[type, Any]] = {
    Conversion: converter,
    Store: storage,
    Exchange: import_export,
    DemandCharge: demand_charge,
}
"""Relation -> its component: a module with ``signature``, ``parameters`` and ``build``."""

RESERVE_HEADROOM_COMPONENT: Final = SimpleNamespace(
    signature=reserve_product.headroom_signature, parameters=reserve_product.headroom_parameters
)
"""Component of the headroom for all products of a site."""

BUILDERS_BY_SIGNATURE: Final[Mapping[type, Callable[..., None]]] = {
    converter.ConverterSignature: converter.build,
    storage.StorageSignature: storage.build,
    import_export.ImportExportSignature: import_export.build,
    demand_charge.DemandChargeSignature: demand_charge.build,
    unit_commitment.UnitCommitmentSignature: unit_commitment.build,
    workload.WorkloadSignature: workload.build,
    migration.MigrationSignature: migration.build,
    reserve_product.ReserveProductSignature: reserve_product.build,
    reserve_product.ReserveHeadroomSignature: reserve_product.build_headroom,
    reserve_product.ReserveEligibility: storage_reserve.build,
    obligation.ObligationSignature: obligation.build,
    import_export.WaterSupplySignature: import_export.build_water_supply,
}
"""Signature type -> function that writes the component into its block."""

COUPLING_BUILDERS: Final[Mapping[type, Callable[..., None]]] = {
    stochastic.NonanticipativitySignature: stochastic.build_nonanticipativity,
    stochastic.CvarSignature: stochastic.build_cvar,
    migration.MigrationBalanceSignature: migration.build_migration_balance,
}
"""Signature type of a component that couples sites -> function that writes it.

Called as ``build(block, signature, assembler, sites=...)``. The assembler is that of the coupling
components; ``sites`` maps the name of each site to its own, already written assembler. The block of
a site is ``block.model().component(name)``.
"""


def signature_of(*many: ModelData) -> ModelSignature:
    """Return the signature of a problem, or of several sites over the same intervals."""
    is_fleet = len(many) > 1
    names = [inputs.block_name if is_fleet else "" for inputs in many]
    return ModelSignature(
        interval_count=len(many[0].interval_hours),
        sites=tuple(
            SiteSignature(name=name, components=tuple(_component_signatures(inputs)))
            for name, inputs in zip(names, many, strict=True)
        ),
    )


def parameter_values(*many: ModelData) -> dict[str, FloatArray]:
    """Return all parameter values by ``<block>.<parameter>``, in a fleet by
    ``<site>.<block>...``.
    """
    arrays = {}
    for inputs in many:
        prefix = f"{inputs.block_name}." if len(many) > 1 else ""
        for block, component, relation in (*_components(inputs), *_contract_components(inputs)):
            for name, values in component.parameters(relation, inputs).items():
                arrays[f"{prefix}{block}.{name}"] = np.asarray(values, dtype=float)
        arrays[f"{prefix}water.hours"] = inputs.interval_hours
    return arrays


def build_model(signature: ModelSignature) -> pyo.ConcreteModel:
    """Return the model of a signature.

    Each site has one block per machine under its id (``<id>_peak`` for its demand charge), and the
    blocks ``work``, ``water``, ``balance`` (one row per carrier and interval) and ``account`` (one
    objective per account). Coupling components stand beside the sites and have their own accounts.
    """
    model = empty_model(signature.interval_count)
    assemblers: dict[str, ModelAssembler] = {}
    for site in signature.sites:
        assembler, place = ModelAssembler(), _block(model, site.name) if site.name else model
        for name, part in site.components:
            BUILDERS_BY_SIGNATURE[type(part)](_block(place, name), part, assembler)
        assembler.write_balances_and_objectives(place)
        assemblers[site.name] = assembler
    if signature.couplings:
        coupling = ModelAssembler()
        for name, part in signature.couplings:
            COUPLING_BUILDERS[type(part)](_block(model, name), part, coupling, sites=assemblers)
        coupling.write_balances_and_objectives(model)
    return model


def _component_signatures(data: ModelData) -> Iterator[tuple[str, Any]]:
    for name, component, relation in _components(data):
        yield name, component.signature(relation, data)
    yield "water", import_export.WaterSupplySignature()
    for name, component, relation in _contract_components(data):
        yield name, component.signature(relation, data)


def _components(data: ModelData) -> Iterator[tuple[str, Any, Any]]:
    """Yield block, component and relation of every machine, exchange, charge, load and reserve."""
    site = data.problem.site
    relation: Any
    for relation in (*site.conversions, *site.stores, *site.exchanges, *site.demand_charges):
        charge = f"_{relation.name}" if isinstance(relation, DemandCharge) else ""
        yield f"{relation.owner}{charge}", COMPONENT_OF_RELATION[type(relation)], relation
        if getattr(relation, "switchable_units", None) is not None:
            yield relation.owner, unit_commitment, relation
        if isinstance(relation, Store) and site.reserves:
            yield relation.owner, storage_reserve, relation
    yield "work", workload, site.flexible_loads
    if data.problem.migration is not None:
        yield "migration", migration, data.problem.migration
    for product in site.reserves.values():
        yield f"{product.name}_reserve", reserve_product, product
    if site.reserves:
        yield "reserves", RESERVE_HEADROOM_COMPONENT, site


def _contract_components(data: ModelData) -> Iterator[tuple[str, Any, Any]]:
    """Yield block, component and obligation of every contract on flows of other components."""
    for one in obligations_in_outlook(data.problem.site, data.problem.outlook):
        yield one.owner, obligation, one


def _block(place: pyo.Block, name: str) -> pyo.Block:
    if place.component(name) is None:
        place.add_component(name, pyo.Block())
    return place.component(name)
