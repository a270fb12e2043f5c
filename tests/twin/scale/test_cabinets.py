"""Frontier's power from every chassis: the published numbers, and nonsense refused."""

import numpy as np
import pytest
import xarray as xr

import sites
from twin import time_axes
from twin.errors import StateError, UnitError
from twin.scale import cabinets


@pytest.fixture(scope="module")
def frontier():
    return sites.load_site("frontier")


def work(cpu, gpu, count=3):
    grid = time_axes.regular_axes(time_axes.to_utc("2026-07-01"), count, np.timedelta64(1, "s"))
    full = np.ones((count, 74, 8), np.float32)
    dims = ("time", "rack", "chassis")
    shares = {"cpu_share": cpu * full, "gpu_share": gpu * full}
    return grid.assign(
        {n: xr.DataArray(v, dims=dims, attrs={"units": "1"}) for n, v in shares.items()}
    )


@pytest.mark.parametrize(
    ("cpu", "gpu", "power"),
    [(0.0, 0.0, 7.3065), (0.33, 0.79, 22.9545), (1.0, 1.0, 28.2279)],
    ids=["idle", "HPL", "full"],
)
def test_frontier_draws_what_is_published(frontier, cpu, gpu, power):
    found = cabinets.follow(frontier, work(cpu, gpu))
    total = found["hall_power"].sum("hall") + found["cdu_pump_power"].sum("cdu")
    np.testing.assert_allclose(total, power, rtol=1e-4)  # 1e-3 is asked for
    np.testing.assert_allclose(found["rack_power"].sum("rack"), found["hall_power"][:, 0])


def test_every_chassis_counts_for_its_own_rack(frontier):
    chassis = frontier.equipment["hall_1"].chassis
    idle = work(0.0, 0.0)
    idle["cpu_share"].values[1, 5, 2] = 0.4
    idle["gpu_share"].values[1, 5, 2] = 0.9
    racks = cabinets.follow(frontier, idle)["rack_power"]
    rest, one = chassis.cabinet_power(0.0, 0.0), chassis.cabinet_power(0.4, 0.9)
    expected = np.full((3, 74), rest)
    expected[1, 5] += (one - rest) / 8
    np.testing.assert_allclose(racks, expected, rtol=1e-6)
    assert racks["rack"].to_numpy()[5] == "hall_1/r0006"


def spoilt(value):
    broken = work(0.5, 0.5)
    broken["gpu_share"].values[2, 3, 4] = value
    return broken


@pytest.mark.parametrize("value", [-0.1, 1.2, np.nan])
def test_shares_beyond_their_range_are_refused(frontier, value):
    with pytest.raises(StateError, match=r"gpu_share.*must be within 0 and 1"):
        cabinets.follow(frontier, spoilt(value))


def test_other_shapes_are_refused(frontier):
    with pytest.raises(StateError, match=r"give it on \(time, rack, chassis\)"):
        cabinets.follow(frontier, work(0.5, 0.5).isel(rack=slice(70)))
    with pytest.raises(UnitError):
        cabinets.follow(frontier, work(0.5, 0.5).drop_attrs())


def test_a_site_without_chassis_is_refused():
    with pytest.raises(StateError, match="halls have chassis"):
        cabinets.follow(sites.load_site("small"), work(0.5, 0.5))


def test_percentages_do_as_they_are(frontier):
    shares = work(0.33, 0.79)
    attrs = {"units": "1", "scale_factor": 0.01}
    percent = shares.assign(
        {name: (100.0 * shares[name]).round().astype("u1").assign_attrs(attrs) for name in shares}
    )
    packed, plain = (cabinets.follow(frontier, each) for each in (percent, shares))
    np.testing.assert_allclose(packed["rack_power"], plain["rack_power"], rtol=1e-6)
    percent["cpu_share"].values[0, 0, 0] = 101
    with pytest.raises(StateError, match=r"cpu_share.*0.33 to 1.01.*within 0 and 1"):
        cabinets.follow(frontier, percent)


def test_a_chassis_that_is_not_straight_is_followed_too(frontier, monkeypatch):
    chassis = frontier.equipment["hall_1"].chassis
    bent = type(chassis).cabinet_power
    monkeypatch.setattr(
        type(chassis), "cabinet_power", lambda self, x, y: bent(self, x, y) + 0.1 * x * y
    )
    found = cabinets.follow(frontier, work(0.5, 0.2))
    expected = bent(chassis, 0.5, 0.2) + 0.1 * 0.5 * 0.2
    np.testing.assert_allclose(found["rack_power"], expected, rtol=1e-6)
