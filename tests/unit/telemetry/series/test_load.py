"""Files of hall power."""

import pytest

from telemetry.series import read_load
from twin.errors import SeriesError


@pytest.fixture
def write(tmp_path):
    def put(*lines):
        path = tmp_path / "halls.csv"
        path.write_text("\n".join(lines))
        return path

    return put


@pytest.mark.parametrize(
    ("header", "first", "second"), [("hall_power_mw", 2.5, 3.0), ("hall_power_kw", 2500, 3000)]
)
def test_power_is_read_in_megawatts(write, header, first, second):
    path = write(f"time_utc,{header}", f"2026-06-16T00:00Z,{first}", f"2026-06-16T01:00Z,{second}")
    load = read_load(path)
    assert load["hall_power"].to_numpy() == pytest.approx([2.5, 3.0])
    assert load["hall_power"].attrs["units"] == "MW"


@pytest.mark.parametrize("value", ["-1", "99999", "inf"])
def test_implausible_hall_power_is_refused_by_row(write, value):
    path = write("time_utc,hall_power_mw", "2026-06-16T00:00Z,1", f"2026-06-16T01:00Z,{value}")
    with pytest.raises(SeriesError, match=r"halls\.csv, row 3, hall_power"):
        read_load(path)


@pytest.mark.parametrize("header", ["power_mw", "hall_power_mw,hall_power_kw"])
def test_one_power_column_is_required(write, header):
    row = ",".join(["2026-06-16T00:00Z", *["1"] * len(header.split(","))])
    with pytest.raises(
        SeriesError, match=r"columns = time_utc, .*hall_power_mw, hall_power_kw;.*\[missing\]"
    ):
        read_load(write(f"time_utc,{header}", row))
