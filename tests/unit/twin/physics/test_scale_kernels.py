"""The kernels behind racks and chips, against steps worked out by hand."""

import sys

import numpy as np
import pytest

from twin.racks.kernels import (
    CduTable,
    ChipInputs,
    ChipOutputs,
    ChipTable,
    CoolantState,
    HallTable,
    RackInputs,
    RackOutputs,
    RackPlacement,
    RackTable,
    chip_kernel,
    fastest_rack_kernel,
    rack_kernel,
    vectorised_rack_kernel,
)

KERNELS = [rack_kernel, fastest_rack_kernel(), vectorised_rack_kernel]


def table():
    """Return two racks behind one unit: all curves are straight, or do not bend at all."""
    hall = HallTable(
        idle_power=np.array([0.02]),
        power_span=np.array([0.10]),
        liquid_share=np.array([0.9]),
        knots_per_mw=np.array([1.0 / 0.12]),
        chip_temperature_rise=np.array([[0.0, 24.0]]),  # 200 K/MW
        resistance=np.array([[2.0, 1.0]]),  # less as the flow rises with the heat of 0 to 1 MW
    )
    unit = CduTable(
        knots_per_mw=1.0,
        pump_power=np.full(2, 0.002),
        capacity_rate=np.full(2, 0.02),
        heat_per_kelvin=np.full(2, 0.01),
        rack_capacity=0.001,
        cdu_capacity=0.002,
    )
    return RackTable(
        RackPlacement(first_rack=np.array([0, 2]), hall_of_rack=np.array([0, 0])), hall, unit
    )


def drive(count=1, hours=0.1):
    return RackInputs(
        work_share=np.full((count, 1), 0.5),
        deviation=np.array([[0.4, -0.4]], np.float32),
        work_interval=np.zeros(count, np.int64),
        facility_water=np.full(count, 25.0),
        step_hours=hours,
    )


def room(count):
    racks, units = (count, 2), (count, 1)
    small = [np.empty(racks, np.float32) for _ in range(3)]
    return RackOutputs(*small, *[np.empty(units) for _ in range(5)], np.empty(count))


@pytest.mark.parametrize("kernel", KERNELS, ids=["plain", "compiled", "vectorised"])
def test_a_step_of_two_racks_by_hand(kernel):
    # work 0.5 +- 0.5 x 0.4 -> 0.7, 0.3 -> 0.09, 0.05 MW; heat 0.9 of it: 0.081 + 0.045 = 0.126 MW
    # K/h: 0.01 a rack, 0.02 the unit; flow 0.01 a rack; 1/(0.01 + 0.01) = 50
    # mean without supply 50 (0.01 x 90 + 0.126)/2 = 25.65, and half of the supply on top
    # supply (0.02 x 30 + 0.01 x 25.65 + 0.002 x 0.5 + 0.01 x 25)/(0.02 + 0.02/2 + 0.01/2)
    #   = 1.1075/0.035 = 31.642857
    # racks 50 (0.5 + 0.081 + 0.31642857) = 44.871429, 50 (0.4 + 0.045 + 0.31642857) = 38.071429
    # passed 0.01 (25.65 + 15.821429 + 0.1 - 25) = 0.16571429
    # plates 2 - 0.126 = 1.874: chips 31.642857 + 1.874 x 18 = 65.374857, + 1.874 x 10 = 50.382857
    # kept 0.02 x 1.642857 + 0.01 x (44.871429 - 50 + 38.071429 - 40) = -0.03771429
    state = CoolantState(racks=np.array([50.0, 40.0]), cdus=np.array([30.0]))
    found, chips = room(1), [65.374857, 50.382857]
    kernel(table(), drive(), (state, found))
    np.testing.assert_allclose(found.rack_power[0], [0.09, 0.05], rtol=1e-6)
    np.testing.assert_allclose(found.cdu_supply_temperature[0], [31.642857], rtol=1e-7)
    np.testing.assert_allclose(found.rack_return[0], [44.871429, 38.071429], rtol=1e-7)
    np.testing.assert_allclose(found.chip[0], chips, rtol=1e-6)
    np.testing.assert_allclose(found.cdu_heat[0], [0.126], rtol=1e-6)
    np.testing.assert_allclose(found.cdu_pump_power[0], [0.002])
    np.testing.assert_allclose(found.cdu_transferred_heat[0], [0.16571429], rtol=1e-6)
    np.testing.assert_allclose(found.cdu_stored_heat[0], [-0.03771429], rtol=1e-6)
    assert found.balance_error[0] < 1e-12
    np.testing.assert_allclose(state.racks, [44.871429, 38.071429], rtol=1e-7)
    np.testing.assert_allclose(state.cdus, [31.642857], rtol=1e-7)


@pytest.mark.parametrize("hours", [1e-4, 0.1, 1e6])
def test_coolant_reaches_steady_state_at_any_step(hours):
    # at rest X = Q + p = 0.128 = 0.01 (T + 0.1 - 25) -> mean return 37.7; supply 37.7 - (X - p)/C
    # = 37.7 - 0.126/0.02 = 31.4
    state = CoolantState(racks=np.array([90.0, 5.0]), cdus=np.array([60.0]))
    count = int(np.ceil(20.0 / min(hours, 20.0)))
    fastest_rack_kernel()(table(), drive(count, hours), (state, found := room(count)))
    assert state.cdus[0] == pytest.approx(31.4, abs=1e-4)
    assert state.racks.mean() == pytest.approx(37.7, abs=1e-4)
    brought = found.cdu_heat + found.cdu_pump_power
    np.testing.assert_allclose(
        brought, found.cdu_transferred_heat + found.cdu_stored_heat, rtol=1e-6
    )


def test_all_rack_kernels_agree():
    assert len({id(kernel) for kernel in KERNELS}) == len(KERNELS)
    ends = []
    for kernel in KERNELS:
        state = CoolantState(racks=np.array([50.0, 40.0]), cdus=np.array([30.0]))
        kernel(table(), drive(300), (state, found := room(300)))  # more than one block of steps
        ends.append([state.racks, state.cdus, *found])
    plain = ends[0]
    for other in ends[1:]:
        for expected, values in zip(plain, other, strict=True):
            np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-13)  # float32 outputs


def test_without_numba_racks_are_vectorised(monkeypatch):
    """Proves: no loop over racks in Python. Sensitivity: 5 min of the chips of rhine took 47 s."""
    monkeypatch.setitem(sys.modules, "numba", None)
    assert fastest_rack_kernel.__wrapped__() is vectorised_rack_kernel


def test_a_step_of_two_chips_by_hand():
    # a rack of 0.06 MW of 0.12 -> 600 W a chip, 0.9 and 1.1 of it; a mean chip at rest at 70
    # above coolant of 40 degC; ends 40 + 27 = 67, 40 + 33 = 73; half of the way from 60: 63.5, 66.5
    chips = ChipTable(
        hall=np.array([0]),
        unit=np.array([0]),
        knots_per_mw=np.array([1.0 / 0.12]),
        power=np.array([[0.0, 1200.0]]),
        chip_power_factor=np.array([[0.9, 1.1]], np.float32),
        remaining_step_share=0.5,
    )
    state = np.full((1, 2), 60.0, np.float32)
    track = ChipOutputs(state, *(np.empty((1, 1, 2), np.float32) for _ in range(2)))
    mean = (np.array([[value]], np.float32) for value in (0.06, 70.0))
    chip_kernel(chips, ChipInputs(*mean, np.array([[40.0]])), track)
    np.testing.assert_allclose(track.power[0, 0], [540e-6, 660e-6], rtol=1e-6)
    np.testing.assert_allclose(track.temperature[0, 0], [63.5, 66.5], rtol=1e-6)
    np.testing.assert_allclose(state[0], [63.5, 66.5], rtol=1e-6)
