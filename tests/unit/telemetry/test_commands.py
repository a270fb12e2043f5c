"""Commands to a plant: in its units, only to own points, renewed and withdrawn."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry import commands
from telemetry.commands import COMMAND_VALIDITY, SERVICE_HEARTBEAT_VARIABLES, PlantCommands
from telemetry.messages.samples import (
    CapOrder,
    DecisionNotice,
    JobOrders,
    PointValue,
    SimulationTick,
)
from telemetry.points.binding import PointBinder
from telemetry.points.point_meanings import INTEGRATION_NAME
from telemetry.points.site_points import announced_metadata
from tests.support.ordering import NOW, SITE, WANTED, bound, making, point
from twin import time_axes


@pytest.fixture
def made(wire, tmp_path):
    return making(wire, tmp_path)


def test_caps_and_jobs_expire(made, wire):
    sequence = made().publish_commands(WANTED, NOW)
    caps, (jobs,) = wire.of(CapOrder), wire.of(JobOrders)
    assert {cap.hall: cap.power_cap for cap in caps} == {"hall_1": 1.25, "hall_2": 0.5}
    assert jobs.caps == {7: 0.75, 12: 1.0}
    for order in (*caps, jobs):
        assert order.sequence == sequence
        assert (order.issued, order.expires) == (NOW, NOW + COMMAND_VALIDITY)


def test_requests_are_in_announced_units(made, wire):
    """-0.3 MW are -300 kW; degrees Celsius stay unchanged."""
    binder = bound()
    made(binder).publish_commands(WANTED, NOW)
    assert wire.asked() == pytest.approx(
        {
            point(binder, "battery_request", "battery_1"): -300.0,
            point(binder, "technology_supply_request", "cdu_1/002"): 38.5,
        }
    )
    assert {sample.sender for sample in wire.of(PointValue)} == {INTEGRATION_NAME}


def test_requests_follow_changed_unit(made, wire):
    binder = PointBinder(SITE)
    for metadata in announced_metadata(SITE):
        binder.register(replace(metadata, unit="MW") if metadata.unit == "kW" else metadata)
    made(binder).publish_commands(WANTED, NOW)
    assert wire.requests()[point(binder, "battery_request", "battery_1")] == pytest.approx(-0.3)


def test_only_own_points_are_written(made, wire):
    """The battery belongs to another integration, the tank is unannounced: both get nothing."""
    stranger = bound()
    binder = PointBinder(SITE)
    for metadata in announced_metadata(SITE):
        if "battery" in metadata.point and metadata.integration:
            binder.register(replace(metadata, integration="SOMEBODY"))
        elif "tank" not in metadata.point:
            binder.register(metadata)
    made = made(binder)
    made.publish_commands(
        replace(
            WANTED,
            set_point_requests={**WANTED.set_point_requests, ("tank_request", "tank_1"): 0.1},
        ),
        NOW,
    )
    made.withdraw_requests(NOW)
    written = set(wire.requests())
    assert point(stranger, "battery_request", "battery_1") not in written
    assert point(stranger, "tank_request", "tank_1") not in written
    assert point(stranger, "technology_supply_request", "cdu_1/002") in written


WATER = ("technology_supply_request", "cdu_1/002")


def register_changed(binder, *key, **changes):
    """Register changed metadata of a point; return the point."""
    where = point(binder, *key)
    known = next(metadata for metadata in announced_metadata(SITE) if metadata.point == where)
    assert binder.register(replace(known, **changes)) is None
    return where


def test_point_given_away_is_no_longer_written(made, wire):
    """Contract: MUST NOT publish to points whose metadata names others, not even null."""
    binder = bound()
    ordering = made(binder)
    ordering.publish_commands(WANTED, NOW)
    lost = [register_changed(binder, *WATER, integration="MEPAI")]
    lost += [
        register_changed(binder, word, "", integration="MEPAI")
        for word in SERVICE_HEARTBEAT_VARIABLES
    ]
    wire.sent.clear()
    ordering.publish_commands(WANTED, NOW)
    ordering.publish_commands(PlantCommands(), NOW)
    ordering.withdraw_requests(NOW)
    ordering.publish_heartbeat(1.75e12, NOW)
    assert not set(lost) & set(wire.requests())
    assert point(binder, "battery_request", "battery_1") in wire.requests()


def test_returned_point_waits_for_acceptance(made, wire):
    binder = bound()
    lost = register_changed(binder, *WATER, integration="MEPAI")
    assert "integration was 'GIGATWIN' and is 'MEPAI'" in binder.unknown[lost]
    binder.register(
        next(metadata for metadata in announced_metadata(SITE) if metadata.point == lost)
    )
    made(binder).publish_commands(WANTED, NOW)
    assert lost not in wire.requests()


def test_request_is_withdrawn_when_unit_changes(made, wire):
    """38.5 C was requested and the point is now in F: the stored number has another meaning."""
    binder = bound()
    ordering = made(binder)
    ordering.publish_commands(WANTED, NOW)
    changed = register_changed(binder, *WATER, unit="F")
    wire.sent.clear()
    ordering.publish_commands(WANTED, NOW)
    assert wire.requests()[changed] is None


def test_requests_are_repeated_every_100_s(made, wire, monkeypatch):
    clock = commands.time.monotonic()
    monkeypatch.setattr(commands.time, "monotonic", lambda: clock)
    binder = bound()
    ordering = made(binder)
    ordering.publish_commands(WANTED, NOW)
    asked = wire.asked()
    for later, expected in ((99.0, {}), (101.0, asked), (102.0, {}), (202.0, asked)):
        monkeypatch.setattr(commands.time, "monotonic", lambda at=clock + later: at)
        wire.sent.clear()
        ordering.repeat_requests(NOW + np.timedelta64(int(later), "s"))
        assert wire.requests() == expected
    assert {sample.time for sample in wire.sent} == {NOW + np.timedelta64(202, "s")}


@pytest.mark.parametrize("way", ["hold", "withdraw", "simulated", "old"])
def test_withdrawn_requests_are_not_repeated(made, wire, monkeypatch, way):
    ordering = made()
    ordering.publish_commands(WANTED, NOW)
    match way:
        case "hold":
            ordering.renew_last_caps(NOW)
        case "withdraw":
            ordering.withdraw_requests(NOW)
        case "simulated":
            ordering.publish_decision(NOW, 1)
    later = commands.time.monotonic() + (3600.0 if way == "old" else 150.0)
    monkeypatch.setattr(commands.time, "monotonic", lambda: later)
    wire.sent.clear()
    ordering.repeat_requests(NOW)
    assert wire.asked() == {}


def test_heartbeat_repeats_requests(made, wire, monkeypatch):
    ordering = made()
    ordering.publish_commands(WANTED, NOW)
    later = commands.time.monotonic() + 150.0
    monkeypatch.setattr(commands.time, "monotonic", lambda: later)
    wire.sent.clear()
    ordering.publish_heartbeat(None, NOW)
    assert len(wire.asked()) == len(("battery", "water", "our heartbeat"))


def test_request_without_point_is_omitted(made, wire):
    made().publish_commands(
        PlantCommands(set_point_requests={("battery_request", "battery_9"): 1.0}), NOW
    )
    assert wire.asked() == {}
    assert len(wire.of(JobOrders)) == 1


def test_obsolete_request_is_withdrawn_once(made, wire):
    """A rule-based plan requests no water; repetition must not keep the earlier request."""
    binder = bound()
    ordering = made(binder)
    key = ("facility_supply_request", "warm_plant")
    ordering.publish_commands(
        replace(WANTED, set_point_requests={**WANTED.set_point_requests, key: 40.5}), NOW
    )
    assert wire.asked()[point(binder, *key)] == 40.5
    for expected in ([None], []):
        wire.sent.clear()
        ordering.publish_commands(WANTED, NOW)
        values = [s.value for s in wire.of(PointValue) if s.point == point(binder, *key)]
        assert values == expected


def test_restart_withdraws_requests_of_killed_service(made, wire):
    """The killed service withdrew nothing, so the next one withdraws all other requests."""
    binder = bound()
    made(binder).publish_commands(WANTED, NOW)
    values = wire.requests()
    assert values[point(binder, "facility_range_request", "warm_plant")] is None
    assert values[point(binder, "battery_request", "battery_1")] == -300.0


def test_decision_is_published_to_simulated_plant(made, wire):
    made().publish_decision(NOW, -1)
    assert wire.sent == [DecisionNotice(site="small", time=NOW, sequence=-1)]


def tick(time):
    return SimulationTick(
        site="small",
        time=time,
        interval=time_axes.QUARTER_HOUR,
        step=3,
        steps=9,
        batches=0,
        points=0,
        is_last=False,
    )


def test_repeated_tick_resends_orders_and_decision(made, wire, monkeypatch):
    monkeypatch.setattr(commands, "DECISION_RESEND_DELAY_S", 3600.0)
    ours = made()
    ours.publish_decision(NOW, ours.publish_commands(WANTED, NOW))
    first = wire.of(JobOrders)
    ours.on_sample(tick(NOW))  # the decision may still be under way
    ours.on_sample(tick(NOW + time_axes.QUARTER_HOUR))  # no decision yet
    assert wire.of(JobOrders) == first
    monkeypatch.setattr(commands, "DECISION_RESEND_DELAY_S", -1.0)
    ours.on_sample(tick(NOW))
    again = wire.of(JobOrders)[-1]
    assert again.caps == first[0].caps
    assert again.sequence > first[0].sequence
    assert wire.of(DecisionNotice)[-1] == DecisionNotice(
        site="small", time=NOW, sequence=again.sequence
    )


def test_repeated_tick_without_orders_sends_no_orders(made, wire, monkeypatch):
    monkeypatch.setattr(commands, "DECISION_RESEND_DELAY_S", -1.0)
    ours = made()
    ours.publish_decision(NOW, -1)
    ours.on_sample(tick(NOW))
    assert wire.of(JobOrders) == []
    assert [decided.sequence for decided in wire.of(DecisionNotice)] == [-1, -1]


def test_heartbeat_and_echo_are_published(made, wire):
    binder = bound()
    made(binder).publish_heartbeat(1.75e12, NOW)
    ours = float(NOW.astype("datetime64[ms]").astype(np.int64))
    assert sorted(wire.requests().values()) == sorted([ours, 1.75e12])
    wire.sent.clear()
    made(binder).publish_heartbeat(None, NOW)
    assert list(wire.requests().values()) == [ours]


def test_heartbeats_use_qos_0_and_orders_qos_1(made, wire):
    """A heartbeat delivered hours later would prove nothing."""
    binder = bound()
    ordering = made(binder)
    ordering.publish_commands(WANTED, NOW)
    ordering.publish_heartbeat(1.75e12, NOW)
    assert wire.unkept == {point(binder, word, "") for word in SERVICE_HEARTBEAT_VARIABLES}


def test_no_heartbeat_without_points(made, wire):
    made(PointBinder(SITE)).publish_heartbeat(1.75e12, NOW)
    assert wire.sent == []
