"""Samples on leading axes: one call, with the results of a call for each."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import sites
import twin
from twin import time_axes, variables
from twin.equipment import ITHall
from twin.errors import IssueCode, StateError
from twin.simulation.simulate import settled_state, simulate_in_chunks
from twin.simulation.state import check_state

START = np.datetime64("2026-06-01", "us")
SMALL, RHINE = sites.load_site("small"), sites.load_site("rhine")
QUARTERS = 24


def operation(site, *, samples, count=QUARTERS, seed=0):
    """Return an operation with other work, air and stores in each sample."""
    rng, halls = np.random.default_rng(seed), site.machines_of(ITHall)
    tank = [store for store in site.stores if site.equipment[store.owner].kind == "tank"]
    most = np.array([store.charge_limit for store in tank])
    is_charged = rng.random((samples, count, len(tank))) < 0.5
    moved = rng.random(is_charged.shape) * most
    full = np.array([hall.full_power for hall in halls])
    share = rng.uniform(0.4, 1.0, (samples, count, len(halls)))
    grid = time_axes.regular_axes(START, count, time_axes.QUARTER_HOUR)
    stores = ("sample", "time", "tank")
    return variables.tag_dataset(
        grid.assign_coords(
            sample=10 * np.arange(samples),
            hall=[hall.name for hall in halls],
            tank=[store.owner for store in tank],
        ).assign(
            hall_power=(("sample", "time", "hall"), share * full),
            air_temperature=(("time", "sample"), rng.uniform(5.0, 35.0, (count, samples))),
            relative_humidity=(("sample", "time"), rng.uniform(0.2, 0.9, (samples, count))),
            air_pressure=("time", np.full(count, 100.0)),
            tank_charge=(stores, np.where(is_charged, moved, 0.0)),
            tank_discharge=(stores, np.where(is_charged, 0.0, moved)),
        )
    )


def states(site, levels):
    """Return initial states of scenarios that differ in the level of the battery."""
    state = twin.initial_state(site, START)
    level = state["battery_level"] * xr.DataArray(levels, dims="scenario")
    return state.assign(battery_level=level.assign_attrs(state["battery_level"].attrs))


def assert_same(one, sample):
    """Compare a run with a sample of an ensemble, to a relative 1e-9."""
    assert set(one.data_vars) == set(sample.data_vars)
    for name, values in one.data_vars.items():
        np.testing.assert_allclose(sample[name], values, rtol=1e-9, atol=1e-9, err_msg=name)
        assert sample[name].dims == values.dims
        assert sample[name].attrs == values.attrs


@pytest.mark.parametrize("site", [SMALL, RHINE], ids=lambda site: site.name)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_call_gives_the_results_of_one_each(site, seed):
    orders, state = operation(site, samples=3, count=6, seed=seed), twin.initial_state(site, START)
    run = twin.simulate(site, state, orders)
    assert run["hall_power"].dims == ("sample", "time", "hall")
    for label in orders["sample"].to_numpy():
        alone = twin.simulate(site, state, orders.sel(sample=label, drop=True))
        assert_same(alone, run.sel(sample=label, drop=True))


def test_scenarios_of_states_and_samples_broadcast():
    orders, begin = operation(RHINE, samples=4), states(RHINE, [0.5, 1.0, 1.5])
    run = twin.simulate(RHINE, begin, orders)
    assert run["battery_level"].dims == ("scenario", "sample", "instant", "battery")
    assert run.sizes["scenario"] == 3
    alone = twin.simulate(RHINE, begin.isel(scenario=2), orders.sel(sample=30, drop=True))
    assert_same(alone, run.sel(scenario=2, sample=30, drop=True))


def test_many_samples_are_equal_to_few():
    """1,000 samples are more than the engine computes at once."""
    few = operation(SMALL, samples=10)
    many = few.isel(sample=np.tile(np.arange(10), 100)).assign_coords(sample=np.arange(1000))
    state = twin.initial_state(SMALL, START)
    run, whole = twin.simulate(SMALL, state, few), twin.simulate(SMALL, state, many)
    for first in (0, 500, 990):
        part = whole.isel(sample=slice(first, first + 10)).assign_coords(sample=few["sample"])
        assert_same(run, part)


def test_state_settles_for_the_load_of_each_sample():
    orders = operation(RHINE, samples=3)
    begin = settled_state(RHINE, orders)
    assert begin["cooling_plant_output"].dims == ("sample", "circuit")
    alone = settled_state(RHINE, orders.sel(sample=20, drop=True))
    np.testing.assert_allclose(
        begin["cooling_plant_output"].sel(sample=20), alone["cooling_plant_output"], rtol=1e-12
    )


def test_ensemble_in_chunks_of_time_is_the_ensemble():
    orders, state = operation(RHINE, samples=3), twin.initial_state(RHINE, START)
    run = twin.simulate(RHINE, state, orders)
    parts = list(simulate_in_chunks(RHINE, state, orders, chunk_size=10))
    assert sum(part.sizes["time"] for part in parts) == QUARTERS
    np.testing.assert_allclose(
        np.concatenate([part["facility_power"] for part in parts], axis=1), run["facility_power"]
    )


def test_states_and_operation_need_the_same_labels():
    orders = operation(SMALL, samples=2)
    state = states(SMALL, [0.5, 1.0, 1.5]).rename(scenario="sample")
    with pytest.raises(StateError) as caught:
        twin.simulate(SMALL, state, orders)
    assert [(i.code, i.location) for i in caught.value.issues] == [
        (IssueCode.WRONG_AXES, "state, sample")
    ]


@pytest.mark.parametrize(
    ("name", "wrong", "location"),
    [
        ("tank_charge", np.nan, "operation, tank_charge, tank_1, 20, 2026-06-01T00:15Z"),
        ("air_temperature", 99.0, "weather, air_temperature"),
        ("hall_power", 1e6, "operation, hall_power, hall_1"),
    ],
)
def test_wrong_value_of_one_sample_is_found(name, wrong, location):
    orders = operation(SMALL, samples=3).transpose("sample", "time", ...).copy(deep=True)
    orders[name][2, 1] = wrong
    with pytest.raises(StateError) as caught:
        twin.simulate(SMALL, twin.initial_state(SMALL, START), orders)
    assert location in [issue.location for issue in caught.value.issues]


def test_problem_takes_one_state_only():
    with pytest.raises(StateError) as caught:
        check_state(SMALL, states(SMALL, [0.5, 1.0]))
    assert [issue.location for issue in caught.value.issues] == ["state, battery_level"]


def test_dask_arrays_give_the_same_lazily():
    pytest.importorskip("dask.array")
    orders, begin = operation(RHINE, samples=4), states(RHINE, [0.5, 1.0])
    run = twin.simulate(RHINE, begin, orders)
    lazy = twin.simulate(RHINE, begin.chunk(scenario=1), orders.chunk(sample=2))
    assert lazy.chunksizes["sample"] == (2, 2)
    xr.testing.assert_identical(lazy.compute(scheduler="threads"), run)


@pytest.mark.slow
def test_workers_of_dask_give_the_same():
    distributed = pytest.importorskip("dask.distributed")
    orders, state = operation(RHINE, samples=8), twin.initial_state(RHINE, START)
    run = twin.simulate(RHINE, state, orders)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        xr.testing.assert_identical(
            twin.simulate(RHINE, state, orders.chunk(sample=2)).compute(), run
        )
