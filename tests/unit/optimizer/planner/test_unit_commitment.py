"""Unit commitment of chillers in the whole decision of a site."""

from dataclasses import replace

import numpy as np
import pytest

import optimizer.solver.mip as room
from optimizer.planner.planner import decide, solve_problem
from optimizer.planner.schedule import build_schedule
from optimizer.solver.mip import MIP_GAP
from optimizer.verification.verifier import verify
from tests.support import small_days
from tests.support.strict_site import PLANT, strict
from twin.errors import SolverError
from twin.time_axes import QUARTER_HOUR
from twin.weather import Weather

RULES = {"minimum_up": 1.0, "minimum_down": 0.5, "restart": 2.0, "start_cost": 5.0}


def ruled(problem, **rules):
    """Return a problem whose chillers have commitment rules."""
    known = {PLANT: np.zeros(4)}  # none was on for an hour
    return replace(problem, site=strict(problem.site, **rules), past_units=known)


@pytest.fixture(scope="module")
def plain():
    """Return the small site's problem of a night that becomes hot."""
    problem = small_days.problem(8)
    ahead = problem.outlook.copy(deep=True)
    ahead["air_temperature"].values[:] += np.linspace(0.0, 20.0, 32)
    return replace(problem, outlook=ahead)


@pytest.fixture(scope="module")
def committed(plain):
    return ruled(plain, **RULES)


@pytest.fixture(scope="module")
def decision(committed):
    return decide(committed)


def test_no_commitment_without_rules(plain):
    (convert,) = (c for c in plain.site.conversions if c.owner == PLANT)
    assert convert.switchable_units is None
    assert "cooling_plant_units_on" not in build_schedule(solve_problem(plain))


def test_units_are_whole_and_keep_minimum_times(decision):
    on = decision.schedule["cooling_plant_units_on"].sel(cooling_plant=PLANT).to_numpy()
    assert decision.verdict.is_safe
    assert (on == np.round(on)).all()
    assert on.max() >= 1.0
    # on full hours only, but for the first interval
    changed = np.flatnonzero(np.diff(on)) + 1
    assert (decision.schedule["time"].dt.minute.to_numpy()[changed] == 0).all()
    starts = np.flatnonzero(np.diff(on, prepend=0.0) > 0)
    assert len(starts)
    for begin in starts:
        assert (on[begin : begin + 4] >= on[begin]).all()  # an hour at least


def test_replay_runs_planned_units_and_more_where_needed(committed, decision):
    """Proves: the replay runs the planned units, and one where none is planned but one is needed.

    That is said with the first interval and their number, and is no reason to refuse: what it
    draws stands in the replay, and the promise holds within its tolerance.
    """
    word, schedule = "cooling_plant_units_on", decision.schedule
    planned = schedule[word].sel(cooling_plant=PLANT).to_numpy()
    ran = decision.verdict.replay[word].sel(circuit=PLANT).to_numpy()
    assert (ran >= planned).all()
    assert decision.verdict.banks_with_extra_units == ()
    assert decision.explanation.as_json()["units"] == []
    none = schedule.assign({word: schedule[word] * 0.0})
    none[word].attrs = schedule[word].attrs
    verdict = verify(committed.site, committed.state, none)
    needed = verdict.replay[word].sel(circuit=PLANT).to_numpy() > 0.0
    assert needed.any()
    assert verdict.is_safe
    (called,) = verdict.banks_with_extra_units
    assert (called.violated_interval_count, called.excess) == (needed.sum(), 1.0)
    assert called.time == schedule["time"].to_numpy()[needed][0]
    assert str(called).startswith(f"more chillers of {PLANT} run than planned: ")


def test_chillers_switched_too_soon_are_refused(committed, decision):
    """Proves: one of two is switched every quarter-hour, but must stay off for half an hour.

    Sensitivity: such a plan passed. Two that keep running break no limit.
    """
    word = "cooling_plant_units_on"
    turns = 1.0 + np.arange(decision.schedule.sizes["time"]) % 2

    def limits_broken(times):
        damaged = decision.schedule.copy(deep=True)
        damaged[word].values[:, 0] = times
        breaches = verify(committed.site, committed.state, damaged).violations
        return {breach.limit: breach.time for breach in breaches}

    time = decision.schedule["time"].to_numpy()
    assert limits_broken(turns)[f"units of {PLANT} are switched too soon"] == time[3]
    assert limits_broken(np.full(len(turns), 2.0)) == {}


def test_replayed_units_in_a_schedule_are_refused(committed, decision):
    """Proves: units of a replay are refused by name. Sensitivity: a KeyError."""
    word = "cooling_plant_units_on"
    damaged = decision.schedule.drop_vars(word).assign({word: decision.verdict.replay[word]})
    assert any(word in b.limit for b in verify(committed.site, committed.state, damaged).violations)


def test_units_cover_the_planned_output(committed):
    """Proves: output is at most what needs no unit plus the capacity of running units."""
    plan = solve_problem(committed)
    (convert,) = (c for c in committed.site.conversions if c.owner == PLANT)
    running = convert.switchable_units.characteristics(Weather.from_dataset(committed.outlook))
    output = plan.data.curves[PLANT].min_output + plan.values[f"{PLANT}.segment"].sum(axis=1)
    on = plan.values[f"{PLANT}.on"]
    assert (output <= running.economiser_output + running.max_output * on + 1e-6).all()
    assert plan.values[f"{PLANT}.missing_units"] == pytest.approx(
        np.maximum((output - running.economiser_output) / running.optimal_output - on, 0.0),
        abs=1e-6,
    )


@pytest.mark.slow
def test_commitment_rules_never_save(plain, committed):
    assert solve_problem(committed).objective >= solve_problem(plain).objective - 1e-6
    stricter = ruled(plain, **RULES | {"start_cost": 500.0})
    assert solve_problem(stricter).objective >= solve_problem(committed).objective * (1.0 - 1e-3)


def test_unit_count_equals_that_of_the_plant(plain):
    """Proves: the largest number of units is that of the plant itself."""
    plant = plain.site.equipment[PLANT]
    weather = Weather.from_dataset(plain.outlook)
    ruled_plant = ruled(plain, **RULES).site.equipment[PLANT]
    (convert,) = ruled_plant.relations()
    running, most = convert.switchable_units.characteristics(weather), plant.max_output(weather)
    on = plant.operate(most, weather).details["cooling_plant_units_on"]
    called = (most - running.economiser_output) / running.optimal_output
    assert called[on > 0] == pytest.approx(on[on > 0])
    assert (
        running.economiser_output + running.max_output * plant.chillers.count >= most - 1e-9
    ).all()
    assert (running.extra_power_one_unit_more > 0.0).all()


def test_no_search_when_last_units_are_within_the_gap(committed, decision, monkeypatch):
    """Proves: units of the last plan, or rounded ones, within the gap need no search."""
    calls = []
    searched = room.solve_mip

    def counted(*given, **settings):
        calls.append(1)
        return searched(*given, **settings)

    monkeypatch.setattr(room, "solve_mip", counted)
    decide(committed, previous=decision)
    ahead = committed.outlook.copy(deep=True)
    ahead["air_temperature"].values[:] -= 25.0
    later = decide(replace(committed, outlook=ahead), previous=decision)
    assert calls == []  # no search would leave less than the last ones, or rounded ones, cost
    units = "cooling_plant_units_on"
    assert later.schedule[units].sum() < decision.schedule[units].sum()


def test_units_outside_the_gap_are_searched(committed, monkeypatch):
    """Proves: rounded units cost at most the gap more than searched ones, and never less."""
    rounded = solve_problem(committed).objective
    monkeypatch.setattr(room, "MIP_GAP", 0.0)
    sought = solve_problem(committed).objective
    assert sought <= rounded * (1.0 + 1e-9)
    assert rounded - sought <= MIP_GAP * abs(sought)


def lost(*_, **__):
    raise SolverError("the solver ended with: Time limit reached")


@pytest.mark.parametrize("search", [lost, lambda *_, **__: None])
def test_failed_search_keeps_the_rounded_plan(committed, monkeypatch, search):
    """Proves: rounded units are a plan, also when a search fails or finds none.

    Sensitivity: the decision failed, and the fallback ladder took over.
    """
    sought = solve_problem(committed).objective
    monkeypatch.setattr(room, "MIP_GAP", 0.0)
    monkeypatch.setattr(room, "solve_mip", search)
    assert sought <= solve_problem(committed).objective <= 1.01 * sought


def test_plan_of_another_site_can_be_a_start(plain, decision):
    """Proves: past units are ignored at a site without rules or with fewer units."""
    again = decide(plain, previous=decision)
    assert "cooling_plant_units_on" not in again.schedule
    warm = replace(decision.warm_start, past_units_on={PLANT: np.array([4.0, 1.0])})
    fewer = warm.limited_to({PLANT: 2, "other": 1})
    assert fewer.past_units_on[PLANT].tolist() == [2.0, 1.0]
    assert fewer.units_on[PLANT].max() <= 2.0
    assert warm.limited_to({}).units_on == warm.limited_to({}).past_units_on == {}


def test_past_units_are_kept_between_decisions(decision):
    """Proves: after an hour the next decision knows the units of that hour, and of those before."""
    warm = replace(decision.warm_start, past_units_on={PLANT: np.array([2.0, 1.0])})
    on = decision.warm_start.units_on[PLANT]
    now = decision.start + np.timedelta64(60, "m")
    assert warm.past_units_until(now, QUARTER_HOUR)[PLANT].tolist() == [2.0, 1.0, *np.round(on[:4])]
    assert warm.past_units_until(decision.start, QUARTER_HOUR)[PLANT].tolist() == [2.0, 1.0]
    assert warm.past_units_until(decision.start + np.timedelta64(2, "D"), QUARTER_HOUR) == {}


def test_more_units_than_exist_are_refused(committed, decision):
    """Proves: a plan of 99 of 2 chillers is refused. Sensitivity: both ran."""
    damaged = decision.schedule.copy(deep=True)
    damaged["cooling_plant_units_on"].values[3] = 99.0
    verdict = verify(committed.site, committed.state, damaged)
    assert [breach.limit for breach in verdict.violations] == [f"units of {PLANT} beyond its bank"]
