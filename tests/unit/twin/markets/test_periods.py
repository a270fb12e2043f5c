"""Billing periods: local months, and values carried across them."""

import numpy as np
import pytest

from twin import time_axes
from twin.markets.tariffs import month_end, month_numbers, month_start, running_mean_import

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("moment", "start", "end"),
    [
        ("2026-07-31T21:59", "2026-06-30T22:00", "2026-07-31T22:00"),
        ("2026-07-31T22:00", "2026-07-31T22:00", "2026-08-31T22:00"),
        ("2026-10-31T22:30", "2026-09-30T22:00", "2026-10-31T23:00"),  # summer time has ended
        ("2026-12-31T23:30", "2026-12-31T23:00", "2027-01-31T23:00"),
        ("2026-03-29T01:30", "2026-02-28T23:00", "2026-03-31T22:00"),
    ],
)
def test_months_follow_local_time(moment, start, end):
    """Proves: months begin at local midnight, in winter 23:00 UTC, in summer 22:00 UTC."""
    at = time_axes.to_utc(moment)
    assert month_start(at, BERLIN) == time_axes.to_utc(start)
    assert month_end(at, BERLIN) == time_axes.to_utc(end)


def test_month_without_first_midnight_ends_at_midnight():
    """Proves: in Paraguay October 2023 began at 01:00, -03:00; November at 00:00, 03:00 UTC.

    Sensitivity: 04:00, if a month were added to 01:00.
    """
    at = time_axes.to_utc("2023-10-15T00:00")
    assert month_start(at, "America/Asuncion") == time_axes.to_utc("2023-10-01T04:00")
    assert month_end(at, "America/Asuncion") == time_axes.to_utc("2023-11-01T03:00")


def test_months_are_numbered_across_years():
    starts = np.array(
        ["2026-12-31T22:45", "2026-12-31T23:00", "2027-01-31T23:00"], "datetime64[us]"
    )
    assert month_numbers(starts, BERLIN).tolist() == [12 * 2026 + 11, 12 * 2027, 12 * 2027 + 1]
    assert month_numbers(starts, "UTC").tolist() == [12 * 2026 + 11, 12 * 2026 + 11, 12 * 2027]


def test_running_mean_by_hand():
    """Proves: a step from 0 to 1 MW gives 1 - 1/e after a week, however it is cut."""
    assert running_mean_import(0.0, 1.0, 168.0) == pytest.approx(1.0 - np.exp(-1.0))
    mean = 0.0
    for _ in range(672):
        mean = running_mean_import(mean, 1.0, 0.25)
    assert mean == pytest.approx(1.0 - np.exp(-1.0))


def test_running_mean_never_exceeds_the_peak():
    """Proves: within a month that began at or above it, it stays below the running peak."""
    rng = np.random.default_rng(5)
    mean, peak = 3.0, 3.0
    for taken in rng.uniform(0.0, 6.0, 500):
        mean, peak = running_mean_import(mean, taken, 0.25), max(peak, taken)
        assert mean <= peak
