"""Racks, CDUs and chips of a run: they sum to it, and every view agrees."""

import math

import numpy as np
import pytest
import xarray as xr

import sites
from tests.support.runs import steady
from twin import time_axes, variables
from twin.equipment import CduBank, ITHall
from twin.errors import StateError
from twin.racks import rack_series, view
from twin.racks.kernels import vectorised_rack_kernel
from twin.racks.view import block_steps, view_blocks
from twin.simulation import state
from twin.simulation.simulate import simulate, simulate_in_chunks

MINUTE = np.timedelta64(1, "m")
HOUR = slice("2026-07-01T09:00", "2026-07-01T10:00")


@pytest.fixture(scope="module")
def site():
    return sites.load_site("small")


def restless(site, count=96):
    """Return a day with halls that swing between a fifth and all of their power."""
    operation = steady(site, count=count)
    share = 0.6 + 0.4 * np.sin(np.arange(count) / 3.0)
    full = np.array([hall.full_power for hall in site.machines_of(ITHall)])
    operation["hall_power"].values[:] = share[:, None] * full
    return operation


@pytest.fixture(scope="module")
def day(site):
    return simulate(site, state.initial_state(site), restless(site))


def same(left, right, kelvin=1e-4):
    """Assert that two views are one: to the float32 they are kept in."""
    assert left.data_vars
    assert set(left.data_vars) == set(right.data_vars)
    for name in left.data_vars:
        if name != "closure":
            np.testing.assert_allclose(
                left[name], right[name], rtol=2e-6, atol=kelvin, err_msg=str(name)
            )
    np.testing.assert_array_equal(left["time"], right["time"])


def test_racks_sum_to_their_halls(site, day):
    racks = view.view(site, day, level="rack")
    summed = racks["rack_power"].groupby("hall").sum("rack")
    inside = day["hall_power"].reindex(time=racks["time"], method="ffill")
    np.testing.assert_allclose(summed, inside.transpose("time", "hall"), rtol=1e-5)
    assert float(racks["rack_power"].std("rack").mean()) > 1e-3  # and they are not all alike


def test_cdus_take_the_heat_of_their_racks(site, day):
    racks = view.view(site, day, level="rack")
    liquid = racks["rack_power"] * site.machines_of(ITHall)[0].liquid_share
    summed = liquid.groupby("serving").sum("rack").rename(serving="unit")
    np.testing.assert_allclose(racks["cdu_output"], summed.transpose("time", "unit"), rtol=1e-5)


def test_heat_is_conserved(site, day):
    racks = view.view(site, day, level="rack")
    assert float(racks["closure"].max()) < 1e-6
    gained = racks["cdu_output"] + racks["cdu_pump_power"]
    gone = racks["cdu_passed_heat"] + racks["cdu_kept_heat"]
    np.testing.assert_allclose(gone, gained, rtol=1e-6)


def test_cdus_in_steady_state_equal_the_bank(site):
    """Where all racks of a hall are equally busy, the view is the run."""
    run = simulate(site, state.initial_state(site), steady(site, count=8, share=1.0))
    racks = view.view(site, run, level="rack").isel(time=-1)
    bank = run.isel(time=-1)
    supply = float(bank["technology_supply_temperature"].squeeze())
    # its racks are spread unevenly over units, so the mean of what bends is not quite the bank's
    assert float(racks["technology_supply_temperature"].mean()) == pytest.approx(supply, abs=0.05)
    assert float(racks["cdu_output"].sum()) == pytest.approx(
        float(bank["cdu_output"].squeeze()), rel=1e-6
    )
    assert float(racks["cdu_passed_heat"].sum()) == pytest.approx(
        float(racks["cdu_output"].sum() + racks["cdu_pump_power"].sum()), rel=1e-6
    )
    hottest = bank["chip_temperature"].to_numpy().max()  # of a rack at full power, as these are
    assert float(racks["chip_temperature"].mean()) == pytest.approx(hottest, abs=0.05)


def test_rack_temperature_follows_its_flow(site):
    # at rest the coolant warms by heat over capacity rate: technology_range where the flow follows
    run = simulate(site, state.initial_state(site), steady(site, count=8, share=1.0))
    racks = view.view(site, run, level="rack").isel(time=-1)
    bank = site.machines_of(CduBank)[0]
    mean = racks["rack_return_temperature"].groupby("serving").mean().rename(serving="unit")
    warming = mean - racks["technology_supply_temperature"]
    carried = racks["cdu_output"] + racks["cdu_pump_power"]
    rate = carried / bank.technology_range
    np.testing.assert_allclose(warming, racks["cdu_output"] / rate, rtol=1e-3)


def test_hour_of_a_year_equals_that_hour_of_the_whole(site):
    start = time_axes.to_utc("2026-01-01")
    operation = restless(site, count=365 * 24)
    grid = time_axes.regular_axes(start, 365 * 24, np.timedelta64(1, "h"))
    year = simulate(site, state.initial_state(site, start), operation.assign_coords(grid.coords))
    hour = slice("2026-11-05T07:00", "2026-11-05T08:00")
    alone = view.view(site, year, level="rack", time=hour)
    whole = view.view(site, year, level="rack")
    assert whole["rack_power"].chunks is not None  # larger than a block, hence in dask
    assert whole.sizes["time"] == 365 * 1440
    part = whole.sel(time=slice("2026-11-05T07:00", "2026-11-05T07:59"))
    same(part.compute(), alone)


@pytest.mark.parametrize("level", ["rack", "chip"])
def test_dask_blocks_equal_the_whole(site, day, level, monkeypatch):
    window = day.isel(time=slice(30, 38), instant=slice(30, 39))
    step = MINUTE if level == "rack" else np.timedelta64(30, "s")
    whole = view.view(site, window, level=level, step=step)
    assert isinstance(whole[f"{level}_power"].data, np.ndarray)
    monkeypatch.setattr(view, "BLOCK_BYTES", 1.0)  # a block has 60 steps then
    assert block_steps(site, level) == 60
    lazy = view.view(site, window, level=level, step=step)
    assert len(lazy[f"{level}_power"].chunks[0]) == whole.sizes["time"] // 60
    parts = list(view_blocks(site, [window], level=level, step=step))
    assert [part.sizes["time"] for part in parts] == [60] * (whole.sizes["time"] // 60)
    same(lazy.compute(), whole)
    same(xr.concat([part.drop_vars("instant") for part in parts], "time"), whole)


def test_blocks_continue_from_the_previous_one(site, monkeypatch):
    monkeypatch.setattr(view, "BLOCK_BYTES", 1.0)
    runs = list(
        simulate_in_chunks(site, state.initial_state(site), restless(site, count=16), chunk_size=8)
    )
    whole = list(view_blocks(site, runs))
    done = whole[1]["time"].to_numpy()[-1] + MINUTE
    again = list(view_blocks(site, runs, skip_until=done))
    assert len(again) == len(whole) - 2
    for left, right in zip(again, whole[2:], strict=True):
        same(left, right, kelvin=1e-3)


@pytest.mark.parametrize("level", ["rack", "chip"])
def test_view_without_numba_is_the_same(site, day, level, monkeypatch):
    step, span = np.timedelta64(30, "s"), slice("2026-07-01T09:00", "2026-07-01T10:00")
    compiled = view.view(site, day, level=level, time=span, step=step)
    monkeypatch.setattr(rack_series, "fastest_rack_kernel", lambda: vectorised_rack_kernel)
    same(view.view(site, day, level=level, time=span, step=step), compiled)


def test_chips_share_the_power_of_their_rack(site, day):
    step = np.timedelta64(10, "s")
    half = slice("2026-07-01T09:00", "2026-07-01T09:30")
    racks = view.view(site, day, level="rack", time=half, step=step)
    every = view.view(site, day, level="chip", time=half, step=step)
    assert every["chip_power"].shape == (180, 28, 72)
    hall = site.machines_of(ITHall)[0]
    alone = hall.accelerator_power(racks["rack_power"].to_numpy().astype(float))
    np.testing.assert_allclose(every["chip_power"].mean("chip"), alone, rtol=1e-5)
    # far from the quarter's edge they stand where the rack's own do
    late = dict(time=slice(60, 89))
    mean = every["chip_temperature"].isel(late).mean("chip")
    np.testing.assert_allclose(mean, racks["chip_temperature"].isel(late), atol=0.02)
    spread = (every["chip_power"] / every["chip_power"].mean("chip")).std()
    assert float(spread) == pytest.approx(rack_series.CHIP_POWER_STD, rel=0.1)


def test_chip_follows_a_step_with_its_time_constant(site):
    """A jump of the hall is met by 1 - 1/e of its effect after one time constant."""
    operation = steady(site, count=8, share=0.4)
    operation["hall_power"].values[4:] *= 2.0
    run = simulate(site, state.initial_state(site), operation)
    around = slice("2026-07-01T00:59:50", "2026-07-01T01:00:10")
    found = view.view(site, run, level="chip", time=around).isel(rack=0, chip=0)
    coolant = view.view(site, run, level="rack", time=around, step=np.timedelta64(1, "s"))
    supply = coolant["technology_supply_temperature"].isel(unit=0)
    above = (found["chip_temperature"] - supply.to_numpy()).to_numpy()
    before, after = above[9], above[19]
    assert after - before > 5.0
    expected = before + (after - before) * -math.expm1(-2.0 / rack_series.PLATE_TIME_CONSTANT_S)
    assert above[11] == pytest.approx(expected, abs=0.3)  # two steps of a second after the jump


def test_site_and_hall_views_equal_the_run(site, day):
    xr.testing.assert_identical(view.view(site, day, level="site"), day)
    halls = view.view(site, day, level="hall", time=HOUR)
    assert halls.sizes["time"] == 4
    assert {"hall_power", "chip_temperature"} <= set(halls.data_vars)
    assert "grid_import_power" not in halls
    xr.testing.assert_equal(halls["hall_power"], day["hall_power"].sel(time=halls["time"]))


@pytest.mark.parametrize("level", ["rack", "chip"])
def test_all_variables_are_tagged(site, day, level):
    found = view.view(site, day, level=level, time=HOUR, step=MINUTE)
    variables.check_variables(found, *(str(name) for name in found.data_vars))
    assert found["rack"].to_numpy()[0] == "hall_1/r0001"
    np.testing.assert_allclose(found["duration"], 1.0 / 60.0)


REFUSED = [
    ({"level": "row"}, "one of site, hall, rack, chip"),
    ({"level": "rack", "time": slice("2026-06-30", None)}, "out-of-range"),
    ({"level": "rack", "time": slice("2026-07-01T10", "2026-07-01T09")}, "out-of-range"),
    ({"level": "rack", "step": np.timedelta64(7, "m")}, "out-of-range"),
    ({"level": "chip", "step": np.timedelta64(0, "s")}, "out-of-range"),
]


@pytest.mark.parametrize(("words", "remedy"), REFUSED)
def test_invalid_views_are_refused(site, day, words, remedy):
    with pytest.raises(StateError, match=remedy):
        view.view(site, day, **words)


def test_run_with_missing_values_is_refused(site, day):
    broken = day.copy(deep=True)
    broken["hall_power"].values[5] = np.nan
    with pytest.raises(StateError, match="hall_power"):
        view.view(site, broken, level="rack")


def test_air_cooled_site_is_refused(site, day):
    airy = {"chip_flow": 0.0, "air_resistance": 0.02, "liquid_share": 0.0}
    halls = {hall.name: hall.model_copy(update=airy) for hall in site.machines_of(ITHall)}
    with pytest.raises(StateError, match="unsupported"):
        view.view(site.with_equipment(dict(site.equipment) | halls), day, level="rack")


def test_site_with_fewer_racks_than_cdus_is_refused(site, day):
    bank = site.machines_of(CduBank)[0].model_copy(update={"count": 99})
    with pytest.raises(StateError, match="unsupported"):
        view.view(site.with_equipment(dict(site.equipment) | {"cdu_1": bank}), day, level="rack")


def test_chips_of_unequal_racks_are_refused(site, day):
    other = site.machines_of(ITHall)[1].model_copy(update={"chips_per_rack": 8})
    unlike = site.with_equipment(dict(site.equipment) | {other.name: other})
    with pytest.raises(StateError, match="unsupported"):
        view.view(unlike, day, level="chip", time=HOUR)


def test_large_view_without_dask_is_refused_with_a_remedy(site, day, monkeypatch):
    monkeypatch.setattr(view, "BLOCK_BYTES", 1.0)
    monkeypatch.setitem(__import__("sys").modules, "dask.array", None)
    with pytest.raises(StateError, match="install dask"):
        view.view(site, day, level="rack")


@pytest.mark.parametrize("level", ["rack", "chip"])
def test_a_block_of_a_large_site_is_small(level):
    """However long a run is, no more than a block of it is held."""
    rhine = sites.load_site("rhine")
    run = simulate(rhine, state.initial_state(rhine), steady(rhine, count=400))
    views = view_blocks(rhine, [run], level=level)
    for block in (next(views), next(views)):
        held = sum(values.nbytes for values in block.data_vars.values())
        assert block.sizes["time"] == block_steps(rhine, level)
        assert held <= 1.05 * view.BLOCK_BYTES
    width = 2 * 100_080 if level == "chip" else 3 * 1390 + 10 * 140  # numbers of four bytes a step
    assert held == pytest.approx(4 * width * block_steps(rhine, level), rel=0.01)


def test_short_first_interval_is_supported(site):
    """Proves: 10 min, then quarter-hours: each scale has them all, and a part what touches it."""
    grid = time_axes.horizon_axes(time_axes.to_utc("2026-06-16T12:05"), [(70 / 60, 15)])
    run = simulate(
        site,
        state.initial_state(site, "2026-06-16T12:05"),
        steady(site, count=grid.sizes["time"]).assign_coords(grid.coords),
    )
    for level in ("site", "hall"):
        assert view.view(site, run, level=level).sizes["time"] == grid.sizes["time"] == 5
        part = view.view(site, run, level=level, time=slice("2026-06-16T12:10", "2026-06-16T12:16"))
        assert part["time"].to_numpy().tolist() == run["time"].to_numpy()[:2].tolist()
    racks = view.view(site, run, level="rack")
    assert racks.sizes["time"] == 70


def test_half_second_steps_end_at_the_right_time(site):
    """Proves: two minutes of half seconds are viewed again, to their last edge."""
    run = simulate(site, state.initial_state(site), steady(site, count=2, minutes=1))
    fine = view.view(site, run, level="rack", step=np.timedelta64(500, "ms"))
    assert time_axes.interval_edges(fine)[-1] == time_axes.interval_edges(run)[-1]
    part = view.view(site, fine, level="rack", time=slice("2026-07-01T00:01:59", None))
    assert part.sizes["time"] == 2
