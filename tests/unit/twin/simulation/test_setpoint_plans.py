"""Water set points in a plan: written, read back, rate-limited and verified, by hand."""

import numpy as np
import pytest
import xarray as xr

import sites
from tests.support.runs import steady
from twin.equipment import CoolingPlant
from twin.errors import StateError, UnitError
from twin.feasibility import consistency
from twin.relations import SetPoints
from twin.simulation import setpoints, state
from twin.simulation.simulate import simulate

QUARTERS = np.full(3, 0.25)


@pytest.fixture(scope="module")
def site():
    return sites.load_site("frontier")


def points(*temperatures):
    return SetPoints(supply_temperature={"warm_plant": np.array(temperatures)})


def calm(site, *temperatures, **present):
    found = setpoints.limit_supply_ramps(
        site, points(*temperatures), QUARTERS, current_supply=present
    )
    return found.supply_temperature["warm_plant"]


def test_rate_limit_by_hand(site):
    # 0.1 K/min is 1.5 K in a quarter-hour
    assert calm(site, 30.0, 34.0, 34.0) == pytest.approx([30.0, 31.5, 33.0])
    assert calm(site, 34.0, 34.0, 30.0) == pytest.approx([33.0, 31.5, 30.0])  # down in time
    assert calm(site, 30.0, 31.0, 32.0) == pytest.approx([30.0, 31.0, 32.0])


def test_rate_limited_supply_starts_from_its_present_value(site):
    """Proves: from 28 degC it is let rise 1.5 K a quarter-hour; warm water is cooled at once."""
    assert calm(site, 32.0, 32.0, 32.0, warm_plant=28.0) == pytest.approx([29.5, 31.0, 32.0])
    assert calm(site, 30.0, 30.0, 30.0, warm_plant=34.0) == pytest.approx([30.0, 30.0, 30.0])


def test_rate_limited_water_is_never_warmer_and_keeps_the_ramp(site):
    rng = np.random.default_rng(4)
    wild, hours = rng.uniform(25.0, 34.0, 50), rng.choice([0.25, 1.0], 50)
    found = setpoints.limit_supply_ramps(
        site, points(*wild), hours, current_supply={}
    ).supply_temperature["warm_plant"]
    assert (found <= wild + 1e-9).all()
    assert (np.abs(np.diff(found)) <= 6.0 * hours[1:] + 1e-9).all()


def test_set_points_survive_writing_and_reading(site):
    set_points = SetPoints(
        supply_temperature={"warm_plant": np.array([30.0, 31.0])},
        temperature_range={"warm_plant": np.array([16.0, 20.0])},
        technology_range={"cdu_1": np.array([14.0, 15.0])},
    )
    plan = xr.Dataset(setpoints.set_point_variables(set_points))
    found = setpoints.read_set_points(site, plan)
    assert set(found) == set(setpoints.set_point_dispatch(set_points))
    for key, values in setpoints.set_point_dispatch(set_points).items():
        np.testing.assert_array_equal(found[key], values)
    again = setpoints.collect_set_points(site, found)
    np.testing.assert_array_equal(again.technology_range["cdu_1"], [14.0, 15.0])
    assert again.minimum_flow["warm_plant"] == pytest.approx(0.4)
    assert setpoints.collect_set_points(site, {("hall_power", "hall_1"): QUARTERS}) is None


@pytest.mark.parametrize(
    ("word", "dim", "owner", "value", "pattern"),
    [
        ("facility_supply_set_point", "circuit", "warm_plan", 30.0, "unknown-name"),
        ("technology_range_set_point", "cdu", "warm_plant", 10.0, "unknown-name"),
        ("facility_range_set_point", "circuit", "warm_plant", 0.0, "out-of-range"),
        ("facility_supply_set_point", "circuit", "warm_plant", np.nan, "out-of-range"),
        ("facility_supply_set_point", "circuit", "warm_plant", 311.0, "from -30 to 110 degC"),
    ],
)
def test_invalid_set_points_are_refused_by_name(site, word, dim, owner, value, pattern):
    units = "degC" if "supply" in word else "K"
    array = xr.DataArray(
        [[value]], dims=("time", dim), coords={dim: [owner]}, attrs={"units": units}
    )
    with pytest.raises(StateError, match=pattern):
        setpoints.read_set_points(site, xr.Dataset({word: array}))


def test_supply_temperature_alone_changes_no_flow():
    """Proves: ordering the declared temperatures changes nothing, and without a range no flow.

    Sensitivity: at a tenth of the work CDUs of small would keep 0.75 of their flow for 0.5.
    """
    small = sites.load_site("small")
    plain = steady(small, share=0.1, count=2)
    declared = {p.name: np.full(2, p.supply_temperature) for p in small.machines_of(CoolingPlant)}
    steered = plain.assign(setpoints.set_point_variables(SetPoints(supply_temperature=declared)))
    one, other = (
        simulate(small, state.initial_state(small), operation) for operation in (plain, steered)
    )
    for name in ("cdu_pump_power", "chip_temperature", "grid_import_power"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-12)


def test_kelvin_is_refused_for_a_temperature(site):
    array = xr.DataArray(
        [[303.0]], dims=("time", "circuit"), coords={"circuit": ["warm_plant"]},
        attrs={"units": "K"},
    )  # fmt: skip
    with pytest.raises(UnitError):
        setpoints.read_set_points(site, xr.Dataset({"facility_supply_set_point": array}))


def planned(site, *temperatures):
    """Return a plan of quarter-hours with set points for the warm circuit."""
    plan = steady(site, air=8.0, count=len(temperatures))
    return plan.assign(setpoints.set_point_variables(points(*temperatures)))


def test_excessive_ramps_by_hand(site):
    # 1.5 K in a quarter-hour and 0.05 K of tolerance: 3.1 K is twice too fast
    slow, fast, first, cooled = (
        consistency.supply_ramp_ratio(site, plan, simulate(site, state.initial_state(site), plan))
        for plan in (
            planned(site, *temperatures)
            for temperatures in ((30.0, 31.5), (30.0, 33.1), (33.1,), (20.0,))
        )
    )
    assert first == pytest.approx([2.0])  # the water stands at 30 degC
    assert cooled == pytest.approx([0.0])
    assert slow == pytest.approx([0.0, 1.5 / 1.55])
    assert fast == pytest.approx([0.0, 2.0])


def test_simulation_follows_and_reports_the_dew_point_margin(site):
    """Water of 14 degC: the coolant comes a few kelvin above it, and 17 degC are asked for."""
    runs = {
        t: simulate(site, state.initial_state(site), planned(site, *[t] * 8)) for t in (14.0, 30.0)
    }
    for temperature, run in runs.items():
        supply = run["facility_supply_temperature"].sel(circuit="warm_plant")[-1]
        assert float(supply) == pytest.approx(temperature, abs=0.01)
    coolant = runs[14.0]["technology_supply_temperature"].isel(time=-1).item()
    found = consistency.dew_point_excess(site, runs[14.0])[-1]
    assert found == pytest.approx((17.0 - coolant) / 0.05)
    assert (consistency.dew_point_excess(site, runs[30.0]) < 0.0).all()
