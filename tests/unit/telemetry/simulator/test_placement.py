"""Placement of jobs: two halls of 14 racks, 24 kW idle and 132 kW at work."""

import numpy as np
import pytest

from telemetry.simulator.cluster import IDLE_TENANT, INFERENCE_TENANT, JobPlacement, RunningJob


@pytest.fixture
def placement(small):
    return JobPlacement(small)


def racks_of(placement, number):
    return set(np.flatnonzero(placement.tenant == number).tolist())


def test_jobs_are_spread_over_the_halls(placement):
    placement.place([RunningJob(number=7, racks=6.0, cap=1.0)], 4.0)
    assert len(racks_of(placement, 7)) == 6
    assert len(racks_of(placement, INFERENCE_TENANT)) == 4
    assert len([rack for rack in racks_of(placement, 7) if rack < 14]) == 3


def test_job_keeps_its_racks_until_it_stops(placement):
    first, second = (
        RunningJob(number=1, racks=5.0, cap=1.0),
        RunningJob(number=2, racks=5.0, cap=1.0),
    )
    placement.place([first, second], 2.0)
    racks = racks_of(placement, 2)
    placement.place([second, RunningJob(number=3, racks=8.0, cap=0.9)], 3.0)
    assert racks_of(placement, 2) == racks
    assert racks_of(placement, 1) == set()
    assert len(racks_of(placement, INFERENCE_TENANT)) == 3
    assert len(racks_of(placement, IDLE_TENANT)) == 28 - 5 - 8 - 3


def test_job_gets_at_least_one_rack_and_at_most_all(placement):
    placement.place(
        [RunningJob(number=1, racks=0.2, cap=1.0), RunningJob(number=2, racks=40.0, cap=1.0)], 0
    )
    assert len(racks_of(placement, 1)) == 1
    assert len(racks_of(placement, 2)) == 27


@pytest.mark.parametrize("hall", [0.336, 0.6, 1.2, 1.7, 0.3])
def test_rack_powers_add_up_to_the_hall(placement, hall):
    placement.place([RunningJob(number=1, racks=10.0, cap=0.8)], 2.0)
    load = placement.rack_load({"hall_1": hall, "hall_2": 1.0})
    assert load.power[:14].sum() == pytest.approx(hall)
    assert load.power[14:].sum() == pytest.approx(1.0)
    assert load.power.max() <= 0.132 + 1e-12
    assert load.power.min() >= 0.0


def test_busy_racks_draw_more_than_idle_ones(placement):
    placement.place([RunningJob(number=1, racks=10.0, cap=0.8)], 2.0)
    load = placement.rack_load({"hall_1": 0.9, "hall_2": 0.9})
    works, waits = racks_of(placement, 1), racks_of(placement, IDLE_TENANT)
    assert load.power[sorted(waits)].max() < load.power[sorted(works)].min()
    assert (
        load.power[sorted(works)].max()
        < load.power[sorted(racks_of(placement, INFERENCE_TENANT))].min()
    )
