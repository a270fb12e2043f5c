"""Rules between valid machines; each rule is broken once."""

import numpy as np
import pytest

import sites
from sites import loading
from sites.catalogue import SITE_DIRS
from sites.loading import build_site
from twin.errors import IssueCode
from twin.relations import CARRIER_ENERGY_SIGN
from twin.site import EXTERNAL_CARRIERS, SUPPLIER_KINDS


def test_missing_grid_connection_is_refused(table, facts_of):
    del table["equipment"]["grid_1"]
    assert ("inconsistent", "[equipment]", "") in facts_of(table)


def test_second_grid_connection_is_refused(table, facts_of):
    table["equipment"]["grid_2"] = dict(table["equipment"]["grid_1"])
    assert ("inconsistent", "[equipment]", "grid_1, grid_2") in facts_of(table)


def test_carrier_without_supplier_is_refused(table, issues_of):
    del table["equipment"]["cdu_1"]
    (issue,) = issues_of(table)
    assert (issue.code, issue.location) == (IssueCode.MISSING, "[equipment.hall_2]")
    assert "liquid" in issue.expected
    assert "cdu" in issue.remedy


def test_missing_supplier_kind_is_named(table, issues_of):
    del table["equipment"]["ups_1"]
    issue = issues_of(table)[0]
    assert issue.code is IssueCode.MISSING
    assert "critical" in issue.expected
    assert issue.remedy.endswith("kind ups")


def test_supplier_kinds_agree_with_all_sites():
    """Proves: the kinds that messages name are those that deliver, in all declared sites."""
    assert set(SUPPLIER_KINDS) == set(CARRIER_ENERGY_SIGN) - EXTERNAL_CARRIERS
    loaded = [sites.load_site(name) for home in SITE_DIRS for name in sites.site_names(home)]
    assert loaded
    for site in loaded:
        assert site.conversions
        for convert in site.conversions:
            assert (
                site.equipment[convert.owner].kind in SUPPLIER_KINDS[convert.output_carrier].split()
            )


def test_store_without_supplier_is_refused(table, facts_of):
    for name in ("chilled_plant", "hall_air_1", "ups_1"):
        del table["equipment"][name]
    assert ("missing", "[equipment.tank_1]", "") in facts_of(table)


def test_second_supplier_is_refused(table, facts_of):
    table["equipment"]["ups_2"] = dict(table["equipment"]["ups_1"])
    assert facts_of(table) == [("duplicate", "[equipment]", "ups_1, ups_2")]


def test_excessive_machine_count_is_refused(table, facts_of):
    """A bank of 2^31 chillers would take 16 GiB to be looked at."""
    table["equipment"]["chilled_plant"]["chillers"]["count"] = 2**31
    location = "[equipment.chilled_plant.chillers] count"
    assert ("out-of-range", location, "2147483648") in facts_of(table)


def test_overflowing_combination_is_located(table, issues_of):
    table["equipment"]["chilled_plant"]["pump_power"] = "1e250 MW"
    (issue,) = issues_of(table)
    assert issue.code is IssueCode.OUT_OF_RANGE
    assert (issue.location, issue.found) == ("[equipment.chilled_plant]", "0 MW")
    assert "overflow at 0.68" in issue.expected
    assert "far too small" in issue.remedy


def test_almost_zero_plant_is_refused(table, issues_of):
    table["equipment"]["warm_plant"]["rated_cooling"] = "1e-250 MW"
    (issue,) = issues_of(table)
    assert (issue.location, issue.found) == ("[equipment.warm_plant]", "0 MW")
    assert issue.expected.startswith("at least 3.2")


def test_other_overflow_is_refused(table, facts_of, monkeypatch):
    def overflow(_):
        return np.float64(1e300) * np.float64(1e300)

    monkeypatch.setattr(loading, "site_issues", overflow)
    assert facts_of(table) == [("out-of-range", "numbers", "")]


def test_excessive_rack_count_names_only_the_hall(table, facts_of):
    """Proves: only the hall is named, and not the machines that its load would overload."""
    table["equipment"]["hall_1"]["racks"] = 14_000_000
    assert facts_of(table) == [("out-of-range", "[equipment.hall_1] racks", "14000000")]


def test_undersized_machine_is_the_only_one_named(table, issues_of):
    """Proves: losses far beyond a rating do not count as load of the machines that supply it.

    Sensitivity: at 900 times its load the UPS asked 109.7 MW of the chilled plant.
    """
    table["equipment"]["ups_1"]["rating"] = "4.2 kW"
    (issue,) = issues_of(table)
    assert (issue.location, issue.found) == ("[equipment.ups_1]", "0.0042 MW")
    assert issue.expected.startswith("at least 3.785 MW of critical")


def test_undersized_machines_are_reported_together(table, issues_of):
    table["equipment"]["ups_1"]["rating"] = "4.2 kW"
    table["equipment"]["transformer_1"]["rating"] = "2 MVA"
    assert [issue.location for issue in issues_of(table)] == [
        "[equipment.ups_1]",
        "[equipment.transformer_1]",
    ]


def test_too_few_cdus_are_reported_once(table, issues_of):
    table["equipment"]["cdu_1"]["count"] = 1
    (issue,) = issues_of(table)
    assert (issue.location, issue.found) == ("[equipment.cdu_1]", "1.3 MW")
    assert issue.expected.startswith("at least 3.2")


def test_too_few_gensets_are_refused(table, issues_of):
    table["equipment"]["genset_1"] |= {"count": 1, "spare": 0, "rating": "0.5 MW"}
    (issue,) = (one for one in issues_of(table) if one.location == "[equipment.genset_1] count")
    assert (issue.code, issue.found) == (IssueCode.OUT_OF_RANGE, "1")
    assert "they give 0.5 MW" in issue.remedy


def test_two_genset_banks_add_up(table, issues_of):
    """Proves: each of two banks gives half of what is needed. Sensitivity: a fault of each."""
    half = table["equipment"]["genset_1"] | {"count": 1, "spare": 0, "rating": "0.7 MW"}
    table["equipment"]["genset_1"] = half
    (issue,) = issues_of(table)
    assert " give 0.7 MW, " in issue.remedy
    table["equipment"]["genset_2"] = dict(half)
    assert not issues_of(table)


def test_battery_bridging_is_limited_by_its_power(table, issues_of):
    """Proves: without a UPS's autonomy 0.8 MW cannot carry 3.785 MW of critical load for 47 s.

    0.32 MWh lie below the reserve, of which 0.8 x 47 / 3600 = 0.0104 MWh come out in that time;
    3.785 x 47 / 3600 = 0.0494 MWh are needed. With 4 MW the battery gives them.
    """
    table["contingency"] = {"ups_autonomy": "0 s"}
    (issue,) = issues_of(table)
    assert "reserves for 47 s" in str(issue)
    assert "0.0494 MWh in UPS and battery" in str(issue)
    assert "they have 0.0104 MWh" in str(issue)
    table["equipment"]["battery_1"]["power"] = "4 MW"
    assert not issues_of(table)


def test_site_without_halls_is_refused(table, facts_of):
    del table["equipment"]["hall_1"], table["equipment"]["hall_2"]
    assert ("missing", "[equipment]", "") in facts_of(table)


def test_unequal_racks_are_refused(table, facts_of):
    table["equipment"]["hall_2"]["rack_power"] = "120 kW"
    assert facts_of(table) == [("inconsistent", "[equipment.hall_2] rack_power", "0.12 MW")]


@pytest.mark.parametrize(
    ("machine", "key", "value", "fault"),
    [
        ("ups_1", "rating", "3 MW", "[equipment.ups_1] = 3 MW: at least 3.7"),
        (
            "transformer_1",
            "rating",
            "2 MVA",
            "[equipment.transformer_1] = 1.9 MW: at least 3.9",
        ),
        ("cdu_1", "count", 2, "[equipment.cdu_1] = 2.6 MW: at least 3.2"),
        ("warm_plant", "rated_cooling", "3 MW", "[equipment.warm_plant] = 3 MW: at least 3.2"),
        ("grid_1", "import_limit", "1 MW", "[equipment.grid_1] import_limit = 1 MW: at least"),
        ("warm_plant", "supply_limit", "38.6 degC", "[equipment.warm_plant] supply_limit = 38.6"),
        (
            "warm_plant",
            "supply_temperature",
            "44.2 degC",
            "[equipment.warm_plant] supply_limit = 45",
        ),
        (
            "hall_1",
            "chip_temperature_limit",
            "60 degC",
            "[equipment.hall_1] chip_temperature_limit",
        ),
        ("hall_1", "inlet_temperature_limit", "20 degC", "[equipment.hall_1] inlet_temperature"),
    ],
)
def test_unachievable_limit_is_refused(table, issues_of, machine, key, value, fault):
    table["equipment"][machine][key] = value
    assert any(str(issue).startswith(fault) for issue in issues_of(table))


def test_connection_may_be_smaller_than_the_halls(table, issues_of):
    table["equipment"]["grid_1"]["import_limit"] = "3 MW"
    assert issues_of(table) == []


def test_rule_of_two_parameters_names_both_values(table, issues_of):
    """Proves: an issue about two parameters names both values, also one from a standard."""
    table["equipment"]["hall_1"]["rack_idle_power"] = "132 kW"
    (issue,) = issues_of(table)
    assert (issue.code, issue.location) == (IssueCode.INCONSISTENT, "[equipment.hall_1]")
    assert 'rack_power = "132 kW", rack_idle_power = "132 kW"' in issue.remedy


def test_more_service_racks_than_racks_are_refused(table, facts_of):
    table["service"]["racks"] = 29
    assert facts_of(table) == [("out-of-range", "[service] racks", "29")]


def test_missing_kind_for_short_jobs_is_refused(table, facts_of):
    table["work"]["batch"]["longer_than"] = "1 h"
    assert facts_of(table) == [("missing", "[work]", "")]


def test_two_kinds_for_the_same_jobs_are_refused(table, facts_of):
    table["work"]["training"]["longer_than"] = "0 h"
    assert facts_of(table) == [("duplicate", "[work]", "2 kinds with longer_than of 0 h")]


def test_market_time_zone_is_declared_and_checked(table, facts_of):
    """Proves: the clock of the market is declared if it is not the usual one, and checked."""
    assert (
        build_site(table, "sound", source="sound.toml").resolved_market_time_zone
        == "Europe/Brussels"
    )
    table["market_time_zone"] = "Europe/Athens"
    assert (
        build_site(table, "sound", source="sound.toml").resolved_market_time_zone == "Europe/Athens"
    )
    table["market_time_zone"] = "Europe/Athen"
    assert facts_of(table)[0] == ("unknown-name", "market_time_zone", '"Europe/Athen"')


@pytest.mark.parametrize("zone", [[], {}, 5])
def test_time_zone_must_be_a_text(table, issues_of, zone):
    """Proves: a list is a fault of the file. Sensitivity: a TypeError of our own."""
    table["time_zone"] = zone
    assert any(issue.location.strip("[]") == "time_zone" for issue in issues_of(table))


def test_unknown_time_zone_is_refused_with_a_suggestion(table, issues_of):
    table["time_zone"] = "Europe/Berln"
    (issue,) = issues_of(table)
    assert (issue.code, issue.location) == (IssueCode.UNKNOWN_NAME, "time_zone")
    assert "did you mean Europe/Berlin?" in issue.remedy
