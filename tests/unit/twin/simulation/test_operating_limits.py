"""Limits with their tolerances, and violations counted by the minute."""

import numpy as np
import pytest
import xarray as xr

import sites
from tests.support.runs import steady
from twin.errors import StateError
from twin.simulation import state
from twin.simulation.operating_limits import (
    OperatingLimit,
    count_violations,
    find_violation,
    operating_limits,
)
from twin.simulation.simulate import simulate


@pytest.fixture
def small():
    return sites.load_site("small")


@pytest.fixture
def record(small):
    """Return a quiet record of twenty minutes."""
    return simulate(small, state.initial_state(small), steady(small, count=20, minutes=1))


def run_of(name, *values, dim="time"):
    return xr.Dataset({name: (dim, np.array(values))})


def test_power_tolerance_is_a_thousandth():
    limit = OperatingLimit(variable="grid_import_power", upper=100.0, margin_kind="power")
    beyond = limit.excess_ratio(run_of("grid_import_power", 99.0, 100.1, 100.2))
    assert beyond == pytest.approx([-10.0, 1.0, 2.0])


def test_margin_lowers_the_limit():
    limit = OperatingLimit(variable="grid_import_power", upper=100.0, margin_kind="power")
    assert limit.excess_ratio(
        run_of("grid_import_power", 98.2), safety_margin=0.02
    ) == pytest.approx([2.0])


def test_temperature_tolerance_is_a_twentieth_kelvin():
    limit = OperatingLimit(
        variable="facility_supply_temperature", upper=42.0, margin_kind="temperature"
    )
    run = run_of("facility_supply_temperature", 50.0, 42.1, 41.1, dim="instant")
    assert limit.excess_ratio(run) == pytest.approx(
        [2.0, -18.0]
    )  # the first edge is given, not done
    assert limit.excess_ratio(run, safety_margin=1.0) == pytest.approx([22.0, 2.0])


def test_level_has_lower_and_upper_limit():
    limit = OperatingLimit(variable="battery_level", lower=2.0, upper=10.0, margin_kind="level")
    run = run_of("battery_level", 5.0, 1.98, 10.02, 6.0, dim="instant")
    assert limit.excess_ratio(run) == pytest.approx([2.0, 2.0, -400.0])


def test_transformer_limit_holds_for_reverse_flow(small):
    """Proves: as much export as it may carry and half of it more: 500 tolerances beyond."""
    (limit,) = (one for one in operating_limits(small) if one.variable == "transformer_loading")
    loading = np.array([[-1.0], [-1.5]])
    run = xr.Dataset(
        {limit.variable: (("time", limit.dimension), loading)}, {limit.dimension: [limit.owner]}
    )
    assert limit.excess_ratio(run) == pytest.approx([0.0, 500.0])


def test_rounding_is_no_violation_of_a_zero_export_limit():
    limit = OperatingLimit(variable="grid_export_power", upper=0.0, margin_kind="power")
    beyond = limit.excess_ratio(run_of("grid_export_power", 1e-9, 1e-3))
    assert beyond[0] < 1.0 < beyond[1]


def test_site_has_each_limit_once(small):
    names = [limit.name for limit in operating_limits(small)]
    assert len(set(names)) == len(names)
    assert set(names) == {
        "grid_import_power",
        "grid_export_power",
        "transformer_loading of transformer_1",
        "ups_loading of ups_1",
        "cdu_loading of cdu_1",
        "hall_air_loading of hall_air_1",
        "facility_supply_temperature of warm_plant",
        "facility_supply_temperature of chilled_plant",
        "full_load_chip_temperature of hall_1",
        "full_load_chip_temperature of hall_2",
        "hall_power of hall_1",
        "hall_power of hall_2",
        "rack_inlet_temperature of hall_air_1",
        "battery_level of battery_1",
        "tank_level of tank_1",
    }


def test_quiet_run_has_no_violation(small, record):
    assert int(count_violations(small, record).sum()) == 0


@pytest.mark.parametrize(
    ("name", "place", "value", "limit"),
    [
        ("grid_export_power", {}, 0.41, "grid_export_power"),
        ("ups_loading", {"ups": 0}, 1.01, "ups_loading of ups_1"),
        ("cdu_loading", {"cdu": 0}, 1.01, "cdu_loading of cdu_1"),
        ("hall_air_loading", {"hall_air": 0}, 1.36, "hall_air_loading of hall_air_1"),
        ("full_load_chip_temperature", {"hall": 1}, 80.2, "full_load_chip_temperature of hall_2"),
        ("hall_power", {"hall": 0}, 1.9, "hall_power of hall_1"),
        ("rack_inlet_temperature", {"hall_air": 0}, 25.2, "rack_inlet_temperature of hall_air_1"),
        ("ups_loading", {"ups": 0}, np.nan, "ups_loading of ups_1"),
    ],
)
def test_violations_are_counted_by_the_minute(small, record, name, place, value, limit):
    record[name][{"time": slice(4, 7), **place}] = value
    found = count_violations(small, record)
    counts = found.to_series()
    assert counts[limit] == 3
    assert found["first"].sel(limit=limit) == record["time"][4]
    assert np.isnat(found["first"].sel(limit="battery_level of battery_1"))
    if name != "grid_export_power":
        assert counts.sum() == 3


def test_levels_are_counted_at_the_ends_of_minutes(small, record):
    record["battery_level"][{"instant": slice(0, 3), "battery": 0}] = 0.3
    record["facility_supply_temperature"][{"instant": 20, "circuit": 1}] = 21.1
    counts = count_violations(small, record).to_series()
    assert counts["battery_level of battery_1"] == 2
    assert counts["facility_supply_temperature of chilled_plant"] == 1


def test_run_with_other_intervals_than_minutes_is_refused(small):
    """Proves: the course of a back-test, of quarter-hours, is not judged as if it were minutes."""
    course = simulate(small, state.initial_state(small), steady(small, count=4, minutes=15))
    with pytest.raises(StateError, match=r"record, 20\S+Z = 15 min: .* by the minute"):
        count_violations(small, course)


def test_import_step_violates_the_ramp_once(small, record):
    """Proves: on a connection of 0.2 MW/min, 0.21 MW is a leap and 0.19 MW is none."""
    record["grid_import_power"][10:] += 0.21
    record["grid_import_power"][20:] -= 0.19
    counts = count_violations(small, record).to_series()
    assert counts[counts > 0].to_dict() == {"ramp of grid_import_power": 1}


def test_import_step_ordered_by_the_grid_is_no_violation(small, record):
    """Proves: answers to the grid are exempt, up and down. Sensitivity: each counted twice."""
    spared = np.zeros(record.sizes["time"])
    spared[3:6], spared[10:15] = 0.5, -0.5
    record["grid_import_power"] -= xr.DataArray(spared, dims="time")
    assert count_violations(small, record).sel(limit="ramp of grid_import_power") == 4
    assert count_violations(small, record, called_reserve_power=spared).sum() == 0


def test_violation_states_unit_and_remedy():
    """Sensitivity: "worst 2.44 where 1 is allowed", without a unit or a remedy."""
    time = np.array(["2026-06-16T00:00"], dtype="datetime64[us]")
    (found,) = find_violation(
        "ramp", np.array([2.0]), time, allowed=0.2, unit="MW/min", remedy="raise ramp of grid_1"
    )
    assert str(found) == (
        "ramp: 1 interval from 2026-06-16T00:00Z, "
        "worst 0.4 MW/min where 0.2 MW/min is allowed; raise ramp of grid_1"
    )
    (counted,) = find_violation("chillers", np.array([2.0]), time, allowed=0.0, unit="chillers")
    assert str(counted).endswith("worst 2 chillers where none is allowed")
    assert find_violation("chillers", np.array([0.0]), time, allowed=0.0) == []


def test_operating_limits_name_the_unit_of_their_excess(small):
    units = {limit.variable: limit.unit for limit in operating_limits(small)}
    assert units["grid_import_power"] == "MW"
    assert units["battery_level"] == "MWh"
    assert units["facility_supply_temperature"] == "K"
