"""Files of meters: impossible values are refused, unknown ones are excluded and named."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.reporting.operating_data import join_files
from twin import time_axes, variables
from twin.errors import ProblemError
from twin.reporting.eu_report import year_length

HOURS = 48
BERLIN = "Europe/Berlin"
FLAT = {
    "facility_power": 10.0,
    "it_power": 8.0,
    "grid_import_power": 9.0,
    "grid_export_power": 0.0,
    "water_use": 2.0,
}


def meters():
    """Return two days of meters: 10 MW of the site, 8 of its IT, 2 m3 of water an hour."""
    grid = time_axes.regular_axes(time_axes.to_utc("2026-07-01"), HOURS, time_axes.HOUR).drop_vars(
        "instant"
    )
    values = {name: ("time", np.full(HOURS, value)) for name, value in FLAT.items()}
    return variables.tag_dataset(grid.assign(values))


@pytest.fixture
def write(tmp_path):
    """Return a function that writes meters to a file."""

    def written(what, name="meters"):
        path = tmp_path / f"{name}.nc"
        what.to_netcdf(path, engine="h5netcdf")
        return path

    return written


def report(*paths):
    """Return the figures and notes of files, and how many hours they cover."""
    done = CliRunner().invoke(app, ["report", "small", *map(str, paths), "--json", "-"])
    assert done.exit_code == 0, repr(done.exception)
    found = json.loads(done.stdout)
    value = {key: one["value"] for key, one in found["figures"].items()}
    return value, found["notes"], found["hours"]


def test_unknown_intervals_are_excluded_and_named(write):
    """Proves: 40 of 48 h are counted, PUE stays 10/8. Sensitivity: gaps counted as 0 MW."""
    what = meters()
    what["facility_power"][10:14] = np.nan
    what["water_use"][12:18] = np.inf
    value, notes, hours = report(write(what))
    assert hours == 40.0
    assert value["E_DC"] == pytest.approx(400_000.0)
    assert (value["PUE"], value["WUE"]) == pytest.approx((1.25, 0.25))
    assert "40 h of a year's 8,760: 0.5%" in notes
    span = "from 2026-07-01T{}:00Z to 2026-07-01T{}:00Z"
    for name, begin, end, lost in (("facility_power", 10, 14, 4), ("water_use", 12, 18, 6)):
        words = f"is no number {span.format(begin, end)}: no figure counts these {lost}.0 h"
        assert f"{name} {words}" in notes


def test_variable_without_any_value_is_refused(write):
    what = meters()
    what["water_use"][:] = np.nan
    with pytest.raises(ProblemError, match=r"water_use is no number.*\[time-gap\]"):
        join_files([write(what)], site="small")


def test_negative_power_is_refused_with_file_and_time(write):
    what = meters()
    what["it_power"][7:] = -2.0
    with pytest.raises(ProblemError, match=r"meters.nc, it_power, 2026-07-01T07:00Z = -2 MW"):
        join_files([write(what)], site="small")


@pytest.mark.parametrize(("unit", "of_an_hour"), [("min", 60.0), ("s", 3600.0), ("hours", 1.0)])
def test_durations_are_read_in_their_unit(write, unit, of_an_hour):
    """Proves: an hour is 60 min. Sensitivity: two days counted as 2,880 h."""
    what = meters()
    what["duration"] = ("time", np.full(HOURS, of_an_hour), {"units": unit})
    value, _, hours = report(write(what.set_coords("duration")))
    assert hours == pytest.approx(48.0)
    assert value["E_DC"] == pytest.approx(480_000.0)


@pytest.mark.parametrize("unit", [None, "MW", "1"])
def test_durations_in_other_units_are_refused(write, unit):
    what = meters()
    what["duration"].attrs = {} if unit is None else {"units": unit}
    with pytest.raises(ProblemError, match=rf"meters\.nc, duration = .*{unit}.*\[wrong-unit\]"):
        join_files([write(what)], site="small")


@pytest.mark.parametrize("length", [0.0, -1.0, np.nan])
def test_intervals_without_length_are_refused(write, length):
    what = meters()
    what["duration"][3] = length
    with pytest.raises(ProblemError, match="duration = not above 0"):
        join_files([write(what)], site="small")


def test_gap_inside_a_file_is_named(write):
    what = meters()
    _, notes, hours = report(write(what.isel(time=np.r_[0:10, 30:HOURS])))
    assert hours == 28.0
    assert "nothing is known from 2026-07-01T10:00Z for 20.0 h" in notes


def test_many_gaps_are_reported_together(write):
    """Quarter-hours that stand for hours leave 47 gaps of 45 min, of which five are listed."""
    what = meters()
    what["duration"][:] = 0.25
    _, notes, hours = report(write(what))
    assert hours == 12.0
    assert sum(note.startswith("nothing is known") for note in notes) == 5
    assert "nor between 42 more intervals, 31.5 h together" in notes


def test_repeated_time_in_one_file_is_refused(write):
    what = meters()
    time = what["time"].to_numpy().copy()
    time[5] = time[4]
    with pytest.raises(ProblemError, match="give each time once"):
        join_files([write(what.assign_coords(time=time))], site="small")


def test_an_interval_inside_a_longer_one_is_refused(write):
    """Proves: a whole day, then its second hour. Sensitivity: only neighbours were compared."""
    day = meters().isel(time=[0, 30])
    day["duration"][:] = [24.0, 1.0]
    hours = meters().isel(time=[24, 5, 2])
    with pytest.raises(ProblemError, match=r"hours.nc = 2026-07-01T02:00Z: .*interval of .*day.nc"):
        join_files([write(day, "day"), write(hours, "hours")], site="small")


def test_descending_times_are_sorted(write):
    run, _ = join_files([write(meters().isel(time=slice(None, None, -1)))], site="small")
    assert (np.diff(run["time"].to_numpy()) > np.timedelta64(0, "s")).all()


def test_a_foreign_unit_or_axis_is_refused_with_its_file(write):
    kilowatts = meters()
    kilowatts["facility_power"].attrs["units"] = "kW"
    with pytest.raises(ProblemError, match=r"kw.nc, facility_power = 'kW'"):
        join_files([write(kilowatts, "kw")], site="small")
    sun = meters().assign(renewable_used_power=meters()["it_power"].assign_attrs(units="MW"))
    with pytest.raises(ProblemError, match=r"sun.nc, renewable_used_power = .*\[wrong-axes\]"):
        join_files([write(sun, "sun")], site="small")
    counted = meters().assign_coords(time=np.arange(HOURS))
    with pytest.raises(ProblemError, match=r"counted.nc, time = .*\[wrong-type\]"):
        join_files([write(counted, "counted")], site="small")


def test_idle_it_leaves_indicators_unknown(write):
    what = meters()
    what["it_power"][:] = 0.0
    value, _, _ = report(write(what))
    assert value["PUE"] is None
    assert value["E_IT"] == 0.0


def test_leap_year_has_one_more_day(write):
    """Proves: 48 of the 8,784 h of 2024, by the clock of the site. Sensitivity: 8,784 were 100.3%.

    31 December 23:30 UTC is 2025 in Berlin.
    """
    what = meters()
    leap = time_axes.regular_axes(time_axes.to_utc("2024-07-01"), HOURS, time_axes.HOUR).drop_vars(
        "instant"
    )
    _, notes, _ = report(write(what.assign_coords(leap.coords)))
    assert "48 h of a year's 8,784: 0.5%" in notes
    assert (
        year_length(time_axes.regular_axes(time_axes.to_utc("2024-12-31T23:30"), 1), BERLIN)
        == 8760.0
    )
    assert (
        year_length(time_axes.regular_axes(time_axes.to_utc("2024-12-31T22:30"), 1), BERLIN)
        == 8784.0
    )
