"""Faults of a simulated facility: their texts, and what the facility reports with each."""

import dataclasses

import pytest

from telemetry.messages.samples import PointValue
from telemetry.messages.topics import TopicKind
from telemetry.points.site_points import list_points
from telemetry.simulator.faults import FaultKind, PlantFault
from telemetry.simulator.plant import SimulatedFacility
from telemetry.simulator.site import SimulatedSite
from tests.unit.telemetry.simulator.conftest import HOUR, QUARTER, START, Script
from twin.errors import SiteError


@pytest.fixture(scope="module")
def reported(small, scene):
    """Return a function: texts of faults -> (variable, machine) -> time -> value."""
    meanings = {
        point.metadata.point: (point.meaning.variable, point.machine)
        for point in list_points(small)
    }

    def run(*texts):
        faults = tuple(PlantFault.parse(text, small) for text in texts)
        client = Script()
        SimulatedSite(dataclasses.replace(scene, faults=faults), client).run()
        values = {}
        for sample in client.samples(TopicKind.POINT_VALUE):
            if isinstance(sample, PointValue):
                values.setdefault(meanings[sample.point], {})[sample.time] = sample.value
        return values

    return run


@pytest.fixture(scope="module")
def normal(reported):
    return reported()


def test_fault_without_times_begins_after_an_hour_and_stays(small):
    fault = PlantFault.parse("trip:battery_1", small)
    assert fault == PlantFault(kind=FaultKind.TRIP, machine="battery_1", start_h=1.0)
    assert [fault.is_active(hours * HOUR) for hours in (0, 1, 1000)] == [False, True, True]


def test_fault_with_times_ends(small):
    fault = PlantFault.parse("silent@0.5-2", small)
    active = [fault.is_active(quarters * QUARTER) for quarters in (1, 2, 7, 8)]
    assert active == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fire", "one of silent, meter_lost, stuck, drift, trip"),
        ("trip:pump_9", "trip:MACHINE"),
        ("trip:warm_plant", "chilled_plant"),  # dry coolers, no chiller
        ("silent:battery_1", "silent"),
        ("stuck", "warm_plant"),
        ("silent@2-1", "hours since the start"),
        ("silent@soon", "hours since the start"),
    ],
)
def test_invalid_fault_states_what_is_possible(small, text, expected):
    with pytest.raises(SiteError) as error:
        PlantFault.parse(text, small)
    (issue,) = error.value.issues
    assert text in str(issue)
    assert expected in str(issue)


def test_silent_facility_sends_no_point_until_the_end(reported, normal):
    values = reported("silent@0.5-1")
    times = {time for course in values.values() for time in course}
    expected = {time for course in normal.values() for time in course}
    silent = {START + 2 * QUARTER, START + 3 * QUARTER}
    assert times == expected - silent
    assert silent <= expected


def test_lost_meter_alone_is_not_sent(reported, normal):
    values = reported("meter_lost@0.5-1.5")
    meter = next(key for key in normal if key[0] == "grid_import_power")
    missing = {START + number * QUARTER for number in range(2, 6)}
    assert set(values[meter]) == set(normal[meter]) - missing
    assert missing & set(normal[meter])
    others = set(normal) - {meter}
    assert {key: set(values[key]) for key in others} == {key: set(normal[key]) for key in others}


def test_stuck_sensors_repeat_their_last_value(reported, normal):
    values = reported("stuck:warm_plant@0.5")
    supply = "facility_supply_temperature", "warm_plant"
    stuck = [value for time, value in values[supply].items() if time >= START + 2 * QUARTER]
    before = [value for time, value in values[supply].items() if time < START + 2 * QUARTER]
    assert stuck
    assert set(stuck) == {before[-1]}
    other = "facility_supply_temperature", "chilled_plant"
    assert values[other] == normal[other]


def test_drifting_sensors_rise_beside_the_truth(reported, normal):
    values = reported("drift:warm_plant@0")
    supply = "facility_supply_temperature", "warm_plant"
    (last, shown) = max(values[supply].items())
    true = max(item for item in normal[supply].items() if item[0] <= last)[1]
    hours = float((last - START) / HOUR)
    assert hours >= 1.5
    assert shown - true == pytest.approx(hours, abs=0.6)  # 1 K an hour, beside noise of 0.1 K


def test_tripped_battery_reports_so_and_comes_back(reported):
    course = reported("trip:battery_1@0.5-1")["battery_available", "battery_1"]
    changes = {START: 1.0, START + 3 * QUARTER: 0.0, START + 5 * QUARTER: 1.0}
    assert {time: course[time] for time in changes} == changes


def test_tripped_plant_runs_without_one_chiller_and_gets_it_back(small, scene):
    facility = SimulatedFacility(small, scene.boundary_conditions, scene.initial_state, seed=0)

    def count():
        return facility.site.equipment["chilled_plant"].chillers.count

    whole = count()
    facility.stop_one_chiller({"chilled_plant"})
    assert count() == whole - 1
    facility.stop_one_chiller(())
    assert count() == whole
