"""From a plan by kind to orders by job."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.realtime.dispatch import (
    dispatch_jobs,
    limit_caps,
    must_run,
    must_run_uncapped_if_delayed,
    priority_order,
)
from optimizer.realtime.workload_headroom import Headroom
from twin.site_settings import Throughput, WorkKind
from twin.time_axes import to_utc
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, RackPool, advance_queue, open_queue, running_power

NOW = to_utc("2023-06-12")
CURVE = Throughput(power_points=(0.5, 0.75, 1.0), work_points=(0.6, 0.9, 1.0))
GANG = WorkKind(
    name="gang",
    slack=1.0,
    tolerance=0.1,
    pause_loss="0.5 h",
    minimum_run="1 h",
    throughput=CURVE,
)
BATCH = WorkKind(name="batch", slack=4.0, tolerance=0.4, throughput=CURVE)
POOL = RackPool(kinds=(GANG, BATCH), racks=100.0, rack_power=0.1, rack_idle_power=0.02)
ROOM = Headroom(available_racks=100.0, max_work_power=8.0, max_work_power_within_peak=8.0)
WINDY = replace(ROOM, site_power_without_work=15.0, onsite_power=20.0, export_limit=3.0)
"""The room of a site whose own 20 MW are more than it draws."""


def queue_of(*rows, running=()):
    """Return a queue from rows of (kind, length [h], racks, laxity [h])."""
    kind, length, racks, laxity = np.array(rows, dtype=float).T
    jobs = Jobs(
        number=np.arange(len(rows)) + 10,
        kind_index=kind.astype(np.int64),
        arrival=np.full(len(rows), NOW),
        deadline=NOW + ((length + laxity) * 3.6e9).astype("timedelta64[us]"),
        length=length,
        racks=racks,
    )
    queue = open_queue(POOL, jobs, NOW)
    on = np.isin(jobs.number, running)
    return JobQueue(
        **{**vars(queue), "caps": on.astype(float), "run_hours": np.where(on, 9.0, 0.0)}
    )


def plan(gang=(0.0, 1.0), batch=(0.0, 1.0)):
    """Return a step of a schedule from (racks, cap) by kind."""
    racks = np.array([[gang[0]], [batch[0]]])
    power = [n * float(POOL.power_above_idle(cap)) for n, cap in (gang, batch)]
    return xr.Dataset(
        {
            "work_racks": (("cohort", "level"), racks),
            "work_power": ("cohort", power),
            "battery_charge": ("battery", [3.0]),
            "renewable_used_power": ("renewable", [5.0, 9.0]),
            "renewable_available_power": ("renewable", [5.0, 10.0]),
            "grid_import_power": ((), 1.0),
            "grid_export_power": ((), 0.0),
        },
        coords={
            "duration": 0.25,
            "cohort": ["gang/2", "batch/2"],
            "kind": ("cohort", ["gang", "batch"]),
            "battery": ["b"],
            "renewable": ["sun", "wind"],
        },
    )


def ordered(queue, step, room=ROOM, carry=None):
    return dispatch_jobs(step, queue, headroom=room, carry=carry or {})


def test_work_behind_reserves_runs():
    """Proves: of two gangs of 20 racks, 6 planned, one runs at the planned power if 3 must.

    Sensitivity: none, since 6 are less than half a gang, and nothing of what is sold could stop.
    """
    queue, step = queue_of((1, 2, 20, 9), (1, 2, 20, 3)), plan(batch=(6.0, 1.0))
    assert ordered(queue, step)[0].jobs == {}
    sold = replace(ROOM, reserve_committed_power={"batch": 3.0 * float(POOL.power_above_idle(1.0))})
    orders, carry = ordered(queue, step, sold)
    assert list(orders.jobs) == [11]
    caps = np.array([0.0, orders.jobs[11]])
    assert running_power(queue, caps) >= 3.0 * float(POOL.power_above_idle(1.0))
    again, _ = ordered(queue, step, sold, carry)
    assert list(again.jobs) == [11]


def test_work_behind_reserves_precedes_work_with_pause_loss():
    """Proves: of 20 racks a gang that runs and may wait gets none while a batch of 10 must run.

    Sensitivity: the gang, which loses by a pause, comes first and leaves no racks.
    """
    queue = queue_of((0, 9, 20, 20), (1, 2, 10, 9), running=[10])
    step, few = plan(gang=(20.0, 1.0), batch=(5.0, 1.0)), replace(ROOM, available_racks=20.0)
    assert list(ordered(queue, step, few)[0].jobs) == [10]
    sold = replace(few, reserve_committed_power={"batch": float(POOL.power_above_idle(1.0))})
    assert list(ordered(queue, step, sold)[0].jobs) == [11]


def test_no_job_starts_that_would_run_into_a_target():
    """Proves: of 20 racks planned 4 are left to the kind when a target begins, less than half a
    gang: it waits, and one that runs already goes on. Sensitivity: it starts, and may not pause.
    """
    step, soon = plan(gang=(20.0, 1.0)), replace(ROOM, rack_limits_before_target={"gang": 4.0})
    waits = queue_of((0, 9, 10, 20))
    assert list(ordered(waits, step)[0].jobs) == [10]
    assert ordered(waits, step, soon)[0].jobs == {}
    assert list(
        ordered(waits, step, replace(soon, rack_limits_before_target={"gang": 6.0}))[0].jobs
    ) == [10]
    assert list(ordered(queue_of((0, 9, 10, 20), running=[10]), step, soon)[0].jobs) == [10]
    assert list(ordered(queue_of((0, 9, 10, 0.1)), step, soon)[0].jobs) == [10]  # it must


def test_least_laxity_runs_first_up_to_planned_racks():
    queue = queue_of((1, 2, 10, 9), (1, 2, 10, 3), (1, 2, 10, 6))
    orders, carry = ordered(queue, plan(batch=(20, 1.0)))
    assert orders.jobs == {11: 1.0, 12: 1.0}
    assert carry["batch"] == pytest.approx(0)


def test_one_cap_meets_the_planned_power():
    """20 racks planned at 0.8: the same power on the 20 racks that run."""
    queue = queue_of((1, 2, 10, 9), (1, 2, 10, 3))
    orders, _ = ordered(queue, plan(batch=(20, 0.8)))
    assert orders.jobs == pytest.approx({10: 0.8, 11: 0.8})


def test_fewer_racks_keep_the_planned_cap():
    """15 racks planned at 0.8 and one gang of 10: the gang does not take the power of 15 racks."""
    orders, _ = ordered(queue_of((1, 2, 10, 9)), plan(batch=(15, 0.8)))
    assert orders.jobs == pytest.approx({10: 0.8})
    orders, _ = ordered(queue_of((1, 2, 20, 9)), plan(batch=(15, 0.8)))
    each = 15 * float(POOL.power_above_idle(0.8)) / 20 + POOL.rack_idle_power
    assert orders.jobs == pytest.approx({10: each / POOL.rack_power})


def test_job_starts_while_it_can_still_run_capped():
    """9 h that may lose a tenth need 10 h capped; with an hour of laxity and none to wait."""
    queue = queue_of((0, 9, 10, 1.2), (0, 9, 10, 1.3))
    assert must_run_uncapped_if_delayed(queue, 0.25).tolist() == [True, False]
    assert not must_run(queue, 0.25).any()
    orders, _ = ordered(queue, plan())
    assert orders.jobs == pytest.approx({10: 0.75})


def test_job_due_only_when_capped_raises_no_peak():
    queue = queue_of((0, 9, 50, 1.2))
    calm = Headroom(available_racks=100.0, max_work_power=8.0, max_work_power_within_peak=0.5)
    assert ordered(queue, plan(), room=calm)[0].jobs == {}


def test_cap_is_never_deeper_than_tolerated():
    """Gangs tolerate a loss of 10 %: a cap of 0.75."""
    orders, _ = ordered(queue_of((0, 9, 10, 9)), plan(gang=(10, 0.5)))
    assert orders.jobs == pytest.approx({10: 0.75})


def test_urgent_job_runs_uncapped_though_unplanned():
    orders, _ = ordered(queue_of((1, 2, 10, 0.1), (1, 2, 10, 5)), plan())
    assert orders.jobs == {10: 1.0}


@pytest.mark.parametrize(("laxity", "cap"), [(-1.0, 1.0), (9.0, 0.5)])
def test_urgent_job_is_not_capped_while_late_work_waits(laxity, cap):
    """Proves: a batch that is due runs in place of a planned gang, with the power of the gang.

    Sensitivity: it ran capped, and the gang, late already, waited longer for its racks; over
    thirteen days at nine tenths of all racks jobs were late by three times as many hours.
    """
    queue = queue_of((1, 4, 20, 0.3), (0, 9, 30, laxity))  # the gang is too wide for what is free
    few = replace(ROOM, available_racks=20.0)
    orders, _ = ordered(queue, plan(gang=(20.0, 1.0)), few)
    assert orders.jobs == {10: pytest.approx(cap)}


def test_gang_waits_until_half_is_planned():
    """40 racks against a plan of 15 an interval: the carry starts it in the second, 15 + 15."""
    queue = queue_of((0, 9, 40, 9))
    step = plan(gang=(15, 1.0))
    orders, carry = ordered(queue, step)
    assert orders.jobs == {}
    assert carry["gang"] == pytest.approx(15 * 0.1 * 0.25)
    orders, carry = ordered(queue, step, carry=carry)
    assert orders.jobs.keys() == {10}
    assert carry["gang"] == pytest.approx(-10 * 0.1 * 0.25)


def test_job_that_ends_within_the_interval_leaves_racks_to_others():
    """Proves: the mean of the racks meets the plan: half of 20 racks, and 10 more, for 20 planned.

    Sensitivity: the 20 racks counted in full, and work stayed 2 MW below the plan at a large site.
    """
    queue = queue_of((1, 0.125, 20.0, 2.0), (1, 5.0, 10.0, 3.0))
    orders, carry = dispatch_jobs(plan(batch=(20.0, 1.0)), queue, headroom=ROOM, carry={})
    assert set(orders.jobs) == {10, 11}
    assert carry["batch"] == pytest.approx(0.0)


def test_running_gang_stays_at_a_quarter_of_its_racks():
    orders, _ = ordered(queue_of((0, 9, 40, 9), running=[10]), plan(gang=(12, 1.0)))
    assert orders.jobs.keys() == {10}
    orders, _ = ordered(queue_of((0, 9, 40, 9), running=[10]), plan(gang=(9, 1.0)))
    assert orders.jobs == {}


def test_started_gang_runs_for_its_minimum():
    queue, _ = advance_queue(queue_of((0, 9, 40, 9)), {10: 1.0}, hours=0.25)
    assert must_run(queue, 0.25).tolist() == [True]
    for _ in range(3):
        queue, _ = advance_queue(queue, {10: 1.0}, hours=0.25)
    assert must_run(queue, 0.25).tolist() == [False]


def test_no_more_racks_than_are_free():
    rng = np.random.default_rng(4)
    for _ in range(30):
        rows = [(k % 2, 5, rng.uniform(1, 40), rng.uniform(-1, 9)) for k in range(12)]
        queue = queue_of(*rows)
        room = Headroom(available_racks=60.0, max_work_power=3.0, max_work_power_within_peak=2.0)
        orders, _ = ordered(queue, plan(gang=(80, 1.0), batch=(50, 0.7)), room)
        racks = dict(zip(queue.jobs.number.tolist(), queue.jobs.racks.tolist(), strict=True))
        assert sum(racks[job] for job in orders.jobs) <= 60
        drawn = sum(
            racks[job] * float(POOL.power_above_idle(cap)) for job, cap in orders.jobs.items()
        )
        assert drawn <= 3.0 + 1e-9


def test_shortest_urgent_job_runs_first():
    queue = queue_of((1, 6, 1, -2), (1, 1, 1, -5), (1, 2, 1, 0.1), (1, 2, 1, 7))
    assert priority_order(queue, must_run(queue, 0.25)).tolist() == [1, 2, 0, 3]


@pytest.mark.slow
@given(
    lengths=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    laxities=st.lists(st.integers(-8, 0), min_size=5, max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_no_other_order_has_less_lateness(lengths, laxities):
    """Known answer: the least of all orders, jobs in quarter-hours and each as wide as the site.

    Sensitivity: a long job that may still be in time held up many short ones.
    """
    rows = [(1, n / 4, 20, lax / 4) for n, lax in zip(lengths, laxities, strict=False)]
    queue, late = queue_of(*rows), 0.0
    while len(queue.jobs):
        orders, _ = ordered(queue, plan(), replace(ROOM, available_racks=20.0))
        queue, done = advance_queue(queue, orders.jobs, hours=0.25)
        late += done.power_weighted_lateness
    assert late == pytest.approx(min(lateness_of(order) for order in permutations(rows)))


def lateness_of(order):
    """Return the lateness of jobs done one after the other, by hand. [MWh]"""
    ends = np.cumsum([length for _, length, _, _ in order])
    due = np.array([length + laxity for _, length, _, laxity in order])
    return float(np.maximum(ends - np.maximum(due, 0.0), 0.0).sum()) * 20 * POOL.rack_power


def test_gang_in_its_minimum_run_keeps_racks_from_due_work():
    """Of 100 racks each wants 60; the gang has run 15 min of its hour, the batch may wait 2 h."""
    queue = queue_of((0, 9, 60, 5.0), (1, 4, 60, 2.0), running=[10])
    queue = replace(queue, run_hours=np.array([0.25, 0.0]))
    assert must_run_uncapped_if_delayed(queue, 0.25).tolist() == [False, True]
    for _ in range(3):
        orders, _ = ordered(queue, plan(gang=(60, 1.0)))
        assert orders.jobs.keys() == {10}
        queue, done = advance_queue(queue, orders.jobs, hours=0.25)
        assert done.pauses == 0


def test_late_gang_in_its_minimum_run_continues():
    queue = queue_of((0, 9, 60, -0.2), (1, 4, 60, 0.1), running=[10])
    queue = replace(queue, run_hours=np.array([0.25, 0.0]))
    assert priority_order(queue, must_run(queue, 0.25)).tolist() == [0, 1]


def test_urgent_work_runs_before_due_work():
    """A pause would make the gang late; the batch, of less laxity, can still run capped."""
    queue = queue_of((0, 9, 60, 0.7), (1, 4, 60, 0.5), running=[10])
    must, soon = must_run(queue, 0.25), must_run_uncapped_if_delayed(queue, 0.25)
    assert (must.tolist(), soon.tolist()) == ([True, False], [True, True])
    assert priority_order(queue, must, soon).tolist() == [0, 1]


def test_caps_are_lowered_before_jobs_stop():
    """20 racks draw 1.6 MW uncapped, 0.8 MW at the 0.6 that batch tolerates."""
    queue = queue_of((1, 2, 10, 9), (1, 2, 10, 3))
    must = np.array([False, False])
    room = Headroom(available_racks=100, max_work_power=1.2, max_work_power_within_peak=1.2)
    caps = limit_caps(queue, np.ones(2), headroom=room, must=must)
    assert running_power(queue, caps) == pytest.approx(1.2)
    assert (caps > 0).all()
    room = Headroom(available_racks=100, max_work_power=0.5, max_work_power_within_peak=0.5)
    caps = limit_caps(queue, np.ones(2), headroom=room, must=must)
    assert caps[0] == 0
    assert running_power(queue, caps) == pytest.approx(0.5)


def test_only_urgent_work_raises_the_peak():
    queue = queue_of((1, 2, 10, 9), (1, 2, 10, 3))
    room = Headroom(available_racks=100, max_work_power=8.0, max_work_power_within_peak=0.5)
    caps = limit_caps(queue, np.ones(2), headroom=room, must=np.array([False, True]))
    assert caps.tolist() == [0.0, 1.0]


def test_stores_and_renewables_follow_the_plan():
    """Wind is curtailed by plan; of sun the site may take 1 MW of import and 3 of export more."""
    room = Headroom(
        available_racks=100,
        max_work_power=8.0,
        max_work_power_within_peak=8.0,
        site_power_without_work=1.0,
        export_limit=3.0,
    )
    orders, _ = ordered(queue_of((1, 2, 10, 9)), plan(), room)
    assert orders.battery_charge == {"b": 3.0}
    assert orders.tank_charge == {}
    assert orders.renewable_cap == {"sun": 5.0 + 4.0 / 2, "wind": 9.0}


def test_renewables_are_curtailed_to_the_export_limit():
    """They give 20 MW beside a load of 15: 5 go out where 3 may, so each yields its share of 2."""
    orders, _ = ordered(queue_of((1, 2, 10, 9)), plan(), WINDY)
    assert orders.renewable_cap == pytest.approx({"sun": 5.0 - 10.0 / 14, "wind": 9.0 - 18.0 / 14})


def test_wind_alone_is_curtailed_at_night():
    """Sensitivity: each was to yield 1 MW, and the sun that gives nothing yielded nothing."""
    step = plan()
    for word in ("renewable_used_power", "renewable_available_power"):
        step[word].values[...] = [0.0, 14.0]
    orders, _ = ordered(queue_of((1, 2, 10, 9)), step, WINDY)
    assert orders.renewable_cap == pytest.approx({"sun": 0.0, "wind": 12.0})


@pytest.mark.parametrize(("given", "left", "wind"), [(3.0, 1.0, 9.0), (0.5, 0.0, 9.0 * 12.5 / 14)])
def test_batteries_discharge_less_before_curtailment(given, left, wind):
    """Proves: what is not given stays in the battery, what is curtailed is lost; 2 MW too much."""
    step = plan().assign(battery_discharge=("battery", [given]))
    orders, _ = ordered(queue_of((1, 2, 10, 9)), step, WINDY)
    assert orders.battery_discharge == pytest.approx({"b": left})
    assert orders.renewable_cap["wind"] == pytest.approx(wind)


def test_curtailment_ignores_load_that_ends():
    """Of 20 racks 10 are done in six minutes: what they draw takes up no wind at the end.

    Sensitivity: with their 0.8 MW they may give 0.8 MW more, which go out beyond what may.
    """
    orders, _ = ordered(queue_of((1, 2, 10, 9), (1, 0.1, 10, 9)), plan(batch=(20, 1.0)), WINDY)
    assert len(orders.jobs) == 2
    lasting = 10 * float(POOL.power_above_idle(1.0))
    share = 1.0 + (15.0 + lasting - 20.0 + 3.0) / 14.0
    assert share < 1.0
    assert orders.renewable_cap == pytest.approx({"sun": 5.0 * share, "wind": 9.0 * share})


def test_rounding_to_gangs_does_not_drift():
    """A plan of 17 racks an interval, gangs of 10: over two days the error stays below a gang."""
    queue = queue_of(*[(1, 90, 10, 100)] * 6)
    carry, planned, given = {}, 0.0, 0.0
    for _ in range(192):
        orders, carry = ordered(queue, plan(batch=(17, 1.0)), carry=carry)
        queue, progress = advance_queue(queue, orders.jobs, hours=0.25)
        planned += 17 * 0.25
        given += float(progress.work_racks.sum()) * 0.25
        assert abs(planned - given) <= 10 * 0.25 + 1e-9
