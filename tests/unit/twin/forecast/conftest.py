from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from twin import variables
from twin.equipment import Photovoltaic, WindFarm
from twin.site import Site
from twin.time_axes import regular_axes, to_utc

CANONICAL = {"canonical": True}


@pytest.fixture(scope="session")
def site() -> Site:
    """Return a site with sun, wind and a service, and nothing else."""
    pv = {"name": "pv_1", "power": 25.0, "module_power": 25.0, "tilt": 30.0}
    wind = {"name": "wind_1", "power": 50.0, "hub_height": 120.0}
    shape = tuple(0.4 + 0.6 * np.sin(np.pi * np.arange(24) / 24))
    return Site.model_validate(
        {
            "name": "trial",
            "title": "Trial",
            "zone": "DE-LU",
            "time_zone": "Europe/Berlin",
            "latitude": 50.1,
            "longitude": 8.65,
            "elevation": 111.0,
            "equipment": {
                "pv_1": Photovoltaic.model_validate(pv, context=CANONICAL),
                "wind_1": WindFarm.model_validate(wind, context=CANONICAL),
            },
            "work": {},
            "service": {"racks": 200.0, "daily_shape": shape, "weekend_share": 0.5},
        },
        context=CANONICAL,
    )


@pytest.fixture(scope="session")
def make_series() -> Callable[..., tuple[xr.Dataset, xr.Dataset]]:
    """Return a maker of prices (quarter-hours) and of carbon with weather (hours)."""

    def make(start: str = "2023-06-01", days: int = 30) -> tuple[xr.Dataset, xr.Dataset]:
        rng = np.random.default_rng(7)
        fine = regular_axes(to_utc(start), 96 * days)
        quarter = np.arange(96 * days) / 4.0
        fine["electricity_price"] = (
            "time",
            90.0 - 50.0 * np.cos((quarter - 2) / 12 * np.pi) + rng.normal(0.0, 10.0, 96 * days),
        )
        hours = regular_axes(to_utc(start), 24 * days, np.timedelta64(1, "h"))
        hour = np.arange(24 * days)
        sun = np.maximum(np.sin((hour - 5) / 12 * np.pi), 0.0)
        values = {
            "carbon_intensity": 400.0 - 150.0 * sun,
            "air_temperature": 18.0 + 8.0 * sun + rng.normal(0.0, 1.0, len(hour)),
            "relative_humidity": 0.7 - 0.3 * sun,
            "air_pressure": np.full(len(hour), 100.0),
            "wind_speed": 5.0 + 2.0 * np.sin(hour / 17.0),
            "global_irradiance": 800.0 * sun * rng.uniform(0.5, 1.0, len(hour)),
        }
        for name, course in values.items():
            hours[name] = ("time", course)
        return variables.tag_dataset(fine), variables.tag_dataset(hours)

    return make
