"""The fleet's rolling cycle beside linopy, which rebuilds and solves the same models.

Both begin from the same arrays of the same questions; ours shifts the last basis, linopy begins
from nothing, since a model that is built again has none.
"""

import json
import statistics
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import peering, solve_cycle
from benchmarks.bench import Bench, Measured, Place
from benchmarks.exporting import prices_of
from benchmarks.solve_fleet import WEEK
from optimizer.model.components.converter import ConverterSignature
from optimizer.model.components.demand_charge import DemandChargeSignature
from optimizer.model.components.import_export import ImportExportSignature, WaterSupplySignature
from optimizer.model.components.storage import StorageSignature
from optimizer.model.components.workload import WorkloadSignature
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData

CYCLES = 4
"""Cycles that are timed, after the first. [1]"""


def limit(place: Place, *, steps: int = WEEK, cycles: int = CYCLES) -> Measured:
    """Let linopy rebuild and solve the sites' models of every cycle."""
    many = enumerate(solve_cycle.questions(steps, cycles + 1))
    files = [
        [str(_written(inputs, place.scratch / f"{cycle}-{number}.npz"))
         for number, inputs in enumerate(sites)]
        for cycle, sites in many
    ]  # fmt: skip
    answer = peering.ask("fleet_linopy", files, export=place.export)
    figures = {f"objective_{number}": value for number, value in enumerate(answer["objectives"])}
    return Measured(value=statistics.median(answer["seconds"][1:]), figures=figures)


def _written(inputs: ModelData, file: Path) -> Path:
    """Write a site's model as its forms know it: their shapes and arrays, and the prices."""
    shape = signature_of(inputs)
    (site,) = shape.sites
    parts = [(name, PEER_METHODS[type(part)], asdict(part)) for name, part in site.components]
    about = {"steps": shape.interval_count, "parts": parts, "prices": prices_of(inputs)}
    np.savez(file, about=json.dumps(about), **parameter_values(inputs))
    return file


PEER_METHODS = {
    ConverterSignature: "convert",
    DemandChargeSignature: "peak",
    ImportExportSignature: "exchange",
    StorageSignature: "store",
    WaterSupplySignature: "water",
    WorkloadSignature: "work",
}
"""Signature of a component -> method of `benchmarks/peers/fleet_linopy.py` that builds it."""


BENCHES = (
    Bench(
        name="solve.linopy",
        unit="CPU s",
        ours=partial(solve_cycle.ours, steps=WEEK, cycles=CYCLES),
        limit=limit,
        runs=1,
        note="4 sites x 672 steps x 12 kinds, one model a site; median of 4 cycles as solve.cycle;"
        " limit: linopy, vectorised, rebuilds each model from the same arrays and solves it",
    ),
)
