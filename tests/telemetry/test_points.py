"""Points: every one fits the contract of the event bus, and is bound again by its metadata."""

import json
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator

import sites
from telemetry.binding import MOST, Binder
from telemetry.codec import decode, encode
from telemetry.listing import Paths, list_points, points_of
from telemetry.points import MEANINGS
from telemetry.samples import PointMetadata, PointValue
from telemetry.units import UNITS
from twin import vocabulary

NOON = np.datetime64("2026-06-16T12:00", "us")


@cache
def site():
    return sites.load("small")


@pytest.fixture(scope="module")
def contract(shared):
    path = shared / "contracts" / "dsx-bms.yaml"
    if not path.is_file():
        pytest.skip("no contract: lay dsx-bms.yaml in ../shared/contracts")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(path.read_text(), Loader=loader)


@pytest.fixture(scope="module")
def validator(contract):
    """Return (direction, object type, point type) -> validator of the payloads of its topic."""
    found = {}

    def resolved(node):
        while "$ref" in node:
            target = contract
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[step]
            node = target
        return node

    for channel in contract["channels"].values():
        _, _, sender, kind, object_type, _, _ = channel["address"].split("/")
        allowed = channel["parameters"]["pointType"].get("enum", [])
        for name, message in channel["messages"].items():
            payload = resolved(message)["payload"]
            schema = {"allOf": [payload], "components": contract["components"]}
            points = allowed if name == "valueMessage" else [name[0].upper() + name[1:]]
            for point_type in set(points) & set(allowed):
                key = (sender, kind, object_type, point_type)
                found[key] = Draft202012Validator(schema)
    return found


@pytest.mark.parametrize("name", ["small", "rhine", "iberia"])
def test_every_point_of_a_site_fits_the_contract(name, validator):
    machines = set()
    for listed in list_points(sites.load(name)):
        point = listed.metadata
        topic, payload = encode(point)
        _, _, sender, kind, object_type, point_type, *_ = topic.split("/")
        words = (listed.meaning.variable, listed.machine)
        if words in machines:  # the others of a bank differ in their ids alone
            continue
        machines.add(words)
        errors = list(
            validator[sender, kind, object_type, point_type].iter_errors(json.loads(payload))
        )
        assert errors == []
        writer = point.integration or "PUB"
        place = "PUB" if writer == "PUB" else "{integration}"
        value = PointValue(point=point.point, time=NOON, value=1.5, sender=writer)
        for sent in (value, replace(value, value=None, quality=0)):
            check = validator[place, "Value", object_type, point_type]
            assert list(check.iter_errors(json.loads(encode(sent)[1]))) == []


def test_points_are_unique_and_begin_with_the_site():
    points = [metadata.point for metadata in points_of(site())]
    assert len(points) == len(set(points))
    assert {point.split("/")[2] for point in points} == {"small"}


def test_banks_and_racks_have_a_point_each():
    counts = Counter(listed.meaning.variable for listed in list_points(site()))
    assert counts["rack_power"] == site().racks == 28
    assert counts["technology_supply_request"] == 3
    by_variable = {p.meaning.variable: p.metadata for p in list_points(site())}
    assert by_variable["rack_power"].rack == "hall_2-r0014"
    assert by_variable["technology_supply_request"].object_id == "cdu_1/003"


def test_every_word_is_declared_and_every_unit_converts():
    for meaning in MEANINGS:
        canonical = vocabulary.term(meaning.variable).unit
        if meaning.negative:
            assert vocabulary.term(meaning.negative).unit == canonical
        if not meaning.states:
            assert (meaning.unit, "1" if meaning.share_of else canonical) in UNITS


def reached(paths, start):
    seen, todo = set(), [start]
    while todo:
        place = todo.pop()
        if place not in seen:
            seen.add(place)
            todo += paths.get(place, ())
    return seen


def test_power_and_coolant_reach_every_rack():
    paths = Paths.of(site())
    racks = {metadata.rack for metadata in points_of(site()) if metadata.rack}
    assert racks <= reached(paths.power, "grid_1")
    assert racks <= reached(paths.cooling, "warm_plant")
    served = [rack for unit in ("001", "002", "003") for rack in paths.cooling[f"cdu_1/{unit}"]]
    assert Counter(served) == Counter(racks)  # each by one unit
    assert {"ups_1", "busway_1", "hall_1"} <= reached(paths.power, "grid_1")


def test_every_point_is_bound_by_its_metadata_alone():
    binder = Binder(site())
    for listed in list_points(site()):
        object_type, point_type, name, _ = listed.metadata.point.split("/", 3)
        hidden = f"{object_type}/{point_type}/{name}/{abs(hash(listed.metadata.point))}"
        binding = binder.learn(decode(*encode(replace(listed.metadata, point=hidden))))
        assert (binding.meaning, binding.machine) == (listed.meaning, listed.machine)
        assert binding.label == (listed.label or "")
    assert not binder.unknown
    requests = {variable for variable, _ in binder.integration_points}
    assert {
        "battery_request",
        "tank_request",
        "renewable_request",
        "technology_supply_request",
        "service_heartbeat",
    } <= requests


def metadata_of(variable, **changes):
    found = next(p.metadata for p in list_points(site()) if p.meaning.variable == variable)
    return replace(found, **changes)


@pytest.mark.parametrize(
    ("variable", "unit", "value", "canonical"),
    [
        ("grid_import_power", "kW", 1500.0, 1.5),
        ("grid_import_power", "MW", 1.5, 1.5),
        ("grid_import_power", "W", 1.5e6, 1.5),
        ("facility_supply_temperature", "C", 38.0, 38.0),
        ("facility_supply_temperature", "F", 100.4, 38.0),
        ("facility_supply_temperature", "K", 311.15, 38.0),
        ("battery_level", "%", 50.0, 0.8),  # of 1.6 MWh
        ("battery_level", "kWh", 800.0, 0.8),
        ("rack_flow", "LPM", 120.0, 2.0),
        ("facility_flow", "m3/h", 7.2, 2.0),
        ("relative_humidity", "%", 45.0, 0.45),
        ("relative_humidity", "%RH", 45.0, 0.45),  # as the contract has it
        ("grid_import_power", "KW", 1500.0, 1.5),
        ("grid_import_power", "kw", 1500.0, 1.5),
        ("grid_import_power", "GW", 0.0015, 1.5),
        ("battery_level", "KWH", 800.0, 0.8),
        ("battery_level", "Percent", 50.0, 0.8),
        ("facility_supply_temperature", "°C", 38.0, 38.0),
        ("facility_supply_temperature", "deg C", 38.0, 38.0),
        ("facility_supply_temperature", "DEGF", 100.4, 38.0),
        ("facility_flow", "GPM", 100.0, 6.30901964),  # US gallons of 3.785411784 L
        ("facility_flow", "gpm", 100.0, 6.30901964),
        ("facility_flow", "l/s", 2.0, 2.0),
        ("facility_flow", "lps", 2.0, 2.0),
        ("facility_flow", "lpm", 120.0, 2.0),
        ("facility_flow", "m³/h", 7.2, 2.0),
        ("facility_flow", "M3/H", 7.2, 2.0),
        ("facility_flow", "kg/h", 7200.0, 2.0),
    ],
)
def test_units_become_canonical_and_back(variable, unit, value, canonical):
    binding = Binder(site()).learn(metadata_of(variable, unit=unit))
    assert binding.canonical(value) == pytest.approx(canonical)
    assert binding.wire(canonical) == pytest.approx(value)


def test_states_are_read_by_their_texts():
    turned = metadata_of("battery_available", state_text=((0, "AVAILABLE"), (1, "NotAvailable")))
    binding = Binder(site()).learn(turned)
    assert [binding.canonical(value) for value in (0.0, 1.0)] == [1.0, 0.0]
    assert binding.wire(1.0) == 0.0


@pytest.mark.parametrize(
    "no", ["Not Available", "not_available", "NOT-AVAILABLE", "Unavailable", "Out of Service"]
)
def test_a_machine_that_is_not_available_is_believed_whatever_its_vendor_calls_it(no):
    told = metadata_of("battery_available", state_text=((0, no), (1, "Available")))
    binding = Binder(site()).learn(told)
    assert [binding.canonical(value) for value in (0.0, 1.0)] == [0.0, 1.0]


@pytest.mark.parametrize("value", [2.0, 0.6, -1.0, 1e30, float("nan")])
def test_a_machine_of_unknown_state_is_not_available(value):
    states = ((0, "NotAvailable"), (1, "Available"), (2, "Bypass"))
    binding = Binder(site()).learn(metadata_of("battery_available", state_text=states))
    assert binding.canonical(value) == 0.0
    assert np.isnan(Binder(site()).learn(metadata_of("battery_status")).canonical(value))


@pytest.mark.parametrize(
    "states",
    [
        ((1, "Available"),),
        ((0, "Bypass"), (1, "Available")),
        ((0, "Off"), (1, "On")),
        ((0, "NotAvailable"), (1, "Available"), (1, "Not available")),
        (),
    ],
)
def test_a_machine_of_which_one_state_is_not_told_is_not_bound(states):
    binder = Binder(site())
    told = metadata_of("battery_available", state_text=states)
    assert binder.learn(told) is None
    assert binder.counters == {"unknown states": 1}
    assert "NotAvailable and Available are wanted" in binder.unknown[told.point]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"unit": "hp"}, "unknown unit"),
        ({"unit": "mW"}, "unknown unit"),  # a milliwatt is no megawatt
        ({"unit": "mw"}, "unknown unit"),
        ({"unit": "kWh"}, "unknown unit"),
        ({"unit": ""}, "unknown unit"),
        ({"unit": "C"}, "unknown unit"),
        ({"object_id": "grid_9"}, "unknown point"),
        ({"object_type": "Teapot"}, "unknown point"),
        ({"integration": "MEPAI"}, "unknown point"),
        ({"is_setpoint": True}, "unknown point"),
    ],
)
def test_what_nobody_knows_is_listed(changes, reason):
    binder = Binder(site())
    strange = metadata_of("grid_import_power", **changes)
    assert binder.learn(strange) is None
    assert binder.unknown[strange.point].startswith(reason)
    assert binder.counters[reason] == 1


def test_points_of_other_sites_are_ignored():
    binder = Binder(site())
    other = metadata_of("grid_import_power", point="PowerMeter/ActivePower/rhine/grid_1/power")
    assert binder.learn(other) is None
    assert binder.counters == {"other site": 1}
    assert not binder.unknown


def test_a_second_sensor_of_one_quantity_is_a_spare():
    binder = Binder(site())
    binder.learn(metadata_of("grid_import_power"))
    twin_point = metadata_of("grid_import_power", point="PowerMeter/ActivePower/small/other")
    assert binder.learn(twin_point).is_spare
    assert binder.doubled == {("grid_import_power", "grid_1")}
    assert not binder.learn(metadata_of("grid_import_power")).is_spare


def test_a_second_request_or_state_of_one_sense_is_refused():
    binder = Binder(site())
    for variable in ("battery_request", "battery_available"):
        known = metadata_of(variable)
        binder.learn(known)
        object_type, point_type, *_ = known.point.split("/")
        twin_point = replace(known, point=f"{object_type}/{point_type}/small/other")
        assert binder.learn(twin_point) is None
        assert binder.unknown[twin_point.point].startswith("doubled point")
    assert binder.doubled == set()


def test_metadata_that_changes_its_unit_is_refused_until_somebody_looks():
    binder = Binder(site())
    known = metadata_of("grid_import_power")
    changed = replace(known, unit="MW")
    assert binder.learn(known) is binder.learn(replace(known, serves=()))  # no change of sense
    for _ in range(3):
        assert binder.learn(changed) is None
    assert binder.get(known.point) is None
    assert binder.changed == (known.point,)
    assert binder.counters == {"metadata changed": 1}
    assert binder.accept(known.point).canonical(2.0) == 2.0
    assert binder.learn(changed) is not None
    assert binder.changed == ()
    assert not binder.unknown


def test_metadata_that_changes_and_changes_back_still_waits():
    binder = Binder(site())
    known = metadata_of("battery_request")
    binder.learn(known)
    binder.learn(replace(known, integration="MEPAI"))
    assert binder.learn(known) is None
    assert binder.accept(known.point) is not None
    assert binder.integration_points == {("battery_request", "battery_1"): known.point}


def test_strange_points_cannot_fill_the_memory():
    binder = Binder(site())
    for number in range(MOST + 10):
        path = f"Teapot/Status/small/{number}"
        binder.learn(PointMetadata(point=path, object_type="Teapot", point_type="Status"))
    assert len(binder.unknown) == MOST
    assert binder.counters["unknown point"] == MOST + 10


@pytest.mark.parametrize("changes", [{"unit": "degC"}, {"scope": "x"}, {"phase": "D"}])
def test_the_contract_would_notice(changes, validator):
    spoilt = metadata_of("technology_supply_temperature", **changes)
    check = validator["PUB", "Metadata", "CDU", "LiquidTemperature"]
    assert list(check.iter_errors(json.loads(encode(spoilt)[1])))
