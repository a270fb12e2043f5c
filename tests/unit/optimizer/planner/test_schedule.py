"""Schedules: labelled, in units, and the same power wherever one adds it up."""

import numpy as np
import pytest

from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from tests.support import small_days
from tests.support.hand import battery, grid, outlook, problem, site
from twin import variables
from twin.variables import net_import
from twin.workload.queue import RackPool


@pytest.fixture(scope="module")
def decision():
    return small_days.decision()


@pytest.fixture(scope="module")
def schedule(decision):
    return decision.schedule


def by_hand(**settings):
    """Return a plan of three hours at 30, 10 and 20 EUR: 4 racks have an hour's work to do."""
    jobs = [("batch", [0.0, 0.0, 4.0], [4.0, 4.0, 4.0], 4.0)]
    where = site(battery(), connection=grid(export_limit=5.0))
    ahead = outlook([30.0, 10.0, 20.0], service=2.0, jobs=jobs)
    return build_schedule(solve_problem(problem(where, ahead, **settings)))


def test_work_is_done_in_the_cheapest_hour():
    plan = by_hand()
    assert plan["work_racks"].sum(["cohort", "level"]).to_numpy() == pytest.approx([0.0, 4.0, 0.0])
    assert plan["work_power"][:, 0].to_numpy() == pytest.approx([0.0, 4.0, 0.0])
    # two racks of 1 MW serve all the time
    assert plan["hall_power"].sum("hall").to_numpy() == pytest.approx([2.0, 6.0, 2.0])


def test_battery_charges_cheaply_and_discharges_dearly():
    # an empty one of 1 MW: in at 10, out at 20 EUR
    plan = by_hand()
    assert plan["battery_charge"][:, 0].to_numpy() == pytest.approx([0.0, 1.0, 0.0])
    assert plan["battery_discharge"][:, 0].to_numpy() == pytest.approx([0.0, 0.0, 1.0])
    assert plan["battery_level"][:, 0].to_numpy() == pytest.approx([0.0, 0.0, 1.0, 0.0])
    assert plan["grid_import_power"].to_numpy() == pytest.approx([2.0, 7.0, 1.0])
    assert plan["facility_power"].to_numpy() == pytest.approx([2.0, 6.0, 2.0])


def test_costs_are_in_the_interval_of_payment():
    plan = by_hand()
    bought = plan["money"].sel(account="electricity").to_numpy()
    assert bought == pytest.approx([2 * 30.0, 7 * 10.0, 1 * 20.0])


def test_replay_by_the_twin_meets_the_promise(decision, schedule):
    replay = decision.verdict.replay
    assert float(np.abs(net_import(replay) - net_import(schedule)).max()) < 0.01 * 4.7
    for name in ("battery_level", "tank_level"):
        np.testing.assert_allclose(replay[name], schedule[name], atol=0.02)
    error = replay["facility_power"] - schedule["facility_power"]
    assert float(abs(error).max()) < 0.02


def test_hall_power_is_idle_service_and_work(schedule):
    pool = RackPool.from_site(small_days.problem().site)
    idle = pool.racks * pool.rack_idle_power
    serving = schedule["service_racks"] * float(pool.power_above_idle(1.0))
    total = idle + serving + schedule["work_power"].sum("cohort")
    np.testing.assert_allclose(schedule["hall_power"].sum("hall"), total)


def test_capped_racks_draw_the_power_of_the_work(schedule):
    pool = RackPool.from_site(small_days.problem().site)
    each = pool.rack_power * schedule["level_power"] - pool.rack_idle_power
    drawn = (schedule["work_racks"] * each).sum("level")
    np.testing.assert_allclose(drawn, schedule["work_power"], atol=1e-9)


def test_power_balances_at_the_bus(schedule):
    net = schedule["grid_import_power"] - schedule["grid_export_power"]
    own = schedule["renewable_used_power"].sum("renewable")
    stored = (schedule["battery_discharge"] - schedule["battery_charge"]).sum("battery")
    np.testing.assert_allclose(schedule["facility_power"], net + own + stored)
    assert (
        float(np.minimum(schedule["grid_import_power"], schedule["grid_export_power"]).max()) == 0.0
    )


def test_accounts_sum_to_the_objective():
    solution = solve_problem(small_days.problem())
    plan = build_schedule(solution)
    penalties = sum(money.sum() for money in solution.penalties.values())
    assert float(plan["money"].sum()) + penalties == pytest.approx(solution.objective)
    assert set(plan["account"].to_numpy()) == set(solution.accounts) - {"ramp", "return"}


def test_variables_have_units_and_axes_have_labels(schedule):
    variables.check_variables(schedule, *map(str, schedule.data_vars))
    assert {"time", "instant", "duration", "hall", "cohort", "kind"} <= set(schedule.coords)
    np.testing.assert_array_equal(schedule["instant"][:-1], schedule["time"])
    assert list(schedule["hall"].to_numpy()) == ["hall_1", "hall_2"]


def test_no_power_is_negative(schedule):
    powers = [name for name, array in schedule.data_vars.items() if array.attrs["units"] == "MW"]
    assert powers
    for name in powers:
        assert (schedule[name] >= 0.0).all(), name
