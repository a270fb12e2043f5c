"""Clocks of the service: real time, or the time of a simulated plant in lockstep with it."""

import queue
import time
from collections.abc import Iterator
from threading import Event
from typing import Final, Protocol

import numpy as np
import pandas as pd
import structlog

from telemetry.messages.samples import PointValue, QueueSnapshot, RackBatch, Sample, SimulationTick
from telemetry.runtime import ClockMode
from twin.time_axes import QUARTER_HOUR

STOP_POLL_S: Final = 0.2
"""Longest wait between two checks of the stop event and of a clock that may have jumped. [s]"""

TIME_BEFORE_FIRST_TICK: Final = np.datetime64("2000-01-01", "us")
"""Time of a simulated clock before its first tick."""

LOST_SAMPLE_TIMEOUT_S: Final = 0.5
"""Silence after which samples sent before a tick count as lost. [s]"""

METADATA_SETTLE_S: Final = 0.3
"""Silence after the first tick after which metadata counts as complete. [s]"""

MAX_TICK_WAIT_S: Final = 30.0
"""Longest wait for samples sent before a tick. [s]"""

MIN_REDECISION_INTERVAL: Final = np.timedelta64(1, "m")
"""Shortest time between two decisions in the same quarter-hour."""

MAX_COUNTED_SAMPLE_TIMES: Final = 1000
"""Number of times whose samples are counted. [1]"""

logger = structlog.get_logger(__name__)


class ServiceClock(Protocol):
    """Clock that gives the service the time and the moments to decide."""

    @property
    def mode(self) -> ClockMode:
        """Who sets the time: this machine or a simulated plant."""
        ...

    def now(self) -> np.datetime64:
        """Return the time, UTC."""
        ...

    def monotonic(self) -> float:
        """Return a time that no correction of the clock moves, for durations and deadlines. [s]"""
        ...

    def on_sample(self, sample: Sample) -> None:
        """Receive a sample from the wire."""
        ...

    def request_redecision(self) -> None:
        """Request another decision for the current quarter-hour, because its inputs changed."""
        ...

    def intervals(self, stop: Event) -> Iterator[np.datetime64]:
        """Yield the start of every quarter-hour to be decided, until ``stop`` is set."""
        ...


class RealClock:
    """Real time.

    The current quarter-hour is decided at the start, the next ones when they begin. After a small
    step back of the clock nothing is decided twice. After a step ahead, or back by more than a
    quarter-hour, decisions continue from the new time.
    """

    mode = ClockMode.REAL
    _is_redecision_requested = False

    def request_redecision(self) -> None:
        """Request another decision for the current quarter-hour."""
        self._is_redecision_requested = True

    def now(self) -> np.datetime64:
        """Return the time, UTC."""
        return np.datetime64(round(time.time() * 1e6), "us")

    def monotonic(self) -> float:
        """Return the monotonic clock of this machine. [s]"""
        return time.monotonic()

    def on_sample(self, sample: Sample) -> None:
        """Do nothing: samples do not move this clock."""

    def intervals(self, stop: Event) -> Iterator[np.datetime64]:
        """Yield the start of every quarter-hour as it begins, until ``stop`` is set."""
        last = decided = np.datetime64("1970-01-01", "us")
        while not stop.is_set():
            begun = np.datetime64(pd.Timestamp(self.now()).floor("15min"), "us")
            is_back = begun < last - QUARTER_HOUR
            if is_back:
                logger.warning("clock was set back", before=str(last), now=str(begun))
            # a clock that was set back meanwhile does not delay it
            is_asked = (
                self._is_redecision_requested
                and not decided <= self.now() < decided + MIN_REDECISION_INTERVAL
            )
            if begun > last or is_back or is_asked:
                last, decided, self._is_redecision_requested = begun, self.now(), False
                yield begun
            left = float((begun + QUARTER_HOUR - self.now()) / np.timedelta64(1, "s"))
            stop.wait(min(max(left, 0.0), STOP_POLL_S))


class SimulatedClock:
    """Clock of a simulated plant, which waits for the decision of each of its ticks."""

    mode = ClockMode.SIMULATED

    def __init__(self) -> None:
        self._ticks: queue.SimpleQueue[SimulationTick] = queue.SimpleQueue()
        self._batches: dict[np.datetime64, set[str]] = {}
        self._points: dict[np.datetime64, set[str]] = {}
        self._last_sample_at = self.monotonic()
        self._now = TIME_BEFORE_FIRST_TICK
        self._queue = TIME_BEFORE_FIRST_TICK
        self._is_first = True
        self._done = TIME_BEFORE_FIRST_TICK

    def now(self) -> np.datetime64:
        """Return the time of the last tick whose telemetry has arrived, UTC."""
        return self._now

    def monotonic(self) -> float:
        """Return the monotonic clock of this machine: its deadlines do not follow the plant. [s]"""
        return time.monotonic()

    def request_redecision(self) -> None:
        """Do nothing: the plant waits in the next tick, whose decision uses the newest inputs."""

    def on_sample(self, sample: Sample) -> None:
        """Count rack batches and points; record the times of the queue and of ticks."""
        if not isinstance(sample, SimulationTick):  # a waiting plant repeats its tick
            self._last_sample_at = self.monotonic()
        match sample:
            case RackBatch():
                rack = f"{sample.hall}/{sample.rack}"
                _count_sample(self._batches, sample.time, rack)
            case PointValue():
                _count_sample(self._points, sample.time, sample.point)
            case QueueSnapshot():
                self._queue = sample.time
            case SimulationTick():
                self._ticks.put(sample)

    def intervals(self, stop: Event) -> Iterator[np.datetime64]:
        """Yield the time of every tick once its telemetry has arrived; of several, the newest.

        A waiting plant repeats its tick, for a service that restarted. A plant that restarted
        begins with step 0, whatever its time.
        """
        while not stop.is_set():
            try:
                tick = self._ticks.get(timeout=STOP_POLL_S)
                while not self._ticks.empty():
                    tick = self._ticks.get()
            except queue.Empty:
                continue
            is_restart = tick.step == 0 and tick.time < self._done
            if tick.time <= self._done and not is_restart:
                continue
            if tick.is_last:
                self._now = tick.time
                continue
            self._wait_for_samples(tick, stop)
            self._now = self._done = tick.time
            yield tick.time

    def _wait_for_samples(self, tick: SimulationTick, stop: Event) -> None:
        """Wait for samples sent before a tick, because a broker may deliver topics out of order.

        Points have QoS 0 and may be lost, so silence ends the wait. Before the first decision all
        metadata must have arrived, because values cannot be bound without it.
        """
        until = self.monotonic() + MAX_TICK_WAIT_S
        while not stop.wait(0.005) and self.monotonic() < until:
            silence = self.monotonic() - self._last_sample_at
            is_here = _count_within(self._batches, tick) >= tick.batches
            is_here &= _count_within(self._points, tick) >= tick.points
            is_here &= self._queue >= tick.time
            if silence > LOST_SAMPLE_TIMEOUT_S or (
                is_here and (not self._is_first or silence > METADATA_SETTLE_S)
            ):
                break
        self._is_first = False
        for counted in (self._batches, self._points):
            for moment in list(counted):
                if moment <= tick.time:
                    del counted[moment]


def _count_sample(
    samples_by_time: dict[np.datetime64, set[str]], time: np.datetime64, name: str
) -> None:
    """Count a sample, up to a number of distinct times, which a faulty sender could exceed."""
    if time in samples_by_time or len(samples_by_time) < MAX_COUNTED_SAMPLE_TIMES:
        samples_by_time.setdefault(time, set()).add(name)


def _count_within(samples_by_time: dict[np.datetime64, set[str]], tick: SimulationTick) -> int:
    """Return how many distinct samples are stamped within the interval of a tick."""
    begin = tick.time - tick.interval
    return sum(
        len(names) for moment, names in list(samples_by_time.items()) if begin < moment <= tick.time
    )
