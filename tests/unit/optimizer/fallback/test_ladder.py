"""The fallback ladder: each step states its reason and is verified like the optimum."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.fallback.ladder import NOTHING_TO_SHED, ScheduleSource, plan_by_rule
from optimizer.planner.planner import decide
from tests.support.fallback_cases import (
    RUNNING,
    chosen,
    fails,
    is_safe,
    next_question,
    optimum,
    question,
)
from tests.support.invalid_schedules import FORM, PHYSICS
from tests.support.strict_site import strict
from twin import time_axes
from twin.errors import NoScheduleError
from twin.simulation.setpoints import SUPPLY_SET_POINT_VARIABLE
from twin.site_settings import SetPointRules
from twin.time_axes import QUARTER_HOUR
from twin.workload.queue import RackPool


def finds_nothing(*_):
    raise NoScheduleError("the peak is too low")


def solver_with_defect(spoil):
    """Return a solver whose schedule is invalid, though its verdict says it is safe."""
    return lambda *_: replace(optimum(), schedule=spoil(copy(optimum().schedule)))


def copy(schedule):
    return schedule.copy(deep=True)


def test_optimum_is_chosen_without_a_reason():
    choice = chosen(question(), lambda *_: optimum())
    assert (choice.source, choice.reason) == (ScheduleSource.OPTIMUM, "")
    assert choice.decision is optimum()
    assert choice.schedule is optimum().schedule
    assert is_safe(question(), choice)


@pytest.mark.parametrize("solver", [fails, finds_nothing])
def test_without_an_optimum_the_last_plan_is_continued(solver):
    choice = chosen(next_question(), solver, optimum())
    assert choice.source is ScheduleSource.SHIFTED
    assert choice.reason in {"the solver's process died", "the peak is too low"}
    assert (
        choice.decision.explanation.degradation_reason
        == "the plan of 2026-06-16T00:00Z stays in force"
    )
    assert is_safe(next_question(), choice)


def test_continued_plan_starts_from_the_present_state():
    """The tank level differs from the plan: import and levels follow."""
    problem = next_question()
    state = problem.state.copy(deep=True)
    state["tank_level"] = state["tank_level"] + 0.1
    problem = replace(problem, state=state)
    choice = chosen(problem, fails, optimum())
    assert choice.source is ScheduleSource.SHIFTED
    assert float(choice.schedule["tank_level"][0, 0]) == float(state["tank_level"][0])
    assert choice.schedule["instant"].to_numpy()[0] == problem.state["instant"].to_numpy()
    assert is_safe(problem, choice)


def test_continued_set_points_start_from_cooler_water():
    """Proves: water planned at 38 degC that is at 36 is set to 37.5 first, by its ramp limit.

    Sensitivity: the plan was refused for a step of 2 K, and a rule followed, which knows neither
    prices nor work.
    """
    rules = SetPointRules(choice="cheapest")
    site = question().site.model_copy(update={"set_points": rules})
    last = decide(replace(question(), site=site))
    problem = replace(next_question(), site=site)
    state = problem.state.copy(deep=True)
    before = last.schedule[SUPPLY_SET_POINT_VARIABLE].sel(circuit="warm_plant").to_numpy()[1:]
    state["facility_supply_temperature"].loc[{"circuit": "warm_plant"}] = before[0] - 2.0
    problem = replace(problem, state=state)
    choice = chosen(problem, fails, last)
    assert choice.source is ScheduleSource.SHIFTED
    set_points = choice.schedule[SUPPLY_SET_POINT_VARIABLE].sel(circuit="warm_plant").to_numpy()
    np.testing.assert_allclose(set_points[:2], [before[0] - 0.5, before[1]])
    assert is_safe(problem, choice)


def changed(problem, **factors):
    """Return a problem with a changed outlook."""
    outlook = problem.outlook.copy(deep=True)
    for name, factor in factors.items():
        outlook[name] = (outlook[name] * factor).assign_attrs(outlook[name].attrs)
    return replace(problem, outlook=outlook)


def test_continued_plan_is_verified_with_the_new_outlook():
    """Racks are free in expensive hours; at night work yields to the service."""
    problem = changed(
        next_question(), service_racks=1.1, air_temperature=1.2, renewable_available_power=0.5
    )
    choice = chosen(problem, fails, optimum())
    assert choice.source is ScheduleSource.SHIFTED
    assert is_safe(problem, choice)
    near = slice(None, 23)  # quarter-hours in both plans
    for name in ("service_racks", "air_temperature", "electricity_price"):
        now, scheduled = problem.outlook[name], choice.schedule[name]
        assert scheduled[near].to_numpy() == pytest.approx(now[near].to_numpy()), name
    used, given = (
        choice.schedule[f"renewable_{word}_power"].transpose("time", "renewable").to_numpy()
        for word in ("used", "available")
    )
    assert (used <= given + 1e-9).all()
    old = optimum().schedule.sel(time=choice.schedule["time"])
    before, after = (plan["work_racks"].sum(["cohort", "level"]) for plan in (old, choice.schedule))
    racks = problem.site.rack_count - choice.schedule["service_racks"]
    assert after.to_numpy() == pytest.approx(np.minimum(before, racks).to_numpy())
    assert (before > racks).any()
    assert (before < racks).any()


@pytest.mark.slow
def test_plan_that_a_heat_wave_forbids_is_not_continued():
    hot = changed(next_question(), air_temperature=2.4)
    try:
        choice = chosen(hot, fails, optimum(), power=0.0)
    except NoScheduleError:
        return
    assert choice.source is not ScheduleSource.SHIFTED
    assert is_safe(hot, choice)


@pytest.mark.parametrize(
    "spoil",
    [*PHYSICS, *(pytest.param(one, marks=pytest.mark.slow) for one in FORM)],
    ids=lambda spoil: spoil.__name__,
)
def test_false_verdict_of_the_solver_is_detected(spoil):
    choice = chosen(question(), solver_with_defect(spoil))
    assert choice.source is ScheduleSource.RULE
    assert "the twin refuses the schedule" in choice.reason
    assert is_safe(question(), choice)


MALFORMED = {
    "empty": lambda schedule: schedule.drop_vars(schedule.data_vars),
    "no time": lambda schedule: schedule.isel(time=slice(0), instant=slice(1)),
    "no halls": lambda schedule: schedule.isel(hall=slice(0)),
    "no hall": lambda schedule: schedule.assign(hall_power=schedule["hall_power"].isel(hall=0)),
    "no cohort": lambda schedule: schedule.isel(cohort=0),
    "no sun": lambda schedule: schedule.isel(renewable=slice(0)),
    "no numbers": lambda schedule: schedule.astype(str),
    "many connections": lambda schedule: schedule.assign(
        grid_import_power=schedule["grid_import_power"].expand_dims(grid=2)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("spoil", MALFORMED.values(), ids=MALFORMED)
def test_malformed_schedule_does_not_stop_the_service(spoil):
    choice = chosen(question(), solver_with_defect(spoil))
    assert choice.source is ScheduleSource.RULE
    assert "the twin" in choice.reason


def test_schedule_of_another_problem_is_refused():
    choice = chosen(next_question(), lambda *_: optimum())
    assert choice.source is ScheduleSource.RULE
    assert "the moment of the state" in choice.reason


def test_rule_plans_without_an_earlier_plan():
    choice = chosen(question(), fails)
    assert (choice.source, choice.reason) == (ScheduleSource.RULE, "the solver's process died")
    assert choice.decision is None
    assert is_safe(question(), choice)


def shifted(schedule, gap):
    return schedule.assign_coords(time=schedule["time"] + gap, instant=schedule["instant"] + gap)


@pytest.mark.parametrize(
    ("hours", "source"), [(12, ScheduleSource.SHIFTED), (11, ScheduleSource.RULE)]
)
def test_plan_that_ends_soon_is_not_continued(hours, source):
    schedule = time_axes.first_hours(optimum().schedule, hours)
    choice = chosen(question(), fails, replace(optimum(), schedule=schedule))
    assert choice.source is source


@pytest.mark.parametrize("gap", [QUARTER_HOUR, -QUARTER_HOUR // 3])
def test_plan_with_other_interval_starts_is_not_continued(gap):
    last = replace(optimum(), schedule=shifted(optimum().schedule, gap))
    assert chosen(question(), fails, last).source is ScheduleSource.RULE


@pytest.mark.slow
def test_infeasibility_is_reported_with_its_limits():
    problem = question()
    grid = problem.site.grid_connection.name
    empty = problem.state.assign(battery_level=0.0 * problem.state["battery_level"] + 0.32)
    none = replace(problem, site=problem.site.with_parameters(grid, import_limit=0.4), state=empty)
    choice = chosen(none, fails, optimum(), power=0.0)
    assert [one.limit for one in choice.verdict.violations] == ["grid_import_power"]
    assert choice.reason.splitlines()[-1] == NOTHING_TO_SHED
    with pytest.raises(NoScheduleError, match="the twin refuses the schedule"):
        plan_by_rule(none, 0.0, source=ScheduleSource.HOLD, reason="held")


def test_inputs_are_not_modified():
    problem, last = next_question(), optimum()
    outlook, schedule = copy(problem.outlook), copy(last.schedule)
    chosen(problem, fails, last)
    plan_by_rule(problem, RUNNING, source=ScheduleSource.RULE, reason="")
    assert problem.outlook.identical(outlook)
    assert last.schedule.identical(schedule)


def test_plan_with_committed_chillers_is_continued():
    """Proves: orders stay orders. Sensitivity: actual units replaced them and failed the check."""
    problem = replace(question(), site=strict(question().site))
    decided = decide(problem)
    choice = chosen(problem, fails, decided)
    word = "cooling_plant_units_on"
    assert choice.source is ScheduleSource.SHIFTED
    assert choice.schedule[word].equals(decided.schedule[word])


def hot_from(hours, problem=None):
    """Return a problem in which no dry cooler works after some hours."""
    problem = problem or question()
    outlook = problem.outlook.copy(deep=True)
    hot = outlook["time"] >= outlook["time"][0] + np.timedelta64(round(60 * hours), "m")
    for word, value in (("air_temperature", 48.0), ("relative_humidity", 0.4)):
        outlook[word] = outlook[word].where(~hot, value).assign_attrs(outlook[word].attrs)
    return replace(problem, outlook=outlook)


@pytest.mark.slow
@pytest.mark.parametrize(("hours", "planned"), [(3.0, 3.0), (20.0, 20.0), (100.0, 48.0)])
def test_plan_remains_until_coming_heat(hours, planned):
    """Proves: an optimum until the first unsafe hour, or over the two verified days.

    Sensitivity: no plan today because of heat tomorrow; a rule for later heat.
    """
    choice = chosen(hot_from(hours), lambda problem, _: decide(problem))
    assert choice.source is ScheduleSource.OPTIMUM
    assert choice.reason.startswith("planned until 2026-06-1")
    assert "only: small, 2026-06-16T00:00Z, 168 h: no schedule keeps every limit" in choice.reason
    assert "warm_plant (at most 0 MW)" in choice.reason
    assert float(choice.schedule["duration"].sum()) == planned
    assert choice.schedule["work_power"].sum() > 0.0


def test_no_stored_energy_is_sold_before_coming_heat():
    """Proves: three hours before the heat battery and tank are fuller than now."""
    choice = chosen(hot_from(3.0), lambda problem, _: decide(problem))
    for name in ("battery_level", "tank_level"):
        level = choice.schedule[name].to_numpy().ravel()
        assert level[-1] > level[0]


@pytest.mark.slow
@pytest.mark.parametrize("source", [ScheduleSource.RULE, ScheduleSource.HOLD])
def test_rule_plans_until_coming_heat(source):
    choice = plan_by_rule(hot_from(20.0), RUNNING, source=source, reason="pumps")
    assert choice.source is source
    assert choice.reason.startswith("pumps\nplanned until 2026-06-16T20:00Z only: small: the twin")
    assert float(choice.schedule["duration"].sum()) == 20.0


@pytest.mark.slow
def test_heat_within_the_hour_stops_work_without_a_plan():
    """Proves: the water warms less without work, as reported; nothing else is planned.

    Sensitivity: the last caps stood, and work heated halls beyond the cooling.
    """
    choice = chosen(hot_from(0.75), lambda problem, _: decide(problem))
    pool, schedule = RackPool.from_site(question().site), choice.schedule
    rests = pool.racks * pool.rack_idle_power + schedule["service_racks"] * pool.power_above_idle(
        1.0
    )
    assert schedule["hall_power"].sum("hall").to_numpy() == pytest.approx(rests.to_numpy())
    violations = "\n".join(map(str, choice.verdict.violations))
    assert "facility_supply_temperature of warm_plant: " in violations
    words = choice.reason.splitlines()[-1]
    assert words.startswith("all movable work is stopped and caps are lowered: ")
    assert "facility_supply_temperature of warm_plant is violated by " in words


@pytest.mark.slow
def test_stopped_work_remains_stopped():
    """Sensitivity: caps of the first quarter-hour stayed below later inference work."""
    choice = chosen(hot_from(0.75), fails, power=0.0)
    assert "facility_supply_temperature of warm_plant: " in choice.reason
    assert choice.reason.splitlines()[-1] == NOTHING_TO_SHED


@pytest.mark.slow
def test_hold_stops_no_work():
    with pytest.raises(NoScheduleError, match="facility_supply_temperature of warm_plant"):
        plan_by_rule(hot_from(0.75), RUNNING, source=ScheduleSource.HOLD, reason="pumps")
