"""`gigatwin simulate`: what it writes, and what it refuses in one block."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from optimizer.policies.storage_and_renewables import use_renewables
from tests.support import small_days

STEPS = ["7min", "3h", "0min", "fast", "15 MW", "", "-15min", "1.5s", "2.5 s", "0.4s", "1e-9s"]
"""Invalid steps: they do not divide a day, or are no whole number of seconds."""

KEYS = {
    "energy_mwh",
    "it_energy_mwh",
    "facility_power_max_mw",
    "pue",
    "wue",
    "cue",
    "erf",
    "ref",
    "closure",
}


@pytest.fixture
def run():
    """Return the function that simulates a day of the small site in this process."""

    def invoke(*words, site="small", start="2026-06-16", load=("--utilisation", "0.5")):
        arguments = ["simulate", site, "--start", start, "--days", "1", *load, *words]
        return CliRunner().invoke(app, list(map(str, arguments)))

    return invoke


def loads(tmp_path, header="time_utc,hall_power_mw", *, power=2.0, zone="Z", hours=24):
    """Write a day of even load."""
    stamps = pd.date_range("2026-06-16", periods=hours, freq="h")
    lines = [f"{stamp:%Y-%m-%dT%H:%M}{zone},{power}" for stamp in stamps]
    path = tmp_path / "load.csv"
    path.write_text("\n".join([header, *lines]))
    return path


def test_totals_of_a_day(run):
    result = run("--json", "-")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert set(document) >= KEYS
    # 28 racks between 24 and 132 kW: 2.184 MW for 24 h at the racks, 1 to 3 % more at the UPS
    assert 1.01 * 52.4 < document["it_energy_mwh"] < 1.04 * 52.4
    assert 1.03 < document["pue"] < 1.2
    assert document["energy_mwh"] == pytest.approx(document["pue"] * document["it_energy_mwh"])
    assert document["closure"] < 1e-6
    assert 100.0 < document["cue"] < 600.0  # of the synthetic carbon, as the weather
    assert "small" in result.stderr  # the table makes way for the JSON


def air(tmp_path, *, temperature, humidity):
    """Write days of even weather as Open-Meteo has it."""
    stamps = pd.date_range("2026-06-15", periods=72, freq="h")
    columns = {
        "temperature_2m": ("°C", temperature),
        "relative_humidity_2m": ("%", humidity),
        "wind_speed_10m": ("km/h", 5.0),
        "cloud_cover": ("%", 50.0),
    }
    hourly = {name: [value] * len(stamps) for name, (_, value) in columns.items()}
    units = {name: unit for name, (unit, _) in columns.items()}
    place = {"latitude": 50.1, "longitude": 8.65, "elevation": 111.0, "utc_offset_seconds": 0}
    path = tmp_path / "weather.json"
    hourly["time"] = stamps.strftime("%Y-%m-%dT%H:%M").tolist()
    path.write_text(json.dumps({**place, "hourly_units": units, "hourly": hourly}))
    return path


def test_limits_broken_on_a_hot_day_are_listed(run, tmp_path):
    """Proves: in damp air of 35 degC no condenser stays below 36.9 degC at full load.

    Sensitivity: figures of a site whose halls are at 40 degC look like those of any other.
    """
    hot = run("--weather", air(tmp_path, temperature=35.0, humidity=100.0), "--json", "-")
    document = json.loads(hot.stdout)
    broken = {one["limit"]: one for one in document["beyond"]}
    assert broken["rack_inlet_temperature of hall_air_1"]["reached"] > 35.0
    assert broken["rack_inlet_temperature of hall_air_1"]["bound"] == 25.0
    assert document["extrapolated"] == [
        {"plant": "chilled_plant", "count": 96, "first": "2026-06-16T00:00Z"}
    ]
    words = " ".join(hot.stderr.split())
    assert "beyond its limit: facility_supply_temperature of chilled_plant reaches" in words
    mild = json.loads(run("--json", "-").stdout)
    assert mild["pue"] < mild["pue2"] < mild["pue3"]
    assert mild["is_interim"] is True
    assert (mild["beyond"], mild["extrapolated"], mild["frost"]) == ([], [], [])


def test_run_begins_at_steady_state(run, tmp_path):
    """Proves: slow valves are found where the load of the first interval holds them.

    Sensitivity: they opened from nothing, and water of 47 degC was beyond its limit for 9 min.
    """
    text = (Path(sites.__file__).parent / "small.toml").read_text(encoding="utf-8")
    slow = tmp_path / "slow.toml"
    slow.write_text(text.replace("120 s", "180 s"), encoding="utf-8")
    load, out = ("--utilisation", "1"), tmp_path / "run.nc"
    result = run("--step", "1min", "--json", "-", "--out", out, site=slow, load=load)
    assert json.loads(result.stdout)["beyond"] == []
    with xr.open_dataset(out) as done:
        water = done["facility_supply_temperature"].sel(circuit="warm_plant")
        np.testing.assert_allclose(water, 38.0, atol=0.05)


def test_freezing_water_is_noted(run, tmp_path):
    """Proves: idle racks at -20 degC leave their coolers with ice. Sensitivity: PUE as ever."""
    cold = air(tmp_path, temperature=-20.0, humidity=80.0)
    idle = run("--weather", cold, "--json", "-", load=("--utilisation", "0"))
    (frost,) = json.loads(idle.stdout)["frost"]
    assert (frost["plant"], frost["freezing_point"], frost["count"]) == ("warm_plant", 0.0, 96)
    assert frost["reached"] < -10.0
    assert "frost: through all coolers the water of warm_plant" in " ".join(idle.stderr.split())
    busy = run("--weather", cold, "--json", "-", load=("--utilisation", "1"))
    assert json.loads(busy.stdout)["frost"] == []


def carbons(tmp_path, *, hours=24):
    """Write a day of carbon intensity, 100 g/kWh at night and 300 by day."""
    hour = [f"2026-06-16T{h:02}:00:00Z,{100 if h < 12 else 300}" for h in range(hours)]
    path = tmp_path / "carbon.csv"
    path.write_text("\n".join(["time_utc,ci_direct", *hour]))
    return path


def test_carbon_file_gives_emissions_of_the_import(run, tmp_path):
    out = tmp_path / "run.nc"
    document = json.loads(run("--json", "-", "--carbon", carbons(tmp_path), "--out", out).stdout)
    with xr.open_dataset(out) as done:
        taken = done["grid_import_power"].to_numpy() * 0.25
        sun = float((done["renewable_used_power"].sum("renewable") * 0.25).sum())
        assert done["renewable_used_power"].equals(done["renewable_available_power"])
    emitted = 100.0 * taken[:48].sum() + 300.0 * taken[48:].sum()
    assert document["cue"] == pytest.approx(emitted / document["it_energy_mwh"])
    assert sun > 1.0
    assert document["ref"] == pytest.approx(sun / document["energy_mwh"])


def test_surplus_sun_is_curtailed():
    site = sites.load_site("small")
    poor = site.with_parameters(site.grid_connection.name, export_limit=0.0)
    poor = poor.with_parameters("solar_1", power=9.0, module_power=9.0)
    outdoors = small_days.problem().outlook
    halls = xr.DataArray(np.full((outdoors.sizes["time"], 1), 2.0), dims=("time", "hall"))
    plan = use_renewables(outdoors.assign(hall_power=halls.assign_attrs(units="MW")), poor)
    used = plan["renewable_used_power"].sum("renewable").to_numpy()
    margin = poor.margins.power * poor.grid_connection.import_limit
    assert used.max() == pytest.approx(2.0 - margin), "the margin is kept without export too"
    assert plan["renewable_available_power"].sum("renewable").to_numpy().max() > 3.0


def test_carbon_series_that_ends_early_is_refused(run, tmp_path):
    refused(run("--carbon", carbons(tmp_path, hours=20)), "carbon.csv", "2026-06-16T20:00Z")


def test_no_carbon_is_reported_without_a_series(run, tmp_path):
    weather = small_days.typical_year(tmp_path)
    assert json.loads(run("--json", "-", "--weather", weather).stdout)["cue"] is None


def test_more_work_draws_more(run):
    low, high = (
        json.loads(run("--json", "-", load=("--utilisation", share)).stdout)["energy_mwh"]
        for share in ("0", "1")
    )
    assert high > 4.0 * low


def test_load_file_in_megawatts_or_kilowatts(run, tmp_path):
    mega = json.loads(run("--json", "-", load=("--load", loads(tmp_path))).stdout)
    kilo = loads(tmp_path, "time_utc,hall_power_kw", power=2000.0)
    document = json.loads(run("--json", "-", load=("--load", kilo)).stdout)
    assert document.pop("notes") == mega.pop("notes")
    for key in ("gaps", "beyond", "extrapolated", "frost"):
        assert document.pop(key) == mega.pop(key) == []
    assert document == pytest.approx(mega)
    assert 48.0 < mega["it_energy_mwh"] < 50.0


def test_load_below_idle_racks_is_noted(run, tmp_path):
    """Proves: 28 racks idle at 24 kW each, so 0.1 MW is hardly meant. Sensitivity: no word."""
    low = json.loads(run("--json", "-", load=("--load", loads(tmp_path, power=0.1))).stdout)
    (line,) = [note for note in low["notes"] if note.startswith("load.csv")]
    assert line == (
        "load.csv: below the 0.672 MW of idle racks in 96 of 96 intervals, as if some were off"
    )
    idle = json.loads(run("--json", "-", load=("--load", loads(tmp_path, power=0.672))).stdout)
    assert not [note for note in idle["notes"] if note.startswith("load.csv")]


@pytest.mark.slow
@pytest.mark.parametrize(("step", "count"), [("15min", 96), ("1h", 24), ("5 min", 288)])
def test_each_step_length_writes_its_intervals(run, tmp_path, step, count):
    result = run("--step", step, "--out", tmp_path / "run.nc")
    assert result.exit_code == 0, result.stderr
    with xr.open_dataset(tmp_path / "run.nc") as written:
        assert written.sizes["time"] == count
        assert written["facility_power"].attrs["units"] == "MW"
        assert "air_temperature" in written


def test_steps_agree_on_the_energy(run):
    fine, coarse = (
        json.loads(run("--json", "-", "--step", step).stdout)["energy_mwh"]
        for step in ("5min", "1h")
    )
    assert fine == pytest.approx(coarse, rel=2e-3)


def test_typical_year_continues_across_new_year(run, tmp_path):
    weather = small_days.typical_year(tmp_path)
    result = run("--weather", weather, "--days", "3", start="2026-12-30")
    assert result.exit_code == 0, result.stderr


def refused(result, *words):
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not isinstance(result.exception, ValueError | TypeError | KeyError | AttributeError)
    for word in words:
        assert word in result.stderr, result.stderr


def test_unknown_site_is_refused_with_a_suggestion(run):
    refused(run(site="smal"), "smal", "small")


@pytest.mark.parametrize("start", ["2023-06-12", "2026-06-30T12:00Z"])
def test_start_outside_the_synthetic_weather_is_refused(run, start):
    """Proves: the error names the weather, and not the prices, which are not needed."""
    result = run(start=start)
    refused(result, "ProblemError", start[:10], "2026-06-01T00:00Z", "give --weather FILE")
    assert "prices" not in result.stderr


@pytest.mark.parametrize("start", ["tomorrow noon", "2026-13-01", ""])
def test_invalid_start_is_refused(run, start):
    refused(run(start=start), "moment", "2026-06-16T12:00Z")


@pytest.mark.parametrize("step", STEPS)
def test_step_that_does_not_divide_a_day_is_refused(run, step):
    refused(run("--step", step), "--step")


@pytest.mark.parametrize("load", [(), ("--utilisation", "0.5", "--load", "load.csv")])
def test_load_must_be_given_once(run, load):
    refused(run(load=load), "--load", "--utilisation")


def test_utilisation_above_one_is_refused(run):
    assert run(load=("--utilisation", "1.2")).exit_code == 2


def test_missing_column_is_refused_by_file(run, tmp_path):
    load = loads(tmp_path, "time_utc,power")
    refused(run(load=("--load", load)), "load.csv", "hall_power_mw")


def test_naive_times_are_refused(run, tmp_path):
    load = loads(tmp_path, "time,hall_power_mw", zone="")
    refused(run(load=("--load", load)), "load.csv", "zone")


def test_unknown_time_zone_is_refused(run, tmp_path):
    load = ("--load", loads(tmp_path), "--zone", "Europe/Berlinn")
    refused(run(load=load), "'Europe/Berlinn'", "did you mean Europe/Berlin?")


def test_kilowatts_in_a_megawatt_column_are_refused(run, tmp_path):
    load = loads(tmp_path, power=2000.0)
    refused(run(load=("--load", load)), "load.csv", "at most 3.696 MW")


def test_first_time_of_excessive_load_is_reported(run, tmp_path):
    load = loads(tmp_path)
    lines = load.read_text().split("\n")
    lines[8], lines[20] = "2026-06-16T07:00Z,4.5", "2026-06-16T19:00Z,9"
    load.write_text("\n".join(lines))
    refused(run(load=("--load", load)), "load.csv, 2026-06-16T07:00Z = 4.5 MW: at most 3.696 MW")


@pytest.mark.parametrize("power", [3.696, "3.6960000000001"])
def test_halls_may_be_at_full_power_all_day(run, tmp_path, power):
    """Proves: means of a load at full power are full power, whatever they round to."""
    load = loads(tmp_path, power=power)
    for step in ("15min", "1h", "2min"):
        result = run("--json", "-", "--step", step, load=("--load", load))
        assert result.exit_code == 0, result.stderr


def test_naive_load_times_use_the_given_zone(run, tmp_path):
    """Two hours in summer: 24 h from local midnight do not cover a day of UTC."""
    load = loads(tmp_path, "time,hall_power_mw", zone="", hours=48)
    assert run("--zone", "DE-LU", load=("--load", load)).exit_code == 0
    load = loads(tmp_path, "time,hall_power_mw", zone="", hours=24)
    refused(run("--zone", "DE-LU", load=("--load", load)), "2026-06-16T22:00")


def test_origin_of_the_weather_is_noted(run, tmp_path):
    """Proves: what the file has not, whose year it is, and how far away, in words and in JSON."""
    weather = small_days.typical_year(tmp_path)
    result = run("--json", "-", "--weather", weather)
    notes = json.loads(result.stdout)["notes"]
    assert f"{weather.name}: a typical year, standing for 2026" in notes
    for note in notes:
        assert f"note: {note}" in result.stderr.replace("\n", " ")


def test_filled_gap_is_noted(run, tmp_path):
    load = loads(tmp_path)
    lines = load.read_text().split("\n")
    load.write_text("\n".join([*lines[:8], *lines[9:]]))
    document = json.loads(run("--json", "-", load=("--load", load)).stdout)
    assert document["gaps"] == ["load.csv: 2026-06-16T07:00Z/2026-06-16T08:00Z"]


def test_negative_power_is_refused_by_row(run, tmp_path):
    load = loads(tmp_path, power=-1.0)
    refused(run(load=("--load", load)), "load.csv", "row 2", "0 to 10000 MW")


def test_load_that_ends_early_is_refused(run, tmp_path):
    load = loads(tmp_path, hours=12)
    refused(run(load=("--load", load)), "load.csv", "2026-06-16T12:00")


def test_missing_file_is_refused(run):
    refused(run("--weather", "nowhere.epw"), "nowhere.epw")


def test_refused_run_keeps_earlier_output(run, tmp_path):
    path = tmp_path / "sums.json"
    assert run("--json", path).exit_code == 0
    before = path.read_text()
    refused(run("--json", path, start="2024-01-01"))
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [(("--out", "FOLDER"), "is a folder; name a file"), (("--trip", "nothing"), "nothing")],
)
def test_impossible_request_is_refused_before_the_run(run, tmp_path, words, expected):
    result = run(*(tmp_path if word == "FOLDER" else word for word in words))
    refused(result, expected)
    assert "simulating" not in result.output
    assert list(tmp_path.iterdir()) == []
