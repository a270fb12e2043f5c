"""Prices, carbon and weather of a running service: files that are read again when they change."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import structlog
import xarray as xr

from optimizer.hedge.known import LEAST
from optimizer.service.world import HISTORY, Files, carbon_of, market_of, read_outdoors
from telemetry.durable import Stamp, stamp
from telemetry.sources import only, read_prices
from twin import axes
from twin.equipment import Renewable
from twin.errors import Fault, GigatwinError, SeriesError
from twin.forecast.errors import DAYS
from twin.forecast.record import WEATHER
from twin.forecast.record import record as make_record
from twin.physics.atmosphere import STANDARD_PRESSURE
from twin.site import Site

AHEAD: Final = np.timedelta64(4, "D")
"""How far ahead the weather is asked for."""

LOOKED_BACK: Final = np.timedelta64(DAYS + 14, "D")
"""How far back where scenarios are weighed: to the first past forecast and what it went by."""

ANY: Final = np.datetime64("2026-06-16T00:00", "us")
"""A moment as good as any."""

MILD: Final = {"air_temperature": 15.0, "relative_humidity": 0.5, "air_pressure": STANDARD_PRESSURE}
"""Weather as good as any; the rest is zero. [unit of the variable]"""

DAY: Final = np.timedelta64(1, "D")
"""Time after which files are read again though they did not change: typical years are laid anew."""

logger = structlog.get_logger(__name__)


class Series:
    """The series of a site, as new as their files.

    Parameters
    ----------
    site
        The site.
    files
        The files; whoever fetches prices and weather writes them anew.
    """

    def __init__(self, site: Site, files: Files) -> None:
        self._site, self._files = site, files
        named = (files.prices, files.weather, files.carbon, files.position, files.reserves)
        self._back = LOOKED_BACK if site.scenarios.count >= LEAST else HISTORY
        self._paths = [path for path in named if path]
        self._stamps: Mapping[Path, Stamp] = {}
        self._read_at = np.datetime64("NaT", "us")
        self._record: xr.Dataset | None = None
        self.trouble = ""

    def record(self, now: np.datetime64) -> xr.Dataset:
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
        stamps = {path: stamp(path) for path in self._paths}
        is_old = not abs(now - self._read_at) < DAY
        if self._record is None or stamps != self._stamps or is_old:
            try:
                self._record = self._read(now)
                self.trouble = ""
            except GigatwinError as error:
                if self._record is None:
                    raise
                self.trouble = f"series as last read: {error}"
                logger.warning("series unreadable", because=str(error))
            self._stamps, self._read_at = stamps, now
        return self._record

    def rehearse(self) -> None:
        """Ask the renewables for one quarter-hour of any weather: what they need loads slowly."""
        weather = axes.regular(ANY, 1).assign(
            {name: ("time", [MILD.get(name, 0.0)]) for name in WEATHER}
        )
        place = {"latitude": self._site.latitude, "longitude": self._site.longitude}
        for machine in self._site.of(Renewable):
            machine.available_power(weather.assign_attrs(place))

    def _read(self, now: np.datetime64) -> xr.Dataset:
        files = self._files
        missing = [path for path in self._paths if not path.is_file()]
        if missing:
            faults = [Fault(place=str(path), value="", mend="no such file") for path in missing]
            source = "series"
            raise SeriesError(source, faults)
        prices = read_prices(files.prices, zone=files.zone)
        carbon = carbon_of(prices, files)
        weather = read_outdoors(self._site, files.weather, start=now - self._back, end=now + AHEAD)
        held = market_of(self._site, files)
        return make_record(self._site, only(prices, "electricity_price"), carbon, weather, *held)
