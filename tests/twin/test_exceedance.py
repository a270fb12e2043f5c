"""How far a run lies beyond its limits, in the limits' own units."""

import numpy as np
import pytest

import sites
from tests.runs import steady
from twin.simulation import state
from twin.simulation.limits import limit_excess, run_violations
from twin.simulation.simulate import simulate


def ran(**weather):
    site = sites.load_site("small")
    return site, simulate(site, state.initial_state(site), steady(site, **weather))


def test_a_mild_day_keeps_every_limit():
    site, run = ran(air=12.0)
    distance = limit_excess(site, run)
    assert not distance.to_numpy().any()
    assert not list(run_violations(site, distance))


def test_a_day_too_hot_is_told_with_limit_value_and_time():
    """Proves: the dry coolers' water is warmer than air of 55 degC, and 45 degC is its limit."""
    site, run = ran(air=55.0, share=1.0)
    told = {one.limit: one for one in run_violations(site, limit_excess(site, run))}
    water = told["facility_supply_temperature of warm_plant"]
    reached = run["facility_supply_temperature"].sel(circuit="warm_plant").to_numpy()
    assert water.reached == pytest.approx(reached[1:].max())
    assert (water.bound, water.unit, water.interval_count) == (45.0, "degC", 8)
    assert water.count == (reached[1:] > 45.05).sum()
    assert water.first == run["time"].to_numpy()[np.argmax(reached[1:] > 45.05)]


def test_what_lies_below_its_limit_is_told_too():
    site, run = ran()
    run["battery_level"] = 0.0 * run["battery_level"]
    (told,) = run_violations(site, limit_excess(site, run))
    assert told.limit == "battery_level of battery_1"
    assert (told.reached, told.count) == (0.0, 8)
    assert told.bound > 0.0


def test_coolant_on_which_the_air_of_halls_condenses_is_told():
    """Proves: coolant of water at 8 degC is colder than 2 K above a dew point of 15 degC."""
    site = sites.load_site("small").with_parameters("warm_plant", supply_temperature="8 degC")
    run = simulate(site, state.initial_state(site), steady(site, air=-5.0, share=0.2))
    (told,) = run_violations(site, limit_excess(site, run))
    coolant = run["technology_supply_temperature"].to_numpy()
    assert told.limit == "technology_supply_temperature of cdu_1"
    assert (told.bound, told.count) == (17.0, 8)
    assert told.reached == pytest.approx(coolant.min())
    assert 8.0 < told.reached < 12.0
