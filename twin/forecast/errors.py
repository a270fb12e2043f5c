"""How wrong past forecasts were: whole blocks of errors, all words of one moment together.

A block keeps what belongs together together: the errors of one day after the other, and those of
price, wind, sun and temperature at the same time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr

from twin.axes import HOUR, QUARTER, intervals
from twin.errors import SeriesError
from twin.forecast.baselines import DAY
from twin.forecast.quarters import POWER, RECIPES, Span, quarters
from twin.forecast.record import known, measured_until
from twin.physics import FloatArray
from twin.site import Site

DAYS: Final = 60
"""Latest days whose forecasts are looked back at. [1]"""

_DAY: Final = np.timedelta64(1, "D")
_ALMOST: Final = HOUR - np.timedelta64(1, "us")


@dataclass(frozen=True, kw_only=True)
class Block:
    """The errors of one past forecast over a horizon and the day after it.

    Attributes
    ----------
    origin
        When the forecast was made, or would have been. [UTC]
    start, stop
        Ends of the horizon. [UTC]
    errors
        Word, or name of a renewable, -> what came less what was expected, by quarter-hour, in the
        word's unit. Nothing where a series has a hole.
    """

    origin: np.datetime64
    start: np.datetime64
    stop: np.datetime64
    errors: Mapping[str, FloatArray]

    def over(self, start: np.datetime64, stop: np.datetime64) -> Self:
        """Return the same over a part of the horizon and the day after that."""
        first, last = int((start - self.start) // QUARTER), -int((self.start - stop) // QUARTER)
        rows = slice(first, last + DAY)
        part = {name: values[rows] for name, values in self.errors.items()}
        return replace(self, start=start, stop=stop, errors=part)


class Errors:
    """The errors of past forecasts, each worked out once.

    Forecasts of full hours serve all moments until the next: those of each quarter-hour would be
    four times as many to keep, and a few minutes better.

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
        self._kept: dict[np.datetime64, Block] = {}

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
        until = min(known(self.record[n], measured_until(now)) for n in (*RECIPES, POWER))
        oldest = _full_hour(now - days * _DAY)
        self._kept = {origin: block for origin, block in self._kept.items() if origin >= oldest}
        edges, found = axes["instant"].to_numpy(), []
        for back in np.arange(1, days + 1) * _DAY:
            start, stop, origin = edges[0] - back, edges[-1] - back, _full_hour(now - back)
            block = self._kept.get(origin)
            if block is None or block.start > start or block.stop < stop:
                then = intervals(np.array([_full_hour(start), _full_hour(stop + _ALMOST)]))
                if self._ends(then) > until:
                    continue  # it goes on beyond what is known: perhaps tomorrow
                block = self._kept[origin] = self._block(origin, then)
            if block.errors:
                found.append(block.over(start, stop))
        return found

    def _ends(self, axes: xr.Dataset) -> int:
        """Return the row of the record after the last that a forecast needs; 0 before its first."""
        try:
            return Span.of(self.record, axes).stop
        except SeriesError:
            return 0

    def _block(self, origin: np.datetime64, axes: xr.Dataset) -> Block:
        """Return what came less what was expected; nothing where a series has a hole.

        Nor where the record held nothing to go by then.
        """
        start, stop = axes["instant"].to_numpy()
        errors = {}
        try:
            seen = quarters(self._site, self.record, origin, axes=axes)
        except SeriesError:
            return Block(origin=origin, start=start, stop=stop, errors={})
        for name, expected in seen.rows.items():
            array = self.record[name] if name in RECIPES else self.record[POWER]
            series = array if name in RECIPES else array.sel(renewable=name)
            errors[name] = series.to_numpy()[seen.span.start : seen.span.stop] - expected
        is_whole = all(np.isfinite(values).all() for values in errors.values())
        return Block(origin=origin, start=start, stop=stop, errors=errors if is_whole else {})


def _full_hour(moment: np.datetime64) -> np.datetime64:
    return np.datetime64(np.datetime64(moment, "h"), "us")
