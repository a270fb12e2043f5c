"""Whole bids: what is offered a market takes, it is held in truth, and little is lost by it."""

from itertools import product as combinations

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.sensitivity import SensitivityModel
from optimizer.model.components import storage_reserve
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from optimizer.solver.highs import LpSolver
from optimizer.solver.reserve_bidding import bid_blocks
from tests.support import reserve_days
from tests.support.hand import battery, grid, problem, solved
from tests.support.reserve_sites import ahead, held_by, offered, product
from tests.support.seeds import seeds

NOTHING = 1e-9
"""Capacity that is none. [MW]"""

WHOLE = {"least_bid": 1.0, "bid_step": 1.0}
MOST_LOST, LOST = 0.25, 0.03
"""Shares of what reserves are worth that whole bids may lose on one day and on all. [1]"""


@pytest.fixture
def full_to_the_end(monkeypatch):
    """Let power not fade near the ends of a battery, so that numbers stay round."""
    monkeypatch.setattr(storage_reserve, "TAPER_TIME_H", 0.0)


def fractions(plan):
    """Return what a plan offers beyond whole bids, at most. [MW]"""
    products = plan.data.problem.site.reserves
    offers = [
        (offered(plan, name), one.sellable_capacity(offered(plan, name)))
        for name, one in products.items()
    ]
    return max(np.abs(capacity - whole).max() for capacity, whole in offers)


def test_rounding_loss_is_sold_as_another_product():
    """Proves: of 1.47 MW at 10 and 0.53 MW at 9, 1 MW each is sold: 76 for 4 h.

    Sensitivity: 40, if both are rounded down and what is left is not sold.
    """
    where = held_by(
        battery(capacity=4.0, power=2.0),
        product("fcr", duration=1.0, price=10.0, **WHOLE),
        product("afrr", duration=0.25, price=9.0, **WHOLE),
    )
    plan = solved(where, ahead([0.0] * 8, service=5.0), level=0.5)
    assert plan.objective == pytest.approx(-76.0)
    assert fractions(plan) < NOTHING


@pytest.mark.parametrize("fades", [0.0, 0.2])
def test_bids_are_rounded_up_where_others_can_yield(monkeypatch, fades):
    """Proves: of 0.3 MW at 10 and 2 MW at 9, 1 MW each is sold: 76. Sensitivity: 72, the 2 MW."""
    monkeypatch.setattr(storage_reserve, "TAPER_TIME_H", fades)
    where = held_by(
        battery(capacity=3.0, power=2.0),
        product("fcr", duration=1.0, price=10.0, **WHOLE),
        product("afrr_up", direction="up", duration=0.25, price=9.0, **WHOLE),
    )
    plan = solved(where, ahead([0.0] * 8, service=5.0), level=0.5)
    assert plan.objective == pytest.approx(-76.0)
    assert fractions(plan) < NOTHING


@pytest.mark.parametrize("price", [0.0, 3.0])
def test_idle_product_costs_nothing(price):
    """Proves: 2 MWh at 20 fill the battery, 4 MWh at 80 are saved: 4 x 20 + 40, as without it.

    Sensitivity: 133.33 where all that can be sold keeps the battery from its floor, sold or not.
    """
    ahead_of = ahead([20.0] * 4 + [80.0] * 4, service=1.0)
    for wide in ({}, {"least_bid": 100.0, "bid_step": 100.0}):
        plan = solved(held_by(battery(), product(price=price, **wide)), ahead_of, level=0.5)
        assert plan.objective == pytest.approx(120.0)
        assert offered(plan) == pytest.approx(0.0)
        assert SensitivityModel(plan).objective == pytest.approx(120.0)  # the plan is found again


def test_accounts_agree_with_the_schedule():
    where = held_by(
        battery(capacity=3.0, power=2.0),
        product("fcr", duration=1.0, price=10.0, **WHOLE),
        product("afrr_up", direction="up", duration=0.25, price=9.0, **WHOLE),
    )
    plan = solved(where, ahead([0.0] * 8, service=5.0), level=0.5)
    schedule = build_schedule(plan)
    paid = float((schedule["reserve_capacity"] * schedule["reserve_price"]).sum())
    assert plan.accounts["reserves"].sum() == pytest.approx(-paid)


@pytest.mark.usefixtures("full_to_the_end")
def test_idle_product_takes_what_another_leaves():
    """Proves: 1.5 MW at 10 is 1 MW in steps of 1, and the half MW is sold at 9 in steps of 0.5.

    40 + 18 for 4 h. Sensitivity: 40, were the dearer product the last to be rounded.
    """
    where = held_by(
        battery(capacity=20.0, power=1.5),
        product("afrr", price=9.0, least_bid=0.5, bid_step=0.5),
        product("fcr", price=10.0, **WHOLE),
    )
    plan = solved(where, ahead([0.0] * 8, service=5.0), level=0.5)
    assert plan.objective == pytest.approx(-58.0)
    assert offered(plan, "afrr")[4:] == pytest.approx(0.5)


def test_smallest_bid_is_the_minimum_bid():
    """Proves: with a least bid of 3 MW, 2.5 MW sell nothing, and 3.5 MW 3 MW."""
    for power, expected in ((2.5, 0.0), (3.5, 3.0)):
        where = held_by(battery(capacity=40.0, power=power), product(least_bid=3.0, bid_step=1.0))
        plan = solved(where, ahead([0.0] * 8, service=5.0), level=0.5)
        assert offered(plan)[4:] == pytest.approx(expected)


def test_whole_bids_need_no_search(monkeypatch):
    """Proves: 1 MW in steps of 0.1 takes one solve more, of a plan that offers nothing."""
    runs = []
    run = LpSolver.run
    monkeypatch.setattr(LpSolver, "run", lambda self: runs.append(1) or run(self))
    plan = solved(held_by(battery(), product()), ahead([50.0] * 8, service=1.0), level=0.5)
    assert offered(plan)[4:] == pytest.approx(1.0)
    assert len(runs) == 2


def day(seed, *, lowest, efficiencies=(1.0,), count=8):
    """Return a random question: one to three products, a battery of a few of their steps."""
    rng = np.random.default_rng(seed)

    def some(*values):
        return values[rng.integers(len(values))]

    def any_product(name):
        direction, step = some("symmetric", "up", "down"), some(0.5, 1.0)
        return product(
            name,
            direction=direction,
            duration=some(0.25, 0.5, 1.0),
            least_bid=step * some(1.0, 2.0),
            bid_step=step,
            price=rng.uniform(4.0, 40.0),
            block=some(2.0, 4.0),
            opposite_share=0.0 if direction == "symmetric" else some(0.0, 0.2),
        )

    products = [any_product(f"product_{i}") for i in range(rng.integers(1, 4))]
    store = battery(
        capacity=rng.uniform(1.5, 10.0),
        power=rng.uniform(1.0, 4.0),
        efficiency=some(*efficiencies),
        wear_price=some(0.0, 2.0),
    )
    wave = some(0.0, 20.0) * np.sin(np.arange(count) / 2.0)
    prices = np.maximum(rng.uniform(lowest, 30.0) + wave, lowest)
    connection = grid(import_limit=rng.uniform(6.0, 15.0), export_limit=some(0.0, 5.0))
    look = ahead(prices, service=rng.uniform(1.0, 4.0), terminal=float(prices.mean()))
    return problem(held_by(store, *products, connection=connection), look, level=0.5)


@pytest.mark.parametrize("seed", seeds(range(30)))
def test_bids_are_whole_and_no_store_wastes_energy(seed):
    """Proves: also where power is paid for, and a battery that loses some would burn it."""
    plan = solve_problem(day(seed, lowest=-60.0, efficiencies=(0.9, 0.7), count=12))
    assert fractions(plan) < NOTHING
    both = np.minimum(plan.values["battery.charge"], plan.values["battery.discharge"])
    assert both.max() < 1e-3
    assert float(plan.accounts["reserve_shortfall"].sum()) == pytest.approx(0.0)


def tried(problem):
    """Return the objectives of the best whole bids and of none, by trying all there are."""
    inputs = build_model_data(problem)
    arrays = compile_model(signature_of(inputs)).with_parameter_values(parameter_values(inputs))
    solver = LpSolver(arrays, account_weights(problem.weights))
    places, choices = [], []
    for one in bid_blocks(arrays, problem):
        for number in np.unique(one.block_number[one.max_offer > 0.0]):
            at, cost = (
                one.columns[one.block_number == number],
                one.offer_cost[one.block_number == number],
            )
            most = greatest(solver, at, cost=cost) + NOTHING
            places.append(at)
            choices.append(np.unique(one.rounded_down(np.arange(0.0, most, one.product.bid_step))))
    found = []
    for bids in combinations(*choices):
        for at, bid in zip(places, bids, strict=True):
            solver.set_column_bounds(at, np.full(len(at), bid), high=np.full(len(at), bid))
        answer = solver.run()
        found.append(np.inf if answer is None else answer.objective)
    return min(found), found[0]


def greatest(solver, columns, *, cost):
    """Return the most that may be offered in a block. [MW]"""
    solver.set_costs(columns, cost - 1e6)
    most = solver.run().values[columns[0]]
    solver.set_costs(columns, cost)
    return most


@pytest.mark.slow
def test_loss_against_the_best_whole_bids_is_small():
    """Proves: of what reserves are worth, on days whose steps are coarse and all bids are tried.

    Sensitivity: 5 % on such days, and 61 % on one, if all are rounded down at once.
    """
    lost, worth = [], []
    for seed in range(16):
        problem = day(seed, lowest=5.0)
        best, none = tried(problem)
        lost.append(solve_problem(problem).objective - best)
        worth.append(none - best)
    assert all(np.array(lost) > -1e-6)
    assert all(np.array(lost) <= MOST_LOST * np.array(worth) + 1e-6)
    assert sum(lost) <= LOST * sum(worth)


def test_day_of_a_site_has_whole_bids():
    plan = solve_problem(reserve_days.problem())
    assert fractions(plan) < NOTHING
