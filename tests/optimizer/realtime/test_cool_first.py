"""A tank is charged with what its circuit can spare, and with nothing that it lacks."""

import pytest
import xarray as xr

import sites
from optimizer.dispatch import Orders
from optimizer.realtime.cool_first import CALM, cool_first

SITE = sites.load("small")
CHILLED = "chilled_plant"
PLANT = SITE.equipment[CHILLED]
SET, LAST = PLANT.supply_temperature, PLANT.supply_limit - SITE.margins.temperature


def charged(water, **others):
    """Return the charge that is left of 2 MW, with the circuit's water so warm."""
    state = xr.Dataset(
        {"facility_supply_temperature": ("circuit", [30.0, water])},
        coords={"circuit": ["warm_plant", CHILLED]},
    )
    orders = Orders(
        jobs={}, tank_charge={"tank_1": 2.0}, battery_charge={"battery_1": 1.0}, **others
    )
    left = cool_first(orders, SITE, state)
    assert left.battery_charge == orders.battery_charge
    return left.tank_charge.get("tank_1", 0.0)


@pytest.mark.parametrize(
    ("water", "share"),
    [
        (SET - 3.0, 1.0),
        (SET + CALM, 1.0),
        ((SET + CALM + LAST) / 2.0, 0.5),
        (LAST, 0.0),
        (LAST + 5.0, 0.0),
    ],
)
def test_charging_yields_as_the_water_warms(water, share):
    assert charged(water) == pytest.approx(2.0 * share)


def test_a_set_point_that_was_ordered_counts():
    wanted = SET - 2.0
    water = (wanted + CALM + LAST) / 2.0
    assert charged(water, facility_supply_set_point={CHILLED: wanted}) == pytest.approx(1.0)


def test_where_the_set_point_leaves_no_room_any_warmth_ends_it():
    assert charged(LAST + 0.1, facility_supply_set_point={CHILLED: LAST}) == pytest.approx(2.0)
    assert charged(LAST + CALM + 0.1, facility_supply_set_point={CHILLED: LAST}) == 0.0
