"""Prices, carbon and weather of a running service: files that are read again when they change."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
import structlog
import xarray as xr

import sites
from optimizer.service.world import HISTORY, carbon_of, read_outdoors
from telemetry.sources import only, read_prices
from twin.errors import Fault, GigatwinError, SeriesError
from twin.forecast.record import record as make_record
from twin.site import Site

AHEAD: Final = np.timedelta64(4, "D")
"""How far ahead the weather is asked for: beyond the horizon of any plan."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class SeriesFiles:
    """The files of a running service; whoever fetches prices and weather writes them anew.

    Attributes
    ----------
    prices, weather
        Paths.
    carbon
        Path; None takes the carbon of the prices' file, or none.
    zone
        Zone of naive local prices; the site's by default.
    carbon_kind
        Emissions of generation only, or over the life cycle.
    is_synthetic
        Whether they were made by us and say nothing about a real market.
    """

    prices: Path
    weather: Path
    carbon: Path | None = None
    zone: str | None = None
    carbon_kind: Literal["direct", "lca"] = "direct"
    is_synthetic: bool = False

    @classmethod
    def synthetic(cls) -> Self:
        """Return the series of June 2026 that come with the sites."""
        return cls(
            prices=sites.data("prices"),
            weather=sites.data("weather"),
            is_synthetic=True,
        )

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files."""
        return tuple(path for path in (self.prices, self.weather, self.carbon) if path)


class Series:
    """The series of a site, as new as their files.

    Parameters
    ----------
    site
        The site.
    files
        The files.
    """

    def __init__(self, site: Site, files: SeriesFiles) -> None:
        self._site, self._files = site, files
        self._stamps: Mapping[Path, int] = {}
        self._record: xr.Dataset | None = None
        self.trouble = ""

    def record(self, now: np.datetime64) -> xr.Dataset:
        """Return the record, read again if a file has changed.

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
        stamps = {path: _stamp(path) for path in self._files.paths}
        if self._record is None or stamps != self._stamps:
            try:
                self._record = self._read(now)
                self.trouble = ""
            except GigatwinError as error:
                if self._record is None:
                    raise
                self.trouble = f"series as last read: {error}"
                logger.warning("series unreadable", because=str(error))
            self._stamps = stamps
        return self._record

    def _read(self, now: np.datetime64) -> xr.Dataset:
        files = self._files
        missing = [path for path in files.paths if not path.is_file()]
        if missing:
            faults = [Fault(place=str(path), value="", mend="no such file") for path in missing]
            source = "series"
            raise SeriesError(source, faults)
        prices = read_prices(files.prices, zone=files.zone)
        carbon = carbon_of(prices, files.carbon, beside=files.prices, kind=files.carbon_kind)
        weather = read_outdoors(self._site, files.weather, start=now - HISTORY, end=now + AHEAD)
        return make_record(self._site, only(prices, "electricity_price"), carbon, weather)


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0
