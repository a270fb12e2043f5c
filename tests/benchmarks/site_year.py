"""`twin.site_year`: every rack and coolant unit of rhine, a year at a minute, streamed to disk."""

import numpy as np
import xarray as xr

from twin import axes, vocabulary
from twin.equipment import Accelerators
from twin.site import Site

DAYS = 365
START = np.datetime64("2026-01-01", "us")
HOUR, DAY, SEASON = 1.0, 24.0, 8766.0  # h


def operation(site: Site, days: int, *, step: np.timedelta64 = axes.MINUTE) -> xr.Dataset:
    """Return a made year, or its first days: weather by the hour, work by the quarter-hour."""
    count = round(days * DAY / (step / axes.HOUR))
    grid = axes.regular(START, count, step)
    hours = (grid["time"].to_numpy() - START) / axes.HOUR
    hour, quarter = hours.astype(int), (4.0 * hours).astype(int)
    rng = np.random.default_rng(0)
    chance = rng.normal(0.0, 2.0, 400 * 24)[hour]
    moved = rng.uniform(-0.1, 0.1, 400 * 96)[quarter]
    share = 0.7 + 0.2 * np.sin(2 * np.pi * quarter / 96.0) + moved
    day = np.cos(2 * np.pi * hour / DAY)
    halls = site.of(Accelerators)
    idle, full = np.array([(hall.idle_power, hall.full_power) for hall in halls]).T
    air = 10.5 - 9.5 * np.cos(2 * np.pi * hour / SEASON) - 4.0 * day + chance
    return vocabulary.tag_all(
        grid.assign(
            air_temperature=("time", air),
            relative_humidity=("time", 0.7 + 0.15 * day),
            air_pressure=("time", np.full(count, 100.0)),
            hall_power=(("time", "hall"), idle + share[:, None] * (full - idle)),
        ).assign_coords(hall=[hall.name for hall in halls])
    )
