"""The service's clock: the world's, or that of a simulated plant, in lockstep with it."""

import queue
import time
from collections.abc import Iterator
from threading import Event
from typing import Final, Protocol

import numpy as np
import pandas as pd
import structlog

from telemetry.messages.models import PointValue, QueueSnapshot, RackBatch, Sample, SimulationTick
from twin.time_axes import QUARTER_HOUR

STOP_POLL_S: Final = 0.2
"""Longest wait between two looks at whether to stop, and at a clock that may have jumped. [s]"""

NOT_STARTED: Final = np.datetime64("2000-01-01", "us")
"""Time of a simulated clock before its first tick."""

LOST_SAMPLE_TIMEOUT_S: Final = 0.5
"""Silence after which what was sent before a tick and is not here is taken to be lost. [s]"""

METADATA_SETTLE_S: Final = 0.3
"""Silence after the first tick in which metadata is taken to be complete. [s]"""

MAX_TICK_WAIT_S: Final = 30.0
"""Longest wait for what was sent before a tick, however much else is said. [s]"""

MIN_REDECISION_INTERVAL: Final = np.timedelta64(1, "m")
"""Shortest time from a decision to one more in the same quarter-hour, whoever asks how often."""

PLANT_SILENCE_ALARM_S: Final = 180.0
"""Silence of a simulated plant from which on it is told. [s]"""

MAX_COUNTED_MOMENTS: Final = 1000
"""Most moments whose samples are counted. [1]"""

logger = structlog.get_logger(__name__)


class ServiceClock(Protocol):
    """What tells the service the time, and when to decide."""

    @property
    def is_simulated(self) -> bool:
        """Whether a simulated plant keeps it."""
        ...

    def now(self) -> np.datetime64:
        """Return the time, UTC."""
        ...

    @property
    def error(self) -> str:
        """Why the time does not go on; empty if it does."""
        ...

    def on_sample(self, sample: Sample) -> None:
        """Take note of a sample from the wire."""
        ...

    def request_redecision(self) -> None:
        """Have the quarter-hour that runs decided once more: somebody asks for something else."""
        ...

    def intervals(self, stop: Event) -> Iterator[np.datetime64]:
        """Yield the start of every quarter-hour to be decided, until it is to stop."""
        ...


class RealClock:
    """The clock of the world.

    The quarter-hour that runs at the start is decided at once; the next ones when they begin. A
    clock that is set back a little decides nothing twice; one that is set ahead, or back by more
    than a quarter-hour, was wrong before: it goes on from there.
    """

    is_simulated = False
    error = ""
    _is_redecision_requested = False

    def request_redecision(self) -> None:
        """Have the quarter-hour that runs decided once more."""
        self._is_redecision_requested = True

    def now(self) -> np.datetime64:
        """Return the time, UTC."""
        return np.datetime64(round(time.time() * 1e6), "us")

    def on_sample(self, sample: Sample) -> None:
        """Take no notice: samples do not move this clock."""

    def intervals(self, stop: Event) -> Iterator[np.datetime64]:
        """Yield the start of every quarter-hour as it begins, until it is to stop."""
        last = decided = np.datetime64("1970-01-01", "us")
        while not stop.is_set():
            begun = np.datetime64(pd.Timestamp(self.now()).floor("15min"), "us")
            is_back = begun < last - QUARTER_HOUR
            if is_back:
                logger.warning("clock was set back", before=str(last), now=str(begun))
            # it is not waited for by a clock that was set back meanwhile
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
    """The clock of a simulated plant: each of its ticks is decided, and it waits for that."""

    is_simulated = True

    def __init__(self) -> None:
        self._ticks: queue.SimpleQueue[SimulationTick] = queue.SimpleQueue()
        self._batches: dict[np.datetime64, set[str]] = {}
        self._points: dict[np.datetime64, set[str]] = {}
        self._last_sample_at = self._last_message_at = time.monotonic()
        self._has_started = self._has_ended = False
        self._now = NOT_STARTED
        self._queue = NOT_STARTED
        self._is_first = True
        self._done = NOT_STARTED

    def now(self) -> np.datetime64:
        """Return the time of the last tick whose telemetry is here, UTC."""
        return self._now

    @property
    def error(self) -> str:
        """Why the time does not go on: the plant that keeps it has fallen silent; else empty."""
        silence = time.monotonic() - self._last_message_at
        if not self._has_started or self._has_ended or silence <= PLANT_SILENCE_ALARM_S:
            return ""
        return f"the simulated plant has been silent for {silence / 60.0:,.0f} min: is it running?"

    def request_redecision(self) -> None:
        """Do nothing: the plant waits in the next tick, which is decided with what is known."""

    def on_sample(self, sample: Sample) -> None:
        """Count rack batches and points, and take note of the queue and of ticks."""
        self._last_message_at = time.monotonic()
        if not isinstance(sample, SimulationTick):  # a plant that waits repeats it
            self._last_sample_at = time.monotonic()
        match sample:
            case RackBatch():
                rack = f"{sample.hall}/{sample.rack}"
                _count_sample(self._batches, sample.time, rack)
            case PointValue():
                _count_sample(self._points, sample.time, sample.point)
            case QueueSnapshot():
                self._queue = sample.time
            case SimulationTick():
                self._has_started, self._has_ended = True, sample.is_last
                self._ticks.put(sample)

    def intervals(self, stop: Event) -> Iterator[np.datetime64]:
        """Yield the time of every tick once its telemetry is here; of several, the newest.

        A plant that waits says its tick again, for a service that was started anew. One that was
        itself started anew begins with step 0, whatever its time.
        """
        while not stop.is_set():
            try:
                tick = self._ticks.get(timeout=STOP_POLL_S)
                while not self._ticks.empty():
                    tick = self._ticks.get()
            except queue.Empty:
                continue
            is_anew = tick.step == 0 and tick.time < self._done
            if tick.time <= self._done and not is_anew:
                continue
            if tick.is_last:
                self._now = tick.time
                continue
            self._wait_for_samples(tick, stop)
            self._now = self._done = tick.time
            yield tick.time

    def _wait_for_samples(self, tick: SimulationTick, stop: Event) -> None:
        """Wait for what was sent before a tick: a broker may deliver topics out of order.

        Points come at QoS 0 and may be lost: silence ends the wait. Before the first decision
        everything must have come to rest, for values mean nothing before their metadata.
        """
        until = time.monotonic() + MAX_TICK_WAIT_S
        while not stop.wait(0.005) and time.monotonic() < until:
            silence = time.monotonic() - self._last_sample_at
            is_here = _count_within(self._batches, tick) >= tick.batches
            is_here &= _count_within(self._points, tick) >= tick.points
            is_here &= self._queue >= tick.time
            if silence > LOST_SAMPLE_TIMEOUT_S or (
                is_here and (not self._is_first or silence > METADATA_SETTLE_S)
            ):
                break
        self._is_first = False
        for heard in (self._batches, self._points):
            for moment in list(heard):
                if moment <= tick.time:
                    del heard[moment]


def _count_sample(
    samples_by_time: dict[np.datetime64, set[str]], time: np.datetime64, name: str
) -> None:
    """Take note of a sample, unless somebody makes up moments without end."""
    if time in samples_by_time or len(samples_by_time) < MAX_COUNTED_MOMENTS:
        samples_by_time.setdefault(time, set()).add(name)


def _count_within(samples_by_time: dict[np.datetime64, set[str]], tick: SimulationTick) -> int:
    """Return how many samples are stamped in the interval of a tick, repeated ones counted once."""
    begin = tick.time - tick.interval
    return sum(
        len(names) for moment, names in list(samples_by_time.items()) if begin < moment <= tick.time
    )
