"""Contract positions from a file: quantities and prices; nothing is guessed."""

import numpy as np
import pytest

from telemetry.series import read_positions
from twin.errors import SeriesError

HEAD = "time_utc,position_mw,short_eur_mwh,long_eur_mwh\n"


def file(folder, text):
    path = folder / "position.csv"
    path.write_text(text)
    return path


def rows(*cells):
    return "".join(f"2026-07-01T{hour:02d}:00Z,{row}\n" for hour, row in enumerate(cells))


def test_position_and_imbalance_prices_are_read(tmp_path):
    found = read_positions(file(tmp_path, HEAD + rows("10,90,20", "-5,80,-30", "0,70,70")))
    assert found["day_ahead_position"].values.tolist() == [10.0, -5.0, 0.0]
    assert found["day_ahead_position"].attrs["units"] == "MW"
    assert found["imbalance_short_price"].values.tolist() == [90.0, 80.0, 70.0]
    assert found["imbalance_long_price"].values.tolist() == [20.0, -30.0, 70.0]


def test_one_imbalance_price_serves_both_directions(tmp_path):
    text = "time_utc,position_mw,imbalance_eur_mwh\n" + rows("10,90", "9,80")
    found = read_positions(file(tmp_path, text))
    assert np.array_equal(found["imbalance_short_price"], found["imbalance_long_price"])


def test_position_alone_is_enough(tmp_path):
    found = read_positions(file(tmp_path, "time_utc,position_mw\n" + rows("1", "2")))
    assert list(found.data_vars) == ["day_ahead_position"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + rows("10,90,20", ",80,20", "9,80,20"), r"position_mw = .*\[time-gap\]"),
        (HEAD + rows("10,90,20", "9,30,45"), "30 below 45 EUR/MWh"),
        (HEAD + rows("10,90,20", "99999,90,20"), r"\[out-of-range\]"),
        (
            "time_utc,position_mw,short_eur_mwh\n" + rows("10,90", "9,80"),
            r"columns = .*\[missing\]",
        ),
        ("time_utc,load_mw\n" + rows("10", "9"), r"columns = .*\[missing\]"),
    ],
)
def test_inconsistent_file_is_refused(tmp_path, text, expected):
    with pytest.raises(SeriesError, match=expected):
        read_positions(file(tmp_path, text))


def test_missing_hour_is_refused(tmp_path):
    text = "time_utc,position_mw\n2026-07-01T00:00Z,1\n2026-07-01T01:00Z,1\n2026-07-01T03:00Z,1\n"
    with pytest.raises(SeriesError, match=r"position_mw = .*\[time-gap\]"):
        read_positions(file(tmp_path, text))


def test_unread_columns_are_noted(tmp_path):
    text = "time_utc,position_mw,short_eur_kwh,long_eur_kwh\n" + rows("1,0.2,0.1", "2,0.2,0.1")
    found = read_positions(file(tmp_path, text))
    assert found.attrs["notes"] == ["not read: short_eur_kwh, long_eur_kwh"]
