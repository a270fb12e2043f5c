"""Orders to a plant: in its units, to our points alone, renewed, and withdrawn."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry import commands
from telemetry.commands import COMMAND_VALIDITY, SERVICE_HEARTBEAT_VARIABLES, PlantCommands
from telemetry.messages.models import (
    CapOrder,
    DecisionNotice,
    JobOrders,
    PointValue,
    SimulationTick,
)
from telemetry.points.binding import PointBinder
from telemetry.points.catalogue import INTEGRATION_NAME
from telemetry.points.site_points import announced_metadata
from tests.telemetry.ordering import NOW, SITE, WANTED, bound, making, point
from twin import time_axes


@pytest.fixture
def made(wire, tmp_path):
    return making(wire, tmp_path)


def test_caps_and_jobs_are_ordered_and_expire(made, wire):
    sequence = made().apply(WANTED, NOW)
    caps, (jobs,) = wire.of(CapOrder), wire.of(JobOrders)
    assert {cap.hall: cap.power_cap for cap in caps} == {"hall_1": 1.25, "hall_2": 0.5}
    assert jobs.caps == {7: 0.75, 12: 1.0}
    for order in (*caps, jobs):
        assert order.sequence == sequence
        assert (order.issued, order.expires) == (NOW, NOW + COMMAND_VALIDITY)


def test_requests_are_in_the_units_of_the_wire(made, wire):
    """-0.3 MW are -300 kW; a temperature in degrees Celsius stays one."""
    binder = bound()
    made(binder).apply(WANTED, NOW)
    assert wire.asked() == pytest.approx(
        {
            point(binder, "battery_request", "battery_1"): -300.0,
            point(binder, "technology_supply_request", "cdu_1/002"): 38.5,
        }
    )
    assert {sample.sender for sample in wire.of(PointValue)} == {INTEGRATION_NAME}


def test_a_plant_that_speaks_another_unit_is_told_in_it(made, wire):
    binder = PointBinder(SITE)
    for metadata in announced_metadata(SITE):
        binder.register(replace(metadata, unit="MW") if metadata.unit == "kW" else metadata)
    made(binder).apply(WANTED, NOW)
    assert wire.requests()[point(binder, "battery_request", "battery_1")] == pytest.approx(-0.3)


def test_only_points_that_name_us_are_written(made, wire):
    """The battery belongs to somebody else, the tank is not announced: neither is told anything."""
    stranger = bound()
    binder = PointBinder(SITE)
    for metadata in announced_metadata(SITE):
        if "battery" in metadata.point and metadata.integration:
            binder.register(replace(metadata, integration="SOMEBODY"))
        elif "tank" not in metadata.point:
            binder.register(metadata)
    made = made(binder)
    made.apply(replace(WANTED, requests={**WANTED.requests, ("tank_request", "tank_1"): 0.1}), NOW)
    made.withdraw(NOW)
    written = set(wire.requests())
    assert point(stranger, "battery_request", "battery_1") not in written
    assert point(stranger, "tank_request", "tank_1") not in written
    assert point(stranger, "technology_supply_request", "cdu_1/002") in written


WATER = ("technology_supply_request", "cdu_1/002")


def handed_over(binder, *key, **changes):
    """Let the plant announce anew what a point is; return the point."""
    where = point(binder, *key)
    known = next(metadata for metadata in announced_metadata(SITE) if metadata.point == where)
    assert binder.register(replace(known, **changes)) is None
    return where


def test_a_point_that_is_given_to_another_integration_is_written_no_more(made, wire):
    """The contract: MUST NOT publish where the metadata does not name us. Not even a null."""
    binder = bound()
    ordering = made(binder)
    ordering.apply(WANTED, NOW)
    lost = [handed_over(binder, *WATER, integration="MEPAI")]
    lost += [
        handed_over(binder, word, "", integration="MEPAI") for word in SERVICE_HEARTBEAT_VARIABLES
    ]
    wire.sent.clear()
    ordering.act(WANTED, NOW)
    ordering.act(PlantCommands(), NOW)
    ordering.withdraw(NOW)
    ordering.beat(1.75e12, NOW)
    assert not set(lost) & set(wire.requests())
    assert point(binder, "battery_request", "battery_1") in wire.requests()


def test_a_point_that_comes_back_waits_for_a_person(made, wire):
    binder = bound()
    lost = handed_over(binder, *WATER, integration="MEPAI")
    assert "integration was 'GIGATWIN' and is 'MEPAI'" in binder.unknown[lost]
    binder.register(
        next(metadata for metadata in announced_metadata(SITE) if metadata.point == lost)
    )
    made(binder).apply(WANTED, NOW)
    assert lost not in wire.requests()
    binder.accept(lost)
    made(binder).act(WANTED, NOW)
    assert wire.asked()[lost] == 38.5


def test_what_was_asked_in_a_unit_that_changed_is_withdrawn(made, wire):
    """38.5 C asked, and the point now in F: the number that stands there means another thing."""
    binder = bound()
    ordering = made(binder)
    ordering.apply(WANTED, NOW)
    changed = handed_over(binder, *WATER, unit="F")
    wire.sent.clear()
    ordering.act(WANTED, NOW)
    assert wire.requests()[changed] is None


def test_what_stands_asked_is_repeated_as_the_contract_wants(made, wire, monkeypatch):
    binder = bound()
    ordering = made(binder)
    ordering.apply(WANTED, NOW)
    asked = wire.asked()
    clock = commands.time.monotonic()
    for later, expected in ((99.0, {}), (101.0, asked), (102.0, {}), (202.0, asked)):
        monkeypatch.setattr(commands.time, "monotonic", lambda at=clock + later: at)
        wire.sent.clear()
        ordering.repeat(NOW + np.timedelta64(int(later), "s"))
        assert wire.requests() == expected
    assert {sample.time for sample in wire.sent} == {NOW + np.timedelta64(202, "s")}


@pytest.mark.parametrize("way", ["hold", "withdraw", "simulated", "old"])
def test_what_does_not_stand_is_not_repeated(made, wire, monkeypatch, way):
    ordering = made()
    ordering.apply(WANTED, NOW)
    match way:
        case "hold":
            ordering.freeze(NOW)
        case "withdraw":
            ordering.withdraw(NOW)
        case "simulated":
            ordering.decided(NOW, 1)
    later = commands.time.monotonic() + (3600.0 if way == "old" else 150.0)
    monkeypatch.setattr(commands.time, "monotonic", lambda: later)
    wire.sent.clear()
    ordering.repeat(NOW)
    assert wire.asked() == {}


def test_our_heartbeat_carries_the_repetition(made, wire, monkeypatch):
    ordering = made()
    ordering.apply(WANTED, NOW)
    later = commands.time.monotonic() + 150.0
    monkeypatch.setattr(commands.time, "monotonic", lambda: later)
    wire.sent.clear()
    ordering.beat(None, NOW)
    assert len(wire.asked()) == len(("battery", "water", "our heartbeat"))


def test_a_request_that_no_point_takes_is_left_out(made, wire):
    made().apply(PlantCommands(requests={("battery_request", "battery_9"): 1.0}), NOW)
    assert wire.asked() == {}
    assert len(wire.of(JobOrders)) == 1


def test_what_is_not_wanted_any_more_is_withdrawn_once(made, wire):
    """A plan by rule chooses no water; what an optimum asked must not live on by our heartbeats."""
    binder = bound()
    ordering = made(binder)
    key = ("facility_supply_request", "warm_plant")
    ordering.apply(replace(WANTED, requests={**WANTED.requests, key: 40.5}), NOW)
    assert wire.asked()[point(binder, *key)] == 40.5
    for expected in ([None], []):
        wire.sent.clear()
        ordering.act(WANTED, NOW)
        told = [s.value for s in wire.of(PointValue) if s.point == point(binder, *key)]
        assert told == expected


def test_what_a_killed_service_asked_is_withdrawn_by_the_next(made, wire):
    """It died before it could withdraw: the next one does not know what stands."""
    binder = bound()
    made(binder).apply(WANTED, NOW)
    values = wire.requests()
    assert values[point(binder, "facility_range_request", "warm_plant")] is None
    assert values[point(binder, "battery_request", "battery_1")] == -300.0


def test_a_simulated_plant_is_told_that_it_may_go_on(made, wire):
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


def test_a_plant_that_waits_for_what_a_broker_lost_is_told_again(made, wire, monkeypatch):
    ours = made()
    ours.publish_decision(NOW, ours.apply(WANTED, NOW))
    first = wire.of(JobOrders)
    ours.hear(tick(NOW))  # it may still be on its way
    ours.hear(tick(NOW + time_axes.QUARTER_HOUR))  # not decided yet
    assert wire.of(JobOrders) == first
    monkeypatch.setattr(commands, "DECISION_RESEND_DELAY_S", -1.0)
    ours.hear(tick(NOW))
    again = wire.of(JobOrders)[-1]
    assert again.caps == first[0].caps
    assert again.sequence > first[0].sequence
    assert wire.of(DecisionNotice)[-1] == DecisionNotice(
        site="small", time=NOW, sequence=again.sequence
    )


def test_who_ordered_nothing_orders_nothing_again(made, wire, monkeypatch):
    monkeypatch.setattr(commands, "DECISION_RESEND_DELAY_S", -1.0)
    ours = made()
    ours.publish_decision(NOW, -1)
    ours.hear(tick(NOW))
    assert wire.of(JobOrders) == []
    assert [decided.sequence for decided in wire.of(DecisionNotice)] == [-1, -1]


def test_heartbeats_are_ours_and_the_echo_of_the_plant_s(made, wire):
    binder = bound()
    made(binder).publish_heartbeat(1.75e12, NOW)
    ours = float(NOW.astype("datetime64[ms]").astype(np.int64))
    assert sorted(wire.requests().values()) == sorted([ours, 1.75e12])
    wire.sent.clear()
    made(binder).beat(None, NOW)
    assert list(wire.requests().values()) == [ours]


def test_heartbeats_are_not_kept_without_a_connection_and_orders_are(made, wire):
    """Hours later a heartbeat of ours would tell of a life that was not."""
    binder = bound()
    ordering = made(binder)
    ordering.apply(WANTED, NOW)
    ordering.beat(1.75e12, NOW)
    assert wire.unkept == {point(binder, word, "") for word in SERVICE_HEARTBEAT_VARIABLES}


def test_without_points_there_is_no_heartbeat(made, wire):
    made(PointBinder(SITE)).publish_heartbeat(1.75e12, NOW)
    assert wire.sent == []
