"""Issues of site files: each with code, location, value and remedy, all reported together."""

import pytest

import sites
from sites import catalogue
from sites.loading import build_site
from twin.errors import IssueCode, SiteError


def test_valid_table_has_no_issues(table, issues_of):
    assert issues_of(table) == []


def test_units_are_converted(table):
    table["equipment"]["battery_1"]["capacity"] = "1600 kWh"
    assert build_site(table, "small", source="").equipment["battery_1"].capacity == pytest.approx(
        1.6
    )


def test_kinds_of_work_are_sorted_longest_first(table):
    table["work"] = dict(reversed(table["work"].items()))
    assert list(build_site(table, "small", source="").work) == ["training", "batch"]


@pytest.mark.parametrize(
    ("machine", "key", "value", "code", "hint"),
    [
        ("ups_1", "ratng", "4 MW", "unknown-key", "did you mean rating?"),
        ("ups_1", "rating", "-3 MW", "out-of-range", "must be above 0 MW"),
        (
            "chilled_plant",
            "supply_temperature",
            "18 K",
            "out-of-range",
            "above 4 degC; 18 K is -255.15 degC",
        ),
        ("ups_1", "rating", 4, "wrong-unit", '"4 MW"'),
        ("ups_1", "rating", "4 degC", "wrong-unit", "use a unit that converts to MW"),
        ("ups_1", "rating", True, "wrong-type", 'as in "5 MW"'),
        ("hall_1", "racks", 13.5, "out-of-range", "must be a whole number"),
        (
            "hall_1",
            "shelf_load_points",
            [0.1, float("nan")],
            "out-of-range",
            "between -1e+12 and 1e+12",
        ),
        (
            "ups_1",
            "standard",
            "dubble_conversion",
            "unknown-name",
            "did you mean double_conversion?",
        ),
        ("ups_1", "name", "ups_one", "unknown-key", "remove the key"),
    ],
)
def test_invalid_parameter_is_refused(table, issues_of, machine, key, value, code, hint):
    table["equipment"][machine][key] = value
    (issue,) = (one for one in issues_of(table) if one.location == f"[equipment.{machine}] {key}")
    assert issue.code == code
    assert hint in str(issue)


def test_missing_parameter_is_refused(table, issues_of):
    del table["equipment"]["ups_1"]["rating"]
    (issue,) = issues_of(table)
    assert (issue.code, issue.location) == (IssueCode.MISSING, "[equipment.ups_1] rating")
    assert issue.remedy == 'write rating = "... MW" (rated output of the whole bank)'


def test_inner_table_issues_are_located(table, facts_of):
    chilled = table["equipment"]["chilled_plant"]
    chilled["chillers"]["rated_coling"] = chilled["chillers"].pop("rated_cooling")
    chilled["rejection"]["fan_powr"] = "11 kW"
    assert facts_of(table) == [
        ("unknown-key", "[equipment.chilled_plant.rejection] fan_powr", ""),
        ("missing", "[equipment.chilled_plant.chillers] rated_cooling", ""),
        ("unknown-key", "[equipment.chilled_plant.chillers] rated_coling", ""),
    ]


def test_unknown_kind_is_refused(table, issues_of):
    table["equipment"]["ups_1"]["kind"] = "upss"
    (issue,) = issues_of(table)
    assert (issue.code, issue.location) == (IssueCode.UNKNOWN_NAME, "[equipment.ups_1] kind")
    assert issue.expected.startswith("one of accelerators, battery")
    assert issue.remedy.endswith("did you mean ups?")


def test_unknown_kind_of_inner_table_is_refused(table, issues_of):
    table["equipment"]["warm_plant"]["rejection"] = {"kind": "pond"}
    (issue,) = issues_of(table)
    assert issue.code is IssueCode.UNKNOWN_NAME
    assert issue.location == "[equipment.warm_plant.rejection] kind"
    assert issue.expected == "one of dry_cooler, cooling_tower"


def test_unknown_table_is_refused(table, issues_of):
    table["wieghts"] = table.pop("weights")
    (issue,) = issues_of(table)
    assert (issue.code, issue.location) == (IssueCode.UNKNOWN_KEY, "wieghts")
    assert "did you mean weights?" in issue.remedy


def test_values_instead_of_tables_are_refused(table, facts_of):
    table["equipment"] = 3
    table["work"]["batch"] = "later"
    table["service"] = "none"
    assert facts_of(table) == [
        ("wrong-type", "equipment", "3"),
        ("wrong-type", "[work] batch", '"later"'),
        ("wrong-type", "service", '"none"'),
    ]


def test_issues_of_all_tables_are_reported_together(table, facts_of):
    table["latitude"] = 95
    table["equipment"]["ups_1"]["rating"] = "0 MW"
    table["equipment"]["battery_1"]["power"] = 1
    table["work"]["batch"]["slack"] = -1
    table["service"]["daily_shape"] = [1.0]
    assert facts_of(table) == [
        ("wrong-unit", "[equipment.battery_1] power", "1"),
        ("out-of-range", "[equipment.ups_1] rating", '"0 MW"'),
        ("out-of-range", "latitude", "95"),
        ("out-of-range", "[work.batch] slack", "-1"),
        ("inconsistent", "[service]", ""),
    ]


def test_error_names_file_and_count(table):
    table["latitude"] = 95
    with pytest.raises(SiteError, match=r"my\.toml has 1 issue\n  latitude = 95: ") as caught:
        build_site(table, "my", source="my.toml")
    assert caught.value.source == "my.toml"
    assert len(caught.value.issues) == 1


def test_site_is_loaded_from_a_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text((sites.catalogue.SITES_DIR / "small.toml").read_text())
    assert sites.load_site(path).name == "mine"
    assert sites.load_site(str(path)).rack_count == 28


def test_package_has_no_other_names():
    with pytest.raises(AttributeError, match="lode"):
        _ = sites.lode


def test_list_of_impossible_numbers_is_reported_once(table, facts_of):
    table["equipment"]["hall_1"]["shelf_load_points"] = [[float("nan")] * 9, 1e300] * 9
    location = "[equipment.hall_1] shelf_load_points"
    assert facts_of(table) == [("out-of-range", location, "NaN")]


def test_impossible_numbers_hide_no_other_issue(table, issues_of):
    """Proves: one check reports impossible numbers, the time zone and bounds."""
    table["latitude"], table["time_zone"] = float("nan"), "Europe/Berlinn"
    table["equipment"]["grid_1"]["ramp"] = "-1 MW/min"
    places = [issue.location for issue in issues_of(table)]
    assert places == ["latitude", "time_zone", "[equipment.grid_1] ramp"]


def test_unknown_time_zone_hides_no_other_issue(table, issues_of):
    table["time_zone"] = "Europe/Berlinn"
    table["equipment"]["ups_1"]["rating"] = "0.2 MW"
    locations = [issue.location for issue in issues_of(table)]
    assert locations[0] == "time_zone"
    assert "[equipment.ups_1]" in locations[1:]


def test_unknown_standard_is_the_only_issue_reported(table, issues_of):
    """Proves: parameters that the standard would have filled are not reported as missing."""
    table["equipment"]["hall_1"]["standard"] = "gb200"
    table["equipment"]["chilled_plant"]["rejection"]["standard"] = "tower"
    table["work"]["batch"]["throughput"]["standard"] = "blackwel_training"
    del table["equipment"]["battery_1"]["power"]
    assert [issue.location for issue in issues_of(table)] == [
        "[equipment.battery_1] power",
        "[equipment.hall_1] standard",
        "[equipment.chilled_plant.rejection] standard",
        "[work.batch.throughput] standard",
    ]


def test_unknown_network_standard_is_the_only_issue(issues_of):
    table = catalogue.read_toml(catalogue.find_site_file("rhine"))
    table["network"]["cables"]["coupler_1"]["standard"] = "busbar"
    (issue,) = issues_of(table)
    assert issue.code is IssueCode.UNKNOWN_NAME
    assert issue.location == "[network.cables.coupler_1] standard"


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
def test_every_missing_parameter_has_a_remedy(issues_of, place, remedy):
    table = catalogue.read_toml(catalogue.find_site_file("rhine"))
    *path, key = place.split(".")
    full, _ = catalogue.apply_standards(table, "", location="")
    inner = full
    for step in path:
        inner = inner[step]
    del inner[key]
    (issue,) = issues_of(full)
    assert (issue.code, issue.location) == (IssueCode.MISSING, f"[{'.'.join(path)}] {key}")
    assert issue.remedy == f"write {remedy}"


def test_missing_date_has_an_example(table, issues_of):
    table["reserves"] = {"fcr": {"direction": "symmetric"}}
    assert any("valid_from = 2026-01-31" in issue.remedy for issue in issues_of(table))


def test_missing_values_are_reported_with_a_remedy(issues_of):
    remedies = {issue.location: issue.remedy for issue in issues_of({})}
    assert remedies["title"] == 'write title = "..."'
    assert remedies["service"] == "write a table [service]"
