"""Every point of a site fits the contract of the event bus and has a meaning."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator

import sites
from telemetry.messages import encode
from telemetry.messages.samples import PointValue
from telemetry.points.point_meanings import INTEGRATION_NAME, POINT_MEANINGS, UNIT_CONVERSIONS
from telemetry.points.site_points import SupplyPaths, announced_metadata, list_points
from tests.support.bms_contract import read_contract, resolved
from tests.support.small_points import NOON, metadata_of, site
from tests.support.strict_site import PLANT, strict
from twin import variables


@pytest.fixture(scope="module")
def validator(shared):
    """Return (direction, object type, point type) -> validator of the payloads of its topic."""
    contract, found = read_contract(shared), {}
    for channel in contract["channels"].values():
        _, _, sender, kind, object_type, _, _ = channel["address"].split("/")
        allowed = channel["parameters"]["pointType"].get("enum", [])
        for name, message in channel["messages"].items():
            payload = resolved(contract, message)["payload"]
            schema = {"allOf": [payload], "components": contract["components"]}
            points = allowed if name == "valueMessage" else [name[0].upper() + name[1:]]
            for point_type in set(points) & set(allowed):
                key = (sender, kind, object_type, point_type)
                found[key] = Draft202012Validator(schema)
    return found


@pytest.mark.parametrize("name", ["small", "rhine", "iberia"])
def test_every_point_fits_the_contract(name, validator):
    machines = set()
    for listed in list_points(sites.load_site(name)):
        point = listed.metadata
        topic, payload = encode(point)
        _, _, sender, kind, object_type, point_type, *_ = topic.split("/")
        key = (listed.meaning.variable, listed.machine)
        if key in machines:  # other units of a bank differ only in their ids
            continue
        machines.add(key)
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
    assert machines


def test_points_are_unique_and_begin_with_the_site():
    points = [metadata.point for metadata in announced_metadata(site())]
    assert len(points) == len(set(points))
    assert {point.split("/")[2] for point in points} == {"small"}


def test_banks_and_racks_have_a_point_each():
    counts = Counter(listed.meaning.variable for listed in list_points(site()))
    assert counts["rack_power"] == site().rack_count == 28
    assert counts["technology_supply_request"] == 3
    by_variable = {p.meaning.variable: p.metadata for p in list_points(site())}
    assert by_variable["rack_power"].rack == "hall_2-r0014"
    assert by_variable["technology_supply_request"].object_id == "cdu_1/003"


def test_committed_chillers_have_points():
    """Proves: a request and a reading for each circuit whose chillers have minimum times."""
    names = ("cooling_plant_units_applied", "cooling_plant_units_request")
    assert not any(listed.meaning.variable in names for listed in list_points(site()))
    found = [p for p in list_points(strict(site())) if p.meaning.variable in names]
    circuits = ("warm_plant", PLANT)
    pairs = [(p.machine, p.meaning.variable) for p in found]
    assert pairs == [(circuit, name) for circuit in circuits for name in names]
    assert [p.metadata.integration for p in found] == ["", INTEGRATION_NAME] * 2
    assert {p.metadata.object_type for p in found} == {"GenericObject"}


def test_every_variable_is_declared_and_unit_converts():
    for meaning in POINT_MEANINGS:
        canonical = variables.variable_definition(meaning.variable).unit
        if meaning.reverse_variable:
            assert variables.variable_definition(meaning.reverse_variable).unit == canonical
        if not meaning.states:
            assert (
                meaning.unit,
                "1" if meaning.share_of_parameter else canonical,
            ) in UNIT_CONVERSIONS


def reached(paths, start):
    seen, todo = set(), [start]
    while todo:
        place = todo.pop()
        if place not in seen:
            seen.add(place)
            todo += paths.get(place, ())
    return seen


def test_power_and_coolant_reach_every_rack():
    paths = SupplyPaths.of(site())
    racks = {metadata.rack for metadata in announced_metadata(site()) if metadata.rack}
    assert racks <= reached(paths.power, "grid_1")
    assert racks <= reached(paths.cooling, "warm_plant")
    served = [rack for unit in ("001", "002", "003") for rack in paths.cooling[f"cdu_1/{unit}"]]
    assert Counter(served) == Counter(racks)  # each by one unit
    assert {"ups_1", "busway_1", "hall_1"} <= reached(paths.power, "grid_1")


@pytest.mark.parametrize("changes", [{"unit": "degC"}, {"scope": "x"}, {"phase": "D"}])
def test_contract_refuses_changed_points(changes, validator):
    changed = metadata_of("technology_supply_temperature", **changes)
    check = validator["PUB", "Metadata", "CDU", "LiquidTemperature"]
    assert list(check.iter_errors(json.loads(encode(changed)[1])))
