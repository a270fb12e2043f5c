"""What others tell: series from files, each told by its content, and accelerators by exporters.

One reader a kind of series (``prices``, ``carbon``, ``weather``, ``jobs``, ``load``, ``positions``,
``reserves``); all stand on ``table``, ``stamps``, ``grid`` and ``series``: from texts to intervals
without holes. A kind of weather file has a reader of its own, which gives a ``record``.
"""

from telemetry.sources.bundle import SeriesBundle, read
from telemetry.sources.carbon import read_carbon
from telemetry.sources.jobs import read_jobs
from telemetry.sources.load import read_load
from telemetry.sources.positions import read_positions
from telemetry.sources.prices import read_prices
from telemetry.sources.recognise import recognise
from telemetry.sources.reserves import read_reserves
from telemetry.sources.series import between, only
from telemetry.sources.weather import read_weather
from telemetry.sources.zones import time_zone

__all__ = [
    "SeriesBundle",
    "between",
    "only",
    "read",
    "read_carbon",
    "read_jobs",
    "read_load",
    "read_positions",
    "read_prices",
    "read_reserves",
    "read_weather",
    "recognise",
    "time_zone",
]
