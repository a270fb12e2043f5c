"""What watches a quarter-hour: worked by hand."""

import pytest

from optimizer.dispatch import Orders
from optimizer.guard import Guard
from tests import small_days

PEAK = 4.0


@pytest.fixture
def guard():
    """Return the guard of a quarter-hour in which a battery of 0.8 MW charges with 0.6 MW."""
    site = small_days.problem(1).site
    (battery,) = (store.owner for store in site.stores if store.carrier == "medium_voltage")
    orders = Orders(jobs={}, battery_charge={battery: 0.6}, battery_discharge={battery: 0.0})
    return Guard(site=site, planned=orders, peak=PEAK)


def battery_of(orders):
    (charge,), (discharge,) = orders.battery_charge.values(), orders.battery_discharge.values()
    return charge, discharge


def test_with_room_orders_stand(guard):
    """Proves: 15 x 4 less 5 x 3.8 leaves 4.1 MW for ten minutes."""
    assert guard.look(minutes=5, mean=3.8, latest=4.05) is None
    assert guard.cut == 0.0


def test_what_is_too_much_is_taken_from_charging_first(guard):
    """Proves: 15 x 4 less 5 x 4.1 leaves 3.95 MW for ten minutes; 4.4 MW now is 0.45 too many."""
    orders = guard.look(minutes=5, mean=4.1, latest=4.4)
    assert battery_of(orders) == pytest.approx((0.15, 0.0))
    assert guard.cut == pytest.approx(0.45)
    assert guard.saved == pytest.approx(0.45 * 10 / 15)


def test_then_the_battery_gives_as_much_as_it_can(guard):
    orders = guard.look(minutes=10, mean=4.5, latest=4.5)  # 3 MW are allowed
    assert battery_of(orders) == pytest.approx((0.0, 0.8))
    assert guard.cut == pytest.approx(1.4)


def test_with_room_again_the_plan_is_taken_up_again(guard):
    guard.look(minutes=5, mean=4.1, latest=4.4)
    orders = guard.look(minutes=10, mean=4.0, latest=3.5)  # 4 MW are allowed
    assert battery_of(orders) == pytest.approx((0.6, 0.0))
    assert guard.saved == pytest.approx(0.45 * 5 / 15)


def test_what_is_held_for_others_is_not_spent(guard):
    (battery,) = guard.planned.battery_charge
    guard.spare = {battery: 0.2}
    orders = guard.look(minutes=5, mean=4.1, latest=4.4)
    assert battery_of(orders) == pytest.approx((0.4, 0.0))


def test_small_changes_are_none(guard):
    guard.look(minutes=5, mean=4.1, latest=4.4)
    assert guard.look(minutes=6, mean=4.1, latest=3.95) is None
    assert guard.look(minutes=15, mean=5.0, latest=5.0) is None


def test_what_was_shaved_at_the_start_counts_and_stays(guard):
    """Proves: of 0.5 MW that may go 0.3 are gone, so 0.2 are left; with room the 0.3 stay cut."""
    (battery,) = guard.planned.battery_charge
    watch = Guard(
        site=guard.site, planned=guard.planned, peak=PEAK, spare={battery: 0.5}, least=0.3
    )
    orders = watch.look(minutes=5, mean=4.1, latest=4.4)  # 0.45 MW too many
    assert battery_of(orders) == pytest.approx((0.1, 0.0))
    assert watch.saved == pytest.approx(0.2 * 10 / 15)
    orders = watch.look(minutes=10, mean=3.0, latest=3.0)
    assert battery_of(orders) == pytest.approx((0.3, 0.0))
