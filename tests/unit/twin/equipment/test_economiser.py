"""An economiser with little condenser water stays within the second law."""

import numpy as np
import pytest

from twin.equipment.chiller_plant import ChillerPlant
from twin.physics.heat_exchangers import economiser_temperature_difference


def test_pinch_is_at_the_end_with_less_water():
    """By hand: 12 MW, 2 K at the nearest end.

    2 MW/K of chilled water warm by 6 K, 3 MW/K from the tower by 4 K: nearest at the cold end, the
    supply is 2 K above the tower's water. 1.5 MW/K warm by 8 K: nearest at the warm end, the return
    is 2 + 8 K above the tower's water and the supply 6 K less: 4 K.
    """
    lift = economiser_temperature_difference(
        12.0, 2.0, chilled_rate=2.0, water_rate=np.array([3.0, 1.5])
    )
    assert lift == pytest.approx([2.0, 4.0])


@pytest.mark.parametrize("condenser_range", [5.5, 10.0])
def test_tower_water_never_leaves_warmer_than_the_return(chilled_plant, outdoors, condenser_range):
    """Proves: in any weather the streams keep their approach at both ends.

    Sensitivity: with 10 K on the condensers and 6 K of chilled water it left 1 K above the return.
    """
    chillers = chilled_plant.chillers.model_copy(update={"condenser_range": condenser_range})
    condenser = ChillerPlant(
        chillers=chillers,
        rejection=chilled_plant.rejection,
        supply_temperature=18.0,
        economiser_approach=1.5,
    )
    wet = np.linspace(-8.0, 17.0, 51)
    weather = outdoors(wet + 3.0, wet)
    load = np.full(51, 30.0)
    found = condenser.min_power_point(load, weather, capacity_rate=load / 6.0)
    share = 30.0 / (chillers.count * chillers.rated_cooling)
    rate = share * chillers.rated_rejection / condenser_range
    heat = load + found.pump_power + found.compressor_power
    leaving = chilled_plant.rejection.leaving_temperature(
        heat, capacity_rate=np.full(51, rate), weather=weather, speed=found.speed
    )
    warmed = leaving + found.economiser_heat / rate
    assert (found.economiser_heat > 0.0).any()
    assert (warmed <= 24.0 - 1.5 + 0.01)[found.economiser_heat > 0.0].all()
