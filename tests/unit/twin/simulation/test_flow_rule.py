"""Flow that racks need over the temperature of their coolant: search, simulation and checks."""

import numpy as np
import pytest

import sites
from sites.checks import site_issues
from tests.support.runs import steady
from tests.support.setpoint_weather import heat_of, sky
from twin import variables
from twin.equipment import CduBank, ITHall
from twin.simulation import state
from twin.simulation.operating_limits import limit_excess
from twin.simulation.setpoint_search import SetPointOptions, cheapest_set_points
from twin.simulation.simulate import simulate

PLAIN = sites.load_site("small").with_parameters("cdu_1", minimum_flow=0.3)  # else it binds
BANK = PLAIN.machines_of(CduBank)[0]
WARM = "warm_plant"
RULE = {"flow_temperature_points": (25.0, 45.0), "rack_flow_points": (65.0, 160.0)}


def with_rule(**changed):
    site = PLAIN
    for hall in PLAIN.machines_of(ITHall):
        site = site.with_parameters(hall.name, **(RULE | changed))
    return site


RULED = with_rule()
HALL = RULED.machines_of(ITHall)[0]


def coolant(site, found):
    """Return the coolant of a bank at the heat and set points of a search. [degC]"""
    bank, heat = site.machines_of(CduBank)[0], heat_of(site).expected[BANK.name]
    water = site.equipment[WARM].consumer_flow(
        heat,
        rated_heat=bank.rated_heat_total,
        rated_range=bank.facility_range,
        set_points=found,
    )
    return bank.technology_supply_temperature(
        heat, found.supply_temperature[WARM], set_points=found, facility_flow=water
    )


def test_search_keeps_the_flow_of_the_rule():
    """Proves: at the coolant of the chosen set points no range is wider than the rule allows.

    Sensitivity: without the rule the search chooses wider ranges, and warmer coolant.
    """
    plain, ruled = (
        cheapest_set_points(site, heat_of(site), sky(air=20.0)) for site in (PLAIN, RULED)
    )
    widest = HALL.widest_coolant_range(coolant(RULED, ruled), BANK.liquid)
    assert (ruled.technology_range[BANK.name] <= widest).all()
    assert (ruled.technology_range[BANK.name] >= BANK.technology_range).all()
    assert (ruled.technology_range[BANK.name] > BANK.technology_range + 0.1).any()
    free = HALL.widest_coolant_range(coolant(PLAIN, plain), BANK.liquid)
    assert (plain.technology_range[BANK.name] > free + 0.1).any()


@pytest.mark.parametrize("flow", [True, False])
def test_coolant_is_nowhere_warmer_than_the_pumps_allow(flow):
    """Proves: with 171 l/min a rack, and a rule of 175 at 43 degC, coolant stays below 42.4 degC.

    Sensitivity: without the rule it is warmer, also by less facility water than rated.
    """
    options = SetPointOptions(may_choose_flow=flow)
    site = with_rule(flow_temperature_points=(25.0, 43.0), rack_flow_points=(65.0, 175.0))
    warmest = site.machines_of(ITHall)[0].warmest_coolant(BANK.technology_range, BANK.liquid)
    assert 42.0 < warmest < 43.0
    ruled, plain = (
        coolant(one, cheapest_set_points(one, heat_of(one), sky(air=20.0), options=options))
        for one in (site, PLAIN)
    )
    assert (ruled <= warmest).all()
    assert (plain > warmest).any()


def ordered(site, supply, span):
    values = {
        "facility_supply_set_point": ("circuit", WARM, supply),
        "technology_range_set_point": ("cdu", BANK.name, span),
    }
    forcing = steady(site, count=4, share=1.0)
    for name, (dim, owner, value) in values.items():
        array = (forcing["duration"] * 0.0 + value).drop_vars("duration")
        array = array.expand_dims({dim: [owner]}, axis=-1)
        forcing[name] = variables.tag_variable(array, name)
    return simulate(site, state.initial_state(site), forcing)


def test_simulated_pumps_keep_the_flow_of_the_rule():
    """Proves: an ordered range of 14 K at 42 degC of coolant acts as the 11.77 K of the rule."""
    widest = float(HALL.widest_coolant_range(38.0 + BANK.approach, BANK.liquid))
    assert widest < 13.0
    wide, kept = ordered(RULED, 38.0, 14.0), ordered(PLAIN, 38.0, widest)
    for name in ("cdu_pump_power", "full_load_chip_temperature", "technology_supply_temperature"):
        np.testing.assert_allclose(wide[name], kept[name], rtol=1e-9)
    free = ordered(PLAIN, 38.0, 14.0)
    assert float(wide["cdu_pump_power"].sum()) > 1.2 * float(free["cdu_pump_power"].sum())


def test_coolant_that_needs_more_flow_than_declared_breaks_a_limit():
    site = with_rule(rack_flow_points=(65.0, 200.0))
    name = f"technology_supply_temperature of {BANK.name}"
    run = simulate(site, state.initial_state(site), steady(site, count=4, share=1.0))
    warmest = site.machines_of(ITHall)[0].warmest_coolant(BANK.technology_range, BANK.liquid)
    excess = limit_excess(site, run).sel(limit=name).to_numpy()
    expected = run["technology_supply_temperature"].to_numpy()[:, 0] - warmest
    assert expected[-1] > 0.5
    np.testing.assert_allclose(excess, np.where(expected > 0.05, expected, 0.0), atol=1e-9)


def test_declared_flow_below_the_rule_is_an_error():
    """Proves: the error names the range, what the rule allows, and the temperature."""
    site = with_rule(rack_flow_points=(65.0, 250.0))
    (issue, *_) = [one for one in site_issues(site) if "technology_range" in one.location]
    assert issue.found == "10 K"
    assert "the flow that hall_1 needs at" in issue.expected
    assert not [one for one in site_issues(RULED) if "technology_range" in one.location]
    short = with_rule(flow_temperature_points=(20.0, 30.0), rack_flow_points=(65.0, 160.0))
    assert any("flow_temperature_points" in one.location for one in site_issues(short))
