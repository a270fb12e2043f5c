"""`gigatwin simulate --trip`: failures shown and refused input."""

import json

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from twin.contingency.contingencies import single_contingencies


@pytest.fixture
def run():
    """Return the function that simulates a day of a site in this process."""

    def invoke(*words, site="small"):
        arguments = [
            "simulate",
            site,
            "--start",
            "2026-06-16",
            "--days",
            "1",
            "--utilisation",
            "0.9",
        ]
        return CliRunner().invoke(app, [*arguments, *map(str, words)], env={"COLUMNS": "120"})

    return invoke


def test_failures_are_listed_soonest_first(run):
    result = run("--trip", "all", "--json", "-")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert {row["trip"] for row in document["trips"]} == {
        t.name for t in single_contingencies(sites.load_site("small"))
    }
    times = [row["time_to_limit_min"] for row in document["trips"]]
    reached = [minutes for minutes in times if minutes is not None]
    assert reached
    assert times == sorted(reached) + [None] * (len(times) - len(reached))
    assert all(row["limit"] and row["time"] for row in document["trips"][: len(reached)])
    assert "warm_plant" in result.stderr
    assert document["energy_mwh"] > 0.0  # the sums of the run stay


def test_path_of_a_failure_reaches_its_limit_on_time(run):
    result = run("--trip", "warm_plant", "--json", "-")
    document = json.loads(result.stdout)
    high = document["path_limits"]["facility_supply_temperature"]["warm_plant"]
    water = document["path"]["facility_supply_temperature"]["warm_plant"]
    assert document["limit"] == "supply limit of warm_plant"
    before = int(document["time_to_limit_min"])
    assert water[before] < high < water[before + 1]
    assert document["path"]["minute"] == list(range(len(water)))
    assert f"water of warm_plant (<{high:g})" in result.stderr
    assert "!" in result.stderr


def test_failure_is_equal_at_rack_level(run, tmp_path):
    """Proves: a run at rack level gives the same path of a failure."""
    span = ("--from", "2026-06-16T12:00", "--to", "2026-06-16T12:15")
    racks = ("--level", "rack", "--out", tmp_path / "racks.zarr", "--step", "1h", *span)
    result = run("--trip", "warm_plant", "--json", "-", *racks)
    assert result.exit_code == 0, result.stderr
    plain = json.loads(run("--trip", "warm_plant", "--json", "-", "--step", "1h").stdout)
    assert json.loads(result.stdout)["path"] == plain["path"]


def test_failure_without_consequence_is_reported(run):
    result = run("--trip", "cdu_1/001/pump")
    assert result.exit_code == 0, result.stderr
    assert "no limit" in result.stdout


def test_picture_shows_the_run_or_one_failure(run, tmp_path):
    file = tmp_path / "trip.png"
    assert run("--trip", "warm_plant", "--picture", file).exit_code == 0
    assert imread(file).shape[:2] == (800, 1200)
    plain = tmp_path / "run.png"
    assert run("--picture", plain).exit_code == 0
    assert plain.read_bytes().startswith(b"\x89PNG")
    refused = run("--trip", "all", "--picture", file)
    assert refused.exit_code == 1
    assert "name one failure for a picture" in refused.stderr


def test_unknown_failure_is_refused_with_suggestions(run):
    refused = run("--trip", "chillr_2")
    assert refused.exit_code == 1
    assert "did you mean chilled_plant/chiller_2" in refused.stderr
