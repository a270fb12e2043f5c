"""Heat exchangers and cold plates: textbook values, limits and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import heat_exchangers
from twin.physics.heat_exchangers import (
    cold_plate_resistance,
)

units = st.floats(0, 50)
ratios = st.floats(0, 1)
both = pytest.mark.parametrize(
    "effectiveness",
    [heat_exchangers.counterflow_effectiveness, heat_exchangers.crossflow_effectiveness],
)


def test_crossflow_agrees_with_the_textbook():
    found = heat_exchangers.crossflow_effectiveness(np.array([2.0, 3.0]), np.array([0.5, 0.75]))
    assert found == pytest.approx([0.739, 0.755], abs=5e-4)


def test_counterflow_by_hand():
    # balanced: 2 / 3; one side boiling: 1 - exp(-2); Cr = 0.5: (1 - e^-1) / (1 - 0.5 e^-1)
    found = heat_exchangers.counterflow_effectiveness(2.0, np.array([1.0, 0.0, 0.5]))
    assert found == pytest.approx([2 / 3, 0.864665, 0.774601], abs=1e-6)


@both
def test_condensing_side_gives_one_formula(effectiveness):
    assert effectiveness(1.5, 0.0) == pytest.approx(1 - np.exp(-1.5))


@both
@given(units, ratios)
def test_effectiveness_is_a_share_that_rises_with_size(effectiveness, size, ratio):
    small, large = effectiveness(np.array([size, size + 0.1]), ratio)
    assert 0 <= small <= large + 1e-12
    assert large <= 1


@both
@given(st.floats(0.01, 10), st.floats(0, 0.99))
def test_effectiveness_falls_with_the_capacity_ratio(effectiveness, size, ratio):
    assert effectiveness(size, ratio) >= effectiveness(size, ratio + 0.01) - 1e-12


@given(st.floats(0.01, 8))
def test_counterflow_is_smooth_where_both_streams_are_equal(size):
    near, at = heat_exchangers.counterflow_effectiveness(size, np.array([1 - 1e-8, 1.0]))
    assert near == pytest.approx(at, rel=1e-6)


@given(st.floats(0.01, 8), st.floats(0, 0.99))
def test_counterflow_agrees_with_the_inverse_of_the_textbook(size, ratio):
    share = heat_exchangers.counterflow_effectiveness(size, ratio)
    units = np.log((1 - ratio * share) / (1 - share)) / (1 - ratio)  # Incropera, table 11.4
    assert units == pytest.approx(size, rel=1e-4)


def test_conductance_by_hand():
    # half flow on both sides: 0.5^0.8 = 0.5743
    half = heat_exchangers.conductance(0.5, 0.5, rated_conductance=2.0)
    assert half == pytest.approx(2 * 0.574349, rel=1e-5)
    assert heat_exchangers.conductance(1.0, 1.0, rated_conductance=2.0) == pytest.approx(2.0)
    assert heat_exchangers.conductance(0.0, 1.0, rated_conductance=2.0) == pytest.approx(
        0, abs=1e-4
    )


@given(st.floats(0.05, 5), st.floats(1.01, 2))
def test_more_flow_never_warms_the_plate(flow, factor):
    assert cold_plate_resistance(flow * factor) <= cold_plate_resistance(flow)


def test_plate_without_flow_stays_finite():
    assert np.isfinite(cold_plate_resistance(0.0))


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_infinite_surface_has_effectiveness_one(ratio):
    """Sensitivity: infinite transfer units gave NaN."""
    assert heat_exchangers.counterflow_effectiveness(np.inf, ratio) == pytest.approx(1.0)
    most = heat_exchangers.crossflow_effectiveness(1e6, ratio)
    assert heat_exchangers.crossflow_effectiveness(np.inf, ratio) == pytest.approx(most, rel=0.01)
