"""A hanging solver delays a schedule by its deadline and marks it as degraded."""

import pytest

from tests.system.faults import hanging
from tests.system.faults.words import schedules, states

pytestmark = pytest.mark.slow

STEPS = 3


def test_hanging_solver_is_replaced_by_a_labelled_rule(stage, ear):
    stage.serve("--page", "0", module=hanging.__name__)
    stage.play(STEPS)
    result = stage.result()
    assert result["undecided"] == 0
    assert result["violations"] == {}
    documents = ear.until(lambda: len(schedules(ear)) == STEPS and schedules(ear))
    for document in documents:
        assert document["meta"]["source"] == "rule"
        assert "plan_by_rule" in document["meta"]["degraded_codes"]
    assert {state["state"] for _, state in states(ear)} >= {"degraded"}
    reason = f"gave no answer within {hanging.DEADLINE:g} s"
    stage.until(lambda: any(reason in alarm["text"] for alarm in alarms(stage)))


def alarms(stage):
    return stage.tell("status")["snapshot"]["alarms"]
