"""Node agents: one batch a rack, in the ranges of real chips, the same for the same seed."""

import numpy as np
import pytest

from telemetry.messages import decode, encode
from telemetry.messages.samples import CHIP_VARIABLES
from telemetry.simulator.bms import rack_readings
from telemetry.simulator.cluster import (
    FULL_CLOCK_MHZ,
    JobPlacement,
    RunningJob,
    SimulatedRackAgents,
)
from tests.support.air_site import airy
from twin import time_axes

NOW = time_axes.to_utc("2026-06-16T06:15")
TRUTH = {("technology_supply_temperature", "cdu_1"): 40.0}


@pytest.fixture
def load(small):
    placement = JobPlacement(small)
    placement.place([RunningJob(number=1, racks=20.0, cap=1.0)], 2.0)
    busy = 22 * 0.132 + 6 * 0.024
    return placement.rack_load({"hall_1": busy / 2, "hall_2": busy / 2})


def batches(small, load, seed=0, count=1):
    racks = SimulatedRackAgents(small, boot=17, rng=np.random.default_rng(seed))
    for _ in range(count):
        found = racks.batches(load, TRUTH, time=NOW, interval=time_axes.QUARTER_HOUR)
    return found


def row(batch, name):
    return batch.values[CHIP_VARIABLES.index(name)]


def test_every_rack_sends_one_batch(small, load):
    found = batches(small, load, count=3)
    assert len({(batch.hall, batch.rack) for batch in found}) == 28
    assert {batch.sequence for batch in found} == {3}
    assert found[0].rack == "r0001"
    assert {batch.values.shape for batch in found} == {(5, 72)}


def test_batches_can_be_read_again(small, load):
    first = batches(small, load)[0]
    read = decode(*encode(first))
    np.testing.assert_array_equal(read.values, first.values)
    assert (read.boot, read.sequence, read.time) == (17, 1, NOW)


def test_chip_temperature_follows_the_chip_power(small, load):
    hall = small.equipment["hall_1"]
    found = batches(small, load)
    busiest = max(found, key=lambda batch: row(batch, "power").mean())
    board = float(hall.chip_supply_power(np.array(0.132 * 14))) / 14
    assert row(busiest, "power").mean() == pytest.approx(1e6 * board * 0.8 / 72, rel=0.35)
    expected = float(hall.chip_temperature(np.array(0.132), np.array(40.0)))
    assert row(busiest, "temperature").mean() == pytest.approx(expected, abs=0.5)
    hotter = row(busiest, "power") > np.median(row(busiest, "power"))
    warm = row(busiest, "temperature")
    assert warm[hotter].min() > warm[~hotter].mean() - 1.0
    assert row(busiest, "clock").mean() == pytest.approx(FULL_CLOCK_MHZ, rel=0.02)


def test_air_cooled_chips_follow_the_air_temperature(small, load):
    """Proves: chips of hall_2 follow air of 24 degC. Sensitivity: 40 degC of coolant."""
    mixed = airy(small, "hall_2")
    truth = TRUTH | {("rack_inlet_temperature", "hall_air_1"): 24.0}
    racks = SimulatedRackAgents(mixed, boot=17, rng=np.random.default_rng(0))
    found = racks.batches(load, truth, time=NOW, interval=time_axes.QUARTER_HOUR)
    for hall, at in (("hall_1", 40.0), ("hall_2", 24.0)):
        mine = np.array([row(batch, "temperature").mean() for batch in found if batch.hall == hall])
        power = load.power[[batch.hall == hall for batch in found]]
        expected = mixed.equipment[hall].chip_temperature(power, np.asarray(at))
        np.testing.assert_allclose(mine, expected, atol=0.5)


def test_air_cooled_rack_reports_no_coolant(small, load):
    truth = TRUTH | {("facility_supply_temperature", "chilled_plant"): 18.0}
    readings = rack_readings(airy(small, "hall_2"), truth, load)
    for word in ("rack_supply_temperature", "rack_return_temperature", "rack_flow"):
        assert np.isfinite(readings[word]).tolist() == [True] * 14 + [False] * 14
    assert np.isfinite(readings["rack_power"]).all()


@pytest.mark.parametrize(("fluid", "rise"), [("pg25", 13.23), ("water", 12.79)])
def test_coolant_warms_by_its_declared_fluid(small, load, fluid, rise):
    """Proves: a full rack warms its coolant by its heat over the fluid's heat capacity.

    114.5 kW into 2.16 l/s: PG25 of 40 degC carries 4.008 kJ/l/K, water 4.146.
    """
    cdu = small.equipment["cdu_1"].model_copy(update={"fluid": fluid})
    site = small.model_copy(update={"equipment": {**small.equipment, "cdu_1": cdu}})
    readings = rack_readings(site, TRUTH, load)
    full = int(np.argmax(readings["rack_power"]))
    assert readings["rack_power"][full] == pytest.approx(0.132)
    warmer = readings["rack_return_temperature"] - readings["rack_supply_temperature"]
    assert warmer[full] == pytest.approx(rise, abs=0.02)


def test_idle_chips_are_cool_and_slow(small, load):
    found = batches(small, load)
    idlest = min(found, key=lambda batch: row(batch, "power").mean())
    assert row(idlest, "clock").mean() < 400.0
    assert row(idlest, "utilisation").max() == 0.0
    assert 40.0 < row(idlest, "temperature").mean() < 45.0


def test_shares_stay_within_0_and_1(small, load):
    found = list(batches(small, load))
    assert found
    for batch in found:
        for name in ("utilisation", "memory"):
            assert 0.0 <= row(batch, name).min() <= row(batch, name).max() <= 1.0


def test_same_seed_gives_the_same_noise(small, load):
    one, same, other = (batches(small, load, seed=seed) for seed in (1, 1, 2))
    assert [encode(batch) for batch in one] == [encode(batch) for batch in same]
    assert encode(one[0]) != encode(other[0])
