"""A broker that stops and restarts in the middle of a day."""

import numpy as np
import pytest

import telemetry
from tests.support.service_processes import SITE, Stage
from tests.system.faults.conftest import listening
from tests.system.faults.words import schedules

pytestmark = pytest.mark.slow

STEPS = 12
RACKS = 28


def lose(stage, broker):
    """Stop the broker during the day until the service reports it, and start it again."""
    with listening(stage.broker) as ear:
        stage.serve("--page", "0")
        stage.attend()
        stage.until_connected()
        stage.play(STEPS, words=["--speed", "1800"])  # slow enough to end the broker in the middle
        stage.until_ready()
        ear.until(lambda: len(schedules(ear)) > 2)
        broker.stop()
        stage.until(lambda: any("127.0.0.1" in text for text in stage.missing()))
        before = len(schedules(ear))
        broker.start()
        ear.until(lambda: len(schedules(ear)) > before + 1)
        stage.until(lambda: not stage.missing())
        return stage.result()


def check_survived(stage, result):
    assert result["violations"] == {}
    assert result["undecided"] == 0
    stage.settle()
    stage.service.terminate()
    assert stage.service.exit_code == 0


def test_day_continues_after_the_embedded_broker_restarts(tmp_path, embedded):
    embedded._fixed_port = embedded.port  # it restarts on the same port
    with Stage(tmp_path, embedded.url) as stage:
        check_survived(stage, lose(stage, embedded))


def test_persistent_broker_loses_no_rack_batch(tmp_path, mosquitto):
    with Stage(tmp_path / "stage", mosquitto.url) as stage:
        check_survived(stage, lose(stage, mosquitto))
        power = telemetry.open(SITE, group="racks", root=stage.state)["power"].load()
        is_present = np.isfinite(power).any("chip")
        assert is_present.sizes["time"] == STEPS + 1
        assert int(is_present.sum()) == RACKS * (STEPS + 1)
