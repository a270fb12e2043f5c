"""What of a kind still runs when a target begins, before what starts now may pause."""

import numpy as np

from optimizer.realtime.dispatch import rack_limits_before_target
from tests.support import small_days
from twin import time_axes

START = time_axes.to_utc("2026-06-16")


def plan(target):
    """Return two hours of a schedule whose racks of training fall by one every quarter."""
    found = time_axes.regular_axes(START, 8).assign_coords(
        cohort=["training/0", "training/1", "batch/0"],
        kind=("cohort", ["training", "training", "batch"]),
    )
    racks = np.stack([np.arange(8.0, 0.0, -1.0), np.ones(8), np.full(8, 5.0)], axis=1)
    found["work_racks"] = ("time", "cohort", "level"), racks[:, :, None]
    found["grid_import_target"] = ("time", "contract"), np.array([target]).T
    return found


def test_target_within_minimum_run_leaves_fewest_racks():
    """Proves: training runs for an hour, so that of a target in the second to fifth quarter three
    count: 6, 5 and 4 racks and one of the other cohort. Batch may pause at any time.
    """
    site, none = small_days.setting().site, np.inf
    schedule = plan([none, none, 2.0, 2.0, 2.0, none, none, none])
    assert rack_limits_before_target(site, schedule, START + time_axes.QUARTER_HOUR) == {
        "training": 5.0
    }
    assert (
        rack_limits_before_target(site, schedule, START + 4 * time_axes.QUARTER_HOUR) == {}
    )  # it holds now: planned as such
    assert rack_limits_before_target(site, plan([none] * 8), START) == {}
    assert rack_limits_before_target(site, schedule.drop_vars("grid_import_target"), START) == {}
