"""Units: starts, stops, minimum times and integers, against known answers."""

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.planner.planner import solve_problem
from tests.support.hand import (
    BENT,
    battery,
    cut,
    grid,
    kind,
    machine,
    outlook,
    problem,
    site,
    solved,
    source,
    through,
    units,
    unlabelled,
)
from twin.equipment import ITHall
from twin.errors import NoScheduleError

LOADS = [4000.0, 6000.0, 5000.0, 800.0]


def plant(name, price, *, limit=10_000.0, **rules):
    """Return a plant that uses water of 1 EUR/m3 in proportion to its price."""
    bank = units(most=limit, **rules)
    draws = {"water": lambda q: price * q}
    return machine(name, "medium_voltage", draws=draws, limit=limit, units=bank)


def run(coal, gas, loads=LOADS, *, coal_before, gas_before):
    hall = ITHall.model_construct(
        name="hall", racks=10, rack_power=1000.0, rack_idle_power=0.0, liquid_share=0.0
    )
    feeder = machine("feeder", "rack", draws={"medium_voltage": lambda q: q}, limit=1e5)
    cooler = machine("cooler", "air", draws={"medium_voltage": lambda q: 0.0 * q}, limit=1e5)
    ahead = outlook([0.0] * len(loads), service=np.array(loads) / 1000.0)
    past = {"coal": np.array([coal_before]), "gas": np.array([gas_before])}
    replaced = {"hall": hall, "feeder": feeder, "cooler": cooler, "line": coal}
    where = site(gas, connection=grid(import_limit=0.0), **replaced)
    return solved(where, ahead, past_units=past, water=1.0)


def test_start_is_paid_where_it_saves():
    """Proves: coal starts (3000) for three hours at 20, gas carries 800 MW at 70: 359000.

    Sensitivity: 356000 if the start were free, 316000 if coal could run below its least.
    """
    coal = plant("coal", 20.0, least=1000.0, start_cost=3000.0)
    plan = run(coal, plant("gas", 70.0, start_cost=1000.0), coal_before=0.0, gas_before=1.0)
    assert plan.objective == pytest.approx(359_000.0, rel=1e-9)
    assert plan.values["coal.on"].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert plan.accounts["starts"].sum() == pytest.approx(3000.0)


def test_stop_is_paid_where_it_saves():
    """Proves: gas stops (1000) for three hours, then coal does (1000): 300000 + 56000 + 2000.

    Sensitivity: 356000 without costs of stops; 372000 if gas ran on at its least.
    """
    coal = plant("coal", 20.0, least=3000.0, stop_cost=1000.0)
    gas = plant("gas", 70.0, limit=1000.0, least=100.0, stop_cost=1000.0)
    plan = run(coal, gas, coal_before=1.0, gas_before=1.0)
    assert plan.objective == pytest.approx(358_000.0, rel=1e-9)
    assert plan.values["gas.on"].tolist() == [0.0, 0.0, 0.0, 1.0]


def test_compiled_unit_model_equals_pyomo():
    from tests.unit.optimizer.compiler.test_compile import as_pyomo_says, dense  # noqa: PLC0415

    where = site(
        line=plant("coal", 20.0, min_up_time=3.0, min_down_time=2.0, minimum_restart_time=3.0)
    )
    inputs = build_model_data(problem(where, outlook([0.0] * 5, service=2.0)))
    shape, numbers = signature_of(inputs), parameter_values(inputs)
    arrays = compile_model(shape).with_parameter_values(numbers)
    rows, low, high, *_, bounds = as_pyomo_says(shape, numbers)
    np.testing.assert_array_equal(dense(arrays), rows)
    np.testing.assert_array_equal(arrays.row_low, low)
    np.testing.assert_array_equal(arrays.row_high, high)
    np.testing.assert_array_equal(arrays.column_high, bounds[:, 1])
    assert arrays.is_integer.sum() == 5


def cheap(**rules):
    """Return a plan of eight hours in which a cheap unit is needed at times."""
    coal = plant("coal", 20.0, least=1000.0, start_cost=1.0, **rules)
    loads = [500.0, 4000.0, 500.0, 500.0, 4000.0, 500.0, 500.0, 500.0]
    gas = plant("gas", 70.0)
    return run(coal, gas, loads, coal_before=0.0, gas_before=1.0).values["coal.on"].tolist()


def test_least_times():
    """Proves: coal runs in hours 2 and 5; no shorter than it may, nor sooner than it rests.

    On for two hours it would have to take 1000 MW where 500 are asked for: it stays off. Off for
    three it can run but once; so with three hours between starts it may do both, with four not.
    """
    assert cheap() == [0, 1, 0, 0, 1, 0, 0, 0]
    assert cheap(min_up_time=2.0) == [0] * 8
    assert sum(cheap(min_down_time=3.0)) == 1
    assert cheap(min_down_time=2.0) == [0, 1, 0, 0, 1, 0, 0, 0]
    assert cheap(minimum_restart_time=3.0) == [0, 1, 0, 0, 1, 0, 0, 0]
    assert sum(cheap(minimum_restart_time=4.0)) == 1


def test_minimum_up_time_spans_the_horizon_start():
    """Proves: started an hour ago for three hours, it runs two more, though gas were cheaper.

    Sensitivity: off at once.
    """
    coal = plant("coal", 200.0, min_up_time=3.0)
    ahead = outlook([0.0] * 4, service=0.5)
    where = site(plant("gas", 70.0), line=coal, connection=grid(import_limit=0.0))
    past = {"coal": np.array([0.0, 0.0, 1.0]), "gas": np.array([1.0])}
    plan = solved(where, ahead, past_units=past, water=1.0)
    assert plan.values["coal.on"].tolist()[:2] == [1.0, 1.0]


def test_bank_is_one_integer():
    """Proves: of ten units of 1 MW, 3.4 MW need four; one in four is too many by 0.6.

    A unit too many draws 0.1 MW at 50 EUR/MWh: 3.4 x 50 + 0.6 x 0.1 x 50 = 173. Sensitivity: 170
    with parts of units.
    """
    bank = units(10, most=1.0, spare_draw=0.1)
    line = machine("line", "medium_voltage", draws={"grid": lambda q: q}, units=bank)
    plan = solved(site(line=line), outlook([50.0], service=3.4))
    assert plan.values["line.on"].tolist() == [4.0]
    assert plan.objective == pytest.approx(173.0)
    assert plan.relaxed_objective == pytest.approx(170.0)


def test_surplus_units_are_limited_at_negative_prices():
    """Proves: at -20 EUR/MWh six units of 1 MW over 3.4 MW draw 0.1 MW more each, at the most.

    3.4 + 6 x 0.1 = 4 MW; physics has 2.6 of them too many, 3.66 MW. Sensitivity: 100 MW, all that
    the connection carries, which the twin refuses.
    """
    bank = units(6, most=1.0, spare_draw=0.1)
    line = machine("line", "medium_voltage", draws={"grid": lambda q: q}, units=bank)
    plan = solved(site(line=line), outlook([-20.0], service=3.4))
    assert plan.values["line.on"].tolist() == [6.0]
    assert plan.values["grid.import_power"].tolist() == pytest.approx([4.0])


def test_too_few_units_are_infeasible():
    bank = units(3, most=1.0)
    line = machine("line", "medium_voltage", draws={"grid": lambda q: q}, units=bank)
    with pytest.raises(NoScheduleError, match=r"output of the units that run \(line\)"):
        solved(site(line=line), outlook([50.0], service=3.4))


def test_unneeded_unit_stops():
    """Proves: two of 4 MW ran, 3 MW are left: one stops at once, of a week 7 x 24 x 3 x 50 EUR.

    The other would draw 0.02 MW, 6 EUR in the six hours in which units are whole. Sensitivity: it
    ran on for as long, since 6 EUR are less than a thousandth of the week's 25,200.
    """
    bank = units(2, most=4.0, spare_draw=0.02)
    line = machine("line", "medium_voltage", draws={"grid": through}, limit=8.0, units=bank)
    minutes = [15] * 24 + [60] * 66 + [240] * 24
    last, now = (
        problem(site(line=line), cut(outlook([50.0] * 114, service=load), minutes))
        for load in (7.0, 3.0)
    )
    plan = solve_problem(now, solve_problem(last).warm_start)
    assert plan.values["line.on"][:24].tolist() == [1.0] * 24
    assert plan.objective == pytest.approx(25_200.0 + 6.0 * 0.25 * 0.02 * 50.0)


@pytest.mark.parametrize(("efficiency", "profit"), [(1.0, 240.0), (0.95, 219.789474)])
def test_battery_earns_the_spread(efficiency, profit):
    """Proves: 4 MWh and 1 MW, empty at both ends, over 8 h at 20 and 8 h at 80 EUR/MWh."""
    where = site(battery(efficiency=efficiency), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([20.0] * 8 + [80.0] * 8))
    assert -plan.objective == pytest.approx(profit, abs=1e-6)


def bank_and_battery(seed):
    """Return a day of a bank and a battery at often negative prices."""
    rng, steps = np.random.default_rng(seed), 30
    least, cost = rng.choice([0.5, 2.0]), rng.choice([5.0, 30.0, 100.0])
    count = int(rng.choice([1, 2, 3]))
    rules = {"start_cost": cost, "min_up_time": 3.0, "min_down_time": 2.0}
    bank = units(count, most=4.0, least=least, **rules)
    draws = {"water": lambda q: 20.0 * q}
    coal = machine("coal", "medium_voltage", draws=draws, limit=4.0 * count, units=bank)
    store = battery(capacity=6.0, power=3.0, efficiency=0.9, wear_price=1.0)
    line = grid(import_limit=20.0, export_limit=5.0, peak_price=50.0)
    where = site(store, coal, connection=line, work=[kind(throughput=BENT, tolerance=0.2)])
    most = np.cumsum(rng.uniform(0.0, 3.0, steps))
    jobs = [("batch", list(np.maximum(most - 8.0, 0.0)), list(most), 6.0)]
    prices, service = rng.normal(5.0, 25.0, steps), rng.uniform(0.0, 4.0, steps)
    ahead = outlook(prices, service=service, jobs=jobs, terminal=20.0)
    past = {"coal": np.zeros(1)}
    return problem(where, ahead, water=1.0, past_units=past, peak=2.0, level=0.5)


@pytest.mark.parametrize(
    ("seed", "best"), [(174, -2587.335), (184, -2252.144), (190, -959.170), (195, -2017.676)]
)
def test_misjudged_mip_start_does_not_end_the_search(seed, best):
    """Proves: the result equals that of searches without a start, within their gap.

    Sensitivity: 1.2, 0.2, 0.3 and 0.3 % worse where HiGHS 1.16 took the start for the optimum.
    """
    assert solve_problem(bank_and_battery(seed)).objective == pytest.approx(best, rel=1.1e-3)


@pytest.mark.parametrize(
    ("past", "up", "down", "on"),
    [
        ((0.0, 1.0, 0.0), 3.0, 2.0, [0.0, 1.0, 1.0, 1.0, 1.0]),  # stopped too soon: rests
        ((1.0, 0.0, 1.0), 3.0, 3.0, [1.0] * 5),  # started too soon: runs on
    ],
)
def test_history_that_broke_minimum_times_is_relaxed(past, up, down, on):
    """Proves: 20 EUR instead of 70 as soon as what may still bind allows it.

    Sensitivity: with both rules enforced, there was no plan.
    """
    coal = plant("coal", 20.0, limit=4.0, min_up_time=up, min_down_time=down)
    gas = machine("gas", "medium_voltage", draws={"water": lambda q: 70.0 * q}, limit=1e5)
    where = site(gas, line=coal, connection=grid(import_limit=0.0))
    ahead = outlook([0.0] * 5, service=2.0)
    plan = solved(where, ahead, past_units={"coal": np.array(past)}, water=1.0)
    assert plan.values["coal.on"] == pytest.approx(on)
    assert plan.objective == pytest.approx(sum(2.0 * (20.0 if one else 70.0) for one in on))


BANK = {"least": 2.5, "most": 4.0, "start_cost": 1.0}


def later(ahead, minutes):
    """Return an outlook that begins some minutes later."""
    moved = {one: ahead[one] + np.timedelta64(minutes, "m") for one in ("time", "instant")}
    return ahead.assign_coords(moved)


def line(**rules):
    bank = units(count=2, **(BANK | rules))
    return machine("line", "medium_voltage", draws={"grid": through}, limit=10.0, units=bank)


@pytest.mark.parametrize(("hours", "count"), [(1.0, 4), (0.25, 8)])
@pytest.mark.parametrize("minutes", [0, 7])
def test_units_change_hourly_from_any_minute(hours, count, minutes):
    """Proves: 3 MW want one unit of at least 2.5 MW, 6 MW two: the second starts for 1 EUR.

    Sensitivity: without an interval at a full hour, no unit could change: no plan.
    """
    half = count // 2
    ahead = outlook([20.0] * count, hours=hours, service=[3.0] * half + [6.0] * half)
    plan = solve_problem(problem(site(line=line()), later(ahead, minutes)))
    assert plan.values["line.on"].tolist() == [1.0] * half + [2.0] * half
    assert plan.objective == pytest.approx(20.0 * hours * half * 9.0 + 1.0)


def test_units_are_integer_after_a_short_first_interval():
    """Proves: 3 MW for 8 minutes, then 6 MW: two whole units, as many as 6 MW need of 4 MW each.

    Sensitivity: 1.5 units, where only intervals as long as the first had whole ones.
    """
    ahead = cut(outlook([20.0] * 5, service=[3.0, 6.0, 6.0, 6.0, 6.0]), [8, 15, 15, 15, 15])
    plan = solve_problem(problem(site(line=line(start_cost=0.0)), later(ahead, 52)))
    assert plan.values["line.on"].tolist() == [1.0, 2.0, 2.0, 2.0, 2.0]


@pytest.mark.parametrize(("least", "first"), [(1.0, 2), (2.0, 3)])
def test_minimum_time_is_in_hours_with_a_short_interval(least, first):
    """Proves: a unit that stopped as the plan began stays off for 1 h or 2 h: 30 minutes are over
    with the first interval, so that it may start with the second or third after it.

    Sensitivity: counted in intervals of 30 minutes, 2 h would be four.
    """
    ahead = cut(outlook([20.0] * 5, service=[3.0, 3.0, 3.0, 6.0, 6.0]), [30, 60, 60, 60, 60])
    service = np.where(np.arange(5) < first, 3.0, 6.0)
    where = site(line=line(min_down_time=least, start_cost=0.0))
    shifted = later(unlabelled(ahead, "service_racks", service), 30)
    plan = solve_problem(problem(where, shifted, past_units={"line": np.array([2.0])}))
    assert plan.values["line.on"].tolist() == [1.0 if racks == 3.0 else 2.0 for racks in service]
    sooner = unlabelled(shifted, "service_racks", np.where(np.arange(5) < first - 1, 3.0, 6.0))
    with pytest.raises(NoScheduleError, match="least time that units stay off"):
        solve_problem(problem(where, sooner, past_units={"line": np.array([2.0])}))


@pytest.mark.parametrize("min_up_time", [0.0, 3.0])
def test_tripped_unit_waits_for_its_next_start(min_up_time):
    """Proves: started two hours ago and off since one, it may start again four hours after that
    start, in the third hour, though it did not stay on for as long as it should.

    Sensitivity: at once, where what broke its least time on was forgotten for its wait too.
    """
    bank = units(count=1, least=1.0, most=4.0, min_up_time=min_up_time, minimum_restart_time=4.0)
    helped = machine("line", "medium_voltage", draws={"grid": through}, limit=10.0, units=bank)
    where, ran = site(source(power=3.0, price=99.0), line=helped), np.array([0.0, 1.0, 0.0])
    ahead = outlook([20.0] * 4, service=3.0, sun=[3.0] * 4)
    plan = solve_problem(problem(where, ahead, past_units={"line": ran}))
    assert plan.values["line.on"].tolist() == [0.0, 0.0, 1.0, 1.0]
