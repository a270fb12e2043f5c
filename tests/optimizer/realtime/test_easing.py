"""Work that yields within a quarter-hour, and the guard that asks it to."""

import numpy as np
import pytest

from optimizer.dispatch import Orders
from optimizer.realtime.easing import Easing
from optimizer.realtime.guard import Guard
from sites import load
from twin.axes import utc
from twin.workloads.capping import work_power
from twin.workloads.jobs import Jobs
from twin.workloads.queue import Pool, open_queue

NOW = utc("2026-06-16 00:00")
LIMIT = 4.0


@pytest.fixture(scope="module")
def site():
    return load("small")


@pytest.fixture
def easing(site):
    """Return two jobs of 4 racks that run, of kinds 0 and 1, and one of 2 racks that waits."""
    jobs = Jobs(
        number=np.array([7, 8, 9]),
        kind=np.array([0, 1, 1]),
        arrival=np.full(3, NOW),
        deadline=np.full(3, NOW + np.timedelta64(20, "h")),
        length=np.full(3, 5.0),
        racks=np.array([4.0, 4.0, 2.0]),
    )
    return Easing.of(open_queue(Pool.of(site), jobs, NOW), {7: 1.0, 8: 0.95})


def guard_of(site, easing, **more):
    orders = Orders(jobs={7: 1.0, 8: 0.95})
    return Guard(site=site, planned=orders, peak=99.0, limit=LIMIT, work=easing, **more)


def test_jobs_that_run_are_capped_by_what_is_asked_and_none_is_paused(easing):
    jobs, less = easing.by(0.05)
    caps = np.array([jobs.get(number, 0.0) for number in (7, 8, 9)])
    assert jobs.keys() == {7, 8}
    assert less == pytest.approx(0.05)
    assert work_power(easing.queue, caps) == pytest.approx(easing.power - 0.05)


def test_racks_are_capped_as_deep_as_they_can_be(easing):
    """Proves: below what a kind tolerates, for minutes; work that is capped already has room."""
    jobs, less = easing.by(99.0)
    kinds = easing.queue.pool.kinds
    assert jobs == pytest.approx({7 + k: kinds[k].throughput.power_points[0] for k in (0, 1)})
    assert jobs[8] < kinds[1].least_power
    assert 0.0 < less < easing.power


def test_nothing_asked_is_nothing_done(easing):
    assert easing.by(-1.0) == (pytest.approx({7: 1.0, 8: 0.95}), pytest.approx(0.0))


def test_work_yields_what_the_battery_has_not_where_the_limit_is_in_the_way(site, easing):
    """Proves: 4.03 MW and no rise are 0.03 too much; 0.1 are asked, of work where nothing else is.

    Sensitivity: a site without a battery imported 26 MW too much for 22 minutes as wind stopped.
    """
    guard = guard_of(site, easing, spare={"battery_1": 0.0})
    orders = guard.look(minutes=5, mean=4.06, latest=4.06)
    assert guard.cut == guard.eased == pytest.approx(0.06 * 10 / 3)
    assert orders.jobs == pytest.approx(easing.by(guard.eased)[0])
    assert guard.ordered.jobs == pytest.approx(orders.jobs)
    with_battery = guard_of(site, easing)
    assert with_battery.look(minutes=5, mean=4.06, latest=4.06).jobs == {7: 1.0, 8: 0.95}
    assert with_battery.eased == 0.0


def test_a_peak_caps_no_work(site, easing):
    guard = guard_of(site, easing, spare={"battery_1": 0.0})
    guard.peak, guard.limit = LIMIT, 9.0
    assert guard.look(minutes=5, mean=4.5, latest=4.5) is None


def test_caps_stay_while_the_sun_falls_and_go_with_room(site, easing):
    """Proves: import that stands still only as work yields what the sun loses is no room.

    Sensitivity: caps were taken back and given again every other minute.
    """
    guard = guard_of(site, easing, spare={"battery_1": 0.0})
    guard.look(minutes=3, mean=3.94, latest=4.05)
    before = guard.eased
    guard.look(minutes=6, mean=3.98, latest=4.03)
    assert guard.eased >= 0.9 * before
    guard.look(minutes=9, mean=3.7, latest=3.0)
    assert guard.eased == 0.0
    assert guard.ordered.jobs == {7: 1.0, 8: 0.95}


def test_what_nobody_foresaw_is_told_for_the_next_quarter_hour(site, easing):
    """Proves: 4.06 MW where 3.9 were due are 0.16, once work has to yield."""
    guard = guard_of(site, easing, spare={"battery_1": 0.0}, begin=3.9, settled=3.9)
    assert guard.missed == 0.0
    guard.look(minutes=5, mean=3.95, latest=4.06)
    assert guard.missed == pytest.approx(0.16)
