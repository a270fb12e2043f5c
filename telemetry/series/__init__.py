"""Read series of prices, carbon, weather, jobs, load, positions and reserves from files.

Readers recognise formats by content. Each returns series on intervals without holes in canonical
units. ``providers`` fetches files from services.
"""

from telemetry.series.bundle import SeriesBundle, read, recognise_series_kind
from telemetry.series.electricity import read_carbon, read_positions, read_prices, read_reserves
from telemetry.series.intervals import select_period, select_variables
from telemetry.series.weather import read_weather
from telemetry.series.workload import read_announcements, read_jobs, read_load

__all__ = [
    "SeriesBundle",
    "read",
    "read_announcements",
    "read_carbon",
    "read_jobs",
    "read_load",
    "read_positions",
    "read_prices",
    "read_reserves",
    "read_weather",
    "recognise_series_kind",
    "select_period",
    "select_variables",
]
