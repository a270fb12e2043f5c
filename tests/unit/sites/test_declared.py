"""The declared sites are valid and have their stated size."""

import numpy as np
import pytest

import sites
from twin.equipment import CoolingPlant
from twin.physics import psychrometrics
from twin.weather import Weather


@pytest.fixture(scope="module", params=sites.site_names())
def site(request):
    return sites.load_site(request.param)


def test_every_declared_site_is_valid(site):
    assert site.relations


def test_every_declared_site_states_its_planner(site, tmp_path):
    """Proves: a change of the default changes none of them, and a copy belongs to its engineer."""
    assert site.scenarios.is_stated
    assert sites.is_shipped(site.name)
    assert not sites.is_shipped(tmp_path / f"{site.name}.toml")


@pytest.mark.parametrize("name", ["baltica", "gallia", "iberia", "rhine"])
def test_a_gigafactory_has_about_100_000_accelerators(name):
    site = sites.load_site(name)
    assert 100_000 <= site.rack_count * site.equipment["hall_1"].chips_per_rack <= 101_000
    assert 150 <= site.grid_connection.import_limit <= 250


def test_small_site_is_a_fiftieth_of_rhine():
    small, rhine = (
        sites.design_loads(sites.load_site(name), busy_share=1.0) for name in ("small", "rhine")
    )
    for carrier in ("grid", "critical", "warm", "chilled"):
        assert small[carrier] * 50 == pytest.approx(rhine[carrier], rel=0.03)


@pytest.mark.parametrize(
    ("name", "temperature", "humidity"),
    [
        ("baltica", 33.0, 0.35),
        ("gallia", 38.0, 0.25),
        ("iberia", 40.0, 0.18),
        ("rhine", 37.0, 0.25),
    ],
)
def test_plants_carry_full_halls_in_the_hottest_hour(name, temperature, humidity):
    site = sites.load_site(name)
    pressure = psychrometrics.standard_pressure(site.elevation)
    hottest = Weather(
        air_temperature=np.array([temperature]),
        wet_bulb_temperature=np.array(
            [psychrometrics.wet_bulb_temperature(temperature, humidity, pressure=pressure)]
        ),
        humidity_ratio=np.array(
            [psychrometrics.humidity_ratio(temperature, humidity, pressure=pressure)]
        ),
        air_pressure=np.array([pressure]),
    )
    full = sites.design_loads(site, busy_share=1.0)
    for plant in site.machines_of(CoolingPlant):
        assert plant.max_output(hottest)[0] > full[plant.serves]


def test_demand_by_hand():
    """28 racks of 132 kW are 3.696 MW; the busway of 4 MW loses 1.5 % x 4 x 0.924^2 = 51.2 kW."""
    asked = sites.design_loads(sites.load_site("small"), busy_share=1.0)
    assert asked["rack"] == pytest.approx(3.696)
    assert asked["liquid"] == pytest.approx(0.868 * 3.696)
    assert asked["air"] == pytest.approx(0.132 * 3.696 + 0.0512, abs=1e-4)
