"""Stores that report out of service are excluded from plans and offers."""

import pytest

from tests.support.service_processes import Stage
from tests.system.faults.conftest import listening
from tests.system.faults.words import schedules

pytestmark = pytest.mark.slow

STEPS = 24
OUT = ("--out-of-service", "battery_1", "--out-of-service", "tank_1")


def test_plan_excludes_stores_out_of_service(tmp_path, embedded):
    """Plans stay optimal, an alarm names the machines, and no limit is violated."""
    with Stage(tmp_path, embedded.url) as stage, listening(stage.broker) as ear:
        stage.serve("--page", "0")
        stage.attend()
        stage.play(STEPS, words=OUT)
        stage.until_ready()
        stage.until(lambda: "machines:battery_1" in alarms(stage))
        found = alarms(stage)
        assert found["machines:battery_1"] == "battery_1 is out of service: plans count on no more"
        assert "tank_1 is out of service" in found["machines:tank_1"]
        result = stage.finish()
        assert result["violations"] == {}
        assert result["undecided"] == 0
        assert result["messages"].get("refused", 0) == 0
        assert schedules(ear, 0.0, "optimum")
        stage.service.terminate()


def alarms(stage):
    """Return the alarms in force: id -> text."""
    return {one["id"]: one["text"] for one in stage.tell("status")["snapshot"]["alarms"]}
