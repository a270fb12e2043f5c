"""The window of the service onto its plant: what is known now, how old it is, and the recent past.

One thread adds, others look; a lock stands between. A value before its metadata waits for it. What
does not fit is counted by reason.
"""

from collections import Counter
from collections.abc import Mapping
from threading import RLock
from typing import Final

import numpy as np
import xarray as xr

from telemetry import quality
from telemetry.judging.bands import Limits
from telemetry.judging.misdated import REFUSED, kept_ahead
from telemetry.judging.strangers import judge_stranger
from telemetry.judging.verdicts import Verdicts
from telemetry.metadata.binding import Binder, Binding
from telemetry.quality import Flag, Reading
from telemetry.samples import (
    REPEATED,
    CapStatus,
    JobHistory,
    JobStatus,
    Message,
    PointMetadata,
    PointValue,
    QueueSnapshot,
    RackBatch,
    Sample,
    Tick,
    microseconds,
)
from telemetry.windows import views
from telemetry.windows.cluster_news import ClusterNews
from telemetry.windows.racks import Racks
from telemetry.windows.rows import Rows
from telemetry.windows.slots import Slots
from twin.run import Key
from twin.site import Site

DEPTH: Final = np.timedelta64(26, "h")
"""How far back the window looks."""

HELD: Final = 10_000
"""Most points whose value waits for its metadata."""


class Window:
    """What is known of one site.

    Parameters
    ----------
    site
        The site.
    depth
        How far back :meth:`dataset` reaches.
    limits
        Thresholds that the site sets itself; see :func:`telemetry.judging.bands.read_limits`.

    Attributes
    ----------
    binder, misdated
        Which point says what (``binder.accept(point)`` takes changed metadata); whose stamps fail.
    cluster
        What the scheduler said of its jobs last.
    cap_status, job_status, tick
        What the plant did with the last cap of each hall and with the last job orders; the last
        tick of simulated time, or None.
    """

    def __init__(
        self, site: Site, *, depth: np.timedelta64 = DEPTH, limits: Limits | None = None
    ) -> None:
        self.binder = Binder(site, limits)
        self.cluster = ClusterNews(site.work)
        self.cap_status: dict[str, CapStatus] = {}
        self.job_status: JobStatus | None = None
        self.tick: Tick | None = None
        self._site, self._depth, self._lock = site, depth, RLock()
        self._counters: Counter[str] = Counter()
        self._slots = Slots(site)
        self._racks = Racks(site)
        self._held: dict[str, tuple[PointValue, np.datetime64 | None]] = {}
        self._verdicts = Verdicts(self.binder)
        self.misdated = self._verdicts.misdated
        self._batch_interval: np.timedelta64 | None = None
        self._period, self._ahead = REPEATED, quality.FUTURE
        self._rows = self._new_rows()

    @property
    def period(self) -> np.timedelta64:
        """How often points are repeated; three periods of silence make a value stale.

        Follows the ticks of simulated time and the intervals of the rack batches by itself.
        Setting it empties what :meth:`dataset` tells.
        """
        return self._period

    @period.setter
    def period(self, period: np.timedelta64) -> None:
        with self._lock:
            if period != self._period:
                self._period = period
                self._rows = self._new_rows()

    @property
    def counters(self) -> Mapping[str, int]:
        """Reason -> how many messages it befell; ``good`` are the values taken."""
        with self._lock:
            return self._counters + self.binder.counters + self._racks.counters

    @property
    def unknown(self) -> Mapping[str, str]:
        """Point -> why it is not understood."""
        return self.binder.unknown

    @property
    def integration_points(self) -> Mapping[Key, str]:
        """(variable, object) -> point, for those that are ours to write.

        As ``("technology_supply_request", "cdu_1/017")``, ``("battery_request", "battery_1")``.
        """
        return self.binder.integration_points

    def add(self, sample: Sample, received: np.datetime64 | None = None) -> Flag | None:
        """Take in one sample.

        Parameters
        ----------
        sample
            Anything that decodes.
        received
            When it came, UTC; None in simulated time, where the ticks are the clock.

        Returns
        -------
        Flag or None
            The verdict on a reading or a rack batch; None where there is none to give: of other
            samples, of doubles, of strange points, and of values that wait for their metadata.
        """
        with self._lock:
            match sample:
                case PointValue():
                    return self._add_value(sample, received)
                case RackBatch():
                    return self._add_batch(sample, received)
                case PointMetadata():
                    self._add_metadata(sample)
                case Tick() if received is not None:
                    self._counters["tick in real time"] += 1
                case _:
                    self._add_message(sample, received)
        return None

    def observed(self, now: np.datetime64) -> xr.Dataset:
        """Return what is known at a moment.

        Parameters
        ----------
        now
            The moment, UTC.

        Returns
        -------
        xarray.Dataset
            The latest good value of every variable, of banks the mean of their units, NaN if older
            than three periods or never heard; beside each its ``<name>_age`` [s], infinite if
            never heard, or by a clock that was ahead. With the scalar coordinate ``instant``.
        """
        with self._lock:
            spans = {"longest": quality.PERIODS * self._period, "ahead": self._ahead}
            return views.present(self._slots, self._racks, now=now, **spans)

    def ahead(self, now: np.datetime64) -> str:
        """Return how many points and racks are not used, as a clock was ahead; empty if none."""
        times = np.concatenate([self._slots.time, self._racks.time])
        return kept_ahead(times, microseconds(now + self._ahead))

    def dataset(self, start: np.datetime64, end: np.datetime64) -> xr.Dataset:
        """Return the recent past on ``time``.

        Parameters
        ----------
        start, end
            The span, within the depth of the window.

        Returns
        -------
        xarray.Dataset
            For each interval of a period the mean of the good readings stamped after its start
            and not after its end, NaN if there was none. Racks are left out: the archive has them.
        """
        with self._lock:
            return views.past(self._slots, self._racks, self._rows, start=start, end=end)

    def _new_rows(self) -> Rows:
        halls, span = len(self._racks.halls), {"depth": self._depth, "period": self._period}
        return Rows(means=self._slots.machines + 2 * halls, tops=halls, **span)

    def _add_metadata(self, metadata: PointMetadata) -> None:
        binding = self.binder.learn(metadata)
        waiting = self._held.pop(metadata.point, None)
        if binding is not None and waiting is not None:
            self._read(binding, *waiting)

    def _add_value(self, sample: PointValue, received: np.datetime64 | None) -> Flag | None:
        binding = self.binder.get(sample.point)
        if binding is not None:
            return self._read(binding, sample, received)
        if not self.binder.is_here(sample.point):
            self._counters["other site"] += 1
        elif sample.point in self.binder.unknown:
            self._counters["unknown point"] += 1
            metadata = self.binder.metadata(sample.point)
            return judge_stranger(metadata, sample, self._clock(received))
        else:
            self._hold(sample, received)
        return None

    def _hold(self, sample: PointValue, received: np.datetime64 | None) -> None:
        """Let a value wait for its metadata, the newest of each point."""
        self._counters["before metadata"] += 1
        if len(self._held) >= HELD and sample.point not in self._held:
            del self._held[next(iter(self._held))]
        self._held[sample.point] = (sample, received)

    def _read(
        self, binding: Binding, sample: PointValue, received: np.datetime64 | None
    ) -> Flag | None:
        """Judge a value of a known point, and keep it if it is good."""
        if sample.sender != binding.sender:
            self._counters["wrong sender"] += 1
            return None
        if self._verdicts.has(sample):
            self._counters["duplicate"] += 1
            return None
        value = None if sample.value is None else binding.canonical(sample.value)
        reading = Reading(value=value, time=sample.time, quality=sample.quality)
        clock = self._clock(received)
        flag = self._verdicts.on(binding, reading, clock, period=self._period)
        self._counters[flag.value] += 1
        slot = self._slots.places.get(binding.key)
        if flag is Flag.GOOD and slot is not None and value is not None:
            time, latest = microseconds(sample.time), quality.latest(clock)
            if binding.is_spare:
                longest = quality.PERIODS * self._period
                if not self._slots.is_silent(slot, time, latest=latest, longest=longest):
                    return flag
                self.binder.relieve(binding)
            self._counters["out of order"] += not self._slots.put(slot, time, value, latest=latest)
            if slot < self._slots.machines:
                self._rows.add(slot, time, value, latest=latest)
        return flag

    def _clock(self, received: np.datetime64 | None) -> np.datetime64 | None:
        """Return when a sample came: in simulated time, no later than the tick to come."""
        if received is not None or self.tick is None:
            return received
        return self.tick.time + self.tick.interval

    def _add_batch(self, batch: RackBatch, received: np.datetime64 | None) -> Flag | None:
        if batch.site != self._site.name:
            self._counters["other site"] += 1
            return None
        clock = self._clock(received)
        flag, latest = quality.judge_batch(batch, clock), quality.latest(clock)
        if flag not in REFUSED and not self._racks.is_new(batch, latest=latest):
            return None
        self._counters[f"batch {flag.value}"] += 1
        if flag is Flag.GOOD:
            self._batch_interval = batch.interval
            power, temperature, utilisation = self._racks.add(batch, latest=latest).tolist()
            hall = self._racks.halls.index(batch.hall)
            time, first = microseconds(batch.time), self._slots.machines + hall
            self._rows.add(first, time, power, latest=latest)
            self._rows.add(first + len(self._racks.halls), time, utilisation, latest=latest)
            self._rows.add_top(hall, time, temperature)
        return flag

    def _add_message(self, sample: Message, received: np.datetime64 | None) -> None:
        """Keep what the cluster and the plant say of jobs, caps and simulated time."""
        site = sample.order.site if isinstance(sample, CapStatus) else sample.site
        if site != self._site.name:
            self._counters["other site"] += 1
            return
        match sample:
            case QueueSnapshot() | JobHistory():
                if refused := self.cluster.add(sample, self._clock(received)):
                    self._counters[refused] += 1
            case CapStatus(order=order):
                self.cap_status[order.hall] = sample
            case JobStatus():
                self.job_status = sample
            case Tick():
                self.tick = sample
                self._ahead = quality.FUTURE + sample.interval  # of stamps of what comes
                self.period = max(REPEATED, self._batch_interval or sample.interval)
