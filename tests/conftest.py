"""What tests of every room share."""

import os
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from telemetry.feed import revisions
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from tests import brokers, feeds

ROOT = Path(__file__).parents[1]

# By itself hypothesis calls what took 200 ms once a failure: machines stand still for longer.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(autouse=True)
def own_logs():
    """Take the logs back from the command line, whose streams end with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def from_one():
    """Have the numbers of a feed begin with 1, as tests write them, not with those of the clock."""
    with pytest.MonkeyPatch.context() as patch:  # which no test undoes by the way
        patch.setattr(revisions, "REVISION_EPOCH_MS", feeds.NOW)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real series, beside the clone or where GIGATWIN_SHARED says."""
    folder = Path(os.environ.get("GIGATWIN_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(
            "no real series: lay them in ../shared, or name their folder in GIGATWIN_SHARED"
        )
    return folder


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
