"""What is simulated, and what came of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from twin.site import Site
from twin.workloads.jobs import Workload
from twin.workloads.queue import Progress, Queue


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A site and everything that will happen to it.

    Attributes
    ----------
    site
        What the service believes the plant to be.
    surroundings
        Weather and available power in minutes, as
        :func:`telemetry.plants.surroundings.minutes` gives.
    begin
        True state at the start.
    workload
        All jobs, of which the service hears when they arrive.
    service_racks
        Racks busy with the inference service, one number a quarter-hour. [1]
    seed
        Seed of the plant's hidden nature and of all noise.
    absent
        Stores, sources and heat pumps that are out of service, and say so.
    """

    site: Site
    surroundings: xr.Dataset
    begin: xr.Dataset
    workload: Workload
    service_racks: Sequence[float]
    seed: int = 0
    absent: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
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
class Outcome:
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
    queue: Queue
    steps: Sequence[tuple[float, Progress]]
    counts: Counter[str]
