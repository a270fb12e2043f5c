"""Required inputs: waited for after a start; a decision without them is repeated later."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest

from tests.support import moments
from tests.support.service_bench import UNHEARD, Bench
from twin.errors import NoScheduleError, StateError
from twin.estimation.observer import estimate_state


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def engine_with_old_estimate(bench, name, hours):
    """Return an engine with an old estimate, while one variable has no readings."""
    bench.link.observed.side_effect = lambda now: moments.observed(
        moments.calm().assign_coords(instant=now), without=[name]
    )
    before = bench.now - np.timedelta64(round(3600 * hours), "s")
    begin = estimate_state(
        moments.site(), moments.observed(moments.calm().assign_coords(instant=before))
    )
    return SimpleNamespace(last_estimate=begin)


def test_first_decision_after_an_outage_waits_for_readings(bench):
    """Proves: the first decision uses readings, and readiness reports what is missing meanwhile.

    Sensitivity: the first decision used the stored estimate only: "not measured".
    """
    pilot, looks = engine_with_old_estimate(bench, "battery_level", 0.3), []

    def wait(_):
        looks.append("".join(bench.service.readiness_problems()))
        bench.link.observed.side_effect = None
        return False

    bench.service._wait_for_telemetry(pilot, MagicMock(wait=wait))
    assert len(looks) == 1
    assert "battery_level of battery_1: " in looks[0]
    assert "no sensor has shown it yet" in looks[0]


def test_start_waits_for_jobs_but_not_under_hold(bench):
    stop = MagicMock()
    stop.wait.return_value = True
    bench.link.jobs.missing_queue = UNHEARD
    bench.service._wait_for_telemetry(SimpleNamespace(last_estimate=object()), stop)
    assert bench.service.readiness_problems() == [UNHEARD]
    bench.hold()
    bench.service._wait_for_telemetry(SimpleNamespace(last_estimate=object()), stop)
    stop.wait.assert_called_once()


@pytest.mark.parametrize("error", [StateError("state of small", []), NoScheduleError("refused")])
def test_decision_is_repeated_once_its_inputs_arrive(bench, error):
    """Proves: a HOLD or a missing plan for lack of telemetry ends once telemetry is complete.

    Sensitivity: it lasted for the rest of the quarter-hour. After a black-out, where the twin
    refused the rest, no alarm named the cause.
    """
    bench.link.jobs.missing_queue = UNHEARD
    bench.decide(error=error)
    if isinstance(error, NoScheduleError):
        assert bench.service.readiness_problems() == [f"refused\na possible cause: {UNHEARD}"]
    again = bench.service._clock.request_redecision
    bench.run_tasks()
    again.assert_not_called()
    bench.link.jobs.missing_queue = ""
    bench.run_tasks()
    bench.run_tasks()
    again.assert_called_once_with()


@pytest.mark.parametrize("error", [StateError("state of small", []), NoScheduleError("refused")])
def test_other_failures_do_not_repeat_the_decision(bench, error):
    bench.decide(error=error)
    assert "a possible cause" not in "".join(bench.service.readiness_problems())
    bench.run_tasks()
    bench.service._clock.request_redecision.assert_not_called()


@pytest.mark.parametrize(("late", "decided"), [(14, True), (15, False)])
def test_quarter_hour_that_is_over_is_not_decided(bench, monkeypatch, late, decided):
    """Proves: after a wait into the next quarter-hour, that one is decided.

    Sensitivity: the earlier one was decided with present readings. Two plans were published, and
    the model predicted the stocks over a quarter-hour that had not passed.
    """
    service, seen = bench.service, []
    service._clock.intervals.return_value = [bench.now]
    bench.service._start_solver = MagicMock()
    monkeypatch.setattr(service, "_create_threads", lambda *_: ())
    monkeypatch.setattr(service, "_decide_interval", lambda _, now: seen.append(now))

    def wait(*_):
        service._clock.now.return_value = bench.now + np.timedelta64(late, "m")

    monkeypatch.setattr(service, "_wait_for_telemetry", wait)
    service.run(MagicMock(is_set=lambda: False))
    assert seen == [bench.now] * decided
