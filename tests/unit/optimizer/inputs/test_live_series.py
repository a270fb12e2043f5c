"""The series of a running service: read again when files change, kept when they break."""

import os
import subprocess
import sys

import numpy as np
import pytest
from structlog.testing import capture_logs

import sites
from optimizer.inputs.live_series import LiveSeries
from tests.conftest import ROOT
from tests.support import small_days
from tests.support.reserve_days import product
from twin import time_axes
from twin.errors import SeriesError
from twin.forecast.outlook import outlook

SITE = sites.load_site("small")
NOW = time_axes.to_utc("2026-06-16T08:00")


@pytest.fixture
def copies(tmp_path):
    """Return copies of the synthetic files, which tests may change."""
    paths = {}
    for name in ("prices", "weather"):
        source = sites.series_file(name)
        paths[name] = tmp_path / source.name
        paths[name].write_bytes(source.read_bytes())
    return paths


@pytest.fixture
def series(copies):
    return LiveSeries(SITE, small_days.files(**copies))


def doubled(path):
    """Double all prices and change the modification time."""
    head, *rows = path.read_text().splitlines()
    place = head.split(",").index("price_eur_mwh")
    changed = [row.split(",") for row in rows]
    for row in changed:
        row[place] = str(2.0 * float(row[place]))
    path.write_text("\n".join([head, *(",".join(row) for row in changed)]) + "\n")
    touched(path)


def touched(path):
    stamp = path.stat().st_mtime_ns + 1_000_000_000
    os.utime(path, ns=(stamp, stamp))


def price(record):
    return float(record["electricity_price"].sel(time=NOW))


def test_unchanged_files_are_read_once(series):
    assert series.current(NOW) is series.current(NOW + time_axes.QUARTER_HOUR)
    assert series.trouble == ""


def test_changed_file_is_read_again(series, copies):
    before = price(series.current(NOW))
    doubled(copies["prices"])
    assert price(series.current(NOW)) == pytest.approx(2.0 * before)


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"\xff\xfe\x00\x01", b"time_utc,price_eur_mwh\nx,y\n"]
)
@pytest.mark.parametrize("name", ["prices", "weather"])
def test_damaged_file_keeps_earlier_series_and_is_reported(series, copies, name, content):
    before, whole = series.current(NOW), copies[name].read_bytes()
    copies[name].write_bytes(content)
    touched(copies[name])
    for _ in range(2):
        assert series.current(NOW) is before
        assert series.trouble.startswith("series as last read: ")
        assert copies[name].name in series.trouble
    copies[name].write_bytes(whole)
    touched(copies[name])
    assert series.current(NOW).equals(before)
    assert series.trouble == ""


def test_missing_file_is_reported_until_it_returns(series, copies):
    before, whole = series.current(NOW), copies["prices"].read_bytes()
    copies["prices"].unlink()
    assert series.current(NOW) is before
    assert "no such file" in series.trouble
    copies["prices"].write_bytes(whole)
    series.current(NOW)
    assert series.trouble == ""


def test_files_never_valid_are_refused_until_valid(series, copies):
    whole = copies["prices"].read_bytes()
    copies["prices"].unlink()
    assert (
        f"no such file: {copies['prices']}" in series.errors(NOW)["files"]
    )  # before any plan needs it
    for _ in range(2):
        with pytest.raises(SeriesError, match="no such file"):
            series.current(NOW)
    assert "no such file" in series.errors(NOW)["files"]
    copies["prices"].write_bytes(b"junk")
    with pytest.raises(SeriesError):
        series.current(NOW)
    assert "prices" in series.errors(NOW)["files"]
    copies["prices"].write_bytes(whole)
    assert np.isfinite(price(series.current(NOW)))
    assert "files" not in series.errors(NOW)


def test_typical_year_continues_into_the_next_year(copies, tmp_path):
    """No file changes, but the next year is appended."""
    files = small_days.files(prices=copies["prices"], weather=small_days.typical_year(tmp_path))
    series = LiveSeries(SITE, files)
    series.current(time_axes.to_utc("2026-12-01"))
    record = series.current(time_axes.to_utc("2026-12-30"))
    times = record["time"].to_numpy()[record["air_temperature"].notnull().to_numpy()]
    assert times[-1] > time_axes.to_utc("2027-01-02")


@pytest.mark.parametrize("days", [5, 9, 40])
@pytest.mark.parametrize("is_gone", [False, True])
def test_plans_continue_with_forecasts_from_old_files(series, copies, days, is_gone):
    """Proves: files that ended long ago, or are missing since, still give a week's forecast.

    Sensitivity: from the eighth day on there was no plan at all (`the series cover ...; ask within,
    or give longer ones`), beside an alarm that said `plans continue with forecasts`.
    """
    series.current(time_axes.to_utc("2026-06-30"))
    if is_gone:
        copies["prices"].unlink()
    now = time_axes.to_utc("2026-07-01") + days * np.timedelta64(1, "D")
    ahead = outlook(
        SITE, series.current(now), now, axes=time_axes.horizon_axes(now, [(24, 15), (144, 60)])
    )
    prices = ahead["electricity_price"].to_numpy()
    known = series.current(NOW)["electricity_price"].to_numpy()
    assert np.nanmin(known) <= prices.min() < prices.max() <= np.nanmax(known)
    assert np.isfinite(ahead["air_temperature"].to_numpy()).all()


def alarm_and_short_files(copies, moment, **others):
    """Return alarm and short files, with files written two days before."""
    series = LiveSeries(SITE, small_days.files(**copies), **others)
    now = time_axes.to_utc(moment)
    for path in copies.values():
        when = int((now - np.timedelta64(2, "D")).astype(np.int64)) * 1000
        os.utime(path, ns=(when, when))
    series.current(now)
    return "; ".join(series.errors(now).values()), sorted(series.short_series(now))


@pytest.mark.parametrize(
    ("moment", "short"),
    [
        ("2026-06-28T23:30Z", []),
        ("2026-06-30T08:00Z", ["weather"]),  # covers the rest of the day, but not 24 h
        ("2026-06-30T12:00Z", ["weather"]),  # tomorrow was published at 10:55 and may still arrive
        ("2026-06-30T12:54Z", ["weather"]),
        ("2026-06-30T12:55Z", ["prices", "weather"]),
        ("2026-07-04T00:00Z", ["prices", "weather"]),
    ],
)
def test_outdated_files_raise_an_alarm(copies, moment, short):
    """Sensitivity: prices that ended days ago showed in `explain` only."""
    words, found = alarm_and_short_files(copies, moment)
    assert found == short
    assert bool(words) is bool(short)


def test_alarm_names_file_end_and_age(copies):
    words, _ = alarm_and_short_files(copies, "2026-07-04T00:00Z")
    assert words == (
        "synthetic_prices.csv has prices until 2026-07-01T00:00Z, 3 days ago; published until "
        "2026-07-04T22:00Z: the file is 2 days old, plans continue with forecasts; "
        "synthetic_weather.json has weather until 2026-07-01T00:00Z, 3 days ago; required for "
        "24 h: the file is 2 days old, plans continue with forecasts"
    )


def test_recorded_times_raise_no_alarm(copies):
    assert alarm_and_short_files(copies, "2026-07-04T00:00Z", is_recorded=True) == ("", [])


@pytest.mark.slow
def test_preload_loads_libraries_and_changes_nothing(copies):
    words = (
        "import sys, sites; from pathlib import Path\n"
        "from optimizer.inputs.live_series import LiveSeries\n"
        "from optimizer.inputs.series_files import SeriesFiles\n"
        "import numpy as np\n"
        f"files = SeriesFiles(prices=Path({str(copies['prices'])!r}), "
        f"weather=Path({str(copies['weather'])!r}))\n"
        "series = LiveSeries(sites.load_site('small'), files)\n"
        "assert 'pvlib' not in sys.modules\n"
        "series.preload_libraries()\n"
        "series.current(np.datetime64('2026-07-01', 'us'))\n"
        "assert 'pvlib' in sys.modules and series.trouble == ''\n"
        "assert sys.modules['pvlib'].solarposition.spa_python  # whole: a record waits for it\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", words], cwd=ROOT, check=True
    )


def test_unread_columns_are_logged(copies, tmp_path):
    """Proves: sold capacity in an unread column is reported."""
    reserves = tmp_path / "reserves.csv"
    reserves.write_text(
        "time_utc,fcr_kw,fcr_eur_mw_h\n2026-06-16T00:00Z,9,5\n2026-06-16T04:00Z,9,5\n"
    )
    site = SITE.model_copy(update={"reserves": {"fcr": product("fcr")}})
    with capture_logs() as logs:
        LiveSeries(site, small_days.files(**copies, reserves=reserves)).current(NOW)
    (notes,) = (one["notes"] for one in logs if one["event"] == "series read")
    assert "reserves.csv: not read: fcr_kw" in notes
