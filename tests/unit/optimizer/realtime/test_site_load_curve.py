"""What a site takes at the powers of its halls: the twin's answer, asked once for hours alike."""

import numpy as np
import pytest
import xarray as xr

from optimizer.realtime.workload_headroom import site_load_curve
from tests.support import heat_pump_site, moments
from twin import variables
from twin.equipment import CoolingPlant
from twin.simulation.simulate import simulate
from twin.simulation.state import initial_state
from twin.time_axes import interval_axes
from twin.weather import AIR_ROUNDING_STEPS


def first(**words):
    """Return the first interval of the question, some of its words changed."""
    now = moments.asked().outlook.isel(time=[0])
    return now.assign({name: now[name] * 0.0 + value for name, value in words.items()})


def test_tried_load_equals_a_long_replay():
    site, now = moments.site(), first(air_temperature=24.3, relative_humidity=0.5)
    found, start = site_load_curve(site, now), now["time"].to_numpy()[0]
    long = interval_axes(np.array([start, start + np.timedelta64(10_000, "h")]))
    long = long.assign({name: ("time", now[name].to_numpy()) for name in AIR_ROUNDING_STEPS})
    shares = np.array([work.racks / site.rack_count for work in site.flexible_loads])
    hall = [work.owner for work in site.flexible_loads]
    for power, whole in zip(found.hall_power, found.site_power, strict=True):
        outlook = long.assign(hall_power=(("time", "hall"), [power * shares])).assign_coords(
            hall=hall
        )
        done = simulate(site, initial_state(site), variables.tag_dataset(outlook))
        assert whole == pytest.approx(float(done["facility_power"][0]), rel=1e-4)


def test_similar_weather_is_tried_once():
    site = moments.site()
    one, other = (site_load_curve(site, first(air_temperature=warmth)) for warmth in (20.01, 20.09))
    assert one is other
    assert site_load_curve(site, first(air_temperature=20.11)) is not one


def test_other_site_of_equal_name_is_tried_itself():
    site = moments.site()
    smaller = site.with_parameters("hall_1", racks=site.equipment["hall_1"].racks // 2)
    assert (
        site_load_curve(smaller, first()).site_power[-1]
        < 0.9 * site_load_curve(site, first()).site_power[-1]
    )


def test_heat_sale_and_plant_capacity_count():
    site, now = heat_pump_site.heated(), heat_pump_site.problem().outlook.isel(time=[0])
    some = xr.DataArray([[0.4]], dims=("time", "heat_reuse"), coords={"heat_reuse": ["pump"]})
    idle, busy = (
        site_load_curve(site, now),
        site_load_curve(site, now.assign(heat_reuse_power=some)),
    )
    assert (
        busy.site_power > idle.site_power + 0.02
    ).all()  # the pump draws more than the plant saves
    assert (busy.plant_loads["warm_plant"] < idle.plant_loads["warm_plant"] - 0.2).all()
    assert (
        idle.plant_loads.keys()
        == idle.max_plant_loads.keys()
        == {plant.name for plant in site.machines_of(CoolingPlant)}
    )
    assert all((np.diff(load) > 0.0).all() for load in idle.plant_loads.values())
