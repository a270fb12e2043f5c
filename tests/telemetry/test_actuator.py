"""Orders to a plant: in its units, to our points alone, numbered upwards, and renewed."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest

import sites
from telemetry import actuator
from telemetry.actuator import BEATS, VALIDITY, Actuator, Wanted
from telemetry.binding import Binder
from telemetry.codec import decode
from telemetry.job_samples import JobOrders
from telemetry.listing import points_of
from telemetry.points import INTEGRATION
from telemetry.samples import CapOrder, Decided, PointValue, Tick
from twin import axes
from twin.errors import JournalFullError

SITE = sites.load("small")
NOW = axes.utc("2026-06-16T08:00")
WANTED = Wanted(
    jobs={7: 0.75, 12: 1.0},
    halls={"hall_1": 1.25, "hall_2": 0.5},
    requests={
        ("battery_request", "battery_1"): -0.3,
        ("technology_supply_request", "cdu_1/002"): 38.5,
    },
)


class Wire:
    """A client that keeps what is published."""

    def __init__(self):
        self.sent = []

    def publish(self, topic, payload, *, qos=0, retain=False):
        assert qos == 1
        assert not retain
        self.sent.append(decode(topic, payload))

    def of(self, kind):
        return [sample for sample in self.sent if isinstance(sample, kind)]

    def requests(self):
        return {sample.point: sample.value for sample in self.of(PointValue)}

    def asked(self):
        return {point: value for point, value in self.requests().items() if value is not None}


def bound():
    binder = Binder(SITE)
    for metadata in points_of(SITE):
        binder.learn(metadata)
    return binder


@pytest.fixture
def wire():
    return Wire()


@pytest.fixture
def made(wire, tmp_path):
    def make(binder=None):
        path = tmp_path / "orders.json"
        return Actuator(wire, "small", binder=binder or bound(), path=path)

    return make


def point(binder, *key):
    return binder.integration_points[key]


def test_caps_and_jobs_are_ordered_and_expire(made, wire):
    sequence = made().act(WANTED, NOW)
    caps, (jobs,) = wire.of(CapOrder), wire.of(JobOrders)
    assert {cap.hall: cap.power_cap for cap in caps} == {"hall_1": 1.25, "hall_2": 0.5}
    assert jobs.caps == {7: 0.75, 12: 1.0}
    for order in (*caps, jobs):
        assert order.sequence == sequence
        assert (order.issued, order.expires) == (NOW, NOW + VALIDITY)


def test_requests_are_in_the_units_of_the_wire(made, wire):
    """-0.3 MW are -300 kW; a temperature in degrees Celsius stays one."""
    binder = bound()
    made(binder).act(WANTED, NOW)
    assert wire.asked() == pytest.approx(
        {
            point(binder, "battery_request", "battery_1"): -300.0,
            point(binder, "technology_supply_request", "cdu_1/002"): 38.5,
        }
    )
    assert {sample.sender for sample in wire.of(PointValue)} == {INTEGRATION}


def test_a_plant_that_speaks_another_unit_is_told_in_it(made, wire):
    binder = Binder(SITE)
    for metadata in points_of(SITE):
        binder.learn(replace(metadata, unit="MW") if metadata.unit == "kW" else metadata)
    made(binder).act(WANTED, NOW)
    assert wire.requests()[point(binder, "battery_request", "battery_1")] == pytest.approx(-0.3)


def test_only_points_that_name_us_are_written(made, wire):
    """The battery belongs to somebody else, the tank is not announced: neither is told anything."""
    stranger = bound()
    binder = Binder(SITE)
    for metadata in points_of(SITE):
        if "battery" in metadata.point and metadata.integration:
            binder.learn(replace(metadata, integration="SOMEBODY"))
        elif "tank" not in metadata.point:
            binder.learn(metadata)
    made = made(binder)
    made.act(replace(WANTED, requests={**WANTED.requests, ("tank_request", "tank_1"): 0.1}), NOW)
    made.withdraw(NOW)
    written = set(wire.requests())
    assert point(stranger, "battery_request", "battery_1") not in written
    assert point(stranger, "tank_request", "tank_1") not in written
    assert point(stranger, "technology_supply_request", "cdu_1/002") in written


WATER = ("technology_supply_request", "cdu_1/002")


def handed_over(binder, *key, **changes):
    """Let the plant announce anew what a point is; return the point."""
    where = point(binder, *key)
    known = next(metadata for metadata in points_of(SITE) if metadata.point == where)
    assert binder.learn(replace(known, **changes)) is None
    return where


def test_a_point_that_is_given_to_another_integration_is_written_no_more(made, wire):
    """The contract: MUST NOT publish where the metadata does not name us. Not even a null."""
    binder = bound()
    ordering = made(binder)
    ordering.act(WANTED, NOW)
    lost = [handed_over(binder, *WATER, integration="MEPAI")]
    lost += [handed_over(binder, word, "", integration="MEPAI") for word in BEATS]
    wire.sent.clear()
    ordering.act(WANTED, NOW)
    ordering.act(Wanted(), NOW)
    ordering.withdraw(NOW)
    ordering.beat(1.75e12, NOW)
    assert not set(lost) & set(wire.requests())
    assert point(binder, "battery_request", "battery_1") in wire.requests()


def test_a_point_that_comes_back_waits_for_a_person(made, wire):
    binder = bound()
    lost = handed_over(binder, *WATER, integration="MEPAI")
    assert "integration was 'GIGATWIN' and is 'MEPAI'" in binder.unknown[lost]
    binder.learn(next(metadata for metadata in points_of(SITE) if metadata.point == lost))
    made(binder).act(WANTED, NOW)
    assert lost not in wire.requests()
    binder.accept(lost)
    made(binder).act(WANTED, NOW)
    assert wire.asked()[lost] == 38.5


def test_what_was_asked_in_a_unit_that_changed_is_withdrawn(made, wire):
    """38.5 C asked, and the point now in F: the number that stands there means another thing."""
    binder = bound()
    ordering = made(binder)
    ordering.act(WANTED, NOW)
    changed = handed_over(binder, *WATER, unit="F")
    wire.sent.clear()
    ordering.act(WANTED, NOW)
    assert wire.requests()[changed] is None


def test_what_stands_asked_is_repeated_as_the_contract_wants(made, wire, monkeypatch):
    binder = bound()
    ordering = made(binder)
    ordering.act(WANTED, NOW)
    asked = wire.asked()
    clock = actuator.time.monotonic()
    for later, expected in ((99.0, {}), (101.0, asked), (102.0, {}), (202.0, asked)):
        monkeypatch.setattr(actuator.time, "monotonic", lambda at=clock + later: at)
        wire.sent.clear()
        ordering.repeat(NOW + np.timedelta64(int(later), "s"))
        assert wire.requests() == expected
    assert {sample.time for sample in wire.sent} == {NOW + np.timedelta64(202, "s")}


@pytest.mark.parametrize("way", ["hold", "withdraw", "simulated", "old"])
def test_what_does_not_stand_is_not_repeated(made, wire, monkeypatch, way):
    ordering = made()
    ordering.act(WANTED, NOW)
    match way:
        case "hold":
            ordering.freeze(NOW)
        case "withdraw":
            ordering.withdraw(NOW)
        case "simulated":
            ordering.decided(NOW, 1)
    later = actuator.time.monotonic() + (3600.0 if way == "old" else 150.0)
    monkeypatch.setattr(actuator.time, "monotonic", lambda: later)
    wire.sent.clear()
    ordering.repeat(NOW)
    assert wire.asked() == {}


def test_our_heartbeat_carries_the_repetition(made, wire, monkeypatch):
    ordering = made()
    ordering.act(WANTED, NOW)
    later = actuator.time.monotonic() + 150.0
    monkeypatch.setattr(actuator.time, "monotonic", lambda: later)
    wire.sent.clear()
    ordering.beat(None, NOW)
    assert len(wire.asked()) == len(("battery", "water", "our heartbeat"))


def test_a_request_that_no_point_takes_is_left_out(made, wire):
    made().act(Wanted(requests={("battery_request", "battery_9"): 1.0}), NOW)
    assert wire.asked() == {}
    assert len(wire.of(JobOrders)) == 1


def test_what_is_not_wanted_any_more_is_withdrawn_once(made, wire):
    """A plan by rule chooses no water; what an optimum asked must not live on by our heartbeats."""
    binder = bound()
    ordering = made(binder)
    key = ("facility_supply_request", "warm_plant")
    ordering.act(replace(WANTED, requests={**WANTED.requests, key: 40.5}), NOW)
    assert wire.asked()[point(binder, *key)] == 40.5
    for expected in ([None], []):
        wire.sent.clear()
        ordering.act(WANTED, NOW)
        told = [s.value for s in wire.of(PointValue) if s.point == point(binder, *key)]
        assert told == expected


def test_what_a_killed_service_asked_is_withdrawn_by_the_next(made, wire):
    """It died before it could withdraw: the next one does not know what stands."""
    binder = bound()
    made(binder).act(WANTED, NOW)
    values = wire.requests()
    assert values[point(binder, "facility_range_request", "warm_plant")] is None
    assert values[point(binder, "battery_request", "battery_1")] == -300.0


# --- freeze


def test_freezing_renews_caps_and_jobs_and_withdraws_requests(made, wire):
    frozen = made()
    first = frozen.act(WANTED, NOW)
    wire.sent.clear()
    second = frozen.freeze(NOW + VALIDITY)
    (jobs,) = wire.of(JobOrders)
    assert jobs.caps == {7: 0.75, 12: 1.0}
    assert jobs.expires == NOW + 2 * VALIDITY
    assert {cap.hall: cap.power_cap for cap in wire.of(CapOrder)} == {"hall_1": 1.25, "hall_2": 0.5}
    assert second > first
    values = wire.requests()
    assert point(bound(), "battery_request", "battery_1") in values
    assert set(values.values()) == {None}


def test_withdrawing_leaves_the_heartbeats(made, wire):
    binder = bound()
    made(binder).withdraw(NOW)
    ours = {where for (word, _), where in binder.integration_points.items() if word not in BEATS}
    assert set(wire.requests()) == ours
    assert len(ours) < len(binder.integration_points)


def test_what_was_frozen_survives_a_restart(made, wire):
    made().act(WANTED, NOW)
    wire.sent.clear()
    again = made()
    assert again.last == replace(WANTED, requests={})
    assert again.freeze(NOW) > 0
    assert wire.of(JobOrders)[0].caps == {7: 0.75, 12: 1.0}


def test_nothing_is_stopped_by_who_never_ordered_anything(made, wire):
    """A first start without telemetry: jobs run there that we know nothing of."""
    assert made().freeze(NOW) == -1
    assert wire.of(JobOrders) == wire.of(CapOrder) == []
    assert set(wire.requests().values()) == {None}


def test_an_order_that_all_jobs_wait_is_an_order(made, wire):
    made().act(Wanted(), NOW)
    assert made().freeze(NOW) > 0
    assert [orders.caps for orders in wire.of(JobOrders)] == [{}, {}]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"jobs": {}, "halls": {}}',
        b'{"jobs": {"x": 1.0}, "halls": {}, "sequence": 1}',
        b'{"jobs": {"1": NaN}, "halls": {}, "sequence": 1}',
        b'{"jobs": {"1": -1}, "halls": {}, "sequence": 1}',
        b'{"jobs": {}, "halls": {"hall_1": 1e999}, "sequence": 1}',
        b'{"jobs": [1], "halls": {}, "sequence": 1}',
        b'{"jobs": {}, "halls": {}, "sequence": 1e999}',
    ],
)
def test_a_broken_file_orders_nothing(made, tmp_path, content):
    (tmp_path / "orders.json").write_bytes(content)
    broken = made()
    assert broken.last == Wanted()
    assert broken.freeze(NOW) == -1
    assert broken.act(WANTED, NOW) > 0
    assert made().last.jobs == WANTED.jobs


def test_a_full_disk_keeps_no_order_from_the_plant(made, wire, monkeypatch):
    def refuse(*_):
        raise JournalFullError(errno.errorcode[errno.ENOSPC])

    monkeypatch.setattr(actuator, "write_whole", refuse)
    full = made()
    assert full.act(WANTED, NOW) > 0
    assert full.freeze(NOW) > 0
    assert [orders.caps for orders in wire.of(JobOrders)] == [WANTED.jobs] * 2


# --- sequence


def test_sequences_rise_within_a_millisecond(made, monkeypatch):
    monkeypatch.setattr(actuator.time, "time", lambda: 1.8e9)
    ordering = made()
    numbers = [ordering.act(WANTED, NOW), ordering.freeze(NOW), ordering.act(WANTED, NOW)]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("ways", [("act", "act"), ("act", "freeze"), ("freeze", "act")])
def test_sequences_rise_over_a_restart_though_the_clock_was_set_back(made, monkeypatch, ways):
    made().act(WANTED, NOW)
    numbers = []
    for way, clock in zip(ways, (1.9e9, 1.2e9), strict=True):
        monkeypatch.setattr(actuator.time, "time", lambda at=clock: at)
        order = made()
        numbers.append(order.act(WANTED, NOW) if way == "act" else order.freeze(NOW))
    assert numbers[1] > numbers[0]


def test_a_sequence_beyond_the_wire_is_not_believed(made, tmp_path):
    kept = {"jobs": {}, "halls": {}, "sequence": 2**60}
    (tmp_path / "orders.json").write_text(json.dumps(kept))
    assert 0 < made().act(WANTED, NOW) < 2**53


# --- ticks and beats


def test_a_simulated_plant_is_told_that_it_may_go_on(made, wire):
    made().decided(NOW, -1)
    assert wire.sent == [Decided(site="small", time=NOW, sequence=-1)]


def tick(time):
    return Tick(
        site="small",
        time=time,
        interval=axes.QUARTER,
        step=3,
        steps=9,
        batches=0,
        points=0,
        is_last=False,
    )


def test_a_plant_that_waits_for_what_a_broker_lost_is_told_again(made, wire, monkeypatch):
    ours = made()
    ours.decided(NOW, ours.act(WANTED, NOW))
    first = wire.of(JobOrders)
    ours.hear(tick(NOW))  # it may still be on its way
    ours.hear(tick(NOW + axes.QUARTER))  # not decided yet
    assert wire.of(JobOrders) == first
    monkeypatch.setattr(actuator, "PATIENCE", -1.0)
    ours.hear(tick(NOW))
    again = wire.of(JobOrders)[-1]
    assert again.caps == first[0].caps
    assert again.sequence > first[0].sequence
    assert wire.of(Decided)[-1] == Decided(site="small", time=NOW, sequence=again.sequence)


def test_who_ordered_nothing_orders_nothing_again(made, wire, monkeypatch):
    monkeypatch.setattr(actuator, "PATIENCE", -1.0)
    ours = made()
    ours.decided(NOW, -1)
    ours.hear(tick(NOW))
    assert wire.of(JobOrders) == []
    assert [decided.sequence for decided in wire.of(Decided)] == [-1, -1]


def test_heartbeats_are_ours_and_the_echo_of_the_plant_s(made, wire):
    binder = bound()
    made(binder).beat(1.75e12, NOW)
    ours = float(NOW.astype("datetime64[ms]").astype(np.int64))
    assert sorted(wire.requests().values()) == sorted([ours, 1.75e12])
    wire.sent.clear()
    made(binder).beat(None, NOW)
    assert list(wire.requests().values()) == [ours]


def test_without_points_there_is_no_heartbeat(made, wire):
    made(Binder(SITE)).beat(1.75e12, NOW)
    assert wire.sent == []
