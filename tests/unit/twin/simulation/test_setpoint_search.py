"""The cheapest safe set points: laws that hold at every site and weather."""

import itertools

import numpy as np
import pytest

import sites
from tests.support.random_sites import random_site
from tests.support.seeds import seeds
from tests.support.setpoint_weather import heat_of, ruled, sky
from twin.equipment import CduBank, CoolingPlant, CrahBank, ITHall
from twin.equipment.coolers_and_towers import CoolingTower
from twin.relations import SetPoints
from twin.simulation.setpoint_search import HeatLoadRange, SetPointOptions, cheapest_set_points
from twin.simulation.setpoints import minimum_flows

SITES = ["small", "rhine", "baltica", "frontier", "leonardo"]


def cost(site, heat, weather, points):
    """Return electricity of plants and CDU pumps, and water as electricity. [MW]"""
    price = site.weights.water / site.set_points.electricity_price
    total = np.zeros(len(weather))
    for plant in site.machines_of(CoolingPlant):
        load = heat.expected[plant.name]
        if plant.serves == "warm":
            for cdu in site.machines_of(CduBank):
                liquid = heat.expected[cdu.name]
                total = total + cdu.pump_power_at(liquid, points)
                load = load + cdu.pump_power_at(liquid, points) - cdu.pump_power_at(liquid)
        draws = plant.operate(np.maximum(load, 0.0), weather, points).inputs
        total = total + draws["medium_voltage"] + price * draws["water"]
    return total


@pytest.mark.parametrize("name", SITES)
def test_more_freedom_never_costs_more(name):
    site = sites.load_site(name)
    heat, weather = heat_of(site), sky(air=26.0, wet=18.0)
    declared = SetPoints(minimum_flow=minimum_flows(site))
    spent = [
        cost(site, heat, weather, points)
        for points in (
            declared,
            cheapest_set_points(
                site, heat, weather, options=SetPointOptions(may_choose_temperature=False)
            ),
            cheapest_set_points(site, heat, weather),
        )
    ]
    for more, less in itertools.pairwise(spent):
        assert (less <= more * 1.0011).all()  # warmer water is taken only if it saves 1e-3


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize(
    "rule", [{"widest_range": 2.5}, {"coolant_range": 1.6}, {"reserve": "0 K"}]
)
def test_wider_range_never_costs_more(name, rule):
    site = sites.load_site(name)
    heat, weather = heat_of(site), sky(air=26.0, wet=18.0)
    wide, narrow = (
        cost(site, heat, weather, cheapest_set_points(ruled(site, **rules), heat, weather))
        for rules in (rule, {})
    )
    assert (wide <= narrow * 1.02).all()  # the grid of ranges is another one: 2 % between its steps
    assert wide.sum() <= narrow.sum() * 1.01


@pytest.mark.parametrize("name", SITES)
def test_colder_weather_never_costs_more(name):
    site = sites.load_site(name)
    heat = heat_of(site)
    spent = []
    for air, wet in ((36.0, 24.0), (26.0, 18.0), (16.0, 11.0), (6.0, 3.0)):
        weather = sky(air, wet)
        electricity = site.model_copy(
            update={"weights": site.weights.model_copy(update={"water": 0.0})}
        )  # evaporation depends on the air in ways of its own
        points = cheapest_set_points(electricity, heat, weather)
        spent.append(cost(electricity, heat, weather, points))
    for warm, cold in itertools.pairwise(spent):
        assert (cold <= warm * 1.0011).all()


@pytest.mark.parametrize("seed", seeds(range(20)))
def test_random_sites_keep_all_limits(seed):
    """At the most heat and the least flow that may be, chips, air and coolant keep their limits."""
    rng = np.random.default_rng(seed)
    site = random_site(seed)
    shares = rng.uniform(0.05, 1.0, 6)
    likely = heat_of(site, shares).expected
    heat = HeatLoadRange(
        expected=likely,
        minimum={name: 0.8 * values for name, values in likely.items()},
        maximum={name: np.minimum(1.15, 1.0 / shares) * values for name, values in likely.items()},
    )
    weather = sky(rng.uniform(-10.0, 35.0), 5.0, count=len(shares))
    points = cheapest_set_points(site, heat, weather)
    kept = site.margins.temperature + site.set_points.reserve
    warm, chilled = (
        next(p for p in site.machines_of(CoolingPlant) if p.serves == serves)
        for serves in ("warm", "chilled")
    )
    assert heat.expected
    for plant in (warm, chilled):
        assert (points.supply_temperature[plant.name] <= plant.supply_limit - kept + 1e-9).all()
    for cdu in site.machines_of(CduBank):
        flow = np.minimum(cdu.coolant_flow(heat.minimum[cdu.name], points), 1.0)
        for load, is_hot in ((heat.maximum, True), (heat.minimum, False)):
            water = warm.consumer_flow(
                load[cdu.name],
                rated_heat=cdu.rated_heat_total,
                rated_range=cdu.facility_range,
                set_points=points,
            )
            coolant = cdu.technology_supply_temperature(
                load[cdu.name],
                points.supply_temperature[warm.name],
                set_points=points,
                facility_flow=water,
            )
            for hall in site.machines_of(ITHall):
                if is_hot and not hall.is_air_cooled:
                    busy = np.asarray(hall.rack_power)
                    chip = hall.chip_temperature(busy, coolant, flow_share=flow)
                    spread = site.set_points.chip_spread
                    assert (chip + spread <= hall.chip_temperature_limit - kept + 1e-6).all()
            if not is_hot:
                assert coolant.min() >= 17.0 - 1e-6  # 15 degC of dew point and 2 K
    for hall_air in site.machines_of(CrahBank):
        water = chilled.consumer_flow(
            heat.maximum[hall_air.name],
            rated_heat=hall_air.rated_heat,
            rated_range=hall_air.water_range,
            set_points=points,
        )
        inlet = hall_air.rack_inlet_temperature(
            heat.maximum[hall_air.name],
            points.supply_temperature[chilled.name],
            chilled_flow=water,
        )
        limit = min(hall.inlet_temperature_limit for hall in site.machines_of(ITHall))
        assert (inlet <= limit - kept + 1e-6).all()


def test_no_heat_gives_finite_set_points():
    site = sites.load_site("frontier")
    found = cheapest_set_points(site, heat_of(site, np.zeros(4)), sky())
    for table in (found.supply_temperature, found.temperature_range, found.technology_range):
        assert table
        assert all(np.isfinite(values).all() for values in table.values())


def test_warmest_safe_water_is_reported_if_nothing_is_safe():
    """Chips of 31 degC cannot be had with water of 30: the declared flow, and colder water."""
    site = sites.load_site("frontier").with_parameters("hall_1", chip_temperature_limit=31.0)
    found = cheapest_set_points(site, heat_of(site), sky())
    assert (found.supply_temperature["warm_plant"] < 20.0).all()
    np.testing.assert_array_equal(found.temperature_range["warm_plant"], 16.0)


def test_result_is_deterministic():
    site = sites.load_site("rhine")
    one, two = (cheapest_set_points(site, heat_of(site), sky()) for _ in range(2))
    assert one.supply_temperature
    for name, values in one.supply_temperature.items():
        np.testing.assert_array_equal(values, two.supply_temperature[name])


def test_cooling_towers_are_optimised_too():
    """A plant on towers pays for water: dearer water moves its set points, or leaves them."""
    site = sites.load_site("frontier")
    assert isinstance(site.machines_of(CoolingPlant)[0].rejection, CoolingTower)
    dear = site.model_copy(update={"weights": site.weights.model_copy(update={"water": 50.0})})
    heat, weather = heat_of(site), sky(air=30.0, wet=22.0)
    free, paid = (cheapest_set_points(s, heat, weather) for s in (site, dear))
    used = [
        site.machines_of(CoolingPlant)[0]
        .operate(heat.expected["warm_plant"], weather, points)
        .inputs["water"]
        for points in (free, paid)
    ]
    assert used[1].sum() <= used[0].sum() * (1 + 1e-9)
