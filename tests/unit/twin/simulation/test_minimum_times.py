"""Starts and violated minimum times of a known trajectory, by hand."""

import numpy as np

from twin.relations import SwitchableUnits
from twin.simulation.minimum_times import StagingCounts, breaks_minimum_times, unit_commitment_steps


def staging(on, *, count=2, step=0.25, **rules):
    units = SwitchableUnits(count=count, characteristics=lambda _: None, **rules)
    return StagingCounts.count(units, np.array(on, dtype=float), np.full(len(on), step))


def test_starts_and_stops_are_counted_unit_by_unit():
    """Proves: 1, 3, 3, 0, 2 units: one starts, then two, three stop, two start.

    Sensitivity: four starts if what ran at first were none.
    """
    assert staging([1, 3, 3, 0, 2], count=3) == StagingCounts(starts=5, stops=3)


def test_run_below_minimum_time_is_a_violation():
    """Proves: a unit that runs half an hour of an hour is one short run, of half an hour none."""
    course = [0, 1, 1, 0, 0]
    assert staging(course, min_up_time=1.0).min_up_violations == 1
    assert staging(course, min_up_time=0.5).min_up_violations == 0


def test_first_starts_are_no_violation():
    """Proves: before the run all rested for long enough; what runs from its begin started then."""
    rules = {"min_up_time": 9.0, "min_down_time": 9.0, "minimum_restart_time": 9.0}
    assert staging([1, 2], **rules) == StagingCounts(starts=2)
    assert staging([1, 0], **rules) == StagingCounts(starts=1, stops=1, min_up_violations=1)


def test_units_alternate():
    """Proves: of two units one runs on; a second of a quarter-hour lets the first rest.

    Sensitivity: one short run if the unit that came last went first.
    """
    assert staging([1, 1, 2, 1, 1], min_up_time=0.5).min_up_violations == 0
    assert staging([1, 1, 2, 1, 0], min_up_time=0.75).min_up_violations == 1


def test_rest_below_minimum_time_is_a_violation():
    """Proves: both run, one stops and is the only one that can start again a quarter-hour later."""
    assert staging([2, 1, 2], min_down_time=0.5).min_down_violations == 1
    assert staging([2, 1, 1, 2], min_down_time=0.5).min_down_violations == 0
    assert (
        staging([1, 0, 1], min_down_time=0.5).min_down_violations == 0
    )  # the other takes its turn


def test_restart_of_a_unit_too_soon_is_a_violation():
    """Proves: one unit starts at 0.25 h and 0.75 h: half an hour apart, of an hour asked for."""
    course = [0, 1, 0, 1, 1]
    assert staging(course, count=1, minimum_restart_time=1.0).restart_violations == 1
    assert staging(course, count=1, minimum_restart_time=0.5).restart_violations == 0
    assert staging(course, count=2, minimum_restart_time=1.0).restart_violations == 0


def test_idle_bank_has_no_starts():
    assert staging([0], min_up_time=1.0) == StagingCounts()


def too_soon(on, *, count=2, **rules):
    units = SwitchableUnits(count=count, characteristics=lambda _: None, **rules)
    return np.flatnonzero(
        breaks_minimum_times(units, np.array(on, float), np.full(len(on), 0.25))
    ).tolist()


def test_early_orders_are_located():
    """Proves: one started at 0.25 h and stops at 0.75 h, of an hour asked for; the first may stop.

    Sensitivity: nothing is found if it had run before, as the other may have.
    """
    assert too_soon([1, 2, 2, 1, 0], min_up_time=1.0) == [4]
    assert too_soon([2, 2, 2, 1, 0], min_up_time=1.0) == []
    assert too_soon([2, 1, 2, 2], min_down_time=0.5) == [2]
    assert too_soon([1, 2, 1, 2], min_down_time=0.5) == [3]
    assert too_soon([0, 1, 0, 1], min_down_time=0.5) == []  # the other takes its turn
    assert too_soon([0, 1, 0, 1, 0, 1], minimum_restart_time=1.25) == [5]


def test_plans_keep_whole_units_in_equal_intervals():
    assert unit_commitment_steps(np.array([0.25] * 100), 12.0) == 48
    assert unit_commitment_steps(np.array([0.1, 0.25, 0.25, 1.0]), 12.0) == 3
    assert unit_commitment_steps(np.array([1.0, 0.25]), 12.0) == 1


def test_banks_are_added():
    one, other = StagingCounts(starts=2, min_up_violations=1), StagingCounts(starts=3, stops=4)
    assert StagingCounts.total([one, other]) == StagingCounts(
        starts=5, stops=4, min_up_violations=1
    )
    assert StagingCounts.total([]) == StagingCounts()
