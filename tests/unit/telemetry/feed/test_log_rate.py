"""The first refusals are logged one by one, further ones as a count."""

from unittest.mock import Mock

import structlog
from hypothesis import given
from hypothesis import strategies as st

from telemetry.mqtt.queues import ReceivedMessage
from telemetry.runtime import MAX_LOGGED_REFUSALS, RATE_LIMIT_PERIOD_S, RateLimiter
from tests.support.feeds import START, Bench, acknowledgement
from tests.support.flexing import NOON, TOPIC, agent_of


class Clock:
    """Clock that a test sets. [s]"""

    now = 0.0

    def __call__(self):
        return self.now


def test_first_messages_pass_and_the_rest_are_counted():
    clock = Clock()
    limiter = RateLimiter(clock=clock)
    assert [limiter.allows("tso") for _ in range(MAX_LOGGED_REFUSALS + 5)] == [
        True
    ] * MAX_LOGGED_REFUSALS + [False] * 5
    assert limiter.allows("dso")  # each sender has its own limit
    assert limiter.drain_suppressed() == []
    clock.now = RATE_LIMIT_PERIOD_S
    assert limiter.drain_suppressed() == [("tso", 5)]
    assert limiter.drain_suppressed() == []
    assert limiter.allows("tso")


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 5))
def test_no_period_has_more_events_than_allowed(pauses, limit):
    """Proves: the limit holds in any period, and every other event is counted once.

    Sensitivity: fixed periods allowed twice the limit around the end of one.
    """
    clock, allowed, drained = Clock(), [], 0
    limiter = RateLimiter(limit, clock=clock)
    for pause in pauses:
        clock.now += pause
        if limiter.allows("tso"):
            allowed.append(clock.now)
        drained += sum(count for _, count in limiter.drain_suppressed())
    for moment in allowed:
        assert sum(moment <= at < moment + RATE_LIMIT_PERIOD_S for at in allowed) <= limit
    clock.now += RATE_LIMIT_PERIOD_S
    drained += sum(count for _, count in limiter.drain_suppressed())
    assert len(allowed) + drained == len(pauses)


def test_flood_of_bad_targets_does_not_fill_the_record(tmp_path):
    """Sensitivity: each of 30,000 messages in four seconds filled a line of record and log."""
    agent, clock = agent_of(Mock(), tmp_path), Clock()
    agent._client, agent._log_limiter = Mock(), RateLimiter(clock=clock)
    agent._client.poll.return_value = [ReceivedMessage(topic=TOPIC, payload=b"{}", qos=1)] * 1000
    records = agent.poll(NOON)
    assert [one["event"] for one in records] == ["load_target_refused"] * MAX_LOGGED_REFUSALS
    assert agent.counters["refused"] == 1000
    agent._client.poll.return_value, clock.now = [], RATE_LIMIT_PERIOD_S
    (rest,) = agent.poll(NOON)
    assert (rest["partner"], rest["reason"]) == ("tso-1", "980 more within a minute")


def test_flood_of_bad_answers_does_not_fill_the_log(tmp_path):
    bench = Bench(tmp_path)
    junk = acknowledgement(1)._replace(payload=b"junk")
    with structlog.testing.capture_logs() as logs:
        for _ in range(1000):
            assert bench.feed.handle_ack(junk, START) is None
    assert len(logs) == MAX_LOGGED_REFUSALS
    assert bench.feed.counters["refused"] == 1000
