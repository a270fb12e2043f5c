"""Floor, ramps, hysteresis and store: by hand, against fine stepping, and in closed form."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.physics.load_swings import (
    SmoothingModel,
    smooth_load,
)

STEP = 1e-3


def smoother(**changed):
    return SmoothingModel(**{"idle_power": 0.02, "full_power": 0.12} | changed)


def test_without_smoothing_nothing_changes():
    load = np.array([0.02, 0.12, 0.05])
    found = smooth_load(load, smoother(), step=0.1)
    assert found.busway_power.tolist() == load.tolist()
    assert (found.excess_energy, found.deferred_energy) == (0.0, 0.0)


def test_power_floor_fills_what_lies_below():
    # by hand: work at 0.05 MW under a floor of 0.08 burns 0.03 MW for 2 s, and is idle then
    found = smooth_load(np.array([0.05, 0.05, 0.02]), smoother(power_floor=0.08), step=1.0)
    assert found.accelerator_power.tolist() == [0.08, 0.08, 0.02]
    assert found.excess_energy == pytest.approx(0.06)


def test_hysteresis_keeps_the_floor_for_its_duration():
    load = np.array([0.12, 0.02, 0.02, 0.02])
    found = smooth_load(load, smoother(power_floor=0.08, hysteresis=0.2), step=0.1)
    assert found.accelerator_power.tolist() == [0.12, 0.08, 0.08, 0.02]


def test_ramps_reduce_and_add_power():
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


@settings(max_examples=60, deadline=None)
@given(
    loads=st.lists(st.floats(0.02, 0.12), min_size=2, max_size=40),
    floor=st.floats(0.0, 0.12),
    ramp=st.floats(0.01, 10.0),
    hysteresis=st.floats(0.0, 0.5),
    storage=st.floats(0.0, 0.05),
    step=st.floats(1e-3, 0.5),
)
def test_store_conserves_energy_and_keeps_its_window(loads, floor, ramp, hysteresis, storage, step):
    load = np.array(loads)
    what = smoother(
        power_floor=floor,
        ramp_up=ramp,
        ramp_down=2 * ramp,
        hysteresis=hysteresis,
        storage_energy=storage,
    )
    found = smooth_load(load, what, step=step)
    asked, drawn, taken = (
        values.sum() * step for values in (load, found.accelerator_power, found.busway_power)
    )
    assert drawn == pytest.approx(asked + found.excess_energy - found.deferred_energy, abs=1e-12)
    assert taken == pytest.approx(
        drawn + found.stored_energy[-1] - found.stored_energy[0], abs=1e-12
    )
    assert found.stored_energy.min() >= -1e-12
    assert found.stored_energy.max() <= storage + 1e-12
    assert found.excess_energy >= 0.0
    assert found.deferred_energy >= 0.0
