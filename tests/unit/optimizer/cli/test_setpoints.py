"""`gigatwin setpoints`: output and refused input."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from twin.reporting.setpoint_savings import CONTROL_STRATEGIES


@pytest.fixture
def run():
    """Return the function that compares two days of a site in this process."""

    def invoke(*words, site="frontier", start="2026-06-16", days=2):
        arguments = ["setpoints", site, "--start", start, "--days", days, *words]
        return CliRunner().invoke(app, list(map(str, arguments)))

    return invoke


def test_totals_of_two_days(run, tmp_path):
    result = run("--json", "-", "--picture", tmp_path / "two.png")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert set(document["energy_mwh"]) == set(document["saving"]) == set(CONTROL_STRATEGIES)
    assert list(document["by_month_mwh"]) == ["2026-06"]
    assert document["saving"]["fixed flow"] == 0.0
    fixed, best = (document["energy_mwh"][way] for way in ("fixed flow", "flow and temperature"))
    assert document["saving"]["flow and temperature"] == pytest.approx(1.0 - best / fixed)
    assert document["with_ramps"]["fastest_k_per_min"] <= document["with_ramps"]["ramp_k_per_min"]
    assert document["with_ramps"]["chip_max_degc"] < document["with_ramps"]["chip_limit_degc"]
    assert document["published"]["with ramps"] == 0.278
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")
    assert "cooling energy [MWh]" in result.stderr


def test_default_run_uses_the_included_weather():
    result = CliRunner().invoke(app, ["setpoints", "small", "--step", "1h"])
    assert result.exit_code == 0, result.stderr
    assert "720 intervals of 1h" in result.stdout


def test_energy_does_not_depend_on_the_step(run):
    """Half-hours cover the same day with other samples of its weather."""
    hours, halves = (
        json.loads(run("--json", "-", "--step", step, days=1).stdout)["energy_mwh"]["fixed flow"]
        for step in ("1h", "30min")
    )
    assert halves == pytest.approx(hours, rel=2e-3)


def test_jobs_run_when_they_arrive(run, tmp_path):
    """One job of half a day at a time: the halls are busy only then."""
    rows = [f"{24.0 * day},12.0,1" for day in range(365)]
    (tmp_path / "jobs.csv").write_text("\n".join(["arrival_time,length,cpus", *rows]))
    busy = run("--jobs", tmp_path / "jobs.csv", "--utilisation", "0.05", "--json", "-")
    assert busy.exit_code == 0, busy.stderr
    idle = run("--utilisation", "0.0", "--json", "-")
    spent = [json.loads(result.stdout)["energy_mwh"]["flow"] for result in (busy, idle)]
    assert spent[0] > spent[1]


def test_job_that_dominates_the_work_is_noted(run, tmp_path):
    """Proves: a note about the jobs stands before the totals, as in a back-test."""
    rows = [f"{24.0 * day},12.0,1" for day in range(365)]
    rows[100] = "2400,12,1e15"
    (tmp_path / "jobs.csv").write_text("\n".join(["arrival_time,length,cpus", *rows]))
    result = run("--jobs", tmp_path / "jobs.csv", "--json", "-")
    assert "note: jobs.csv: row 102: one job, 1e+15 cpus" in result.stderr


def test_load_can_be_read_from_a_file(run, tmp_path):
    stamps = pd.date_range("2026-06-16", periods=48, freq="h")
    rows = [f"{stamp:%Y-%m-%dT%H:%MZ},20.0" for stamp in stamps]
    (tmp_path / "load.csv").write_text("\n".join(["time_utc,hall_power_mw", *rows]))
    result = run("--load", tmp_path / "load.csv", "--json", "-")
    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("words", "expected"), [(["--step", "7min"], "--step"), (["--days", "0"], "--days")]
)
def test_invalid_options_are_refused(run, words, expected):
    result = run(*words)
    assert result.exit_code != 0
    assert expected in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("sky", ["DE-LU_2023.json", "DE-LU_2022.json", "*Helsinki*.epw"])
def test_year_of_real_weather_saves_a_fifth(run, shared, sky):
    """Acceptance of the requirements, with jobs of a real trace, each run as it arrives."""
    (weather,) = (shared / "data" / "weather").glob(sky)
    start = "2022-01-01" if "2022" in sky else "2023-01-01"
    words = "--weather", weather, "--jobs", shared / "data" / "jobs" / "pai-100k.csv"
    result = run(*words, "--json", "-", start=start, days=364)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    for way in ("flow", "flow_and_temperature", "with_ramps"):
        assert document["saving"][way.replace("_", " ")] > 0.2
        assert document[way]["chip_max_degc"] < document[way]["chip_limit_degc"]
    assert (
        0.0
        < document["with_ramps"]["fastest_k_per_min"]
        <= document["with_ramps"]["ramp_k_per_min"]
    )
