"""A service, a plant and a partner as processes on their own broker, and a listener."""

import pytest

from optimizer.service import control_socket
from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from tests.support.service_processes import DEADLINE, SITE, Ear, Stage

HEARD = (
    TopicKind.SCHEDULE,
    TopicKind.FEED_STATUS,
    TopicKind.ACTUAL,
    TopicKind.NOTICE,
    TopicKind.CAP_ORDER,
    TopicKind.JOB_ORDERS,
    TopicKind.TICK,
    TopicKind.RACK_BATCH,
)
REQUESTS = "BMS/v1/GIGATWIN/Value/#"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Wait longer than a stalled machine takes to answer: tests that promise a time measure it."""
    monkeypatch.setattr(control_socket, "ANSWER_TIMEOUT_S", DEADLINE)


@pytest.fixture
def stage(tmp_path, embedded):
    """Return a stage on an embedded broker; nothing runs on it yet."""
    with Stage(tmp_path, embedded.url) as stage:
        yield stage


@pytest.fixture
def ear(stage):
    """Return a listener that records the messages of the service."""
    with listening(stage.broker) as ear:
        yield ear


def listening(broker):
    return Ear(broker, *(topics.topic_filter(kind, site=SITE) for kind in HEARD), REQUESTS)
