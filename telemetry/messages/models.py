"""What comes over the wire, decoded: frozen, with times in UTC and units that the field tells.

Columns and chips are numpy arrays, so samples are compared by their encoded form, not by ``==``.

What a cluster says of its jobs, and what it is told to do with them.

Columns are numpy arrays, so these samples are compared by their encoded form, not by ``==``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from twin.errors import MessageError
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site import Site
from twin.workload.jobs import Jobs, TimeArray
from twin.workload.queue import JobQueue, RackPool

__all__ = [
    "CHIP_VARIABLES",
    "GOOD_QUALITY",
    "PLANT_SENDER",
    "REPEAT_PERIOD",
    "CapOrder",
    "CapStatus",
    "ControlMessage",
    "DecisionNotice",
    "PointMetadata",
    "PointValue",
    "RackBatch",
    "Sample",
    "SimulationTick",
]

PLANT_SENDER: Final = "PUB"
"""Sender of the values that a building-management system publishes itself."""

GOOD_QUALITY: Final = 1
"""The one quality that a sender may be trusted with."""

REPEAT_PERIOD: Final = np.timedelta64(100, "s")
"""Longest silence of a point that is well, changed or not: a rule of the contract."""

CHIP_VARIABLES: Final = ("power", "temperature", "utilisation", "memory", "clock")
"""Rows of a rack batch: [W], [degC], [1], [1], [MHz]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointValue:
    """One reading of one point of the plant, or one request to it, in the point's own unit.

    Attributes
    ----------
    point
        ``{objectType}/{pointType}/{tagPath}``, the end of its topics.
    time
        When it was read. [datetime64, UTC]
    value
        The reading, or None if the sender has none.
    quality
        1 is good; anything else is not to be trusted.
    sender
        ``PUB``, or the integration that wrote it.
    """

    point: str
    time: np.datetime64
    value: float | None
    quality: int = GOOD_QUALITY
    sender: str = PLANT_SENDER


@dataclass(frozen=True, kw_only=True, slots=True)
class PointMetadata:
    """What a point is.

    Attributes
    ----------
    point
        ``{objectType}/{pointType}/{tagPath}``, the end of its topics.
    object_type, point_type
        Words of the contract.
    object_id, object_name
        The object that the point belongs to, by its id in the site file.
    is_associated
        Whether the object is named by ``associateId``: the point is a part of it.
    unit
        Engineering unit, or "".
    state_text
        Pairs of a value and its meaning, for points without unit.
    process_area
        Words that tell points of one type and object apart.
    serves
        Ids of the objects downstream, on the path of power or of liquid.
    integration
        Who has to write the value, or "" for the plant itself.
    is_setpoint
        Whether the value is a target and not a reading.
    rack, rack_name
        Location of a rack, the same for plant and cluster; "" if it is no rack.
    phase, scope
        Electrical phase; topics that a heartbeat stands for. Both mostly "".
    """

    point: str
    object_type: str
    point_type: str
    object_id: str = ""
    object_name: str = ""
    is_associated: bool = False
    unit: str = ""
    state_text: tuple[tuple[int, str], ...] = ()
    process_area: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    integration: str = ""
    is_setpoint: bool = False
    rack: str = ""
    rack_name: str = ""
    phase: str = ""
    scope: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RackBatch:
    """What the accelerators of one rack say of one interval.

    Attributes
    ----------
    site, hall, rack
        Where the rack stands; ``rack`` is its name in the hall.
    boot, sequence
        When the sender started, and its count since: with the topic the key of the sample.
    time
        End of the interval. [datetime64, UTC]
    interval
        Length of the interval.
    values
        One row for each of :data:`CHIP_VARIABLES`, one column for each chip, all NaN for one that
        is not there. [float32]
    """

    site: str
    hall: str
    rack: str
    boot: int
    sequence: int
    time: np.datetime64
    interval: np.timedelta64
    values: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class CapOrder:
    """A greatest power of a hall, in force until it expires; then the local default holds.

    Attributes
    ----------
    site, hall
        Where.
    sequence
        Rises with each order of a sender.
    issued, expires
        Times of validity. [datetime64, UTC]
    power_cap
        Greatest power at the inlets of the hall's racks. [MW]
    excluded_racks
        Racks of the hall that it does not apply to and does not count.
    """

    site: str
    hall: str
    sequence: int
    issued: np.datetime64
    expires: np.datetime64
    power_cap: float
    excluded_racks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class CapStatus:
    """What the plant did with a cap: the order, whether it is applied, and why not."""

    order: CapOrder
    is_applied: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationTick:
    """Simulated time: all telemetry of the interval that ends at ``time`` has been sent.

    Attributes
    ----------
    site, time
        Where, and the end of the interval. [datetime64, UTC]
    interval
        Length of the interval.
    step, steps
        Number of the interval, 0 for the start, and how many there will be.
    batches, points
        Messages that were sent since the last tick.
    is_last
        Whether the run ends here.
    """

    site: str
    time: np.datetime64
    interval: np.timedelta64
    step: int
    steps: int
    batches: int
    points: int
    is_last: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionNotice:
    """The service has decided for a tick.

    Attributes
    ----------
    site, time
        Of the tick.
    sequence
        That of the job orders, or -1 if nothing was ordered.
    """

    site: str
    time: np.datetime64
    sequence: int


type ControlMessage = (
    CapOrder
    | CapStatus
    | JobOrders
    | JobStatus
    | JobHistory
    | QueueSnapshot
    | SimulationTick
    | DecisionNotice
)
"""What is said between the rooms of a site, not measured."""

type Sample = PointValue | PointMetadata | RackBatch | ControlMessage
"""All that decodes."""


def epoch_microseconds(time: np.datetime64) -> int:
    """Return a moment as microseconds since 1970."""
    return int(time.astype("datetime64[us]").astype(np.int64))


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
    """Jobs side by side, as :class:`twin.workload.jobs.Jobs` has them, their kinds by name."""

    number: IntArray
    kind: tuple[str, ...]
    arrival: TimeArray
    deadline: TimeArray
    length: FloatArray
    racks: FloatArray

    @classmethod
    def of(cls, jobs: Jobs, kinds: Sequence[str]) -> Self:
        """Return the columns of some jobs; ``kinds`` are the names of the site's work."""
        names = tuple(kinds[place] for place in jobs.kind_index.tolist())
        columns = {name: values for name, values in vars(jobs).items() if name != "kind_index"}
        return cls(kind=names, **columns)

    def jobs(self, kinds: Sequence[str]) -> Jobs:
        """Return the jobs, in the order given.

        Raises
        ------
        MessageError
            If a job is of a kind that the site does not have.
        """
        places = {name: place for place, name in enumerate(kinds)}
        strange = sorted(set(self.kind) - places.keys())
        if strange:
            raise MessageError("jobs", strange[0], f"the site's kinds are {', '.join(kinds)}")
        return Jobs(
            number=self.number,
            kind_index=np.array([places[name] for name in self.kind], dtype=np.int64),
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

    def queue(self, site: Site) -> JobQueue:
        """Return the queue as the twin runs it; the message gives no caps, so running jobs have 1.

        Raises
        ------
        MessageError
            If a job is of a kind that the site does not have.
        """
        return JobQueue(
            instant=self.time,
            pool=RackPool.from_site(site),
            jobs=self.jobs.jobs(tuple(site.work)),
            completed_hours=self.done,
            run_hours=self.ran,
            caps=self.running.astype(np.float64),
        )
