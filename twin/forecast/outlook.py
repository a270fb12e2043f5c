"""The outlook: what is known or expected over a horizon, from nothing but what is known now."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.axes import regrid
from twin.equipment import Renewable
from twin.forecast.baselines import DAY
from twin.forecast.quarters import RECIPES, Quarters, quarters
from twin.given import check_given
from twin.physics import FloatArray
from twin.site import Site
from twin.workloads.kinds import Service


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
    ProblemError
        If anything is of another kind.
    SeriesError
        If the record does not reach the horizon, or holds nothing to forecast from.

    Notes
    -----
    Known are the published prices (to the end of the local day, from 12:45 to the end of
    tomorrow) and what was measured up to the last full hour. Everything else is continued from
    that by :data:`twin.forecast.quarters.RECIPES`.

    The terminal price is the mean of the 24 hours after the horizon. Work or cooling left over
    could choose cheaper hours, but each put off narrows the choice of the others; a cheaper value
    was tried and led to work put off until it had to run in the dearest hours.
    """
    check_given(
        "outlook",
        site=(site, Site),
        record=(record, xr.Dataset),
        now=(now, np.datetime64),
        axes=(axes, xr.Dataset),
    )
    found = quarters(site, record, now, axes=axes, foresight=foresight)
    return labelled(site, axes, found, rows=found.rows)


def labelled(
    site: Site, axes: xr.Dataset, found: Quarters, *, rows: Mapping[str, FloatArray]
) -> xr.Dataset:
    """Return courses on quarter-hours as an outlook.

    Parameters
    ----------
    site
        The site.
    axes
        The horizon.
    found
        What is known and forecast of it.
    rows
        The courses: those of ``found``, or one of the others that may come.

    Returns
    -------
    xarray.Dataset
        As :func:`outlook` tells.
    """
    span = found.span
    whole = {**rows, "service_racks": service_racks(site.service, span.local[span.start :])}
    means = regrid(np.stack(list(whole.values())), span.edges, span.wanted)
    result = _dataset(site, axes, dict(zip(whole, means, strict=True)))
    result["terminal_price"] = ((), whole["electricity_price"][-DAY:].mean())
    return vocabulary.tag_all(result.assign_attrs(_notes(found)))


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


def _notes(found: Quarters) -> dict[str, str]:
    """Return where the known prices end, and which words end before they should."""
    span, ends = found.span, found.ends
    lacking = [name for name in RECIPES if ends[name] < min(found.seen[name], span.stop - DAY)]
    words = (f"{name}: nothing from {span.stamp(ends[name])} on, so forecast" for name in lacking)
    return {
        "prices_known_until": span.stamp(ends["electricity_price"]),
        "degraded": "; ".join(words),
    }


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
