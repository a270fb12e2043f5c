"""The cheapest safe set points: each rule by hand."""

import numpy as np
import pytest

import sites
from tests.support.setpoint_weather import heat_of, ruled, sky
from twin.equipment import CduBank, CoolingPlant, HeatReuse, ITHall
from twin.relations import SetPoints
from twin.simulation.setpoint_search import (
    HeatLoadRange,
    SetPointOptions,
    cheapest_set_points,
    max_supply_temperature_n_minus_1,
)
from twin.simulation.setpoints import minimum_flows


def test_minimum_flows_by_hand():
    # four pumps at 0.4 of the rated flow: one trips, and three leave 0.3, the vendor's minimum
    site = sites.load_site("frontier")
    assert minimum_flows(site)["warm_plant"] == pytest.approx(0.4)
    # 25 CDUs that never turn their flow down cannot do more than that
    assert minimum_flows(site)["cdu_1"] == 1.0
    jupiter = sites.load_site("jupiter")  # 125 exchangers at 0.5: 0.5 x 125 / 124
    assert minimum_flows(jupiter)["cdu_1"] == pytest.approx(0.504032, rel=1e-5)


def test_flow_of_a_single_cdu_is_never_reduced():
    site = sites.load_site("frontier").with_parameters(
        "cdu_1", count=1, rated_heat=30.0, minimum_flow=0.4
    )
    assert minimum_flows(site)["cdu_1"] == 1.0


def test_warmest_water_by_hand():
    """34 degC allowed, less 1 K of the plans' margin and 1 K of reserve.

    On a hot day at full load each kelvin saves fans, so the warmest is taken.
    """
    site = sites.load_site("frontier")
    found = cheapest_set_points(site, heat_of(site), sky(air=36.0, wet=27.0))
    assert found.supply_temperature["warm_plant"][-1] == pytest.approx(32.0)


def test_chip_limit_bounds_water_temperature():
    """Chips of 60 degC at most leave less than 34 degC: each kelvin there is one here."""
    site = sites.load_site("frontier")
    cooler = [
        cheapest_set_points(
            site.with_parameters("hall_1", chip_temperature_limit=limit),
            heat_of(site),
            sky(air=36.0, wet=27.0),
            options=SetPointOptions(may_choose_flow=False),
        ).supply_temperature["warm_plant"][-1]
        for limit in (50.0, 48.0)
    ]
    assert cooler[0] < 32.0
    assert cooler[0] - cooler[1] == pytest.approx(2.0)


def without_one(site, heat):
    """Return the warmest water that the loss of a CDU lets be, at the declared ranges."""
    plant = next(plant for plant in site.machines_of(CoolingPlant) if plant.serves == "warm")
    (bank,) = site.machines_of(CduBank)
    points = SetPoints(
        temperature_range={plant.name: np.full(1, plant.temperature_range)},
        technology_range={bank.name: np.full(1, bank.technology_range)},
        minimum_flow=minimum_flows(site),
    )
    return max_supply_temperature_n_minus_1(
        site, plant, bank, heat=np.array([heat]), set_points=points
    ).item()


def test_water_stays_cold_enough_for_a_cdu_trip_by_hand():
    # 3 CDUs never pump less than 0.75; without one 0.5 flows through the plates. Without heat the
    # coolant is the water, and chips slow down 2 K below 80 degC, the margin before that
    site = sites.load_site("small")
    (bank,) = site.machines_of(CduBank)
    bank = bank.model_copy(update={"pump_power": 0.0})  # whose heat is another
    site = site.with_equipment({**site.equipment, bank.name: bank})
    hall = site.machines_of(ITHall)[0]
    rise = float(hall.chip_temperature(hall.rack_power, 0.0, flow_share=0.5))
    expected = 80.0 - 2.0 - site.margins.temperature - rise
    assert without_one(site, 0.0) == pytest.approx(expected, abs=1e-9)
    assert without_one(site, 1.5) < without_one(site, 0.7) < expected
    alone = bank.model_copy(update={"count": 1})
    assert without_one(site.with_equipment({**site.equipment, bank.name: alone}), 1.5) == np.inf


def test_dew_point_is_a_lower_bound_of_the_water():
    """26 degC in the halls and 2 K above: the coolant is not let below 28 degC, at any heat."""
    site = ruled(
        sites.load_site("frontier").with_parameters("warm_plant", supply_temperature=20.0),
        hall_dew_point="26 degC",
    )
    heat = heat_of(site)
    found = cheapest_set_points(site, heat, sky(air=0.0, wet=-1.0))
    (cdu,), (plant, _) = site.machines_of(CduBank), site.machines_of(CoolingPlant)
    water = plant.consumer_flow(
        heat.expected[cdu.name],
        rated_heat=cdu.rated_heat_total,
        rated_range=cdu.facility_range,
        set_points=found,
    )
    coolant = cdu.technology_supply_temperature(
        heat.expected[cdu.name],
        found.supply_temperature["warm_plant"],
        set_points=found,
        facility_flow=water,
    )
    assert coolant.min() > 28.0 - 1e-9
    assert found.supply_temperature["warm_plant"].min() < 28.0  # the approach helps


def test_temperature_alone_orders_no_flow():
    site = sites.load_site("frontier")
    found = cheapest_set_points(
        site, heat_of(site), sky(), options=SetPointOptions(may_choose_flow=False)
    )
    assert set(found.supply_temperature) == {"warm_plant", "chilled_plant"}
    assert (found.temperature_range, found.technology_range, found.minimum_flow) == ({}, {}, {})


def test_temperature_alone_relies_on_the_units_minimum_flow():
    """Proves: without heat, 66 degC less 30.46 K at 0.5 of the flow and 5 or so kept: 30.5.

    Sensitivity: 3 K warmer with 0.75 of the flow, which only a plant with ordered ranges keeps.
    """
    site = sites.load_site("small").with_parameters("hall_1", chip_temperature_limit=66.0)
    (bank,), hall = site.machines_of(CduBank), site.machines_of(ITHall)[0]
    bank = bank.model_copy(update={"pump_power": 0.0})  # whose heat is another
    site = site.with_equipment({**site.equipment, bank.name: bank})
    heat = heat_of(site)
    calm = HeatLoadRange.certain({name: 0.0 * load for name, load in heat.expected.items()})
    found = cheapest_set_points(
        site, calm, sky(air=36.0, wet=27.0), options=SetPointOptions(may_choose_flow=False)
    )
    rise = float(hall.chip_temperature(hall.rack_power, 0.0, flow_share=0.5))
    rules = site.set_points
    kept = site.margins.temperature + rules.reserve + rules.chip_spread
    assert rise == pytest.approx(30.46, abs=0.01)
    assert found.supply_temperature["warm_plant"] == pytest.approx(66.0 - kept - rise)


def test_flow_alone_never_raises_water_temperature():
    site = sites.load_site("frontier")
    found = cheapest_set_points(
        site, heat_of(site), sky(), options=SetPointOptions(may_choose_temperature=False)
    )
    assert found.supply_temperature["warm_plant"].max() <= 30.0


def test_heat_pump_source_stays_warm():
    """The pump counts on the declared range: less flow is chosen, more is not."""
    site = sites.load_site("lumi")
    assert site.machines_of(HeatReuse)
    found = cheapest_set_points(site, heat_of(site), sky())
    assert found.temperature_range["warm_plant"].min() >= 10.0 - 1e-9


def test_chips_bound_the_water_of_their_circuit_by_hand():
    """Proves: chips that air cools bound the chilled water and leave the warm one alone.

    1 W a chip and 20 K/W: 20 K over air of at most 45 - 0.5 - 0.5 - 20 - 2. Sensitivity: the inlet
    limit, 25 - 1, where they are left out.
    """
    site = ruled(sites.load_site("small"), reserve="0.5 K", chip_spread="2 K")
    hall = site.machines_of(ITHall)[1]
    watts = float(hall.accelerator_power(hall.rack_power)) * 1e6
    airy = {"liquid_share": 0.0, "chip_flow": 0.0, "chip_temperature_limit": 45.0}
    changed = hall.with_values(**airy, air_resistance=20.0 / watts)
    mixed = site.with_equipment({**site.equipment, hall.name: changed})
    hot = sky(air=36.0, wet=27.0)
    found, plain = (
        cheapest_set_points(s, heat_of(s), hot).supply_temperature for s in (mixed, site)
    )
    assert found["warm_plant"] == pytest.approx(plain["warm_plant"])
    above = plain["chilled_plant"][-1] - 24.0  # of the water beside the air: what the inlet leaves
    assert found["chilled_plant"][-1] == pytest.approx(22.0 + above, abs=1e-6)
