"""Prices, carbon and weather of a running service: files that are read again when they change."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import structlog
import xarray as xr

from optimizer.inputs.series_files import FORECAST_HISTORY, SeriesFiles, read_series, series_notes
from optimizer.stochastic.scenarios import MIN_SCENARIOS
from telemetry.files import NO_FILE_STAMP, FileStamp, file_stamp
from twin import time_axes
from twin.equipment import Renewable
from twin.errors import GigatwinError, SeriesError, ValidationIssue
from twin.forecast.history import WEATHER_VARIABLES, published_until
from twin.forecast.history import series_history as make_record
from twin.forecast.scenarios import ERROR_HISTORY_DAYS
from twin.physics.psychrometrics import STANDARD_PRESSURE_KPA
from twin.site import Site
from twin.text import format_duration
from twin.units import format_minute

WEATHER_HORIZON: Final = np.timedelta64(4, "D")
"""How far ahead the weather is asked for."""

SCENARIO_HISTORY: Final = np.timedelta64(ERROR_HISTORY_DAYS + 14, "D")
"""How far back where scenarios are weighed: to the first past forecast and what it went by."""

PRELOAD_TIME: Final = np.datetime64("2026-06-16T00:00", "us")
"""A moment as good as any."""

PRELOAD_WEATHER: Final = {
    "air_temperature": 15.0,
    "relative_humidity": 0.5,
    "air_pressure": STANDARD_PRESSURE_KPA,
}
"""Weather as good as any; the rest is zero. [unit of the variable]"""

REREAD_INTERVAL: Final = np.timedelta64(1, "D")
"""Time after which files are read again though they did not change: typical years are laid anew."""

PUBLICATION_DELAY: Final = np.timedelta64(2, "h")
"""Time after publication within which whoever fetches prices brings them."""

MIN_WEATHER_REACH: Final = np.timedelta64(1, "D")
"""How far ahead weather must be known; fetched daily, it reaches for days."""

SECOND: Final = np.timedelta64(1, "s")

logger = structlog.get_logger(__name__)


class LiveSeries:
    """The series of a site, as new as their files.

    Parameters
    ----------
    site
        The site.
    files
        The files; whoever fetches prices and weather writes them anew.
    is_recorded
        Whether they are of a time that is replayed: then nobody writes them anew.

    Attributes
    ----------
    trouble
        Why files could not be read, or nothing.
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
        self._preload_thread: threading.Thread | None = None
        self.trouble = ""

    def current(self, now: np.datetime64) -> xr.Dataset:
        """Return the record, read again if a file has changed, and once a day.

        Parameters
        ----------
        now
            The moment; typical years are laid around it.

        Raises
        ------
        SeriesError
            If the files have never been whole. Later a broken file is told in ``trouble``, and
            what was read before goes on.
        """
        if self._preload_thread is not None:
            # threads that load the same libraries may see halves of them
            self._preload_thread.join()
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
                if is_old:  # horizons go on beyond what was made for the days before
                    self._series = make_record(self._site, *self._parts, until=now)
                logger.warning("series unreadable", because=str(error))
            self._stamps, self._read_at = stamps, now
        return self._series

    def alarm_text(self, now: np.datetime64) -> str:
        """Return what is wrong with the files, or with how far they reach; empty if nothing.

        Parameters
        ----------
        now
            The time, UTC.
        """
        return "; ".join(
            filter(None, (self.trouble or self._missing_files(), *self._short_series(now).values()))
        )

    def as_snapshot(self, now: np.datetime64) -> Mapping[str, object]:
        """Return until when prices and weather are told, and which of them is too short.

        Parameters
        ----------
        now
            The time, UTC.
        """
        return {"until": self.known_until, "short": sorted(self._short_series(now))}

    @property
    def known_until(self) -> Mapping[str, str]:
        """Until when prices and weather are told."""
        return {name: format_minute(end) for name, end in self._ends.items()}

    def _missing_files(self) -> str:
        """Return which files are not there, where nothing was read yet: plans will want them."""
        is_read = self._series is not None
        absent = [path for path in self._paths if not is_read and not path.is_file()]
        return f"no such file: {', '.join(map(str, absent))}" if absent else ""

    def _short_series(self, now: np.datetime64) -> Mapping[str, str]:
        """Return what does not reach far enough, and why it should, in words."""
        if self._is_recorded or not self._ends:
            return {}
        published = published_until(now - PUBLICATION_DELAY, self._site.market_zone)
        files, found = self._files, dict[str, str]()
        why = {
            "prices": (files.prices, published, f"published until {format_minute(published)}"),
            "weather": (
                files.weather,
                now + MIN_WEATHER_REACH,
                f"wanted for {format_duration(MIN_WEATHER_REACH / SECOND)}",
            ),
        }
        for name, (path, wanted, reason) in why.items():
            left = float((self._ends[name] - now) / SECOND)
            if self._ends[name] >= wanted:
                continue
            when = f"{format_duration(abs(left))} {'ahead' if left > 0.0 else 'ago'}"
            written = np.datetime64(self._stamps.get(path, NO_FILE_STAMP)[0] // 1000, "us")
            age = format_duration(max(float((now - written) / SECOND), 0.0))
            found[name] = (
                f"{path.name} tells {name} until {format_minute(self._ends[name])}, {when}; "
                f"{reason}: the file is {age} old, plans go on by forecasts"
            )
        return found

    def preload(self) -> None:
        """Have what renewables need loaded aside: it takes seconds, and a record waits for it."""
        self._preload_thread = threading.Thread(
            target=self._run_preload, name="rehearsal", daemon=True
        )
        self._preload_thread.start()

    def _run_preload(self) -> None:
        """Ask the renewables for one quarter-hour of any weather."""
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
            faults = [
                ValidationIssue(location=str(path), found="", remedy="no such file")
                for path in missing
            ]
            source = "series"
            raise SeriesError(source, faults)
        parts = read_series(self._site, files, start=now - self._back, end=now + WEATHER_HORIZON)
        logger.info("series read", notes=series_notes(self._site, parts))
        series = [part for _, part in parts]
        whole = make_record(self._site, *series, until=now)  # whose files may be weeks old
        self._parts = series
        return whole


def _ends(record: xr.Dataset) -> Mapping[str, np.datetime64]:
    """Return until when a record tells prices and weather."""

    def end(*names: str) -> np.datetime64:
        is_told = np.all([record[name].notnull().to_numpy() for name in names], axis=0)
        told = np.flatnonzero(is_told)
        return np.datetime64(record["instant"].to_numpy()[told[-1] + 1 if told.size else 0], "us")

    return {"prices": end("electricity_price"), "weather": end(*WEATHER_VARIABLES)}
