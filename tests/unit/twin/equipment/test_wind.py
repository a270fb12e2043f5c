"""Wind turbines, by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

from tests.support.weathers import sky
from twin.equipment import WindFarm

NOON = "2026-06-13T12:00"
PARK = {
    "name": "wind",
    "power": "50 MW",
    "hub_height": "10.001 m",  # heights are above 10 m
    "shear": 0.0,
    "cut_in": "3 m/s",
    "rated": "12 m/s",
    "cut_out": "25 m/s",
    "availability": 0.9,
}
AIR = 14.9479
"""At the hub, 8.001 m above the thermometer, this is 14.8959 degC = 288.0459 K. [degC]"""

PRESSURE = 101.3906
"""At the hub 0.1 kPa less: 101.2906 kPa / (287.058 x 288.0459) = 1.2250 kg/m3. [kPa]"""


def park(**changed):
    return WindFarm.model_validate(PARK | changed)


def given(machine, *, wind, air=AIR, pressure=PRESSURE):
    weather = sky(NOON, [0.0] * np.size(wind), wind=wind, air=air, pressure=pressure)
    return machine.available_power(weather)


@pytest.mark.parametrize(
    ("speed", "power"),
    [
        (2.9, 0.0),
        (3.0, 0.0),
        (8.0, 50 * 0.9 * (512 - 27) / (1728 - 27)),  # with the cube of the speed: 12.83 MW
        (12.0, 45.0),
        (24.9, 45.0),
        (25.0, 0.0),
    ],
)
def test_generic_power_curve(speed, power):
    assert given(park(), wind=speed) == pytest.approx([power], abs=0.01)


def test_power_curve_of_a_published_turbine():
    # Vestas V126-3.45 MW: 1172 kW at 7 m/s, 1446 kW at 7.5, the greatest power 3450 kW;
    # cut-out at 22.5 m/s. Of 50 MW 0.9 are there.
    made = park(turbine="V126/3450", hub_height="100 m", shear=0.0)
    # 98 m above the thermometer: 15.637 - 0.637 degC, 102.550 - 1.225 kPa, 1.2250 kg/m3
    got = given(made, wind=[7.0, 7.25, 22.4, 22.5], air=15.637, pressure=102.550)
    shares = np.array([1172.0, (1172.0 + 1446.0) / 2.0, 3450.0, 0.0]) / 3450.0
    assert got == pytest.approx(45.0 * shares, abs=0.01)


def test_thin_air_shifts_the_power_curve():
    # 0.9800 kg/m3: (1.225 / 0.98) = 1.25. Up to 7.5 m/s speeds grow by 1.25^(1/3) = 1.07722, from
    # 12.5 m/s on by 1.25^(2/3) = 1.16040; at 12 m/s the exponent is 0.63333 and the factor 1.15179.
    thin = 0.98 / 1.225 * (PRESSURE - 0.100013) + 0.100013
    plain, thinner = (given(park(), wind=w, pressure=p) for w, p in ((6.0, PRESSURE), (6.0, thin)))
    assert plain == pytest.approx([45.0 * (216.0 - 27.0) / 1701.0], abs=0.01)
    at = 6.0 / 1.07722
    assert thinner == pytest.approx([45.0 * (at**3 - 27.0) / 1701.0], abs=0.01)
    assert given(park(), wind=12.0 * 1.15179, pressure=thin) == pytest.approx([45.0], abs=0.01)
    assert given(park(), wind=13.7, pressure=thin)[0] < 44.9
    # but a storm stops turbines where it does in thick air
    assert given(park(), wind=25.1, pressure=thin) == pytest.approx([0.0])


def test_cold_air_gives_more_power():
    warm, cold = (given(park(), wind=7.0, air=t)[0] for t in (30.0, -20.0))
    assert cold > 1.15 * warm


def test_the_wind_is_stronger_at_the_hub():
    # 6 m/s at 10 m are 6 x 10^0.2 = 9.509 m/s at 100 m by the power law;
    # over ground of 0.1 m roughness 6 ln(1000) / ln(100) = 9 m/s by the logarithm
    still = {"air": 15.0, "pressure": 101.3}
    for profile, speed in (({"shear": 0.2}, 9.509), ({"roughness": "0.1 m"}, 9.0)):
        high = given(park(hub_height="100 m", **profile), wind=6.0, **still)
        low = given(park(hub_height="100 m"), wind=speed, **still)
        assert high == pytest.approx(low, rel=2e-3)


def test_wakes_reduce_the_power_of_a_park():
    # the mean park of the dena study leaves 0.94495 of the wind at 5 m/s
    from windpowerlib import wake_losses  # noqa: PLC0415  (a slow import)

    kept = wake_losses.reduce_wind_speed(np.array([5.0]), "dena_mean")[0] / 5.0
    assert 0.93 < kept < 0.96
    wake = given(park(wakes="dena_mean"), wind=5.0)
    assert wake == pytest.approx(given(park(), wind=5.0 * kept), rel=1e-6)


def test_missing_wind_gives_missing_power():
    assert np.isnan(given(park(), wind=[np.nan, 8.0])).tolist() == [True, False]


def test_year_of_minutes_is_computed_in_chunks():
    speed = np.linspace(0.0, 30.0, 20_000)
    whole = given(park(), wind=speed)
    assert whole[::5000] == pytest.approx(given(park(), wind=speed[::5000]))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"turbine": "V126/9999"}, "unknown turbine"),
        ({"turbine": "V126/3450", "hub_height": "50 m"}, "above the rotor's radius, 63 m"),
        ({"rated": "2 m/s"}, "cut_in must be below rated"),
        ({"cut_out": "12 m/s"}, "rated below cut_out"),
        ({"wakes": "deep"}, "none"),
        ({"roughness": "0 m"}, "must be above 0 m"),
    ],
)
def test_invalid_park_is_refused(changed, words):
    with pytest.raises(ValidationError, match=words):
        park(**changed)
