"""The quarter-hours behind an outlook: what is known of each word, and what continues it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin.axes import QUARTER, to_minute
from twin.bounds import GREATEST_INTENSITY
from twin.equipment import Photovoltaic, Renewable, Wind
from twin.errors import Fault, SeriesError
from twin.forecast.baselines import DAY, Recipe, extrapolate
from twin.forecast.record import MEASURED, REACH, known, measured_until, published_until
from twin.physics import FloatArray
from twin.site import Site
from twin.weather import POSSIBLE

RECIPES: Final = {
    "electricity_price": Recipe(days=28, fading=0.9, is_alike=True, window=12, memory=48.0),
    "carbon_intensity": Recipe(days=28, fading=0.9, is_alike=True, window=2, memory=48.0),
    "air_temperature": Recipe(days=3, window=1, memory=24.0),
    "relative_humidity": Recipe(days=5, window=1, memory=12.0),
    "air_pressure": Recipe(days=1, is_hourly=False, window=1, memory=48.0),
    "wind_speed": Recipe(days=7, is_hourly=False, window=1, memory=24.0),
    "global_irradiance": Recipe(days=7, window=2, memory=4.0, is_scaled=True),
}
"""How each word is continued.

Price and carbon: of a few dozen tried on 2022 in four zones, among the least mean errors over the
week ahead and over its first two days (ADR 021). Weather: of a few dozen tried on DE-LU, 2023, the
least mean errors over 48 h; pressure, which that file lacks: judged.
"""

RECIPES_OF_KIND: Final[dict[type[Renewable], Recipe]] = {
    Photovoltaic: RECIPES["global_irradiance"],
    Wind: RECIPES["wind_speed"],
}
"""The power of a machine is continued like the weather that drives it."""

POWER: Final = "renewable_available_power"
"""What the record calls the power of the renewables."""

BOUNDS: Final = {
    **POSSIBLE,
    "relative_humidity": (0.0, 1.0),
    "wind_speed": (0.0, np.inf),
    "global_irradiance": (0.0, np.inf),
    "carbon_intensity": (0.0, GREATEST_INTENSITY),
}
"""What a forecast cannot leave, in the word's unit."""


@dataclass(frozen=True, kw_only=True)
class Quarters:
    """Values of every word on the quarter-hours of a horizon and of the day after it.

    Attributes
    ----------
    span
        Where they stand in the record.
    rows
        Word, or name of a renewable, -> values, in the word's unit.
    ends
        The same -> row of the record where the known ones end.
    seen
        The same -> row up to which they should be known.
    """

    span: "Span"
    rows: dict[str, FloatArray]
    ends: dict[str, int]
    seen: dict[str, int]


def quarters(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    foresight: bool = False,
) -> Quarters:
    """Return what is known and what is forecast, on quarter-hours.

    Parameters
    ----------
    site
        The site.
    record
        Its series, as :func:`twin.forecast.record.record` makes them.
    now
        The moment, UTC.
    axes
        The horizon, from ``now`` or later.
    foresight
        Know all of the record.

    Returns
    -------
    Quarters
        The words of :data:`RECIPES` and the power of every renewable. [MW]

    Raises
    ------
    SeriesError
        If the record does not reach the horizon, or holds nothing to forecast from.
    """
    span = Span.of(record, axes)
    seen = _seen(site, record, now, foresight=foresight)
    rows, ends = {}, {}
    for name, recipe in RECIPES.items():
        series = record[name].to_numpy()
        values, ends[name] = span.values(series, recipe, name=name, seen=seen[name])
        rows[name] = np.clip(values, *BOUNDS.get(name, (-np.inf, np.inf)))
    for machine in site.of(Renewable):
        recipe = next(r for kind, r in RECIPES_OF_KIND.items() if isinstance(machine, kind))
        series = record[POWER].sel(renewable=machine.name).to_numpy()
        name, seen[machine.name] = machine.name, seen[POWER]
        values, ends[name] = span.values(series, recipe, name=name, seen=seen[POWER])
        rows[name] = np.clip(values, 0.0, machine.power)
    return Quarters(span=span, rows=rows, ends=ends, seen=seen)


@dataclass(frozen=True, kw_only=True)
class Span:
    """The quarter-hours of a record that a horizon needs, the day after it among them.

    Attributes
    ----------
    start, stop
        First row and the one after the last.
    local
        Local time of all rows up to ``stop``.
    edges, wanted
        Edges of these quarter-hours, and of the horizon.
    """

    start: int
    stop: int
    local: np.ndarray
    edges: np.ndarray
    wanted: np.ndarray

    @classmethod
    def of(cls, record: xr.Dataset, axes: xr.Dataset) -> "Span":
        """Find the horizon in the record."""
        first, wanted = record["time"].to_numpy()[0], axes["instant"].to_numpy()
        start = int((wanted[0] - first) // QUARTER)
        stop = int(-((first - wanted[-1]) // QUARTER)) + DAY
        if start < 0 or stop > record.sizes["time"]:
            last = record["instant"].to_numpy()[-1] - REACH
            place = f"horizon from {to_minute(wanted[0])} to {to_minute(wanted[-1])}"
            covered = f"{to_minute(first)} to {to_minute(last)}"
            mend = f"the series cover {covered}; ask within, or give longer ones"
            raise SeriesError("outlook", [Fault(place=place, value="", mend=mend)])
        edges = first + np.arange(start, stop + 1) * QUARTER
        local = record["local_time"].to_numpy()[:stop]
        return cls(start=start, stop=stop, local=local, edges=edges, wanted=wanted)

    def values(
        self, series: FloatArray, recipe: Recipe, *, name: str, seen: int
    ) -> tuple[FloatArray, int]:
        """Return the known values of the span, continued by forecast, and where the known end."""
        end = min(seen, self.stop)
        blank = np.flatnonzero(np.isnan(series[self.start : end]))
        if len(blank):
            end = self.start + int(blank[0])
        finite = np.flatnonzero(np.isfinite(series[:end]))
        end = int(finite[-1]) + 1 if len(finite) else 0
        ahead = extrapolate(series[:end], self.local[:end], recipe=recipe, ahead=self.local[end:])
        whole = np.concatenate([series[self.start : end], ahead[max(self.start - end, 0) :]])
        if not np.isfinite(whole).all():
            place = f"{name} from {self.stamp(max(end, self.start))}"
            mend = "the days before hold nothing to forecast from; give longer series"
            raise SeriesError("outlook", [Fault(place=place, value="", mend=mend)])
        return whole, end

    def stamp(self, row: int) -> str:
        """Return the time of a row of the record, for people."""
        return to_minute(self.edges[0] + (row - self.start) * QUARTER)


def _seen(site: Site, record: xr.Dataset, now: np.datetime64, *, foresight: bool) -> dict[str, int]:
    """Return how many quarter-hours of each variable are known."""
    until = dict.fromkeys((*MEASURED, POWER), measured_until(now))
    until["electricity_price"] = published_until(now, site.market_day_zone)
    if foresight:
        return dict.fromkeys(until, record.sizes["time"])
    return {name: known(record[name], moment) for name, moment in until.items()}
