"""`gigatwin fleet`: options, output and refused input."""

import io
import json
from types import SimpleNamespace

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

import sites
from optimizer.backtesting.run_folder import read_trajectory
from optimizer.cli import app, fleet
from sites.catalogue import find_site_file
from twin.errors import ProblemError, SiteError

ROUTES = """
[routes.inside]
kind = "batch"
origins = ["rhine", "small"]
hosts = ["rhine"]
transfer_time = "30 min"
window = "5 h"
data = "2 TB/MWh"
data_price = "0.01 EUR/GB"
"""


@pytest.fixture
def routes(tmp_path):
    path = tmp_path / "routes.toml"
    path.write_text(ROUTES, encoding="utf-8")
    return path


def run(*words):
    return CliRunner().invoke(app, ["fleet", *map(str, words)])


def test_routes_are_read_in_their_units(routes):
    inside = sites.load_routes(routes)["inside"]
    assert inside.transfer_time == pytest.approx(0.5)
    assert inside.transfer_cost == pytest.approx(2000 * 0.01)
    assert inside.hosts == ("rhine",)


def test_every_fault_of_a_routes_file_is_reported(tmp_path):
    path = tmp_path / "routes.toml"
    path.write_text('speed = 3\n[routes.a]\nwindow = 5\nkin = "batch"\n', encoding="utf-8")
    with pytest.raises(SiteError) as refused:
        sites.load_routes(path)
    message = str(refused.value)
    for words in (
        "speed",
        "write the unit",
        "kin: a parameter of fleet route",
    ):
        assert words in message
    path.write_text("", encoding="utf-8")
    with pytest.raises(SiteError, match=r"write one table \[routes"):
        sites.load_routes(path)


@pytest.mark.slow
def test_fleet_is_decided_and_written(tmp_path):
    dear = tmp_path / "dear.csv"
    lines = sites.series_file("prices").read_text(encoding="utf-8").splitlines()
    head, *rows = (line.split(",") for line in lines)
    place = head.index("price_eur_mwh")
    for row in rows:
        row[place] = f"{3.0 * float(row[place]):.2f}"
    dear.write_text("\n".join(",".join(row) for row in [head, *rows]), encoding="utf-8")
    result = run("rhine", "baltica", "--prices", f"rhine={dear}", "--json", tmp_path / "f.json")
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    assert document["sites"]["rhine"]["sends_mwh"] > 10.0
    assert document["sites"]["baltica"]["takes_in_mwh"] == pytest.approx(
        document["sites"]["rhine"]["sends_mwh"], abs=0.1
    )
    assert all(site["is_safe"] for site in document["sites"].values())
    assert document["gap"] <= 1e-3
    assert document["objective"] < document["objective_alone"]
    assert "dear.csv: carbon_intensity is direct" in document["notes"]
    assert document["notes"].count("synthetic_prices.csv: carbon_intensity is direct") == 1
    assert "rhine sends" in " ".join(result.output.split())
    assert "sharing saves" in result.output


@pytest.mark.long
def test_fleet_runs_in_closed_loop(tmp_path):
    """Proves: the table, the folder and the JSON agree; sites of high and low load share work."""
    twin = tmp_path / "other.toml"
    twin.write_bytes(find_site_file("small").read_bytes())
    out, json_path = tmp_path / "out", tmp_path / "copy.json"
    loads = ("--load-scale", "small=0.8", "--load-scale", 0.4)
    result = run("small", twin, *loads, "--days", 1, "--out", out, "--json", json_path)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.output.split())
    assert "small, other, shared: 96 of 96 quarter-hours" in shown
    assert "no limit of a plant was violated" in shown
    assert json.loads(json_path.read_text()) == json.loads((out / "fleet.json").read_text())
    found = json.loads(json_path.read_text())
    works = [site["alone"]["work_done"] for site in found["sites"].values()]
    assert works[0] == pytest.approx(2.0 * works[1], rel=0.1)
    assert found["sites"]["small"]["sends_mwh"] > found["sites"]["other"]["sends_mwh"]
    for name, site in found["sites"].items():
        assert site["alone"]["violations"] == site["shared"]["violations"] == 0
        trajectory = read_trajectory(out / name, policy="shared")
        energy = float((trajectory["facility_power"] * trajectory["duration"]).sum())
        assert energy == pytest.approx(site["shared"]["energy_mwh"], rel=1e-6)
    assert (out / "fleet.png").stat().st_size > 10_000
    assert (out / "other" / "deterministic_0.decisions.json").exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["rhine"], "a fleet has at least two sites"),
        (["rhine", "rhine"], "each site occurs once"),
        (
            ["rhine", "baltica", "--move", "poetry", "--prices", "none.csv"],
            "a kind of work of the sites",
        ),
        (["rhine", "baltica", "--prices", "iberia=x.csv"], "choose among rhine, baltica"),
        (["rhine", "baltica", "--jobs", "rhine=x.csv", "--jobs", "rhine=y.csv"], "each site once"),
        (["rhine", "baltica", "--weather", "rhine="], "--weather = rhine: one FILE"),
        (["rhine", "atlantis"], "atlantis"),
        (["rhine", "baltica", "--load-scale", "iberia=0.5"], "choose among rhine, baltica"),
        (["rhine", "baltica", "--load-scale", "rhine=much"], "--load-scale = rhine=much: a number"),
        (["rhine", "baltica", "--load-scale", "rhine=1.5"], "load_scale = 1.5: a mean share"),
    ],
)
def test_invalid_arguments_are_refused(words, expected):
    result = run(*words)
    assert result.exit_code == 1
    assert expected in result.stderr


def test_folder_without_days_is_refused(tmp_path):
    result = run("rhine", "iberia", "--out", tmp_path)
    assert result.exit_code == 1
    assert "say with --days how long to run" in result.stderr


@pytest.mark.parametrize("cost", ["inf", "nan", "20000"])
def test_invalid_transfer_cost_is_refused(cost):
    """Sensitivity: a traceback."""
    result = run("rhine", "baltica", "--transfer-cost", cost)
    assert result.exit_code == 2
    assert "Invalid value for '--transfer-cost'" in result.stderr


def test_missing_data_is_noted_before_planning(run_with_incomplete_files):
    """Proves: prices without carbon and unused columns are noted before planning.

    Sensitivity: the table shows carbon of 0 t without a reason.
    """
    shown = run_with_incomplete_files("fleet", "small", "rhine")
    assert "note: dear.csv: no carbon intensity" in shown
    assert "note: mine.csv: not read: user" in shown
    assert "note: synthetic weather; name your own with --weather FILE" in shown
    assert "synthetic prices" not in shown


@pytest.mark.parametrize(("carbon", "is_told"), [("small=", True), ("", False)])
def test_site_without_known_carbon_is_noted(tmp_path, monkeypatch, carbon, is_told):
    """Proves: a note says that work moves to sites without known carbon."""

    def none_of(*_, **__):
        raise ProblemError("test", [])

    monkeypatch.setattr(fleet, "decide_fleet", none_of)
    prices = tmp_path / "prices.csv"
    table = pd.read_csv(sites.series_file("prices")).drop(columns=["ci_direct", "ci_lca"])
    table.to_csv(prices, index=False)
    result = run(
        *(
            "small",
            "rhine",
            "--prices",
            prices,
            "--carbon",
            f"{carbon}{sites.series_file('prices')}",
        )
    )
    words = (
        "carbon counts at small, and not at rhine, where none is known: "
        "work moves there for that reason"
    )
    assert (words in " ".join(result.output.split())) is is_told


def test_contract_carbon_counts_as_known():
    """With hourly matching, the residual mix counts without carbon data of the grid."""
    small, rhine = (sites.load_site(name) for name in ("small", "rhine"))
    for other, is_told in (
        (rhine, True),
        (rhine.with_parameters("grid_1", carbon="matched"), False),
    ):
        page = io.StringIO()
        settings = [
            SimpleNamespace(site=site, inputs=SimpleNamespace(has_carbon=site is small))
            for site in (small, other)
        ]
        fleet._warn_unknown_carbon(Console(width=240, file=page, markup=False), settings)
        assert ("carbon counts at small, and not at rhine" in page.getvalue()) == is_told
