"""The horizon: quarter-hours throughout if data need them, else in the near hours only."""

import numpy as np
import pytest
import xarray as xr

from optimizer.problem.planning_outlook import HOURLY_HORIZON, QUARTER_HOUR_HORIZON, build_horizon
from optimizer.problem.problem import add_service_racks, build_problem_from_record
from tests.support import small_days
from twin import time_axes
from twin.markets.contracts import prices_published_until
from twin.time_axes import HOUR, QUARTER_HOUR


@pytest.fixture(scope="module")
def here():
    return small_days.setting(24)


@pytest.fixture(scope="module")
def now(here):
    return here.inputs.start


def with_price(record, at, more=5.0):
    """Return a record whose price differs in one quarter-hour."""
    is_then = record["time"].to_numpy() == at
    price = record["electricity_price"]
    return record.assign(electricity_price=price.copy(data=price.to_numpy() + more * is_then))


def is_fine(found, now):
    """Return whether a horizon is the one of quarter-hours; it must be one of the two."""
    fine, plain = (
        time_axes.horizon_axes(now, steps) for steps in (QUARTER_HOUR_HORIZON, HOURLY_HORIZON)
    )
    assert found.equals(fine) or found.equals(plain)
    return found.equals(fine)


def test_both_horizons_cover_a_week():
    for steps in (HOURLY_HORIZON, QUARTER_HOUR_HORIZON):
        assert sum(hours for hours, _ in steps) == 168.0
        assert steps[0][0] >= 6.0


def test_hourly_prices_need_no_quarters(here, now):
    assert not is_fine(build_horizon(here.site, here.inputs.series, now), now)


@pytest.mark.parametrize("quarters", range(1, 5))
def test_horizon_shape_is_equal_within_an_hour(here, now, quarters):
    later = now + quarters * QUARTER_HOUR
    found = build_horizon(here.site, here.inputs.series, later)
    assert not is_fine(found, later)
    assert found.sizes == build_horizon(here.site, here.inputs.series, now).sizes


def test_quarter_hour_prices_need_quarters(here, now):
    record = with_price(here.inputs.series, now + 7 * HOUR + QUARTER_HOUR)
    assert is_fine(build_horizon(here.site, record, now), now)


def test_unpublished_prices_do_not_choose_the_horizon(here, now):
    until = prices_published_until(now, here.site.resolved_market_time_zone)
    for at, expected in ((until - QUARTER_HOUR, True), (until + QUARTER_HOUR, False)):
        record = with_price(here.inputs.series, at)
        assert is_fine(build_horizon(here.site, record, now), now) == expected, at


@pytest.mark.parametrize(
    ("begin", "hours", "expected"),
    [(8.0, 1.0, False), (8.25, 0.5, True), (8.0, 0.25, True), (30.25, 0.5, False)],
)
def test_quarter_hour_targets_need_quarters(here, now, begin, hours, expected):
    """A missing limit is infinite; a limit of tomorrow evening is treated when it is near."""

    def promised(grid):
        since = (grid["time"].to_numpy() - now) / HOUR
        limit = np.where((since >= begin) & (since < begin + hours), 3.0, np.inf)
        return xr.Dataset({"grid_import_limit": ("time", limit)}, coords=grid.coords)

    assert (
        is_fine(build_horizon(here.site, here.inputs.series, now, requests=promised), now)
        == expected
    )


def test_horizon_can_be_given(here, now):
    fine = time_axes.horizon_axes(now, QUARTER_HOUR_HORIZON)
    problem = here.build_problem(fine)
    assert len(problem.interval_hours) == fine.sizes["time"]
    assert (
        len(here.build_problem().interval_hours)
        == here.initial_plan_axes().sizes["time"]
        < fine.sizes["time"]
    )


def test_service_racks_are_at_most_all_racks(here):
    past = here.workload.past(here.inputs.start)
    problem = build_problem_from_record(
        here.site, here.inputs.series, here.initial_state, queue=here.queue(), past=past
    )
    busy = problem.outlook["service_racks"].to_numpy()
    two = add_service_racks(problem, 2).outlook["service_racks"]
    np.testing.assert_allclose(two.to_numpy(), np.minimum(busy + 2, here.site.rack_count))
    assert two.attrs == problem.outlook["service_racks"].attrs
    every = (
        add_service_racks(problem, 10 * here.site.rack_count).outlook["service_racks"].to_numpy()
    )
    assert (every == here.site.rack_count).all()
