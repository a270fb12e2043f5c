"""What is known beside a question, from which the courses are drawn that it may take."""

from dataclasses import dataclass
from typing import Final

import xarray as xr

from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue

LEAST: Final = 2
"""Fewest courses that there is anything to weigh between. [1]"""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known at a moment; it goes to the solver's process, so nothing in it loads a solver.

    Attributes
    ----------
    record
        Series of the site; what is unpublished is never looked at.
    queue
        The jobs that have arrived.
    past
        Arrivals of the two weeks before.
    """

    record: xr.Dataset
    queue: JobQueue
    past: Jobs
