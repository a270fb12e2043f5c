"""Scores of arrivals: traces whose scores are known."""

import numpy as np
import pytest

from benchmarks.arrival_scores import page, score
from twin.site_settings import WorkKind
from twin.time_axes import DAY, to_utc
from twin.workload.jobs import Jobs

KINDS = (WorkKind.model_construct(name="batch", slack=1.0),)
FORTNIGHT = 14 * DAY


def hourly(racks_of_day):
    """Return a job an hour in each day of 2023, with the racks of that day."""
    hours = 24 * 365
    arrival = to_utc("2023-01-01") + np.arange(1, hours + 1) * np.timedelta64(60, "m")
    return Jobs(
        number=np.arange(hours),
        kind_index=np.zeros(hours, dtype=np.int64),
        arrival=arrival.astype("datetime64[us]"),
        deadline=(arrival + np.timedelta64(6, "h")).astype("datetime64[us]"),
        length=np.full(hours, 2.0),
        racks=np.repeat(np.asarray(racks_of_day, dtype=float), 24),
    )


def test_equal_days_are_forecast_without_error():
    """Proves: of one job an hour, 12, 48 and 144 h of work come, in all windows and climatology."""
    found = score(hourly(np.ones(365)), KINDS, step=FORTNIGHT)
    assert found.mean_work == pytest.approx([12.0, 48.0, 144.0])
    for one in (found.climatology, found.windows, found.selected, found.bias):
        np.testing.assert_allclose(one, 0.0, atol=1e-9)
    assert found.above_burst == 0.0


def test_independent_days_are_covered():
    """Proves: windows of independent days are calibrated and score about as climatology does."""
    racks = np.random.default_rng(1).lognormal(sigma=0.5, size=365)
    found = score(hourly(racks), KINDS, step=3 * DAY)
    assert found.windows == pytest.approx(found.climatology, rel=0.1)
    inside = (found.rank > 0.1) & (found.rank <= 0.9)
    assert inside.mean() == pytest.approx(0.8, abs=0.12)
    assert (found.selected > found.windows).all()
    assert 0.0 < found.loss < 1.0


def test_weeks_of_calm_and_work_score_better_than_climatology():
    racks = np.where((np.arange(365) // 10) % 2 == 0, 1.0, 9.0)
    found = score(hourly(racks), KINDS, step=3 * DAY)
    assert (found.windows < 0.75 * found.climatology).all()


def test_page_has_both_tables():
    text = page(["| a | 6 |"], ["| b | 6 |"])
    assert text.index("12 weeks of history") < text.index("| a | 6 |")
    assert text.index("14 days of history") < text.index("| b | 6 |")
