"""Fixtures of all tests."""

import os
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from telemetry.feed import revisions
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from tests.support import brokers, feeds

ROOT = Path(__file__).parents[1]

# Without deadlines: hypothesis fails an example over 200 ms, and machines may pause for longer.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", PATIENT, derandomize=True)  # the same examples in each run
settings.register_profile("random", PATIENT)  # .ci/long looks for further ones
settings.load_profile("same")


@pytest.fixture(autouse=True)
def own_logs():
    """Reset the logging that the command line configures: its streams end with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def from_one():
    """Number the revisions of a feed from 1 instead of from the clock."""
    with pytest.MonkeyPatch.context() as patch:  # a test that undoes its own patches keeps this one
        patch.setattr(revisions, "REVISION_EPOCH_MS", feeds.NOW)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real series, beside the clone or as named in GIGATWIN_SHARED."""
    folder = Path(os.environ.get("GIGATWIN_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(
            "no real series: put them into ../shared, or name their folder in GIGATWIN_SHARED"
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
