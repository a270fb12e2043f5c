"""The outlook: what is known or expected over a horizon, from nothing but what is known now."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.axes import QUARTER, regrid
from twin.equipment import Photovoltaic, Renewable, Wind
from twin.errors import Fault, SeriesError
from twin.forecast.baselines import DAY, Recipe, extrapolate
from twin.forecast.record import MEASURED, REACH, known, measured_until, published_until
from twin.physics import FloatArray
from twin.site import Site
from twin.workloads.kinds import Service

RECIPES: Final = {
    "electricity_price": Recipe(days=7, fading=0.75, is_alike=True, window=12, memory=24.0),
    "carbon_intensity": Recipe(days=7, fading=0.6, window=2, memory=24.0),
    "air_temperature": Recipe(days=3, window=1, memory=24.0),
    "relative_humidity": Recipe(days=5, window=1, memory=12.0),
    "air_pressure": Recipe(days=1, is_hourly=False, window=1, memory=48.0),
    "wind_speed": Recipe(days=7, is_hourly=False, window=1, memory=24.0),
    "global_irradiance": Recipe(days=7, window=2, memory=4.0, is_scaled=True),
}
"""How each word is continued; of a few dozen tried on DE-LU, 2023, those with the least mean error
over 48 h (pressure, which that file lacks: judged)."""

RECIPES_OF_KIND: Final[dict[type[Renewable], Recipe]] = {
    Photovoltaic: RECIPES["global_irradiance"],
    Wind: RECIPES["wind_speed"],
}
"""The power of a machine is continued like the weather that drives it."""

_POWER: Final = "renewable_available_power"

BOUNDS: Final = {
    "relative_humidity": (0.0, 1.0),
    "air_pressure": (0.0, np.inf),
    "wind_speed": (0.0, np.inf),
    "global_irradiance": (0.0, np.inf),
    "carbon_intensity": (0.0, np.inf),
}
"""What a forecast cannot leave, in the word's unit."""


def outlook(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    foresight: bool = False,
) -> xr.Dataset:
    """Return prices, carbon, weather, renewables and service over a horizon.

    Parameters
    ----------
    site
        The site.
    record
        Its series, as :func:`twin.forecast.record.record` makes them.
    now
        The moment, UTC.
    axes
        The horizon, from ``now`` or later; see :func:`twin.axes.horizon`.
    foresight
        Know all of the record, whatever ``now`` is: for the yardstick of perfect foresight and
        for the true weather of a plant.

    Returns
    -------
    xarray.Dataset
        On ``axes``: ``electricity_price``, ``carbon_intensity``, the weather,
        ``renewable_available_power(time, renewable)``, ``service_racks``, and the scalar
        ``terminal_price``. ``attrs["prices_known_until"]`` is the end of the known prices;
        ``attrs["degraded"]`` says what should be known and is not, or is empty.

    Raises
    ------
    SeriesError
        If the record does not reach the horizon, or holds nothing to forecast from.

    Notes
    -----
    Known are the published prices (to the end of the local day, from 12:45 to the end of
    tomorrow) and what was measured up to the last full hour. Everything else is continued from
    that by :data:`RECIPES`.

    The terminal price is the mean of the 24 hours after the horizon. Work or cooling left over
    could choose cheaper hours, but each put off narrows the choice of the others; a cheaper value
    was tried and led to work put off until it had to run in the dearest hours.
    """
    span = _Span.of(record, axes)
    seen = _seen(site, record, now, foresight=foresight)
    rows, ends = {}, {}
    for name, recipe in RECIPES.items():
        series = record[name].to_numpy()
        values, ends[name] = span.values(series, recipe, name=name, seen=seen[name])
        rows[name] = np.clip(values, *BOUNDS.get(name, (-np.inf, np.inf)))
    rows |= _powers(site, record[_POWER], span, seen[_POWER])
    rows["service_racks"] = service_racks(site.service, span.local[span.start :])
    means = regrid(np.stack(list(rows.values())), span.edges, span.wanted)
    result = _dataset(site, axes, dict(zip(rows, means, strict=True)))
    result["terminal_price"] = ((), rows["electricity_price"][-DAY:].mean())
    return vocabulary.tag_all(result.assign_attrs(_notes(span, seen, ends)))


def service_racks(service: Service, local: np.ndarray) -> FloatArray:
    """Return the racks that the inference service keeps busy.

    Parameters
    ----------
    service
        The service.
    local
        Local wall times. [datetime64]

    Returns
    -------
    numpy.ndarray
        Racks at these times. [1]

    Notes
    -----
    The week is a closed polyline through the shares of its 168 hours, each at the hour's start;
    weekends have ``weekend_share`` of a working day.
    """
    days = np.array([1.0] * 5 + [service.weekend_share] * 2)
    week = np.outer(days, service.daily_shape).ravel()
    monday = np.datetime64("1970-01-05")
    hour = ((local - monday) / np.timedelta64(1, "h")) % len(week)
    shares = np.interp(hour, np.arange(len(week)), week, period=len(week))
    return np.asarray(service.racks * shares)


@dataclass(frozen=True, kw_only=True)
class _Span:
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
    def of(cls, record: xr.Dataset, axes: xr.Dataset) -> "_Span":
        """Find the horizon in the record."""
        first, wanted = record["time"].to_numpy()[0], axes["instant"].to_numpy()
        start = int((wanted[0] - first) // QUARTER)
        stop = int(-((first - wanted[-1]) // QUARTER)) + DAY
        if start < 0 or stop > record.sizes["time"]:
            last = record["instant"].to_numpy()[-1] - REACH
            place = f"horizon from {_text(wanted[0])} to {_text(wanted[-1])}"
            mend = (
                f"the series cover {_text(first)} to {_text(last)}; ask within, or give longer ones"
            )
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
        return _text(self.edges[0] + (row - self.start) * QUARTER)


def _seen(site: Site, record: xr.Dataset, now: np.datetime64, *, foresight: bool) -> dict[str, int]:
    """Return how many quarter-hours of each variable are known."""
    until = dict.fromkeys((*MEASURED, _POWER), measured_until(now))
    until["electricity_price"] = published_until(now, site.time_zone)
    if foresight:
        return dict.fromkeys(until, record.sizes["time"])
    return {name: known(record[name], moment) for name, moment in until.items()}


def _notes(span: _Span, seen: dict[str, int], ends: dict[str, int]) -> dict[str, str]:
    """Return where the known prices end, and which words end before they should."""
    lacking = [name for name, end in ends.items() if end < min(seen[name], span.stop - DAY)]
    words = (f"{name}: nothing from {span.stamp(ends[name])} on, so forecast" for name in lacking)
    return {
        "prices_known_until": span.stamp(ends["electricity_price"]),
        "degraded": "; ".join(words),
    }


def _powers(site: Site, array: xr.DataArray, span: _Span, seen: int) -> dict[str, FloatArray]:
    """Return what each renewable can give over the span, by its id. [MW]"""
    powers = {}
    for machine in site.of(Renewable):
        recipe = next(r for kind, r in RECIPES_OF_KIND.items() if isinstance(machine, kind))
        series = array.sel(renewable=machine.name).to_numpy()
        values, _ = span.values(series, recipe, name=machine.name, seen=seen)
        powers[machine.name] = np.clip(values, 0.0, machine.power)
    return powers


def _dataset(site: Site, axes: xr.Dataset, means: dict[str, FloatArray]) -> xr.Dataset:
    """Return means with labels, those of the renewables on an axis of their own."""
    names = [machine.name for machine in site.of(Renewable)]
    powers = [means.pop(name) for name in names]
    stacked = np.stack(powers, axis=-1) if powers else np.empty((axes.sizes["time"], 0))
    return xr.Dataset(
        {name: ("time", values) for name, values in means.items()}
        | {"renewable_available_power": (("time", "renewable"), stacked)},
        coords=axes[["time", "duration", "instant"]].coords
        | {"renewable": np.array(names, dtype=np.str_)},
    )


def _text(moment: np.datetime64) -> str:
    return f"{np.datetime_as_string(moment, 'm')}Z"
