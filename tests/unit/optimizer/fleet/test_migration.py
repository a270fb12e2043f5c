"""Work that moves between two sites of a few racks, each number worked by hand.

Sites have 4 MWh each, due by the end of the fourth hour. The route takes an hour, and two more
until it is promised to be done: what is sent in the first hour is done by the end of the fourth.
"""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.fleet.planner import solve_relaxation
from optimizer.model.formulation import signature_of
from optimizer.model.model_data import build_model_data
from optimizer.problem.migration import open_migration
from tests.support.hand import outlook, problem, site
from tests.support.hand_fleet import DUE_AT_4, NOTHING, make_route, member


def whole(*members):
    return solve_relaxation(members)


def net(found, number=0):
    """Return the work sent less the work received by a site in each block. [MWh]

    A site may send its own work to itself where that is free, so no test asks what was sent.
    """
    return found.net_sent_work[number].sum(axis=1)


def test_work_moves_to_cheap_power():
    """Proves: 8 MWh at 10 instead of 4 at 50 and 4 at 10. Sensitivity: 240 without the route."""
    found = whole(member("north", 50), member("south", 10))
    assert found.cost == pytest.approx(80.0)
    assert net(found) == pytest.approx([4.0, 0, 0, 0, 0, 0])
    assert found.variable_values["south.work.racks"].sum() == pytest.approx(8.0)


def test_sent_work_arrives_later_and_is_done_in_its_window():
    """Proves: at 10, 90, 10, 90, ... work received from 1 h to 4 h waits for the third hour."""
    found = whole(member("north", 50), member("south", [90.0, 90.0, 10.0, 90.0, 90.0, 90.0]))
    done = found.variable_values["south.work.racks"].sum(axis=(1, 2))
    assert done == pytest.approx([0.0, 0.0, 8.0, 0.0, 0.0, 0.0])
    assert found.cost == pytest.approx(80.0)


@pytest.mark.parametrize(("cost", "objective"), [(15.0, 200.0), (19.0, 232.0), (21.0, 240.0)])
def test_transfer_has_its_cost(cost, objective):
    """Proves: moving saves 40 EUR/MWh; at 15 a side 4 x (10 + 30) + 40, at 21 none moves."""
    dear = make_route(send_cost=cost, host_cost=cost)
    found = whole(member("north", 50, dear), member("south", 10, dear))
    assert found.cost == pytest.approx(objective)


@pytest.mark.parametrize("closed", ["can_send", "can_receive"])
def test_closed_route_is_kept(closed):
    """Proves: if work may not leave or may not arrive, both sites stay alone: 200 + 40."""
    north = make_route(can_send=closed != "can_send")
    south = make_route(can_receive=closed != "can_receive")
    found = whole(member("north", 50, north), member("south", 10, south))
    assert found.cost == pytest.approx(240.0)


def test_each_route_has_its_own_limits():
    """Proves: nothing leaves by the first route, and the south receives nothing by the second."""
    north = make_route("home", can_send=False), make_route("union")
    south = make_route("home"), make_route("union", can_receive=False)
    found = whole(member("north", 50, *north), member("south", 10, *south))
    assert found.cost == pytest.approx(240.0)


def test_work_that_would_arrive_too_late_stays():
    """Proves: work due by the end of the third hour cannot be done elsewhere in time."""
    jobs = [("batch", [0, 0, 4, 4, 4, 4], [4] * 6, 10.0)]
    found = whole(member("north", 50, jobs=jobs), member("south", 10, jobs=jobs))
    assert found.cost == pytest.approx(240.0)


def test_work_cannot_leave_before_it_arrives():
    """Proves: work that arrives in the second hour would be done in the fifth."""
    jobs = [("batch", [0, 0, 0, 4, 4, 4], [0, 4, 4, 4, 4, 4], 10.0)]
    found = whole(member("north", 50, jobs=jobs), member("south", 10))
    assert found.cost == pytest.approx(240.0)


def test_received_work_uses_at_most_the_racks_of_its_jobs():
    """Proves: a MWh in jobs of two hours is half a rack. Of each, half is done in the third hour at
    10 and a quarter in each of its neighbours, at 60: 35 EUR/MWh. 4 x 35 + 4 x 10. Sensitivity: 80.
    """
    long, prices = make_route(job_length=2.0), [60.0, 60.0, 10.0, 60.0, 60.0, 60.0]
    found = whole(member("north", 50, long), member("south", prices, long))
    guests = found.variable_values["south.work.racks"][:, 1].sum(axis=1)
    assert guests == pytest.approx([0.0, 1.0, 2.0, 1.0, 0.0, 0.0])
    assert found.cost == pytest.approx(180.0)


def test_no_more_is_received_than_fits():
    """Proves: 8 of 10 racks are busy at south; 2 MW from the hour in which guests begin to come to
    that in which they are due, 3 h, take 6 of the 8 MWh of north. Sensitivity: 560 if all could.
    """
    jobs = [("batch", [0, 0, 0, 8, 8, 8], [8] * 6, 10.0)]
    own = [("batch", [8, 16, 24, 32, 40, 48], [8, 16, 24, 32, 40, 48], 8.0)]
    found = whole(member("north", 50, jobs=jobs), member("south", 10, jobs=own))
    assert net(found).sum() == pytest.approx(6.0)
    assert found.cost == pytest.approx(48 * 10.0 + 6 * 10.0 + 2 * 50.0)


def test_received_work_is_not_late_at_the_start():
    """Proves: jobs of two hours do half of their work in the one cheap hour: it does not pay, 200.

    Of 4 MWh that come 2 are done at 10 and 2 at 200, more than 50 each. Sensitivity: 40 where
    guests that are late before they come bring racks for all of it.
    """
    here = make_route(transfer_time=0.0, arrival_to_deadline=2.0, job_length=2.0)
    south = member("south", [10.0] + [200.0] * 5, here, jobs=NOTHING)
    found = whole(member("north", 50, here), south)
    assert found.cost == pytest.approx(200.0)


def test_late_received_work_is_paid_for():
    """Proves: guests that cannot be done in time are late where they are, at 100 EUR/MWh h, and
    the plan prefers to keep them. With the transfer fixed at 4 MWh into a full site, all are late,
    or as much of its own work that they push aside.
    """
    full = [("batch", [10, 20, 30, 40, 40, 40], [10, 20, 30, 40, 40, 40], 10.0)]
    net = np.zeros((6, 1))
    net[0] = 4.0
    north, south = member("north", 50), member("south", 10, jobs=full)
    north = replace(north, migration=north.migration.with_fixed_net(net))
    south = replace(south, migration=south.migration.with_fixed_net(-net))
    found = whole(north, south)
    late = (
        found.variable_values["south.migration.work_overdue"][:, 0]
        + found.variable_values["south.work.work_overdue"][:, 0]
    )
    assert late == pytest.approx([0, 0, 0, 0, 4.0, 0, 0])  # due over the fourth hour, then done
    assert found.cost == pytest.approx(40 * 10.0 + 4 * 10.0 + 4 * 100.0)


def test_site_without_work_can_host():
    found = whole(member("north", 50), member("south", 10, jobs=NOTHING))
    assert found.cost == pytest.approx(40.0)


def test_speed_scales_work_per_megawatt_hour():
    """Proves: south's racks do twice the work of a MWh, so 4 MWh of north are 2 there."""
    fast = make_route(fleet_work_per_site_work=2.0)
    found = whole(member("north", 50), member("south", 10, fast, jobs=NOTHING))
    assert found.variable_values["south.migration.received"].sum() == pytest.approx(2.0)
    assert found.cost == pytest.approx(20.0)


def test_blocks_have_the_given_length():
    assert open_migration((make_route(),), np.full(96, 0.25)).block_edges == (
        0,
        16,
        32,
        48,
        64,
        80,
        96,
    )
    mixed = np.concatenate([np.full(8, 0.25), np.full(7, 1.0)])
    assert open_migration((make_route(),), mixed, block=4.0).block_edges == (0, 10, 14)
    assert open_migration((make_route(),), np.array([1.0]), block=4.0).block_edges == (0, 1)


def test_single_site_has_its_own_model():
    shape = signature_of(build_model_data(problem(site(), outlook([10.0] * 6, jobs=DUE_AT_4))))
    assert dict(shape.sites[0].components)["work"].outgoing_cohorts == ()
    assert "migration" not in dict(shape.sites[0].components)


def test_receiving_site_sends_no_own_work():
    """Sensitivity: it receives its own work by the route, any amount that costs nothing."""
    net = np.zeros((6, 1))
    net[0] = 4.0
    north, south = member("north", 50), member("south", 10)
    moves = north.migration.with_fixed_net(net), south.migration.with_fixed_net(-net)
    found = whole(replace(north, migration=moves[0]), replace(south, migration=moves[1]))
    assert found.variable_values["north.migration.sent"].sum() == pytest.approx(4.0)
    assert not found.variable_values["south.migration.sent"].any()
    assert not found.variable_values["north.migration.received"].any()
