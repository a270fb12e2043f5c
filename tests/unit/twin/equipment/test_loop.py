"""The water of a circuit as a thermal mass."""

import pytest

from twin.equipment.cooling_plant import CoolingLoop


def test_a_circuit_without_rejection_warms_by_almost_five_kelvin_a_minute() -> None:
    # 500 m3 x 995.6 kg/m3 x 4.180 kJ/(kg K) = 0.578 MWh/K; 164 MW for a minute are 2.73 MWh.
    loop = CoolingLoop.model_validate({"volume": "500 m3"})
    assert loop.heat_capacity == pytest.approx(0.578, abs=0.001)
    assert 164.0 / 60.0 / loop.heat_capacity == pytest.approx(4.73, abs=0.01)


def test_glycol_stores_less_heat() -> None:
    water = CoolingLoop.model_validate({"volume": "500 m3"})
    glycol = CoolingLoop.model_validate({"volume": "500 m3", "fluid": "pg25"})
    assert glycol.heat_capacity < water.heat_capacity
