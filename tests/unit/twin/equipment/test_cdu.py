"""Coolant distribution units."""

import numpy as np
import pytest
from pydantic import ValidationError

from twin.equipment.hall_cooling import CduBank
from twin.relations import Conversion

DECLARED = {
    "name": "cdu",
    "count": 100,
    "rated_heat": "2 MW",
    "approach": "4 K",
    "technology_range": "10 K",
    "facility_range": "10 K",
    "pump_power": "20 kW",
    "minimum_flow": 0.3,
}


def convert(cdu: CduBank) -> Conversion:
    (relation,) = cdu.relations()
    assert isinstance(relation, Conversion)
    return relation


def test_pump_power_follows_the_cube_and_becomes_heat(outdoors) -> None:
    flows = convert(CduBank.model_validate(DECLARED)).flows_at_output(
        np.array([200.0, 100.0, 0.0]), outdoors(20.0, 15.0)
    )
    # 2 MW x 1, 0.5^3, and 0.3^3 at the least flow
    np.testing.assert_allclose(flows.inputs["critical"], [2.0, 0.25, 0.054])
    np.testing.assert_allclose(flows.inputs["warm"], [202.0, 100.25, 0.054])
    np.testing.assert_array_equal(flows.heat, 0.0)


def test_pump_power_follows_flow_and_pressure(outdoors) -> None:
    """Proves: half of the flow against 0.2 + 0.8 x 0.25 of the head takes 0.2 of the power.

    Sensitivity: 0.125 of it without the share of the head that stays.
    """
    cdu = CduBank.model_validate(DECLARED | {"static_head_share": 0.2})
    flows = convert(cdu).flows_at_output(np.array([200.0, 100.0]), outdoors(20.0, 15.0))
    np.testing.assert_allclose(flows.inputs["critical"], [2.0, 0.4])


def test_coolant_exceeds_facility_water_by_the_approach() -> None:
    cdu = CduBank.model_validate(DECLARED | {"pump_power": "0 kW"})
    supply = cdu.technology_supply_temperature(np.array([200.0, 100.0, 0.0]), np.array(38.0))
    np.testing.assert_allclose(supply, [42.0, 41.482, 38.0], atol=1e-3)


def test_limit_is_the_rating_of_all_units(outdoors) -> None:
    assert convert(CduBank.model_validate(DECLARED)).max_output(outdoors(20.0, 15.0)) == 200.0


def test_facility_water_cannot_leave_warmer_than_the_coolant_returns() -> None:
    with pytest.raises(ValidationError, match="facility_range must be below"):
        CduBank.model_validate(DECLARED | {"facility_range": "14 K"})
