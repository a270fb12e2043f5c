"""The record: all series of a site on quarter-hours, and how much of it may be known when."""

from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from twin import variables
from twin.equipment import Renewable
from twin.errors import SeriesError, ValidationIssue
from twin.markets.reserve_products import RESERVE_SERIES
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import QUARTER_HOUR, local_midnight, regrid, regular_axes
from twin.validation import check_argument_types

WEATHER_VARIABLES: Final = (
    "air_temperature",
    "relative_humidity",
    "air_pressure",
    "wind_speed",
    "global_irradiance",
)
"""Words of the weather."""

MEASURED_VARIABLES: Final = (*WEATHER_VARIABLES, "carbon_intensity")
"""What is known only once it has been measured."""

MARKET_VARIABLES: Final = ("day_ahead_position", "imbalance_short_price", "imbalance_long_price")
"""What a record holds only if a series does."""

PRICE_PUBLICATION_TIME: Final = pd.Timedelta(hours=12, minutes=45)
"""Local time at which tomorrow's day-ahead prices stand published."""

AXIS_EXTENSION: Final = np.timedelta64(15, "D")
"""The record's axis goes on this far beyond its data, or a later moment, for horizons that do."""


def series_history(
    site: Site, *series: xr.Dataset, until: np.datetime64 | None = None
) -> xr.Dataset:
    """Return all series of a site on one axis of quarter-hours.

    Parameters
    ----------
    site
        The site.
    series
        Prices, carbon and weather, perhaps a position and prices of imbalance, perhaps reserves by
        ``product``, each on its own ``time`` and ``instant``, of any resolution.
        Where two hold the same word, the first counts.
    until
        Moment from which horizons are asked, though all series may end before it. [UTC]

    Returns
    -------
    xarray.Dataset
        ``electricity_price``, ``carbon_intensity``, the weather and what sun and wind would have
        given, ``renewable_available_power(time, renewable)``; NaN where a series holds nothing.
        The coordinate ``local_time(time)`` is the wall time of the site.

    Raises
    ------
    SeriesError
        If a series is missing.
    UnitError
        If one has another unit than the vocabulary's.
    """
    given = {f"series[{number}]": (one, xr.Dataset) for number, one in enumerate(series)}
    check_argument_types("record", site=(site, Site), **given)
    bought = [name for name in MARKET_VARIABLES if any(name in dataset for dataset in series)]
    wanted = ("electricity_price", *MEASURED_VARIABLES, *bought)
    sources = {name: _holder(name, series) for name in wanted}
    sun_and_wind = _renewable_power(site, sources)
    axes = _quarters(sources, until)
    whole = axes.assign(
        {name: _place(source[name], source, axes) for name, source in sources.items()}
    )
    powers = _each(sun_and_wind, sources["air_temperature"], axes)
    gaps = _gaps(*(sources[name][name] for name in WEATHER_VARIABLES))
    whole["renewable_available_power"] = powers.assign_attrs(gaps=gaps)
    for name in RESERVE_SERIES:  # what a record holds only if a series does, as MARKET
        if any(name in dataset for dataset in series):
            source = _holder(name, series)
            whole[name] = _each(source[name], source, axes)
    stamps = pd.DatetimeIndex(axes["time"].to_numpy(), tz="UTC")
    local = stamps.tz_convert(site.time_zone).tz_localize(None).to_numpy()
    return variables.tag_dataset(
        whole.assign_coords(local_time=("time", local.astype("datetime64[us]")))
    )


def published_until(now: np.datetime64, time_zone: str) -> np.datetime64:
    """Return the end of the day-ahead prices published at a moment.

    Parameters
    ----------
    now
        The moment, UTC.
    time_zone
        IANA zone by which the market keeps its day.

    Returns
    -------
    numpy.datetime64
        Midnight there after today, or from 12:45 there on that after tomorrow. [UTC]
    """
    clock = pd.Timestamp(now, tz="UTC").tz_convert(time_zone).tz_localize(None)
    today = clock.normalize()
    is_out = clock - today >= PRICE_PUBLICATION_TIME
    return local_midnight(today + pd.DateOffset(days=2 if is_out else 1), time_zone)


def measured_until(now: np.datetime64) -> np.datetime64:
    """Return the end of what has been measured at a moment: the last full hour.

    Series may be means of whole hours, and the mean of an hour is known when the hour is over.
    """
    return np.datetime64(np.datetime64(now, "h"), "us")


def known_quarters(array: xr.DataArray, until: np.datetime64) -> int:
    """Return how many quarter-hours of a record's variable are known, given a moment.

    Parameters
    ----------
    array
        Variable of a :func:`record`.
    until
        End of what has been measured or published.

    Returns
    -------
    int
        Number of known quarter-hours; a gap across the moment, filled by a line to a value after
        it, does not count.
    """
    for gap in array.attrs["gaps"]:
        begin, end = (np.datetime64(edge.rstrip("Z"), "us") for edge in gap.split("/"))
        if begin < until < end:
            until = begin
    first = array["time"].to_numpy()[0]
    return int(np.clip((until - first) // QUARTER_HOUR, 0, array.sizes["time"]))


def _holder(name: str, series: tuple[xr.Dataset, ...]) -> xr.Dataset:
    """Return the first of the series that holds a word, in its unit."""
    for dataset in series:
        if name in dataset:
            return variables.check_variables(dataset, name)
    remedy = "no series holds it; give a file that does"
    raise SeriesError("series", [ValidationIssue(location=name, found="", remedy=remedy)])


def _renewable_power(site: Site, sources: dict[str, xr.Dataset]) -> xr.DataArray:
    """Return what every renewable would have given, on the axis of the weather. [MW]"""
    weather = sources["air_temperature"][["time", "duration", "instant"]]
    for name in WEATHER_VARIABLES:
        if not sources[name]["instant"].equals(weather["instant"]):
            remedy = "all weather must come from one file, on one axis"
            raise SeriesError("series", [ValidationIssue(location=name, found="", remedy=remedy)])
        weather = weather.assign({name: sources[name][name].astype(float)})
    weather = weather.assign_attrs(latitude=site.latitude, longitude=site.longitude)
    machines = site.machines_of(Renewable)
    powers = np.empty((len(machines), weather.sizes["time"]))
    is_blank = np.any([np.isnan(weather[name].to_numpy()) for name in WEATHER_VARIABLES], axis=0)
    for row, machine in enumerate(machines):
        powers[row] = np.where(is_blank, np.nan, machine.available_power(weather))
    coords = {"renewable": np.array([machine.name for machine in machines], dtype=np.str_)}
    return xr.DataArray(powers, dims=("renewable", "time"), coords=coords)


def _quarters(sources: dict[str, xr.Dataset], until: np.datetime64 | None) -> xr.Dataset:
    """Return the axes that hold all series and a moment, and the reach beyond them."""
    edges = [source["instant"].to_numpy() for source in sources.values()]
    first = min(edge[0] for edge in edges).astype("datetime64[h]").astype("datetime64[us]")
    last = max(edge[-1] for edge in edges)
    if until is not None:
        last = max(last, np.datetime64(until, "h").astype("datetime64[us]"))
    return regular_axes(first, int((last + AXIS_EXTENSION - first) // QUARTER_HOUR))


def _place(values: xr.DataArray, source: xr.Dataset, axes: xr.Dataset) -> xr.DataArray:
    """Return a series as means of the quarter-hours that it covers, NaN in the others."""
    edges = source["instant"].to_numpy()
    quarters = axes["instant"].to_numpy()
    low, high = np.searchsorted(quarters, edges[0]), np.searchsorted(quarters, edges[-1], "right")
    wanted = quarters[low:high]
    given = values.to_numpy().astype(float)
    is_blank = np.isnan(given)
    means, blank = regrid(np.stack([np.where(is_blank, 0.0, given), is_blank]), edges, wanted)
    whole: FloatArray = np.full(axes.sizes["time"], np.nan)
    whole[low : high - 1] = np.where(blank > 0.0, np.nan, means)
    return xr.DataArray(whole, dims="time", attrs={"gaps": _gaps(values)})


def _each(values: xr.DataArray, source: xr.Dataset, axes: xr.Dataset) -> xr.DataArray:
    """Return series of several owners, each as :func:`_place` gives it, ``(time, owner)``."""
    (owner,) = (str(name) for name in values.dims if name != "time")
    rows = [_place(one, source, axes).to_numpy() for one in values.transpose(owner, "time")]
    stacked = np.stack(rows, axis=-1) if rows else np.empty((axes.sizes["time"], 0))
    return xr.DataArray(stacked, dims=("time", owner), coords={owner: values[owner].to_numpy()})


def _gaps(*arrays: xr.DataArray) -> list[str]:
    """Return the gaps of series that their readers have filled, as ``from/to``."""
    return sorted({gap for array in arrays for gap in array.attrs.get("gaps", [])})
