"""Long runs in spans, so that a year at one minute needs the memory of days."""

from collections.abc import Iterator

import numpy as np
import xarray as xr

from twin import state as states
from twin.equipment import CoolingPlant
from twin.run import Run, run
from twin.simulation import check, dataset, orders_of, stocks_of
from twin.site import Site
from twin.steering import WORDS
from twin.walk import Ceiling
from twin.weather import Weather


def march(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, span: int
) -> Iterator[xr.Dataset]:
    """Simulate a site span after span, each from where the one before ended.

    Parameters
    ----------
    site, state, operation
        As for :func:`twin.simulate`; put together the spans are what it gives.
    span
        Intervals of a span, the last one may have less. [1]

    Yields
    ------
    xarray.Dataset
        What the site did in a span, and the set points of the water that it was told.

    Raises
    ------
    SiteError, StateError, UnitError
        As :func:`twin.simulate` does, before the first span.
    """
    states.check(site, state)
    check(site, operation)
    grid = operation[["time", "duration", "instant"]]
    told = {word: operation[word] for word in WORDS if word in operation}
    for part, result in spans(site, state, operation, span=span):
        whole = slice(part.start, part.stop + 1)
        done = dataset(site, result, grid.isel(time=part, instant=whole))
        yield done.assign({word: values.isel(time=part) for word, values in told.items()})


def spans(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, span: int
) -> Iterator[tuple[slice, Run]]:
    """Yield which intervals a span has and what the site did in them, without labels.

    Parameters
    ----------
    site, state, operation, span
        As for :func:`march`.
    """
    stocks, orders = stocks_of(state), orders_of(site, operation)
    weather = Weather.of(operation)
    hours = operation["duration"].to_numpy()
    for first in range(0, len(hours), span):
        part = slice(first, min(first + span, len(hours)))
        air = weather.take(part)
        result = run(
            site,
            stocks,
            {key: values[part] for key, values in orders.items()},
            weather=air,
            hours=hours[part],
            ceilings=ceilings_of(site, air),
        )
        stocks = {key: float(values[-1]) for key, values in result.stocks.items()}
        yield part, result


def ceilings_of(site: Site, weather: Weather) -> dict[str, Ceiling]:
    """Return what each plant can give, worked out once for each stretch of unchanged air."""
    rows = np.stack([weather.air_temperature, weather.humidity_ratio, weather.air_pressure])
    is_new = np.append(True, (np.diff(rows, axis=1) != 0.0).any(axis=0))
    seen, stretch = np.flatnonzero(is_new), np.cumsum(is_new) - 1
    distinct = weather.take(seen)
    return {
        plant.name: Ceiling.of(plant, distinct).take(stretch) for plant in site.of(CoolingPlant)
    }
