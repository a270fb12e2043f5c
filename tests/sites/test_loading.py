"""Faults of site files: each with place, value and remedy, and all of them together."""

import pytest

import sites
from sites import catalogue
from sites.loading import build_site
from twin.errors import SiteError


def test_a_sound_table_has_no_faults(table, told):
    assert told(table) == []


def test_units_are_converted(table):
    table["equipment"]["battery_1"]["capacity"] = "1600 kWh"
    assert build_site(table, "small", source="").equipment["battery_1"].capacity == pytest.approx(
        1.6
    )


def test_work_stands_longest_first(table):
    table["work"] = dict(reversed(table["work"].items()))
    assert list(build_site(table, "small", source="").work) == ["training", "batch"]


@pytest.mark.parametrize(
    ("machine", "key", "value", "fault"),
    [
        (
            "ups_1",
            "ratng",
            "4 MW",
            "[equipment.ups_1] ratng: no such parameter of ups; did you mean rating?",
        ),
        (
            "ups_1",
            "rating",
            "-3 MW",
            '[equipment.ups_1] rating = "-3 MW": must be above 0 MW',
        ),
        (
            "chilled_plant",
            "supply_temperature",
            "18 K",
            '[equipment.chilled_plant] supply_temperature = "18 K": must be above 4 degC; '
            "18 K is -255.15 degC",
        ),
        (
            "ups_1",
            "rating",
            4,
            '[equipment.ups_1] rating = 4: a bare number has no unit; write "4 MW"',
        ),
        (
            "ups_1",
            "rating",
            "4 degC",
            '[equipment.ups_1] rating = "4 degC": use a unit that converts to MW',
        ),
        (
            "ups_1",
            "rating",
            True,
            '[equipment.ups_1] rating = true: write it as a text, as in "5 MW"',
        ),
        (
            "hall_1",
            "racks",
            13.5,
            "[equipment.hall_1] racks = 13.5: must be a whole number",
        ),
        (
            "hall_1",
            "shelf_load_points",
            [0.1, float("nan")],
            "[equipment.hall_1] shelf_load_points = NaN: "
            "every number must be between -1e+12 and 1e+12",
        ),
        (
            "ups_1",
            "standard",
            "dubble_conversion",
            '[equipment.ups_1] standard = "dubble_conversion": no such standard ups; there are '
            "double_conversion, eco_mode; did you mean double_conversion?",
        ),
        (
            "ups_1",
            "name",
            "ups_one",
            '[equipment.ups_1] name = "ups_one": remove the key; the name is ups_1, as the table '
            "is called",
        ),
    ],
)
def test_a_fault_of_a_parameter(table, told, machine, key, value, fault):
    table["equipment"][machine][key] = value
    assert fault in told(table)


def test_a_parameter_that_is_missing(table, told):
    del table["equipment"]["ups_1"]["rating"]
    assert told(table) == [
        "[equipment.ups_1] rating: is missing; "
        'write rating = "... MW" (rated output of the whole bank)'
    ]


def test_a_fault_of_an_inner_table(table, told):
    chilled = table["equipment"]["chilled_plant"]
    chilled["chillers"]["rated_coling"] = chilled["chillers"].pop("rated_cooling")
    chilled["rejection"]["fan_powr"] = "11 kW"
    assert told(table) == [
        "[equipment.chilled_plant.rejection] fan_powr: no such parameter of cooling tower; "
        "did you mean fan_power?",
        "[equipment.chilled_plant.chillers] rated_cooling: is missing; "
        'write rated_cooling = "... MW" (rated cooling of one unit)',
        "[equipment.chilled_plant.chillers] rated_coling: no such parameter of chiller bank; "
        "did you mean rated_cooling?",
    ]


def test_an_unknown_kind(table, told):
    table["equipment"]["ups_1"]["kind"] = "upss"
    (fault,) = told(table)
    assert fault.startswith('[equipment.ups_1] kind = "upss": there is accelerators, battery')
    assert fault.endswith("did you mean ups?")


def test_an_unknown_kind_of_inner_table(table, told):
    table["equipment"]["warm_plant"]["rejection"] = {"kind": "pond"}
    assert told(table) == [
        "[equipment.warm_plant.rejection] kind: must be one of dry_cooler, cooling_tower"
    ]


def test_an_unknown_table(table, told):
    table["wieghts"] = table.pop("weights")
    assert told(table) == ["wieghts: no such parameter of site; did you mean weights?"]


def test_what_is_no_table(table, told):
    table["equipment"] = 3
    table["work"]["batch"] = "later"
    table["service"] = "none"
    assert told(table) == [
        "equipment = 3: write one table [equipment.<name>] for each",
        '[work] batch = "later": write a table [work.batch]',
        'service = "none": write a table here, { key = value, ... }',
    ]


def test_faults_of_all_tables_are_told_together(table, told):
    table["latitude"] = 95
    table["equipment"]["ups_1"]["rating"] = "0 MW"
    table["equipment"]["battery_1"]["power"] = 1
    table["work"]["batch"]["slack"] = -1
    table["service"]["daily_shape"] = [1.0]
    assert told(table) == [
        '[equipment.battery_1] power = 1: a bare number has no unit; write "1 MW"',
        '[equipment.ups_1] rating = "0 MW": must be above 0 MW',
        "latitude = 95: must be at most 90",
        "[work.batch] slack = -1: must be at least 0",
        "[service]: daily_shape must be 24 shares between 0 and 1, one per local hour; "
        "here are 1, of 1.0 to 1.0",
    ]


def test_the_error_names_file_and_count(table):
    table["latitude"] = 95
    with pytest.raises(SiteError, match=r"my\.toml has 1 fault\n  latitude = 95: must be"):
        build_site(table, "my", source="my.toml")


def test_a_path_is_loaded(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text((sites.catalogue.SITES_DIR / "small.toml").read_text())
    assert sites.load_site(path).name == "mine"
    assert sites.load_site(str(path)).racks == 28


def test_the_face_has_no_other_names():
    with pytest.raises(AttributeError, match="lode"):
        _ = sites.lode


def test_a_list_of_absurd_numbers_is_told_once(table, told):
    table["equipment"]["hall_1"]["shelf_load_points"] = [[float("nan")] * 9, 1e300] * 9
    assert told(table) == [
        "[equipment.hall_1] shelf_load_points = NaN: every number must be between -1e+12 and 1e+12"
    ]


def test_absurd_numbers_hide_no_other_fault(table, told):
    """Proves: one look tells of numbers that cannot be, of the zone, and of bounds."""
    table["latitude"], table["time_zone"] = float("nan"), "Europe/Berlinn"
    table["equipment"]["grid_1"]["ramp"] = "-1 MW/min"
    places = [line.split(" = ")[0] for line in told(table)]
    assert places == ["latitude", "time_zone", "[equipment.grid_1] ramp"]


def test_an_unknown_time_zone_hides_no_size(table, told):
    table["time_zone"] = "Europe/Berlinn"
    table["equipment"]["ups_1"]["rating"] = "0.2 MW"
    faults = told(table)
    assert faults[0].startswith("time_zone =")
    assert any("[equipment.ups_1]" in fault for fault in faults[1:])


def test_a_standard_that_nobody_knows_is_told_alone(table, told):
    """Proves: what it would have filled in is not told as missing, in inner tables neither."""
    table["equipment"]["hall_1"]["standard"] = "gb200"
    table["equipment"]["chilled_plant"]["rejection"]["standard"] = "tower"
    table["work"]["batch"]["throughput"]["standard"] = "blackwel_training"
    del table["equipment"]["battery_1"]["power"]
    assert [fault.split(" = ")[0] for fault in told(table)] == [
        "[equipment.battery_1] power: a value; write power",
        "[equipment.hall_1] standard",
        "[equipment.chilled_plant.rejection] standard",
        "[work.batch.throughput] standard",
    ]


def test_a_standard_of_a_network_is_told_alone(told):
    table = catalogue.read_toml(catalogue.find_site_file("rhine"))
    table["network"]["cables"]["coupler_1"]["standard"] = "busbar"
    (fault,) = told(table)
    assert fault.startswith('[network.cables.coupler_1] standard = "busbar": one of')


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        ("equipment.hall_1.shelf_load_points", "shelf_load_points = [...] with numbers"),
        ("equipment.warm_plant.serves", 'serves = "warm" or "chilled"'),
        ("network.cables.feeder_1.ends", 'ends = ["...", "..."]'),
        ("network.feeds.ups_1.nodes", "nodes = { ... = 1.0 }"),
        (
            "equipment.chilled_plant.chillers.capacity_curve",
            "capacity_curve = [...] with 6 numbers",
        ),
    ],
)
def test_every_parameter_that_is_missing_has_its_mend(told, place, remedy):
    table = catalogue.read_toml(catalogue.find_site_file("rhine"))
    *path, key = place.split(".")
    full, _ = catalogue.apply_standards(table, "", location="")
    inner = full
    for step in path:
        inner = inner[step]
    del inner[key]
    assert told(full) == [f"[{'.'.join(path)}] {key}: is missing; write {remedy}"]


def test_the_day_that_something_begins_is_written_as_one(table, told):
    table["reserves"] = {"fcr": {"direction": "symmetric"}}
    assert any("valid_from = 2026-01-31" in fault for fault in told(table))


def test_what_is_missing_is_told_with_what_to_write(told):
    faults = told({})
    assert 'title: is missing; write title = "..."' in faults
    assert "service: is missing; write a table [service]" in faults
