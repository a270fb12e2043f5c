"""`gigatwin sites`: exit codes, JSON, and one clear block for a fault."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from sites import catalogue
from sites.loading import TARIFFS_DIR, build_site


@pytest.fixture
def run():
    """Return the function that runs the command in this process."""
    return lambda *words: CliRunner().invoke(app, ["sites", *map(str, words)])


def test_list(run):
    result = run("list", "--json", "-")
    assert result.exit_code == 0
    found = {site["name"]: site["purpose"] for site in json.loads(result.stdout)["sites"]}
    assert found == {name: home for home in catalogue.SITE_DIRS for name in sites.site_names(home)}
    assert found["rhine"] == "decision"
    assert found["frontier"] == "validation"
    declared, held_to = result.stderr.split("Existing plants of gigatwin validate")
    assert "Declared sites" in declared
    assert all(name in declared and name not in held_to for name in sites.site_names())
    assert "frontier" in held_to
    assert "frontier" not in declared


def test_check_of_all_declared_sites(run, tmp_path):
    result = run("check", "--json", tmp_path / "checked.json")
    assert result.exit_code == 0
    assert json.loads((tmp_path / "checked.json").read_text())["faults"] == []
    assert "rhine is sound" in result.stdout


def test_check_of_a_broken_file(run, tmp_path):
    text = (catalogue.SITES_DIR / "small.toml").read_text().replace("elevation", "elevatoin")
    (tmp_path / "broken.toml").write_text(text)
    result = run("check", tmp_path / "broken.toml", "--json", "-")
    assert result.exit_code == 1
    faults = json.loads(result.stdout)["faults"]
    assert [fault["place"] for fault in faults] == ["elevation", "elevatoin"]
    assert faults[1]["remedy"] == "remove the key; did you mean elevation?"
    assert "broken.toml has 2 issues" in result.stderr


def test_describe(run):
    result = run("describe", "small", "--json", "-")
    assert result.exit_code == 0
    (site,) = json.loads(result.stdout)["sites"]
    assert site["equipment"]["ups_1"]["rating"] == "4.2 MW"
    assert site["equipment"]["ups_1"]["kind"] == "ups"
    assert "transformer_1" in result.stderr


TERMS = """
[tariffs.sample]
valid_from = 2023-01-01
valid_to = 2024-01-01
status = "in_force"
source = "made up"

[reserves.fcr]
direction = "symmetric"
full_activation = "30 s"
duration = "15 min"
block = "4 h"
gate = "16 h"
shortfall_price = "120 EUR/MW/h"
valid_from = 2026-01-01
source = "made up"
"""


def test_describe_shows_terms_and_units(run, tmp_path):
    """Proves: a tariff and a product are shown with their dates, and a fee as 2 EUR/MWh."""
    lines = (catalogue.SITES_DIR / "small.toml").read_text().splitlines()
    billed = [line for line in lines if not line.startswith(("import_fee", "peak_price"))]
    text = "\n".join(billed).replace(
        'power = "0.8 MW"', 'power = "0.8 MW"\nlocal_controller = true'
    )
    (tmp_path / "mine.toml").write_text(text + TERMS)
    result = run("describe", tmp_path / "mine.toml")
    assert result.exit_code == 0, result.stderr
    output = result.stdout
    assert "tariff sample: in force, from 2023-01-01 to 2024-01-01" in output
    assert "reserve fcr: symmetric, from 2026-01-01" in output
    assert "export fee 2 EUR/MWh" in output
    assert "MWh-1" not in output


@pytest.mark.parametrize("rules", ["germany", "spain", "nordic"])
def test_described_json_builds_the_same_site(run, tmp_path, rules):
    """Proves: dates, time classes and tariff rows are included and build the same site.

    Sensitivity: a traceback, since JSON has no dates.
    """
    lines = (catalogue.SITES_DIR / "small.toml").read_text().splitlines()
    billed = [line for line in lines if not line.startswith(("import_fee", "peak_price"))]
    text = "\n".join(billed).replace(
        'power = "0.8 MW"', 'power = "0.8 MW"\nlocal_controller = true'
    )
    tariff = (TARIFFS_DIR / f"{rules}.toml").read_text()
    reserve = TERMS[TERMS.index("[reserves") :]
    (tmp_path / "mine.toml").write_text(text + "\n" + tariff + reserve)
    result = run("describe", tmp_path / "mine.toml", "--json", "-")
    assert result.exit_code == 0, result.stderr
    (entry,) = json.loads(result.stdout)["sites"]
    again = build_site(without_none(entry | {"name": None}), "mine", source="mine.json")
    site = sites.load_site(tmp_path / "mine.toml")
    assert again.tariffs == site.tariffs
    assert again.reserves == site.reserves


def without_none(value):
    """Return JSON as a site file has it, without entries that are null."""
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value] if isinstance(value, list) else value


def test_error_is_one_block_without_a_traceback(run):
    result = run("describe", "rine")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("SiteError: rine has 1 issue\n")
    assert "Traceback" not in result.stderr


def test_reference(run, tmp_path):
    result = run("reference", "--out", tmp_path / "pages", "--json", "-")
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "pages").iterdir()} == set(sites.reference_pages())
    assert len(json.loads(result.stdout)["files"]) == 3


def test_an_unknown_command(run):
    assert run("lst").exit_code == 2


def test_listing_loads_no_heavy_library():
    code = (
        "import sys; from optimizer.cli import app; app(['sites', 'list'], standalone_mode=False); "
        "sys.exit(any(name in sys.modules for name in ('numpy', 'xarray', 'pint', 'pyomo')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=catalogue.SITES_DIR.parent, check=False)
    assert done.returncode == 0
