"""Documents for partners carry their creation time, not the start of the interval."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.fallback.ladder import ScheduleSource
from optimizer.service import daemon
from optimizer.service.daemon import SiteService
from optimizer.service.hold_controller import HoldController
from optimizer.service.hold_register import HoldRegister
from telemetry.live.state import LiveState
from telemetry.runtime import ClockMode
from tests.support.small_points import metadata_of, site, value_of
from twin.errors import IssueCode, StateError, ValidationIssue
from twin.simulation import state

START = np.datetime64("2026-07-01T12:00", "us")
MADE = START + np.timedelta64(7, "m")  # a repeated decision within the quarter-hour


class Partners:
    """Partners that note the time of each message."""

    def __init__(self):
        self.times, self.feed = {}, self

    def build_document(self, outcome, *, now):
        self.times["drawn up"] = now

    def publish(self, plan, outcome, *, now):
        self.times["published"] = now

    def publish_status(self, state, *, reason, now):
        self.times[state] = now

    def compare_metered(self, start, power):
        self.times["settled"] = start

    def record_decision(self, outcome):
        pass

    def record_no_plan(self, now, reason):
        pass


class Pilot:
    interval_control = None

    def __init__(self, error=None):
        self.error = error

    def decide(self, facts):
        if self.error:
            raise self.error
        choice = SimpleNamespace(source=ScheduleSource.OPTIMUM)
        estimate = SimpleNamespace(is_unusable=False, state=state.initial_state(site(), START))
        return SimpleNamespace(choice=choice, estimate=estimate, time=START)


@pytest.fixture
def service(monkeypatch, tmp_path):
    made = object.__new__(SiteService)
    made._watchdog, made._lock = SimpleNamespace(decision_started=0.0), threading.RLock()
    made._clock = SimpleNamespace(mode=ClockMode.REAL, now=lambda: MADE, monotonic=lambda: 0.0)
    made._partners = Partners()
    made._link = SimpleNamespace(
        mean_net_import=lambda *_: 1.0,
        means=lambda *_: None,
        renew_last_caps=lambda *_: -1,
        publish_orders=lambda *_: -1,
    )
    made.site, made.settings = SimpleNamespace(name="rhine"), SimpleNamespace(is_shadow=False)
    made._intra_interval = SimpleNamespace(start_interval=lambda *_: None, stop=lambda: None)
    made._hold_controller = HoldController(
        HoldRegister(tmp_path / "hold.json"),
        clock=made._clock,
        plant_link=made._link,
        partner_link=made._partners,
        intra_interval=made._intra_interval,
        lock=made._lock,
        is_shadow=False,
    )
    made._status_view = SimpleNamespace(add_decision=lambda *_, **__: None)
    made._estimate_path, made._is_stopping = None, False
    made._readiness = SimpleNamespace(
        explain_error=lambda error: error, record_input_status=lambda **_: None
    )
    monkeypatch.setattr(
        SiteService, "_gather_inputs", lambda *_: SimpleNamespace(observed=None, hold_reason="")
    )
    monkeypatch.setattr(SiteService, "_log_decision", lambda *_: None)
    monkeypatch.setattr(daemon, "store_estimate", lambda *_: None)
    return made


def test_document_and_status_carry_their_creation_time(service):
    """Proves: a decision of 12:07 for 12:00 carries 12:07; 11:45 is compared with the meter.

    Sensitivity: 12:00, seven minutes before the power state that confirmed the target.
    """
    service._decide_interval(Pilot(), START)
    before = START - np.timedelta64(15, "m")
    assert service._partners.times == {"settled": before, "drawn up": MADE, "published": MADE}


def test_missing_schedule_carries_the_time_of_its_report(service):
    silent = ValidationIssue(
        expected="a reading",
        code=IssueCode.INCONSISTENT,
        location="battery",
        found="",
        remedy="nothing is heard of it",
    )
    service._decide_interval(Pilot(StateError("rhine", [silent])), START)
    assert service._partners.times == {"degraded": MADE}


def test_reading_within_the_quarter_hour_counts_in_it():
    """Proves: decided at 12:07, a level of 12:06 is known; plans still begin at 12:00.

    Sensitivity: at 12:00 the reading was in the future, and nothing was known.
    """
    window, variable = LiveState(site()), "battery_level"
    window.add(metadata_of(variable))
    window.add(value_of(variable, 50.0, time=MADE - np.timedelta64(1, "m")))
    refusal_times = []
    made = object.__new__(SiteService)
    made._clock, made._hold_controller = (
        SimpleNamespace(now=lambda: MADE),
        SimpleNamespace(description=""),
    )
    made._partners, made._series = (
        SimpleNamespace(targets=SimpleNamespace(requested_outlook=None)),
        SimpleNamespace(current=id),
    )
    made._link = SimpleNamespace(
        observed=window.latest_values,
        setpoint_refusal=lambda moment: refusal_times.append(moment) or "",
        jobs=SimpleNamespace(queue=id, past_arrivals=id),
        excluded_racks=lambda _: (),
    )
    observed = made._gather_inputs(START).observed
    assert float(observed[f"{variable}_age"].min()) == 60.0
    assert observed["instant"] == START
    assert refusal_times == [MADE]
