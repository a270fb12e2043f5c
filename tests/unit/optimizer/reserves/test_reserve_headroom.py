"""Reserves are not used twice, and are listed with their price."""

from datetime import date

import numpy as np
import pytest
import xarray as xr

import sites
from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.explanation import reserve_messages
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.planner.flexibility import estimate_flexibility
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from optimizer.problem.problem import Problem
from optimizer.realtime.intra_interval import shave_peak
from optimizer.realtime.orders import DispatchOrders
from optimizer.realtime.plan_follower import reserve_free_margin
from optimizer.realtime.workload_headroom import compute_headroom
from tests.support import hand, reserve_days, small_days
from tests.support.hand import solved
from tests.support.reserve_sites import ahead, held_by, product
from tests.unit.optimizer.compiler.test_compile import as_pyomo_says, dense
from twin import time_axes, variables
from twin.errors import ProblemError
from twin.simulation import state as states
from twin.site_settings import SafetyMargins

START = time_axes.to_utc("2026-06-16")


@pytest.fixture(scope="module")
def site():
    """Return a site without margins: 100 MW connection, lossless 40 MWh battery of 10 MW, FCR."""
    exact = sites.load_site("small").with_margins(
        SafetyMargins(power=0.0, temperature="0 K", level=0.0)
    )
    wide = exact.with_parameters(
        "grid_1", import_limit="100 MW", export_limit="20 MW", ramp="10 MW/min"
    )
    whole = wide.with_parameters(
        "battery_1",
        capacity="40 MWh",
        power="10 MW",
        charge_efficiency=1.0,
        discharge_efficiency=1.0,
        reserve=0.0,
        ceiling=1.0,
        local_controller=True,
    )
    return whole.model_copy(update={"reserves": {"fcr": product(duration=1.0)}})


def holding(capacity, *, level=20.0, charge=0.0, count=16):
    """Return a plan of 50 MW of import whose resting battery holds a capacity, with its replay."""
    plan = time_axes.regular_axes(START, count).assign_coords(
        battery=["battery_1"], product=["fcr"]
    )
    plan["grid_import_power"] = "time", np.full(count, 50.0)
    plan["grid_export_power"] = "time", np.zeros(count)
    plan["battery_charge"] = ("time", "battery"), np.full((count, 1), charge)
    plan["battery_discharge"] = ("time", "battery"), np.zeros((count, 1))
    plan["battery_level"] = (
        ("instant", "battery"), (level + charge * 0.25 * np.arange(count + 1))[:, None],
    )  # fmt: skip
    plan["reserve_capacity"] = ("time", "product"), np.full((count, 1), capacity)
    plan["battery_reserve"] = ("time", "product", "battery"), np.full((count, 1, 1), capacity)
    return variables.tag_dataset(plan)


def offers(site, plan):
    nothing = xr.Dataset(coords={"instant": plan["instant"]})
    found = estimate_flexibility(site, plan, plan, outlook=nothing)
    return found["reserve_up_power"][:12].to_numpy(), found["reserve_down_power"][:12].to_numpy()


def test_sold_reserve_is_not_offered_again(site):
    """Of 10 MW, 4 are sold both ways. Sensitivity: 10, sold twice."""
    up, down = offers(site, holding(4.0))
    assert up == pytest.approx(6.0)
    assert down == pytest.approx(6.0)


def test_energy_behind_a_sold_reserve_is_not_offered(site):
    """Of 7.8 MWh, 4.8 stand behind 4 MW for 1.2 h: 3 MW for an hour are left, though 6 MW are."""
    up, _ = offers(site, holding(4.0, level=7.8))
    assert up == pytest.approx(3.0)


def test_connection_is_kept_free_for_sold_reserve(site):
    """4 MW sold of the 5 MW that 55 MW of connection leave: 1 MW downwards."""
    narrow = site.with_parameters("grid_1", import_limit="55 MW")
    _, down = offers(narrow, holding(4.0))
    assert down == pytest.approx(1.0)


def shaved(site, plan, *, level, excess=10.0, charge=0.0):
    state = states.initial_state(site, START)
    state["battery_level"].values[:] = level
    spare = reserve_free_margin(site, plan, state, now=START)
    orders = DispatchOrders(jobs={}, battery_charge={"battery_1": charge})
    return shave_peak(orders, site, excess, discharge_margin=spare)[1]


@pytest.mark.parametrize(
    ("capacity", "level", "charge", "taken"),
    [
        (0.0, 4.0, 0.0, 10.0),  # nothing is sold: its controller looks after the energy
        (4.0, 20.0, 0.0, 6.0),  # power
        (4.0, 5.3, 0.0, 2.0),  # 0.5 MWh above 4.8 in a quarter of an hour
        (4.0, 3.0, 0.0, 0.0),  # it lacks already
        (4.0, 4.3, 4.0, 2.0),  # 1 MWh comes in by plan, half of it may be left away
    ],
)
def test_sold_reserve_does_not_shave_a_peak(site, capacity, level, charge, taken):
    plan = holding(capacity, charge=charge)
    assert shaved(site, plan, level=level, charge=charge) == pytest.approx(taken)


def test_work_leaves_room_for_sold_reserve():
    """0.1 MW of downward reserve take 0.1 MW from the site's import limit."""
    here = small_days.setting()
    where = here.site.with_parameters("grid_1", import_limit="3 MW")
    where = where.model_copy(update={"reserves": {"fcr": product()}})
    plan = here.true_series.isel(time=slice(0, 1), instant=slice(0, 2)).assign_coords(
        product=["fcr"]
    )
    plan["reserve_capacity"] = ("time", "product"), [[0.1]]
    free = compute_headroom(where, here.initial_state, plan.drop_vars("reserve_capacity"))
    kept = compute_headroom(where, here.initial_state, plan)
    lost = free.site_power_per_work_power * (free.max_work_power - kept.max_work_power)
    assert lost == pytest.approx(0.1, abs=0.01)
    assert free.export_limit - kept.export_limit == pytest.approx(0.1)


def test_interval_before_a_reserve_leaves_room():
    """Proves: an activation in the first minute finds the plant at its earlier orders."""
    here = small_days.setting()
    where = here.site.model_copy(update={"reserves": {"fcr": product()}})
    plan = here.true_series.isel(time=slice(0, 3), instant=slice(0, 4)).assign_coords(
        product=["fcr"]
    )
    plan["reserve_capacity"] = ("time", "product"), [[0.0], [0.1], [0.3]]
    free = compute_headroom(where, here.initial_state, plan.drop_vars("reserve_capacity"))
    kept = compute_headroom(where, here.initial_state, plan)
    assert free.export_limit - kept.export_limit == pytest.approx(0.1)


def test_reserve_is_listed_with_its_price():
    """Of 1.6 MW one is sold at 10 EUR/MW/h, in whole MW; one more would lose trade at 2."""
    big, whole = hand.battery(capacity=20.0, power=1.6), product(least_bid=1.0, bid_step=1.0)
    plan = solved(held_by(big, whole), ahead([0.0] * 4 + [2.0] * 4, service=2.0), level=0.5)
    assert reserve_messages(plan, build_schedule(plan)) == (
        "fcr: 1 MW offered from 2026-07-01T00:00Z to 2026-07-01T04:00Z at 10.00 EUR/MW/h; "
        "the last MW costs 2.00 elsewhere",
    )


def test_marginal_cost_includes_room_at_the_connection():
    """Proves: 1.5 MW downwards under 2 MW of import and 1 MW of load take 0.5 MW that wear at 3.

    Sensitivity: 0.00, since the battery itself has enough power and room.
    """
    down = product(direction="down", least_bid=1.5, bid_step=1.5)
    big = hand.battery(capacity=20.0, power=2.0, wear_price=3.0)
    where = held_by(big, down, connection=hand.grid(import_limit=2.0))
    plan = solved(where, ahead([0.0] * 8, service=1.0), level=0.5)
    (line,) = reserve_messages(plan, build_schedule(plan))
    assert line.endswith("at 10.00 EUR/MW/h; the last MW costs 3.00 elsewhere")


def test_unsold_reserve_is_listed_with_its_reason():
    where = held_by(hand.battery(), product())
    plan = solved(where, ahead([0.0] * 8, service=1.0, held=[1.0] * 4 + [0.0] * 4))
    assert (
        "fcr: 1 MW sold and NOT provided from 2026-06-30T20:00Z to 2026-06-30T21:00Z"
        in reserve_messages(plan, build_schedule(plan))
    )


def test_sold_and_offered_reserves_are_listed_separately():
    plan = reserve_days.decision(hours=78).explanation.reserve_texts
    lines = [line for line in plan if line.startswith("fcr: ")]
    assert lines[0].startswith("fcr: 0.3 MW sold and provided from 2026-06-16T00:00Z")
    assert lines[-1].endswith("blocks after that")
    assert sum("offered" in line for line in lines) <= 6


def test_explanation_lists_reserves():
    decision = reserve_days.decision()
    assert any(
        line.startswith("fcr: 0.8 MW offered") for line in decision.explanation.reserve_texts
    )
    assert decision.explanation.as_json()["reserves"] == list(decision.explanation.reserve_texts)
    assert small_days.decision().explanation.reserve_texts == ()


def make_problem(**words):
    plain = reserve_days.problem()
    return Problem(plain.site, plain.state, plain.outlook.assign(**words))


def changed(word, change):
    outlook = reserve_days.problem().outlook
    if word not in outlook:
        held = outlook["reserve_held"]
        return variables.tag_variable(held.copy(data=change(held.to_numpy().copy())), word)
    return outlook[word].copy(data=change(outlook[word].to_numpy().copy()))


def at(step, value):
    def change(values):
        values[step] = value
        return values

    return change


@pytest.mark.parametrize(
    ("word", "change", "words"),
    [
        ("reserve_held", at(3, np.nan), "nan: a finite number"),
        ("reserve_held", at(3, -1.0), "-1: 0 MW or more"),
        (
            "reserve_held",
            at(3, 0.1),
            "one value in the block 2026-06-15T22:00Z to 2026-06-16T02:00Z",
        ),
        ("reserve_price", at(3, 2e4), "20000: at most 10000 EUR/MW for an hour"),
        ("reserve_price", at(3, np.inf), "inf: a finite number"),
    ],
)
def test_invalid_reserve_data_is_refused(word, change, words):
    with pytest.raises(ProblemError, match=words) as caught:
        make_problem(**{word: changed(word, change)})
    assert f"outlook, {word}, fcr, 2026-06-16T00:45" in str(caught.value)


def test_unknown_product_is_refused():
    plain = reserve_days.problem()
    other = plain.outlook.assign_coords(product=["ffr"])
    with pytest.raises(ProblemError, match="= ffr"):
        Problem(plain.site, plain.state, other)


def test_product_not_yet_available_is_refused():
    plain = reserve_days.problem()
    later = reserve_days.product("fcr").model_copy(update={"valid_from": date(2030, 1, 1)})
    where = plain.site.model_copy(update={"reserves": {**plain.site.reserves, "fcr": later}})
    with pytest.raises(ProblemError, match="no capacity before 2030-01-01"):
        Problem(where, plain.state, plain.outlook)


def test_rolled_plan_keeps_the_shape():
    """Sold reserves and blocks are data, so the model keeps its shape."""
    first = solve_problem(reserve_days.problem())
    again = solve_problem(reserve_days.problem(fcr=0.2), first.warm_start)
    assert again.warm_start.model_signature == first.warm_start.model_signature


def test_reserve_model_compiles_as_in_pyomo():
    """Slots give what a fresh compile gives, with batteries and work that hold three products."""
    slow = product("mfrr", direction="up", needs_controller=False, full_activation=12.5)
    up = product("up", direction="up", duration=1.5, opposite_share=0.2, activation_up=0.1)
    batch = hand.kind().model_copy(update={"pause_time": 5.0, "pause_loss": 0.25})
    where = held_by(hand.battery(efficiency=0.9), product(), up, slow, work=[batch])
    jobs = [("batch", [0.0] * 7 + [4.0], [4.0] * 8, 4.0)]
    look = ahead([20.0] * 4 + [80.0] * 4, service=1.0, jobs=jobs, held=[0.5] * 4 + [0.0] * 4)
    inputs = build_model_data(hand.problem(where, look, level=0.5))
    shape, numbers = signature_of(inputs), parameter_values(inputs)
    arrays = compile_model(shape).with_parameter_values(numbers)
    rows, low, high, costs, offset, bounds = as_pyomo_says(shape, numbers)
    np.testing.assert_allclose(dense(arrays), rows, rtol=1e-15)
    np.testing.assert_allclose(arrays.row_low, low, rtol=1e-15)
    np.testing.assert_allclose(arrays.row_high, high, rtol=1e-15)
    np.testing.assert_array_equal(arrays.column_low, bounds[:, 0])
    np.testing.assert_array_equal(arrays.column_high, bounds[:, 1])
    np.testing.assert_allclose(arrays.accounts.constant_cost, offset, rtol=1e-15)
    paid, _ = arrays.accounts.weighted_column_costs(
        dict.fromkeys(arrays.accounts.account_names, 1.0), len(bounds)
    )
    np.testing.assert_allclose(paid, costs.sum(axis=0), rtol=1e-12, atol=1e-12)


def test_work_behind_a_reserve_is_not_offered_again():
    """Proves: sold work is subtracted from deferrable work, and no limit breaks."""
    found = reserve_days.decision()
    problem, schedule = reserve_days.problem(), found.schedule
    sold = schedule["work_reserve"].copy(deep=True)
    sold.loc[{"product": "mfrr"}] = 0.3 * schedule["work_power"]

    def offered(held):
        plan = schedule.assign(work_reserve=held)
        whole = estimate_flexibility(
            problem.site, plan, found.verdict.replay, outlook=problem.outlook
        )
        return whole["reserve_up_power"].to_numpy()

    assert (offered(sold) <= offered(0.0 * sold) + 1e-9).all()


def test_work_behind_a_reserve_must_run():
    """Proves: a kind must draw the power behind its reserves; without reserves none."""
    problem = reserve_days.problem()
    one = reserve_days.decision().schedule.isel(time=[0], instant=[0, 1])
    held = one["work_reserve"].copy(data=np.zeros(one["work_reserve"].shape))
    held.loc[{"product": "mfrr", "cohort": ["batch/0", "batch/2"]}] = [0.1, 0.2]
    room = compute_headroom(problem.site, problem.state, one.assign(work_reserve=held))
    assert room.reserve_committed_power == {"batch": pytest.approx(0.3), "training": 0.0}
    assert (
        compute_headroom(
            problem.site, problem.state, one.drop_vars("work_reserve")
        ).reserve_committed_power
        == {}
    )
