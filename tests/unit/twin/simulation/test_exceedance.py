"""Limit violations of a run, in the units of the limits."""

import numpy as np
import pytest

import sites
from tests.support.runs import steady
from twin.simulation import state
from twin.simulation.operating_limits import limit_excess, limit_violations
from twin.simulation.simulate import simulate


def ran(**weather):
    site = sites.load_site("small")
    return site, simulate(site, state.initial_state(site), steady(site, **weather))


def test_a_mild_day_keeps_every_limit():
    site, run = ran(air=12.0)
    distance = limit_excess(site, run)
    assert not distance.to_numpy().any()
    assert not list(limit_violations(site, distance))


def test_hot_day_is_reported_with_limit_value_and_time():
    """Proves: the dry coolers' water is warmer than air of 55 degC, and 45 degC is its limit."""
    site, run = ran(air=55.0, share=1.0)
    violations = {one.limit: one for one in limit_violations(site, limit_excess(site, run))}
    water = violations["facility_supply_temperature of warm_plant"]
    reached = run["facility_supply_temperature"].sel(circuit="warm_plant").to_numpy()
    assert water.farthest_value == pytest.approx(reached[1:].max())
    assert (water.limit_value, water.unit, water.interval_count) == (45.0, "degC", 8)
    assert water.violated_interval_count == (reached[1:] > 45.05).sum()
    assert water.time == run["time"].to_numpy()[np.argmax(reached[1:] > 45.05)]


def test_value_below_a_lower_limit_is_reported():
    site, run = ran()
    run["battery_level"] = 0.0 * run["battery_level"]
    (violation,) = limit_violations(site, limit_excess(site, run))
    assert violation.limit == "battery_level of battery_1"
    assert (violation.farthest_value, violation.violated_interval_count) == (0.0, 8)
    assert violation.limit_value > 0.0


def test_coolant_below_the_dew_point_is_reported():
    """Proves: coolant of water at 8 degC is colder than 2 K above a dew point of 15 degC."""
    site = sites.load_site("small").with_parameters("warm_plant", supply_temperature="8 degC")
    run = simulate(site, state.initial_state(site), steady(site, air=-5.0, share=0.2))
    (violation,) = limit_violations(site, limit_excess(site, run))
    coolant = run["technology_supply_temperature"].to_numpy()
    assert violation.limit == "technology_supply_temperature of cdu_1"
    assert (violation.limit_value, violation.violated_interval_count) == (17.0, 8)
    assert violation.farthest_value == pytest.approx(coolant.min())
    assert 8.0 < violation.farthest_value < 12.0
