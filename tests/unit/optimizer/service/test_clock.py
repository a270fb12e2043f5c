"""The clock: every quarter-hour once, for any change of system time or ticks."""

import itertools
import threading
from dataclasses import replace

import numpy as np
import pytest

from optimizer.service import clock
from optimizer.service.clock import RealClock, SimulatedClock
from telemetry.messages.samples import (
    JobColumns,
    PointValue,
    QueueSnapshot,
    RackBatch,
    SimulationTick,
)
from telemetry.runtime import ClockMode
from tests.support.waiting import DEADLINE, until
from twin import time_axes
from twin.time_axes import QUARTER_HOUR

START = time_axes.to_utc("2026-06-16T08:00")
SECOND = np.timedelta64(1, "s")


class ScriptedClock(RealClock):
    """A real clock with scripted times, one for each reading."""

    def __init__(self, *looks):
        self.looks = list(looks)

    def now(self):
        return self.looks[0]


def test_request_repeats_the_current_decision():
    scripted = ScriptedClock(*(START + minutes * time_axes.MINUTE for minutes in (0, 4, 7, 8, 15)))
    cycles = scripted.intervals(AdvancingEvent(scripted))
    assert next(cycles) == START
    scripted.request_redecision()
    assert [next(cycles), next(cycles)] == [START, START + QUARTER_HOUR]


def test_request_is_served_after_the_clock_was_set_back():
    """Proves: a load target is planned at once."""
    scripted = ScriptedClock(*(START + minutes * time_axes.MINUTE for minutes in (0, 14, 2, 3)))
    found = []
    for _ in scripted.intervals(AdvancingEvent(scripted)):
        found.append(scripted.now())
        scripted.request_redecision()
    assert found == [START + minutes * time_axes.MINUTE for minutes in (0, 14, 2, 3)]


def test_frequent_requests_are_served_once_a_minute():
    scripted = ScriptedClock(*(START + seconds * SECOND for seconds in range(0, 180, 10)))
    looks = len(scripted.looks)
    found = []
    for _ in scripted.intervals(AdvancingEvent(scripted)):
        found.append(looks - len(scripted.looks))
        scripted.request_redecision()
    assert found == [0, 6, 12]


class AdvancingEvent(threading.Event):
    """An event that never waits: it advances the clock and is set after the last time."""

    def __init__(self, scripted):
        super().__init__()
        self.scripted = scripted
        self.waits = []

    def wait(self, timeout=None):
        self.waits.append(timeout)
        if len(self.scripted.looks) > 1:
            self.scripted.looks.pop(0)
        else:
            self.set()
        return self.is_set()


def decided(*minutes):
    """Return the decided minutes of a clock that shows some minutes after the start."""
    scripted = ScriptedClock(*(START + np.timedelta64(round(60 * m), "s") for m in minutes))
    stop = AdvancingEvent(scripted)
    cycles = [float((now - START) / time_axes.MINUTE) for now in scripted.intervals(stop)]
    assert all(0.0 <= wait <= clock.STOP_POLL_S for wait in stop.waits)
    return cycles


@pytest.mark.parametrize(
    ("minutes", "cycles"),
    [
        ([7], [0]),
        ([0, 5, 14.9, 15, 15.1, 29, 30], [0, 15, 30]),
        ([14.99, 15], [0, 15]),
        ([1, 50], [0, 45]),
        ([1, 1440, 1441], [0, 1440]),
        ([16, 14, 13, 16, 30], [15, 30]),
        ([16, 14, 16, 14, 29], [15]),
        ([1, 600, 2, 16], [0, 600, 0, 15]),
        ([601, 1, 1, 16], [600, 0, 15]),
    ],
    ids=[
        "in the midst",
        "one after the other",
        "on the edge",
        "a long decision",
        "set ahead by a day",
        "set back over an edge",
        "to and fro over an edge",
        "ahead and back again",
        "wrong at the start",
    ],
)
def test_real_clock_yields_quarter_hours(minutes, cycles):
    assert decided(*minutes) == cycles


def test_real_clock_yields_nothing_after_stop():
    stop = threading.Event()
    stop.set()
    assert list(RealClock().intervals(stop)) == []


def test_real_clock_stops_within_a_quarter_hour():
    real, stop = RealClock(), threading.Event()
    cycles = real.intervals(stop)
    next(cycles)
    threading.Timer(0.05, stop.set).start()
    assert len(list(cycles)) <= 1  # one more if a quarter-hour begins meanwhile
    assert real.mode is ClockMode.REAL
    before, now, after = clock.time.time(), real.now(), clock.time.time()
    assert before - 1e-6 <= (now - np.datetime64(0, "s")) / SECOND <= after + 1e-6


def tick(step, **others):
    counts = {"batches": 0, "points": 0} | others
    return SimulationTick(
        site="small",
        time=START + step * QUARTER_HOUR,
        interval=QUARTER_HOUR,
        step=step,
        steps=96,
        **counts,
    )


def batch(step, rack="r0001"):
    return RackBatch(
        site="small",
        hall="hall_1",
        rack=rack,
        boot=1,
        sequence=step,
        time=START + step * QUARTER_HOUR,
        interval=QUARTER_HOUR,
        values=np.zeros((5, 1), dtype=np.float32),
    )


def point(step, name="a"):
    return PointValue(point=name, time=START + step * QUARTER_HOUR, value=1.0, sender="PUB")


def snapshot(step):
    empty = np.empty(0)
    columns = dict.fromkeys(JobColumns.__dataclass_fields__, empty) | {"kind": ()}
    nothing = dict.fromkeys(("completed_hours", "run_hours", "running"), empty)
    jobs = JobColumns(**columns)
    return QueueSnapshot(site="small", time=START + step * QUARTER_HOUR, jobs=jobs, **nothing)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Shorten every timeout."""
    monkeypatch.setattr(clock, "STOP_POLL_S", 0.01)
    monkeypatch.setattr(clock, "LOST_SAMPLE_TIMEOUT_S", 0.05)
    monkeypatch.setattr(clock, "METADATA_SETTLE_S", 0.01)


class Plant:
    """A simulated clock, and the steps that it yields to a loop in another thread."""

    def __init__(self):
        self.clock, self.stop = SimulatedClock(), threading.Event()
        self.steps = []
        self.more = threading.Condition()
        self.loop = threading.Thread(target=self.run, daemon=True)

    def run(self):
        for now in self.clock.intervals(self.stop):
            with self.more:
                self.steps.append(int((now - START) / QUARTER_HOUR))
                self.more.notify()

    def say(self, *samples):
        for sample in samples:
            self.clock.on_sample(sample)

    def wait(self, *steps):
        with self.more:
            assert self.more.wait_for(lambda: len(self.steps) >= len(steps), DEADLINE), self.steps
            assert self.steps == list(steps)


@pytest.fixture
def plant():
    plant = Plant()
    plant.loop.start()
    yield plant
    plant.stop.set()
    plant.loop.join(DEADLINE)
    assert not plant.loop.is_alive()


def test_every_tick_is_decided(plant):
    for step in range(3):
        plant.say(snapshot(step), tick(step))
        plant.wait(*range(step + 1))
        assert plant.clock.now() == START + step * QUARTER_HOUR


def test_time_advances_only_with_complete_telemetry(plant, monkeypatch):
    """Sensitivity: points seemed silent between a tick and the samples before it."""
    plant.say(snapshot(0), tick(0))
    plant.wait(0)
    monkeypatch.setattr(clock, "LOST_SAMPLE_TIMEOUT_S", DEADLINE)
    plant.say(tick(1))
    plant.stop.wait(0.1)
    assert (plant.steps, plant.clock.now()) == ([0], START)
    plant.say(snapshot(1))
    plant.wait(0, 1)
    assert plant.clock.now() == START + QUARTER_HOUR


def test_last_tick_ends_the_day_without_a_decision(plant):
    plant.say(snapshot(0), tick(0), tick(1, is_last=True))
    until(lambda: plant.clock.now() == START + QUARTER_HOUR)
    assert plant.steps in ([0], [])  # of several ticks the newest counts


def test_of_several_ticks_the_newest_counts():
    plant = Plant()
    plant.say(*(tick(step) for step in range(5)))
    plant.loop.start()
    plant.wait(4)
    plant.stop.set()


def test_a_tick_that_is_repeated_is_decided_once(plant):
    plant.say(snapshot(0), tick(0))
    plant.wait(0)
    plant.say(tick(0), tick(0))
    plant.say(snapshot(1), tick(1))
    plant.wait(0, 1)
    plant.say(replace(tick(0), step=1), tick(1))
    plant.say(snapshot(2), tick(2))
    plant.wait(0, 1, 2)


def test_restarted_plant_is_decided_again(plant):
    plant.say(snapshot(5), tick(5))
    plant.wait(5)
    plant.say(tick(0))
    plant.wait(5, 0)
    plant.say(tick(1))
    plant.wait(5, 0, 1)


def test_the_last_tick_is_not_decided(plant):
    plant.say(snapshot(0), tick(0))
    plant.wait(0)
    plant.say(tick(1, is_last=True))
    plant.say(snapshot(2), tick(2))
    plant.wait(0, 2)


def test_late_samples_are_waited_for(monkeypatch):
    """A broker may deliver the tick before the samples of its interval."""
    monkeypatch.setattr(clock, "LOST_SAMPLE_TIMEOUT_S", 60.0)
    plant = Plant()
    plant.loop.start()
    plant.say(tick(1, batches=2, points=1), batch(1), batch(1), point(1), snapshot(1))
    assert plant.steps == []
    plant.say(batch(0, "r0002"), batch(1, "r0002"))
    plant.wait(1)
    plant.stop.set()


def test_missing_samples_are_not_waited_for_indefinitely(plant):
    plant.say(tick(0, batches=100, points=100))
    plant.wait(0)


def test_repeated_tick_does_not_extend_the_wait(plant, monkeypatch):
    monkeypatch.setattr(clock, "LOST_SAMPLE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(clock, "MAX_TICK_WAIT_S", 10 * DEADLINE)
    lost = tick(0, batches=100)
    until(lambda: plant.say(lost) or plant.steps, pause=0.01)
    plant.wait(0)


def test_unrelated_samples_do_not_extend_the_wait(plant, monkeypatch):
    monkeypatch.setattr(clock, "LOST_SAMPLE_TIMEOUT_S", 10 * DEADLINE)
    monkeypatch.setattr(clock, "MAX_TICK_WAIT_S", 0.2)
    plant.say(tick(0, batches=100))
    names = map(str, itertools.count())
    until(lambda: plant.say(point(0, next(names))) or plant.steps, pause=0.01)
    plant.wait(0)


def test_invented_times_use_bounded_memory():
    simulated = SimulatedClock()
    for step in range(3 * clock.MAX_COUNTED_SAMPLE_TIMES):
        simulated.on_sample(batch(step))
        simulated.on_sample(point(step))
    assert len(simulated._batches) == len(simulated._points) == clock.MAX_COUNTED_SAMPLE_TIMES


def test_samples_may_come_while_a_tick_is_decided(plant):
    """Two threads share the counters."""
    plant.say(snapshot(0), tick(0))
    for step in range(1, 400):
        plant.say(batch(step), point(step), snapshot(step), tick(step))
    plant.say(tick(400, batches=1))
    with plant.more:
        assert plant.more.wait_for(lambda: 400 in plant.steps, DEADLINE)
    assert plant.loop.is_alive()
