"""The cheapest safe set points: rules by hand, and laws that every site and sky has to keep."""

import itertools

import numpy as np
import pytest

import sites
from tests.random_sites import random_site
from twin.equipment import Accelerators, Cdu, CoolingPlant, HallAir, HeatReuse
from twin.equipment.heat_rejection import CoolingTower
from twin.relations import SetPoints
from twin.rules import SetPointRules
from twin.setpoints import Freedom, Heat, cheapest, least_flows
from twin.spare import warmest_without_one
from twin.weather import Weather

SHARES = np.array([0.25, 0.5, 0.8, 1.0])
"""Shares of the rated heat, one an interval."""

SITES = ["small", "rhine", "baltica", "frontier", "leonardo"]


def sky(air=20.0, wet=15.0, count=4):
    """Return steady weather."""
    return Weather(
        air_temperature=np.full(count, air),
        wet_bulb_temperature=np.full(count, wet),
        humidity_ratio=np.full(count, 0.008),
        air_pressure=np.full(count, 101.325),
    )


def heat_of(site, shares=SHARES):
    """Return a known heat: all machines at the same shares of their rating."""
    rated = {plant.name: plant.rated_cooling for plant in site.of(CoolingPlant)}
    rated |= {cdu.name: cdu.rated for cdu in site.of(Cdu)}
    rated |= {air.name: air.rated_heat for air in site.of(HallAir)}
    return Heat.steady({name: shares * most for name, most in rated.items()})


def ruled(site, **rules):
    """Return a site with other rules for its set points."""
    return site.model_copy(update={"set_points": SetPointRules.model_validate(rules)})


def cost(site, heat, weather, points):
    """Return electricity of plants and CDU pumps, and water as electricity. [MW]"""
    price = site.weights.water / site.set_points.electricity_price
    total = np.zeros(len(weather))
    for plant in site.of(CoolingPlant):
        load = heat.likely[plant.name]
        if plant.serves == "warm":
            for cdu in site.of(Cdu):
                liquid = heat.likely[cdu.name]
                total = total + cdu.pumping(liquid, points)
                load = load + cdu.pumping(liquid, points) - cdu.pumping(liquid)
        draws = plant.operate(np.maximum(load, 0.0), weather, points).draws
        total = total + draws["medium_voltage"] + price * draws["water"]
    return total


def test_least_flows_by_hand():
    # four pumps at 0.4 of the rated flow: one trips, and three leave 0.3, the vendor's minimum
    site = sites.load("frontier")
    assert least_flows(site)["warm_plant"] == pytest.approx(0.4)
    # 25 CDUs that never turn their flow down cannot do more than that
    assert least_flows(site)["cdu_1"] == 1.0
    jupiter = sites.load("jupiter")  # 125 exchangers at 0.5: 0.5 x 125 / 124
    assert least_flows(jupiter)["cdu_1"] == pytest.approx(0.504032, rel=1e-5)


def test_a_single_cdu_is_never_turned_down():
    site = sites.load("frontier").replace("cdu_1", count=1, rated_heat=30.0, minimum_flow=0.4)
    assert least_flows(site)["cdu_1"] == 1.0


def test_warmest_water_by_hand():
    """34 degC allowed, less 1 K of the plans' margin and 1 K of reserve.

    On a hot day at full load each kelvin saves fans, so the warmest is taken.
    """
    site = sites.load("frontier")
    found = cheapest(site, heat_of(site), sky(air=36.0, wet=27.0))
    assert found.supply_temperature["warm_plant"][-1] == pytest.approx(32.0)


def test_chips_hold_the_water_down():
    """Chips of 60 degC at most leave less than 34 degC: each kelvin there is one here."""
    site = sites.load("frontier")
    cooler = [
        cheapest(
            site.replace("hall_1", chip_temperature_limit=limit),
            heat_of(site),
            sky(air=36.0, wet=27.0),
            freedom=Freedom(flow=False),
        ).supply_temperature["warm_plant"][-1]
        for limit in (50.0, 48.0)
    ]
    assert cooler[0] < 32.0
    assert cooler[0] - cooler[1] == pytest.approx(2.0)


def without_one(site, heat):
    """Return the warmest water that the loss of a CDU lets be, at the declared ranges."""
    plant = next(plant for plant in site.of(CoolingPlant) if plant.serves == "warm")
    (bank,) = site.of(Cdu)
    points = SetPoints(
        temperature_range={plant.name: np.full(1, plant.temperature_range)},
        technology_range={bank.name: np.full(1, bank.technology_range)},
        least_flow=least_flows(site),
    )
    return warmest_without_one(site, plant, bank, heat=np.array([heat]), points=points).item()


def test_water_is_held_down_for_a_cdu_that_trips_by_hand():
    # 3 CDUs never pump less than 0.75; without one 0.5 flows through the plates. Without heat the
    # coolant is the water, and chips slow down 2 K below 80 degC, the margin before that
    site = sites.load("small")
    (bank,) = site.of(Cdu)
    bank = bank.model_copy(update={"pump_power": 0.0})  # whose heat is another
    site = site.with_equipment({**site.equipment, bank.name: bank})
    hall = site.of(Accelerators)[0]
    rise = float(hall.chip_temperature(hall.rack_power, 0.0, flow_share=0.5))
    expected = 80.0 - 2.0 - site.margins.temperature - rise
    assert without_one(site, 0.0) == pytest.approx(expected, abs=1e-9)
    assert without_one(site, 1.5) < without_one(site, 0.7) < expected
    alone = bank.model_copy(update={"count": 1})
    assert without_one(site.with_equipment({**site.equipment, bank.name: alone}), 1.5) == np.inf


def test_the_dew_point_holds_the_water_up():
    """26 degC in the halls and 2 K above: the coolant is not let below 28 degC, at any heat."""
    site = ruled(
        sites.load("frontier").replace("warm_plant", supply_temperature=20.0),
        hall_dew_point="26 degC",
    )
    heat = heat_of(site)
    found = cheapest(site, heat, sky(air=0.0, wet=-1.0))
    (cdu,), (plant, _) = site.of(Cdu), site.of(CoolingPlant)
    water = plant.share(
        heat.likely[cdu.name], rated_heat=cdu.rated, rated_range=cdu.facility_range, points=found
    )
    coolant = cdu.technology_supply_temperature(
        heat.likely[cdu.name],
        found.supply_temperature["warm_plant"],
        points=found,
        facility_flow=water,
    )
    assert coolant.min() > 28.0 - 1e-9
    assert found.supply_temperature["warm_plant"].min() < 28.0  # the approach helps


def test_temperature_alone_keeps_the_declared_flow():
    site = sites.load("frontier")
    found = cheapest(site, heat_of(site), sky(), freedom=Freedom(flow=False))
    np.testing.assert_array_equal(found.temperature_range["warm_plant"], 16.0)
    np.testing.assert_array_equal(found.technology_range["cdu_1"], 14.0)


def test_flow_alone_never_warms_the_water():
    site = sites.load("frontier")
    found = cheapest(site, heat_of(site), sky(), freedom=Freedom(temperature=False))
    assert found.supply_temperature["warm_plant"].max() <= 30.0


def test_a_heat_pump_keeps_its_source_warm():
    """The pump counts on the declared range: less flow is chosen, more is not."""
    site = sites.load("lumi")
    assert site.of(HeatReuse)
    found = cheapest(site, heat_of(site), sky())
    assert found.temperature_range["warm_plant"].min() >= 10.0 - 1e-9


@pytest.mark.parametrize("name", SITES)
def test_more_freedom_never_costs_more(name):
    site = sites.load(name)
    heat, weather = heat_of(site), sky(air=26.0, wet=18.0)
    declared = SetPoints(least_flow=least_flows(site))
    spent = [
        cost(site, heat, weather, points)
        for points in (
            declared,
            cheapest(site, heat, weather, freedom=Freedom(temperature=False)),
            cheapest(site, heat, weather),
        )
    ]
    for more, less in itertools.pairwise(spent):
        assert (less <= more * 1.0011).all()  # warmer water is taken only if it saves 1e-3


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize(
    "rule", [{"widest_range": 2.5}, {"coolant_range": 1.6}, {"reserve": "0 K"}]
)
def test_a_wider_rule_never_costs_more(name, rule):
    site = sites.load(name)
    heat, weather = heat_of(site), sky(air=26.0, wet=18.0)
    wide, narrow = (
        cost(site, heat, weather, cheapest(ruled(site, **rules), heat, weather))
        for rules in (rule, {})
    )
    assert (wide <= narrow * 1.02).all()  # the grid of ranges is another one: 2 % between its steps
    assert wide.sum() <= narrow.sum() * 1.01


@pytest.mark.parametrize("name", SITES)
def test_a_colder_sky_never_costs_more(name):
    site = sites.load(name)
    heat = heat_of(site)
    spent = []
    for air, wet in ((36.0, 24.0), (26.0, 18.0), (16.0, 11.0), (6.0, 3.0)):
        weather = sky(air, wet)
        electricity = site.model_copy(
            update={"weights": site.weights.model_copy(update={"water": 0.0})}
        )  # evaporation depends on the air in ways of its own
        points = cheapest(electricity, heat, weather)
        spent.append(cost(electricity, heat, weather, points))
    for warm, cold in itertools.pairwise(spent):
        assert (cold <= warm * 1.0011).all()


@pytest.mark.parametrize("seed", range(20))
def test_no_limit_is_broken_at_random_sites(seed):
    """At the most heat and the least flow that may be, chips, air and coolant keep their limits."""
    rng = np.random.default_rng(seed)
    site = random_site(seed)
    shares = rng.uniform(0.05, 1.0, 6)
    likely = heat_of(site, shares).likely
    heat = Heat(
        likely=likely,
        least={name: 0.8 * values for name, values in likely.items()},
        most={name: np.minimum(1.15, 1.0 / shares) * values for name, values in likely.items()},
    )
    weather = sky(rng.uniform(-10.0, 35.0), 5.0, count=len(shares))
    points = cheapest(site, heat, weather)
    kept = site.margins.temperature + site.set_points.reserve
    warm, chilled = (
        next(p for p in site.of(CoolingPlant) if p.serves == serves)
        for serves in ("warm", "chilled")
    )
    for plant in (warm, chilled):
        assert (points.supply_temperature[plant.name] <= plant.supply_limit - kept + 1e-9).all()
    for cdu in site.of(Cdu):
        flow = np.minimum(cdu.flow(heat.least[cdu.name], points), 1.0)
        for load, is_hot in ((heat.most, True), (heat.least, False)):
            water = warm.share(
                load[cdu.name], rated_heat=cdu.rated, rated_range=cdu.facility_range, points=points
            )
            coolant = cdu.technology_supply_temperature(
                load[cdu.name],
                points.supply_temperature[warm.name],
                points=points,
                facility_flow=water,
            )
            for hall in site.of(Accelerators):
                if is_hot and not hall.is_air_cooled:
                    busy = np.asarray(hall.rack_power)
                    chip = hall.chip_temperature(busy, coolant, flow_share=flow)
                    spread = site.set_points.chip_spread
                    assert (chip + spread <= hall.chip_temperature_limit - kept + 1e-6).all()
            if not is_hot:
                assert coolant.min() >= 17.0 - 1e-6  # 15 degC of dew point and 2 K
    for hall_air in site.of(HallAir):
        water = chilled.share(
            heat.most[hall_air.name],
            rated_heat=hall_air.rated_heat,
            rated_range=hall_air.water_range,
            points=points,
        )
        inlet = hall_air.rack_inlet_temperature(
            heat.most[hall_air.name],
            points.supply_temperature[chilled.name],
            chilled_flow=water,
        )
        limit = min(hall.inlet_temperature_limit for hall in site.of(Accelerators))
        assert (inlet <= limit - kept + 1e-6).all()


def test_no_heat_gives_finite_set_points():
    site = sites.load("frontier")
    found = cheapest(site, heat_of(site, np.zeros(4)), sky())
    for table in (found.supply_temperature, found.temperature_range, found.technology_range):
        assert all(np.isfinite(values).all() for values in table.values())


def test_where_nothing_is_safe_the_warmest_safe_water_is_told():
    """Chips of 31 degC cannot be had with water of 30: the declared flow, and colder water."""
    site = sites.load("frontier").replace("hall_1", chip_temperature_limit=31.0)
    found = cheapest(site, heat_of(site), sky())
    assert (found.supply_temperature["warm_plant"] < 20.0).all()
    np.testing.assert_array_equal(found.temperature_range["warm_plant"], 16.0)


def test_the_answer_is_the_same_each_time():
    site = sites.load("rhine")
    one, two = (cheapest(site, heat_of(site), sky()) for _ in range(2))
    for name, values in one.supply_temperature.items():
        np.testing.assert_array_equal(values, two.supply_temperature[name])


def test_towers_are_compared_too():
    """A plant on towers pays for water: dearer water moves its set points, or leaves them."""
    site = sites.load("frontier")
    assert isinstance(site.of(CoolingPlant)[0].rejection, CoolingTower)
    dear = site.model_copy(update={"weights": site.weights.model_copy(update={"water": 50.0})})
    heat, weather = heat_of(site), sky(air=30.0, wet=22.0)
    free, paid = (cheapest(s, heat, weather) for s in (site, dear))
    used = [
        site.of(CoolingPlant)[0].operate(heat.likely["warm_plant"], weather, points).draws["water"]
        for points in (free, paid)
    ]
    assert used[1].sum() <= used[0].sum() * (1 + 1e-9)
