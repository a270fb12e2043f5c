"""Hours of constant weather, for tests of sources."""

import numpy as np

from twin import time_axes


def sky(start, ghi, *, air=20.0, wind=1.0, pressure=101.325, latitude=50.0):
    """Return hours of even weather on the meridian of Greenwich."""
    count = len(ghi)
    weather = time_axes.regular_axes(time_axes.to_utc(start), count, np.timedelta64(1, "h"))
    values = {"global_irradiance": ghi, "air_temperature": air, "wind_speed": wind}
    values["air_pressure"] = pressure
    for name, value in values.items():
        weather[name] = "time", np.broadcast_to(np.asarray(value, float), count)
    return weather.assign_attrs(latitude=latitude, longitude=0.0)
