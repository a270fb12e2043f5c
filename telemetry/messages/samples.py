"""Samples that come over the wire, decoded: frozen, with times in UTC.

Columns and chips are numpy arrays. Compare such samples by their encoded form, not by ``==``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from twin.errors import IssueCode, MessageError
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site import Site
from twin.workload.jobs import Announcements, Jobs, TimeArray
from twin.workload.queue import JobQueue, RackPool

__all__ = [
    "CHIP_VARIABLES",
    "GOOD_QUALITY",
    "PLANT_SENDER",
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
"""Sender name of a building-management system that publishes values itself."""

GOOD_QUALITY: Final = 1
"""The only quality of a trusted value."""

CHIP_VARIABLES: Final = ("power", "temperature", "utilisation", "memory", "clock")
"""Rows of a rack batch: [W], [degC], [1], [1], [MHz]."""


class SampleOutcome(StrEnum):
    """What became of a sample, beside the quality flags of readings; labels of counters."""

    BATCH_GOOD = "batch good"
    BATCH_FUTURE = "batch future"
    BATCH_LATE = "batch late"
    BATCH_RANGE = "batch range"
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out of order"
    OTHER_SITE = "other site"
    WRONG_SENDER = "wrong sender"
    BEFORE_METADATA = "before metadata"
    METADATA_CHANGED = "metadata changed"
    UNKNOWN_POINT = "unknown point"
    DOUBLED_POINT = "doubled point"
    UNKNOWN_UNIT = "unknown unit"
    UNKNOWN_STATES = "unknown states"
    UNKNOWN_RACK = "unknown rack"
    OLD_BOOT = "old boot"
    GAP = "gap"
    UNKNOWN_WORK = "unknown kind of work"
    FUTURE_JOBS = "future jobs"
    OLD_JOBS = "old jobs"
    TICK_IN_REAL_TIME = "tick in real time"


@dataclass(frozen=True, kw_only=True, slots=True)
class PointValue:
    """One reading of a point of the plant, or one request to it, in the point's own unit.

    - `point`: ``{objectType}/{pointType}/{tagPath}``, the end of its topics.
    - `time`: time of the reading. [datetime64, UTC]
    - `value`: the reading, or None if the sender has none.
    - `quality`: 1 is good; no other value is trusted.
    - `sender`: ``PUB``, or the integration that wrote it.
    """

    point: str
    time: np.datetime64
    value: float | None
    quality: int = GOOD_QUALITY
    sender: str = PLANT_SENDER


@dataclass(frozen=True, kw_only=True, slots=True)
class PointMetadata:
    """Type, object and unit of a point.

    - `point`: ``{objectType}/{pointType}/{tagPath}``, the end of its topics.
    - `object_type`, `point_type`: names from the contract.
    - `object_id`, `object_name`: the object that the point belongs to, by its id in the site file.
    - `is_associated`: whether ``associateId`` names the object: the point is a part of it.
    - `unit`: engineering unit, or "".
    - `state_text`: pairs of a value and its meaning, for points without unit.
    - `process_area`: words that distinguish points of one type and object.
    - `serves`: ids of the objects downstream, on the path of power or of liquid.
    - `integration`: the integration that writes the value, or "" for the plant itself.
    - `is_setpoint`: whether the value is a target and not a reading.
    - `rack`, `rack_name`: location of a rack, the same for plant and cluster; "" if it is no rack.
    - `phase`, `scope`: electrical phase; topics that a heartbeat covers. Both mostly "".
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
    """Readings of the accelerators of one rack over one interval.

    - `site`, `hall`, `rack`: location; ``rack`` is the name in the hall.
    - `boot`, `sequence`: start of the sender, and its count since then. With the topic they
      identify the sample.
    - `time`: end of the interval. [datetime64, UTC]
    - `values`: one row for each of :data:`CHIP_VARIABLES`, one column for each chip; all NaN for a
      chip that is absent. [float32]
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
    """Power limit of a hall until it expires; after that its local default applies.

    - `sequence`: rises with each order of a sender.
    - `issued`, `expires`: times of validity. [datetime64, UTC]
    - `power_cap`: largest power at the inlets of the hall's racks. [MW]
    - `excluded_racks`: racks of the hall that the order neither caps nor counts.
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
    """Whether the plant applies a cap order, and why not; ``code`` is for programs."""

    order: CapOrder
    is_applied: bool
    reason: str = ""
    code: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulationTick:
    """Simulated time: all telemetry of the interval that ends at ``time`` has been sent.

    - `time`: end of the interval. [datetime64, UTC]
    - `step`, `steps`: number of the interval, 0 at the start, and of all intervals.
    - `batches`, `points`: messages that were sent since the last tick.
    - `is_last`: whether the run ends with this tick.
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
    """The service has decided for the tick of ``time``.

    ``sequence`` is that of the job orders, or -1 if nothing was ordered.
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
    | JobAnnouncements
    | QueueSnapshot
    | SimulationTick
    | DecisionNotice
)
"""Messages between the service and the controllers of a site, which are not measurements."""

type Sample = PointValue | PointMetadata | RackBatch | ControlMessage
"""Everything that ``decode`` returns."""


_MICROSECOND_TIME: Final = np.dtype("datetime64[us]")


def epoch_microseconds(time: np.datetime64) -> int:
    """Return a time as microseconds since 1970."""
    if time.dtype != _MICROSECOND_TIME:
        time = time.astype(_MICROSECOND_TIME)
    return int(time.view(np.int64))


@dataclass(frozen=True, kw_only=True, slots=True)
class JobOrders:
    """Jobs that run until the orders expire; all other jobs wait.

    - `sequence`: rises with each order of a sender.
    - `issued`, `expires`: times of validity. [datetime64, UTC]
    - `caps`: Number of a job -> power of its racks as a share of the uncapped rack. [1]
    """

    site: str
    sequence: int
    issued: np.datetime64
    expires: np.datetime64
    caps: Mapping[int, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """Whether the cluster applies job orders, and why not; ``code`` is for programs."""

    site: str
    sequence: int
    is_applied: bool
    reason: str = ""
    code: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JobColumns:
    """Jobs in columns, as in :class:`twin.workload.jobs.Jobs`, with their kinds by name."""

    number: IntArray
    kind: tuple[str, ...]
    arrival: TimeArray
    deadline: TimeArray
    length: FloatArray
    racks: FloatArray

    @classmethod
    def of(cls, jobs: Jobs, kinds: Sequence[str]) -> Self:
        """Return the columns of jobs; ``kinds`` are the names of the site's work."""
        names = tuple(kinds[index] for index in jobs.kind_index.tolist())
        columns = {name: values for name, values in vars(jobs).items() if name != "kind_index"}
        return cls(kind=names, **columns)

    def jobs(self, kinds: Sequence[str]) -> Jobs:
        """Return the jobs in their order; refuse a kind that the site does not have."""
        indices = {name: index for index, name in enumerate(kinds)}
        unknown = sorted(set(self.kind) - indices.keys())
        if unknown:
            expected = f"the site's kinds are {', '.join(kinds)}"
            raise MessageError("jobs", unknown[0], expected, code=IssueCode.UNKNOWN_NAME)
        return Jobs(
            number=self.number,
            kind_index=np.array([indices[name] for name in self.kind], dtype=np.int64),
            arrival=self.arrival,
            deadline=self.deadline,
            length=self.length,
            racks=self.racks,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JobHistory:
    """Jobs that arrived in the last twelve weeks in order of arrival, none later than ``time``.

    If a message cannot hold all of them, the sender may leave out the oldest.
    """

    site: str
    time: np.datetime64
    jobs: JobColumns


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class JobAnnouncements:
    """Jobs announced in the last two weeks, none later than ``time``, in columns.

    They are those of :class:`twin.workload.jobs.Announcements`, with their kinds by name. Those
    that lie ahead are complete: what a later message leaves out is withdrawn.
    """

    site: str
    time: np.datetime64
    number: IntArray
    kind: tuple[str, ...]
    announced: TimeArray
    start: TimeArray
    withdrawn: TimeArray
    length: FloatArray
    racks: FloatArray
    probability: FloatArray

    def announcements(self, kinds: Sequence[str]) -> Announcements:
        """Return the announcements; the kinds of the site must include theirs."""
        return Announcements(
            number=self.number,
            kind_index=np.array([kinds.index(name) for name in self.kind], dtype=np.int64),
            announced=self.announced,
            start=self.start,
            withdrawn=self.withdrawn,
            length=self.length,
            racks=self.racks,
            probability=self.probability,
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QueueSnapshot:
    """All jobs that have arrived and are not done.

    - `completed_hours`, `run_hours`: hours of their length that are done, and hours since their
      last start. [h]
    """

    site: str
    time: np.datetime64
    jobs: JobColumns
    completed_hours: FloatArray
    run_hours: FloatArray
    running: NDArray[np.bool_]

    def queue(self, site: Site) -> JobQueue:
        """Return the queue of the twin; the message has no caps, so running jobs have cap 1."""
        return JobQueue(
            instant=self.time,
            pool=RackPool.from_site(site),
            jobs=self.jobs.jobs(tuple(site.work)),
            completed_hours=self.completed_hours,
            run_hours=self.run_hours,
            caps=self.running.astype(np.float64),
        )
