"""`gigatwin calibrate`: from telemetry to a report, a proposal and drift."""

import json
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from optimizer.reporting.run_files import write_netcdf
from optimizer.service.weekly_calibration import CALIBRATIONS_FILE, store_calibration
from telemetry.simulator.calibration_trial import CalibrationTrial
from tests.support import skies
from tests.support.histories import history_of, operation_of
from tests.unit.twin.calibration.test_drift import weeks

SITE = sites.load_site("small")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return two days of telemetry of a worn plant."""
    path = tmp_path_factory.mktemp("telemetry") / "two_days.nc"
    readings = CalibrationTrial.run(SITE, skies.minutes("small", days=2), seed=3).readings
    write_netcdf(path, readings.drop_vars("instant", errors="ignore"), site="small", title="")
    return path


def calibrate(*words):
    return CliRunner().invoke(app, ["calibrate", "small", *map(str, words)])


def test_report_proposal_and_picture_are_written(file, tmp_path):
    toml, png, report = (tmp_path / name for name in ("p.toml", "p.png", "p.json"))
    result = calibrate("--telemetry", file, "--out", toml, "--picture", png, "--json", report)
    assert result.exit_code == 0, result.stderr
    assert "have similar effects" in " ".join(result.stdout.split())
    content = json.loads(report.read_text())
    assert content["parameters"]["ups_1.loss_factor"]["site_file"] == 1.0
    assert png.read_bytes().startswith(b"\x89PNG")
    proposed = tomllib.loads(toml.read_text())["equipment"]
    factor = proposed["chilled_plant"]["chillers"]["eir_factor"]
    found = content["parameters"]["chilled_plant.chillers.eir_factor"]
    assert factor == pytest.approx(found["value"], rel=1e-5)
    assert proposed["warm_plant"]["pump_power"].endswith(" MW")
    assert "rejection" in proposed["warm_plant"]


@pytest.mark.slow
@pytest.mark.parametrize("span", [(), ("--start", "2026-06-10T06:00", "--end", "2026-06-17T18:00")])
def test_values_on_interval_edges_survive_a_time_cut(tmp_path, span):
    """Proves: part of a ten-day run identifies the fouling of its CDUs.

    Sensitivity: without water temperatures on interval edges, it is unknown.
    """
    worn = SITE.with_parameters("cdu_1", fouling=0.85)
    run = history_of(worn, operation_of(worn, days=10))
    write_netcdf(tmp_path / "run.nc", run, site="small", title="")
    result = calibrate("--telemetry", tmp_path / "run.nc", *span, "--json", "-")
    found = json.loads(result.stdout)["parameters"]["cdu_1.fouling"]
    assert found["grade"] == "identified"
    assert found["value"] == pytest.approx(0.85, rel=1e-3)


@pytest.mark.slow
def test_telemetry_of_another_site_is_noted(file):
    result = CliRunner().invoke(
        app, ["calibrate", "rhine", "--telemetry", str(file), "--json", "-"]
    )
    (note, *_) = json.loads(result.stdout)["said"]
    assert note.startswith("the telemetry is of small")
    assert "is of small" not in calibrate("--telemetry", file).stdout


def test_short_span_and_invalid_file_are_refused(file, tmp_path):
    result = calibrate("--telemetry", file, "--start", "2026-06-16", "--end", "2026-06-16T06:00")
    assert result.exit_code == 1
    assert "history = 6 h from" in " ".join(result.stderr.split())
    (tmp_path / "x.nc").write_text("x")
    result = calibrate("--telemetry", tmp_path / "x.nc")
    assert result.exit_code == 1
    assert "cannot be read as NetCDF" in result.stderr


def test_missing_archive_is_reported(tmp_path):
    result = calibrate("--state", tmp_path)
    assert result.exit_code == 1
    assert "no archive" in result.stderr


def test_one_calibration_is_stored_per_week(file, tmp_path):
    words = ("--telemetry", file, "--state", tmp_path, "--keep")
    assert calibrate(*words).exit_code == 0
    content = json.loads((tmp_path / CALIBRATIONS_FILE).read_text())
    (row,) = content["calibrations"]
    assert row["start"].startswith("2026-06-16")
    assert "ups_1.loss_factor" in row["points"]
    again = calibrate(*words)
    assert again.exit_code == 0
    assert "no week has passed" in again.stdout.replace("\n", " ")
    assert json.loads((tmp_path / CALIBRATIONS_FILE).read_text()) == content


def test_drift_names_worn_equipment(tmp_path):
    for week in weeks(eir=np.r_[np.full(10, 1.0), np.full(12, 1.087)]):
        store_calibration(tmp_path / CALIBRATIONS_FILE, week)
    report = tmp_path / "drift.json"
    result = calibrate("--state", tmp_path, "--drift", "--json", report)
    assert result.exit_code == 0, result.stderr
    assert "lost 8% of their COP since May" in " ".join(result.stdout.split())
    content = json.loads(report.read_text())
    assert content["calibrations"] == 22
    assert content["changes"][0]["parameter"] == "chilled_plant.chillers.eir_factor"


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "too few calibrations"), (5, "too few calibrations"), (6, "no significant change")],
)
def test_few_calibrations_give_no_drift(tmp_path, count, words):
    """Sensitivity: without any calibration, as without --state, no drift was reported."""
    for week in list(weeks(eir=np.ones(10)))[:count]:
        store_calibration(tmp_path / CALIBRATIONS_FILE, week)
    result = calibrate("--state", tmp_path, "--drift")
    assert result.exit_code == 0
    assert f"{count} calibrations stored" in " ".join(result.stdout.split())
    assert words in result.stdout


@pytest.mark.long
def test_calibration_trial_passes(tmp_path):
    report = tmp_path / "trial.json"
    result = calibrate("--trial", 2, "--json", report)
    assert result.exit_code == 0, result.stdout
    content = json.loads(report.read_text())
    assert content["is_passed"] is True
    assert len(content["seeds"]) == 2
    assert 0.92 <= content["worst"]["coverage"] <= 0.98
