"""Scores and reduction by hand."""

import numpy as np
import pytest

from tests.support.forecast_skill import crps, energy_score, is_covered, quantile
from twin.forecast.forecast_errors import select_scenarios

MEMBERS = np.array([0.0, 4.0])
EVEN = np.array([0.5, 0.5])


def test_crps_by_hand():
    """E|X - 1| = (1 + 3)/2 = 2; E|X - X'| = 4/2 = 2; 2 - 1 = 1."""
    assert crps(MEMBERS, EVEN, np.array(1.0)) == pytest.approx(1.0)


def test_crps_weighs_scenarios():
    """E|X - 1| = .75 + .25*3 = 1.5; E|X - X'| = 2*.75*.25*4 = 1.5; 1.5 - .75 = .75."""
    assert crps(MEMBERS, np.array([0.75, 0.25]), np.array(1.0)) == pytest.approx(0.75)


def test_crps_of_one_scenario_is_its_absolute_error():
    one = np.array([[3.0, -1.0]])
    np.testing.assert_allclose(crps(one, np.ones(1), np.array([1.0, 1.0])), [2.0, 2.0])


def test_energy_score_by_hand():
    """Scenarios (0, 0) and (3, 4), truth (0, 0): E|X - y| = 2.5; E|X - X'| = 2.5; 2.5 - 1.25."""
    members = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert energy_score(members, EVEN, np.zeros(2)) == pytest.approx(1.25)


def test_energy_score_of_one_value_is_crps():
    assert energy_score(MEMBERS[:, None], EVEN, np.ones(1)) == pytest.approx(1.0)


def test_quantiles_by_hand():
    members = np.array([10.0, 40.0, 20.0, 30.0])
    probability = np.array([0.4, 0.1, 0.3, 0.2])
    found = [float(quantile(members, probability, share)) for share in (0.1, 0.4, 0.5, 0.9, 0.91)]
    assert found == [10.0, 10.0, 20.0, 30.0, 40.0]
    truth = np.array(35.0)
    assert not is_covered(members, probability, truth, low=0.1, high=0.9)
    assert is_covered(members, probability, truth, low=0.1, high=0.95)


def test_reduction_by_hand():
    """Of 0, 1, 10 the middle one is nearest to all: 1 + 9 against 1 + 10 and 10 + 9; then 10."""
    points = np.array([[0.0], [1.0], [10.0]])
    third = np.full(3, 1.0 / 3.0)
    places, probability = select_scenarios(points, third, 1)
    assert places.tolist() == [1]
    assert probability.tolist() == [pytest.approx(1.0)]
    places, probability = select_scenarios(points, third, 2)
    assert places.tolist() == [1, 2]
    np.testing.assert_allclose(probability, [2.0 / 3.0, 1.0 / 3.0])


def test_reduction_keeps_duplicates_and_existing_scenarios():
    places, probability = select_scenarios(np.zeros((3, 2)), np.array([0.2, 0.3, 0.5]), 9)
    assert places.tolist() == [0, 1, 2]
    np.testing.assert_allclose(probability, [0.2, 0.3, 0.5])
