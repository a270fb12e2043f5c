"""Backing of reserves, by hand: levels under full activation, and refused plans."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.planner.schedule import build_schedule
from optimizer.verification.verifier import verify
from tests.support import hand, reserve_days
from tests.support.hand import kind, solved
from tests.support.reserve_sites import ahead, held_by, product
from twin.equipment import TransformerBank
from twin.feasibility import reserve_deliverability
from twin.feasibility.reserve_activation import deferred_work, extreme_levels, reserved_power
from twin.feasibility.reserve_deliverability import work_may_hold
from twin.relations import Store

STORE = Store(
    owner="battery",
    carrier="medium_voltage",
    min_level=0.0,
    max_level=4.0,
    charge_limit=1.0,
    discharge_limit=1.0,
    charge_efficiency=0.9,
    discharge_efficiency=0.9,
)


def worst(held, *, level, net, hours, fading=0.0, **changes):
    one = product(**changes)
    series = (np.asarray(values, float) for values in (held, level, net, hours))
    held, level, net, hours = series
    held_by_name = {"fcr": held}
    settings = {"level": level, "net": net, "durations": hours, "taper_time": fading}
    return extreme_levels(STORE, {"fcr": one}, held_by_name, **settings)


def test_idle_battery_backs_its_full_power():
    """A MW for a quarter of an hour takes 0.25 / 0.9 = 0.2778 MWh, and puts in 0.225."""
    low, high = worst([1.0, 1.0], level=[1.0, 1.0, 1.0], net=[0.0, 0.0], hours=[1.0, 1.0])
    assert low == pytest.approx([0.7222, 0.7222], abs=1e-4)
    assert high == pytest.approx([1.225, 1.225])


def test_fading_power_needs_more_energy():
    """0.9 MW for a quarter from 2 MWh, while 0.1 MW are given: 2 - 0.0278 - 0.25, and 0.2 h * 1 MW.

    Of the window below 0.2 / 0.9 = 0.2222 cannot be used at full power. At the start 0.25 + 0.2.
    """
    low, _ = worst([0.9], level=[2.0, 2.0 - 0.1 / 3.6], net=[-0.1], hours=[0.25], fading=0.2)
    assert low == pytest.approx([2.0 - 0.0278 - 0.25 - 0.2222], abs=1e-4)


def test_discharging_battery_by_hand():
    """From 2 MWh 0.9 MW for an hour leave 1; the activation ends at 1 - 0.2778.

    Downwards it is highest at the start: 2.225 if the plan did nothing, 2 if it goes on.
    """
    low, high = worst([1.0], level=[2.0, 1.0], net=[-0.9], hours=[1.0])
    assert low == pytest.approx([0.7222], abs=1e-4)
    assert high == pytest.approx([2.225])


def test_stopped_discharge_saves_more_than_charge_stores():
    """0.9 MW for a quarter, then 1 MW of charge: planned 1, 0.75, 0.975.

    Half an hour of 0.9 MW downwards that ends there: nothing is given, then 1.9 MW are taken:
    1 + 0.25 * 1.9 * 0.9 = 1.4275. At the second start 0.75 + 0.5 * 0.9 * 0.9 = 1.155.
    """
    _, high = worst(
        [0.9, 0.9], level=[1.0, 0.75, 0.975], net=[-0.9, 1.0], hours=[0.25, 0.25], duration=0.5
    )
    assert high == pytest.approx([1.405, 1.4275])


def test_products_of_different_lengths_end_together():
    """0.3 MW for half an hour and 0.6 MW for a quarter end at once: 0.15 + 0.15 MWh, at no loss."""
    short, long = product("short", duration=0.25), product("long", duration=0.5)
    held = {"short": np.array([0.6, 0.6]), "long": np.array([0.3, 0.3])}
    store = replace(STORE, charge_efficiency=1.0, discharge_efficiency=1.0)
    low, _ = extreme_levels(
        store,
        {"short": short, "long": long},
        held,
        level=np.array([2.0, 1.0, 0.0]),
        net=np.array([-1.0, -1.0]),
        durations=np.array([1.0, 1.0]),
        taper_time=0.0,
    )
    assert low == pytest.approx([0.7, -0.3])


def test_finished_blocks_need_no_backing():
    """Held in the first of three quarters, half an hour lasts into the second, not the third."""
    low, _ = worst([0.9, 0.0, 0.0], level=[1.0] * 4, net=[0.0] * 3, hours=[0.25] * 3, duration=0.5)
    assert low == pytest.approx([0.5, 0.75, 2.0])


def test_power_kept_per_megawatt():
    """FCR-D up, 1 MW and 20 % back; FCR-N 1.34 both ways."""
    up = product("up", direction="up", opposite_share=0.2)
    both = product("both", power_share=1.34)
    held = {"up": np.array([1.0]), "both": np.array([0.5])}
    kept = reserved_power({"up": up, "both": both}, held)
    assert [float(one[0]) for one in kept] == pytest.approx([1.67, 0.87])


def test_deferred_work_by_hand():
    """2 MW for half an hour, half an hour lost by the pause: 1.5, then 2 MWh; it ends with 0.5."""
    one = product(direction="up", duration=0.5)
    held = np.array([2.0, 2.0, 0.0, 0.0])
    debt = deferred_work(one, held, 0.5, durations=np.full(4, 0.25))
    assert debt == pytest.approx([1.5, 2.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"full_activation": 5.0}, False),
        ({"needs_controller": True}, False),
        ({"direction": "symmetric"}, False),
    ],
)
def test_pausable_work_by_hand(changes, may):
    slow = {"direction": "up", "needs_controller": False, "full_activation": 12.5}
    batch = kind().model_copy(update={"pause_time": 10.0})
    assert work_may_hold(product(**(slow | changes)), batch) is may
    assert not work_may_hold(product(**slow), kind())


def test_plan_by_hand_is_accepted():
    """What the model thinks is behind a MW is what the twin finds: hold with 0.45 MWh, no less."""
    plan = solved(held_by(hand.battery(), product()), ahead([50.0] * 8, service=1.0), level=0.5)
    schedule = build_schedule(plan)
    problem = plan.data.problem
    held = schedule["reserve_capacity"].sel(product="fcr").to_numpy()
    assert held == pytest.approx([0.0] * 4 + [1.0] * 4)
    violations = [*hand_judged(problem, schedule)]
    assert violations == []
    schedule["battery_level"].loc[{"instant": schedule["instant"][-1]}] = 0.2
    assert hand_judged(problem, schedule) == ["energy in battery behind its reserves, upwards"]


@pytest.mark.parametrize(
    ("rating", "broken"),
    [(2.5, []), (1.5, ["load of line with all reserves activated upwards"])],
)
def test_transformer_carries_reverse_flow(rating, broken):
    """Proves: 3 MW upwards turn 1 MW of load into 2 MW of export: too much for 1.5 MVA."""
    where = held_by(
        hand.battery(capacity=8.0, power=3.0),
        product(direction="up"),
        connection=hand.grid(import_limit=1.0, export_limit=10.0),
    )
    plan = solved(where, ahead([50.0] * 8, service=1.0, terminal=50.0), level=0.5)
    bank = TransformerBank.model_construct(name="line", count=1, rating=rating, power_factor=1.0)
    site = where.model_copy(update={"equipment": {**where.equipment, "line": bank}})
    schedule = build_schedule(plan)
    assert schedule["reserve_capacity"].to_numpy()[-1] == pytest.approx(3.0)
    loading = (schedule["grid_import_power"].to_numpy() / rating)[:, None]
    replay = schedule.assign_coords(transformer=["line"]).assign(
        transformer_loading=(("time", "transformer"), loading)
    )
    judged = reserve_deliverability.check_reserves(
        site, plan.data.problem.state, schedule, replay=replay
    )
    assert [name for name, beyond in judged if not (beyond <= 1.0).all()] == broken


def hand_judged(problem, schedule):
    """Return what is broken by a plan of the hand's machines, which the twin cannot run."""
    found = reserve_deliverability.check_reserves(
        problem.site, problem.state, schedule, replay=schedule
    )
    return [name for name, beyond in found if not (beyond <= 1.0).all()]


@pytest.fixture(scope="module")
def decided():
    return reserve_days.decision()


def spoilt(schedule, word, change, **where):
    """Return a copy of a schedule with one word changed somewhere."""
    other = schedule.copy(deep=True)
    part = {axis: value for axis, value in where.items()}
    other[word].loc[part] = change(other[word].loc[part])
    return other


def refusals(schedule):
    problem = reserve_days.problem()
    return " ".join(str(b) for b in verify(problem.site, problem.state, schedule).violations)


def test_plan_with_reserves_is_released(decided):
    assert decided.verdict.violations == ()
    held = decided.schedule["reserve_capacity"].sel(product="fcr").to_numpy()
    assert held[0] == pytest.approx(0.3)
    assert held.max() == pytest.approx(0.8)


NIGHT = slice("2026-06-17T00:00", "2026-06-17T01:00")


@pytest.mark.parametrize(
    ("word", "change", "where", "expected"),
    [
        ("reserve_capacity", lambda v: v + 0.05, {}, "fcr is no bid of the market"),
        ("reserve_capacity", lambda v: v + 0.1, {"time": NIGHT}, "changes within a block"),
        ("reserve_capacity", lambda v: v + 1.0, {}, "fcr is promised and held by nobody"),
        ("reserve_capacity", lambda v: v * 0.0, {}, "does not say so"),
        ("battery_reserve", lambda v: v * 0.0, {}, "fcr is promised and held by nobody"),
        ("battery_reserve", lambda v: v + 1.0, {}, "power of battery_1 behind its reserves"),
        ("battery_reserve", lambda v: v * np.nan, {}, "finite values of 0 or more"),
    ],
)
def test_reserve_without_backing_is_refused(decided, word, change, where, expected):
    bad = spoilt(decided.schedule, word, change, product="fcr", **where)
    assert expected in refusals(bad)


def test_capacity_after_the_gate_is_refused(decided):
    early = slice("2026-06-16T02:00", "2026-06-16T05:45")
    bad = spoilt(decided.schedule, "reserve_capacity", lambda v: v + 0.1, product="fcr", time=early)
    assert "fcr is offered after its gate has closed" in refusals(bad)


def test_an_unknown_product_is_refused(decided):
    bad = decided.schedule.assign_coords(product=["fcr", "fcr_d_up", "afrr"])
    assert "reserve afrr is no product of the site" in refusals(bad)


def test_missing_variable_is_refused_without_an_error(decided):
    assert "reserve_held" in refusals(decided.schedule.drop_vars("reserve_held"))


def test_battery_that_sells_its_reserve_is_refused(decided):
    """All that lies in the battery is given in the first hour of the night: nothing is behind."""
    bad = decided.schedule.copy(deep=True)
    bad["battery_discharge"].loc[{"time": NIGHT}] = 0.4
    bad["battery_charge"].loc[{"time": NIGHT}] = 0.0
    assert "energy in battery_1 behind its reserves, upwards" in refusals(bad)


def test_a_battery_without_a_controller_is_refused(decided):
    problem = reserve_days.problem()
    plain = problem.site.with_parameters("battery_1", local_controller=False)
    violations = verify(plain, problem.state, decided.schedule).violations
    assert any("has no local controller" in breach.limit for breach in violations)
