"""Reserves from a file: sold capacity and prices of each product; nothing is guessed."""

import numpy as np
import pytest

from telemetry.series import read_reserves
from twin.errors import SeriesError

HEAD = "time_utc,fcr_mw,fcr_eur_mw_h,mfrr_mw\n"


def file(folder, text):
    path = folder / "reserves.csv"
    path.write_text(text)
    return path


def rows(*cells):
    return "".join(f"2026-07-01T{4 * i:02d}:00Z,{row}\n" for i, row in enumerate(cells))


def test_sold_capacity_and_prices_are_read(tmp_path):
    found = read_reserves(file(tmp_path, HEAD + rows("2,18.5,1", "0,12,1", "3,9,0")))
    assert found["product"].values.tolist() == ["fcr", "mfrr"]
    blocks = found.isel(time=slice(None, None, 4))
    assert blocks["reserve_held"].sel(product="fcr").values.tolist() == [2.0, 0.0, 3.0]
    assert blocks["reserve_held"].sel(product="mfrr").values.tolist() == [1.0, 1.0, 0.0]
    assert blocks["reserve_price"].sel(product="fcr").values.tolist() == [18.5, 12.0, 9.0]
    assert np.isnan(found["reserve_price"].sel(product="mfrr")).all()
    assert found["reserve_held"].attrs["units"] == "MW"
    assert found["instant"].values[-1] == np.datetime64("2026-07-01T12:00")


def test_missing_block_is_refused_also_at_clock_change(tmp_path):
    head, times = "time,fcr_mw\n", ["24T20", "25T00", "25T04", "25T08", "25T12"]
    lines = [f"2026-10-{one}:00,{i}\n" for i, one in enumerate(times)]
    found = read_reserves(file(tmp_path, head + "".join(lines)), zone="Europe/Berlin")
    assert found["reserve_held"].values.ravel().tolist() == sorted([*range(5)] * 4 + [1])
    with pytest.raises(SeriesError, match=r"fcr_mw = .*\[time-gap\]"):
        read_reserves(file(tmp_path, head + "".join(lines[:2] + lines[3:])), zone="Europe/Berlin")


def test_missing_hour_is_a_gap(tmp_path):
    hours = (0, 1, 3, 4, 5)
    sold = "".join(f"2026-10-25T{hour:02d}:00Z,{hour}\n" for hour in hours)
    with pytest.raises(SeriesError, match=r"fcr_mw = 2026-10-25T02:00Z/.*03:00Z: .*\[time-gap\]"):
        read_reserves(file(tmp_path, "time,fcr_mw\n" + sold))
    prices = read_reserves(file(tmp_path, "time,fcr_eur_mw_h\n" + sold))["reserve_price"]
    assert prices.attrs["gaps"] == ["2026-10-25T02:00Z/2026-10-25T03:00Z"]
    assert prices.values.ravel().tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_unread_columns_and_filled_gaps_are_noted(tmp_path):
    text = "time_utc,fcr_kw,mfrr_eur_mw_h,fcr_eur_mw_h\n"
    lines = [f"2026-07-01T{hour:02d}:00Z,9,5,{'' if hour == 2 else 7}\n" for hour in range(5)]
    found = read_reserves(file(tmp_path, text + "".join(lines)))
    assert found.attrs["notes"] == ["not read: fcr_kw"]
    assert found.attrs["gaps"] == ["2026-07-01T02:00Z/2026-07-01T03:00Z"]


def test_prices_alone_are_enough(tmp_path):
    found = read_reserves(file(tmp_path, "time_utc,fcr_eur_mw_h\n" + rows("5", "6")))
    assert list(found.data_vars) == ["reserve_price"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + rows("2,18,1", ",18,1", "2,18,1"), r"fcr_mw = .*\[time-gap\]"),
        (HEAD + rows("2,18,1", "-2,18,1"), r"reserve_held = -2 MW: .*\[out-of-range\]"),
        (HEAD + rows("2,18,1", "2,99999,1"), r"reserve_price = 99999 .*\[out-of-range\]"),
        (
            "time_utc,fcr_mw\n2026-07-01T00:00Z,1\n9026-07-01T00:00Z,1\n",
            r"at most 168 h;.*\[out-of-range\]",
        ),
        ("time_utc,position_mwh\n" + rows("1", "2"), r"columns = .*<product>_mw.*\[missing\]"),
    ],
)
def test_inconsistent_file_is_refused(tmp_path, text, expected):
    with pytest.raises(SeriesError, match=expected):
        read_reserves(file(tmp_path, text))


def test_invalid_block_is_reported_once(tmp_path):
    """One row covers four hours, and each of them has the issue."""
    with pytest.raises(SeriesError, match="has 1 issue") as caught:
        read_reserves(file(tmp_path, HEAD + rows("2,18,1", "-2,18,1")))
    assert len(caught.value.issues) == 1
