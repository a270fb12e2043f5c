"""Cluster of a simulated site: scheduler, placement of jobs on racks, and node agents.

The scheduler holds the true queue and applies valid orders. The placement assigns racks to jobs and
computes their power. The agents send one message per rack and interval, with a value for every
chip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.messages.samples import (
    CHIP_VARIABLES,
    CapOrder,
    CapStatus,
    JobColumns,
    JobHistory,
    JobOrders,
    JobStatus,
    QueueSnapshot,
    RackBatch,
)
from telemetry.points.site_points import rack_name
from twin.equipment import CoolingPlant, ITHall
from twin.errors import IssueCode, MessageError
from twin.physics import FloatArray
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.workload.jobs import Workload
from twin.workload.queue import (
    JobQueue,
    QueueProgress,
    RackPool,
    advance_queue,
    caps_below_limit,
    hall_powers,
    open_queue,
)

WATTS_PER_MW: Final = 1e6

CHIP_RELATIVE_SPREAD: Final = np.array([0.02, 0.01, 0.01, 0.003, 0.01], dtype=np.float32)
"""Relative standard deviation of the chips of a rack about their mean, by row of a batch. [1]"""

FULL_CLOCK_MHZ: Final = 1965.0
"""Clock of a chip at full work: the vendor's boost clock for this class. [MHz]"""

IDLE_CLOCK_MHZ: Final = 345.0

CLOCK_EXPONENT: Final = 0.5
"""Exponent of clock against power under a cap: voltage falls, too, so power falls faster. [1]"""

UTILISATION_AND_MEMORY: Final = {"work": (0.97, 0.82), "service": (0.71, 0.90), "idle": (0.0, 0.02)}
"""Assumed utilisation and memory use by state of a rack. [1]"""


@dataclass(frozen=True, kw_only=True)
class RackLoad:
    """State of each rack, hall by hall.

    - `power`: power of the rack. [MW]
    - `cap`: its cap, 0 for an idle rack. [1]
    """

    power: FloatArray
    cap: FloatArray
    is_service: NDArray[np.bool_]


class SimulatedRackAgents:
    """All node agents of a site.

    - `site`: the site as it really is.
    - `boot`: start of the agents: the boot epoch of their batches. [s since 1970]
    - `rng`: source of the spread among chips.
    """

    def __init__(self, site: Site, *, boot: int, rng: np.random.Generator) -> None:
        self._site, self._boot, self._rng = site, boot, rng
        self._sequence = 0

    def batches(
        self,
        load: RackLoad,
        truth: Mapping[VariableKey, float],
        *,
        time: np.datetime64,
        interval: np.timedelta64,
        flow_share: float = 1.0,
    ) -> list[RackBatch]:
        """Return one batch a rack for the interval that ends at ``time``. [datetime64, UTC]

        ``truth`` are true values of the facility; ``flow_share`` is the coolant flow as a share of
        the rated one. [1]
        """
        self._sequence += 1
        halls = self._site.machines_of(ITHall)
        counts = np.cumsum([0, *(hall.racks for hall in halls)])
        found = []
        for hall, first, last in zip(halls, counts[:-1], counts[1:], strict=True):
            mine = slice(first, last)
            supply = chip_coolant_temperature(self._site, hall, truth)
            means = rack_means(hall, load, mine, supply=supply, flow_share=flow_share)
            values = self._chips(hall, means.astype(np.float32), supply=supply)
            for number, block in enumerate(values, 1):
                found.append(
                    RackBatch(
                        site=self._site.name,
                        hall=hall.name,
                        rack=rack_name(number),
                        boot=self._boot,
                        sequence=self._sequence,
                        time=time,
                        interval=interval,
                        values=block,
                    )
                )
        return found

    def _chips(
        self, hall: ITHall, means: NDArray[np.float32], *, supply: float
    ) -> NDArray[np.float32]:
        """Return the values of all chips of a hall, on (rack, variable, chip)."""
        shape = (*means.shape, hall.chips_per_rack)
        values = self._rng.standard_normal(shape, dtype=np.float32)
        values *= CHIP_RELATIVE_SPREAD[:, None]
        values += 1.0
        values *= means[:, :, None]
        warming = CHIP_VARIABLES.index("temperature")
        power = CHIP_VARIABLES.index("power")
        share = values[:, power] / np.maximum(means[:, power, None], _MIN_CHIP_POWER_W)
        rise = means[:, warming, None] - np.float32(supply)
        values[:, warming] = np.float32(supply) + rise * share
        for row in (CHIP_VARIABLES.index("utilisation"), CHIP_VARIABLES.index("memory")):
            np.clip(values[:, row], 0.0, 1.0, out=values[:, row])
        return values


def rack_means(
    hall: ITHall, load: RackLoad, mine: slice, *, supply: float, flow_share: float = 1.0
) -> FloatArray:
    """Return the means over the chips of each rack, on (rack, variable), in units of batches.

    ``mine`` selects the racks of the hall, ``supply`` is the temperature of their coolant [degC]
    and ``flow_share`` its flow as a share of the rated one [1].
    """
    power, cap = load.power[mine], load.cap[mine]
    board = hall.chip_supply_power(power * hall.racks) / hall.racks
    chip = board * hall.chip_share / hall.chips_per_rack * WATTS_PER_MW
    state = np.select([cap <= 0.0, load.is_service[mine]], [2, 1], default=0)
    use = np.array(list(UTILISATION_AND_MEMORY.values()))[state]
    clock = np.where(cap > 0.0, FULL_CLOCK_MHZ * cap**CLOCK_EXPONENT, IDLE_CLOCK_MHZ)
    warm = hall.chip_temperature(power, np.asarray(supply), flow_share=flow_share)
    return np.stack([np.maximum(chip, 0.0), warm, use[:, 0], use[:, 1], clock], axis=-1)


def chip_coolant_temperature(site: Site, hall: ITHall, truth: Mapping[VariableKey, float]) -> float:
    """Return the temperature of coolant or air at chips; before a run that of water. [degC]"""
    word, circuit = "technology_supply_temperature", "warm"
    if hall.is_air_cooled:
        word, circuit = "rack_inlet_temperature", "chilled"
    found = [value for (name, _), value in truth.items() if name == word]
    plant = next(plant.name for plant in site.machines_of(CoolingPlant) if plant.serves == circuit)
    return found[0] if found else truth["facility_supply_temperature", plant]


_MIN_CHIP_POWER_W: Final = np.float32(1e-6)  # W

IDLE_TENANT: Final = -1

INFERENCE_TENANT: Final = -2
"""Tenant of a rack that serves inference."""


@dataclass(frozen=True, kw_only=True)
class RunningJob:
    """A running job: its number, racks [1], and power cap as a share of uncapped power [1]."""

    number: int
    racks: float
    cap: float


class JobPlacement:
    """Assign racks to jobs: a job keeps its racks until it stops.

    Free racks are assigned alternately from all halls, so that the halls carry equal shares, as the
    facility model assumes. Widths are rounded to whole racks, at least one.
    """

    def __init__(self, site: Site) -> None:
        self._halls = site.machines_of(ITHall)
        counts = [hall.racks for hall in self._halls]
        self._hall = np.repeat(np.arange(len(counts)), counts)
        place = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
        self._fill = np.argsort(place, kind="stable")
        self.tenant = np.full(sum(counts), IDLE_TENANT, dtype=np.int64)
        self._cap = np.zeros(sum(counts))

    def place(self, jobs: Sequence[RunningJob], service_racks: float) -> None:
        """Assign racks to running jobs and the service, and free those that are not needed."""
        wanted = {job.number: max(round(job.racks), 1) for job in jobs}
        wanted[INFERENCE_TENANT] = round(service_racks)
        gone = ~np.isin(self.tenant, list(wanted))
        self.tenant[gone] = IDLE_TENANT
        for number, width in wanted.items():
            assigned = self._fill[self.tenant[self._fill] == number]
            self.tenant[assigned[width:]] = IDLE_TENANT
        for number, width in wanted.items():
            free = self._fill[self.tenant[self._fill] == IDLE_TENANT]
            self.tenant[free[: width - int((self.tenant == number).sum())]] = number
        caps = {job.number: job.cap for job in jobs} | {INFERENCE_TENANT: 1.0, IDLE_TENANT: 0.0}
        self._cap = np.array([caps[number] for number in self.tenant.tolist()])

    def rack_load(self, hall_power: Mapping[str, float]) -> RackLoad:
        """Return the state of the racks for the true power of each hall; other halls are idle. [MW]

        The racks of a hall share its power in proportion to their caps. While the power
        of a hall still falls after jobs have ended, all its racks share what working racks cannot
        draw.
        """
        power = np.empty(len(self.tenant))
        for place, hall in enumerate(self._halls):
            mine = self._hall == place
            span = hall.rack_power - hall.rack_idle_power
            busy = np.maximum(self._cap[mine] * hall.rack_power - hall.rack_idle_power, 0.0)
            busy[self._cap[mine] == 0.0] = 0.0
            above = hall_power.get(hall.name, hall.idle_power) - hall.idle_power
            shared = np.minimum(
                busy * max(above, 0.0) / max(float(busy.sum()), _MIN_DIVISOR_MW), span
            )
            headroom = span - shared
            headroom_share = (above - float(shared.sum())) / max(
                float(headroom.sum()), _MIN_DIVISOR_MW
            )
            power[mine] = (
                hall.rack_idle_power + shared + headroom * np.clip(headroom_share, -1.0, 1.0)
            )
        return RackLoad(
            power=np.maximum(power, 0.0), cap=self._cap, is_service=self.tenant == INFERENCE_TENANT
        )


_MIN_DIVISOR_MW: Final = 1e-12  # MW, so that shares of nothing are finite

MAX_ORDER_CLOCK_LEAD: Final = np.timedelta64(5, "s")
"""How far in the future an order may be issued."""

NO_SEQUENCE: Final = -1
"""Sequence before the first order."""

MAX_HISTORY_JOBS: Final = 8_000
"""Jobs in a history, limited by the message size of a broker. [1]"""

_CAP_TOLERANCE: Final = 1e-9  # rounding of a cap or of racks [1]


class SimulatedScheduler:
    """The scheduler.

    - `site`: the site, for its racks and kinds of work.
    - `workload`: all jobs of the run and those before; a job is published when it arrives.
    - `start`: first time. [datetime64, UTC]
    - `steps`: backlog after each interval, and its progress. [MWh]
    - `sequence`: of the newest job orders, applied or not.
    - `running_jobs`: jobs that ran in the last interval, with their effective caps.
    """

    def __init__(self, site: Site, workload: Workload, *, start: np.datetime64) -> None:
        self._site, self._workload = site, workload
        self.queue: JobQueue = open_queue(RackPool.from_site(site), workload.jobs, start)
        self.steps: list[tuple[float, QueueProgress]] = []
        self.sequence = NO_SEQUENCE
        self.running_jobs: tuple[RunningJob, ...] = ()
        self._orders: JobOrders | None = None
        self._caps: dict[str, CapOrder] = {}
        self._running: dict[int, float] = {}

    def apply_job_orders(self, orders: JobOrders, now: np.datetime64) -> JobStatus:
        """Apply orders for jobs, or report why not."""
        last = self.sequence if self.sequence != NO_SEQUENCE else None
        code, reason = _outdated(orders, last, now=now)
        if not reason and any(not 0.0 < cap <= 1.0 for cap in orders.caps.values()):
            code, reason = IssueCode.OUT_OF_RANGE, "a cap is above 0 and at most 1"
        self.sequence = max(self.sequence, orders.sequence)
        if not reason:
            self._orders = orders
        status = self._status(orders.sequence, reason, is_applied=not reason)
        return replace(status, code=code)

    def apply_hall_cap(self, order: CapOrder, now: np.datetime64) -> CapStatus:
        """Apply a cap of a hall, or report why not."""
        halls = {hall.name: hall for hall in self._site.machines_of(ITHall)}
        before = self._caps.get(order.hall)
        code, reason = _outdated(order, before.sequence if before else None, now=now)
        if order.hall not in halls:
            code = IssueCode.UNKNOWN_NAME
            reason = f"there is no such hall; there are {', '.join(halls)}"
        elif not halls[order.hall].idle_power <= _of_all(halls[order.hall], order):
            code = IssueCode.OUT_OF_RANGE
            reason = f"the hall draws {halls[order.hall].idle_power:g} MW when it waits"
        if not reason:
            self._caps[order.hall] = order
        return CapStatus(order=order, is_applied=not reason, reason=reason, code=code)

    def refuse_unverified(self, hall: str, error: MessageError) -> JobStatus | CapStatus | None:
        """Return the status of an order that the site did not sign: of a hall, or for jobs if "".

        The order proves nothing: the status has the fields of the last one that counts; without
        one there is no status of a hall.
        """
        reason, code = str(error), str(error.code)
        if not hall:
            return replace(self._status(self.sequence, reason, is_applied=False), code=code)
        last = self._caps.get(hall)
        if last is None:
            return None
        return CapStatus(order=last, is_applied=False, reason=reason, code=code)

    def active_caps(self, now: np.datetime64) -> dict[str, float]:
        """Return the valid caps of halls; excluded racks count at full power. [MW]"""
        halls = {hall.name: hall for hall in self._site.machines_of(ITHall)}
        return {
            name: _of_all(halls[name], order)
            for name, order in self._caps.items()
            if order.expires > now
        }

    def advance(self, hours: float, service_racks: float) -> tuple[QueueProgress, list[JobStatus]]:
        """Run the jobs for an interval [h]; return the progress and the changes of orders.

        Without valid orders running jobs continue at their caps and no job starts. Jobs
        never use more racks than there are, and no hall exceeds its cap.
        """
        queue, changes = self.queue, []
        ordered = self._ordered_caps()
        fitting = self._fit(ordered, self.queue.pool.racks - service_racks)
        if (fitting != ordered).any():
            changes.append(f"{int((fitting != ordered).sum())} jobs wait for racks")
        capped = self._capped(fitting, service_racks)
        lowered = int((capped < fitting - _CAP_TOLERANCE).sum())
        if lowered:
            changes.append(f"caps of {lowered} jobs lowered to keep those of their halls")
        on = capped > 0.0
        columns = (queue.jobs.number[on], queue.jobs.racks[on], capped[on])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.running_jobs = tuple(RunningJob(number=n, racks=r, cap=c) for n, r, c in rows)
        self._running = {job.number: job.cap for job in self.running_jobs}
        self.queue, progress = advance_queue(
            queue, self._running, hours=hours, arrivals=self._workload.jobs
        )
        self.steps.append((self.queue.backlog, progress))
        return progress, [self._status(self.sequence, text, is_applied=True) for text in changes]

    def _ordered_caps(self) -> FloatArray:
        """Return the ordered cap of each job, 0 for those that wait. [1]"""
        orders = self._orders
        is_fresh = orders is not None and orders.expires > self.queue.instant
        caps: Mapping[int, float] = orders.caps if orders and is_fresh else self._running
        return np.array([caps.get(number, 0.0) for number in self.queue.jobs.number.tolist()])

    def _fit(self, caps: FloatArray, racks: float) -> FloatArray:
        """Return caps of the jobs that fit the racks: running ones first, then by laxity."""
        order = np.lexsort((self.queue.laxity, ~self.queue.is_running))
        wanted = np.where(caps[order] > 0.0, self.queue.jobs.racks[order], 0.0)
        fitting = caps.copy()
        for job, width in zip(order.tolist(), wanted.tolist(), strict=True):
            if width > racks + _CAP_TOLERANCE:
                fitting[job] = 0.0
            else:
                racks -= width
        return fitting

    def _capped(self, caps: FloatArray, service_racks: float) -> FloatArray:
        """Return caps of jobs under which no hall exceeds its own cap."""
        idle = hall_powers(self._site, work_power=0.0, service_racks=service_racks)
        racks = {hall.name: hall.racks for hall in self._site.machines_of(ITHall)}
        headrooms = [
            (cap - idle[hall]) * self.queue.pool.racks / racks[hall]
            for hall, cap in self.active_caps(self.queue.instant).items()
        ]
        if not headrooms:
            return caps
        is_fixed = np.zeros(len(caps), dtype=bool)
        return caps_below_limit(self.queue, caps, max(min(headrooms), 0.0), fixed=is_fixed)

    def _status(self, sequence: int, reason: str, *, is_applied: bool) -> JobStatus:
        return JobStatus(
            site=self._site.name, sequence=sequence, is_applied=is_applied, reason=reason
        )

    def queue_message(self) -> QueueSnapshot:
        """Return the queue as a message."""
        queue = self.queue
        return QueueSnapshot(
            site=self._site.name,
            time=queue.instant,
            jobs=JobColumns.of(queue.jobs, tuple(self._site.work)),
            completed_hours=queue.completed_hours,
            run_hours=queue.run_hours,
            running=queue.is_running,
        )

    def history_message(self) -> JobHistory:
        """Return the arrivals of twelve weeks as a message; if they are too many, the newest."""
        now = self.queue.instant
        past = self._workload.past(now)
        columns = JobColumns.of(past.select(slice(-MAX_HISTORY_JOBS, None)), tuple(self._site.work))
        return JobHistory(site=self._site.name, time=now, jobs=columns)


def _of_all(hall: ITHall, order: CapOrder) -> float:
    """Return the power limit of a hall, including its excluded racks. [MW]"""
    return order.power_cap + len(order.excluded_racks) * hall.rack_power


def _outdated(
    order: JobOrders | CapOrder, last: int | None, *, now: np.datetime64
) -> tuple[str, str]:
    """Return the code and words for an invalid time or sequence of an order, or empty ones."""
    if last is not None and order.sequence <= last:
        return IssueCode.REPLAYED, f"stale: sequence {order.sequence} is not above {last}"
    if order.expires <= now:
        return IssueCode.EXPIRED, f"expired at {order.expires}Z"
    if order.issued > now + MAX_ORDER_CLOCK_LEAD:
        return IssueCode.TIME_ORDER, f"issued in the future, at {order.issued}Z"
    return "", ""
