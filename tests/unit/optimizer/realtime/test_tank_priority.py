"""A tank is charged only with cooling that its circuit can spare."""

import numpy as np
import pytest

import sites
from optimizer.realtime.orders import (
    TANK_CHARGING_SUPPLY_TOLERANCE_K,
    DispatchOrders,
    limit_tank_charging,
)

SITE = sites.load_site("small")
CHILLED = "chilled_plant"
PLANT = SITE.equipment[CHILLED]
SET, LAST = PLANT.supply_temperature, PLANT.supply_limit - SITE.margins.temperature


LIMIT = PLANT.supply_limit
(TANK,) = (store for store in SITE.stores if store.owner == "tank_1")


def cooled(water, **others):
    """Return the corrected orders at a water temperature."""
    orders = DispatchOrders(jobs={}, battery_charge={"battery_1": 1.0}, **others)
    left = limit_tank_charging(orders, SITE, {"warm_plant": 30.0, CHILLED: water})
    assert left.battery_charge == orders.battery_charge
    return left


def charged(water, **others):
    """Return the charge left of 2 MW at a water temperature."""
    return cooled(water, tank_charge={"tank_1": 2.0}, **others).tank_charge.get("tank_1", 0.0)


@pytest.mark.parametrize(
    ("water", "share"),
    [
        (SET - 3.0, 1.0),
        (SET + TANK_CHARGING_SUPPLY_TOLERANCE_K, 1.0),
        ((SET + TANK_CHARGING_SUPPLY_TOLERANCE_K + LAST) / 2.0, 0.5),
        (LAST, 0.0),
        (LAST + 5.0, 0.0),
    ],
)
def test_charging_falls_as_the_water_warms(water, share):
    assert charged(water) == pytest.approx(2.0 * share)


def test_ordered_set_point_is_used():
    wanted = SET - 2.0
    water = (wanted + TANK_CHARGING_SUPPLY_TOLERANCE_K + LAST) / 2.0
    assert charged(water, facility_supply_set_point={CHILLED: wanted}) == pytest.approx(1.0)


def test_charging_at_a_high_set_point_uses_the_limit():
    """Proves: charging falls from 0.5 K above the set point to the limit."""
    near = {"facility_supply_set_point": {CHILLED: LAST}}
    assert charged(LAST + TANK_CHARGING_SUPPLY_TOLERANCE_K, **near) == pytest.approx(2.0)
    assert charged(LAST + TANK_CHARGING_SUPPLY_TOLERANCE_K + 0.1, **near) == pytest.approx(
        2.0 * 0.8
    )
    assert charged(LIMIT, **near) == 0.0
    assert cooled(LIMIT + 0.1, **near).tank_discharge["tank_1"] == pytest.approx(
        0.2 * TANK.discharge_limit
    )


def test_no_charging_at_the_limit():
    beyond = {"facility_supply_set_point": {CHILLED: LIMIT - 0.1}}
    assert charged(LIMIT - 0.01, **beyond) == pytest.approx(2.0)
    assert charged(LIMIT, **beyond) == 0.0


@pytest.mark.parametrize(
    ("water", "ordered", "share"),
    [
        (SET + TANK_CHARGING_SUPPLY_TOLERANCE_K + 0.1, 0.0, 0.0),
        (LAST, 0.0, 0.0),
        ((LAST + LIMIT) / 2.0, 0.0, 0.5),
        ((LAST + LIMIT) / 2.0, 0.7, 0.7),
        (LIMIT, 0.0, 1.0),
        (LIMIT + 5.0, 0.2, 1.0),
    ],
)
def test_tank_discharges_before_the_limit(water, ordered, share):
    """Proves: discharge rises from none at the planning limit to all at the limit.

    It is never below the order, and unchanged at both ends.
    """
    left = cooled(water, tank_discharge={"tank_1": ordered * TANK.discharge_limit})
    assert left.tank_discharge["tank_1"] == pytest.approx(share * TANK.discharge_limit)


def test_unknown_water_temperature_changes_nothing():
    assert charged(np.nan) == 2.0
    orders = DispatchOrders(jobs={}, tank_charge={"tank_1": 2.0})
    assert limit_tank_charging(orders, SITE, {}) == orders


def test_tank_discharges_fully_above_the_limit():
    strict = SITE.model_copy(
        update={"margins": SITE.margins.model_copy(update={"temperature": 0.0})}
    )
    left = limit_tank_charging(
        DispatchOrders(jobs={}), strict, {CHILLED: LIMIT + TANK_CHARGING_SUPPLY_TOLERANCE_K}
    )
    assert left.tank_discharge["tank_1"] == TANK.discharge_limit
