"""Series from files: prices, carbon, weather and jobs, each told by its content."""

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
