"""Losses of the electrical chain: hand-worked numbers and plausible limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.physics import electrical_equipment


def test_transformer_by_hand():
    # S = 57 / 0.95 = 60 MVA; 0.040 + 0.200 x (60 / 63)^2 = 0.2214
    loss = electrical_equipment.transformer_loss(
        57.0, 63.0, no_load_loss=0.040, load_loss=0.200, power_factor=0.95
    )
    assert loss == pytest.approx(0.22141, abs=1e-5)


def test_transformer_has_the_efficiency_of_its_class():
    load = np.array([31.5, 63.0])
    loss = electrical_equipment.transformer_loss(load, 63.0, no_load_loss=0.040, load_loss=0.200)
    assert load / (load + loss) == pytest.approx([0.9972, 0.9962], abs=1e-4)


def test_busway_by_hand():
    assert electrical_equipment.resistive_loss(5.0, 10.0, rated_loss=0.15) == pytest.approx(0.0375)


def test_loss_between_two_points_by_hand():
    # Titanium: 0.1 x (1/0.9 - 1) = 0.01111, 0.2 x (1/0.94 - 1) = 0.01277; the middle 0.01194
    loss = electrical_equipment.loss_from_efficiency(
        0.15, electrical_equipment.PSU_TITANIUM_EFFICIENCY
    )
    assert loss == pytest.approx(0.011939, abs=1e-6)


@pytest.mark.parametrize(
    "points",
    [
        electrical_equipment.UPS_ECO_MODE_EFFICIENCY,
        electrical_equipment.PSU_TITANIUM_EFFICIENCY,
        electrical_equipment.PSU_RUBY_EFFICIENCY,
    ],
)
def test_idle_converter_keeps_a_finite_loss(points):
    load = np.array([0.0, 0.01, 0.03, 0.05, 0.1])
    loss = electrical_equipment.loss_from_efficiency(load, points)
    assert np.all((loss > 0) & (loss < 0.012))
    assert np.all(np.diff(loss) > 0)
    efficiency = load / (load + loss)
    assert efficiency[0] == 0
    assert np.all(np.diff(efficiency) > 0)


@pytest.mark.parametrize(
    "points",
    [electrical_equipment.UPS_ECO_MODE_EFFICIENCY, electrical_equipment.PSU_TITANIUM_EFFICIENCY],
)
def test_loss_is_convex(points):
    loss = electrical_equipment.loss_from_efficiency(np.linspace(0, 1.1, 100), points)
    assert np.all(np.diff(loss, 2) > -1e-12)


def test_zero_load_has_zero_loss():
    assert electrical_equipment.conversion_power(0.0, 0.96, offset=17.0) == pytest.approx(
        17.0 / 0.96
    )


@given(st.floats(0, 1.1), st.floats(0.1, 5.0))
def test_ups_loss_scales_with_its_rating(share, rating):
    loss = electrical_equipment.ups_loss(share * rating, rating)
    assert loss == pytest.approx(rating * electrical_equipment.ups_loss(share, 1.0))
    assert loss > 0
