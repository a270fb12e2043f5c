"""The record: all series of a site on quarter-hours, and how much of each is known at a time."""

from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from twin import variables
from twin.argument_checks import check_argument_types
from twin.equipment import Renewable
from twin.errors import IssueCode, SeriesError
from twin.markets.reserve_products import RESERVE_SERIES
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import QUARTER_HOUR, interval_edges, regrid, regular_axes
from twin.weather import WEATHER_VARIABLES

MEASURED_VARIABLES: Final = (*WEATHER_VARIABLES, "carbon_intensity")
"""Variables that are known only after their measurement."""

OPTIONAL_MARKET_VARIABLES: Final = (
    "day_ahead_position",
    "imbalance_short_price",
    "imbalance_long_price",
)
"""Variables that a record has only if a series has them."""

NOT_GIVEN: Final = "not_given"
"""Attribute of series: the variable whose zeros stand for a series that nobody gave."""

AXIS_EXTENSION: Final = np.timedelta64(15, "D")
"""Extension of the record's axis beyond its data, or beyond a later time, for horizons."""


def series_history(
    site: Site, *series: xr.Dataset | None, until: np.datetime64 | None = None
) -> xr.Dataset:
    """Return all series of a site on one axis of quarter-hours.

    Parameters
    ----------
    site
        The site.
    series
        Prices, carbon and weather, and optionally a position, imbalance prices and reserves by
        ``product``, each on its own ``time`` and ``instant``, of any resolution. If two have the
        same variable, the first counts. None is a series that files do not have, as
        ``telemetry.series.read`` returns it. Without carbon the intensity is zero, and
        ``attrs["not_given"]`` of the result says so.
    until
        Latest start of a horizon, even if all series end before it. [UTC]

    Returns
    -------
    xarray.Dataset
        ``electricity_price``, ``carbon_intensity``, the weather and the available power of
        renewables, ``renewable_available_power(time, renewable)``; NaN where a series has no value.
        The coordinate ``local_time(time)`` is the wall time of the site.

    Raises
    ------
    SeriesError
        If a series is missing.
    UnitError
        If a series has a wrong unit.
    """
    given = {
        f"series[{number}]": (one, xr.Dataset)
        for number, one in enumerate(series)
        if one is not None
    }
    check_argument_types("series_history", site=(site, Site), **given)
    return _history(site, _with_carbon(series), until)


def _with_carbon(series: tuple[xr.Dataset | None, ...]) -> tuple[xr.Dataset, ...]:
    """Return the series that are given, with zero carbon if none has carbon."""
    given = tuple(one for one in series if one is not None)
    priced = [one for one in given if "electricity_price" in one]
    if not priced or any("carbon_intensity" in one for one in given):
        return given
    return (*given, zero_carbon(priced[0]))


def zero_carbon(prices: xr.Dataset) -> xr.Dataset:
    """Return a carbon intensity of zero in the intervals of the prices, marked as not given.

    [kg MWh-1]
    """
    nothing = xr.zeros_like(prices["electricity_price"]).fillna(0.0).assign_attrs()
    named = variables.tag_variable(nothing, "carbon_intensity").to_dataset()
    named.attrs[NOT_GIVEN] = "carbon_intensity"
    return named.assign_coords(instant=("instant", interval_edges(prices)))


def has_carbon(series: xr.Dataset) -> bool:
    """Return whether the carbon intensity of a record or an outlook is given, or zeros for want of
    one.
    """
    return series.attrs.get(NOT_GIVEN) != "carbon_intensity"


def _history(site: Site, series: tuple[xr.Dataset, ...], until: np.datetime64 | None) -> xr.Dataset:
    """Return the series of a site on quarter-hours."""
    bought = [
        name for name in OPTIONAL_MARKET_VARIABLES if any(name in dataset for dataset in series)
    ]
    wanted = ("electricity_price", *MEASURED_VARIABLES, *bought)
    sources = {name: _first_with(name, series) for name in wanted}
    sun_and_wind = _renewable_power(site, sources)
    axes = _quarters(sources, until)
    whole = axes.assign(
        {name: _quarter_means(source[name], source, axes) for name, source in sources.items()}
    )
    powers = _quarter_means_by_owner(sun_and_wind, sources["air_temperature"], axes)
    gaps = _gaps(*(sources[name][name] for name in WEATHER_VARIABLES))
    whole["renewable_available_power"] = powers.assign_attrs(gaps=gaps)
    for name in RESERVE_SERIES:  # optional, as OPTIONAL_MARKET_VARIABLES
        if any(name in dataset for dataset in series):
            source = _first_with(name, series)
            whole[name] = _quarter_means_by_owner(source[name], source, axes)
    stamps = pd.DatetimeIndex(axes["time"].to_numpy(), tz="UTC")
    local = stamps.tz_convert(site.time_zone).tz_localize(None).to_numpy()
    if not has_carbon(sources["carbon_intensity"]):
        whole.attrs[NOT_GIVEN] = "carbon_intensity"
    return variables.tag_dataset(
        whole.assign_coords(local_time=("time", local.astype("datetime64[us]")))
    )


def measured_until(now: np.datetime64) -> np.datetime64:
    """Return the end of the measurements at a time: the last full hour.

    Series may be means of whole hours, and such a mean is known when the hour is over.
    """
    return np.datetime64(np.datetime64(now, "h"), "us")


def known_quarter_hour_count(array: xr.DataArray, until: np.datetime64) -> int:
    """Return how many quarter-hours of a record's variable are known, measured or published
    ``until``.

    A gap across that time, filled by a line to a later value, is not known.
    """
    for gap in array.attrs["gaps"]:
        begin, end = (np.datetime64(edge.rstrip("Z"), "us") for edge in gap.split("/"))
        if begin < until < end:
            until = begin
    first = array["time"].to_numpy()[0]
    return int(np.clip((until - first) // QUARTER_HOUR, 0, array.sizes["time"]))


def _first_with(name: str, series: tuple[xr.Dataset, ...]) -> xr.Dataset:
    """Return the first of the series with a variable, in its unit."""
    for dataset in series:
        if name in dataset:
            return variables.check_variables(dataset, name)
    raise SeriesError.single(
        "series",
        IssueCode.MISSING,
        name,
        expected="this variable in a series",
        remedy="give a file that has it",
    )


def _renewable_power(site: Site, sources: dict[str, xr.Dataset]) -> xr.DataArray:
    """Return the available power of every renewable, on the axis of the weather. [MW]"""
    weather = sources["air_temperature"][["time", "duration", "instant"]]
    for name in WEATHER_VARIABLES:
        if not sources[name]["instant"].equals(weather["instant"]):
            raise SeriesError.single(
                "series",
                IssueCode.WRONG_AXES,
                name,
                expected="all weather on one axis",
                remedy="give all weather in one file",
            )
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
    """Return axes that cover all series and a time, with their extension."""
    edges = [source["instant"].to_numpy() for source in sources.values()]
    first = min(edge[0] for edge in edges).astype("datetime64[h]").astype("datetime64[us]")
    last = max(edge[-1] for edge in edges)
    if until is not None:
        last = max(last, np.datetime64(until, "h").astype("datetime64[us]"))
    return regular_axes(first, int((last + AXIS_EXTENSION - first) // QUARTER_HOUR))


def _quarter_means(values: xr.DataArray, source: xr.Dataset, axes: xr.Dataset) -> xr.DataArray:
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


def _quarter_means_by_owner(
    values: xr.DataArray, source: xr.Dataset, axes: xr.Dataset
) -> xr.DataArray:
    """Return series of several owners as quarter-hour means, ``(time, owner)``."""
    (owner,) = (str(name) for name in values.dims if name != "time")
    rows = [_quarter_means(one, source, axes).to_numpy() for one in values.transpose(owner, "time")]
    stacked = np.stack(rows, axis=-1) if rows else np.empty((axes.sizes["time"], 0))
    return xr.DataArray(stacked, dims=("time", owner), coords={owner: values[owner].to_numpy()})


def _gaps(*arrays: xr.DataArray) -> list[str]:
    """Return the gaps that readers have filled in some series, as ``from/to``."""
    return sorted({gap for array in arrays for gap in array.attrs.get("gaps", [])})
