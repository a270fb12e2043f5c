"""Quarter-hours, then hours: each interval is weighted by its length and reported by its time."""

import numpy as np
import pytest

from optimizer.diagnostics.binding_limits import binding_limits, soft_constraint_report
from optimizer.diagnostics.sensitivity import limit_values
from optimizer.model.model_data import build_model_data
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from tests.laws.test_tariffs import MOVABLE, REST, under
from tests.support.hand import (
    START,
    battery,
    cut,
    grid,
    machine,
    outlook,
    problem,
    site,
    solved,
    units,
)
from twin import variables
from twin.markets.contracts import CarbonBudget, LoadTargetContract

POWERS = [("first", "9 MW"), ("rest", "1 MW")]

DEAR = {"name": "dear", "price": "40 EUR/MWh", "periods": ["first"]}


def classes(hours):
    """Return the rules of a tariff of 40 EUR/MWh in some hours."""
    return {"periods": [{"name": "first", "hours": [hours]}, REST], "energy": [DEAR]}


def minute(number):
    return START + np.timedelta64(number, "m")


def test_terminal_value_is_independent_of_intervals():
    """Proves: 40 EUR in one hour of four are 10 a MWh: 60 with 50, in hours and in quarter-hours.

    Sensitivity: 72.9 where the four quarter-hours of the first count as four hours.
    """
    where = under(**classes("0-1"))
    whole = outlook([10.0] * 4, service=2.0, terminal=50.0)
    parts = cut(outlook([10.0] * 7, service=2.0, terminal=50.0), [15] * 4 + [60] * 3)
    for ahead in (whole, parts):
        assert build_model_data(problem(where, ahead)).terminal_value["grid"] == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("hours", "cost"), [("0:30-1", 60.0), ("1:45-2", 40.0), ("0:45-1:15", 80.0)]
)
def test_class_within_an_hour_counts_in_its_price(hours, cost):
    """Proves: hours at 10 and 15 EUR and 4 MWh in either of them.

    Half of the first hour at 40: 30 a MWh there, so 4 x 15. A quarter of the second: 4 x 10. A
    quarter of each: 4 x (10 + 10).
    """
    plan = solved(under(**classes(hours)), outlook([10.0, 15.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(cost)


@pytest.mark.parametrize(("hours", "cost"), [("0:30-1", 80.0), ("1:45-2", 40.0)])
def test_window_within_an_hour_counts_its_import(hours, cost):
    """Proves: 60 EUR/MW, hours at 10 and 20 EUR, 4 MWh in either: none in the hour that counts.

    Sensitivity: 40 and 40 + 0 where an hour counts by its first quarter only: then 0:30 is free.
    """
    windows = [{"hours": [hours]}]
    rules = {"peaks": [{"name": "power", "price": "60 EUR/MW", "windows": windows}]}
    plan = solved(under(**rules), outlook([10.0, 20.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(cost)


def test_smallest_contract_within_an_hour_binds():
    """Proves: 1 MW from a quarter past on, 9 before: beyond 1 MW of the hour it is 100 EUR/MW."""
    first = {"name": "first", "hours": ["0-0:15"]}
    terms = {"price": "0 EUR/MW", "excess_price": "100 EUR/MW"}
    contracted = [terms | {"period": name, "power": power} for name, power in POWERS]
    where = under(excess="greatest", periods=[first, REST], contracted=contracted)
    plan = solved(where, outlook([10.0], service=4.0))
    assert plan.objective == pytest.approx(40.0 + 300.0)


def test_ramp_is_reported_at_the_interval_it_enters():
    """Proves: the ramp binds between quarter-hours only, from the third to the fourth.

    Ramps of 0.9 MW/min allow 8.1 MW into a quarter-hour and 32 into an hour; the 10 MW of service
    that begin with the third quarter-hour break it by 1.9.
    """
    service = [0.0, 0.0, 10.0, 10.0, 10.0, 10.0]
    ahead = cut(outlook([50.0] * 6, service=service), [15] * 4 + [60] * 2)
    plan = solve_problem(problem(site(connection=grid(import_limit=30.0, ramp=0.9)), ahead))
    (broken,) = soft_constraint_report(plan)
    assert (broken.first_interval, broken.last_interval) == (minute(30), minute(30))
    assert broken.excess == pytest.approx(1.9)
    limits = binding_limits(plan, build_schedule(plan))  # its penalty is the price of no limit
    assert [one for one in limits if one.limit.startswith("ramp")] == []


def test_daily_budget_is_reported_for_its_whole_day():
    """Proves: the budget of the first day of two binds, not that of the last two hours."""
    least = np.where(np.arange(48) < 24, 100.0 * (np.arange(48) >= 23), 100.0)
    jobs = [("batch", least, np.full(48, 100.0), 10.0)]
    budget = CarbonBudget.model_construct(
        name="budget", amount=8760 * 200.0, price=50.0, window="day"
    )
    plan = solve_problem(problem(site(budget), outlook([50.0] * 48, carbon=100.0, jobs=jobs)))
    (limit,) = (one for one in binding_limits(plan, build_schedule(plan)) if "budget" in one.limit)
    assert limit.first_interval == START
    assert limit.interval_count % 24 == 0


@pytest.mark.parametrize("minutes", [[60] * 4, [15] * 4])
def test_value_of_a_target_is_the_saving_of_a_megawatt(minutes):
    """Proves: 5 MW of service above a target of 3 at 100 EUR/MWh: 100 EUR an hour for a MW more."""
    target = LoadTargetContract.model_construct(
        name="partner",
        up_price=100.0,
        effect="priced",
        least=0.0,
        best_effort_price=None,
        partner="",
    )
    ahead = cut(outlook([10.0] * 4, service=5.0), minutes)
    ahead["grid_import_target"] = ("time", "contract"), np.full((4, 1), 3.0)
    ahead["grid_import_target_price"] = ("time", "contract"), np.full((4, 1), 100.0)
    ahead = variables.tag_dataset(ahead.assign_coords(contract=["partner"]))
    solution = solve_problem(problem(site(target), ahead))
    found = limit_values(solution, build_schedule(solution))
    (limit,) = (one for one in found if "target" in one.limit)
    assert limit.unit == "MW"
    assert limit.marginal_value == pytest.approx(100.0 * sum(minutes) / 60.0)
    assert limit.binding_hours == pytest.approx(sum(minutes) / 60.0)


def test_unit_history_follows_the_clock():
    """Proves: started at 01:00 for two hours at least, a unit is on in the hour from 02:00."""
    rules = units(2, most=5.0, min_up_time=2.0, spare_draw=1.0, start_cost=1.0)
    cooler = machine("cooler", "air", draws={"medium_voltage": lambda q: 0.0 * q}, units=rules)
    where = site(cooler=cooler)
    first = cut(outlook([50.0] * 12, service=[0.0] * 4 + [6.0] * 8), [15] * 12)
    plan = solve_problem(problem(where, first, past_units={"cooler": np.zeros(8)}))
    later = outlook([50.0] * 4)
    times = {name: later[name] + np.timedelta64(2, "h") for name in ("time", "instant")}
    later_problem = problem(where, later.assign_coords(times))
    assert solve_problem(later_problem, plan.warm_start).values["cooler.on"].tolist() == [
        2.0,
        0.0,
        0.0,
        0.0,
    ]


def test_undone_work_keeps_its_value_at_full_service():
    """Proves: 10 MWh of batch are done at 20 EUR, since later they would cost 100.

    With all racks in service in the last hour, there is one load only and no slope.
    """
    jobs = [("batch", np.zeros(3), np.full(3, 10.0), 10.0)]
    for last in (9.0, 10.0):
        ahead = outlook([20.0] * 3, service=[0.0, 0.0, last], jobs=jobs, terminal=100.0)
        done = solved(site(), ahead).values["work.racks"].sum()
        assert done == pytest.approx(10.0)


def test_money_weight_scales_wear_and_terminal_value():
    """Proves: ten times the weight of money, ten times the objective, and the same plan."""
    ahead = outlook([70.0] * 4, terminal=100.0)
    where = site(battery(capacity=4.0, efficiency=0.9, wear_price=20.0))
    once, tenfold = (solved(where, ahead, money=money) for money in (1.0, 10.0))
    assert tenfold.objective == pytest.approx(10.0 * once.objective, abs=1e-6)
    assert tenfold.values["battery.level"] == pytest.approx(once.values["battery.level"])


def test_free_cooling_needs_no_units():
    """Proves: 2 MW of service for two hours at 50 EUR, cooled by what needs no unit, cost 200."""
    rules = units(2, free=5.0, most=5.0, spare_draw=0.5, start_cost=1e-6)
    cooler = machine("cooler", "air", draws={"medium_voltage": lambda q: 0.0 * q}, units=rules)
    ahead = outlook([50.0] * 2, service=2.0, jobs=())
    where = site(cooler=cooler, connection=grid(import_limit=4.0))
    plan = solved(where, ahead)
    assert plan.values["cooler.on"] == pytest.approx([0.0, 0.0])
    assert plan.objective == pytest.approx(200.0)
