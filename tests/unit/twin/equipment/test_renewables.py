"""Solar power by hand, and properties of all sources."""

import pytest

from tests.support.weathers import sky
from twin.equipment import Photovoltaic
from twin.relations import Exchange

FIELD = {
    "name": "sun",
    "power": "90 MW",
    "module_power": "100 MW",
    "tilt": 0,
    "temperature_coefficient": -0.0035,
    "system_loss": 0.14,
}


def test_horizontal_modules_at_noon():
    # 800 W/m2 on the level. Module: 20 + 800 / (25 + 6.84) = 45.13 degC, so
    # 100 MW x 0.8 x (1 - 0.0035 x 20.13) x 0.86 = 63.95 MW
    given = Photovoltaic.model_validate(FIELD).available_power(sky("2026-06-13T12:00", [800.0]))
    assert given == pytest.approx([63.95], abs=0.05)


def test_modules_facing_the_sun_at_equinox():
    # latitude 50, tilt 50: the sun stands straight before the modules, 40 degrees high.
    # Outside the air 1361 x 1.007 = 1371 W/m2, on the level 881; so clearness 600 / 881 = 0.681.
    # Erbs: of 600 W/m2 0.251 = 150 are diffuse; direct 450 / sin 40 = 700 W/m2.
    # Hay and Davies: of the diffuse 700 / 1371 = 0.511 from the sun, seen at 1 / sin 40 = 1.556,
    # the rest from the whole sky, of which (1 + cos 50) / 2 = 0.821 is seen: 150 x 1.197 = 180;
    # from the ground 0.25 x 600 x (1 - cos 50) / 2 = 27. In all 907 W/m2.
    # Module 20 + 907 / 31.84 = 48.5 degC: 100 x 0.907 x (1 - 0.0035 x 23.5) x 0.86 = 71.6 MW
    field = Photovoltaic.model_validate(FIELD | {"tilt": 50})
    given = field.available_power(sky("2026-03-20T11:37", [600.0]))
    assert given == pytest.approx([71.6], rel=0.01)


def test_modules_face_the_equator():
    """Proves: the same field gives as much at latitude -50 of an equinox as at 50, by 3 %.

    Sensitivity: 8.5 MW, from diffuse light alone, where it looks to the south there too.
    """
    field = Photovoltaic.model_validate(FIELD | {"tilt": 50})
    north = sky("2026-03-20T11:37", [600.0])
    south = north.assign_attrs(latitude=-north.attrs["latitude"])
    assert field.available_power(south) == pytest.approx(field.available_power(north), rel=0.03)
    away = Photovoltaic.model_validate(FIELD | {"tilt": 50, "azimuth": 180})
    assert away.available_power(south)[0] < 0.2 * field.available_power(south)[0]


def test_sun_position_is_that_of_the_middle_of_the_hour():
    # in mid-June the sun crosses the meridian at 12:00 UTC: the hour before it is to the east
    # what the hour after it is to the west
    eastern, western = (
        Photovoltaic.model_validate(FIELD | {"tilt": 60, "azimuth": azimuth})
        for azimuth in (90, 270)
    )
    hours = sky("2026-06-13T11:00", [700.0, 700.0])
    before, after = eastern.available_power(hours)[0], western.available_power(hours)[1]
    assert before == pytest.approx(after, rel=2e-3)
    assert eastern.available_power(hours)[1] < 0.9 * before


def test_converter_rating_is_kept_and_night_gives_nothing():
    field = Photovoltaic.model_validate(FIELD | {"power": "50 MW"})
    given = field.available_power(sky("2026-06-13T00:00", [0.0] * 12 + [1000.0]))
    assert (given[:12] == 0.0).all()
    assert given[12] == 50.0


def test_heat_reduces_and_wind_raises_power():
    field = Photovoltaic.model_validate(FIELD)
    noon = "2026-06-13T12:00"
    plain, hot, windy = (
        float(field.available_power(sky(noon, [800.0], **weather))[0])
        for weather in ({}, {"air": 35.0}, {"wind": 8.0})
    )
    # 15 K more cost 0.0035 x 15 = 0.0525 of what the modules give at 25 degC: 3.61 MW
    assert plain - hot == pytest.approx(100 * 0.8 * 0.0525 * 0.86, abs=0.01)
    assert windy > plain


def test_source_is_bounded_by_outlook_and_paid_by_contract():
    field = Photovoltaic.model_validate(FIELD | {"price": "60 EUR/MWh"})
    (exchange,) = field.relations()
    assert exchange == Exchange(
        owner="sun",
        carrier="medium_voltage",
        import_limit=90.0,
        availability_variable="renewable_available_power",
        import_fee=60.0,
        account="renewables",
    )
