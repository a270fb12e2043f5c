"""Only perfect foresight uses data that are not known yet.

All data unknown at a moment are falsified: prices beyond the published days, measurements from the
current hour on, later jobs, and later announcements and withdrawals. Orders, schedules and initial
states must stay identical.
"""

from dataclasses import fields, replace

import numpy as np
import pytest

from optimizer.backtesting.case import BacktestCase
from optimizer.policies.mpc import MpcPolicy, StochasticMpcPolicy
from optimizer.policies.policy import RULE_ORDERS, Observation, RulePolicy
from tests.support import small_days
from twin import time_axes
from twin.forecast.series_record import MEASURED_VARIABLES
from twin.simulation import state
from twin.workload.jobs import Announcements, Jobs
from twin.workload.queue import RackPool, open_queue

START = time_axes.to_utc(small_days.START)
BEFORE = time_axes.to_utc("2026-06-16T09:30")  # tomorrow's prices are not published
AFTER = time_axes.to_utc("2026-06-16T11:00")  # 13:00 in Frankfurt: they are
KNOWN_UNTIL = {  # end of measurements, end of published prices
    START: (START, time_axes.to_utc("2026-06-16T22:00")),
    BEFORE: (time_axes.to_utc("2026-06-16T09:00"), time_axes.to_utc("2026-06-16T22:00")),
    AFTER: (time_axes.to_utc("2026-06-16T11:00"), time_axes.to_utc("2026-06-17T22:00")),
}
SPOILERS = ("nothing", "huge", "noise")


def spoilt(values, how):
    """Return values that are missing, absurd, or near the truth."""
    rng = np.random.default_rng(11)
    wrong = {
        "nothing": np.full(values.shape, np.nan),
        "huge": np.full(values.shape, 1e9),
        "noise": values + 50.0 * rng.normal(size=values.shape),
    }
    return wrong[how]


def without_future(record, now, *, how):
    """Return series in which all data unknown at a moment are falsified."""
    spoiled = record.copy(deep=True)
    measured, published = KNOWN_UNTIL[now]
    until = dict.fromkeys((*MEASURED_VARIABLES, "renewable_available_power"), measured)
    until["electricity_price"] = published
    for name, end in until.items():
        later = record["time"].to_numpy() >= end
        spoiled[name].values[later] = spoilt(record[name].to_numpy()[later], how)
    return spoiled


def other_jobs(jobs, now, *, how):
    """Return jobs whose later ones are replaced or removed."""
    if how == "nothing":
        return jobs.select(jobs.arrival <= now)
    later = jobs.arrival > now
    changed = {f.name: getattr(jobs, f.name).copy() for f in fields(Jobs)}
    changed["length"][later] = spoilt(jobs.length[later], how)
    changed["racks"][later] = spoilt(jobs.racks[later], how)
    changed["kind_index"][later] = 1 - jobs.kind_index[later]
    changed["deadline"][later] += np.timedelta64(99, "h")
    return Jobs(**changed)


def announced_by(workload, *, lead_h):
    """Return a workload whose arrivals were all announced some hours before."""
    past = workload.arrival_history
    lead = np.timedelta64(lead_h, "h")
    made = Announcements(
        number=past.number,
        kind_index=past.kind_index,
        announced=past.arrival - lead,
        start=past.arrival,
        withdrawn=np.full(len(past), np.datetime64("NaT", "us")),
        length=past.length,
        racks=past.racks,
        probability=np.ones(len(past)),
    )
    return replace(workload, announcements=made)


def other_announcements(made, now):
    """Return announcements of which later ones are of other work, and all are withdrawn later."""
    later = made.announced > now
    return replace(
        made,
        racks=np.where(later, 3.0 * made.racks, made.racks),
        start=np.where(later, made.start + np.timedelta64(5, "h"), made.start),
        withdrawn=np.full(len(made), now + np.timedelta64(1, "m")),
    )


def other_future(now, how):
    """Return series and workload of a day with another future."""
    here = small_days.setting()
    work = here.workload
    other = replace(
        work,
        jobs=other_jobs(work.jobs, now, how=how),
        arrival_history=other_jobs(work.arrival_history, now, how=how),
    )
    return without_future(here.inputs.series, now, how=how), other


def known_future():
    here = small_days.setting()
    return here.inputs.series, here.workload


def decided(policy, now, future):
    """Return the orders of a policy at a moment, and its schedule if it makes one."""
    here, (record, workload) = small_days.setting(), future
    schedules = []

    def listen(decision):
        schedules.append(decision.schedule)

    made = {
        "immediate": lambda: RulePolicy(here.site, record, RULE_ORDERS["immediate"]),
        "threshold_capped": lambda: RulePolicy(here.site, record, RULE_ORDERS["threshold_capped"]),
        "deterministic": lambda: MpcPolicy(
            here.site, record, workload=workload, on_decision=listen
        ),
        "hedged": lambda: StochasticMpcPolicy(
            here.site, record, workload=workload, count=3, on_decision=listen
        ),
        "perfect": lambda: MpcPolicy(
            here.site, record, workload=workload, until=here.inputs.end, on_decision=listen
        ),
    }[policy]()
    calm = state.initial_state(here.site, now, peak_power=2.5, grid_import_power=1.5)
    queue = open_queue(RackPool.from_site(here.site), here.workload.jobs, now)
    return made.orders(Observation(state=calm, queue=queue)), schedules


@pytest.mark.parametrize(
    "policy", ["deterministic", pytest.param("hedged", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("how", SPOILERS)
@pytest.mark.parametrize("now", [BEFORE, AFTER], ids=["before noon", "after publication"])
def test_plan_is_identical_for_every_future(now, how, policy):
    orders, (schedule,) = decided(policy, now, known_future())
    other_orders, (other_schedule,) = decided(policy, now, other_future(now, how))
    assert other_orders == orders
    assert other_schedule.identical(schedule)
    assert len(orders.jobs) > 0


@pytest.mark.parametrize(
    "policy", ["deterministic", pytest.param("hedged", marks=pytest.mark.slow)]
)
def test_plan_uses_only_what_was_announced_before(policy):
    """Proves: announcements change a plan, and those after its moment do not.

    Sensitivity: a plan that read the whole file would know withdrawals ahead.
    """
    record, workload = known_future()
    announced = announced_by(workload, lead_h=20)
    made = other_announcements(announced.announcements, BEFORE)
    orders, (schedule,) = decided(policy, BEFORE, (record, announced))
    other_orders, (other,) = decided(
        policy, BEFORE, (record, replace(announced, announcements=made))
    )
    assert other_orders == orders
    assert other.identical(schedule)
    _, (without,) = decided(policy, BEFORE, (record, workload))
    assert not without.identical(schedule)


@pytest.mark.parametrize(
    "policy", ["deterministic", pytest.param("hedged", marks=pytest.mark.slow)]
)
def test_announcements_without_confidence_leave_the_plan(policy):
    """Proves: a plan with confidence 0 equals the plan without announcements."""
    record, workload = known_future()
    announced = announced_by(workload, lead_h=20)
    doubted = replace(announced.announcements, probability=np.zeros(len(announced.announcements)))
    _, (schedule,) = decided(policy, BEFORE, (record, workload))
    _, (other,) = decided(policy, BEFORE, (record, replace(workload, announcements=doubted)))
    assert other.identical(schedule)


@pytest.mark.parametrize("how", SPOILERS)
@pytest.mark.parametrize("policy", ["immediate", "threshold_capped"])
def test_rules_do_not_look_ahead(policy, how):
    orders, _ = decided(policy, BEFORE, known_future())
    other_orders, _ = decided(policy, BEFORE, other_future(BEFORE, how))
    assert other_orders == orders


@pytest.mark.parametrize("how", SPOILERS[1:])  # a plant cannot run without weather
def test_initial_state_reveals_no_future(how):
    """Its peak is that of mean work in the expected weather."""
    here = small_days.setting()
    other = replace(here.inputs, series=without_future(here.inputs.series, START, how=how))
    other_begin = BacktestCase.of(here.site, other, load_scale=0.6).initial_state
    assert other_begin.identical(here.initial_state)
    assert float(other_begin["peak_power"]) > 1.0


def test_published_prices_change_the_plan():
    """The last hour of the published prices is seen: the test above can fail."""
    _, (schedule,) = decided("deterministic", BEFORE, known_future())
    record, workload = known_future()
    changed = record.copy(deep=True)
    _, end = KNOWN_UNTIL[BEFORE]
    last_hour = slice(end - time_axes.HOUR, end - time_axes.QUARTER_HOUR)
    changed["electricity_price"].loc[{"time": last_hour}] = -300.0
    _, (other,) = decided("deterministic", BEFORE, (changed, workload))
    assert not other.identical(schedule)


def test_perfect_foresight_looks_ahead():
    _, (schedule,) = decided("perfect", BEFORE, known_future())
    _, (other,) = decided(
        "perfect", BEFORE, (known_future()[0], other_future(BEFORE, "nothing")[1])
    )
    assert not other.identical(schedule)
