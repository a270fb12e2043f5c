"""TOML files: which are refused unread, and standard machines with their sources."""

import pytest
from pydantic import ValidationError

import sites
from sites import catalogue
from twin.equipment.chiller_plant import ChillerBank
from twin.equipment.coolers_and_towers import CoolingTower, DryCooler
from twin.equipment.electrical_network import CableBundle
from twin.errors import SiteError
from twin.site import EQUIPMENT_KINDS
from twin.site_settings import Throughput

MODELS = EQUIPMENT_KINDS | {
    "cable": CableBundle,
    "chillers": ChillerBank,
    "cooling_tower": CoolingTower,
    "dry_cooler": DryCooler,
    "throughput": Throughput,
}

ENTRIES = [
    (family, name)
    for family in catalogue.machine_families()
    for name in catalogue.standard_machines(family)
]


def refusal(path, content):
    path.write_bytes(content)
    with pytest.raises(SiteError) as caught:
        catalogue.read_toml(path)
    (fault,) = caught.value.issues
    return str(fault)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            b'title = "a"\ntitel "b"\n',
            "TOML: a TOML file in UTF-8; correct the syntax: Expected '=' after a key",
        ),
        (
            b"a = 1\na = 2\n",
            "TOML: a TOML file in UTF-8; correct the syntax: Cannot overwrite a value (at line 2",
        ),
        (b"a = 1\nb = '\xff'\n", "line 2: a TOML file in UTF-8; save the file as UTF-8 text"),
        (b"a = " + b"[\n" * 100_000, "TOML: a TOML file in UTF-8; remove nested tables"),
        (
            b"a = " + b"[" * 20 + b"]" * 20,
            "[a]: a TOML file in UTF-8; remove tables and lists nested deeper than 8",
        ),
        (
            b".".join([b"a"] * 400) + b" = 1",
            "[a.a.a.a.a.a.a.a]: a TOML file in UTF-8; remove tables",
        ),
        (
            b"\n" + b".".join([b"a"] * 20_000) + b" = 1",
            "line 2: a TOML file in UTF-8; shorten the line to at most 1,000 bytes",
        ),
        (
            b"#" * 1_000_001,
            "file: a TOML file in UTF-8; shorten the file to at most 1,000,000 bytes",
        ),
    ],
)
def test_invalid_files_are_refused(tmp_path, content, fault):
    assert refusal(tmp_path / "site.toml", content).startswith(fault)


def test_syntax_error_names_the_line(tmp_path):
    assert "at line 2" in refusal(tmp_path / "site.toml", b'title = "a"\ntitel "b"\n')


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("limit = 60 MW", '; write limit = "60 MW"'),
        ("share = 5 %  # of it", 'write share = "5 %"'),
        ("grid.price = 12 €/MWh\r", 'write grid.price = "12 €/MWh"'),
        ("kind = tank", 'write kind = "tank"'),
        (
            r'prices = "C:\data\x.csv"',
            r"; write / instead of \ in double quotes",
        ),
        (
            r'prices = "C:\Users\x.csv"',
            r"; write / instead of \ in double quotes",
        ),
    ],
)
def test_syntax_error_is_followed_by_a_remedy(tmp_path, line, remedy):
    message = refusal(tmp_path / "site.toml", f"a = 1\n{line}\n".encode())
    assert "(at line 2" in message
    assert remedy in message


@pytest.mark.parametrize("line", ["a = 2", 'b = "open', "[b", "b = [1 MW]"])
def test_no_remedy_is_given_if_none_is_certain(tmp_path, line):
    message = refusal(tmp_path / "site.toml", f"a = 1\n{line}\n".encode())
    assert "quotes:" not in message


def test_byte_order_mark_is_accepted(tmp_path):
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1")
    assert catalogue.read_toml(path) == {"a": 1}


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(SiteError, match=r"file: .*make the file readable .No such file"):
        catalogue.read_toml(tmp_path / "none.toml")


def test_unknown_site_is_refused_with_a_suggestion():
    with pytest.raises(SiteError, match="did you mean rhine"):
        catalogue.find_site_file("rine")


def test_site_values_override_the_standard():
    own = {"kind": "cdu", "standard": "row_1300_kw", "approach": "5 K"}
    filled, faults = catalogue.apply_standards(own, "", location="")
    assert faults == {}
    assert filled["approach"] == "5 K"
    assert filled["rated_heat"] == "1300 kW"
    assert "standard" not in filled


def test_inner_tables_accept_standards():
    own = {"throughput": {"standard": "blackwell_training"}}
    filled, _ = catalogue.apply_standards(own, "", location="")
    assert filled["throughput"]["power_points"][-1] == 1.0


@pytest.mark.parametrize("family", [300 * "x", "../standard/chillers", ""])
def test_invalid_family_has_no_standard_machines(family):
    assert catalogue.standard_machines(family) == {}


@pytest.mark.parametrize(("family", "name"), ENTRIES)
def test_every_standard_machine_has_a_source(family, name):
    assert len(catalogue.standard_machines(family)[name]["source"]) > 20


@pytest.mark.parametrize(("family", "name"), ENTRIES)
def test_every_standard_machine_has_parameters_of_its_kind(family, name):
    entry = catalogue.standard_machines(family)[name]
    parameters = {
        key: value for key, value in entry.items() if key not in catalogue.DESCRIPTIVE_KEYS
    }
    assert parameters
    assert faults(family, parameters) == []


def faults(family, parameters):
    try:
        MODELS[family].model_validate(parameters)
    except ValidationError as error:
        return [item for item in error.errors() if item["type"] != "missing"]
    return []


def test_shipped_site_names():
    assert set(sites.site_names()) >= {"iberia", "rhine", "small"}


def test_shipped_series():
    assert sites.series_file("weather").name == "synthetic_weather.json"
    with pytest.raises(SiteError, match=r"jobs, prices, weather, .*did you mean prices"):
        sites.series_file("price")


RATED = [
    name
    for name, entry in catalogue.standard_machines("accelerators").items()
    if "chip_power" in entry
]


@pytest.mark.parametrize("name", RATED)
def test_part_draws_its_rated_power_at_full_work(name):
    entry, _ = catalogue.apply_standards(
        {"standard": name, "racks": 1}, "accelerators", location="hall"
    )
    hall = EQUIPMENT_KINDS["accelerators"].model_validate(entry | {"name": "hall"})
    assert hall.accelerator_power(hall.rack_power) == pytest.approx(hall.chip_power, rel=0.01)


@pytest.mark.parametrize("name", RATED)
def test_part_keeps_its_case_limit_in_the_warmest_conditions(name):
    entry, _ = catalogue.apply_standards(
        {"standard": name, "racks": 1}, "accelerators", location="hall"
    )
    hall = EQUIPMENT_KINDS["accelerators"].model_validate(entry | {"name": "hall"})
    cold = hall.inlet_temperature_limit if hall.is_air_cooled else 40.0
    assert hall.chip_temperature(hall.rack_power, cold) < hall.chip_temperature_limit
