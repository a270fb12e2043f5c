"""Impossible starts and clean ends of the service."""

import socket
import time
import urllib.error
import urllib.request

import pytest

from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from tests.support.brokers import free_port
from tests.support.service_processes import DEADLINE, SITE, Ear, Mortal, Stage
from tests.system.faults import hanging
from tests.system.faults.conftest import listening
from tests.system.faults.words import requests, schedules, states

pytestmark = pytest.mark.slow

SOON = 30.0
"""Time within which a service ends; systemd waits longer (`deploy/systemd`). [s]"""


def test_second_service_is_refused_with_the_first_process(stage):
    stage.serve("--page", "0")
    stage.until_connected()
    second = Mortal(stage.folder, "second")
    options = ["--broker", stage.broker, "--clock", "simulated", "--page", "0"]
    second.start_gigatwin(["run", SITE, *options, "--state", str(stage.state)])
    assert second.await_end(DEADLINE) == 1
    log = " ".join(second.log.read_text().split())
    assert f"process {stage.service.pid}" in log
    assert "another service runs on this state" in log
    assert "Traceback" not in log
    assert stage.heard() >= 0


def test_occupied_page_port_is_reported(stage):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        stage.serve("--page", port)
        assert stage.service.await_end(DEADLINE) == 1
    log = " ".join(stage.service.log.read_text().split())
    assert f"port {port}" in log
    assert "choose another port" in log
    assert "Traceback" not in log


def test_service_starts_once_the_broker_does(tmp_path):
    port = free_port()
    with Stage(tmp_path, f"mqtt://127.0.0.1:{port}") as stage:
        stage.serve("--page", "0")
        stage.until(lambda: any(str(port) in text for text in stage.missing()))
        page = (stage.state / "page.url").read_text()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{page}health/ready", timeout=DEADLINE)
        assert refused.value.code == 503
        assert str(port) in refused.value.read().decode()
        with EmbeddedBroker(port), listening(stage.broker) as ear:
            stage.play(3)
            stage.until_ready()
            ear.until(lambda: len(schedules(ear)) == 3)
            assert stage.result()["undecided"] == 0


def test_sigterm_ends_the_service_cleanly(stage, ear):
    stage.serve("--page", "0")
    stage.play(1000)
    stage.until_ready()
    ear.until(lambda: requests(ear))
    since, begun = ear.now(), time.monotonic()
    stage.service.terminate()
    assert stage.service.exit_code == 0
    assert time.monotonic() - begun < SOON
    _, last = ear.until(lambda: states(ear, since, "offline"))[-1]
    assert last["code"] == "service_ended"
    ear.until(lambda: all(values[-1][1] is None for values in requests(ear).values()))
    assert not (stage.state / "control.sock").exists()
    status = topics.topic_filter(TopicKind.FEED_STATUS, site=SITE)
    with Ear(stage.broker, status, name="late-comer") as late:
        kept = late.until(lambda: late.of(TopicKind.FEED_STATUS))[0]
    assert kept.is_retained
    assert kept.document["state"] == "offline"


def test_sigterm_ends_the_service_while_a_solver_hangs(stage, ear, monkeypatch):
    """Proves: the service does not wait for the decision deadline, and publishes no plan.

    Sensitivity: it took up to a minute, and a plan by rule was still published.
    """
    monkeypatch.setenv("HANGING_DEADLINE", "100")
    stage.serve("--page", "0", module=hanging.__name__)
    stage.play(1000)
    stage.until(lambda: hanging.ASKED in stage.service.log.read_text())
    begun = time.monotonic()
    stage.service.terminate()
    assert stage.service.exit_code == 0
    assert time.monotonic() - begun < SOON
    assert ear.until(lambda: states(ear, 0, "offline"))
    assert not schedules(ear)
