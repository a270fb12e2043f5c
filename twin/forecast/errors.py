"""How wrong past forecasts were: whole blocks of errors, all words of one moment together.

A block keeps what belongs together together: the errors of one day after the other, and those of
price, wind, sun and temperature at the same time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin.axes import intervals
from twin.errors import SeriesError
from twin.forecast.quarters import POWER, RECIPES, Span, quarters
from twin.forecast.record import known, measured_until
from twin.physics import FloatArray
from twin.site import Site

DAYS: Final = 60
"""Latest days whose forecasts are looked back at. [1]"""

_DAY: Final = np.timedelta64(1, "D")


@dataclass(frozen=True, kw_only=True)
class Block:
    """The errors of one past forecast over a horizon and the day after it.

    Attributes
    ----------
    origin
        When the forecast was made, or would have been. [UTC]
    errors
        Word, or name of a renewable, -> what came less what was expected, in the word's unit.
    """

    origin: np.datetime64
    errors: Mapping[str, FloatArray]


class Errors:
    """The errors of past forecasts, each worked out once.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at.

    Attributes
    ----------
    record
        The series; newer ones may take their place.
    """

    def __init__(self, site: Site, record: xr.Dataset) -> None:
        self._site, self.record = site, record
        self._kept: dict[tuple[np.datetime64, int], Block | None] = {}

    def __len__(self) -> int:
        """Return how many past forecasts are kept."""
        return len(self._kept)

    def before(self, now: np.datetime64, axes: xr.Dataset, *, days: int = DAYS) -> list[Block]:
        """Return the errors of the same hour of past days, the youngest first.

        Parameters
        ----------
        now
            The moment, UTC.
        axes
            The horizon.
        days
            Most days before the moment that are looked at.

        Returns
        -------
        list of Block
            Those whose whole course has been measured by now; fewer where the record is short.
        """
        edges = axes["instant"].to_numpy()
        until = min(known(self.record[n], measured_until(now)) for n in (*RECIPES, POWER))
        oldest = now - days * _DAY
        self._kept = {key: block for key, block in self._kept.items() if key[0] >= oldest}
        found = []
        for lag in range(1, days + 1):
            origin = now - lag * _DAY
            key = (origin, len(edges))
            if key not in self._kept:
                then = intervals(edges - lag * _DAY)
                if self._ends(then) > until:
                    continue  # it goes on beyond what is known: perhaps tomorrow
                self._kept[key] = self._block(origin, then)
            block = self._kept[key]
            if block is not None:
                found.append(block)
        return found

    def _ends(self, axes: xr.Dataset) -> int:
        """Return the row of the record after the last that a forecast needs; 0 before its first."""
        try:
            return Span.of(self.record, axes).stop
        except SeriesError:
            return 0

    def _block(self, origin: np.datetime64, axes: xr.Dataset) -> Block | None:
        """Return what came less what was expected; nothing where a series has a hole.

        Nor where the record held nothing to go by then.
        """
        try:
            seen = quarters(self._site, self.record, origin, axes=axes)
        except SeriesError:
            return None
        errors = {}
        for name, expected in seen.rows.items():
            array = self.record[name] if name in RECIPES else self.record[POWER]
            series = array if name in RECIPES else array.sel(renewable=name)
            errors[name] = series.to_numpy()[seen.span.start : seen.span.stop] - expected
            if not np.isfinite(errors[name]).all():
                return None
        return Block(origin=origin, errors=errors)
