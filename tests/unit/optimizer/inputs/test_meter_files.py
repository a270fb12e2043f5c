"""Files of meters: accepted and refused contents."""

import numpy as np
import pytest

from optimizer.inputs.meter_files import read_meter
from twin.errors import SeriesError


def written(tmp_path, text):
    path = tmp_path / "meter.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("column", "value"),
    [("import_mw", "4.0"), ("import_kw", "4000"), ("import_mwh", "1.0"), ("import_kwh", "1000")],
)
def test_every_unit_becomes_mean_power(tmp_path, column, value):
    """Proves: 1 MWh in a quarter-hour are 4 MW."""
    path = written(tmp_path, f"time_utc,{column}\n2026-01-01T00:00,{value}\n")
    starts, power = read_meter(path)
    assert starts.tolist() == [np.datetime64("2026-01-01T00:00", "us").item()]
    assert power == pytest.approx([4.0])


def test_offsets_are_read_across_the_clock_change(tmp_path):
    """Proves: 02:45+02:00 and 02:00+01:00 are neighbours in October."""
    rows = "2026-10-25T02:45+02:00,1\n2026-10-25T02:00+01:00,2\n"
    starts, power = read_meter(written(tmp_path, f"time,import_mw\n{rows}"))
    assert np.diff(starts)[0] == np.timedelta64(15, "m")
    assert power.tolist() == [1.0, 2.0]


def test_local_times_are_read_in_the_given_zone(tmp_path):
    """Proves: an October hour that comes twice is summer time first. Sensitivity: none was read."""
    hours = [2, 2, 2, 2, 2, 2, 2, 2, 3]
    rows = [f"2026-10-25T{hour:02}:{15 * (at % 4):02},1" for at, hour in enumerate(hours)]
    path = written(tmp_path, "\n".join(["time,import_mw", *rows]))
    starts, _ = read_meter(path, zone="Europe/Berlin")
    assert [str(starts[at]) for at in (0, 8)] == [
        "2026-10-25T00:00:00.000000",
        "2026-10-25T02:00:00.000000",
    ]


def test_gigawatts_in_kilowatts_are_accepted(tmp_path):
    """Proves: the largest import is checked in MW: 2,000,000 kW pass, 5e8 kWh are refused."""
    _, power = read_meter(written(tmp_path, "time_utc,import_kw\n2026-01-01T00:00,2000000\n"))
    assert power == pytest.approx([2000.0])
    path = written(tmp_path, "time_utc,import_kwh\n2026-01-01T00:00,5e8\n")
    with pytest.raises(SeriesError, match=r"= 2e\+06 MW: .*\[out-of-range\]"):
        read_meter(path)


def test_semicolons_and_decimal_commas_are_read(tmp_path):
    rows = "2026-01-01T00:00;4.000,5\n2026-01-01T00:15;998,5\n"
    _, power = read_meter(written(tmp_path, f"time_utc;import_kw\n{rows}"))
    assert power == pytest.approx([4.0005, 0.9985])


@pytest.mark.parametrize(
    ("rows", "pattern"),
    [
        ("2026-01-01T00:00,n/a x\n", r"\.csv, row 2, import_mw = 'n/a x': .*\[invalid-format\]"),
        ("2026-01-01T00:00,-\n", r"\.csv, 2026-01-01T00:00Z = not a number"),
        (
            "2026-01-01T00:00,1\n2026-01-01T00:15,-5\n",
            r"\.csv, row 3, import_mw = -5 MW: .*\[out-of-range\]",
        ),
        (
            "01.01.2026 00:00,1\n",
            r"\.csv, row 2, time_utc = '01.01.2026 00:00': .*\[invalid-format\]",
        ),
        ("2026-01-01T00:00,1\n2026-01-01T00:30,1\n", r"\.csv, after 2026-01-01T00:00Z"),
    ],
)
def test_issues_of_a_file_name_it(tmp_path, rows, pattern):
    with pytest.raises(SeriesError, match=pattern):
        read_meter(written(tmp_path, f"time_utc,import_mw\n{rows}"))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("when,import_mw\n2026-01-01,1\n", "a column of times; name one column time_utc"),
        ("time_utc,load\n2026-01-01,1\n", "exactly one of .* import_kwh"),
        ("time_utc,import_mw,import_kw\n2026-01-01,2,9\n", "needs exactly one of import_mw"),
        (
            "time,import_mw\n2026-01-01T00:00,1\n",
            r"row 2, time = .*\[time-zone\]",
        ),
        ("time_utc,import_mw\nyesterday,1\n", r"'yesterday': .*\[invalid-format\]"),
        ("", r"an empty file: .*\[invalid-format\]"),
    ],
)
def test_other_files_are_refused(tmp_path, text, pattern):
    with pytest.raises(SeriesError, match=pattern):
        read_meter(written(tmp_path, text))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(SeriesError, match=r"\[file-error\]"):
        read_meter(tmp_path / "none.csv")
