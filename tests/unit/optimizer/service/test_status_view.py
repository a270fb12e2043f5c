"""The status view: ready for JSON, complete columns, for any site and sensors."""

import json
import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from optimizer.fallback.ladder import ScheduleSource
from optimizer.planner.planner import decide
from optimizer.service.decision_engine import DecisionEngine
from optimizer.service.hold import Hold
from optimizer.service.live_values import LiveValues
from optimizer.service.status import LinkState
from optimizer.service.status_view import (
    DISPLAYED_INTERVAL_COUNT,
    StatusView,
    decision_status,
    failure_status,
)
from tests.support import moments, small_days
from tests.support.status_pages import NO_SERIES, FakeBoard
from twin import time_axes
from twin.errors import NoScheduleError, SolverError
from twin.simulation import state as states
from twin.time_axes import QUARTER_HOUR
from twin.variables import net_import

STORES = {"battery_1": "battery_level", "tank_1": "tank_level"}


def fails(*_):
    raise SolverError("the solver's process died")


@cache
def outcome():
    return moments.pilot().decide(moments.facts())


@cache
def fallen_back():
    return moments.pilot(fails).decide(moments.facts(moments.calm()))


@cache
def cut_short():
    """Return a result planned for two days only."""
    pilot = moments.pilot()
    pilot.solve_problem = lambda problem, _: of_part(problem)
    return pilot.decide(moments.facts(moments.calm()))


def of_part(problem):
    if problem.interval_hours.sum() > 48.0:
        raise NoScheduleError("tomorrow")
    return decide(problem)


def drawn(made=None, **sensors):
    made, picture = made or outcome(), StatusView(moments.site())
    return update(picture, made, moments.observed(made.estimate.state, **sensors))


def update(picture, made, readings, plan=None):
    """Add a decision during which all readings are constant."""
    picture.add_decision(made, readings, readings, plan=plan)
    return picture


def shown_by(picture):
    """Return what a view shows, as JSON."""
    return msgspec.to_builtins(picture.status())


def whole(value):
    """Yield every number of a snapshot."""
    match value:
        case dict():
            for item in value.values():
                yield from whole(item)
        case list():
            for item in value:
                yield from whole(item)
        case float() | int():
            yield value


def is_plain(shown):
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert all(math.isfinite(number) for number in whole(shown))
    return True


def test_before_the_first_decision_limits_are_shown():
    shown = shown_by(StatusView(moments.site()))
    assert shown["past"] == NO_SERIES
    assert shown["limits"]["grid_import_power"] == 4.7
    assert {row["value"] for row in shown["limits"]["temperatures"]} == {None}
    assert shown["plan"] is None
    assert is_plain(shown)


@pytest.mark.parametrize("made", [outcome, fallen_back, cut_short])
def test_decision_is_shown_completely(made):
    picture = StatusView(moments.site())
    observed = moments.observed(made().estimate.state)
    update(picture, made(), observed)
    shown = shown_by(picture)
    assert is_plain(shown)
    count = len(shown["plan"]["time"])
    assert count == min(DISPLAYED_INTERVAL_COUNT, made().choice.schedule.sizes["time"])
    for name, column in shown["plan"].items():
        if name != "temperatures":
            assert len(column) == count, name
    assert shown["plan"]["temperatures"]
    for column in shown["plan"]["temperatures"].values():
        assert len(column) == count


def test_planned_levels_are_those_at_interval_ends():
    plan, replay = shown_by(drawn())["plan"], outcome().choice.replay
    for name in STORES.values():
        wanted = replay[name].to_numpy()[1 : DISPLAYED_INTERVAL_COUNT + 1, 0]
        assert plan[name] == pytest.approx(wanted.tolist(), abs=1e-4)


def test_temperatures_have_the_same_names_everywhere():
    shown = shown_by(drawn())
    names = [row["name"] for row in shown["limits"]["temperatures"]]
    assert "facility supply, warm_plant" in names
    assert len(names) == len(set(names))
    assert list(shown["past"]["temperatures"]) == names
    assert list(shown["plan"]["temperatures"]) == names


def test_temperatures_are_measured_or_else_simulated():
    name = "facility supply, warm_plant"
    measured = shown_by(drawn(facility_supply_temperature=41.5))
    assert measured["past"]["temperatures"][name] == [41.5]
    assert {row["name"]: row["value"] for row in measured["limits"]["temperatures"]}[name] == 41.5
    silent = shown_by(drawn(without=["facility_supply_temperature"]))
    expected = float(outcome().choice.replay["facility_supply_temperature"][1, 0])
    assert silent["past"]["temperatures"][name] == pytest.approx([expected], abs=1e-4)


def test_silent_meter_shows_the_last_known_power():
    """Proves: half an hour after the last reading nothing is shown as measured."""
    heard = shown_by(drawn())
    assert heard["last_known"] is None
    assert heard["past"]["grid_power"] == [
        pytest.approx(float(net_import(outcome().estimate.state)), abs=1e-4)
    ]
    made = replace(outcome(), estimate=replace(outcome().estimate, meter_silence=0.5))
    shown = shown_by(drawn(made, without=["grid_import_power"]))
    assert shown["past"]["grid_power"] == [None]
    assert shown["last_known"] == {
        "grid_power": heard["past"]["grid_power"][0],
        "age_minutes": 30.0,
    }


def test_unmeasured_values_are_null():
    made = outcome()
    observed = moments.observed(made.estimate.state, without=["hall_power"])
    lost = np.array([0.1, np.nan])
    observed = observed.assign_coords(renewable=["solar_1", "wind_1"])
    observed["renewable_used_power"] = "renewable", lost
    picture = StatusView(moments.site())
    update(picture, made, observed)
    past = shown_by(picture)["past"]
    assert past["work_power"] == [None]
    assert past["renewable_power"] == [None]
    assert is_plain(shown_by(picture))


@pytest.mark.parametrize("without", [[], ["battery_1"], ["tank_1"], [*STORES]])
def test_site_without_stores_shows_none(without):
    site = moments.site()
    left = {name: machine for name, machine in site.equipment.items() if name not in without}
    bare = site.with_equipment(left)
    state = states.initial_state(bare, moments.start(), peak_power=3.0, grid_import_power=1.2)
    made = DecisionEngine(site=bare, solve_problem=fails).decide(moments.facts(state))
    picture = StatusView(bare)
    update(picture, made, moments.observed(state))
    shown = shown_by(picture)
    assert is_plain(shown)
    names = {name for store, name in STORES.items() if store not in without}
    for part in ("past", "plan"):
        assert set(STORES.values()) & set(shown[part]) == names, part
    capacities = {name.replace("level", "capacity") for name in names}
    assert shown["limits"].keys() == {"grid_import_power", "temperatures", *capacities}


def test_site_without_renewables_shows_no_renewable_power():
    made = outcome()
    assert shown_by(drawn())["past"]["renewable_power"] == [None]
    schedule = made.choice.schedule.drop_vars("renewable_used_power")
    bare = replace(made, choice=replace(made.choice, schedule=schedule))
    assert "renewable_power" not in shown_by(drawn(bare))["plan"]


def test_planned_import_is_that_of_the_last_quarter_hour():
    picture, made = drawn(), outcome()
    first = made.choice.schedule.isel(time=0)
    promised = float(first["grid_import_power"] - first["grid_export_power"])
    for quarters, planned in ((1, promised), (3, None), (3, None)):
        later = replace(made, time=made.time + quarters * QUARTER_HOUR)
        update(picture, later, moments.observed(made.estimate.state))
        shown = shown_by(picture)["past"]["planned_power"][-1]
        assert shown == (planned if planned is None else pytest.approx(planned, abs=1e-4))


def test_metered_mean_is_shown_with_the_planned_mean():
    """Proves: a plant turns to 2 MW from 5 MW and shows 3 MW, as published to partners.

    Sensitivity: the set point, by which every ramp seemed to violate the plan.
    """
    made, picture = outcome(), StatusView(moments.site())
    document = {"intervals": [{"scheduled_mw": 3.0, "p10_mw": 2.9, "p90_mw": 3.1}]}
    observed = moments.observed(made.estimate.state)
    update(picture, made, observed, document)
    update(picture, replace(made, time=made.time + QUARTER_HOUR), observed, document)
    assert shown_by(picture)["past"]["planned_power"][-1] == 3.0


def test_powers_of_the_past_are_means_of_the_quarter_hour():
    """Proves: the meter reads 2 MW at the end of a quarter-hour of 3 MW, and 3 MW are shown.

    Sensitivity: 2 MW, an instantaneous value, were drawn as the mean.
    """
    made, picture = outcome(), StatusView(moments.site())
    readings, means = (
        moments.observed(made.estimate.state, grid_import_power=power, grid_export_power=0.0)
        for power in (2.0, 3.0)
    )
    picture.add_decision(made, readings, means)
    assert shown_by(picture)["past"]["grid_power"] == [3.0]


def test_the_past_is_a_day_long():
    picture, made = StatusView(moments.site()), outcome()
    observed = moments.observed(made.estimate.state)
    for step in range(DISPLAYED_INTERVAL_COUNT + 5):
        update(picture, replace(made, time=made.time + step * QUARTER_HOUR), observed)
    past = shown_by(picture)["past"]
    assert len(past["time"]) == DISPLAYED_INTERVAL_COUNT
    assert past["time"][0] == "2026-06-16T01:15:00Z"
    assert {len(column) for name, column in past.items() if name != "temperatures"} == {
        DISPLAYED_INTERVAL_COUNT
    }


def test_jobs_are_counted_by_state():
    shown, made = shown_by(drawn())["jobs"], outcome()
    assert shown["running"] == len(made.orders.jobs)
    assert shown["running"] + shown["waiting"] == len(small_days.queue().jobs)
    assert sum(kind["running"] for kind in shown["kinds"]) == shown["running"]
    assert shown["late"] == 0
    late = replace(made.queue, instant=made.queue.instant + np.timedelta64(9, "D"))
    assert shown_by(drawn(replace(made, queue=late)))["jobs"]["late"] == len(late.jobs)


def decision_json(result, revision):
    return msgspec.to_builtins(decision_status(result, revision))


def test_a_decision_is_shown_with_its_source_and_reason():
    best, rule = decision_json(outcome(), 7), decision_json(fallen_back(), 8)
    assert (best["source"], best["reason"], best["revision"]) == (ScheduleSource.OPTIMUM, "", 7)
    assert best["cost_eur"] == pytest.approx(sum(best["accounts"].values()), abs=1e-3)
    assert (rule["source"], rule["reason"]) == ("rule", "the solver's process died")
    assert is_plain(best)
    assert is_plain(rule)


def test_decision_shows_scenarios_and_degraded_inputs():
    made = outcome()
    summary = FakeBoard().status().decision.hedge
    hedge = SimpleNamespace(as_json=lambda: msgspec.to_builtins(summary))
    why = replace(
        made.choice.decision.explanation,
        hedge=hedge,
        degradation_reason="not hedged",
        reserve_texts=(),
        limits_with_uncertain_dual=("racks for training",),
        extra_chiller_texts=("one more runs",),
    )
    decision = replace(made.choice.decision, explanation=why)
    shown = decision_json(replace(made, choice=replace(made.choice, decision=decision)), 7)
    assert shown["hedge"] == msgspec.to_builtins(summary)
    assert (shown["degraded"], shown["reserves"]) == ("not hedged", [])
    assert (shown["doubtful"], shown["units"]) == (["racks for training"], ["one more runs"])
    assert "hedge" not in decision_json(made, 7)


def test_a_hold_is_shown_in_utc():
    moment = float(
        (time_axes.to_utc("2026-06-16T08:00") - np.datetime64(0, "s")) / np.timedelta64(1, "s")
    )
    hold = Hold(number=3, author="Erika", reason="pumps", since=moment, until=moment + 90.4)
    assert msgspec.to_builtins(hold.as_status()) == {
        "number": 3,
        "author": "Erika",
        "reason": "pumps",
        "since": "2026-06-16T08:00:00Z",
        "until": "2026-06-16T08:01:30Z",
        "is_self_ending": False,
    }
    assert replace(hold, until=None).as_status().until is None


def test_failures_are_shown_with_their_minutes():
    shown = shown_by(drawn())["failures"]
    assert is_plain(shown)
    assert shown["exposed"] == []
    assert {"warm_plant", "chilled_plant/chiller_1"} <= {row["failure"] for row in shown["rows"]}
    assert len(shown["plan"]["minutes"]) == len(shown["plan"]["time"])
    worst = min(row["minutes"] for row in shown["rows"] if row["minutes"] is not None)
    assert shown["plan"]["minutes"][0] == pytest.approx(worst, abs=0.01)
    unjudged = replace(outcome().choice.verdict, contingency_coverage=None)
    assert failure_status(replace_choice(verdict=unjudged)) is None


def replace_choice(**changes):
    return replace(outcome(), choice=replace(outcome().choice, **changes))


def live(values, *, link=LinkState.CONNECTED, silence_s=None, **sensors):
    """Return the live values of a small site by name."""
    seen = outcome().estimate.state
    observed = moments.observed(seen, **sensors)
    ages = {f"{name}_age": observed[name] * 0.0 + 2.0 for name in observed.data_vars}
    observed = observed.assign(ages)
    now = moments.facts().queue.instant
    return {one.name: one for one in values.read(observed, now, link=link, silence_s=silence_s)}


def test_live_value_keeps_the_last_reading_of_a_silent_sensor():
    """Proves: a silent meter shows its last power as stale, other sensors are not concerned."""
    values = LiveValues(moments.site())
    power = live(values)["grid_power"]
    assert not power.is_stale
    assert power.value == pytest.approx(float(net_import(outcome().estimate.state)), abs=1e-4)
    silent = live(values, grid_import_power=np.nan)
    assert (silent["grid_power"].value, silent["grid_power"].is_stale) == (power.value, True)
    assert not silent["battery_level"].is_stale


def test_live_values_of_a_silent_plant_are_stale():
    """Proves: the clock of a simulated plant stands still with it, its values grow old."""
    found = live(LiveValues(moments.site()), link=LinkState.SILENT, silence_s=90.0)
    assert len(found) > 3
    for one in found.values():
        assert one.is_stale
        assert one.age_s >= 90.0
