"""Damaged folders of back-tests: the error names the file and the fault."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from optimizer.backtesting.run_folder import write_policy_run
from optimizer.backtesting.runner import run_backtest_policy
from optimizer.cli import app
from tests.support import small_days

DECISIONS, COURSE, IDENTITY = "deterministic_0.decisions.json", "deterministic_0.nc", "run.json"
OLD = {"site": "small", "start": "2026-06-16T00:00:00.000000", "days": 1, "load_scale": 0.6}
"""Keys of run.json in older versions."""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the folder of a back-test of an hour, with the identity of an older version."""
    here = small_days.setting(1)
    folder = tmp_path_factory.mktemp("written")
    write_policy_run(
        folder,
        here.site,
        run_backtest_policy(here, "deterministic", seed=0, on_progress=lambda *_: None),
    )
    (folder / IDENTITY).write_text(json.dumps(OLD))
    return folder


@pytest.fixture
def folder(written, tmp_path):
    """Return a copy of the folder to damage."""
    return shutil.copytree(written, tmp_path / "run")


def explained(folder, *words):
    return CliRunner().invoke(app, ["explain", "small", "--run", str(folder), *words])


def refused(result, *words):
    assert result.exit_code == 1, result.stdout
    assert isinstance(result.exception, SystemExit), result.exception
    for word in (*words, "run gigatwin backtest again"):
        assert word in result.stderr, result.stderr


def test_folder_of_an_older_version_is_explained(folder):
    result = explained(folder)
    assert result.exit_code == 0, result.stderr
    assert "decision of 2026-06-16T00:00Z" in result.stdout
    assert "what happened in the quarter-hour of 2026-06-16T00:00Z:" in result.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cut short, or no JSON"),
        ("{}", "not a file of a back-test (the whole: Input should be a valid list)"),
        ("[{}]", "not a file of a back-test (0.start: Field required)"),
        ("[]", "no decision"),
        ("[" * 100_000, "cut short, or no JSON"),
    ],
)
def test_invalid_decisions_are_refused(folder, text, words):
    (folder / DECISIONS).write_text(text)
    refused(explained(folder), DECISIONS, words)


def test_truncated_decisions_are_refused(folder):
    whole = (folder / DECISIONS).read_bytes()
    for size in (len(whole) // 2, len(whole) - 3):
        (folder / DECISIONS).write_bytes(whole[:size])
        refused(explained(folder), DECISIONS, "cut short, or no JSON")


@pytest.mark.parametrize(("key", "value"), [("start", "soon"), ("accounts", [1]), ("start", None)])
def test_implausible_decision_is_refused(folder, key, value):
    document = json.loads((folder / DECISIONS).read_text())
    document[0][key] = value
    (folder / DECISIONS).write_text(json.dumps(document))
    refused(explained(folder), DECISIONS, key)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[]", "not a file of a back-test"),
        (b"{}", "site: Field required"),
        (b'{"site": 3}', "site: Input should be a valid string"),
        (b'{"site": "sm', "cut short, or no JSON"),
        (b"\xff\xfe\x00", "cut short, or no JSON"),
    ],
)
def test_invalid_run_identity_is_refused(folder, content, words):
    (folder / IDENTITY).write_bytes(content)
    refused(explained(folder), IDENTITY, words)
    tariff = ["tariff", "small", "--run", str(folder), "--rules", "germany"]
    refused(CliRunner().invoke(app, tariff), IDENTITY, words)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_trajectory_is_refused(folder, share):
    whole = (folder / COURSE).read_bytes()
    (folder / COURSE).write_bytes(whole[: int(share * len(whole))])
    refused(explained(folder, "--at", "2026-06-16T00:30"), COURSE, "cut short, or no NetCDF")


def test_trajectory_of_something_else_is_refused(folder):
    small_days.world().series[["air_temperature"]].to_netcdf(folder / COURSE, engine="h5netcdf")
    refused(explained(folder), COURSE, "without instant, grid_import_power, facility_power")
