"""The building management system: dead bands, repetition, sensor noise and write permissions."""

import numpy as np
import pytest

from telemetry.messages import decode, topics
from telemetry.messages.samples import PointValue
from telemetry.simulator.bms import SimulatedBms, machine_readings, rack_readings
from telemetry.simulator.cluster import JobPlacement
from telemetry.simulator.deviations import FacilityNoise
from telemetry.simulator.setpoint_requests import SetPointRequests, WaterSetPoints
from twin import time_axes
from twin.simulation import state
from twin.simulation.simulate import state_values

NOW = time_axes.to_utc("2026-06-16T06:00")
REPEAT = 4
SILENT = FacilityNoise(
    load_std=0.0, power_meter_error=0.0, level_sensor_error=0.0, temperature_sensor_error=0.0
)


@pytest.fixture
def requests(small):
    return SetPointRequests(small, period=time_axes.QUARTER_HOUR)


@pytest.fixture
def make(small, requests):
    def bms(noise=SILENT, seed=0):
        rng = np.random.default_rng(seed)
        return SimulatedBms(small, requests, rng=rng, noise=noise, repeat=REPEAT)

    return bms


@pytest.fixture
def plant(small):
    """Return the plant state behind the points, with a given import."""

    def at(import_power=2.0, temperature=38.0):
        truth = state_values(state.initial_state(small, NOW)) | {
            ("grid_import_power", ""): import_power,
            ("grid_export_power", ""): 0.0,
            ("peak_power", ""): 2.5,
            ("facility_supply_temperature", "warm_plant"): temperature,
        }
        water = WaterSetPoints(supply_set_points={"warm_plant": 38.0, "chilled_plant": 18.0})
        load = JobPlacement(small).rack_load({"hall_1": 0.6, "hall_2": 0.6})
        return machine_readings(small, truth, {}, water=water), rack_readings(small, truth, load)

    return at


def published_values(bms, plant_now, **options):
    messages = bms.changed_messages(*plant_now, time=NOW, **options)
    return {decode(*message).point: decode(*message).value for message in messages}


def point_of(values, *parts):
    return next(point for point in values if all(part in point for part in parts))


def steady(values):
    """Return the points without flow meters, whose readings scatter even at rest."""
    return {point for point in values if "flow" not in point}


def test_metadata_of_every_point_come_in_shares(make):
    bms = make()
    metadata = bms.metadata_messages()
    assert len({topic for topic, _ in metadata}) == len(metadata)
    assert len(bms.metadata_messages(share=10)) == pytest.approx(len(metadata) / 10, abs=1)


def test_every_value_has_metadata(make, plant):
    bms = make()
    known = {decode(*message).point for message in bms.metadata_messages()}
    assert set(published_values(bms, plant(), is_whole=True)) <= known


def test_values_are_in_the_units_of_their_points(make, plant):
    values = published_values(make(), plant(), is_whole=True)
    assert values[point_of(values, "ActivePower", "grid_import_power")] == 2000.0
    assert values[point_of(values, "battery_level")] == pytest.approx(60.0)  # half of 20 to 100 %
    assert values[point_of(values, "warm_plant", "supply_temperature")] == 38.0
    assert values[point_of(values, "RackPower", "r0001")] == pytest.approx(600.0 / 14, rel=1e-6)
    assert values[point_of(values, "Available", "ups_1")] == 1.0
    assert not any("request" in point for point in values)


def test_unchanged_values_are_sent_every_fourth_time(make, plant):
    bms = make()
    everything = steady(published_values(bms, plant(), is_whole=True))
    turns = [steady(published_values(bms, plant())) for _ in range(REPEAT)]
    assert set.union(*turns) == everything
    assert sum(map(len, turns)) == len(everything)


def test_change_beyond_the_dead_band_is_sent_at_once(make, plant):
    bms = make()
    first = published_values(bms, plant(), is_whole=True)
    power, supply = (point_of(first, w) for w in ("grid_import_power", "facility_supply_temp"))
    within = [
        published_values(bms, plant(import_power=2.001, temperature=38.1)) for _ in range(REPEAT)
    ]
    assert sum(power in values for values in within) == 1
    beyond = [
        published_values(bms, plant(import_power=2.0 + 0.02 * i)) for i in range(2, 2 + REPEAT)
    ]
    assert all(power in values for values in beyond)
    assert supply in first


def test_sensors_have_the_declared_noise(make, plant):
    bms = make(FacilityNoise())
    seen = [bms.changed_messages(*plant(), time=NOW, is_whole=True) for _ in range(300)]
    grid = [message for messages in seen for message in messages if "grid_import" in message[0]]
    values = np.array([decode(*message).value for message in grid])
    assert values.mean() == pytest.approx(2000.0, rel=0.001)
    assert values.std() == pytest.approx(4.0, rel=0.2)


def test_same_seed_gives_the_same_readings(make, plant):
    one, same, other = (
        published_values(make(FacilityNoise(), seed), plant()) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_request_reaches_the_guardrails_in_megawatts(make, requests):
    bms = make()
    points = {decode(*message).point for message in bms.metadata_messages()}
    point = point_of(points, "battery_request")
    value = PointValue(point=point, time=NOW, value=300.0, sender="GIGATWIN")
    assert bms.write_point(value, now=NOW) == ""
    assert requests.active_values(NOW)["battery_request", "battery_1"] == pytest.approx(0.3)


def test_writes_of_others_and_of_readings_are_refused(make, requests):
    bms = make()
    points = {decode(*message).point for message in bms.metadata_messages()}
    ours, theirs = point_of(points, "battery_request"), point_of(points, "grid_import_power")
    foreign = PointValue(point=ours, time=NOW, value=300.0, sender="OTHER")
    wrong = PointValue(point=theirs, time=NOW, value=300.0, sender="GIGATWIN")
    assert "may not write" in bms.write_point(foreign, now=NOW)
    assert "may not write" in bms.write_point(wrong, now=NOW)
    assert requests.refused == 2


def test_heartbeats_carry_own_time_and_echo_the_other(make, requests):
    bms = make()
    assert len(bms.heartbeat_messages(NOW)) == 1
    points = {decode(*message).point for message in bms.metadata_messages()}
    point = point_of(points, "HeartbeatTimestampIntegration")
    bms.write_point(PointValue(point=point, time=NOW, value=123.0, sender="GIGATWIN"), now=NOW)
    clock, echo = (decode(*message) for message in bms.heartbeat_messages(NOW))
    if "Echo" in clock.point:
        clock, echo = echo, clock
    assert clock.value == NOW.astype("datetime64[ms]").astype(int)
    assert echo.value == 123.0
    assert requests.is_integration_alive(NOW)


def test_topics_are_those_of_the_bus(make, plant):
    messages = list(make().changed_messages(*plant(), time=NOW))
    assert messages
    for topic, _ in messages:
        assert topics.parse_topic(topic).kind == topics.TopicKind.POINT_VALUE
        assert topic.split("/")[6] == "small"
