"""One model of a fleet: no site could do better at its prices, and migration never costs more."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.fleet.planner import solve_relaxation
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.solver.highs import LpSolver
from tests.support.hand_fleet import make_route, member

STEEP = [("batch", [6, 12, 18, 24, 24, 24], [24] * 6, 10.0)]


def cost_alone(*members):
    """Return the cost of sites that exchange nothing. [EUR]"""
    none = np.zeros_like(members[0].migration.min_net_work_sent)
    closed = [replace(one, migration=one.migration.with_fixed_net(none)) for one in members]
    return solve_relaxation(closed).cost


def best_answer(problem, prices):
    """Return the least that a site pays if it may buy and sell work at the prices. [EUR]"""
    data = build_model_data(problem)
    arrays = compile_model(signature_of(data)).with_parameter_values(parameter_values(data))
    solver = LpSolver(arrays, account_weights(problem.weights))
    solver.set_costs(arrays.columns_by_variable["migration.net"].ravel(), prices.ravel())
    return solver.run().objective


def test_two_sites_share_at_a_price_between_their_costs():
    """Proves: 8 MWh at 10, not 4 at 50 and 4 at 10; sending saves 50, hosting costs 10."""
    members = member("north", 50), member("south", 10)
    found = solve_relaxation(members)
    assert found.cost == pytest.approx(80.0)
    assert found.relaxed_site_costs == pytest.approx((0.0, 80.0))
    assert cost_alone(*members) == pytest.approx(240.0)
    assert found.net_sent_work[0].sum() == pytest.approx(4.0)
    assert 10.0 - 1e-6 <= found.route_prices[0, 0] <= 50.0 + 1e-6


def test_sites_without_routes_stay_alone():
    closed = make_route(can_send=False)
    found = solve_relaxation([member("north", 50, closed), member("south", 10, closed)])
    assert found.cost == pytest.approx(240.0)
    assert all(np.abs(net).max() < 1e-9 for net in found.net_sent_work)


def many(seed, count=4):
    """Return sites of other prices, work and transfer costs, some of them no hosts."""
    rng = np.random.default_rng(seed)
    members = []
    for number in range(count):
        work = rng.uniform(5.0, 30.0)
        jobs = [("batch", [work * s for s in (0.1, 0.2, 0.4, 1, 1, 1)], [work] * 6, 9.0)]
        own = make_route(send_cost=rng.uniform(0, 3), can_receive=bool(rng.random() > 0.3))
        prices = rng.uniform(-10.0, 90.0, 6).tolist()
        members.append(member(f"site_{number}", prices, own, jobs=jobs, block=2.0))
    return members


@pytest.mark.parametrize("seed", range(6))
def test_no_site_could_do_better_at_the_prices(seed):
    """Proves: by duality, each site's plan is its best answer to the prices, so all gain or none.

    Sensitivity: prices of the wrong sign or of another block.
    """
    members = many(seed)
    found = solve_relaxation(members)
    assert np.abs(sum(found.net_sent_work)).max() < 1e-9
    assert found.cost <= cost_alone(*members) + 1e-6
    for problem, cost, net in zip(
        members, found.relaxed_site_costs, found.net_sent_work, strict=True
    ):
        assert best_answer(problem, found.route_prices) == pytest.approx(
            cost - found.migration_income(net), abs=1e-6 * abs(found.cost)
        )


@pytest.mark.parametrize("seed", range(3))
def test_order_of_sites_changes_nothing(seed):
    members = many(seed)
    costs = [solve_relaxation(order).cost for order in (members, members[::-1])]
    assert costs[0] == pytest.approx(costs[1], rel=1e-9)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_dearer_transfer_never_costs_less(seed):
    found = []
    for cost in (0.0, 5.0, 20.0, 500.0):
        members = [
            member(f"site_{n}", price, make_route(send_cost=cost), jobs=STEEP)
            for n, price in enumerate(np.random.default_rng(seed).uniform(0, 90, (3, 6)).tolist())
        ]
        found.append(solve_relaxation(members).cost)
    assert all(np.diff(found) > -1e-6)
    alone = cost_alone(*members)
    assert found[-1] == pytest.approx(alone)
    assert found[0] < alone
