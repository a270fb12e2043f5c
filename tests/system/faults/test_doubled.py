"""Telemetry that is duplicated, reordered and late is used once."""

import numpy as np
import pytest

from soak.promises import broken_promises
from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from tests.support.service_processes import DEADLINE, SITE
from tests.support.waiting import until

pytestmark = pytest.mark.slow

STEPS = 12
LATE = 0.5
"""Share of the received messages that is held back for a while. [1]"""


class Echo:
    """A client that repeats the messages of a plant, shuffled, half of them late."""

    def __init__(self, broker):
        self.published = 0
        self._rng = np.random.default_rng(11)
        self._heard, self._held, self._receipts = set(), [], []
        self._client = Client(broker, client_id="echo", clean_session=True)
        self._client.subscribe(
            topics.topic_filter(TopicKind.RACK_BATCH, site=SITE), f"BMS/v1/PUB/Value/+/+/{SITE}/#"
        )
        self._client.connect(DEADLINE)

    def repeat(self):
        """Receive messages, and publish a part of all that are held back."""
        messages = self._client.poll(timeout=0.2)
        self._client.acknowledge(messages)
        new = {(one.topic, one.payload) for one in messages} - self._heard
        self._heard |= new
        self._held += new
        order = self._rng.permutation(len(self._held)).tolist()
        late = round(LATE * len(order))
        self._say([self._held[place] for place in order[late:]])
        self._held = [self._held[place] for place in order[:late]]

    def _say(self, messages):
        self._receipts += [self._client.publish(topic, load, qos=1) for topic, load in messages]
        self.published += len(messages)

    def stop(self):
        """Publish the rest."""
        self._say(self._held)
        until(self._is_taken, deadline=DEADLINE)
        self._client.stop()

    def _is_taken(self):
        self._client.acknowledge(self._client.poll(timeout=0.2))
        return all(receipt.wait(0.0) for receipt in self._receipts)


def test_duplicate_and_late_telemetry_counts_once(stage, ear):
    stage.serve("--page", "0")
    stage.attend()
    stage.until_connected()
    echo = Echo(stage.broker)
    stage.play(STEPS)
    while stage.plant.exit_code is None:
        echo.repeat()
    echo.stop()
    result = stage.result()
    assert result["undecided"] == 0
    assert echo.published > result["messages"]["batches"]
    stage.until(lambda: stage.heard() > echo.published + result["messages"]["batches"])
    stage.settle()
    stage.service.terminate()
    assert list(broken_promises(stage, ear, result, steps=STEPS)) == []
