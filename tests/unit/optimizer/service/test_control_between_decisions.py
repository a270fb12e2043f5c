"""Adjustments by the meter between two decisions."""

import numpy as np
import pytest
import xarray as xr

from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from optimizer.service.control_between_decisions import IntraIntervalController
from optimizer.service.plant_orders import storage_requests
from tests.support import moments
from twin.time_axes import MINUTE, QUARTER_HOUR

PEAK = 2.0
BEGIN = np.datetime64("2026-06-16T00:00", "us")


@pytest.fixture
def guarding():
    """Return the controller of a quarter-hour in which the battery charges at 0.6 MW."""
    site = moments.site()
    orders = DispatchOrders(
        jobs={}, battery_charge={"battery_1": 0.6}, battery_discharge={"battery_1": 0}
    )
    watch = IntraIntervalController()
    watch.start_interval(
        BEGIN, MeteringIntervalControl(site=site, planned_orders=orders, uncharged_mean_import=PEAK)
    )
    return watch


def meter(net, age=5.0, water=20.0, water_age=5.0):
    words = {"grid_import_power": max(net, 0.0), "grid_export_power": max(-net, 0.0)}
    words |= {
        f"facility_supply_temperature{end}": ("circuit", [value])
        for end, value in (("", water), ("_age", water_age))
    }
    return xr.Dataset(words | {"grid_import_power_age": age}, {"circuit": ["chilled_plant"]})


def orders_by_minute(watch, nets, step=10.0, age=5.0):
    """Return minute -> orders, while the meter shows each power for 10 s."""
    found = {}
    for i, net in enumerate(nets, start=1):
        now = BEGIN + np.timedelta64(round(i * step), "s")
        if watch.is_due(now):
            orders = watch.adjust_orders(now, meter(net, age))
            if orders is not None:
                found[float((now - BEGIN) / MINUTE)] = orders
    return found


def test_no_adjustment_below_the_peak(guarding):
    assert orders_by_minute(guarding, [1.9] * 89) == {}


def test_coming_peak_is_avoided_within_minutes(guarding):
    """Proves: at 2.4 MW the first update cuts 0.4 MW, the excess of the first minute, and more for
    the plant's delay of ten minutes."""
    (first, orders), *_ = orders_by_minute(guarding, [2.4] * 7).items()
    assert first == 1.0
    left = (15.0 * PEAK - 1.0 * 2.4) / 14.0
    requests = storage_requests(moments.site(), orders)
    assert requests["battery_request", "battery_1"] == pytest.approx(
        0.6 - (2.4 - left) / (1.0 - 10.0 / (2.0 * 14.0))
    )


def test_updates_are_a_minute_apart(guarding):
    nets = [2.4 + 0.2 * (i // 6) for i in range(24)]
    times = list(orders_by_minute(guarding, nets))
    assert (np.diff(times) >= 1.0).all()
    assert len(times) > 1


@pytest.mark.parametrize(("net", "age"), [(np.nan, 5.0), (9.0, 600.0), (9.0, np.nan)])
def test_silent_meter_causes_no_adjustment(guarding, net, age):
    assert orders_by_minute(guarding, [net] * 60, age=age) == {}


def test_repeated_decision_keeps_the_metered_energy(guarding):
    """Proves: after ten minutes at 2.4 MW the mean counts, not the minute since the new orders."""
    seen = []
    orders_by_minute(guarding, [2.4] * 60)
    guard = MeteringIntervalControl(
        site=moments.site(), planned_orders=DispatchOrders(jobs={}), uncharged_mean_import=PEAK
    )
    guard.adjust_to_meter = lambda **orders: seen.append(orders)
    guarding.start_interval(BEGIN, guard)
    now = BEGIN + np.timedelta64(660, "s")
    guarding.adjust_orders(now, meter(1.0))
    assert seen[0]["minutes"] == 11.0
    assert seen[0]["mean"] == pytest.approx(2.4)


def test_silent_minutes_use_the_last_reading(guarding):
    seen = []
    orders_by_minute(guarding, [3.0] * 6)
    guarding._interval_control.adjust_to_meter = lambda **orders: seen.append(orders)
    guarding.adjust_orders(BEGIN + np.timedelta64(600, "s"), meter(1.0))
    assert seen[0]["mean"] == pytest.approx(3.0)


def test_no_update_under_hold_or_after_the_quarter_hour(guarding):
    assert not guarding.is_due(BEGIN + np.timedelta64(15, "m"))
    guarding.stop()
    assert not guarding.is_due(BEGIN + MINUTE)
    assert guarding.adjust_orders(BEGIN + MINUTE, meter(9.0)) is None


def filling(believed):
    """Return the controller of a quarter-hour in which the tank charges, and its water limit."""
    site, watch = moments.site(), IntraIntervalController()
    orders = DispatchOrders(jobs={}, tank_charge={"tank_1": 2.0})
    limit = site.equipment["chilled_plant"].supply_limit
    watch.start_interval(
        BEGIN,
        MeteringIntervalControl(site=site, planned_orders=orders, uncharged_mean_import=PEAK),
        {"chilled_plant": believed},
    )
    return watch, limit


@pytest.mark.parametrize(
    ("age", "is_moved"), [(5.0, True), (90.0, True), (91.0, False), (np.nan, False)]
)
@pytest.mark.parametrize("net", [1.0, np.nan])
def test_tank_discharges_for_warm_water_without_a_meter(net, age, is_moved):
    """Proves: of a sensor that is 1 K off, a rise of 4 K in ten minutes counts as 4 K."""
    watch, limit = filling(18.0)
    assert watch.adjust_orders(BEGIN + MINUTE, meter(net, water=19.0, water_age=5.0)) is None
    orders = watch.adjust_orders(BEGIN + 10 * MINUTE, meter(net, water=23.0, water_age=age))
    assert (orders is not None) == is_moved
    if orders is not None:
        assert limit < 18.0 + 4.0
        assert storage_requests(moments.site(), orders)["tank_request", "tank_1"] < 0.0


def test_faulty_sensor_moves_no_tank():
    """Proves: a constant error of 10 K changes nothing. Sensitivity: the tank was emptied."""
    watch, _ = filling(18.0)
    for minute in range(1, 15):
        assert watch.adjust_orders(BEGIN + minute * MINUTE, meter(1.0, water=28.0)) is None


def test_each_quarter_hour_starts_from_its_estimate():
    """Proves: a rise of 3 K before is in the estimate and does not count twice.

    Sensitivity: the change since the service began was added to each new estimate.
    """
    watch, _ = filling(15.0)
    assert watch.adjust_orders(BEGIN + MINUTE, meter(1.0, water=15.0)) is None
    assert watch.adjust_orders(BEGIN + 14 * MINUTE, meter(1.0, water=18.0)) is None
    orders = DispatchOrders(jobs={}, tank_charge={"tank_1": 0.2})
    guard = MeteringIntervalControl(
        site=moments.site(), planned_orders=orders, uncharged_mean_import=PEAK
    )
    watch.start_interval(BEGIN + QUARTER_HOUR, guard, {"chilled_plant": 18.0})
    assert watch.adjust_orders(BEGIN + QUARTER_HOUR + MINUTE, meter(1.0, water=18.0)) is None


def test_unplanned_adjustments_are_described(guarding):
    soon = BEGIN + 2 * MINUTE
    assert guarding.describe_adjustments(soon) == ""
    orders_by_minute(guarding, [2.4] * 7)
    said = "the meter shows 2.4 MW from the grid: batteries reduce it by 0."
    assert guarding.describe_adjustments(soon).startswith(said)
    assert guarding.describe_adjustments(BEGIN + QUARTER_HOUR) == ""
    guarding.stop()
    assert guarding.describe_adjustments(soon) == ""
