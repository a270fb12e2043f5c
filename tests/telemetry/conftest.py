"""Brokers for the tests of the wire; slow, as each is a process."""

import pytest

from telemetry.broker import EmbeddedBroker
from tests.telemetry import brokers


@pytest.fixture
def embedded():
    """Return a running embedded broker."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def mosquitto(tmp_path):
    """Return a running Mosquitto."""
    yield from running(brokers.mosquitto(tmp_path))


@pytest.fixture
def nats(tmp_path):
    """Return a running NATS server that speaks MQTT."""
    yield from running(brokers.nats(tmp_path))


@pytest.fixture(params=["embedded", "mosquitto", "nats"])
def broker(request):
    """Return each of the brokers in turn."""
    return request.getfixturevalue(request.param)


def running(broker):
    broker.start()
    yield broker
    broker.stop()
