"""Quantiles of mixtures of normal distributions."""

import numpy as np
import pytest

from twin.estimation.kalman_bank import mixture_quantile, student_density


def of(share, *parts):
    weight, mean, sizes = (np.array(column) for column in zip(*parts, strict=True))
    return mixture_quantile(share, weight, mean, sizes=sizes)


def test_one_normal_distribution():
    assert of(0.975, (1.0, 2.0, 3.0)) == pytest.approx(2.0 + 1.959964 * 3.0, rel=1e-6)
    assert of(0.5, (1.0, 2.0, 3.0)) == pytest.approx(2.0)


def test_mixture_of_two_separate_halves():
    """Each has half: its own 5 % are 2.5 % of both."""
    parts = (0.5, -10.0, 1.0), (0.5, 10.0, 1.0)
    assert of(0.025, *parts) == pytest.approx(-10.0 - 1.644854, rel=1e-6)
    assert of(0.975, *parts) == pytest.approx(10.0 + 1.644854, rel=1e-6)


def test_improbable_values_are_outside_the_bounds():
    assert of(0.975, (0.99, 0.0, 1.0), (0.01, 1000.0, 1.0)) < 3.0


def test_component_of_zero_width_is_a_point():
    assert of(0.3, (0.5, 1.0, 0.0), (0.5, 2.0, 0.0)) == pytest.approx(1.0)


def test_density_of_student_t():
    """Shape 2, scale 2: four degrees of freedom at unit scale; 3/8 at 0, (3/8) 2^-2.5 at 2."""
    density = student_density(np.array([0.0, 2.0]), np.array([2.0, 2.0]), np.array([2.0, 2.0]))
    assert density == pytest.approx([0.375, 0.375 * 2.0**-2.5])
