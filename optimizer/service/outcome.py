"""What is known when a quarter-hour begins, and what is made of it."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from optimizer.dispatch import Orders
from optimizer.problem import Problem
from optimizer.question.horizons import Promised, nothing
from optimizer.service.fallback import Choice
from twin.errors import NoScheduleError
from twin.estimation.observer import StateEstimate
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known when a quarter-hour begins.

    Attributes
    ----------
    observed
        Newest good readings under the names of the state, and ``hall_power(hall)``.
    queue
        The jobs now.
    past
        Arrivals of the last two weeks.
    record
        Prices, carbon and weather.
    hold
        Why a person holds the service; empty if nobody does.
    is_steerable
        Whether the plant takes set points of its water; if not, plans keep to the declared ones.
    promised
        Horizon -> what others ask of the connection over it, in words of an outlook.
    apart
        Racks that are not acted on, as plant and cluster do not name them alike.
    """

    observed: xr.Dataset
    queue: JobQueue
    past: Jobs
    record: xr.Dataset
    hold: str = ""
    is_steerable: bool = True
    promised: Promised = nothing
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was made of it.

    Attributes
    ----------
    time
        Start of the quarter-hour.
    estimate
        The state, and how far it is believed.
    problem
        The question.
    choice
        The schedule, its label and its reasons.
    queue
        The jobs.
    orders
        What to do now.
    seconds
        How long it took, of the wall clock. [s]
    apart
        Racks that are not acted on, ``{hall}-{rack}``.
    absent
        Machines out of service or drained, in words.
    """

    time: np.datetime64
    estimate: StateEstimate
    problem: Problem
    choice: Choice
    queue: JobQueue
    orders: Orders
    seconds: float
    apart: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class RestError(NoScheduleError):
    """No schedule is safe; work rests.

    Parameters
    ----------
    outcome
        What is ordered all the same: caps of jobs and halls.
    """

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.choice.reason)
        self.outcome = outcome
