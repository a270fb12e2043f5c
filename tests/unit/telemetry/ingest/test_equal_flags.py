"""A reading has one flag, whether it is archived live, in catching up, or by a recorder."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.archive import Archive
from telemetry.ingest.ingester import Ingester
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.ingest.pipeline import IngestPipeline
from telemetry.journal.writer import Journal
from telemetry.live.state import LiveState
from telemetry.messages import encode
from telemetry.messages.samples import PointMetadata, PointValue, SimulationTick
from telemetry.mqtt.queues import ReceivedMessage
from telemetry.points.binding import PointBinder
from telemetry.quality.checks import QualityFlag
from telemetry.runtime import ClockMode
from tests.support.ingesting import Wire
from tests.support.small_points import NOON, SECOND, batch, metadata_of, site

SUPPLY = metadata_of("facility_supply_temperature")
GRID = metadata_of("grid_import_power")
SPARE = replace(GRID, point="PowerMeter/ActivePower/small/spare_1")
LEVEL = metadata_of("battery_level")
HUMIDITY = metadata_of("relative_humidity")
PUMP = PointMetadata(
    point="Pump/PumpSpeed/small/p1/speed",
    object_type="Pump",
    point_type="PumpSpeed",
    object_id="p1",
    object_name="p1",
    unit="%",
)
USUAL = {SUPPLY: 30.0, GRID: 2000.0, SPARE: 2000.0, LEVEL: 50.0, HUMIDITY: 50.0, PUMP: 60.0}
"""Metadata -> usual value, in the unit of the wire."""

POINTS = list(USUAL)
UNUSUAL = (0.0, 1e-3, 0.01, 0.5, 0.98, 1.0, 1.0, 1.0, 1.0001, 1.02, 1.5, 100.0, 1e3, 1e9)
"""Factors of the usual value."""

STAMPS_S = (0, 0, 0, 0, -1, -30, -1200, -90_000, 4, 60, 3600)
"""Stamp minus time of receipt. [s]"""

STEPS_S = (0, 1, 10, 100, 600, 2000)
"""Time since the previous message. [s]"""

STEP = st.tuples(
    st.integers(0, 24),
    st.sampled_from(STEPS_S),
    st.integers(0, len(POINTS) - 1),
    st.sampled_from(UNUSUAL),
    st.sampled_from(STAMPS_S),
)
CASE = st.tuples(
    st.lists(STEP, min_size=1, max_size=40),
    st.integers(0, 40),
    st.integers(0, 40),
    st.sampled_from(ClockMode),
)


CHANGES = {
    2: {"value": None},
    3: {"quality": 0},
    4: {"point": "Pump/PumpSpeed/elsewhere/p1/speed"},
    5: {"point": "Pump/PumpSpeed/small/p2/speed"},
    6: {"sender": "MEPAI"},
}
"""Kind of a step -> how its value differs from a usual one."""


def message(kind, metadata, factor, stamp):
    """Return the topic and payload of a step; most are values."""
    reading = PointValue(point=metadata.point, time=stamp, value=USUAL[metadata] * factor)
    tick = SimulationTick(
        site="small",
        time=stamp,
        interval=np.timedelta64(15, "m"),
        step=1,
        steps=9,
        batches=1,
        points=1,
    )
    others = {
        0: metadata,
        1: replace(metadata, unit="F" if metadata.unit == "C" else "W"),
        7: batch(time=stamp),
        8: tick,
    }
    topic, payload = encode(others.get(kind) or replace(reading, **CHANGES.get(kind, {})))
    return topic, b"{" if kind == 9 else payload


class FlagArchive(Archive):
    """An archive that lists what is added to it, and commits nothing, so that cases share it."""

    is_commit_due = False
    is_overfull = False

    def add(self, sample, position, *, flag=QualityFlag.GOOD, journal=""):
        if isinstance(sample, PointValue):
            self.added.append((sample.point, sample.time, sample.value, flag))
        return super().add(sample, position, flag=flag, journal=journal)

    def restart(self):
        """Return the archive without what was added."""
        self.added, self.is_overfull = [], False
        self.discard_uncommitted()
        self.mark_caught_up()
        return self


class Plant:
    """Three set-ups that receive the same messages, and the clock of their machine."""

    def __init__(self, folder):
        self.folder = folder
        self._numbers = itertools.count()
        self._now = NOON
        self._archives = [FlagArchive(folder / str(path), "small") for path in range(3)]

    def flags(self, messages, *, behind, again, clock_mode):
        """Return what each path archived of messages, which come some seconds after each other.

        At the message ``behind`` the second archive leaves new readings to the journal, and at
        ``again`` it catches up.
        """
        folder = self.folder / f"journal_{next(self._numbers)}"
        live, lagging, recorded = (one.restart() for one in self._archives)
        services = [
            self._service(folder / str(path), archive, clock_mode)
            for path, archive in enumerate((live, lagging))
        ]
        self._now = NOON
        for number, (seconds, item) in enumerate(messages):
            self._now = self._now + seconds * SECOND
            for _, ingester, _ in services:
                ingester.ingest([ReceivedMessage(*item, 1)])
            service = services[1][0]
            if number == behind:
                lagging.is_overfull = True
                service.limit_memory()
            if number == again and lagging.is_behind:
                assert service.catch_up()
        if lagging.is_behind:
            assert service.catch_up()
        archiver = JournalArchiver(
            recorded, {"": folder / "0"}, clock_mode=clock_mode, binder=PointBinder(site())
        )
        while archiver.archive_next_chunk():
            pass
        for _, _, journal in services:
            journal.close()
        return live.added, lagging.added, recorded.added

    def _service(self, folder, archive, clock_mode):
        journal = Journal(folder, clock=lambda: int(self._now.astype(np.int64)) * 1000)
        window = LiveState(site(), clock_mode=clock_mode)
        pipeline = IngestPipeline(Wire(), journal, window=window, archive=archive)
        return pipeline, Ingester(Wire(), journal, receiver=pipeline), journal


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fdatasync", lambda _: None)  # power cuts are tested elsewhere
        yield Plant(tmp_path_factory.mktemp("plant"))


def compare(plant, case):
    """Compare the flags of a case of :data:`CASE`."""
    steps, behind, again, clock_mode = case
    messages = [(0, encode(metadata)) for metadata in POINTS]
    now = NOON
    for kind, seconds, place, factor, skew in steps:
        now = now + seconds * SECOND
        # how much of a leap of simulated time is refused depends on what arrives together
        offset = max(skew, -1200) if clock_mode is ClockMode.SIMULATED else skew
        messages.append((seconds, message(kind, POINTS[place], factor, now + offset * SECOND)))
    first = len(POINTS)
    live, lagging, recorded = plant.flags(
        messages, behind=first + behind, again=first + again, clock_mode=clock_mode
    )
    assert lagging == live
    assert recorded == live


def test_each_flag_is_the_same_by_all_paths(plant):
    """Proves: a crafted day has every flag of archived values, in the same places by each path."""
    messages = [(0, encode(metadata)) for metadata in POINTS]
    now = NOON

    def send(metadata, value, *, after=0, offset=0, **changes):
        nonlocal now
        now = now + after * SECOND
        reading = PointValue(point=metadata.point, time=now + offset * SECOND, value=value)
        messages.append((after, encode(replace(reading, **changes))))

    send(SUPPLY, 30.0)
    send(SUPPLY, 50.0, after=1)  # a spike
    send(SUPPLY, 500.0, after=1)  # out of range
    send(SUPPLY, 30.0, after=1, quality=0)
    send(SUPPLY, 29.0, after=1, offset=-1200)  # late
    send(LEVEL, 80.0, after=1)
    send(LEVEL, 0.8, after=100)  # a share for per cent
    send(GRID, 2000.0, after=1)
    send(SPARE, 4000.0, after=1)  # two sensors that differ
    for number in range(45):
        send(SUPPLY, 31.0, after=600)  # stuck
        send(GRID, 2000.0 + 1e-4 * number)  # hardly moves
    live, lagging, recorded = plant.flags(messages, behind=10, again=60, clock_mode=ClockMode.REAL)
    assert lagging == live
    assert recorded == live
    expected = set(QualityFlag) - {QualityFlag.FUTURE, QualityFlag.STALE}
    assert {flag for *_, flag in live} == expected


@pytest.mark.slow
@settings(max_examples=200)
@given(CASE)
def test_flags_are_the_same_by_all_paths(plant, case):
    """Proves: live, catching-up and recording archives have the same readings with the same flags.

    Sensitivity: a recorder knew four flags of nine, and readings whose flag was forgotten became
    good in catching up.
    """
    compare(plant, case)


@pytest.mark.long
@settings(max_examples=10_000)
@given(CASE)
def test_flags_of_ten_thousand_sequences_are_the_same(plant, case):
    compare(plant, case)
