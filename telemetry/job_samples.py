"""What a cluster says of its jobs, and what it is told to do with them.

Columns are numpy arrays, so these samples are compared by their encoded form, not by ``==``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from twin.errors import WireError
from twin.physics import FloatArray
from twin.site import Site
from twin.workloads.jobs import IntArray, Jobs, TimeArray
from twin.workloads.queue import Pool, Queue


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOrders:
    """Which jobs run, until the orders expire; all others wait.

    Attributes
    ----------
    site
        Where.
    sequence
        Rises with each order of a sender.
    issued, expires
        Times of validity. [datetime64, UTC]
    caps
        Number of a job -> power of its racks as a share of the uncapped rack. [1]
    """

    site: str
    sequence: int
    issued: np.datetime64
    expires: np.datetime64
    caps: Mapping[int, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """What the cluster did with orders: which, whether they are applied, and why not."""

    site: str
    sequence: int
    is_applied: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JobColumns:
    """Jobs side by side, as :class:`twin.workloads.jobs.Jobs` has them, their kinds by name."""

    number: IntArray
    kind: tuple[str, ...]
    arrival: TimeArray
    deadline: TimeArray
    length: FloatArray
    racks: FloatArray

    @classmethod
    def of(cls, jobs: Jobs, kinds: Sequence[str]) -> Self:
        """Return the columns of some jobs; ``kinds`` are the names of the site's work."""
        names = tuple(kinds[place] for place in jobs.kind.tolist())
        return cls(**{**vars(jobs), "kind": names})

    def jobs(self, kinds: Sequence[str]) -> Jobs:
        """Return the jobs, in the order given.

        Raises
        ------
        WireError
            If a job is of a kind that the site does not have.
        """
        places = {name: place for place, name in enumerate(kinds)}
        strange = sorted(set(self.kind) - places.keys())
        if strange:
            raise WireError("jobs", strange[0], f"the site's kinds are {', '.join(kinds)}")
        return Jobs(
            number=self.number,
            kind=np.array([places[name] for name in self.kind], dtype=np.int64),
            arrival=self.arrival,
            deadline=self.deadline,
            length=self.length,
            racks=self.racks,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JobHistory:
    """Jobs that arrived in the last two weeks in order of arrival, none later than ``time``.

    Where they are more than a message takes, the oldest may be left out.
    """

    site: str
    time: np.datetime64
    jobs: JobColumns


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueueSnapshot:
    """All jobs that are here and not done.

    Attributes
    ----------
    site, time
        Where and when the cluster said so.
    jobs
        The jobs.
    done, ran
        Hours of their length that are done, and since their last start. [h]
    running
        Whether they run.
    """

    site: str
    time: np.datetime64
    jobs: JobColumns
    done: FloatArray
    ran: FloatArray
    running: NDArray[np.bool_]

    def queue(self, site: Site) -> Queue:
        """Return the queue as the twin runs it; the message gives no caps, so running jobs have 1.

        Raises
        ------
        WireError
            If a job is of a kind that the site does not have.
        """
        return Queue(
            instant=self.time,
            pool=Pool.of(site),
            jobs=self.jobs.jobs(tuple(site.work)),
            done=self.done,
            ran=self.ran,
            caps=self.running.astype(np.float64),
        )
