"""What others tell: series from files, each told by its content, and accelerators by exporters.

One reader a kind of series (``prices``, ``carbon``, ``weather``, ``jobs``, ``load``, ``positions``,
``reserves``); all stand on ``table``, ``stamps``, ``grid`` and ``series``: from texts to intervals
without holes. A kind of weather file has a reader of its own, which gives a ``record``.
"""

from telemetry.series.bundle import SeriesBundle, read, recognise
from telemetry.series.carbon import read_carbon
from telemetry.series.intervals import between, select_variables
from telemetry.series.market import read_positions, read_prices, read_reserves
from telemetry.series.weather import read_weather
from telemetry.series.workload import read_jobs, read_load

__all__ = [
    "SeriesBundle",
    "between",
    "read",
    "read_carbon",
    "read_jobs",
    "read_load",
    "read_positions",
    "read_prices",
    "read_reserves",
    "read_weather",
    "recognise",
    "select_variables",
]
