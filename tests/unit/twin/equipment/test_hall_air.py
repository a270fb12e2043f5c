"""Hall air."""

import numpy as np
import pytest
from pydantic import ValidationError

from twin.equipment.hall_cooling import CrahBank
from twin.relations import Conversion

DECLARED = {
    "name": "air",
    "rated_heat": "30 MW",
    "approach": "4 K",
    "air_range": "12 K",
    "water_range": "8 K",
    "fan_power": "1 MW",
    "fan_exponent": 3.0,
    "minimum_flow": 0.4,
}


def test_fan_power_follows_heat_and_becomes_heat(outdoors) -> None:
    (relation,) = CrahBank.model_validate(DECLARED).relations()
    assert isinstance(relation, Conversion)
    flows = relation.flows_at_output(np.array([30.0, 15.0, 0.0]), outdoors(20.0, 15.0))
    np.testing.assert_allclose(flows.inputs["critical"], [1.0, 0.125, 0.064])
    np.testing.assert_allclose(flows.inputs["chilled"], [31.0, 15.125, 0.064])


def test_air_is_warmer_than_the_chilled_water_by_the_approach() -> None:
    hall = CrahBank.model_validate(DECLARED | {"fan_power": "0 MW"})
    inlet = hall.rack_inlet_temperature(np.array([30.0, 15.0, 0.0]), np.array(18.0))
    assert inlet[0] == pytest.approx(22.0)
    assert 18.0 < inlet[1] < 22.0
    assert inlet[2] == 18.0


def test_water_cannot_leave_warmer_than_the_air_returns() -> None:
    with pytest.raises(ValidationError, match="water_range must be below"):
        CrahBank.model_validate(DECLARED | {"water_range": "16 K"})
