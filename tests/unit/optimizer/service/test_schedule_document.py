"""The schedule document: market days, baselines, bands and labels."""

import json

import numpy as np
import pytest

import sites
from optimizer.planner.flexibility import estimate_flexibility, no_flexibility
from optimizer.service.baselines_and_plan_errors import MIN_ERRORS_FOR_BAND, PlanErrors
from optimizer.service.schedule_document import (
    ScheduleLabel,
    ScheduleStartState,
    build_document,
    intervals_until_same_time_tomorrow,
)
from telemetry import market_zones
from telemetry.feed.partners import DocumentSender, Partner
from telemetry.feed.signing import public_jwk_set
from telemetry.messages.feed_documents import PUBLIC_TEXTS, PublicReason, read_schedule
from telemetry.messages.strict_json import to_milliseconds
from tests.support import small_days
from tests.support.feeds import key
from twin import time_axes, variables
from twin.time_axes import MINUTE
from twin.variables import net_import

NOW = time_axes.to_utc("2026-06-16T12:00")
HELD = (PublicReason.HOLD_BY_PERSON,)
QUARTER_MS = 900_000


@pytest.fixture(scope="module")
def site():
    return sites.load_site("small")


def schedule(net=3.0, *, start=NOW, steps=((24.0, 15.0), (24.0, 60.0))):
    """Return a schedule with given net imports on the service horizon. [MW]"""
    plan = time_axes.horizon_axes(start, list(steps))
    powers = np.broadcast_to(np.asarray(net, dtype=float), plan.sizes["time"])
    plan["grid_import_power"] = "time", np.maximum(powers, 0.0)
    plan["grid_export_power"] = "time", np.maximum(-powers, 0.0)
    return variables.tag_dataset(plan)


def document(site, plan, *, now=NOW, before=None, errors=None, flexible=None, **label):
    first = float(net_import(plan)[0])
    made = build_document(
        site,
        plan,
        no_flexibility(plan) if flexible is None else flexible,
        ramp_start=ScheduleStartState(now, first if before is None else before),
        errors=errors or PlanErrors(),
        label=ScheduleLabel(**label),
        sender=DocumentSender.demonstration(site),
    )
    return checked(made)


def checked(plan):
    """Return a draft after checking that it becomes a valid document."""
    party = Partner.demonstration("tso-1", public_jwk_set(key("tso-1"))).party
    whole = plan | {
        "partner": "tso-1",
        "mrid": "small.tso-1.0",
        "revision": 1,
        "supersedes": None,
        "receiver": party,
    }
    read_schedule(json.dumps(whole).encode())
    return plan


def column(made, name):
    return [row[name] for row in made["intervals"]]


@pytest.mark.parametrize(
    ("start", "count"),
    [
        ("2026-06-16T12:00", 96),
        ("2026-03-28T23:00", 92),  # 29 March has 23 hours in Berlin
        ("2026-03-28T12:00", 92),
        ("2026-10-24T22:00", 100),  # 25 October has 25
        ("2026-10-25T00:15", 100),
        ("2026-10-25T01:15", 96),
        ("2026-03-28T01:15", 96),  # 02:15 is not there on the next day
    ],
)
def test_document_ends_at_the_same_local_time_next_day(site, start, count):
    moment = time_axes.to_utc(start)
    assert intervals_until_same_time_tomorrow(moment, site.time_zone) == count
    made = document(site, schedule(start=moment), now=moment)
    assert len(made["intervals"]) == count
    assert made["period_end"] - made["period_start"] == count * QUARTER_MS


def test_hours_are_split_and_export_is_negative(site):
    start = time_axes.to_utc("2026-10-24T22:00")
    net = [1.0] * 96 + [2.0, -0.25] + [4.0] * 22
    made = document(site, schedule(net, start=start), now=start)
    assert column(made, "setpoint_mw")[95:] == [1.0, 2.0, 2.0, 2.0, 2.0]
    assert document(site, schedule(-0.25))["intervals"][0]["scheduled_mw"] == -0.25


def test_scheduled_power_is_net_import(site):
    """Proves: a ramp of ten minutes lacks a third of a step in the mean."""
    made = document(site, schedule([4.0, 4.0, 1.0, 1.0] + [1.0] * 92, steps=[(24.0, 15.0)]))
    assert column(made, "setpoint_mw")[:5] == [4.0, 4.0, 1.0, 1.0, 1.0]
    assert column(made, "scheduled_mw")[:5] == [4.0, 4.0, 2.0, 1.0, 1.0]
    assert column(made, "baseline_mw") == column(made, "scheduled_mw")
    band = zip(column(made, "p10_mw"), column(made, "p90_mw"), strict=True)
    assert [(low + high) / 2.0 for low, high in band][1:3] == pytest.approx([4.0, 2.0])


@pytest.mark.parametrize(
    ("minutes", "means"),
    [
        (0.0, (3.0 - 1.0 / 3.0, 3.0)),
        (5.0, (2.0 + 5.0 / 15.0, 3.0)),  # ten minutes remain, half of which count
        (10.0, (2.0 + 0.5 * 5.0 * 0.5 / 15.0, 3.0 - 0.5 / 3.0)),  # half the ramp remains after it
        (15.0, (2.0, 3.0 - 1.0 / 3.0)),
        (40.0, (2.0, 3.0 - 1.0 / 3.0)),  # the quarter-hour is over
    ],
)
def test_late_document_includes_elapsed_minutes(site, minutes, means):
    now = NOW + np.timedelta64(round(minutes * 60), "s")
    made = document(site, schedule(3.0), now=now, before=2.0)
    assert column(made, "scheduled_mw")[:2] == pytest.approx(list(means), abs=1e-3)
    assert column(made, "setpoint_mw")[:2] == [3.0, 3.0]


def test_plan_continues_beyond_its_end_without_offers(site):
    plan = schedule(np.repeat([1.0, 2.0], 24), steps=[(12.0, 15.0)])
    offers = no_flexibility(plan).map(lambda values: values + 0.1, keep_attrs=True)
    made = document(site, plan, flexible=offers)
    assert column(made, "scheduled_mw")[-1] == 2.0
    assert made["meta"]["planned_until"] == made["period_start"] + 48 * QUARTER_MS
    assert column(made, "flexibility_up_mw")[46:50] == [0.1, 0.1, 0.0, 0.0]
    full = document(site, schedule())
    assert full["meta"]["planned_until"] == full["period_end"]


def test_offers_are_rounded_down_and_withdrawn_on_hold(site):
    plan = schedule()
    offers = no_flexibility(plan).map(lambda values: values + 0.12399, keep_attrs=True)
    made = document(site, plan, flexible=offers)
    assert column(made, "flexibility_up_mw")[0] == 0.123
    assert column(made, "recovery_mwh")[0] == 0.124
    held = document(site, plan, flexible=offers, source="hold", degraded=HELD)
    assert set(column(held, "flexibility_up_mw")) == {0.0}
    assert set(column(held, "ramp_down_mw_min")) == {0.0}


def test_fallback_is_always_labelled(site):
    assert document(site, schedule())["meta"]["degraded"] is None
    assert document(site, schedule())["meta"]["degraded_codes"] == []
    made = document(site, schedule(), source="hold", degraded=(*HELD, PublicReason.STATE_ESTIMATED))
    assert made["meta"]["degraded_codes"] == ["hold_by_person", "state_estimated"]
    texts = [PUBLIC_TEXTS[code] for code in (*HELD, PublicReason.STATE_ESTIMATED)]
    assert made["meta"]["degraded"] == " ".join(texts)


def test_validity_and_gate_count_from_creation(site):
    made = document(site, schedule(), now=NOW + np.timedelta64(5, "s"))
    created = to_milliseconds("test", NOW) + 5000
    assert made["created"] == created
    assert made["valid_until"] == created + 3_600_000
    # 12:45 was fixed at 12:00, so the next gate is that of 13:00
    assert made["gate_closure"] == to_milliseconds("test", time_axes.to_utc("2026-06-16T12:15"))
    assert document(site, schedule(), valid_for=120 * MINUTE)["valid_until"] == (
        to_milliseconds("test", NOW) + 7_200_000
    )


def test_demonstration_codes_are_valid_and_labelled(site):
    made = document(site, schedule())
    for code in (made["sender"]["eic"], made["connection_point"]["eic"]):
        assert market_zones.is_valid_eic(code)
        assert "DEMO" in code
    assert made["bidding_zone"] == {"eic": "10Y1001A1001A82H", "name": "DE-LU"}


def test_schedule_is_the_baseline_until_one_is_fixed(site):
    made = document(site, schedule(np.repeat([1.0, 2.0], 24), steps=[(12.0, 15.0)]))
    assert column(made, "baseline_mw") == column(made, "scheduled_mw")


# --- band


def test_without_errors_the_band_is_the_margin(site):
    made = document(site, schedule(3.0))
    margin = site.margins.power * site.grid_connection.import_limit
    assert made["intervals"][0]["p10_mw"] == pytest.approx(3.0 - margin)
    assert made["intervals"][0]["p90_mw"] == pytest.approx(3.0 + margin)


def test_the_band_follows_the_errors_of_its_lead_time(site):
    errors = PlanErrors()
    for error in np.linspace(-0.2, 0.3, 51):  # quantiles by hand: -0.15 and 0.25
        errors.add_errors(3.0 + error, {0: 3.0})
    made = document(site, schedule(3.0), errors=errors)
    assert made["intervals"][3]["p10_mw"] == pytest.approx(2.85)
    assert made["intervals"][3]["p90_mw"] == pytest.approx(3.25)
    margin = site.margins.power * site.grid_connection.import_limit
    assert made["intervals"][4]["p90_mw"] == pytest.approx(3.0 + margin)  # an hour ahead


def test_band_includes_the_plan_and_respects_the_connection(site):
    errors = PlanErrors()
    for _ in range(MIN_ERRORS_FOR_BAND):
        errors.add_errors(9.0, {0: 3.0})
    row = document(site, schedule(3.0), errors=errors)["intervals"][0]
    assert (row["p10_mw"], row["p90_mw"]) == (3.0, site.grid_connection.import_limit)


def test_past_intervals_are_compared_with_all_plans(site):
    errors = PlanErrors()
    for hours, power in ((13, 1.0), (7, 2.0), (2, 3.0)):
        start = NOW - hours * 60 * MINUTE
        errors.add_plan(document(site, schedule(power, start=start), now=start))
    errors.add_metered(to_milliseconds("test", NOW), 2.5)
    assert errors.errors == [[], [-0.5], [], [0.5], [1.5]]
    assert min(errors.planned) > to_milliseconds("test", NOW)
    errors.add_metered(to_milliseconds("test", NOW), np.nan)
    assert errors.errors == [[], [-0.5], [], [0.5], [1.5]]


def test_a_real_decision_becomes_a_document():
    problem, decision = small_days.problem(), small_days.decision()
    offers = estimate_flexibility(
        problem.site, decision.schedule, decision.verdict.replay, outlook=problem.outlook
    )
    now = decision.start
    made = document(problem.site, decision.schedule, now=now, flexible=offers)
    assert len(made["intervals"]) == 96
    assert max(column(made, "flexibility_up_mw")) > 0.1
