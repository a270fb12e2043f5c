"""`gigatwin tariff`: the bill of a meter's file, and the hours of use."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from sites import catalogue

RULES = """
[tariffs.{name}]
valid_from = {first}-01-01
valid_to = {last}-01-01
status = "assumed"
source = "assumed"
utilisation.power_price = "100 EUR/kW"
utilisation.energy_price = "5 EUR/MWh"
utilisation.power_price_below = "20 EUR/kW"
utilisation.energy_price_below = "40 EUR/MWh"
band_load.valid_from = 2014-01-01
band_load.status = "assumed"
band_load.source = "assumed"
band_load.least_energy = "10 GWh"
band_load.classes = [{{ hours = "7000 h", share = 0.2 }}, {{ hours = "8000 h", share = 0.1 }}]
"""


@pytest.fixture
def site(tmp_path):
    """Return a site file with two years of tariffs in place of the plain fees."""
    text = catalogue.find_site_file("small").read_text(encoding="utf-8")
    kept = [row for row in text.splitlines() if not row.startswith(("import_fee", "peak_price"))]
    rules = [RULES.format(name=f"in_{year}", first=year, last=year + 1) for year in (2026, 2027)]
    path = tmp_path / "billed.toml"
    path.write_text("\n".join([*kept, *rules]), encoding="utf-8")
    return path


@pytest.fixture
def meter(tmp_path):
    """Return a file of 3 MW over 48 quarter-hours around the turn of the year in Berlin."""
    starts = np.datetime64("2026-12-31T17:00") + np.arange(48) * np.timedelta64(15, "m")
    rows = [f"{start},3.0" for start in starts]
    path = tmp_path / "meter.csv"
    path.write_text("\n".join(["time_utc,import_mw", *rows]), encoding="utf-8")
    return path


def called(*words):
    return CliRunner().invoke(app, ["tariff", *map(str, words)])


def test_meter_file_is_billed_by_the_tariff_of_each_day(site, meter):
    """Proves: six hours of 2026, six of 2027, each 18 MWh and 3 MW by 24/35,040 of a year.

    300,000 x 24 / 2,976 / 12 = 201.61 (the share of a month of 31 days), and 18 x 5 = 90. 3 MW all
    the time are 8,760 h: a tenth is paid, 0.9 x 291.61 = 262.449 are not.
    """
    done = called(site, "--meter", meter, "--json", "-")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [one["tariff"] for one in document["bills"]] == ["in_2026", "in_2027"]
    first = document["bills"][0]
    assert [line["eur"] for line in first["lines"]] == [201.61, 90.0, -262.45]
    assert first["branch"] == "band_load"
    assert first["branches"]["published"] == {
        "eur": 291.61,
        "open": True,
        "note": "8,760 h of use: prices from 2,500 h",
    }
    assert document["total_eur"] == pytest.approx(2 * 29.16)
    band = document["band_load"]
    assert band["hours"] == pytest.approx(6.0)  # of 2027 only
    assert band["left_h"] == 8754.0
    assert band["expected_hours"] == pytest.approx(8760.0)
    assert band["classes"][0]["needed_mw"] == pytest.approx((21_000 - 18) / 8754)


def test_naive_times_use_the_given_zone_only(site, meter, tmp_path):
    """Proves: 18:00 in Berlin is 17:00Z, and without a zone the file is refused.

    18:00 in London is 18:00Z, five hours before the year ends in Berlin.
    """
    local = tmp_path / "local.csv"
    starts = np.datetime64("2026-12-31T18:00") + np.arange(48) * np.timedelta64(15, "m")
    local.write_text("\n".join(["time,import_mw", *(f"{start},3.0" for start in starts)]))
    bills = [
        json.loads(called(site, "--meter", *words, "--json", "-").stdout)["bills"]
        for words in ((meter,), (local, "--zone", "DE-LU"), (local, "--zone", "GB"))
    ]
    assert bills[0] == bills[1]
    assert [one["energy_mwh"] for one in bills[2]] == [15.0, 21.0]
    assert "ask the source which clock it is" in called(site, "--meter", local).output
    refused = called(site, "--meter", local, "--zone", "Europe/Berlinn").output
    assert "did you mean Europe/Berlin?" in refused


def test_import_above_the_connection_is_refused(site, meter):
    """Proves: kW under the name of MW are not billed in silence; a true excess is billed still."""
    assert json.loads(called(site, "--meter", meter, "--json", "-").stdout)["notes"] == []
    meter.write_text(meter.read_text().replace(",3.0", ",3000", 2).replace(",3.0", ",4.8", 1))
    (note,) = json.loads(called(site, "--meter", meter, "--json", "-").stdout)["notes"]
    assert note == (
        "3 quarter-hours above the 4.7 MW of grid_1, up to 3,000.000 MW, at 2026-12-31T17:00Z; "
        "check the unit of the import"
    )


def test_table_shows_lines_and_hours(site, meter):
    shown = called(site, "--meter", meter).output
    assert "network power" in shown
    assert "network charge published" in shown
    assert "Band load: 6 h so far, 8,760 h expected" in shown


def test_unbillable_input_is_refused(site, meter, tmp_path):
    assert "a site with a tariff" in called("small", "--meter", meter).output
    assert "one of them" in called(site).output
    assert "one of them" in called(site, "--meter", meter, "--run", tmp_path).output
    assert "the policy threshold_capped first" in (
        called(site, "--run", tmp_path, "--policy", "threshold_capped").output.replace("\n", " ")
    )


def test_year_of_utc_is_billed_with_the_last_tariff_carried_forward(tmp_path):
    """Proves: the last hour of 2026 in UTC is 2027 in Frankfurt, after the shipped tariff.

    Sensitivity: the command refused the whole file for that hour.
    """
    starts = np.datetime64("2026-12-31T12:00") + np.arange(48) * np.timedelta64(15, "m")
    path = tmp_path / "meter.csv"
    path.write_text("\n".join(["time_utc,import_mw", *(f"{start},90.0" for start in starts)]))
    done = called("rhine", "--rules", "germany", "--meter", path, "--json", "-")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [one["energy_mwh"] for one in document["bills"]] == [90.0 * 11, 90.0]
    (note,) = document["notes"]
    assert "ends before 2027-01-01: its prices are carried forward to 4 of 48 intervals" in note
    assert document["band_load"]["hours"] == pytest.approx(11.0)  # of 2026


def test_day_before_the_first_tariff_is_still_refused(site, tmp_path):
    path = tmp_path / "meter.csv"
    starts = np.datetime64("2025-06-01T12:00") + np.arange(8) * np.timedelta64(15, "m")
    path.write_text("\n".join(["time_utc,import_mw", *(f"{start},3.0" for start in starts)]))
    done = called(site, "--meter", path)
    assert done.exit_code == 1
    assert "a day within the validity of a tariff" in done.output
