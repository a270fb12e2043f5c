"""Subscriptions are requested again on a new connection."""

import pytest

from telemetry.mqtt.queues import SubscriptionState


class Broker:
    """A broker that records subscriptions and grants all topics but some."""

    def __init__(self, *denied):
        self.denied = denied
        self.requested = []

    def connect(self, wanted, *, is_known):
        self.requested = []
        wanted.on_connect(is_known)
        questions = {}

        def subscribe(filters):
            self.requested += filters.items()
            questions[len(questions)] = [topic not in self.denied for topic in filters]
            return len(questions) - 1

        wanted.send(subscribe)
        for number, answers in questions.items():
            wanted.on_suback(number, answers)
        return sorted(self.requested)


@pytest.mark.parametrize("is_known", [True, False])
def test_denied_subscription_is_requested_again(is_known):
    """Proves: after a correction of the access list, no restart is needed."""
    wanted, broker = SubscriptionState(), Broker("b/#")
    receipt = wanted.request({"a/#": 1, "b/#": 0})
    broker.connect(wanted, is_known=False)
    assert receipt.is_complete
    assert wanted.denied_topics == {"b/#"}
    broker.denied = ()
    again = [("b/#", 0)] if is_known else [("a/#", 1), ("b/#", 0)]
    assert broker.connect(wanted, is_known=is_known) == again
    assert not wanted.denied_topics
    assert broker.connect(wanted, is_known=True) == []


def test_denial_after_a_broker_restart_is_reported():
    wanted, broker = SubscriptionState(), Broker()
    wanted.request({"a/#": 1})
    broker.connect(wanted, is_known=False)
    broker.denied = ("a/#",)
    broker.connect(wanted, is_known=False)
    assert wanted.denied_topics == {"a/#"}
