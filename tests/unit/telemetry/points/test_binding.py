"""Points are bound by their metadata alone; unknown and changed points are listed."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry.messages import decode, encode
from telemetry.messages.samples import PointMetadata
from telemetry.points.binding import MAX_UNKNOWN_POINTS, PointBinder
from telemetry.points.site_points import list_points
from tests.support.small_points import metadata_of, site


def test_every_point_is_bound_by_its_metadata():
    binder = PointBinder(site())
    for listed in list_points(site()):
        object_type, point_type, name, _ = listed.metadata.point.split("/", 3)
        hidden = f"{object_type}/{point_type}/{name}/{abs(hash(listed.metadata.point))}"
        binding = binder.register(decode(*encode(replace(listed.metadata, point=hidden))))
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
    binding = PointBinder(site()).register(metadata_of(variable, unit=unit))
    assert binding.to_canonical(value) == pytest.approx(canonical)
    assert binding.to_wire(canonical) == pytest.approx(value)


def test_states_are_read_by_their_texts():
    turned = metadata_of("battery_available", state_text=((0, "AVAILABLE"), (1, "NotAvailable")))
    binding = PointBinder(site()).register(turned)
    assert [binding.to_canonical(value) for value in (0.0, 1.0)] == [1.0, 0.0]
    assert binding.to_wire(1.0) == 0.0


@pytest.mark.parametrize(
    "no", ["Not Available", "not_available", "NOT-AVAILABLE", "Unavailable", "Out of Service"]
)
def test_unavailable_state_is_read_in_any_spelling(no):
    metadata = metadata_of("battery_available", state_text=((0, no), (1, "Available")))
    binding = PointBinder(site()).register(metadata)
    assert [binding.to_canonical(value) for value in (0.0, 1.0)] == [0.0, 1.0]


@pytest.mark.parametrize("value", [2.0, 0.6, -1.0, 1e30, float("nan")])
def test_machine_in_unknown_state_is_unavailable(value):
    states = ((0, "NotAvailable"), (1, "Available"), (2, "Bypass"))
    binding = PointBinder(site()).register(metadata_of("battery_available", state_text=states))
    assert binding.to_canonical(value) == 0.0
    assert np.isnan(PointBinder(site()).register(metadata_of("battery_status")).to_canonical(value))


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
def test_point_without_a_needed_state_is_not_bound(states):
    binder = PointBinder(site())
    metadata = metadata_of("battery_available", state_text=states)
    assert binder.register(metadata) is None
    assert binder.counters == {"unknown states": 1}
    assert "NotAvailable and Available are expected" in binder.unknown[metadata.point]


@pytest.mark.parametrize(
    ("changes", "counter"),
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
def test_unknown_points_are_listed(changes, counter):
    binder = PointBinder(site())
    strange = metadata_of("grid_import_power", **changes)
    assert binder.register(strange) is None
    detail = ": nothing in the site file is called 'grid_9'" if "object_id" in changes else ""
    assert binder.unknown[strange.point].startswith(counter + detail)
    assert binder.counters == {counter: 1}


def test_points_of_other_sites_are_ignored():
    binder = PointBinder(site())
    other = metadata_of("grid_import_power", point="PowerMeter/ActivePower/rhine/grid_1/power")
    assert binder.register(other) is None
    assert binder.counters == {"other site": 1}
    assert not binder.unknown


def test_second_sensor_of_a_quantity_is_a_spare():
    binder = PointBinder(site())
    binder.register(metadata_of("grid_import_power"))
    twin_point = metadata_of("grid_import_power", point="PowerMeter/ActivePower/small/other")
    assert binder.register(twin_point).is_spare
    assert binder.redundant == {("grid_import_power", "grid_1")}
    assert not binder.register(metadata_of("grid_import_power")).is_spare


def test_second_request_or_state_is_refused():
    binder = PointBinder(site())
    for variable in ("battery_request", "battery_available"):
        known = metadata_of(variable)
        binder.register(known)
        object_type, point_type, *_ = known.point.split("/")
        twin_point = replace(known, point=f"{object_type}/{point_type}/small/other")
        assert binder.register(twin_point) is None
        assert binder.unknown[twin_point.point].startswith("doubled point")
    assert binder.redundant == set()


def test_changed_unit_is_refused_until_confirmed():
    binder = PointBinder(site())
    known = metadata_of("grid_import_power")
    changed = replace(known, unit="MW")
    assert binder.register(known) is binder.register(
        replace(known, serves=())
    )  # no change of sense
    for _ in range(3):
        assert binder.register(changed) is None
    assert binder.binding_of(known.point) is None
    assert binder.metadata_of(known.point) == changed
    assert binder.counters == {"metadata changed": 1}


@pytest.mark.parametrize(
    ("was", "now"), [("kW", "KW"), ("MW", " MW"), ("C", "°C"), ("degC", "C"), ("m3/h", "m³/h")]
)
def test_other_spelling_of_a_unit_is_no_change(was, now):
    """Sensitivity: after a gateway update, all of its points waited for a confirmation."""
    variable = "grid_import_power" if "W" in was else "facility_supply_temperature"
    variable = "facility_flow" if "/" in was else variable
    binder = PointBinder(site())
    known = metadata_of(variable, unit=was)
    assert binder.register(known) is binder.register(replace(known, unit=now)) is not None


def test_metadata_changed_twice_still_waits():
    binder = PointBinder(site())
    known = metadata_of("battery_request")
    binder.register(known)
    binder.register(replace(known, integration="MEPAI"))
    assert binder.register(known) is None
    assert binder.binding_of(known.point) is None
    assert binder.integration_points == {}


def test_unknown_points_cannot_fill_the_memory():
    binder = PointBinder(site())
    for number in range(MAX_UNKNOWN_POINTS + 10):
        path = f"Teapot/Status/small/{number}"
        binder.register(PointMetadata(point=path, object_type="Teapot", point_type="Status"))
    assert len(binder.unknown) == MAX_UNKNOWN_POINTS
    assert binder.counters["unknown point"] == MAX_UNKNOWN_POINTS + 10
