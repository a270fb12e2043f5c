"""Live state of a site: latest values with their ages, and means of the recent past.

One thread adds samples, others read under a lock. :class:`telemetry.quality.tracker.QualityEngine`
flags them, and only good values are stored. Rejected samples are counted by reason.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Final

import numpy as np
import xarray as xr

from telemetry.live.cluster import HALL_VARIABLES, RackStates, SchedulerState, stamp_ages
from telemetry.messages.samples import (
    CapStatus,
    ControlMessage,
    JobAnnouncements,
    JobHistory,
    JobStatus,
    PointMetadata,
    PointValue,
    QueueSnapshot,
    RackBatch,
    Sample,
    SampleOutcome,
    SimulationTick,
    epoch_microseconds,
)
from telemetry.points.binding import PointBinder
from telemetry.points.plausible_ranges import SiteLimits
from telemetry.points.site_points import SiteVariables
from telemetry.quality import checks
from telemetry.quality.checks import QualityFlag
from telemetry.quality.tracker import (
    TIMESTAMP_FLAGS,
    CheckedValue,
    ClockSkewTracker,
    QualityEngine,
    describe_future_values,
)
from telemetry.runtime import ClockMode
from twin import time_axes, variables
from twin.physics import FloatArray
from twin.simulation.engine import VariableKey
from twin.site import Site
from twin.time_axes import MICROSECOND, UNKNOWN_TIME

LIVE_HISTORY_SPAN: Final = np.timedelta64(26, "h")
"""Time span of the stored recent past."""

GRID_POWER_VARIABLES: Final = ("grid_import_power", "grid_export_power")
"""Variables of the connection's meter."""

OUTCOME_OF_BATCH_FLAG: Final = {
    QualityFlag.GOOD: SampleOutcome.BATCH_GOOD,
    QualityFlag.FUTURE: SampleOutcome.BATCH_FUTURE,
    QualityFlag.LATE: SampleOutcome.BATCH_LATE,
    QualityFlag.RANGE: SampleOutcome.BATCH_RANGE,
}
"""Flag of a rack batch -> its counter."""


@dataclass(slots=True)
class _Row:
    total: FloatArray
    count: FloatArray
    maximum: FloatArray


class RollingMeans:
    """Sums of readings by interval, over a depth of time before the newest.

    ``mean_count`` columns are averaged; ``maximum_count`` columns have their highest value.
    Intervals of length ``period`` start at whole multiples of it since 1970.
    """

    def __init__(
        self,
        mean_count: int,
        maximum_count: int,
        *,
        depth: np.timedelta64,
        period: np.timedelta64,
    ) -> None:
        self._mean_count = mean_count
        self._maximum_count = maximum_count
        self._depth = _count(depth)
        self.period = period
        self._period = _count(period)
        self._rows: dict[int, _Row] = {}
        self._newest = 0

    def start_of(self, time: int) -> int:
        """Return the start of the interval (start, end] that contains a reading. [us]"""
        return (time - 1) // self._period * self._period

    def add(self, column: int, time: int, value: float, *, latest: int) -> None:
        """Add a value to the mean of its column, and delete rows after ``latest`` [us]."""
        if self._newest > latest:
            self._rows = {start: row for start, row in self._rows.items() if start <= latest}
            self._newest = max(self._rows, default=0)
        row = self._row(time)
        row.total[column] += value
        row.count[column] += 1.0

    def add_maximum(self, column: int, time: int, value: float) -> None:
        """Add a value to the maximum of its column."""
        row = self._row(time)
        row.maximum[column] = max(row.maximum[column], value)

    def means_and_maxima(self, starts: np.ndarray) -> tuple[FloatArray, FloatArray]:
        """Return means and maxima by (interval, column), NaN where nothing was read.

        ``starts`` are the starts of the intervals. [us since 1970]
        """
        means = np.full((len(starts), self._mean_count), np.nan)
        maxima = np.full((len(starts), self._maximum_count), np.nan)
        for place, start in enumerate(starts.tolist()):
            row = self._rows.get(start)
            if row is not None:
                means[place] = np.divide(
                    row.total, row.count, out=means[place], where=row.count > 0.0
                )
                maxima[place] = np.where(np.isfinite(row.maximum), row.maximum, np.nan)
        return means, maxima

    def means_of_column(self, starts: np.ndarray, column: int) -> FloatArray:
        """Return the means of one column by interval, NaN where nothing was read."""
        rows = [self._rows.get(start) for start in starts.tolist()]
        return np.array(
            [
                row.total[column] / row.count[column] if row and row.count[column] else np.nan
                for row in rows
            ]
        )

    def interval_starts(self, start: np.datetime64, end: np.datetime64) -> np.ndarray:
        """Return the starts of the intervals that cover a span. [us since 1970]"""
        first, last = (int(np.datetime64(t, "us").astype(np.int64)) for t in (start, end))
        begin = first // self._period * self._period
        return np.arange(begin, max(last, begin + 1), self._period, dtype=np.int64)

    def _row(self, time: int) -> _Row:
        start = self.start_of(time)
        row = self._rows.get(start)
        if row is None:
            row = _Row(
                np.zeros(self._mean_count),
                np.zeros(self._mean_count),
                np.full(self._maximum_count, -np.inf),
            )
            self._rows[start] = row
            self._newest = max(self._newest, start)
            oldest = self._newest - self._depth
            for old in [key for key in self._rows if key < oldest]:
                del self._rows[old]
        return row


class LiveState:
    """What is known of one site.

    - `clock_mode`: which clock the stamps are compared with.
    - `depth`: time span that :meth:`recent_means` covers.
    - `limits`: thresholds that the site sets itself; see
      :func:`telemetry.points.plausible_ranges.read_site_limits`.
    - `quality`: flags the samples; `binder` maps points to variables.
    - `scheduler`: newest job queue and job history.
    - `cap_status`, `job_status`: what the plant did with the last cap of each hall and with the
      last job orders.
    """

    def __init__(
        self,
        site: Site,
        *,
        clock_mode: ClockMode = ClockMode.REAL,
        depth: np.timedelta64 = LIVE_HISTORY_SPAN,
        limits: SiteLimits | None = None,
    ) -> None:
        self.binder = PointBinder(site, limits)
        self.quality = QualityEngine(self.binder, clock_mode=clock_mode)
        self.scheduler = SchedulerState(site.work)
        self.cap_status: dict[str, CapStatus] = {}
        self.job_status: JobStatus | None = None
        self._site, self._depth, self._lock = site, depth, RLock()
        self._counters: Counter[str] = Counter()
        self._slots = SiteVariables(site)
        self._racks = RackStates(site)
        self._max_lead = checks.MAX_CLOCK_LEAD
        self._rows = self._new_rows()

    @property
    def repetition_period(self) -> np.timedelta64:
        """Period of repetition of points; a value is stale after three periods without a message.

        A change clears the means that :meth:`recent_means` returns.
        """
        return self.quality.period

    @property
    def counters(self) -> Mapping[str, int]:
        """Number of messages by :class:`SampleOutcome`, of readings by :class:`QualityFlag`."""
        with self._lock:
            return (
                self._counters + self.quality.counters + self.binder.counters + self._racks.counters
            )

    @property
    def clock_mode(self) -> ClockMode:
        """Which clock the stamps are compared with."""
        return self.quality.clock_mode

    @property
    def last_tick(self) -> SimulationTick | None:
        """Last tick of simulated time; None before."""
        return self.quality.tick

    @property
    def clock_skew_tracker(self) -> ClockSkewTracker:
        """Sources whose stamps are refused."""
        return self.quality.clock_skew

    @property
    def unbound_points(self) -> Mapping[str, str]:
        """Point -> why it is not bound to a variable."""
        return self.binder.unknown

    @property
    def integration_points(self) -> Mapping[VariableKey, str]:
        """(variable, object) -> point, for the points that this service writes.

        For example ``("technology_supply_request", "cdu_1/017")``, ``("battery_request",
        "battery_1")``.
        """
        return self.binder.integration_points

    def add(self, sample: Sample, received: np.datetime64 = UNKNOWN_TIME) -> QualityFlag | None:
        """Add one sample; ``received`` is its UTC time of receipt, unused in simulated time.

        Return the flag of a value or a rack batch. Return None for other samples, and for batches
        of other sites, of unknown racks, and duplicates.
        """
        with self._lock:
            match sample:
                case PointValue():
                    checked = self.quality.check_value(sample, received)
                    self._store(checked, sample, received)
                    return checked.flag
                case RackBatch():
                    return self._add_batch(sample, received)
                case PointMetadata():
                    if (waiting := self.quality.register(sample)) is not None:
                        self._store(*waiting)
                case SimulationTick() if self.clock_mode is ClockMode.REAL:
                    self._counters[SampleOutcome.TICK_IN_REAL_TIME] += 1
                case _:
                    self._add_message(sample, received)
        return None

    def latest_values(self, now: np.datetime64) -> xr.Dataset:
        """Return the latest good values at ``now``, with the scalar coordinate ``instant``.

        A bank has the mean of its units. Values older than three periods or never received are NaN.
        Each variable has an ``<name>_age`` [s], infinite if never received or stamped too far
        ahead.
        """
        with self._lock:
            spans = {
                "max_age": checks.STALE_PERIODS * self.repetition_period,
                "max_lead": self._max_lead,
            }
            return present_dataset(self._slots, self._racks, now=now, **spans)

    def describe_future_values(self, now: np.datetime64) -> str:
        """Return how many points and racks are unused for stamps ahead of the clock; empty
        if none.
        """
        times = np.concatenate([self._slots.time, self._racks.time])
        return describe_future_values(times, epoch_microseconds(now + self._max_lead))

    def recent_means(self, start: np.datetime64, end: np.datetime64) -> xr.Dataset:
        """Return the means of a span within the depth, on ``time``.

        Each interval has the mean of the good readings in (start, end], NaN without any. Values of
        single racks are left out: the archive has them.
        """
        with self._lock:
            return recent_dataset(self._slots, self._racks, self._rows, start=start, end=end)

    def recent_net_import(
        self, start: np.datetime64, end: np.datetime64
    ) -> tuple[np.ndarray, FloatArray]:
        """Return starts and mean net import of intervals within the depth, NaN if unknown. [MW]

        It equals that of :meth:`recent_means`, and reads no other variable, so that a day takes no
        time.
        """
        with self._lock:
            starts = self._rows.interval_starts(start, end)
            powers = {
                layout.variable: layout.direction(
                    self._rows.means_of_column(starts, layout.first_slot)
                )
                for layout in self._slots.layouts
                if layout.variable in GRID_POWER_VARIABLES
            }
        net = powers["grid_import_power"] - powers["grid_export_power"]
        return starts.astype("datetime64[us]"), net

    def _new_rows(self) -> RollingMeans:
        halls, span = (
            len(self._racks.halls),
            {"depth": self._depth, "period": self.repetition_period},
        )
        mean_count = self._slots.machine_slot_count + 2 * halls
        return RollingMeans(mean_count=mean_count, maximum_count=halls, **span)

    def _store(self, checked: CheckedValue, sample: PointValue, received: np.datetime64) -> None:
        """Store a value of a bound point if it is good, and the point is no unused spare."""
        flag, binding, value = checked
        if flag is not QualityFlag.GOOD or binding is None or value is None:
            return
        slot = self._slots.slots.get(binding.key)
        if slot is None:
            return
        time = epoch_microseconds(sample.time)
        latest = checks.latest_valid_time(self.quality.receipt_time(received))
        if binding.is_spare:
            longest = checks.STALE_PERIODS * self.repetition_period
            if not self._slots.is_silent(slot, time, latest=latest, longest=longest):
                return
            self.binder.promote_spare(binding)
        is_newest = self._slots.store_if_newest(slot, time, value, latest=latest)
        self._counters[SampleOutcome.OUT_OF_ORDER] += not is_newest
        if slot < self._slots.machine_slot_count:
            self._rows.add(slot, time, value, latest=latest)

    def _add_batch(self, batch: RackBatch, received: np.datetime64) -> QualityFlag | None:
        if batch.site != self._site.name:
            self._counters[SampleOutcome.OTHER_SITE] += 1
            return None
        latest = checks.latest_valid_time(self.quality.receipt_time(received))
        flag = self.quality.check_batch(batch, received)
        if flag not in TIMESTAMP_FLAGS and not self._racks.register(batch, latest=latest):
            return None
        self._counters[OUTCOME_OF_BATCH_FLAG[flag]] += 1
        if flag is QualityFlag.GOOD:
            power, temperature, utilisation = self._racks.add(batch, latest=latest).tolist()
            hall = self._racks.halls.index(batch.hall)
            time, first = epoch_microseconds(batch.time), self._slots.machine_slot_count + hall
            self._rows.add(first, time, power, latest=latest)
            self._rows.add(first + len(self._racks.halls), time, utilisation, latest=latest)
            self._rows.add_maximum(hall, time, temperature)
        return flag

    def _add_message(self, sample: ControlMessage, received: np.datetime64) -> None:
        """Store job queues, job and cap status, and ticks of simulated time."""
        site = sample.order.site if isinstance(sample, CapStatus) else sample.site
        if site != self._site.name:
            self._counters[SampleOutcome.OTHER_SITE] += 1
            return
        match sample:
            case QueueSnapshot() | JobHistory() | JobAnnouncements():
                if refused := self.scheduler.add(sample, self.quality.receipt_time(received)):
                    self._counters[refused] += 1
            case CapStatus(order=order):
                self.cap_status[order.hall] = sample
            case JobStatus():
                self.job_status = sample
            case SimulationTick():
                before = self.repetition_period
                self._max_lead = checks.MAX_CLOCK_LEAD + sample.interval
                self.quality.note_tick(sample)
                if self.repetition_period != before:
                    self._rows = self._new_rows()


type AxisValues = tuple[str, FloatArray]


def present_dataset(
    slots: SiteVariables,
    racks: RackStates,
    *,
    now: np.datetime64,
    max_age: np.timedelta64,
    max_lead: np.timedelta64,
) -> xr.Dataset:
    """Return every variable and its age at a moment; see :meth:`LiveState.latest_values`."""
    age = stamp_ages(slots.time, now, max_lead=max_lead)
    is_fresh = age <= float(max_age / np.timedelta64(1, "s"))
    values = np.where(is_fresh, slots.value, np.nan)
    found: dict[str, AxisValues] = {}
    found_ages: dict[str, AxisValues] = {}
    for shape in slots.layouts:
        found[shape.variable] = (shape.dim, shape.values_by_label(values))
        found_ages[shape.variable] = (shape.dim, shape.newest_ages(age))
    halls = racks.hall_values(now, max_age=max_age, max_lead=max_lead)
    hall_age = halls.pop("age")
    for name, numbers in halls.items():
        found[name] = ("hall", numbers)
        found_ages[name] = ("hall", hall_age)
    variables = {name: _variable(name, *part) for name, part in found.items()}
    variables |= {f"{name}_age": _age(name, *part) for name, part in found_ages.items()}
    return xr.Dataset(variables, coords={"instant": np.datetime64(now, "us"), **_labels(slots)})


def recent_dataset(
    slots: SiteVariables,
    racks: RackStates,
    rows: RollingMeans,
    *,
    start: np.datetime64,
    end: np.datetime64,
) -> xr.Dataset:
    """Return the means of all variables except those of single racks; see
    :meth:`LiveState.recent_means`.
    """
    starts = rows.interval_starts(start, end)
    means, maxima = rows.means_and_maxima(starts)
    grid = time_axes.regular_axes(starts.astype("datetime64[us]")[0], len(starts), rows.period)
    found: dict[str, AxisValues] = {
        shape.variable: (shape.dim, shape.values_by_label(means))
        for shape in slots.layouts
        if shape.dim != "rack"
    }
    first, halls = slots.machine_slot_count, len(racks.halls)
    power = means[:, first : first + halls] * racks.rack_counts
    for name, numbers in zip(
        HALL_VARIABLES, (power, maxima, means[:, first + halls :]), strict=True
    ):
        found[name] = ("hall", numbers)
    variables = {name: _variable(name, *part, "time") for name, part in found.items()}
    labels = {dim: names for dim, names in _labels(slots).items() if dim != "rack"}
    return grid.assign(variables).assign_coords(labels)


def _labels(slots: SiteVariables) -> dict[str, list[str]]:
    return {shape.dim: list(shape.labels) for shape in slots.layouts if shape.dim}


def _variable(name: str, dim: str, values: FloatArray, *axes_before: str) -> xr.Variable:
    definition = variables.variable_definition(name)
    attrs = {"units": definition.unit, "long_name": definition.meaning}
    if definition.standard_name:
        attrs["standard_name"] = definition.standard_name
    dims = (*axes_before, dim) if dim else axes_before
    return xr.Variable(dims, values, attrs)


def _age(name: str, dim: str, values: FloatArray) -> xr.Variable:
    attrs = {"units": "s", "long_name": f"age of {name}"}
    return xr.Variable((dim,) if dim else (), values, attrs)


def _count(span: np.timedelta64) -> int:
    return int(span / MICROSECOND)
