"""`twin.load_flow_year`: the network of rhine over a year of quarter-hours."""

import numpy as np

import sites
import twin
from benchmarks.bare import network
from benchmarks.bench import Bench, Measured, Place, cpu
from benchmarks.site_year import operation
from twin.simulation.load_flow import LoadFlowStudy, network_load_flow
from twin.time_axes import QUARTER_HOUR

DAYS = 365


def ours(_place: Place, days: int = DAYS) -> Measured:
    """Study the network behind a run, with names, units and checks."""
    site, run = _run(days)
    network_load_flow(*_run(1))
    with cpu() as clock:
        found = network_load_flow(site, run)
    return Measured(
        value=clock.seconds,
        figures={
            "least_voltage": float(found["node_voltage"].min()),
            "greatest_loading": float(found["branch_loading"].max()),
            "loss_mwh": 0.25 * float(found["network_loss"].sum()),
            "import_mwh": 0.25 * float(found["connection_power"].sum()),
            "reactive_mvarh": 0.25 * float(found["connection_reactive_power"].sum()),
            "voltage_sum": float(found["node_voltage"].sum()),
        },
    )


def limit(_place: Place, days: int = DAYS) -> Measured:
    """Call power-grid-model bare with what the machines draw."""
    site, run = _run(days)
    study = LoadFlowStudy.of(site, run)
    flows = network.Network(study.wiring, study.is_closed)
    flows.solve(study.active[:96], study.reactive[:96])
    with cpu() as clock:
        voltage, loading, loss, power, reactive = flows.solve(study.active, study.reactive)
    return Measured(
        value=clock.seconds,
        figures={
            "least_voltage": float(voltage.min()),
            "greatest_loading": float(loading.max()),
            "loss_mwh": 0.25 * float(loss.sum()),
            "import_mwh": 0.25 * float(power.sum()),
            "reactive_mvarh": 0.25 * float(reactive.sum()),
            "voltage_sum": float(voltage.sum()),
        },
    )


def _run(days: int):
    """Return rhine and a run of it, which is not part of the measure."""
    site = sites.load_site("rhine")
    orders = operation(site, days, step=QUARTER_HOUR)
    return site, twin.simulate(
        site, twin.initial_state(site, np.datetime64("2026-01-01", "us")), orders
    )


BENCH = Bench(
    name="twin.load_flow_year",
    unit="s of CPU",
    ours=ours,
    limit=limit,
    note="rhine's network, 35,040 load flows to 1e-9; the limit is power-grid-model called bare",
)
