"""Freezing inside dry coolers, from the energy that the air takes."""

import numpy as np
import pytest
import xarray as xr

import sites
from twin import time_axes
from twin.physics.fluid_flow import PG25, capacity_rate
from twin.simulation.operating_limits import freeze_risks
from twin.weather import Weather

GRID = time_axes.regular_axes(time_axes.to_utc("2026-01-05"), 3, time_axes.HOUR)


def weather(*temperatures):
    count = len(temperatures)
    return Weather.from_arrays(
        {
            "air_temperature": np.array(temperatures),
            "relative_humidity": np.full(count, 0.8),
            "air_pressure": np.full(count, 101.325),
        }
    )


def run(plant, *, heat, flow):
    words = {"cooling_plant_rejected_heat": heat, "cooling_plant_flow": flow}
    return GRID.assign(
        {
            name: xr.DataArray(
                np.full((3, 1), value), dims=("time", "circuit"), coords={"circuit": [plant]}
            )
            for name, value in words.items()
        }
    )


def test_freezing_water_is_reported_with_its_first_hour():
    """A light load is colder by as much as the air is: the same lift above it at all three."""
    small = sites.load_site("small")
    what = run("warm_plant", heat=0.4, flow=20.0)
    (risk,) = freeze_risks(small, what, weather(-1.0, -30.0, -40.0))
    assert (risk.limit, risk.violated_interval_count, risk.interval_count) == ("warm_plant", 2, 3)
    assert risk.time == GRID["time"].to_numpy()[1]
    assert freeze_risks(small, what, weather(-1.0, 5.0, 30.0)) == []
    lift = risk.farthest_value + 40.0
    # water enters warmer than it leaves by heat over capacity rate, and leaves above the air
    assert 0.0 < lift < 30.0
    (same,) = freeze_risks(small, what, weather(-20.0, -30.0, -lift - 0.01))
    assert same.violated_interval_count == 3
    assert len(freeze_risks(small, what, weather(-lift + 0.01, 0.0, 0.0))) == 0


def test_glycol_freezes_at_lower_temperature():
    small = sites.load_site("small")
    loop = small.equipment["warm_plant"].loop.model_copy(update={"fluid": "pg25"})
    mixed = small.with_parameters("warm_plant", loop=loop.model_dump())
    rate = capacity_rate(20.0) / capacity_rate(1.0, PG25)  # of the same heat in a kelvin
    (water,) = freeze_risks(
        small, run("warm_plant", heat=0.4, flow=20.0), weather(-1.0, -30.0, -40.0)
    )
    lift = water.farthest_value + 40.0
    cold = weather(-lift - 5.0, -lift - 9.0, -lift - 11.0)
    (risk,) = freeze_risks(mixed, run("warm_plant", heat=0.4, flow=float(rate)), cold)
    assert (risk.violated_interval_count, risk.limit_value) == (1, -9.8)


def test_freezing_point_of_glycol_agrees_with_coolprop():
    coolprop = pytest.importorskip("CoolProp.CoolProp")
    kelvin = coolprop.PropsSI("T_freeze", "T", 300.0, "P", 1e5, "INCOMP::MPG[0.25]")
    assert kelvin - 273.15 == pytest.approx(PG25.freezing_point, abs=0.05)
