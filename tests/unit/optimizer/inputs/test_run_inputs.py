"""Inputs of a back-test: joined or separate files, gaps, coverage, typical years."""

import json

import numpy as np
import pandas as pd
import pytest

import sites
from optimizer.inputs.series_files import read_run_inputs
from tests.support import small_days
from twin import time_axes
from twin.errors import SeriesError
from twin.markets.contracts import DayAheadPosition

SMALL = sites.load_site("small")
MARKET = SMALL.with_equipment({**SMALL.equipment, "market": DayAheadPosition(name="market")})


@pytest.fixture
def prices(tmp_path):
    """Return a function that writes hourly prices with carbon; rows may be omitted."""

    def make(start="2026-06-01", days=30, *, without=(), carbon=True):
        stamps = pd.date_range(start, periods=24 * days, freq="h").delete(list(without))
        table = pd.DataFrame({"time_utc": stamps.strftime("%Y-%m-%dT%H:%MZ")})
        table["price_eur_mwh"] = np.arange(len(table)) % 24
        if carbon:
            table["ci_direct"], table["ci_lca"] = 300.0, 350.0
        path = tmp_path / "prices.csv"
        table.to_csv(path, index=False)
        return path

    return make


def electricity_maps(tmp_path, start="2026-06-01", days=30):
    """Write carbon in the columns of Electricity Maps; hours count up from 100 g/kWh."""
    stamps = pd.date_range(start, periods=24 * days, freq="h")
    unit = "Carbon Intensity gCO₂eq/kWh"
    table = pd.DataFrame(
        {
            "Datetime (UTC)": stamps.strftime("%Y-%m-%d %H:%M:%S"),
            "Zone Id": "DE",
            f"{unit} (direct)": 100.0 + np.arange(len(stamps)),
            f"{unit} (LCA)": 500.0,
        }
    )
    path = tmp_path / "carbon.csv"
    table.to_csv(path, index=False)
    return path


def at(world, name, moment):
    return float(world.series[name].sel(time=time_axes.to_utc(moment)))


def test_a_joined_file_gives_prices_and_carbon(prices):
    files = small_days.files(prices=prices())
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=2)
    assert at(world, "electricity_price", "2026-06-16T07:45") == 7.0
    assert at(world, "carbon_intensity", "2026-06-16T07:45") == 300.0
    assert (world.start, world.end) == (
        time_axes.to_utc("2026-06-16"),
        time_axes.to_utc("2026-06-18"),
    )
    assert world.gaps == ()


def test_the_kind_of_carbon_can_be_chosen(prices):
    files = small_days.files(prices=prices(), carbon_kind="lca")
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=1)
    assert at(world, "carbon_intensity", "2026-06-16") == 350.0


def test_naive_local_carbon_beside_prices_is_read_by_their_zone(tmp_path):
    """Local midnight of Berlin in June is 22:00 UTC the day before."""
    stamps = pd.date_range("2026-06-01", periods=24 * 30, freq="h")
    hours = np.arange(len(stamps))
    table = pd.DataFrame({"time": stamps.strftime("%Y-%m-%d %H:%M:%S")})
    table = table.assign(price_eur_mwh=hours % 24, ci_direct=hours)
    table.to_csv(tmp_path / "prices.csv", index=False)
    files = small_days.files(prices=tmp_path / "prices.csv", zone="DE-LU")
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=1)
    assert at(world, "electricity_price", "2026-06-16T00:00") == 2.0
    assert at(world, "carbon_intensity", "2026-06-16T00:00") == 15 * 24 + 2


def test_carbon_may_come_from_a_file_of_its_own(prices, tmp_path):
    files = small_days.files(prices=prices(carbon=False), carbon=electricity_maps(tmp_path))
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=1)
    assert at(world, "carbon_intensity", "2026-06-16T02:30") == 100.0 + 15 * 24 + 2


def test_unread_columns_of_market_files_are_reported(prices, tmp_path):
    hours = pd.date_range("2026-06-16", periods=24, freq="h").strftime("%Y-%m-%dT%H:%MZ")
    table = pd.DataFrame({"time_utc": hours, "position_mw": 1.0, "imbalance_eur_mwh": 90.0})
    table.loc[3, "imbalance_eur_mwh"] = np.nan
    table.assign(short_eur_kwh=0.1).to_csv(tmp_path / "position.csv", index=False)
    files = small_days.files(prices=prices(), position=tmp_path / "position.csv")
    world = read_run_inputs(MARKET, files, start="2026-06-16", days=1)
    assert "position.csv: not read: short_eur_kwh" in world.notes
    assert world.gaps == ("position.csv: 2026-06-16T03:00Z/2026-06-16T04:00Z",)
    with pytest.raises(SeriesError, match=r'position.csv: the site has a .*"day_ahead"; declare'):
        read_run_inputs(SMALL, files, start="2026-06-16", days=1)


def test_missing_carbon_counts_as_zero_with_a_note(prices):
    files = small_days.files(prices=prices(carbon=False))
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=1)
    assert at(world, "carbon_intensity", "2026-06-16T12:00") == 0.0
    assert any("no carbon intensity in the file of prices" in note for note in world.notes)


def test_notes_on_prices_and_carbon_are_reported(prices, tmp_path):
    """Proves: a carbon file of another country is reported before a run, as `simulate` does.

    Sensitivity: a site near Frankfurt used the intensity of any country without a note.
    """
    maps = electricity_maps(tmp_path)
    maps.write_text(maps.read_text().replace(",DE,", ",FR,"))
    files = small_days.files(prices=prices(), carbon=maps, zone="DE-LU")
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=1)
    notes = [note for note in world.notes if note.startswith(maps.name)]
    assert f"{maps.name}: carbon_intensity is direct" in notes
    assert any("intensity of FR, for a site in DE-LU; is it the right file?" in n for n in notes)


@pytest.mark.parametrize("zone", [None, "UTC", "Etc/GMT-1"])
def test_zone_of_times_does_not_silence_foreign_carbon(prices, tmp_path, zone):
    """Sensitivity: a zone that is no market zone, or none, dropped the note."""
    maps = electricity_maps(tmp_path)
    maps.write_text(maps.read_text().replace(",DE,", ",FR,"))
    files = small_days.files(prices=prices(), carbon=maps, zone=zone)
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=1)
    assert any("intensity of FR, for a site in DE-LU; is it" in note for note in world.notes)


def test_times_without_offset_are_refused_also_for_a_known_site(tmp_path):
    """Proves: Python and the command line have one rule.

    Sensitivity: the command read UTC as the local time of the site, an hour or two off.
    """
    stamps = pd.date_range("2026-06-01", periods=24 * 30, freq="h").strftime("%Y-%m-%d %H:%M")
    table = pd.DataFrame({"time": stamps, "price_eur_mwh": 50.0})
    table.to_csv(tmp_path / "prices.csv", index=False)
    files = small_days.files(prices=tmp_path / "prices.csv")
    with pytest.raises(SeriesError, match=r"covers no change of clocks.*\[time-zone\]"):
        read_run_inputs(SMALL, files, start="2026-06-16", days=1)


def test_unread_columns_of_jobs_are_reported(prices, tmp_path):
    """Proves: unread columns of a job file are reported once before a run.

    Sensitivity: without the note a planner's priorities vanish silently.
    """
    path = tmp_path / "mine.csv"
    path.write_text("arrival_time,length,cpus,priority\n3984.5,2,4,high\n")
    world = read_run_inputs(
        SMALL, small_days.files(prices=prices(), jobs=path), start="2026-06-16", days=1
    )
    assert [note for note in world.notes if "mine.csv" in note] == ["mine.csv: not read: priority"]


@pytest.mark.parametrize(("latitude", "said"), [(50.8, 0), (51.5, 1)])
def test_weather_of_another_place_is_reported(prices, tmp_path, latitude, said):
    """Proves: a degree of latitude is 111 km, and what lies nearer than 100 km is not reported."""
    moved = json.loads(small_days.files(prices=prices()).weather.read_text())
    site = SMALL.model_copy(update={"latitude": 50.0, "longitude": 6.4})
    (tmp_path / "moved.json").write_text(
        json.dumps(moved | {"latitude": latitude, "longitude": 6.4})
    )
    files = small_days.files(prices=prices(), weather=tmp_path / "moved.json")
    world = read_run_inputs(site, files, start="2026-06-16", days=1)
    notes = [note for note in world.notes if "weather of" in note]
    assert len(notes) == said
    assert all("51.5 N 6.4 E, 167 km from small" in note for note in notes)


def test_missing_carbon_kind_is_refused(prices):
    path = prices()
    path.write_text(path.read_text().replace("ci_lca", "remark"))
    files = small_days.files(prices=path, carbon_kind="lca")
    with pytest.raises(SeriesError, match=r"prices\.csv.*lca: direct; .*\[missing\]"):
        read_run_inputs(SMALL, files, start="2026-06-16", days=1)


def test_short_gap_is_interpolated_and_listed(prices):
    row = 15 * 24 + 10
    world = read_run_inputs(
        SMALL,
        small_days.files(prices=prices(without=[row, row + 1])),
        start="2026-06-16",
        days=1,
    )
    assert world.gaps == ("prices.csv: 2026-06-16T10:00Z/2026-06-16T12:00Z",)
    # hours are numbered without the two missing ones: 9, then 10 after them
    assert 9.0 < at(world, "electricity_price", "2026-06-16T11:00") < 10.0


def test_a_gap_outside_the_run_is_not_listed(prices):
    files = small_days.files(prices=prices(without=[30]))
    assert read_run_inputs(SMALL, files, start="2026-06-16", days=1).gaps == ()


def test_long_gap_is_refused_with_file_and_time(prices):
    row = 15 * 24 + 10
    files = small_days.files(prices=prices(without=range(row, row + 5)))
    with pytest.raises(SeriesError, match=r"prices\.csv.*2026-06-16T10:00.*5 h"):
        read_run_inputs(SMALL, files, start="2026-06-16", days=1)


@pytest.mark.parametrize(
    ("start", "days"), [("2026-06-28", 7), ("2026-05-28", 7), ("2024-06-16", 1)]
)
def test_run_beyond_the_files_is_refused_with_their_range(prices, start, days):
    with pytest.raises(SeriesError, match=r"prices\.csv.*2026-06-01"):
        read_run_inputs(SMALL, small_days.files(prices=prices()), start=start, days=days)


def test_typical_year_continues_across_new_year(prices, tmp_path):
    files = small_days.files(
        prices=prices("2026-12-01", days=50), weather=small_days.typical_year(tmp_path)
    )
    world = read_run_inputs(SMALL, files, start="2026-12-30", days=4)
    # 31 December is day 364 from 0, 1 January day 0: 100.364 and 100.000 kPa
    assert at(world, "air_pressure", "2026-12-31T12:00") == pytest.approx(100.364)
    assert at(world, "air_pressure", "2027-01-01T12:00") == pytest.approx(100.0)
    assert at(world, "air_pressure", "2027-01-02T12:00") == pytest.approx(100.001)
    inside = world.series["air_temperature"].sel(
        time=slice(world.start, world.end - time_axes.QUARTER_HOUR)
    )
    assert inside.notnull().all()
    assert any("typical year" in note for note in world.notes)


def test_history_before_new_year_comes_from_the_year_before(prices, tmp_path):
    files = small_days.files(
        prices=prices("2026-12-10", days=40), weather=small_days.typical_year(tmp_path)
    )
    world = read_run_inputs(SMALL, files, start="2027-01-03", days=2)
    assert at(world, "air_pressure", "2026-12-31T12:00") == pytest.approx(100.364)
    assert at(world, "air_pressure", "2027-01-04T12:00") == pytest.approx(100.003)


def test_modelled_values_are_noted(prices, tmp_path):
    weather = tmp_path / "bare.json"
    text = sites.series_file("weather").read_text(encoding="utf-8")
    weather.write_text(text.replace("shortwave_radiation", "shortwave_unknown"), encoding="utf-8")
    files = small_days.files(prices=prices(), weather=weather)
    world = read_run_inputs(SMALL, files, start="2026-06-16", days=1)
    assert any("global_irradiance" in note for note in world.notes)
