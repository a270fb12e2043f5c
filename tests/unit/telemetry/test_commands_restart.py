"""Commands stored over restarts: renewal of the last orders, and their sequence."""

import errno
import json
from dataclasses import replace

import pytest

from telemetry import commands
from telemetry.commands import COMMAND_VALIDITY, SERVICE_HEARTBEAT_VARIABLES, PlantCommands
from telemetry.messages.samples import CapOrder, JobOrders
from telemetry.mqtt.queues import PublishToken
from tests.support.ordering import NOW, WANTED, bound, making, point
from twin.errors import JournalFullError


@pytest.fixture
def made(wire, tmp_path):
    return making(wire, tmp_path)


def test_hold_renews_caps_and_withdraws_requests(made, wire):
    frozen = made()
    first = frozen.publish_commands(WANTED, NOW)
    wire.sent.clear()
    second = frozen.renew_last_caps(NOW + COMMAND_VALIDITY)
    (jobs,) = wire.of(JobOrders)
    assert jobs.caps == {7: 0.75, 12: 1.0}
    assert jobs.expires == NOW + 2 * COMMAND_VALIDITY
    assert {cap.hall: cap.power_cap for cap in wire.of(CapOrder)} == {"hall_1": 1.25, "hall_2": 0.5}
    assert second > first
    values = wire.requests()
    assert point(bound(), "battery_request", "battery_1") in values
    assert set(values.values()) == {None}


def test_hall_caps_follow_inference_up_to_last_order(made, wire):
    """Proves: under HOLD jobs keep their caps, and no hall cap exceeds the last order.

    Sensitivity: each low of the inference load lowered the hall caps for good. When the load
    rose again, running jobs were stopped.
    """
    frozen, caps = made(), []
    frozen.publish_commands(WANTED, NOW)
    for power in (None, 0.8, None, 1.1, 2.0):
        wire.sent.clear()
        eased = (
            None if power is None else replace(WANTED, hall_caps={"hall_1": power, "hall_2": 0.5})
        )
        frozen.renew_last_caps(NOW, eased)
        caps += [cap.power_cap for cap in wire.of(CapOrder) if cap.hall == "hall_1"]
    assert caps == [1.25, 0.8, 0.8, 1.1, 1.25]
    assert frozen.last_commands.job_caps == WANTED.job_caps


def test_unacknowledged_orders_are_reported(made, wire, monkeypatch):
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


def test_withdrawal_keeps_heartbeats(made, wire):
    binder = bound()
    made(binder).withdraw_requests(NOW)
    ours = {
        where
        for (word, _), where in binder.integration_points.items()
        if word not in SERVICE_HEARTBEAT_VARIABLES
    }
    assert set(wire.requests()) == ours
    assert len(ours) < len(binder.integration_points)


def test_last_commands_survive_restart(made, wire):
    made().publish_commands(WANTED, NOW)
    wire.sent.clear()
    again = made()
    assert again.last_commands == replace(WANTED, set_point_requests={})
    assert again.renew_last_caps(NOW) > 0
    assert wire.of(JobOrders)[0].caps == {7: 0.75, 12: 1.0}


def test_expired_commands_are_not_renewed(made, wire):
    """Proves: days later a HOLD does not renew the old jobs and caps."""
    made().publish_commands(WANTED, NOW)
    wire.sent.clear()
    assert made().renew_last_caps(NOW + COMMAND_VALIDITY) > 0
    wire.sent.clear()
    late = made()
    assert (
        late.renew_last_caps(NOW + 3 * COMMAND_VALIDITY)
        == late.renew_last_caps(NOW + 4 * COMMAND_VALIDITY)
        == -1
    )
    assert wire.of(JobOrders) == wire.of(CapOrder) == []
    assert late.publish_commands(WANTED, NOW + 4 * COMMAND_VALIDITY) > 0
    assert late.renew_last_caps(NOW + 5 * COMMAND_VALIDITY) > 0


def test_file_without_issue_time_is_renewed(made, tmp_path):
    made().publish_commands(WANTED, NOW)
    kept = json.loads((tmp_path / "orders.json").read_text())
    del kept["issued"], kept["checksum"]
    (tmp_path / "orders.json").write_text(json.dumps(kept))
    assert made().renew_last_caps(NOW + 9 * COMMAND_VALIDITY) > 0


def test_corrupt_cap_is_not_ordered(made, wire, tmp_path):
    """Proves: a cap raised by 8 MW by a flipped bit is not published under HOLD."""
    made().publish_commands(WANTED, NOW)
    path = tmp_path / "orders.json"
    cap = WANTED.hall_caps["hall_1"]
    path.write_text(path.read_text().replace(f'"hall_1": {cap}', f'"hall_1": {cap + 8.0}'))
    wire.sent.clear()
    assert made().renew_last_caps(NOW) == -1
    assert wire.of(CapOrder) == []


def test_first_start_stops_no_jobs(made, wire):
    """At a first start without telemetry unknown jobs may run."""
    assert made().renew_last_caps(NOW) == -1
    assert wire.of(JobOrders) == wire.of(CapOrder) == []
    assert set(wire.requests().values()) == {None}


def test_empty_orders_are_renewed(made, wire):
    made().publish_commands(PlantCommands(), NOW)
    assert made().renew_last_caps(NOW) > 0
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
def test_corrupt_file_orders_nothing(made, tmp_path, content):
    (tmp_path / "orders.json").write_bytes(content)
    broken = made()
    assert broken.last_commands == PlantCommands()
    assert broken.renew_last_caps(NOW) == -1
    assert broken.publish_commands(WANTED, NOW) > 0
    assert made().last_commands.job_caps == WANTED.job_caps


def test_full_disk_does_not_stop_orders(made, wire, monkeypatch):
    def refuse(*_):
        raise JournalFullError(errno.errorcode[errno.ENOSPC])

    monkeypatch.setattr(commands, "write_atomic", refuse)
    full = made()
    assert full.publish_commands(WANTED, NOW) > 0
    assert full.renew_last_caps(NOW) > 0
    assert [orders.caps for orders in wire.of(JobOrders)] == [WANTED.job_caps] * 2


def test_sequences_rise_within_a_millisecond(made, monkeypatch):
    monkeypatch.setattr(commands.time, "time", lambda: 1.8e9)
    ordering = made()
    numbers = [
        ordering.publish_commands(WANTED, NOW),
        ordering.renew_last_caps(NOW),
        ordering.publish_commands(WANTED, NOW),
    ]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("ways", [("apply", "apply"), ("apply", "renew"), ("renew", "apply")])
def test_sequences_rise_after_clock_set_back(made, monkeypatch, ways):
    made().publish_commands(WANTED, NOW)
    numbers = []
    for way, clock in zip(ways, (1.9e9, 1.2e9), strict=True):
        monkeypatch.setattr(commands.time, "time", lambda at=clock: at)
        order = made()
        numbers.append(
            order.publish_commands(WANTED, NOW) if way == "apply" else order.renew_last_caps(NOW)
        )
    assert numbers[1] > numbers[0]


def test_sequence_beyond_limit_is_ignored(made, tmp_path):
    kept = {"jobs": {}, "halls": {}, "sequence": 2**60}
    (tmp_path / "orders.json").write_text(json.dumps(kept))
    assert 0 < made().publish_commands(WANTED, NOW) < 2**53
