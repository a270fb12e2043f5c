"""Coordination by prices equals one model, and never costs more than no transfers."""

import numpy as np
import pytest

from optimizer.fleet.executor import LocalExecutor, SubproblemSolution
from optimizer.fleet.planner import solve_monolithic
from optimizer.fleet.price_coordination import BundleMaster, coordinate_by_prices
from optimizer.model.model_data import build_model_data
from tests.support.hand_fleet import make_route, member

STEEP = [("batch", [6, 12, 18, 24, 24, 24], [24] * 6, 10.0)]


def settled(*members, **rules):
    return coordinate_by_prices(LocalExecutor(members), **rules)


def test_two_sites_agree_on_the_optimum():
    """Proves: as in one model, 8 MWh at 10 instead of 4 at 50 and 4 at 10."""
    found = settled(member("north", 50), member("south", 10), gap=1e-6)
    assert found.cost == pytest.approx(80.0)
    assert found.bound == pytest.approx(80.0, rel=1e-5)
    assert sum(found.isolated_costs) == pytest.approx(240.0)
    assert found.net_sent[0].sum() == pytest.approx(4.0)
    # a price between what sending saves, 50, and what hosting costs, 10
    assert 10.0 - 1e-6 <= found.prices[0, 0] <= 50.0 + 1e-6


def test_sent_work_equals_received_work():
    """Proves: the smaller of work sent and received moves: 2 of 3 MWh, 0.25 of 1 MWh, none of 0.5.

    Sensitivity: the plans as they are, which send more than they receive.
    """
    master = BundleMaster(2, 3)
    answers = [np.array([3.0, -0.25, 0.5]), np.array([-2.0, 1.0, 0.0])]
    master.add_cuts(
        [
            SubproblemSolution(cost=0.0, net_work_sent=net, marginal_value=np.zeros(3))
            for net in answers
        ]
    )
    master.shares = [np.ones(1), np.ones(1)]
    assert np.array(master.recover_primal()).tolist() == [[2.0, -0.25, 0.0], [-2.0, 0.25, 0.0]]


def test_sites_without_routes_stay_alone():
    closed = make_route(can_send=False)
    found = settled(member("north", 50, closed), member("south", 10, closed))
    assert found.cost == pytest.approx(sum(found.isolated_costs)) == pytest.approx(240.0)
    assert len(found.net_sent) == 2
    assert all(np.abs(net).max() < 1e-9 for net in found.net_sent)
    assert found.rounds == 1


def many(seed, count=4):
    """Return sites of other prices, work and transfer costs, some of them no hosts."""
    rng = np.random.default_rng(seed)
    members = []
    for number in range(count):
        work = rng.uniform(5.0, 30.0)
        jobs = [("batch", [work * s for s in (0.1, 0.2, 0.4, 1, 1, 1)], [work] * 6, 9.0)]
        own = make_route(send_cost=rng.uniform(0, 3), can_host=bool(rng.random() > 0.3))
        prices = rng.uniform(-10.0, 90.0, 6).tolist()
        members.append(member(f"site_{number}", prices, own, jobs=jobs, block=2.0))
    return members


@pytest.mark.parametrize("seed", range(6))
def test_price_coordination_equals_one_model(seed):
    members = many(seed)
    found = settled(*members, gap=1e-4)
    whole = solve_monolithic([build_model_data(one) for one in members]).objective
    assert found.bound <= whole + 1e-6 * abs(whole)
    assert whole - 1e-6 * abs(whole) <= found.cost <= whole + 2e-4 * abs(whole)
    assert np.abs(sum(found.net_sent)).max() < 1e-9
    assert found.cost <= sum(found.isolated_costs) + 1e-6
    assert found.rounds <= 25


@pytest.mark.parametrize("seed", range(3))
def test_order_of_sites_changes_nothing(seed):
    members = many(seed)
    costs = [settled(*order, gap=1e-5).cost for order in (members, members[::-1])]
    assert costs[0] == pytest.approx(costs[1], rel=3e-5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2, 3])
def test_dearer_transfer_never_costs_less(seed):
    found = []
    for cost in (0.0, 5.0, 20.0, 500.0):
        members = [
            member(f"site_{n}", price, make_route(send_cost=cost), jobs=STEEP)
            for n, price in enumerate(np.random.default_rng(seed).uniform(0, 90, (3, 6)).tolist())
        ]
        found.append(settled(*members, gap=1e-6).cost)
    assert all(np.diff(found) > -1e-3)
    alone = sum(settled(*members).isolated_costs)
    assert found[-1] == pytest.approx(alone)
    assert found[0] < alone


def test_rounds_are_reported_and_limited():
    reports = []
    found = settled(*many(0), gap=-1.0, rounds=3, on_progress=lambda *one: reports.append(one))
    assert [number for number, _ in reports] == [1, 2, 3]
    assert found.rounds == 3
    assert np.abs(sum(found.net_sent)).max() < 1e-6
    assert settled(*many(0), rounds=0).rounds == 1
