"""Approach of a heat exchanger whose flows follow the heat."""

import numpy as np
import pytest

from twin.physics.heat_exchangers import part_load_approach


def approach(heat: float, **changed: float) -> float:
    given = {"rated_heat": 2.0, "rated_approach": 4.0, "minimum_flow": 0.3} | changed
    return float(part_load_approach(np.array(heat), ranges=(10.0, 10.0), **given))


def test_approach_at_rating_is_the_rated_one() -> None:
    assert approach(2.0) == pytest.approx(4.0)


def test_approach_falls_with_the_fifth_root_of_flow() -> None:
    # Balanced streams: NTU = range / approach, and NTU = 2.5 v^-0.2; 10 / (2.5 x 0.5^-0.2) = 3.482
    assert approach(1.0) == pytest.approx(3.482, abs=1e-3)


def test_approach_falls_with_heat_at_minimum_flow() -> None:
    assert approach(0.3) == pytest.approx(0.5 * approach(0.6))
    assert approach(0.0) == 0.0


def test_fouling_raises_the_approach() -> None:
    # 0.8 of the conductance: NTU = 2.0 instead of 2.5, so 10 / 2.0
    assert approach(2.0, fouling=0.8) == pytest.approx(5.0)
