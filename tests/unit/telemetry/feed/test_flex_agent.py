"""The DSX Flex agent on a broker: targets confirmed, ramps reported, refusals recorded."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from telemetry.feed.flex_agent import PlannedLoad
from telemetry.feed.publisher import SchedulePublisher
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from tests.support.feeds import key, keys
from tests.support.feeds import partner as feed_partner
from tests.support.flexing import (
    MINUTE,
    NOON,
    TOPIC,
    Meter,
    Partner,
    agent_of,
    claims_at,
    event,
    load,
    target,
)
from tests.support.waiting import DEADLINE, until

SAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "partner_targets.py"


@pytest.fixture
def meter():
    return Meter()


@pytest.fixture
def notices():
    return []


@pytest.fixture
def agent(embedded, tmp_path, meter, notices):
    agent = agent_of(embedded, tmp_path, meter)
    agent.notify = lambda *one: notices.append(one)
    assert agent.start().wait(DEADLINE)
    yield agent
    agent.stop()


@pytest.fixture
def partner(embedded):
    partner = Partner(embedded)
    yield partner
    partner.client.stop()


def test_target_is_confirmed_with_its_correlation(agent, partner):
    agent.publish_state(load(120.0), NOON)
    _, before = partner.receive()
    assert (before["targets"], before["compliant"], before["event"]) == ([], True, "periodic")
    sent = partner.set(target(100.0))
    (record,) = until(lambda: agent.poll(NOON))
    assert record["targets"] == [
        {"start": str(NOON), "end": None, "power_mw": 100.0, "best_effort": False}
    ]
    envelope, feed = partner.receive()
    assert envelope["correlationid"] == sent["correlationid"]
    assert envelope["traceparent"][:35] == sent["traceparent"][:35]
    assert envelope["traceparent"] != sent["traceparent"]
    assert feed["event"] == "target_set"
    assert not feed["compliant"]  # 120 MW are still planned
    (shown,) = feed["targets"]
    assert (shown["active"], shown["correlation_id"]) == (True, sent["correlationid"])
    assert (
        agent.targets.limit_by_interval("tso-1", NOON + 15 * MINUTE * np.arange(3))[0].tolist()
        == [100.0] * 2
    )


def test_start_and_end_of_ramps_are_reported(agent, partner, meter):
    """Proves: ramps are also detected between decisions, from the current meter value."""
    reported = []

    def step(measured, after, planned=None):
        meter.shown, now = measured, NOON + after * MINUTE
        agent.poll(now) if planned is None else agent.publish_state(load(planned), now)
        _, feed = partner.receive()
        reported.append((feed["event"], feed["in_flight"], feed["compliant"]))
        return feed

    step(120.0, 0, 120.0)
    partner.set(target(100.0))
    until(lambda: agent.poll(NOON))
    partner.receive()
    feed = step(118.0, 1, 99.0)
    assert feed["power_event_start_time"] == "2026-07-01T12:00:00.000Z"
    step(110.0, 2)
    step(100.5, 3)
    step(101.9, 4)
    partner.set(target(None), at="2026-07-01T12:04:00Z")
    until(lambda: agent.poll(NOON + 4 * MINUTE))
    partner.receive()
    feed = step(100.0, 5, 120.0)
    assert "power_event_start_time" not in feed
    step(118.4, 6)
    step(118.6, 7)
    step(115.0, 29)
    assert reported == [
        ("periodic", False, True),
        ("start_ramp_down", True, True),
        ("periodic", True, True),
        ("end_ramp_down", False, True),
        ("periodic", False, True),
        ("start_ramp_up", True, True),
        ("periodic", True, True),
        ("end_ramp_up", False, True),
        ("periodic", False, True),
    ]


def test_outdated_plan_is_not_reported(agent, partner, meter):
    """Proves: 80 MW planned at 12:00 keep a target of 90 MW until 12:30, when the plan ends.

    Sensitivity: 80 MW and compliant a day later, with a target that no plan considered.
    """
    meter.shown = 85.0
    agent.publish_state(load(80.0), NOON)
    partner.receive()
    sent = partner.set(target(90.0))
    until(lambda: agent.poll(NOON))
    partner.receive()
    agent.poll(NOON + 30 * MINUTE - np.timedelta64(1, "s"))
    _, feed = partner.receive()
    assert (feed["calculated_load"]["value"], feed["compliant"]) == (80.0, True)
    agent.poll(NOON + 1560 * MINUTE)
    _, feed = partner.receive()
    assert feed["targets"][0]["correlation_id"] == sent["correlationid"]
    assert (feed["calculated_load"]["value"], feed["compliant"]) == (85.0, False)
    partner.set(target(None), at="2026-07-02T14:00:00Z")
    until(lambda: agent.poll(NOON + 1560 * MINUTE))
    assert partner.receive()[1]["compliant"]  # the contract: true when no target is active


def test_target_start_is_compared_with_its_own_plan(agent, partner, meter):
    """Proves: a state at a tick reports the plan of the interval that begins.

    Sensitivity: with the plan of the first interval, the site would briefly not comply.
    """
    meter.shown = 119.0
    agent.publish_state(load(120.0, 90.0), NOON)
    partner.receive()
    partner.set(target(100.0, start="2026-07-01T12:15:00Z"))
    until(lambda: agent.poll(NOON))
    _, feed = partner.receive()
    assert (feed["calculated_load"]["value"], feed["compliant"]) == (120.0, True)
    agent.poll(NOON + 15 * MINUTE)
    _, feed = partner.receive()
    assert feed["targets"][0]["active"]
    assert (feed["event"], feed["calculated_load"]["value"]) == ("start_ramp_down", 90.0)
    assert feed["compliant"]


def test_target_without_a_plan_is_confirmed_with_the_next(agent, partner):
    """Proves: after a restart, no state claims that no target was accepted."""
    sent = partner.set(target(100.0))
    until(lambda: agent.poll(NOON))
    agent.poll(NOON + MINUTE)
    agent.publish_state(load(99.0), NOON + MINUTE)
    envelope, feed = partner.receive()
    assert envelope["correlationid"] == sent["correlationid"]
    assert (feed["event"], feed["calculated_load"]["value"]) == ("target_set", 99.0)
    assert feed["compliant"]


def test_target_before_a_crash_is_confirmed_after_it(embedded, partner, tmp_path):
    """Proves: a restarted agent confirms a lift, which no state lists, exactly once."""
    first = agent_of(embedded, tmp_path)
    assert first.start().wait(DEADLINE)
    sent = partner.set(target(None))
    until(lambda: first.poll(NOON))
    first.stop()
    received = []
    for events in (2, 1):
        agent = agent_of(embedded, tmp_path)
        agent.start()
        agent.publish_state(load(99.0), NOON + MINUTE)
        received += [partner.receive() for _ in range(events)]
        agent.stop()
    assert [(e.get("correlationid"), f["event"]) for e, f in received] == [
        (sent["correlationid"], "target_set"), (None, "periodic"), (None, "periodic"),
    ]  # fmt: skip
    assert received[0][0]["traceparent"][:35] == sent["traceparent"][:35]


def test_power_state_repeats_each_minute(agent, partner):
    agent.publish_state(load(80.0), NOON)
    partner.receive()
    agent.poll(NOON + MINUTE - np.timedelta64(1, "s"))
    agent.poll(NOON + MINUTE)
    envelope, _ = partner.receive()
    assert envelope["time"] == "2026-07-01T12:01:00.000Z"
    agent.poll(NOON - 10 * MINUTE)  # a clock that is set back delays no state
    envelope, _ = partner.receive()
    assert envelope["time"] == "2026-07-01T11:50:00.000Z"


@pytest.mark.parametrize(
    "others",
    [{"by": "mallory"}, {"source": "//grid/v1/isv/tso-2"}, {"at": "2026-07-01T12:06:00Z"}],
)
def test_refused_target_is_recorded_without_effect(agent, partner, others):
    partner.set(target(1.0), **others)
    (record,) = until(lambda: agent.poll(NOON))
    assert record["event"] == "load_target_refused"
    assert agent.targets.tightest_in_force(NOON) is None
    assert agent.counters["refused"] == 1


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"claims": {}}, "missing"),
        ({"claims": claims_at("2026-07-01T11:54:00Z")}, "expired"),
        ({"claims": claims_at("2026-07-01T12:06:00Z")}, "out-of-range"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", aud="iberia")}, "unauthorised"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", iat=True)}, "wrong-type"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", iat=10**400)}, "wrong-type"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", jti=7)}, "wrong-type"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", aud=[7])}, "wrong-type"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", jti="a\ud800")}, "wrong-type"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", jti="a\n")}, "wrong-type"),
        ({"claims": claims_at("2026-07-01T12:00:00Z", aud=["rhine", "\udfff"])}, "wrong-type"),
        ({"data": {"targets": []}}, "malformed"),
    ],
)
def test_verified_signer_receives_the_reason_of_a_refusal(agent, partner, notices, wrong, code):
    sent = partner.set(target(1.0), **wrong)
    until(lambda: agent.poll(NOON))
    ((issuer, content, now),) = notices
    assert (issuer, now) == ("tso-1", NOON)
    assert (content["event"], content["code"]) == ("target_refused", code)
    assert content["correlation"] == sent["correlationid"]
    assert content["text"]
    if "claims" in wrong:
        assert content.get("jti") == signed_id(wrong["claims"])


def signed_id(claims):
    """Return the valid signed id in claims, or None."""
    token = claims.get("jti")
    return token if isinstance(token, str) and token.isprintable() else None


@pytest.mark.parametrize("others", [{"by": "mallory"}, {"source": "//grid/v1/isv/tso-2"}])
def test_unverified_signer_receives_no_reason(agent, partner, notices, others):
    partner.set(target(1.0), **others)
    (record,) = until(lambda: agent.poll(NOON))
    assert record["event"] == "load_target_refused"
    assert notices == []


@pytest.mark.parametrize(
    ("start", "planned", "state", "reached"),
    [
        ("12:30", [100.0, 80.0, 80.0, 80.0], (100.0, 10.0), "in time"),
        ("12:30", [100.0, 100.0, 80.0, 80.0], (100.0, 10.0), "12:40"),
        ("12:30", [100.0, 80.0, 100.0, 80.0], (100.0, 10.0), "never"),  # until 12:45
        ("12:15", [80.0, 80.0, 80.0, 80.0], (100.0, 10.0), "in time"),
        ("12:15", [80.0, 80.0, 80.0, 80.0], (100.0, 1.0), "12:20"),  # 20 MW at 1 MW/min
        ("12:00", [80.0, 80.0, 80.0, 80.0], (100.0, 10.0), "12:10"),
        ("12:00", [80.0, 80.0, 80.0, 80.0], (np.nan, 10.0), "12:10"),
        ("12:00", [80.0, 80.0, 80.0, 80.0], (80.5, 10.0), "in time"),
        ("12:15", [100.0, 90.0, 90.0, 80.0], (100.0, 10.0), "never"),
    ],
)
def test_partner_learns_when_a_late_target_is_reached(
    agent, notices, start, planned, state, reached
):
    """Proves: with enough notice a target is met in time; else the earliest time is answered.

    ``state`` is the measured net import [MW] and the ramp of the connection [MW/min].
    """
    measured, ramp = state
    agent._meter = lambda _: measured
    sent = event(target(80.0, start=f"2026-07-01T{start}:00Z", end="2026-07-01T12:45:00Z"))
    agent.handle(ReceivedMessage(TOPIC, json.dumps(sent).encode(), 1), NOON)
    for _ in range(2):  # it is answered once
        agent.report_late(load(*planned), NOON, ramp=ramp)
    if reached == "in time":
        assert notices == []
        return
    ((issuer, content, _),) = notices
    assert (issuer, content["event"]) == ("tso-1", "target_reached_later")
    assert content["correlation"] == sent["correlationid"]
    assert content["code"] == ("unreachable" if reached == "never" else "late")
    found = content["reachable_from"]
    assert found == (None if reached == "never" else milliseconds(f"2026-07-01T{reached}"))


def test_notice_of_a_late_target_names_its_signed_id(agent, notices):
    """Proves: the id that the partner signed, beside a correlation id that anybody can write."""
    claims = claims_at("2026-07-01T12:00:00Z")
    sent = json.dumps(event(target(80.0), claims=claims)).encode()
    agent.handle(ReceivedMessage(TOPIC, sent, 1), NOON)
    agent.report_late(load(80.0), NOON, ramp=10.0)
    ((_, content, _),) = notices
    assert content["jti"] == claims["jti"]


def test_targets_without_a_plan_await_their_judgement_within_bounds(agent):
    """Proves: of a hundred targets that replace each other, one awaits its judgement."""
    for second in range(100):
        sent = json.dumps(event(target(80.0), at=f"2026-07-01T12:00:{second // 2:02}Z")).encode()
        assert agent.handle(ReceivedMessage(TOPIC, sent, 1), NOON)["event"] == "load_target"
    assert len(agent._unjudged) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"correlationid": "0d3b7b5e-2f0a-4f8e-8f0e-8a4a9d2f7c10\n"},
        {"id": "0d3b7b5e-2f0a-4f8e-8f0e-8a4a9d2f7c10\n"},
        {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n"},
    ],
)
def test_ids_with_a_newline_are_refused(agent, wrong):
    """Proves: nobody repeats a newline of theirs in confirmations and logs."""
    sent = json.dumps(event(target(80.0), **wrong)).encode()
    record = agent.handle(ReceivedMessage(TOPIC, sent, 1), NOON)
    assert record["event"] == "load_target_refused"


def milliseconds(text):
    return int(np.datetime64(text, "ms").astype(int))


def test_distant_target_is_judged_once_its_start_is_planned(agent, partner, notices):
    partner.set(target(80.0, start="2026-07-01T14:00:00Z"))
    until(lambda: agent.poll(NOON))
    agent.report_late(load(100.0, 100.0), NOON, ramp=10.0)
    assert notices == []
    planned = PlannedLoad(
        starts=NOON + 15 * MINUTE * np.arange(7, 12), planned_net_import=np.full(5, 100.0)
    )
    agent.report_late(planned, NOON + 105 * MINUTE, ramp=10.0)
    ((_, content, _),) = notices
    assert content["code"] == "unreachable"


def test_early_turn_towards_a_target_is_reported_as_its_ramp(agent, partner, meter):
    """Proves: the ramp from 12:00 to 12:10 towards 80 MW from 12:15 on is reported.

    Sensitivity: no ramp was seen, as the load had arrived when the limit changed.
    """
    agent.publish_state(load(100.0, 100.0), NOON)
    partner.receive()
    partner.set(target(80.0, start="2026-07-01T12:15:00Z"))
    until(lambda: agent.poll(NOON))
    _, confirmed = partner.receive()
    assert confirmed["event"] == "target_set"
    for minute, measured, ramp in (
        (1, 100.0, "start_ramp_down"), (11, 80.0, "end_ramp_down"), (15, 80.0, "periodic"),
    ):  # fmt: skip
        meter.shown = measured
        agent.publish_state(load(80.0, 80.0), NOON + minute * MINUTE)
        _, feed = partner.receive()
        assert feed["event"] == ramp
    assert feed["compliant"]


def test_target_of_another_feed_is_not_confirmed(agent, partner):
    """Proves: the next power state is the periodic one a minute later, without correlation."""
    sent = partner.set(target(1.0, tags=("iberia",)))
    (record,) = until(lambda: agent.poll(NOON))
    assert record == {
        "event": "load_target_for_others",
        "partner": "tso-1",
        "correlation": sent["correlationid"],
        "feeds": ["iberia"],
    }
    assert agent.counters == {"passed": 1}
    agent.publish_state(load(80.0), NOON + MINUTE)
    envelope, feed = partner.receive()
    assert "correlationid" not in envelope
    assert (feed["event"], feed["targets"]) == ("periodic", [])


def test_target_above_the_connection_is_refused(agent, partner):
    partner.set(target(151.0, start="2026-07-01T13:00:00Z"))
    (record,) = until(lambda: agent.poll(NOON))
    assert "151 MW from 2026-07-01T13:00" in record["reason"]
    assert "at most 150 MW" in record["reason"]


def test_full_disk_delays_targets_until_space_is_free(agent, partner, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    partner.set(target(100.0))
    until(lambda: agent.poll(NOON) or agent.error)
    assert "free space" in agent.error
    assert agent.targets.tightest_in_force(NOON) is None
    monkeypatch.undo()
    assert agent.poll(NOON)[0]["event"] == "load_target"
    assert agent.error == ""
    assert agent.targets.tightest_in_force(NOON).target.power == 100.0


def test_denied_subscription_is_an_error(agent, monkeypatch):
    """Proves: a SUBACK of 0x80, as NATS sends, is reported."""
    assert agent.error == ""
    monkeypatch.setattr(agent._client._subscriptions, "_denied", {TOPIC: 1})
    assert "load targets are not received" in agent.error
    assert f"denies the subscription to {TOPIC}" in agent.error


def test_full_outgoing_queue_is_not_a_receive_error(agent, monkeypatch):
    """Proves: after a long broker failure, lost states are reported and targets are received.

    Sensitivity: for ten minutes it reported that load targets are not received.
    """
    monkeypatch.setattr(agent._client, "_overflowed", time.monotonic())
    assert "messages were dropped" in agent.error
    assert "not received" not in agent.error


def test_target_set_while_offline_is_accepted_later(nats, tmp_path):
    agent = agent_of(nats, tmp_path)
    assert agent.start().wait(DEADLINE)
    partner = Partner(nats)
    partner.set(target(110.0))
    until(lambda: agent.poll(NOON))
    agent.stop()
    partner.set(target(90.0), at="2026-07-01T12:01:00Z")
    later = agent_of(nats, tmp_path)
    later.start()

    def is_taken():  # the broker may first repeat the accepted target
        later.poll(NOON + 2 * MINUTE)
        return later.targets.tightest_in_force(NOON + 2 * MINUTE).target.power == 90.0

    until(is_taken)
    later.stop()
    partner.client.stop()


@pytest.mark.slow
def test_sample_partner_sets_a_target_and_waits_for_its_answer(mosquitto, tmp_path):
    """Proves: over Mosquitto a partner without our code is confirmed, and learns of a refusal."""
    (tmp_path / "keys.json").write_text(json.dumps(keys()))
    agent = agent_of(mosquitto, tmp_path)
    feed = SchedulePublisher(
        lambda name, will: Client(mosquitto.url, client_id=f"feed-{name}", will=will),
        site="rhine",
        partners=[feed_partner()],
        key=key("rhine"),
        folder=tmp_path / "feed",
    )
    agent.notify = feed.send_notice
    assert agent.start().wait(DEADLINE)
    feed.start(NOON)
    agent.publish_state(load(120.0), NOON)
    command = [sys.executable, str(SAMPLE), "--broker", mosquitto.url, "--site", "rhine"]
    command += ["--partner", "tso-1", "--keys", str(tmp_path / "keys.json"), "--wait", "60"]
    command += ["--now", str(milliseconds("2026-07-01T12:00")), "--end", "2026-07-01T14:00:00Z"]

    def answer(power):
        with subprocess.Popen(
            [*command, "--mw", power], stdout=subprocess.PIPE, text=True
        ) as sample:
            until(lambda: agent.poll(NOON))
            return sample.stdout.readline(), sample.wait(DEADLINE)

    expected = "confirmed: 100.0 MW; planned now: 120.0 MW; compliant: not yet\n"
    assert answer("100") == (expected, 0)
    text, code = answer("151")
    assert text.startswith("notice: target_refused, out-of-range: found '151 MW")
    assert code == 1
    feed.stop(NOON)
    agent.stop()
