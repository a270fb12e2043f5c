"""The simulated plant's command."""

import json

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from optimizer.cli import plant
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from twin.errors import BrokerError


def run(*words):
    return CliRunner().invoke(plant.app, list(words))


@pytest.mark.slow
def test_plant_without_a_service_uses_local_defaults(tmp_path):
    with EmbeddedBroker() as broker, capture_logs() as logs:
        done = run(
            "small", "--broker", broker.url, "--steps", "5", "--deadline", "0.1",
            "--out", str(tmp_path), "--json", str(tmp_path / "copy.json"),
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "result.json").read_text())
    assert document["undecided"] == 5
    assert document["steps"] == 5
    assert [one["steps"] for one in logs if one["event"] == "plant ends in an hour"] == [5]
    shown = " ".join(done.output.split())
    assert "the plant ended after 5 of 5 quarter-hours" in shown
    assert "--steps for a longer run" in shown
    assert document == json.loads((tmp_path / "copy.json").read_text())


def test_unusable_certificates_are_reported():
    done = run("small", "--broker", "mqtts://127.0.0.1:1", "--ca", "/nofile")
    assert "the certificates cannot be used" in str(done.exception)


def test_missing_broker_is_reported(monkeypatch):
    monkeypatch.setattr(plant, "CONNECT_TIMEOUT_S", 0.2)
    done = run("small", "--broker", "mqtt://127.0.0.1:1", "--steps", "1")
    assert isinstance(done.exception, BrokerError)
