"""`gigatwin report`: runs give the figures of a year, and nothing is counted twice."""

import json

import pytest
import xarray as xr
from typer.testing import CliRunner

from optimizer.backtesting.run_folder import write_policy_run
from optimizer.backtesting.runner import run_backtest_policy
from optimizer.cli import app
from tests.support import small_days


def cli(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Return three days of the small site, each in a file, with the output of `simulate`."""
    folder = tmp_path_factory.mktemp("days")
    found = {}
    for day in ("2026-06-16", "2026-06-17", "2026-06-19"):
        path = folder / f"{day}.nc"
        done = cli("simulate", "small", "--start", day, "--days", 1, "--utilisation", 0.5,
                   "--out", path, "--json", "-")  # fmt: skip
        found[path] = json.loads(done.stdout)
    return found


def test_report_of_a_day_equals_simulate(days):
    path, simulated = next(iter(days.items()))
    found = json.loads(cli("report", "small", path, "--json", "-").stdout)
    value = {key: one["value"] for key, one in found["figures"].items()}
    assert value["E_DC"] == pytest.approx(1e3 * simulated["energy_mwh"])
    assert value["E_IT"] == pytest.approx(1e3 * simulated["it_energy_mwh"])
    indicators = [value[key] for key in ("PUE", "WUE", "ERF", "REF")]
    assert indicators == pytest.approx([simulated[key] for key in ("pue", "wue", "erf", "ref")])
    assert value["CUE"] == pytest.approx(simulated["cue"])  # of the synthetic carbon
    assert found["hours"] == 24.0


def test_days_add_up_in_any_order_and_gaps_are_noted(days, tmp_path):
    page = tmp_path / "year.md"
    done = cli("report", "small", *reversed(days), "--markdown", page, "--json", "-")
    assert done.exit_code == 0, repr(done.exception)
    found = json.loads(done.stdout)
    assert (found["start"], found["end"]) == ("2026-06-16T00:00Z", "2026-06-20T00:00Z")
    total = sum(simulated["energy_mwh"] for simulated in days.values())
    assert found["figures"]["E_DC"]["value"] == pytest.approx(1e3 * total)
    assert "nothing is known from 2026-06-18T00:00Z for 24.0 h" in found["notes"]
    assert "| E_DC | energy of the whole site, own generation included |" in page.read_text()
    assert "72 h of a year's 8,760: 0.8%" in page.read_text()


def test_file_of_another_site_is_refused_with_both_names(days):
    """Proves: a report has runs of its own site only. Sensitivity: any file was accepted."""
    first, second, _ = days
    done = cli("report", "iberia", first, second)
    assert done.exit_code == 1
    assert "report has 2 issues" in done.stderr
    for path in (first, second):
        assert f"{path} = a run of small: runs of iberia only" in done.stderr


@pytest.mark.slow
def test_file_without_a_site_name_is_noted(days, tmp_path):
    path, complete = tmp_path / "meter.nc", next(iter(days))
    with xr.open_dataset(complete, engine="h5netcdf", decode_timedelta=False) as run:
        assert run.attrs["title"] == "small from 2026-06-16"
        del run.attrs["site"]
        run.to_netcdf(path, engine="h5netcdf")
    note = f"{path} does not name its site, and is taken as of small"
    for file, notes in ((path, [note]), (complete, [])):
        found = json.loads(cli("report", "small", file, "--json", "-").stdout)
        assert [line for line in found["notes"] if "its site" in line] == notes


@pytest.mark.slow
def test_backtest_trajectory_names_its_site(tmp_path):
    here = small_days.setting(1)
    write_policy_run(
        tmp_path,
        here.site,
        run_backtest_policy(here, "immediate", seed=0, on_progress=lambda *_: None),
    )
    done = cli("report", "rhine", tmp_path / "immediate_0.nc")
    assert "immediate_0.nc = a run of small: runs of rhine only" in done.stderr
    with xr.open_dataset(tmp_path / "immediate_0.nc", engine="h5netcdf") as trajectory:
        assert trajectory.attrs["title"] == "small, immediate, plant 0"


def test_overlapping_files_are_refused(days):
    path = next(iter(days))
    done = cli("report", "small", path, path)
    assert done.exit_code == 1
    assert "give each time once" in " ".join(done.stderr.split())


def test_file_that_is_no_run_is_refused_by_name(tmp_path):
    path = tmp_path / "notes.nc"
    path.write_text("no NetCDF")
    done = cli("report", "small", path)
    assert done.exit_code == 1
    assert "notes.nc" in done.stderr
    assert "cannot be read" in done.stderr


def test_legal_limits_follow_the_opening_day(days, tmp_path):
    """Proves: the opening day selects the limits. Sensitivity: none was reported."""
    path, page = next(iter(days)), tmp_path / "year.md"
    found = json.loads(cli("report", "small", path, "--json", "-").stdout)
    assert found["duties"] == []
    assert any("add --opened DAY" in note for note in found["notes"])
    words = ("--opened", "2026-06-16", "--markdown", page)
    found = json.loads(cli("report", "small", path, *words, "--json", "-").stdout)
    duties = {(one["figure"], one["limit"]): one for one in found["duties"]}
    assert duties["PUE", 1.5]["is_kept"]
    assert not duties["PUE", 1.5]["is_binding"]
    assert duties["REF", 0.5]["is_binding"]
    text = "| EnEfG section 11 (1) no. 1 | PUE | "
    assert text in page.read_text()


@pytest.mark.parametrize("day", ["soon", "2026-13-01", "2031-01-01"])
def test_invalid_opening_day_is_refused(days, day):
    done = cli("report", "small", next(iter(days)), "--opened", day)
    assert done.exit_code == 1
    assert f"--opened = {day}: a day" in done.stderr
    assert "no later than the last day of the run, 2026-06-" in done.stderr
