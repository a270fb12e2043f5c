"""Inputs of a simulated plant, and the evaluation of its run."""

import json
from collections import Counter

import pytest
import xarray as xr

import sites
from optimizer.backtesting.case import synthetic_case
from optimizer.demo.plant_run import build_plant_scenario, settle_run, write_run
from telemetry.simulator.cluster import SimulatedScheduler
from telemetry.simulator.plant import SimulatedFacility
from telemetry.simulator.site import SimulationResult
from twin.workload.queue import hall_powers

STEPS = 6
SEED = 2
WAYS = ("charge", "discharge")


@pytest.fixture(scope="module")
def setting():
    return synthetic_case(sites.load_site("small"), steps=STEPS)


@pytest.fixture(scope="module")
def outcome(setting):
    """Return the run of an idle site without orders."""
    site, scene = setting.site, build_plant_scenario(setting, seed=SEED)
    plant = SimulatedFacility(site, scene.boundary_conditions, scene.initial_state, seed=SEED)
    cluster = SimulatedScheduler(site, scene.workload, start=plant.now)
    still = {(f"{s}_{way}", f"{s}_1"): 0.0 for s in ("battery", "tank") for way in WAYS}
    still |= {("renewable_used_power", name): 0.0 for name in ("solar_1", "wind_1")}
    for racks in scene.service_racks:
        cluster.advance(0.25, racks)
        halls = hall_powers(site, work_power=0.0, service_racks=racks)
        plant.run_with({("hall_power", hall): power for hall, power in halls.items()} | still)
    return SimulationResult(
        record=plant.record(),
        queue=cluster.queue,
        backlog_and_progress=tuple(cluster.steps),
        event_counts=Counter(batches=9),
    )


def test_inputs_are_as_long_as_the_run(setting):
    scene = build_plant_scenario(setting, seed=SEED)
    assert len(scene.service_racks) == STEPS
    assert scene.boundary_conditions.sizes["time"] == 15 * STEPS
    assert scene.workload.arrival_history.arrival.max() <= setting.inputs.end


def test_run_result_counts_violations_and_bills(setting, outcome):
    judgement = settle_run(setting, outcome, seed=SEED)
    summary = judgement.summary
    drawn = float(outcome.record["facility_power"].sum()) / 60.0
    assert summary.energy_mwh == pytest.approx(drawn)
    assert summary.violations == 0
    assert summary.work_done == pytest.approx(summary.work_left)
    assert judgement.event_counts["undecided"] == 0


def test_stopped_run_is_evaluated_to_its_end(setting, outcome):
    part = SimulationResult(
        record=outcome.record.isel(time=slice(0, 30), instant=slice(0, 31)),
        queue=outcome.queue,
        backlog_and_progress=outcome.backlog_and_progress[:2],
        event_counts=Counter(),
    )
    judgement = settle_run(setting, part, seed=SEED)
    assert judgement.as_json()["steps"] == 2
    assert judgement.trajectory["electricity_price"].notnull().all()


def test_run_result_is_written_completely(setting, outcome, tmp_path):
    write_run(tmp_path / "out", setting.site, settle_run(setting, outcome, seed=SEED))
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written["start"] == "2026-06-16T00:00Z"
    assert written["messages"] == {"batches": 9}
    assert written["violations"] == {}
    with xr.open_dataset(tmp_path / "out" / "plant.nc", engine="h5netcdf") as course:
        assert course.sizes["time"] == STEPS
        assert course.attrs["site"] == "small"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"result.json", "plant.nc"}
