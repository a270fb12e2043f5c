"""What is simulated, and what came of it.

What surrounds a simulated plant: weather, sun and wind, minute by minute.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from twin import time_axes
from twin.site import Site
from twin.workload.jobs import Workload
from twin.workload.queue import JobQueue, QueueProgress


@dataclass(frozen=True, kw_only=True)
class SimulationScenario:
    """A site and everything that will happen to it.

    Attributes
    ----------
    site
        What the service believes the plant to be.
    boundary_conditions
        Weather and available power in minutes, as
        :func:`telemetry.simulator.scenario.interpolate_to_minutes` gives.
    initial_state
        True state at the start.
    workload
        All jobs, of which the service hears when they arrive.
    service_racks
        Racks busy with the inference service, one number a quarter-hour. [1]
    seed
        Seed of the plant's hidden nature and of all noise.
    out_of_service
        Stores, sources and heat pumps that are out of service, and say so.
    """

    site: Site
    boundary_conditions: xr.Dataset
    initial_state: xr.Dataset
    workload: Workload
    service_racks: Sequence[float]
    seed: int = 0
    out_of_service: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SimulationProgress:
    """How a run stands.

    Attributes
    ----------
    time
        Up to when the plant has run. [datetime64, UTC]
    done, steps
        Quarter-hours done, and in all. [1]
    is_decided
        Whether the service had decided the last one.
    net_power
        Import less export, mean of the last quarter-hour. [MW]
    running, waiting
        Jobs that ran in it, and those that wait now. [1]
    undecided, refused
        Quarter-hours without a decision so far; orders and requests that were refused. [1]
    """

    time: np.datetime64
    done: int
    steps: int
    is_decided: bool
    net_power: float
    running: int
    waiting: int
    undecided: int
    refused: int


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """What really happened.

    Attributes
    ----------
    record
        What the plant did, in minutes.
    queue
        The queue at the end.
    steps
        Work not yet done after each quarter-hour, and what was done in it. [MWh]
    counts
        Messages by kind, orders ``refused``, and quarter-hours that were ``undecided``.
    """

    record: xr.Dataset
    queue: JobQueue
    steps: Sequence[tuple[float, QueueProgress]]
    counts: Counter[str]


def interpolate_to_minutes(series: xr.Dataset, start: np.datetime64, count: int) -> xr.Dataset:
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
    grid = time_axes.regular_axes(start, count, time_axes.MINUTE)
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
