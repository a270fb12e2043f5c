"""Floor, ramps, hysteresis and store: by hand, against fine stepping, and in closed form."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from twin.physics.load_swings import (
    LoadSwing,
    SmoothingModel,
    amplitude_by_band,
    amplitudes_in_bands,
    least_swing,
    peak_under_cap,
    smooth_load,
    swing_spectrum,
    together,
)

BANDS = np.array([0.1, 0.5, 1.0, 3.0, 10.0, 20.0])
STEP = 1e-3


def smoother(**changed):
    return SmoothingModel(**{"idle": 0.02, "full": 0.12} | changed)


def square(swing, *, cycles, step=STEP):
    count = round(swing.period / step)
    high = np.arange(count) < round(swing.duty * count)
    return np.tile(np.where(high, swing.high, swing.low), cycles)


def test_without_anything_nothing_changes():
    load = np.array([0.02, 0.12, 0.05])
    found = smooth_load(load, smoother(), step=0.1)
    assert found.busway_power.tolist() == load.tolist()
    assert (found.excess_energy, found.deferred_energy) == (0.0, 0.0)


def test_a_floor_burns_what_lies_under_it():
    # by hand: work at 0.05 MW under a floor of 0.08 burns 0.03 MW for 2 s, and is idle then
    found = smooth_load(np.array([0.05, 0.05, 0.02]), smoother(floor=0.08), step=1.0)
    assert found.accelerator_power.tolist() == [0.08, 0.08, 0.02]
    assert found.excess_energy == pytest.approx(0.06)


def test_hysteresis_holds_the_floor_for_its_time():
    load = np.array([0.12, 0.02, 0.02, 0.02])
    found = smooth_load(load, smoother(floor=0.08, hysteresis=0.2), step=0.1)
    assert found.accelerator_power.tolist() == [0.12, 0.08, 0.08, 0.02]


def test_ramps_withhold_and_burn():
    # by hand: 0.1 MW at 0.1 MW/s takes the whole second up, at 0.2 MW/s half a second down
    found = smooth_load(
        np.array([0.02, 0.12, 0.02]), smoother(ramp_up=0.1, ramp_down=0.2), step=1.0
    )
    assert found.accelerator_power.tolist() == pytest.approx([0.02, 0.07, 0.02 + 0.1 * 0.25])
    assert found.deferred_energy == pytest.approx(0.05)
    assert found.excess_energy == pytest.approx(0.025)


def test_ramps_within_a_step_are_exact():
    coarse = np.array([0.02, 0.12, 0.12, 0.02, 0.02])
    ramps = smoother(ramp_up=0.13, ramp_down=0.07)
    fine = (
        smooth_load(np.repeat(coarse, 1000), ramps, step=STEP)
        .accelerator_power.reshape(-1, 1000)
        .mean(axis=1)
    )
    assert smooth_load(coarse, ramps, step=1.0).accelerator_power == pytest.approx(fine, abs=1e-12)


def test_store_against_direct_stepping():
    # tau dg/dt = q - g, stepped by Euler a hundred times as fine
    load = square(LoadSwing(period=0.4, duty=0.5, low_power=0.03, high_power=0.11), cycles=5)
    found = smooth_load(load, smoother(storage=0.004), step=STEP)
    lag, fine = 0.04, STEP / 100
    power, stepped = load.mean(), []
    for drawn in load:
        mean = 0.0
        for _ in range(100):
            mean += power / 100
            power += fine / lag * (drawn - power)
        stepped.append(mean)
    assert found.busway_power == pytest.approx(stepped, abs=2e-5)


@settings(max_examples=60, deadline=None)
@given(
    loads=st.lists(st.floats(0.02, 0.12), min_size=2, max_size=40),
    floor=st.floats(0.0, 0.12),
    ramp=st.floats(0.01, 10.0),
    hysteresis=st.floats(0.0, 0.5),
    storage=st.floats(0.0, 0.05),
    step=st.floats(1e-3, 0.5),
)
def test_energy_is_conserved_and_the_store_keeps_its_window(
    loads, floor, ramp, hysteresis, storage, step
):
    load = np.array(loads)
    what = smoother(
        floor=floor, ramp_up=ramp, ramp_down=2 * ramp, hysteresis=hysteresis, storage=storage
    )
    found = smooth_load(load, what, step=step)
    asked, drawn, taken = (
        values.sum() * step for values in (load, found.accelerator_power, found.busway_power)
    )
    assert drawn == pytest.approx(asked + found.excess_energy - found.deferred_energy, abs=1e-12)
    assert taken == pytest.approx(drawn + found.level[-1] - found.level[0], abs=1e-12)
    assert found.level.min() >= -1e-12
    assert found.level.max() <= storage + 1e-12
    assert found.excess_energy >= 0.0
    assert found.deferred_energy >= 0.0


SWINGS = st.builds(
    LoadSwing,
    period=st.sampled_from([0.2, 0.5, 1.0, 2.0]),
    duty=st.sampled_from([0.25, 0.5, 0.75]),
    low=st.sampled_from([0.02, 0.04, 0.07]),
    high=st.just(0.11),
)
SMOOTHERS = st.builds(
    smoother,
    floor=st.floats(0.0, 0.1),
    ramp_up=st.floats(0.2, 20.0),
    ramp_down=st.floats(0.2, 20.0),
    hysteresis=st.sampled_from([0.0, 0.05, 0.1, 5.0]),
    storage=st.floats(0.0, 0.02),
)


@settings(max_examples=40, deadline=None)
@given(swing=SWINGS, what=SMOOTHERS)
def test_closed_form_against_the_course_in_time(swing, what):
    # where a cycle rises as much as it falls, it depends on how it began
    rise, fall = what.ramp_up * swing.duty, what.ramp_down * (1.0 - swing.duty)
    assume(swing.period * abs(rise - fall) > 0.005)
    found = swing_spectrum(swing, what, highest=20.0)
    count = round(swing.period / STEP)
    cycles = 40 + math.ceil(4.0 / swing.period)
    course = smooth_load(square(swing, cycles=cycles), what, step=STEP)
    last = slice(-count * 20, None)
    for closed, stepped in (
        (found.accelerator_power, course.accelerator_power),
        (found.busway_power, course.busway_power),
    ):
        bands = amplitude_by_band(stepped[last], step=STEP, bands=BANDS)
        assert amplitudes_in_bands(found.frequency, closed, bands=BANDS) == pytest.approx(
            bands, abs=4e-4
        )
    asked = square(swing, cycles=20).mean()
    drawn = course.accelerator_power[last].mean()
    assert found.excess_power - found.deferred_power == pytest.approx(drawn - asked, abs=1e-6)


def test_lines_of_a_square_by_hand():
    # 2 A / (pi n) |sin(pi n d)| of height A = 0.1: 0.06366, 0, 0.02122
    found = swing_spectrum(
        LoadSwing(period=1.0, duty=0.5, low_power=0.02, high_power=0.12), smoother(), highest=3.0
    )
    assert found.frequency.tolist() == [1.0, 2.0, 3.0]
    assert found.load == pytest.approx([0.2 / np.pi, 0.0, 0.2 / (3 * np.pi)], abs=1e-12)
    assert found.busway_power == pytest.approx(found.load, abs=1e-12)


def test_store_passes_what_a_lag_passes():
    what = smoother(storage=0.1 / (2 * np.pi))  # lag of 1/(2 pi) s: 1/sqrt(2) at 1 Hz
    found = swing_spectrum(
        LoadSwing(period=1.0, duty=0.5, low_power=0.02, high_power=0.12), what, highest=1.0
    )
    assert found.busway_power[0] == pytest.approx(found.accelerator_power[0] / np.sqrt(2.0))


def test_bands_hold_the_line_on_their_lower_edge():
    found = amplitudes_in_bands(np.array([0.05, 0.1, 0.5, 20.0]), np.ones(4), bands=BANDS)
    assert found.tolist() == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_least_swing_by_hand():
    # 0.1 MW at 1 Hz: 0.005 MJ give 0.01 MW in each half second
    assert least_swing(0.1, period=1.0, duty=0.5, storage=0.005) == pytest.approx(0.08)
    assert least_swing(0.1, period=1.0, duty=0.5, storage=1.0) == 0.0


def test_no_controller_does_better_than_the_least_swing():
    swing = LoadSwing(period=0.25, duty=0.5, low_power=0.02, high_power=0.12)
    course = smooth_load(square(swing, cycles=40), smoother(storage=0.004), step=STEP)
    left = np.ptp(course.busway_power[-500:])
    assert left >= least_swing(0.1, period=0.25, duty=0.5, storage=0.004) - 1e-9


def test_racks_in_step_and_out_of_it():
    assert together(0.05, 100.0, synchronised=1.0) == pytest.approx(5.0)
    assert together(0.05, 100.0, synchronised=0.0) == pytest.approx(0.5)
    generator = np.random.default_rng(3)
    phases = generator.uniform(0.0, 2 * np.pi, (4000, 70))
    drawn = np.abs(30.0 + np.exp(1j * phases).sum(axis=1))
    expected = together(1.0, 100.0, synchronised=0.3)
    assert np.sqrt(np.mean(drawn**2)) == pytest.approx(expected, rel=0.02)


def test_a_cap_overshoots_by_bursts():
    # by hand, cap 50 of 100 MW: 21.5 MW more within half a second, 0.36 over half a minute
    assert peak_under_cap(50.0, 100.0, window=0.1) == pytest.approx(71.5)
    assert peak_under_cap(50.0, 100.0) == pytest.approx(71.5)
    assert peak_under_cap(50.0, 100.0, window=30.0) == pytest.approx(50.0 + 21.5 / 60)
    assert peak_under_cap(50.0, 100.0, synchronised=0.2) == pytest.approx(54.3)
    assert peak_under_cap(50.0, 100.0, lag=0.5) == pytest.approx(50 + 21.5 * (1 - math.exp(-1)))


def test_a_cap_above_the_load_is_none():
    assert peak_under_cap(100.0, 60.0) == 60.0
    assert peak_under_cap(100.0, 110.0) == 110.0
