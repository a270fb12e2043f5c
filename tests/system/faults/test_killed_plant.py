"""A killed simulated plant is reported, though the time that it sets stands still."""

import pytest

from optimizer.service.status import LinkState, StateLabel, read_status, state_label
from tests.support.service_processes import Stage

pytestmark = pytest.mark.slow


def test_killed_plant_is_offline_and_its_data_grow_old(tmp_path, embedded):
    """Proves: state, alarm, readiness and data age follow the wall clock.

    Sensitivity: the page stayed green, RUNNING with its newest sample 0 s old.
    """
    with Stage(tmp_path, embedded.url) as stage:
        stage.serve("--page", "0")
        stage.play(1000)  # more than any machine decides meanwhile
        stage.until_ready()
        stage.until(lambda: decided(stage) >= 3)
        assert snapshot(stage)["link"] == LinkState.CONNECTED
        stage.plant.kill()
        stage.until(lambda: snapshot(stage)["link"] == LinkState.SILENT)
        stage.until(lambda: "plant" in [one["id"] for one in snapshot(stage)["alarms"]])
        shown = snapshot(stage)
        assert state_label(read_status(shown)) == StateLabel.PLANT_OFFLINE
        assert shown["data_age"]["newest_s"] >= shown["data_age"]["silence_s"] > 0.0
        assert shown["telemetry"]["age_s"] >= 30.0
        assert any("nothing received from the plant" in text for text in stage.missing())


def snapshot(stage):
    return stage.tell("status")["snapshot"]


def decided(stage):
    """Return how many quarter-hours are shown as past."""
    return len(snapshot(stage)["past"]["time"])
