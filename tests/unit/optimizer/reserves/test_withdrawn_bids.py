"""Blocks whose rows cost more than they earn are taken back one by one."""

import pytest

from tests.support.hand import battery, solved
from tests.support.reserve_sites import ahead, held_by, offered, product


def test_block_that_stops_discharge_is_not_sold():
    """Proves: 2 MWh are given at 80 EUR in the last two hours, and of 1 MW downwards the fifth
    hour, at 30 EUR, and the sixth are sold: 440 - 160 - 31 = 249 at the most.

    Sensitivity: 258.5, where all four hours are sold or none, as the last ones hold power back.
    """
    store = battery().model_copy(update={"charge_efficiency": 0.05})  # so that charging never pays
    down = product(direction="down", block=1.0, duration=0.25)
    prices, paid = [10.0] * 6 + [80.0] * 2, [0.0] * 4 + [30.0, 1.0, 1.0, 1.0]
    plan = solved(held_by(store, down), ahead(prices, service=2.0, paid=paid), level=0.5)
    assert plan.objective <= 249.0 + 1e-6
    assert plan.values["battery.level"][-1] == pytest.approx(0.0, abs=1e-6)
    assert offered(plan)[4:6] == pytest.approx(1.0)
