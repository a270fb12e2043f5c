"""What an actuator remembers over restarts: orders that are frozen, and their sequence."""

import errno
import json
from dataclasses import replace

import pytest

from telemetry import commands
from telemetry.commands import COMMAND_VALIDITY, SERVICE_HEARTBEAT_VARIABLES, PlantCommands
from telemetry.messages.models import CapOrder, JobOrders
from telemetry.mqtt.queues import PublishToken
from tests.telemetry.ordering import NOW, WANTED, bound, making, point
from twin.errors import JournalFullError


@pytest.fixture
def made(wire, tmp_path):
    return making(wire, tmp_path)


def test_freezing_renews_caps_and_jobs_and_withdraws_requests(made, wire):
    frozen = made()
    first = frozen.apply(WANTED, NOW)
    wire.sent.clear()
    second = frozen.freeze(NOW + COMMAND_VALIDITY)
    (jobs,) = wire.of(JobOrders)
    assert jobs.caps == {7: 0.75, 12: 1.0}
    assert jobs.expires == NOW + 2 * COMMAND_VALIDITY
    assert {cap.hall: cap.power_cap for cap in wire.of(CapOrder)} == {"hall_1": 1.25, "hall_2": 0.5}
    assert second > first
    values = wire.requests()
    assert point(bound(), "battery_request", "battery_1") in values
    assert set(values.values()) == {None}


def test_the_caps_of_halls_follow_inference_up_to_what_was_frozen(made, wire):
    """Proves: through a morning under HOLD jobs keep what they had, and no cap is beyond it.

    Sensitivity: each lull of the inference lowered the caps of halls for good, and what it took
    again in the morning was taken from jobs that ran: they were stopped.
    """
    frozen, told = made(), []
    frozen.apply(WANTED, NOW)
    for power in (None, 0.8, None, 1.1, 2.0):
        wire.sent.clear()
        eased = (
            None if power is None else replace(WANTED, hall_caps={"hall_1": power, "hall_2": 0.5})
        )
        frozen.freeze(NOW, eased)
        told += [cap.power_cap for cap in wire.of(CapOrder) if cap.hall == "hall_1"]
    assert told == [1.25, 0.8, 0.8, 1.1, 1.25]
    assert frozen.last_commands.jobs == WANTED.job_caps


def test_what_the_broker_has_not_taken_is_known(made, wire, monkeypatch):
    actuator, receipts = made(), []

    def publish(*_, qos=0, **__):
        assert qos
        receipts.append(PublishToken())
        return receipts[-1]

    monkeypatch.setattr(wire, "publish", publish)
    actuator.renew_last_caps(NOW)
    assert receipts
    assert not actuator.wait_acknowledged(0.0)
    for receipt in receipts:
        receipt.complete(is_granted=True)
    assert actuator.wait_acknowledged(0.0)


def test_withdrawing_leaves_the_heartbeats(made, wire):
    binder = bound()
    made(binder).withdraw_requests(NOW)
    ours = {
        where
        for (word, _), where in binder.integration_points.items()
        if word not in SERVICE_HEARTBEAT_VARIABLES
    }
    assert set(wire.requests()) == ours
    assert len(ours) < len(binder.integration_points)


def test_what_was_frozen_survives_a_restart(made, wire):
    made().apply(WANTED, NOW)
    wire.sent.clear()
    again = made()
    assert again.last_commands == replace(WANTED, requests={})
    assert again.freeze(NOW) > 0
    assert wire.of(JobOrders)[0].caps == {7: 0.75, 12: 1.0}


def test_what_expired_before_a_restart_is_not_ordered_anew(made, wire):
    """Proves: after days a HOLD does not put jobs and caps of then into force again."""
    made().apply(WANTED, NOW)
    wire.sent.clear()
    assert made().freeze(NOW + COMMAND_VALIDITY) > 0
    wire.sent.clear()
    late = made()
    assert late.freeze(NOW + 3 * COMMAND_VALIDITY) == late.freeze(NOW + 4 * COMMAND_VALIDITY) == -1
    assert wire.of(JobOrders) == wire.of(CapOrder) == []
    assert late.act(WANTED, NOW + 4 * COMMAND_VALIDITY) > 0
    assert late.freeze(NOW + 5 * COMMAND_VALIDITY) > 0


def test_orders_of_a_version_that_kept_no_time_are_believed(made, tmp_path):
    made().apply(WANTED, NOW)
    kept = json.loads((tmp_path / "orders.json").read_text())
    del kept["issued"], kept["checksum"]
    (tmp_path / "orders.json").write_text(json.dumps(kept))
    assert made().freeze(NOW + 9 * COMMAND_VALIDITY) > 0


def test_a_cap_that_a_disk_has_changed_is_not_ordered(made, wire, tmp_path):
    """Proves: one bit that makes 9.5 MW of a cap of 1.5 MW reaches no node under HOLD."""
    made().apply(WANTED, NOW)
    path = tmp_path / "orders.json"
    cap = WANTED.hall_caps["hall_1"]
    path.write_text(path.read_text().replace(f'"hall_1": {cap}', f'"hall_1": {cap + 8.0}'))
    wire.sent.clear()
    assert made().freeze(NOW) == -1
    assert wire.of(CapOrder) == []


def test_nothing_is_stopped_by_who_never_ordered_anything(made, wire):
    """A first start without telemetry: jobs run there that we know nothing of."""
    assert made().renew_last_caps(NOW) == -1
    assert wire.of(JobOrders) == wire.of(CapOrder) == []
    assert set(wire.requests().values()) == {None}


def test_an_order_that_all_jobs_wait_is_an_order(made, wire):
    made().apply(PlantCommands(), NOW)
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
        b'{"jobs": {}, "halls": {}, "sequence": 1, "issued": "noon"}',
    ],
)
def test_a_broken_file_orders_nothing(made, tmp_path, content):
    (tmp_path / "orders.json").write_bytes(content)
    broken = made()
    assert broken.last_commands == PlantCommands()
    assert broken.renew_last_caps(NOW) == -1
    assert broken.act(WANTED, NOW) > 0
    assert made().last_commands.jobs == WANTED.job_caps


def test_a_full_disk_keeps_no_order_from_the_plant(made, wire, monkeypatch):
    def refuse(*_):
        raise JournalFullError(errno.errorcode[errno.ENOSPC])

    monkeypatch.setattr(commands, "write_atomic", refuse)
    full = made()
    assert full.apply(WANTED, NOW) > 0
    assert full.freeze(NOW) > 0
    assert [orders.caps for orders in wire.of(JobOrders)] == [WANTED.job_caps] * 2


def test_sequences_rise_within_a_millisecond(made, monkeypatch):
    monkeypatch.setattr(commands.time, "time", lambda: 1.8e9)
    ordering = made()
    numbers = [ordering.apply(WANTED, NOW), ordering.freeze(NOW), ordering.act(WANTED, NOW)]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("ways", [("act", "act"), ("act", "freeze"), ("freeze", "act")])
def test_sequences_rise_over_a_restart_though_the_clock_was_set_back(made, monkeypatch, ways):
    made().apply(WANTED, NOW)
    numbers = []
    for way, clock in zip(ways, (1.9e9, 1.2e9), strict=True):
        monkeypatch.setattr(commands.time, "time", lambda at=clock: at)
        order = made()
        numbers.append(order.act(WANTED, NOW) if way == "act" else order.freeze(NOW))
    assert numbers[1] > numbers[0]


def test_a_sequence_beyond_the_wire_is_not_believed(made, tmp_path):
    kept = {"jobs": {}, "halls": {}, "sequence": 2**60}
    (tmp_path / "orders.json").write_text(json.dumps(kept))
    assert 0 < made().apply(WANTED, NOW) < 2**53
