"""Control within a quarter-hour: worked by hand."""

from functools import partial

import numpy as np
import pytest

from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import TANK_CHARGING_SUPPLY_TOLERANCE_K, DispatchOrders
from tests.support import small_days

PEAK = 4.0


@pytest.fixture
def guard():
    """Return the guard of a quarter-hour in which a battery of 0.8 MW charges with 0.6 MW."""
    site = small_days.problem(1).site
    (battery,) = (store.owner for store in site.stores if store.carrier == "medium_voltage")
    orders = DispatchOrders(
        jobs={}, battery_charge={battery: 0.6}, battery_discharge={battery: 0.0}
    )
    return MeteringIntervalControl(site=site, planned_orders=orders, uncharged_mean_import=PEAK)


def battery_of(orders):
    (charge,), (discharge,) = orders.battery_charge.values(), orders.battery_discharge.values()
    return charge, discharge


def test_orders_stay_when_there_is_room(guard):
    """Proves: 15 x 4 less 5 x 3.8 leaves 4.1 MW for ten minutes."""
    assert guard.adjust_to_meter(minutes=5, mean=3.8, latest=3.8) is None
    assert guard.total_reduction == 0.0


def test_charging_is_reduced_first(guard):
    """Proves: 15 x 4 less 5 x 4.1 leaves 3.95 MW; half of what is ordered counts in ten minutes."""
    orders = guard.adjust_to_meter(minutes=5, mean=4.1, latest=4.1)
    assert battery_of(orders) == pytest.approx((0.3, 0.0))
    assert guard.total_reduction == pytest.approx(0.3)
    assert guard.mean_reduction == pytest.approx(0.3 / 2 * 10 / 15)


def test_rise_is_extrapolated(guard):
    """Proves: 0.2 MW a minute for 3 minutes: 4.1 MW become 4.61 MW in the mean of the ten left."""
    guard.adjust_to_meter(minutes=5, mean=3.6, latest=4.1)
    assert guard.total_reduction == pytest.approx((4.61 - 4.2) / 0.5)


def test_battery_then_discharges_at_full_power(guard):
    orders = guard.adjust_to_meter(minutes=10, mean=4.5, latest=4.5)  # 3 MW are allowed
    assert battery_of(orders) == pytest.approx((0.0, 0.8))
    assert guard.total_reduction == pytest.approx(1.4)


def test_import_limit_is_kept_every_minute(guard):
    """Proves: 3.5 MW rising by 0.2 a minute are 0.1 beyond 4 MW in three: 0.1 x 10/3 are ordered.

    The peak has room: 15 x 9 MW. Sensitivity: import broke the limit while the sun set.
    """
    guard.uncharged_mean_import, guard.import_limit = 9.0, 4.0
    guard.adjust_to_meter(minutes=5, mean=3.0, latest=3.5)
    assert guard.total_reduction == pytest.approx(0.1 * 10 / 3)


def test_shaving_keeps_the_export_limit(guard):
    """Proves: the export limit is kept also when the peak cannot be kept.

    4.5 MW now, and 3.8 at least: 0.7 may be shaved. Where import goes down to 4.2 by itself, 0.4.
    """
    guard.export_limit = -3.8
    orders = guard.adjust_to_meter(minutes=10, mean=4.5, latest=4.5)
    assert battery_of(orders) == pytest.approx((0.0, 0.1))
    assert guard.total_reduction == pytest.approx(0.7)


def test_expected_fall_of_import_is_not_shaved(guard):
    """Proves: half of the fall from 5 to 4 MW comes after minute 5, so 0.2 of 4.5 MW are free."""
    guard.initial_import, guard.expected_import, guard.export_limit = 5.0, 4.0, -3.8
    guard.adjust_to_meter(minutes=5, mean=4.75, latest=4.5)
    assert guard.total_reduction == pytest.approx(0.2)


def test_unforeseen_import_can_be_shaved(guard):
    """Sensitivity: a bound computed from expectations allowed a visible peak.

    4.5 MW where 4 were expected, from begin on: 0.7 above 3.8.
    """
    guard.initial_import, guard.expected_import, guard.export_limit = 4.0, 4.0, -3.8
    guard.adjust_to_meter(minutes=10, mean=4.5, latest=4.5)
    assert guard.total_reduction == pytest.approx(0.7)


def test_plant_ordered_below_the_limit_is_not_corrected(guard):
    """Proves: 5 MW ordered down to 3.5 MW pass the limit of 4 MW without help.

    Sensitivity: at minute 1 all batteries were ordered to discharge.
    """
    guard.uncharged_mean_import, guard.import_limit, guard.initial_import, guard.expected_import = (
        9.0,
        4.0,
        5.0,
        3.5,
    )
    assert guard.adjust_to_meter(minutes=1, mean=4.9, latest=4.85) is None
    guard.adjust_to_meter(minutes=6, mean=4.7, latest=4.6)  # 4.1 were due
    assert guard.total_reduction > 0.1


def test_plan_is_resumed_when_there_is_room(guard):
    """Proves: half of 0.3 MW is reached in 5 minutes, and half of that is taken back."""
    guard.adjust_to_meter(minutes=5, mean=4.1, latest=4.1)
    orders = guard.adjust_to_meter(minutes=10, mean=4.0, latest=3.5)  # 4 MW are allowed
    assert battery_of(orders) == pytest.approx((0.6, 0.0))
    assert guard.mean_reduction == pytest.approx((0.3 / 4 * 5 + 0.15 * 3 / 4 * 5) / 15)


def test_reserved_power_is_not_used(guard):
    (battery,) = guard.planned_orders.battery_charge
    guard.discharge_margin = {battery: 0.2}
    orders = guard.adjust_to_meter(minutes=5, mean=4.1, latest=4.1)
    assert battery_of(orders) == pytest.approx((0.4, 0.0))


def test_small_changes_are_ignored(guard):
    guard.adjust_to_meter(minutes=5, mean=4.1, latest=4.1)
    assert guard.adjust_to_meter(minutes=6, mean=4.1, latest=4.07) is None
    assert guard.adjust_to_meter(minutes=15, mean=5.0, latest=5.0) is None


def test_shaving_from_the_start_counts_and_stays(guard):
    """Proves: 0.3 of 0.5 MW are used, so 0.2 MW are left; with room the 0.3 MW stay."""
    (battery,) = guard.planned_orders.battery_charge
    watch = MeteringIntervalControl(
        site=guard.site,
        planned_orders=guard.planned_orders,
        uncharged_mean_import=PEAK,
        discharge_margin={battery: 0.5},
        shed_from_start=0.3,
    )
    orders = watch.adjust_to_meter(minutes=5, mean=4.1, latest=4.1)  # 0.15 MW too many
    assert battery_of(orders) == pytest.approx((0.1, 0.0))
    assert watch.mean_reduction == pytest.approx(0.2 / 2 * 10 / 15)
    orders = watch.adjust_to_meter(minutes=10, mean=3.0, latest=3.0)
    assert battery_of(orders) == pytest.approx((0.3, 0.0))


@pytest.fixture
def filling():
    """Return the guard of a quarter-hour in which tank and battery charge, with 0.2 and 0.6 MW."""
    site = small_days.problem(1).site
    orders = DispatchOrders(jobs={}, tank_charge={"tank_1": 0.2}, battery_charge={"battery_1": 0.6})
    return MeteringIntervalControl(site=site, planned_orders=orders, uncharged_mean_import=PEAK)


def warmth(site, share):
    """Return water at a share of the way from where charging begins to yield to where it ends."""
    plant = site.equipment["chilled_plant"]
    first, last = (
        plant.supply_temperature + TANK_CHARGING_SUPPLY_TOLERANCE_K,
        plant.supply_limit - site.margins.temperature,
    )
    return {"chilled_plant": first + share * (last - first)}


def test_tank_charging_falls_within_the_interval_for_good(filling):
    """Proves: shares refer to the planned charge, whatever was reduced before."""
    at = partial(warmth, filling.site)
    assert filling.adjust_to_water(at(0.0)) is None
    assert filling.adjust_to_water(at(0.25)).tank_charge["tank_1"] == pytest.approx(0.15)
    assert filling.adjust_to_water(at(0.5)).tank_charge["tank_1"] == pytest.approx(0.1)
    assert filling.adjust_to_water(at(0.1)) is None
    assert filling.adjust_to_water(at(0.52)) is None  # less than is worth an order
    beyond = filling.adjust_to_water(at(2.0))
    assert beyond.tank_charge["tank_1"] == 0.0
    assert beyond.tank_discharge["tank_1"] > 0.0


def test_guard_combines_water_and_meter(filling):
    """Proves: each keeps the changes of the other."""
    shaved = filling.adjust_to_meter(minutes=5, mean=4.1, latest=4.1)
    both = filling.adjust_to_water(warmth(filling.site, 0.5))
    assert both.battery_charge == shaved.battery_charge
    again = filling.adjust_to_meter(minutes=10, mean=4.0, latest=3.5)
    assert again.tank_charge == both.tank_charge


@pytest.mark.parametrize("apart", [1, 3])
@pytest.mark.parametrize(("first", "last"), [(3.4, 4.7), (4.1, 4.2), (4.4, 4.0), (3.9, 4.3)])
def test_slow_plant_keeps_its_peak(guard, apart, first, last):
    """Proves: on any path the mean import ends at most 2 % above the peak."""
    minutes, moved, begin, at = np.arange(1, 16), 0.0, 0.0, 0
    shown = []
    for minute, bare in zip(minutes, np.interp(minutes, [0, 10], [first, last]), strict=True):
        shown.append(bare - _turned(begin, guard.total_reduction, minute - at))
        if minute % apart or minute == 15:
            continue
        moved = _turned(begin, guard.total_reduction, minute - at)
        if guard.adjust_to_meter(minutes=minute, mean=np.mean(shown), latest=shown[-1]):
            begin, at = moved, minute
    assert np.mean(shown) == pytest.approx(PEAK, abs=0.02 * PEAK)
    assert np.interp(minutes, [0, 10], [first, last]).mean() > PEAK


def _turned(begin, goal, minutes):
    return begin + (goal - begin) * min(minutes / 10, 1.0)
