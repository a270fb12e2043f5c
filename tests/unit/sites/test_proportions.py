"""Implausible values of a valid site: wrong units and decimal points."""

import json

import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from sites import catalogue
from twin.errors import IssueCode

SMALL = catalogue.find_site_file("small").read_text()


def doubted(tmp_path, old, new):
    """Return the doubts of the small site with some words changed."""
    assert old in SMALL
    path = tmp_path / "odd.toml"
    path.write_text(SMALL.replace(old, new))
    return [str(doubt) for doubt in sites.implausible_values(sites.load_site(path))]


@pytest.mark.parametrize(
    "name", [name for home in catalogue.SITE_DIRS for name in sites.site_names(home)]
)
def test_declared_sites_have_plausible_values(name):
    assert list(sites.implausible_values(sites.load_site(name))) == []


@pytest.mark.parametrize("name", ["münchen", "small (2)", "a+b", "..", "-small", "s" * 33])
def test_name_unfit_for_a_service_is_reported(tmp_path, name):
    path = tmp_path / f"{name}.toml"
    path.write_text(SMALL)
    (doubt,) = sites.implausible_values(sites.load_site(path))
    assert "rename the file: no service can run under this name" in str(doubt)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('volume = "240 m3"', 'volume = "2.40 m3"', "it would be empty in 4.02 min"),
        ('capacity = "1.6 MWh"', 'capacity = "1600 MWh"', "it would be empty in 1600 h"),
        ('power = "0.8 MW"', 'power = "10 GW"', "battery_1 = 10000 MW: at most 3 times the load"),
        ('power = "1 MW"', 'power = "1 GW"', "1000 MW: at most 5 times the connection"),
        (
            'import_limit = "4.7 MW"',
            'import_limit = "470 MW"',
            "the load with all racks is 3.97 MW",
        ),
        ('ramp = "0.2 MW/min"', 'ramp = "0.2 MW/h"', "the ramp to full racks takes 16.26 h"),
        (
            "latitude = 50.1\nlongitude = 8.65",
            "latitude = 8.65\nlongitude = 101.5",
            "6 h off Europe/Berlin",
        ),
        ('pump_power = "30 kW"', 'pump_power = "3 MW"', "it is 0.79 of the cooling of 3.8 MW"),
        ("count = 5 }", 'count = 5, fan_power = "1.5 MW" }', "it is 2 of the cooling of 3.8 MW"),
        ('volume = "12 m3"', 'volume = "12 l"', "it would warm by 4.6e+03 K/min"),
        (
            'temperature_range = "8 K"',
            'temperature_range = "4 K"',
            "temperature_span = 8 K: about 4 K, the range of chilled_plant",
        ),
        (
            'temperature_range = "8 K"',
            'temperature_range = "4 K"',
            "hall_air_1, water_range = 8 K: about 4 K, the range of chilled_plant",
        ),
        (
            'temperature_range = "10 K"',
            'temperature_range = "15 K"',
            "cdu_1, facility_range = 10 K: about 15 K, the range of warm_plant",
        ),
        # power over that of full load: 1 - 1.6 y + 1.6 y^2, which is 0.6 at 0.5 of the load and
        # 0.764 at 0.18
        (
            'standard = "carrier_19xr_869"',
            'standard = "carrier_19xr_869"\n'
            "eir_part_load_curve = [1.0, 0.0, 0.0, -1.6, 1.6, 0.0, 0.0, 0.0, 0.0, 0.0]",
            "kW at 18 % and",
        ),
        # (1 - 2.25577e-5 x 2500)^5.25588 = 0.737
        ('elevation = "111 m"', 'elevation = "2500 m"', "of 0.74 times the density at sea level"),
        # 0.737 x 600/1200 + 1 - 0.737 = 0.63; batch may lose 0.25 of its pace, at 0.56 of the power
        (
            "[equipment.hall_2]",
            '[equipment.hall_2]\nchip_power_least = "600 W"',
            "chip_power_least = 0.63 of a rack's full load: at most 0.56, the deepest cap of batch",
        ),
        (
            'supply_temperature = "38 degC"',
            'supply_temperature = "16.9 degC"',
            "at least 17 degC",
        ),
    ],
)
def test_disproportionate_sizes_are_reported(tmp_path, old, new, expected):
    found = doubted(tmp_path, old, new)
    assert any(expected in one for one in found), found


def test_connection_too_large_for_its_voltage_is_reported(tmp_path):
    """Proves: below ten times the halls the current is judged: 1950 MW / (sqrt(3) 110 kV)."""
    text = catalogue.find_site_file("rhine").read_text()
    assert '"235 MW"' in text
    path = tmp_path / "odd.toml"
    path.write_text(text.replace('"235 MW"', '"1.9 GW"'))
    assert list(sites.implausible_values(sites.load_site(path))) == []
    path.write_text(text.replace('"235 MW"', '"1.95 GW"'))
    (doubt,) = sites.implausible_values(sites.load_site(path))
    assert (doubt.code, doubt.location) == (IssueCode.IMPLAUSIBLE, "equipment.grid_1")
    assert doubt.found == "import of 1950 MW"
    assert "at 110 kV the current is 10,235 A" in doubt.remedy


def test_command_reports_doubts_of_a_valid_site(tmp_path):
    path, target = tmp_path / "odd.toml", tmp_path / "found.json"
    path.write_text(SMALL.replace('volume = "240 m3"', 'volume = "2.40 m3"'))
    ran = CliRunner().invoke(app, ["sites", "check", str(path), "--json", str(target)])
    assert ran.exit_code == 0
    assert "is sound" in ran.stdout
    assert "doubtful: equipment.tank_1" in ran.stdout
    found = json.loads(target.read_text())
    assert found["faults"] == []
    assert {one["place"] for one in found["doubts"]} == {"equipment.tank_1"}
