"""Stores in two or three steps."""

import pytest

from tests.math.hand import battery, grid, machine, outlook, site, solved, tank


@pytest.mark.parametrize(("efficiency", "profit"), [(1.0, 240.0), (0.95, 219.789474)])
def test_arbitrage(efficiency, profit):
    """Proves: 4 MWh are bought at 20 and sold at 80, losses paid at both ends.

    Sensitivity: 240 in both cases without losses; 228 with the loss of one end only.
    """
    where = site(battery(efficiency=efficiency), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([20.0] * 8 + [80.0] * 8))
    assert plan.objective == pytest.approx(-profit, abs=1e-6)


def test_wear_stops_small_spreads():
    """Proves: a spread of 8 does not pay for wear of 10. Sensitivity: -8 without wear."""
    where = site(battery(wear_price=10.0), connection=grid(export_limit=10.0))
    assert solved(where, outlook([20.0, 28.0])).objective == pytest.approx(0.0)


def test_a_full_battery_burns_nothing_at_negative_prices():
    """Proves: full at -100, there is nothing to earn. Sensitivity: -19 by going in a circle."""
    where = site(battery(capacity=1.0, efficiency=0.9), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([-100.0]), level=1.0)
    assert plan.objective == pytest.approx(0.0, abs=1e-6)
    assert plan.relaxed < -5.0


def test_a_battery_goes_one_way_at_negative_prices():
    """Proves: a full battery gives 0.81 MWh in one hour at -100 and takes 1 MWh in the next.

    With a load of 1 MW it lets 0.19 and 2 MWh be bought: -219; doing nothing gives -200.
    Sensitivity: -221 if it could do some of both in both hours.
    """
    where = site(battery(capacity=1.0, efficiency=0.9))
    plan = solved(where, outlook([-100.0, -100.0], service=1.0), level=1.0)
    assert plan.objective == pytest.approx(-219.0)
    assert plan.values["battery.discharge"] == pytest.approx([0.81, 0.0])
    assert plan.values["battery.charge"] == pytest.approx([0.0, 1.0])


def test_end_level_is_worth_what_it_saves():
    """Proves: at a terminal price of 60, a MWh at 50 is bought and kept; at 40 it is not.

    Sensitivity: 0 in both cases if the end level were worth nothing.
    """
    where = site(battery(capacity=1.0))
    assert solved(where, outlook([50.0], terminal=60.0)).objective == pytest.approx(-10.0)
    assert solved(where, outlook([50.0], terminal=40.0)).objective == pytest.approx(0.0)


def test_a_store_may_start_outside_the_planned_window():
    """Proves: a start beyond the margin is no fault. Sensitivity: infeasible with hard margins."""
    where = site(battery(), margins=site().margins.model_copy(update={"level": 0.1}))
    full, empty = (
        solved(where, outlook([50.0, 50.0], terminal=50.0), level=level) for level in (1.0, 0.0)
    )
    assert full.values["battery.level"].max() <= 4.0 + 1e-9
    assert empty.values["battery.level"].min() >= -1e-9


def test_a_slightly_wrong_level_is_moved_and_told():
    """Proves: a level 1 % beyond full, as noise gives, is moved in. Sensitivity: infeasible."""
    where = site(battery(), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([50.0]), level=1.01)
    assert plan.values["battery.level"][0] == pytest.approx(4.0)
    assert plan.inputs.problem.notes == ("battery starts at 4.000 MWh instead of 4.040 MWh",)


def test_a_tank_moves_cooling_to_the_cheap_hour():
    """Proves: cooling of 4 MW at half a MW each, made ahead at 10 for the hour at 100.

    Load of 4 MW at 10 and 100: 440. Cooling 4 + 3 MW at 10: 35; 1 MW at 100: 50. Sum 525.
    Sensitivity: 660 without the tank.
    """
    cooler = machine("cooler", "air", draws={"medium_voltage": lambda q: 0.5 * q})
    plan = solved(
        site(tank(capacity=3.0, power=5.0), cooler=cooler), outlook([10.0, 100.0], service=4.0)
    )
    assert plan.objective == pytest.approx(525.0)
    assert plan.values["tank.level"] == pytest.approx([0.0, 3.0, 0.0])
