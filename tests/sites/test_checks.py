"""What sound machines must keep together; each rule broken once."""

import numpy as np
import pytest

import sites
from sites import loading
from sites.catalogue import SITE_DIRS
from sites.loading import build_site
from twin.relations import CARRIER_ENERGY_SIGN
from twin.site import EXTERNAL_CARRIERS, SUPPLIER_KINDS


def test_no_connection(table, told):
    del table["equipment"]["grid_1"]
    assert "[equipment]: a site has exactly one grid" in told(table)


def test_two_connections(table, told):
    table["equipment"]["grid_2"] = dict(table["equipment"]["grid_1"])
    assert "[equipment] = grid_1, grid_2: a site has exactly one grid" in told(table)


def test_a_carrier_without_supplier(table, told):
    del table["equipment"]["cdu_1"]
    lacks = "needs liquid, which no machine delivers; add one of kind cdu, or its heat has no path"
    assert told(table) == [f"[equipment.hall_2]: {lacks}"]


def test_the_kind_that_delivers_a_carrier_is_named(table, told):
    del table["equipment"]["ups_1"]
    assert "a machine that delivers critical; add a machine of kind ups" in told(table)[0]


def test_every_carrier_has_its_kinds():
    """Proves: the kinds that messages name are those that deliver, in all declared sites."""
    assert set(SUPPLIER_KINDS) == set(CARRIER_ENERGY_SIGN) - EXTERNAL_CARRIERS
    loaded = [sites.load_site(name) for home in SITE_DIRS for name in sites.site_names(home)]
    for site in loaded:
        for convert in site.conversions:
            assert site.equipment[convert.owner].kind in SUPPLIER_KINDS[convert.output].split()


def test_a_store_without_supplier(table, told):
    for name in ("chilled_plant", "hall_air_1", "ups_1"):
        del table["equipment"][name]
    assert any(
        fault.startswith("[equipment.tank_1]: a machine that delivers chilled")
        for fault in told(table)
    )


def test_two_suppliers(table, told):
    table["equipment"]["ups_2"] = dict(table["equipment"]["ups_1"])
    assert told(table) == [
        "[equipment] = ups_1, ups_2: all deliver critical; "
        "write them as one machine, of their size together"
    ]


def test_more_machines_than_any_plant_has(table, told):
    """A bank of 2^31 chillers would take 16 GiB to be looked at."""
    table["equipment"]["chilled_plant"]["chillers"]["count"] = 2**31
    assert any("chillers] count = 2147483648" in fault for fault in told(table))


def test_numbers_that_overflow_together(table, told):
    table["equipment"]["chilled_plant"]["pump_power"] = "1e250 MW"
    (fault,) = told(table)
    assert fault.startswith("[equipment.chilled_plant] = 0 MW: its numbers overflow where 0.68")
    assert fault.endswith("; that is far too small")


def test_a_plant_of_next_to_nothing(table, told):
    table["equipment"]["warm_plant"]["rated_cooling"] = "1e-250 MW"
    (fault,) = told(table)
    assert fault.startswith("[equipment.warm_plant] = 0 MW: at least 3.2")


def test_numbers_that_overflow_elsewhere(table, told, monkeypatch):
    def overflow(_):
        return np.float64(1e300) * np.float64(1e300)

    monkeypatch.setattr(loading, "site_issues", overflow)
    (fault,) = told(table)
    assert fault.startswith("numbers: no site has such numbers together (overflow")
    assert fault.endswith("one is far too small or far too large")


def test_far_too_many_racks(table, told):
    """Proves: the hall is named, and not what its load makes of the machines before it."""
    table["equipment"]["hall_1"]["racks"] = 14_000_000
    assert told(table) == [
        "[equipment.hall_1] racks = 14000000: racks of 132 kW draw 1.848e+06 MW together, and the "
        "connection has 4.7 MW; are they too many, or is its import_limit not in MW?"
    ]


def test_a_machine_that_is_too_small_blames_no_other(table, told):
    """Proves: losses far beyond a rating, which grow with the square, reach nothing before it.

    Sensitivity: at 900 times its load the UPS asked 109.7 MW of the chilled plant.
    """
    table["equipment"]["ups_1"]["rating"] = "4.2 kW"
    (fault,) = told(table)
    assert fault.startswith("[equipment.ups_1] = 0.0042 MW: at least 3.785 MW of critical")


def test_machines_that_are_too_small_are_told_together(table, told):
    table["equipment"]["ups_1"]["rating"] = "4.2 kW"
    table["equipment"]["transformer_1"]["rating"] = "2 MVA"
    assert [fault.split(" = ")[0] for fault in told(table)] == [
        "[equipment.ups_1]",
        "[equipment.transformer_1]",
    ]


def test_coolant_units_that_are_too_few_heat_no_chip(table, told):
    table["equipment"]["cdu_1"]["count"] = 1
    (fault,) = told(table)
    assert fault.startswith("[equipment.cdu_1] = 1.3 MW: at least 3.2")


def test_gensets_that_are_too_few(table, told):
    table["equipment"]["genset_1"] |= {"count": 1, "spare": 0, "rating": "0.5 MW"}
    (fault,) = (one for one in told(table) if "genset_1] count" in one)
    assert fault.startswith("[equipment.genset_1] count = 1: without 0 spare of genset_1 the sets")
    assert fault.endswith(" MW; declare more sets")


def test_two_banks_of_gensets_carry_the_site_together(table, told):
    """Proves: each of two banks gives half of what is needed. Sensitivity: a fault of each."""
    half = table["equipment"]["genset_1"] | {"count": 1, "spare": 0, "rating": "0.7 MW"}
    table["equipment"]["genset_1"] = half
    (fault,) = told(table)
    assert " give 0.7 MW, " in fault
    table["equipment"]["genset_2"] = dict(half)
    assert not told(table)


def test_a_battery_bridges_no_more_than_its_power_gives(table, told):
    """Proves: without a UPS's autonomy 0.8 MW cannot carry 3.785 MW of critical load for 47 s.

    0.32 MWh lie below the reserve, of which 0.8 x 47 / 3600 = 0.0104 MWh come out in that time;
    3.785 x 47 / 3600 = 0.0494 MWh are needed. With 4 MW the battery gives them.
    """
    table["contingency"] = {"ups_autonomy": "0 s"}
    (fault,) = told(table)
    assert "reserves for 47 s" in fault
    assert "0.0494 MWh in UPS and battery" in fault
    assert "they have 0.0104 MWh" in fault
    table["equipment"]["battery_1"]["power"] = "4 MW"
    assert not told(table)


def test_no_halls(table, told):
    del table["equipment"]["hall_1"], table["equipment"]["hall_2"]
    assert "[equipment]: a site has at least one hall: accelerators" in told(table)


def test_unequal_racks(table, told):
    table["equipment"]["hall_2"]["rack_power"] = "120 kW"
    assert told(table) == [
        "[equipment.hall_2] rack_power = 0.12 MW: "
        "halls of a site have equal racks; hall_1 has 0.132 MW"
    ]


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
def test_a_limit_that_cannot_be_kept(table, told, machine, key, value, fault):
    table["equipment"][machine][key] = value
    assert any(text.startswith(fault) for text in told(table))


def test_a_connection_may_be_smaller_than_the_halls(table, told):
    table["equipment"]["grid_1"]["import_limit"] = "3 MW"
    assert told(table) == []


def test_a_rule_of_a_whole_machine(table, told):
    """Proves: a rule of two parameters tells the values of both, that of the standard too."""
    table["equipment"]["hall_1"]["rack_idle_power"] = "132 kW"
    here = 'rack_power = "132 kW", rack_idle_power = "132 kW"'
    rule = "[equipment.hall_1]: rack_idle_power must be below rack_power"
    assert told(table) == [f"{rule}; here {here}"]


def test_more_service_than_racks(table, told):
    table["service"]["racks"] = 29
    assert told(table) == ["[service] racks = 29: the halls have 28 racks"]


def test_no_kind_for_short_jobs(table, told):
    table["work"]["batch"]["longer_than"] = "1 h"
    assert told(table) == [
        "[work]: one kind of work must take the shortest jobs: give it no longer_than"
    ]


def test_two_kinds_for_the_same_jobs(table, told):
    table["work"]["training"]["longer_than"] = "0 h"
    assert told(table) == ["[work]: 2 kinds have longer_than of 0 h; a job would belong to each"]


def test_a_market_may_keep_another_day(table, told):
    """Proves: the clock of the market is declared if it is not the usual one, and checked."""
    assert build_site(table, "sound", source="sound.toml").market_zone == "Europe/Brussels"
    table["market_time_zone"] = "Europe/Athens"
    assert build_site(table, "sound", source="sound.toml").market_zone == "Europe/Athens"
    table["market_time_zone"] = "Europe/Athen"
    assert told(table)[0].startswith('market_time_zone = "Europe/Athen": an IANA time zone')


@pytest.mark.parametrize("zone", [[], {}, 5])
def test_a_time_zone_that_is_no_text(table, told, zone):
    """Proves: a list is a fault of the file. Sensitivity: a TypeError of our own."""
    table["time_zone"] = zone
    assert any("should be a valid string" in fault for fault in told(table))


def test_a_time_zone_that_is_none(table, told):
    table["time_zone"] = "Europe/Berln"
    assert told(table) == [
        'time_zone = "Europe/Berln": write an IANA name such as Europe/Berlin; '
        "did you mean Europe/Berlin?"
    ]
