"""Time: grids, horizons, regridding, market days."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin import time_axes, units
from twin.errors import ProblemError


def test_bare_date_is_midnight_utc_and_offsets_are_applied() -> None:
    assert time_axes.to_utc("2023-06-28") == np.datetime64("2023-06-28T00:00")
    assert time_axes.to_utc("2023-06-28T02:00+02:00") == np.datetime64("2023-06-28T00:00")


def test_regular_intervals_have_edges_and_durations() -> None:
    grid = time_axes.regular_axes(time_axes.to_utc("2023-06-28"), 4)
    assert grid.sizes == {"time": 4, "instant": 5}
    assert grid["duration"].to_numpy() == pytest.approx(np.full(4, 0.25))


def test_horizon_begins_with_quarter_hours_and_ends_with_hours() -> None:
    grid = time_axes.horizon_axes(time_axes.to_utc("2023-06-28T10:15"), [(2, 15), (3, 60)])
    edges = grid["instant"].to_numpy()
    assert grid["duration"].to_numpy()[:8] == pytest.approx(np.full(8, 0.25))
    assert edges[9] == np.datetime64("2023-06-28T13:00")
    assert edges[-1] == np.datetime64("2023-06-28T15:00")


@pytest.mark.parametrize("minutes", [0, 7, 15, 60, 95, 700])
def test_horizon_length_does_not_depend_on_the_start(minutes: int) -> None:
    start = time_axes.to_utc("2023-06-28T10:00") + np.timedelta64(minutes, "m")
    edges = time_axes.horizon_axes(start, [(24, 15), (24, 60), (120, 240)])["instant"].to_numpy()
    assert len(edges) == 96 + 24 + 30 + 1
    assert edges[0] == start
    assert (edges[121:].astype("datetime64[h]").astype(int) % 4 == 0).all()
    assert np.timedelta64(162, "h") < edges[-1] - start <= np.timedelta64(168, "h")


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("Europe/Berlin", "2023-03-26", "2023-03-25T23:00", 23),
        ("Europe/Berlin", "2023-06-28", "2023-06-27T22:00", 24),
        ("Europe/Berlin", "2023-10-29", "2023-10-28T22:00", 25),
        ("Atlantic/Azores", "2026-03-28", "2026-03-28T01:00", 24),
        ("Atlantic/Azores", "2026-03-29", "2026-03-29T01:00", 23),
        ("Atlantic/Azores", "2026-10-25", "2026-10-25T00:00", 25),
    ],
)
def test_days_have_23_24_or_25_hours(zone: str, day: str, begin: str, hours: int) -> None:
    """Proves: in the Azores 0:00 to 1:00 is left out, or runs twice, at 1:00 UTC."""
    first = pd.Timestamp(day)
    found, after = (time_axes.local_midnight(first + pd.DateOffset(days=n), zone) for n in (0, 1))
    assert found == time_axes.to_utc(begin)
    assert (after - found) / time_axes.HOUR == hours


def test_regridding_by_hand() -> None:
    """Two hours of 10 and 20 on the grid 0:30 to 1:30 make 0.5 x 10 + 0.5 x 20 = 15."""
    edges = time_axes.regular_axes(time_axes.to_utc("2023-06-28"), 2, time_axes.HOUR)[
        "instant"
    ].to_numpy()
    wanted = edges[:2] + np.timedelta64(30, "m")
    assert time_axes.regrid(np.array([10.0, 20.0]), edges, wanted) == pytest.approx([15.0])


@given(st.lists(st.floats(-500, 500), min_size=3, max_size=12), st.integers(1, 40))
def test_regridding_conserves_the_integral(values: list[float], pieces: int) -> None:
    edges = time_axes.regular_axes(time_axes.to_utc("2023-06-28"), len(values), time_axes.HOUR)[
        "instant"
    ].to_numpy()
    span = (edges[-1] - edges[0]) // np.timedelta64(1, "s")
    cuts = np.unique(np.linspace(0, span, pieces + 1).astype(int))
    wanted = edges[0] + cuts.astype("timedelta64[s]")
    means = time_axes.regrid(np.array(values), edges, wanted)
    assert means @ (np.diff(wanted) / time_axes.HOUR) == pytest.approx(sum(values), abs=1e-6)


def test_held_value_is_copied_without_rounding() -> None:
    """Proves: quarters of an hour have its value to the last bit, late in a year too."""
    edges = time_axes.regular_axes(time_axes.to_utc("2023-06-28"), 8760, time_axes.HOUR)[
        "instant"
    ].to_numpy()
    values = np.random.default_rng(0).choice([3.696, 0.672, 1.1], 8760)
    quarters = edges[0] + np.arange(4 * 8760 + 1) * time_axes.QUARTER_HOUR
    assert (time_axes.regrid(values, edges, quarters) == np.repeat(values, 4)).all()


def test_missing_value_affects_only_overlapping_intervals() -> None:
    """Sensitivity: one NaN of a long series made all later means NaN."""
    edges = np.datetime64("2026-01-01", "us") + np.arange(9) * np.timedelta64(15, "m")
    values = np.array([1.0, np.nan, 1.0, 1.0, 2.0, 2.0, 2.0, 4.0])
    assert time_axes.regrid(values, edges, edges[::2]) == pytest.approx(
        [np.nan, 1.0, 2.0, 3.0], nan_ok=True
    )
    assert time_axes.regrid(values, edges, edges[::4]) == pytest.approx([np.nan, 2.5], nan_ok=True)


def test_regridding_outside_the_data_is_refused() -> None:
    edges = time_axes.regular_axes(time_axes.to_utc("2023-06-28"), 2, time_axes.HOUR)[
        "instant"
    ].to_numpy()
    with pytest.raises(ValueError, match="reaches outside"):
        time_axes.regrid(np.zeros(2), edges, edges + np.timedelta64(1, "m"))


@pytest.mark.parametrize(
    "text", ["12.06.2023", "06/12/2023", "now", "tomorrow noon", "2026-13-01", "", "NaT"]
)
def test_invalid_times_are_refused(text: str) -> None:
    with pytest.raises(ProblemError, match="moment = "):
        time_axes.to_utc(text)


@pytest.mark.parametrize("steps", [[], [(24, 0)], [(24, -15)], [(0, 15)], [(24, 15), (24, 0.4)]])
def test_empty_horizon_is_refused(steps):
    """Proves: it went on for ever."""
    with pytest.raises(ProblemError, match="hours above 0 and minutes of 1 or more"):
        time_axes.horizon_axes(time_axes.to_utc("2026-06-01"), steps)


def test_formatted_times_are_truncated_and_name_their_zone() -> None:
    moment = np.datetime64("2026-07-01T00:59:59.9", "us")
    assert units.format_minute(moment) == "2026-07-01T00:59Z"
    assert units.format_second(moment) == "2026-07-01T00:59:59Z"


def test_time_bounds_follow_the_cf_conventions():
    """Intervals of 15 and 30 min from noon; 12:15 is the end of one and the start of the next."""
    grid = time_axes.interval_axes(
        np.array(["2026-01-01T12:00", "2026-01-01T12:15", "2026-01-01T12:45"], "datetime64[us]")
    )
    found = time_axes.with_time_bounds(grid)
    assert found["time"].attrs == {"standard_name": "time", "axis": "T", "bounds": "time_bnds"}
    assert found["time_bnds"].dims == ("time", "bnds")
    np.testing.assert_array_equal(found["time_bnds"][:, 0], grid["instant"][:-1])
    np.testing.assert_array_equal(found["time_bnds"][:, 1], grid["instant"][1:])
    assert "bounds" not in grid["time"].attrs
