"""A simulated site in lockstep: against a script, and over an embedded broker."""

import itertools
import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from telemetry.feed.signing import generate_key, public_jwk_set, sign_order
from telemetry.messages import decode, encode, topics
from telemetry.messages.samples import CapOrder, DecisionNotice, JobOrders, PointValue
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from telemetry.points.site_points import list_points
from telemetry.simulator.site import SimulatedSite
from tests.support.air_site import airy
from tests.support.waiting import DEADLINE
from tests.unit.telemetry.simulator.conftest import START, Script
from twin import time_axes
from twin.simulation import state
from twin.simulation.operating_limits import count_violations

QUARTER = time_axes.QUARTER_HOUR
STEPS = 8


def orders(tick, caps):
    return JobOrders(
        site="small",
        sequence=tick.step + 1,
        issued=tick.time,
        expires=tick.time + QUARTER,
        caps=caps,
    )


def all_run(tick):
    return [orders(tick, dict.fromkeys(range(5), 0.9))]


def run(scene, answers, **options):
    script = Script(answers)
    reports = []
    simulated = SimulatedSite(scene, script, listen=reports.append, **options)
    return script, simulated.run(), reports


def test_run_is_reported_from_start_to_end(scene):
    script, outcome, reports = run(scene, all_run)
    ticks = script.samples(TopicKind.TICK)
    assert [tick.step for tick in ticks] == list(range(STEPS + 1))
    assert [tick.time for tick in ticks] == [START + i * QUARTER for i in range(STEPS + 1)]
    assert [tick.is_last for tick in ticks] == [False] * STEPS + [True]
    assert outcome.record.sizes["time"] == 15 * STEPS
    assert len(outcome.backlog_and_progress) == STEPS
    assert reports[-1].completed_intervals == STEPS
    assert outcome.event_counts["undecided"] == 0
    assert count_violations(scene.site, outcome.record).sum() == 0


def test_air_cooled_site_runs(scene):
    """Sensitivity: the plant ended because it expected coolant."""
    site = airy(scene.site)
    begin = state.initial_state(site, START, peak_power=2.0, grid_import_power=1.0)
    script, outcome, _ = run(replace(scene, site=site, initial_state=begin), all_run)
    assert outcome.record.sizes["time"] == 15 * STEPS
    point_by_variable = {one.meaning.variable: one.metadata.point for one in list_points(site)}
    points = {value.point for value in script.samples(TopicKind.POINT_VALUE)}
    assert point_by_variable["rack_power"] in points
    assert point_by_variable["rack_supply_temperature"] not in points


def test_ticks_count_the_messages_before_them(scene):
    script, _, _ = run(scene, all_run)
    sent = {TopicKind.RACK_BATCH: 0, TopicKind.POINT_VALUE: 0}
    for topic, payload, *_ in script.sent:
        kind = topics.parse_topic(topic).kind
        if kind in sent:
            sent[kind] += 1
        elif kind == TopicKind.TICK:
            tick = decode(topic, payload)
            assert (tick.batches, tick.points) == tuple(sent.values())
            sent = dict.fromkeys(sent, 0)
    assert len(script.samples(TopicKind.TICK)) > 1


def test_metadata_come_first_and_are_retained(scene):
    script, _, _ = run(scene, all_run)
    kinds = [topics.parse_topic(topic).kind for topic, *_ in script.sent]
    first = kinds.index(TopicKind.POINT_VALUE)
    announced = {
        topics.parse_topic(topic).point
        for topic, *_ in script.sent[:first]
        if "/Metadata/" in topic
    }
    points = {topics.parse_topic(topic).point for topic, *_ in script.sent if "/Value/" in topic}
    assert points <= announced
    assert all(retain and qos == 1 for topic, _, qos, retain in script.sent if "Metadata" in topic)
    assert not any(retain for topic, _, _, retain in script.sent if "/Value/" in topic)


def test_every_point_of_the_plant_is_published(scene):
    script, _, _ = run(scene, all_run)
    points = {topics.parse_topic(topic).point for topic, *_ in script.sent if "/Value/" in topic}
    silent = {
        listed.meaning.variable
        for listed in list_points(scene.site)
        if not listed.meaning.is_writable and listed.metadata.point not in points
    }
    assert silent == {"plant_heartbeat_echo"}  # nobody beats in this script


def test_rack_batches_add_up_to_the_hall_power(scene):
    script, outcome, _ = run(scene, all_run)
    last = START + STEPS * QUARTER
    points = [
        value for value in script.samples(TopicKind.POINT_VALUE) if "RackPower" in value.point
    ]
    newest = {value.point: value.value for value in points if value.time <= last}
    meant = float(outcome.record["hall_power"].sum("hall")[-15:].mean())
    assert sum(newest.values()) / 1000.0 == pytest.approx(meant, rel=0.03)


def test_same_seed_publishes_the_same(scene):
    one, other = (run(scene, all_run)[0].sent for _ in range(2))
    assert one == other


def test_ordered_jobs_run(scene):
    script, outcome, _ = run(scene, lambda tick: [orders(tick, {0: 1.0})])
    assert outcome.backlog_and_progress[3][1].finished_job_numbers.tolist() == [
        0
    ]  # one hour, uncapped
    statuses = script.samples(TopicKind.JOB_STATUS)
    assert statuses
    assert all(status.is_applied for status in statuses)


def test_plant_continues_without_decisions(scene):
    def once(tick):
        return [orders(tick, {0: 1.0, 1: 1.0})] if tick.step == 0 else [None]

    _, outcome, reports = run(scene, once, deadline=0.02)
    assert outcome.event_counts["undecided"] == STEPS - 1
    assert [report.running for report in reports[:4]] == [2, 2, 2, 2]
    assert [report.is_decided for report in reports[:2]] == [True, False]


def test_received_decision_counts_after_the_deadline(scene, monkeypatch):
    """Proves: decisions count on a machine that stalls for a minute after each tick.

    Sensitivity: all 8 steps undecided if the deadline is checked before the messages.
    """
    now = itertools.count(0.0, 60.0)
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    _, outcome, _ = run(scene, all_run, deadline=30.0)
    assert outcome.event_counts["undecided"] == 0


def test_decision_counts_only_with_its_orders(scene):
    def without_orders(tick):
        return [None, DecisionNotice(site="small", time=tick.time, sequence=99)]

    _, outcome, _ = run(scene, without_orders, deadline=0.02)
    assert outcome.event_counts["undecided"] == STEPS


def test_restarted_service_receives_the_tick_at_once(scene):
    seen = set()

    def restarted(tick):
        if tick.step in seen:
            return all_run(tick)
        seen.add(tick.step)
        return [None, DecisionNotice(site="small", time=START - QUARTER, sequence=-1)]

    script, outcome, _ = run(scene, restarted)
    assert outcome.event_counts["undecided"] == 0
    assert [tick.step for tick in script.samples(TopicKind.TICK)[:4]] == [0, 0, 1, 1]


def test_shadow_mode_is_a_decision(scene):
    _, outcome, _ = run(scene, lambda _: [])
    assert outcome.event_counts["undecided"] == 0
    assert outcome.event_counts["refused"] == 0


def test_stores_follow_requests_and_rest_without(scene):
    silent, _, _ = run(scene, lambda _: [])
    points = [topics.parse_topic(topic).point for topic, *_ in silent.sent if "/Metadata/" in topic]
    point = next(point for point in points if "battery_request" in point)

    def charging(tick):
        ask = PointValue(point=point, time=tick.time, value=400.0, sender="GIGATWIN")
        return [ask] if tick.step < 2 else []

    script, outcome, _ = run(scene, charging)
    charge = outcome.record["battery_charge"].sel(battery="battery_1").to_numpy()
    assert charge[20:60] == pytest.approx(0.4)
    # the last request came at 15 min: void after 60 min, seen at 75 min, gone 10 min later
    assert charge[85:] == pytest.approx(0.0, abs=1e-9)
    applied = [v for v in script.samples(TopicKind.POINT_VALUE) if "battery_applied" in v.point]
    assert {v.value for v in applied} == {0.0, 400.0}


def test_hall_keeps_its_cap(scene):
    def capped(tick):
        caps = [
            CapOrder(
                site="small",
                hall=hall,
                sequence=tick.step + 1,
                issued=tick.time,
                expires=tick.time + QUARTER,
                power_cap=1.0,
            )
            for hall in ("hall_1", "hall_2")
        ]
        return [*caps, *all_run(tick)]

    script, outcome, _ = run(scene, capped)
    assert float(outcome.record["hall_power"].max()) <= 1.0 + 1e-9
    assert any("lowered" in status.reason for status in script.samples(TopicKind.JOB_STATUS))
    statuses = script.samples(TopicKind.CAP_STATUS)
    assert statuses
    assert all(status.is_applied for status in statuses)


class SigningScript(Script):
    """A service whose orders are signed with a key."""

    def __init__(self, answers, key):
        super().__init__(answers)
        self._key = key

    def poll(self, *limits, **others):
        return [
            message._replace(payload=sign_order(message.topic, message.payload, self._key))
            for message in super().poll(*limits, **others)
        ]


def test_plant_with_keys_obeys_signed_orders_only(scene):
    key = generate_key()
    keys = public_jwk_set(key)
    signed = SigningScript(all_run, key)
    outcome = SimulatedSite(scene, signed, order_keys=keys).run()
    assert all(status.is_applied for status in signed.samples(TopicKind.JOB_STATUS))
    assert len(signed.samples(TopicKind.JOB_STATUS)) >= STEPS
    assert outcome.event_counts["unverified"] == 0
    for script in (Script(all_run), SigningScript(all_run, generate_key())):
        outcome = SimulatedSite(scene, script, order_keys=keys, deadline=0.01).run()
        assert outcome.event_counts["unverified"] >= STEPS
        assert not [one for one in script.samples(TopicKind.JOB_STATUS) if one.sequence > 0]


def test_stopped_run_is_complete_until_the_stop(scene):
    script = Script(all_run)
    simulated = SimulatedSite(scene, script, listen=lambda _: simulated.stop())
    outcome = simulated.run()
    assert outcome.record.sizes["time"] == 15
    assert script.samples(TopicKind.TICK)[-1].is_last


@pytest.mark.slow
def test_native_rate_sends_each_rack_every_second(scene):
    def stopping(tick):
        simulated.stop()  # waits for nobody any more
        return all_run(tick)

    script = Script(stopping)
    simulated = SimulatedSite(scene, script, speed=10.0)
    outcome = simulated.run()
    batches = script.samples(TopicKind.RACK_BATCH)
    assert len(batches) == 28 + 28 * 900
    assert {batch.interval for batch in batches[28:]} == {np.timedelta64(1, "s")}
    grid = [
        value for value in script.samples(TopicKind.POINT_VALUE) if "grid_import" in value.point
    ]
    assert max(np.diff([value.time for value in grid])) <= np.timedelta64(100, "s")
    assert outcome.record.sizes["time"] == 15


def test_unreadable_messages_are_counted(scene):
    script = Script(all_run)
    original_poll = script.poll

    def poll(limit=1000, timeout=0.1):
        """Return each message after a corrupted copy of it."""
        messages = original_poll(limit, timeout)
        return [m for message in messages for m in (message._replace(payload=b"{"), message)]

    script.poll = poll
    outcome = SimulatedSite(scene, script).run()
    assert outcome.event_counts["unreadable"] == 2 * STEPS
    assert outcome.event_counts["undecided"] == 0


@pytest.mark.slow
def test_a_run_over_a_broker(scene, broker):
    service = Service(broker.url)
    client = Client(broker.url, client_id="plant")
    client.connect()
    outcome = SimulatedSite(scene, client).run()
    service.thread.join(DEADLINE)
    client.stop()
    assert outcome.event_counts["undecided"] == 0
    assert outcome.event_counts["refused"] == 0
    assert service.received[TopicKind.RACK_BATCH] == 28 * (STEPS + 1)
    assert count_violations(scene.site, outcome.record).sum() == 0


class Service:
    """A minimal service: it waits for the queue of each tick and runs all jobs."""

    def __init__(self, url):
        self.received = Counter()
        self._client = Client(url, client_id="service")
        self._client.connect()
        self._client.subscribe(*topics.service_filters("small"), topics.METADATA_FILTER).wait(
            DEADLINE
        )
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        tick = queue = None
        last = 0
        while not (
            tick and tick.is_last and self.received[TopicKind.RACK_BATCH] >= 28 * (STEPS + 1)
        ):
            messages = self._client.poll()
            for topic, payload, *_ in messages:
                kind = topics.parse_topic(topic).kind
                self.received[kind] += 1
                queue = decode(topic, payload) if kind == TopicKind.JOB_QUEUE else queue
                tick = decode(topic, payload) if kind == TopicKind.TICK else tick
            self._client.acknowledge(messages)
            if (
                tick
                and queue
                and tick.time == queue.time
                and tick.step >= last
                and not tick.is_last
            ):
                last = tick.step + 1
                decided = DecisionNotice(site="small", time=tick.time, sequence=last)
                for answer in (*all_run(tick), decided):
                    self._client.publish(*encode(answer), qos=1)
        self._client.stop()
