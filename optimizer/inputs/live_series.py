"""Prices, carbon and weather of a running service; files are read again when they change."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import structlog
import xarray as xr

from optimizer.inputs.series_files import FORECAST_HISTORY, SeriesFiles, read_series, series_notes
from optimizer.stochastic.scenarios import MIN_SCENARIOS
from telemetry.durable_files import NO_FILE_STAMP, FileStamp, file_stamp
from twin import time_axes
from twin.equipment import Renewable
from twin.errors import GigatwinError, IssueCode, SeriesError
from twin.forecast.forecast_errors import ERROR_HISTORY_DAYS
from twin.forecast.series_record import series_history
from twin.markets.contracts import PRICE_PUBLICATION_TOLERANCE, prices_published_until
from twin.physics.psychrometrics import STANDARD_PRESSURE_KPA
from twin.site import Site
from twin.text import format_duration
from twin.time_axes import SECOND
from twin.units import format_minute
from twin.weather import WEATHER_VARIABLES

WEATHER_HORIZON: Final = np.timedelta64(4, "D")
"""Horizon for which weather is read."""

SCENARIO_HISTORY: Final = np.timedelta64(ERROR_HISTORY_DAYS + 14, "D")
"""History that scenarios need: past forecasts and the data behind them."""

PRELOAD_TIME: Final = np.datetime64("2026-06-16T00:00", "us")
"""Arbitrary time of the preload."""

PRELOAD_WEATHER: Final = {
    "air_temperature": 15.0,
    "relative_humidity": 0.5,
    "air_pressure": STANDARD_PRESSURE_KPA,
}
"""Arbitrary weather of the preload; other variables are zero. [unit of the variable]"""

REREAD_INTERVAL: Final = np.timedelta64(1, "D")
"""Time after which unchanged files are read again, since typical years follow the date."""

MIN_WEATHER_REACH: Final = np.timedelta64(1, "D")
"""Shortest remaining weather forecast without an alarm."""

logger = structlog.get_logger(__name__)


class LiveSeries:
    """Series of a site, as new as their files.

    - `files`: the files; another program replaces those of prices and weather.
    - `is_recorded`: whether they belong to a replayed period; then they are not replaced.

    - `trouble`: reason why files could not be read, or an empty text.
    """

    def __init__(self, site: Site, files: SeriesFiles, *, is_recorded: bool = False) -> None:
        self._site, self._files, self._is_recorded = site, files, is_recorded
        named = (files.prices, files.weather, files.carbon, files.position, files.reserves)
        self._back = SCENARIO_HISTORY if site.scenarios.count >= MIN_SCENARIOS else FORECAST_HISTORY
        self._paths = [path for path in named if path]
        self._stamps: Mapping[Path, FileStamp] = {}
        self._read_at = np.datetime64("NaT", "us")
        self._series: xr.Dataset | None = None
        self._parts: list[xr.Dataset] = []
        self._ends: Mapping[str, np.datetime64] = {}
        self._preloader: threading.Thread | None = None
        self.trouble = ""

    def current(self, now: np.datetime64) -> xr.Dataset:
        """Return the series, read again once a day and when a file has changed.

        Typical years are placed around `now`.

        Raises SeriesError if the files could never be read. Later errors are reported in
        ``trouble``, and the series read before stay in use.
        """
        if self._preloader is not None:
            # threads that import the same libraries may see them half loaded
            self._preloader.join()
        stamps = {path: file_stamp(path) for path in self._paths}
        is_old = not abs(now - self._read_at) < REREAD_INTERVAL
        if self._series is None or stamps != self._stamps or is_old:
            try:
                self._series = self._read(now)
                self._ends = _ends(self._series)
                self.trouble = ""
            except GigatwinError as error:
                if self._series is None:
                    self.trouble = f"never read: {error}"
                    raise
                self.trouble = f"series as last read: {error}"
                if is_old:  # the horizon has passed the end of the extended series
                    self._series = series_history(self._site, *self._parts, until=now)
                logger.warning("series unreadable", because=str(error))
            self._stamps, self._read_at = stamps, now
        return self._series

    def errors(self, now: np.datetime64) -> Mapping[str, str]:
        """Return ``files`` or series -> what is wrong with it; empty if nothing. Time is UTC."""
        unread = self.trouble or self._missing_files()
        return ({"files": unread} if unread else {}) | self.short_series(now)

    @property
    def known_until(self) -> Mapping[str, str]:
        """Ends of the known prices and weather."""
        return {name: format_minute(end) for name, end in self._ends.items()}

    def _missing_files(self) -> str:
        """Return which files are missing before the first reading."""
        is_read = self._series is not None
        absent = [path for path in self._paths if not is_read and not path.is_file()]
        return f"no such file: {', '.join(map(str, absent))}" if absent else ""

    def short_series(self, now: np.datetime64) -> dict[str, str]:
        """Return which series are too short, with the reason as a text."""
        if self._is_recorded or not self._ends:
            return {}
        published = prices_published_until(
            now - PRICE_PUBLICATION_TOLERANCE, self._site.resolved_market_time_zone
        )
        files, found = self._files, dict[str, str]()
        requirements = {
            "prices": (files.prices, published, f"published until {format_minute(published)}"),
            "weather": (
                files.weather,
                now + MIN_WEATHER_REACH,
                f"required for {format_duration(MIN_WEATHER_REACH / SECOND)}",
            ),
        }
        for name, (path, wanted, reason) in requirements.items():
            left = float((self._ends[name] - now) / SECOND)
            if self._ends[name] >= wanted:
                continue
            when = f"{format_duration(abs(left))} {'ahead' if left > 0.0 else 'ago'}"
            written = np.datetime64(self._stamps.get(path, NO_FILE_STAMP)[0] // 1000, "us")
            age = format_duration(max(float((now - written) / SECOND), 0.0))
            found[name] = (
                f"{path.name} has {name} until {format_minute(self._ends[name])}, {when}; "
                f"{reason}: the file is {age} old, plans continue with forecasts"
            )
        return found

    def preload_libraries(self) -> None:
        """Import the libraries of renewables in a thread, since this takes seconds."""
        self._preloader = threading.Thread(target=self._run_preload, name="preload", daemon=True)
        self._preloader.start()

    def _run_preload(self) -> None:
        """Compute the renewables for one quarter-hour."""
        weather = time_axes.regular_axes(PRELOAD_TIME, 1).assign(
            {name: ("time", [PRELOAD_WEATHER.get(name, 0.0)]) for name in WEATHER_VARIABLES}
        )
        place = {"latitude": self._site.latitude, "longitude": self._site.longitude}
        for machine in self._site.machines_of(Renewable):
            machine.available_power(weather.assign_attrs(place))

    def _read(self, now: np.datetime64) -> xr.Dataset:
        files = self._files
        missing = [path for path in self._paths if not path.is_file()]
        if missing:
            issues = [
                IssueCode.MISSING.issue(
                    str(path),
                    found="no such file",
                    expected="a file of the series",
                    remedy="write it, for example with gigatwin fetch",
                )
                for path in missing
            ]
            raise SeriesError("series", issues)
        parts = read_series(self._site, files, start=now - self._back, end=now + WEATHER_HORIZON)
        logger.info("series read", notes=series_notes(self._site, parts))
        series = [part for _, part in parts]
        whole = series_history(self._site, *series, until=now)  # files may be weeks old
        self._parts = series
        return whole


def _ends(record: xr.Dataset) -> Mapping[str, np.datetime64]:
    """Return the ends of known prices and weather."""

    def end(*names: str) -> np.datetime64:
        is_known = np.all([record[name].notnull().to_numpy() for name in names], axis=0)
        known = np.flatnonzero(is_known)
        return np.datetime64(record["instant"].to_numpy()[known[-1] + 1 if known.size else 0], "us")

    return {"prices": end("electricity_price"), "weather": end(*WEATHER_VARIABLES)}
