"""The two simple rules: deadlines first, then the cheapest known hours."""

from functools import partial

import numpy as np
import pytest

from optimizer.policies.price_rules import order_cheapest_hours, order_immediate
from optimizer.policies.storage_and_renewables import split_total_cap
from optimizer.realtime.workload_headroom import compute_headroom
from sites import load_site
from twin import time_axes, variables
from twin.simulation import state
from twin.time_axes import to_utc
from twin.workload.jobs import Jobs
from twin.workload.queue import RackPool, advance_queue, open_queue, running_power

NOW = to_utc("2023-06-12")


@pytest.fixture(scope="module")
def site():
    return load_site("small")


def known(price, temperature=15.0, own=0.0):
    """Return an outlook with a price an hour, in quarter-hours."""
    price = np.repeat(np.asarray(price, dtype=float), 4)
    count = len(price)

    def flat(value):
        return ("time", np.full(count, value))

    grid = time_axes.regular_axes(NOW, count).assign(
        electricity_price=("time", price),
        service_racks=flat(2.0),
        air_temperature=flat(temperature),
        relative_humidity=flat(0.5),
        air_pressure=flat(100.0),
        renewable_available_power=(("time", "renewable"), np.full((count, 1), own)),
    )
    return variables.tag_dataset(grid.assign_coords(renewable=["sun"]))


def queue_of(site, *rows):
    """Return a queue from rows of (kind, length [h], racks, due [h])."""
    kind, length, racks, due = np.array(rows, dtype=float).reshape(-1, 4).T
    jobs = Jobs(
        number=np.arange(len(rows)),
        kind_index=kind.astype(np.int64),
        arrival=np.full(len(rows), NOW),
        deadline=NOW + (due * 3.6e9).astype("timedelta64[us]"),
        length=length,
        racks=racks,
    )
    return open_queue(RackPool.from_site(site), jobs, NOW)


def decide(site, rule, price, queue, level=0.5, **around):
    calm = state.initial_state(site, NOW, level=level, peak_power=4.0)
    return rule(known(price, **around), calm, queue=queue, site=site)


def test_immediate_runs_all_jobs_at_any_price(site):
    orders = decide(site, order_immediate, [900, 1], queue_of(site, (1, 1, 4, 9), (0, 9, 4, 30)))
    assert orders.jobs == {0: 1.0, 1: 1.0}
    assert orders.battery_discharge == {}


def test_immediate_takes_turns_when_racks_are_short(site):
    rows = [(1, 1, 10, 9)] * 4
    orders = decide(site, order_immediate, [50], queue_of(site, *rows))
    assert list(orders.jobs) == [0, 1]


def test_threshold_waits_for_cheap_hours_before_the_deadline(site):
    """2 h due at 4 h: hours 1 and 2 are cheaper than now; with 5 h to go hour 4 is not needed."""
    waits = decide(site, order_cheapest_hours, [90, 20, 30, 80, 10], queue_of(site, (1, 1, 4, 4)))
    assert waits.jobs == {}
    runs = decide(site, order_cheapest_hours, [20, 90, 80, 70, 60], queue_of(site, (1, 1, 4, 4)))
    assert runs.jobs.keys() == {0}


def test_threshold_caps_a_job_with_slack(site):
    kind = RackPool.from_site(site).kinds[1]
    orders = decide(site, order_cheapest_hours, [20, 90, 80, 70], queue_of(site, (1, 1, 2, 4)))
    assert orders.jobs == pytest.approx({0: kind.min_power_share})


def test_threshold_without_caps_never_caps(site):
    """Proves: without caps the job of the last test runs in the same hours at full power."""
    letter = partial(order_cheapest_hours, caps_work=False)
    orders = decide(site, letter, [20, 90, 80, 70], queue_of(site, (1, 1, 2, 4)))
    assert orders.jobs == {0: 1.0}


def test_threshold_runs_uncapped_when_power_costs_nothing(site):
    orders = decide(site, order_cheapest_hours, [-20, 90, 80, 70], queue_of(site, (1, 1, 2, 4)))
    assert orders.jobs == {0: 1.0}


def test_threshold_meets_the_deadline(site):
    """1 h of work due in 1.1 h: it runs now, uncapped, at the worst of prices."""
    orders = decide(site, order_cheapest_hours, [900, 1, 1], queue_of(site, (1, 1, 4, 1.1)))
    assert orders.jobs == {0: 1.0}


def test_threshold_keeps_the_peak_for_deferrable_work(site):
    """8 jobs of 2 racks in the one cheap hour would draw 2 MW; the peak leaves 0.9."""
    pool = RackPool.from_site(site)
    calm = state.initial_state(site, NOW, peak_power=1.9)
    price = [20, *[90] * 23]
    orders = order_cheapest_hours(
        known(price), calm, queue=queue_of(site, *[(1, 1, 2, 20)] * 8), site=site
    )
    assert 0 < 2 * sum(float(pool.power_above_idle(cap)) for cap in orders.jobs.values()) < 0.9
    orders = order_cheapest_hours(
        known(price), calm, queue=queue_of(site, *[(1, 1, 2, 1.1)] * 8), site=site
    )
    assert list(orders.jobs.values()) == [1.0] * 8


def test_threshold_starts_a_month_at_the_usual_import(site):
    """Proves: without a peak yet, what may wait stays under the usual 1.5 MW, as if that were it.

    Sensitivity: all jobs at once, which would make the month's peak in its first hour.
    """
    price, jobs = [20, *[90] * 23], queue_of(site, *[(1, 1, 2, 20)] * 8)
    orders = [
        order_cheapest_hours(
            known(price), state.initial_state(site, NOW, **peak), queue=jobs, site=site
        ).jobs
        for peak in ({"peak_power": 1.5}, {"mean_weekly_import": 1.5}, {})
    ]
    assert orders[1] == orders[0]
    assert sum(orders[2].values()) > sum(orders[0].values())


@pytest.mark.parametrize(
    ("price", "way"), [(20, "battery_charge"), (90, "battery_discharge"), (50, None)]
)
def test_stores_trade_in_cheapest_and_dearest_quarter(site, price, way):
    day = [price, *[20] * 8, *[50] * 7, *[90] * 8]
    orders = decide(site, order_cheapest_hours, day, queue_of(site))
    for name in ("battery_charge", "battery_discharge"):
        assert bool(getattr(orders, name)) == (name == way)


def test_stores_idle_when_spread_does_not_cover_losses(site):
    day = [48, *[48] * 11, *[52] * 12]
    orders = decide(site, order_cheapest_hours, day, queue_of(site))
    assert orders.battery_charge == {}


def test_full_and_empty_stores_keep_their_margins(site):
    cheap = [20, *[20] * 11, *[90] * 12]
    assert decide(site, order_cheapest_hours, cheap, queue_of(site), level=1.0).battery_charge == {}
    dear = [90, *[90] * 11, *[20] * 12]
    assert (
        decide(site, order_cheapest_hours, dear, queue_of(site), level=0.0).battery_discharge == {}
    )


def test_renewables_are_curtailed_at_negative_prices(site):
    orders = decide(site, order_cheapest_hours, [-100] * 4, queue_of(site), own=1.0)
    assert orders.renewable_cap == {"sun": 0.0}
    orders = decide(site, order_cheapest_hours, [50] * 4, queue_of(site), own=1.0)
    assert orders.renewable_cap["sun"] >= 1.0


def test_zero_export_site_imports_the_margin(site):
    """Proves: sun leaves 2 % of the import's 4.7 MW to the grid. Sensitivity: it left nothing, and
    restless loads exported for hours."""
    closed = site.with_parameters("grid_1", export_limit=0.0)
    orders = decide(closed, order_cheapest_hours, [50] * 4, queue_of(closed), own=1.0)
    room = compute_headroom(
        closed, state.initial_state(closed, NOW, level=0.5), known([50], own=1.0)
    )
    assert room.export_limit == pytest.approx(-0.094)
    assert room.site_power_at(0.0) - orders.renewable_cap["sun"] == pytest.approx(0.094)


@pytest.mark.parametrize("hours", [0.1, 2.0])
def test_curtailment_keeps_the_import_margin(site, hours):
    """Proves: of more than the connection bears sun covers the rest, however soon jobs end.

    Sensitivity: what ended within the quarter-hour was not counted, and for its minutes a site
    without a battery imported 184 of 180 MW.
    """
    narrow = site.with_parameters("grid_1", import_limit=1.5)
    narrow = narrow.with_equipment(
        {name: one for name, one in narrow.equipment.items() if name != "battery_1"}
    )
    queue = queue_of(narrow, *[(1, hours, 3, 9)] * 6)
    orders = decide(narrow, order_cheapest_hours, [-200, -200, 20], queue, own=1.0)
    room = compute_headroom(
        narrow, state.initial_state(narrow, NOW, level=0.5), known([-200], own=1.0)
    )
    caps = np.array([orders.jobs.get(job, 0.0) for job in queue.jobs.number.tolist()])
    drawn = room.site_power_at(running_power(queue, caps))
    assert drawn > 1.5
    keep = 1.0 - narrow.margins.power
    assert drawn - orders.renewable_cap["sun"] == pytest.approx(keep * 1.5)


def test_wind_and_discharge_keep_the_export_margin(site):
    """Proves: what leaves is 0.306 MW at the most, 0.4 less 2 % of the import's 4.7.

    Sensitivity: the margin was 2 % of what the battery leaves of the site's draw, 9 kW, and
    restless loads broke the limit of the export for 24 min of a day of wind.
    """
    dear = [90, *[90] * 5, *[20] * 18]
    orders = decide(site, order_cheapest_hours, dear, queue_of(site), level=1.0, own=0.9)
    given = orders.battery_discharge["battery_1"]
    rests = decide(site, order_cheapest_hours, [50] * 24, queue_of(site), level=1.0, own=0.9)
    assert given > 0.7
    assert orders.renewable_cap["sun"] == pytest.approx(rests.renewable_cap["sun"] - given)
    calm = state.initial_state(site, NOW, level=1.0, peak_power=4.0)
    room = compute_headroom(site, calm, known(dear, own=0.9))
    assert orders.renewable_cap["sun"] + given - room.site_power_at(0.0) == pytest.approx(0.306)


@pytest.mark.parametrize("rule", [order_immediate, order_cheapest_hours])
def test_job_that_ends_within_the_interval_uses_no_wind(site, rule):
    """Proves: beside a job of 6 min wind is capped as beside none, beside one of 2 h for more."""
    short, long, none = (
        decide(site, rule, [50] * 4, queue_of(site, *rows), own=1.0).renewable_cap["sun"]
        for rows in ([(1, 0.1, 4, 0.2)], [(1, 2, 4, 2)], [])
    )
    assert short == pytest.approx(none)
    assert long > none + 0.1


def test_caps_share_expected_and_remaining_power():
    assert split_total_cap({"sun": 3.0, "wind": 1.0}, 2.0) == {"sun": 1.5, "wind": 0.5}
    assert split_total_cap({"sun": 3.0, "wind": 1.0}, 6.0) == {"sun": 4.0, "wind": 2.0}
    assert split_total_cap({"sun": 0.0}, 2.0) == {"sun": 2.0}


@pytest.mark.slow
@pytest.mark.parametrize("rule", [order_immediate, order_cheapest_hours])
def test_busy_day_is_done_in_time(site, rule):
    """60 % load for a day, jobs of 15 min to 6 h: nothing late, everything done by its end."""
    rng = np.random.default_rng(7)
    count = 90
    length = rng.uniform(0.25, 6, count)
    arrival = NOW + np.sort(rng.integers(0, 72, count)) * np.timedelta64(15, "m")
    racks = rng.uniform(0.5, 2.5, count)
    racks *= 0.6 * site.rack_count * 24 / float(racks @ length)
    jobs = Jobs(
        number=np.arange(count),
        kind_index=np.ones(count, dtype=np.int64),
        arrival=arrival,
        deadline=arrival + (length * 5 * 3.6e9).astype("timedelta64[us]"),
        length=length,
        racks=racks,
    )
    queue = open_queue(RackPool.from_site(site), jobs, NOW)
    calm = state.initial_state(site, NOW, peak_power=3.5)
    price = np.repeat(50 + 40 * np.sin(np.arange(60) / 24 * 2 * np.pi), 4)
    late = 0.0
    for step in range(192):
        if not len(queue.jobs) and step > 80:
            break
        ahead = known(price[step : step + 96 : 4])
        now = queue.instant
        moved = ahead.assign_coords(time_axes.regular_axes(now, ahead.sizes["time"]).coords)
        orders = rule(moved, calm, queue=queue, site=site)
        assert sum(jobs.racks[list(orders.jobs)]) <= site.rack_count - 2 + 1e-9
        queue, progress = advance_queue(queue, orders.jobs, hours=0.25, arrivals=jobs)
        late += progress.lateness
    assert len(queue.jobs) == 0
    assert late == pytest.approx(0, abs=0.5)


def test_same_view_gives_same_orders(site):
    queue = queue_of(site, *[(k % 2, 3, 2, 9 + k) for k in range(9)])
    first = decide(site, order_cheapest_hours, [50, 20, 80, 10], queue)
    assert first == decide(site, order_cheapest_hours, [50, 20, 80, 10], queue)
