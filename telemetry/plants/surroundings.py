"""What surrounds a simulated plant: weather, sun and wind, minute by minute."""

import numpy as np
import xarray as xr

from twin import axes


def minutes(series: xr.Dataset, start: np.datetime64, count: int) -> xr.Dataset:
    """Return interval means as a smooth course in minutes.

    Parameters
    ----------
    series
        Weather and available power on ``time`` with ``duration``; the first axis of every
        variable is ``time``.
    start
        First minute.
    count
        Number of minutes.

    Returns
    -------
    xarray.Dataset
        The same variables on one-minute axes, linear between the middles of the intervals.
    """
    grid = axes.regular(start, count, axes.MINUTE)
    duration = (series["duration"].to_numpy() * 1.8e9).astype("timedelta64[us]")
    middle = (series["time"].to_numpy() + duration).astype(np.int64)
    wanted = (grid["time"].to_numpy() + np.timedelta64(30, "s")).astype(np.int64)
    for name, array in series.data_vars.items():
        values = array.transpose("time", ...).to_numpy()
        columns = values.reshape(len(middle), -1)
        smooth = np.empty((len(wanted), columns.shape[1]))  # a site may have neither sun nor wind
        for i, column in enumerate(columns.T):
            smooth[:, i] = np.interp(wanted, middle, column)
        dims = ("time", *(d for d in array.dims if d != "time"))
        grid[name] = xr.DataArray(
            smooth.reshape(len(wanted), *values.shape[1:]), dims=dims, attrs=array.attrs
        )
        for dim in dims[1:]:
            grid[dim] = series[dim]
    return grid
