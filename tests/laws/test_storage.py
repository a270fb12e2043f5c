"""Stores in two or three steps."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from optimizer.diagnostics.binding_limits import soft_constraint_report
from optimizer.diagnostics.sensitivity import limit_values
from optimizer.planner.schedule import build_schedule
from tests.support.hand import battery, grid, machine, outlook, site, solved, tank
from tests.support.reserve_sites import ahead, held_by, product
from tests.support.seeds import seeds
from twin.site_settings import SafetyMargins


@pytest.mark.parametrize(("efficiency", "profit"), [(1.0, 240.0), (0.95, 219.789474)])
def test_arbitrage(efficiency, profit):
    """Proves: 4 MWh are bought at 20 and sold at 80, losses paid at both ends.

    Sensitivity: 240 in both cases without losses; 228 with the loss of one end only.
    """
    where = site(battery(efficiency=efficiency), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([20.0] * 8 + [80.0] * 8))
    assert plan.objective == pytest.approx(-profit, abs=1e-6)


@pytest.mark.slow
def test_wear_prevents_trades_on_small_spreads():
    """Proves: a spread of 8 does not pay for wear of 10. Sensitivity: -8 without wear."""
    where = site(battery(wear_price=10.0), connection=grid(export_limit=10.0))
    assert solved(where, outlook([20.0, 28.0])).objective == pytest.approx(0.0)


def test_full_battery_wastes_nothing_at_negative_prices():
    """Proves: a full battery earns nothing at -100.

    Sensitivity: -19 by charging and discharging at once.
    """
    where = site(battery(capacity=1.0, efficiency=0.9), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([-100.0]), level=1.0)
    assert plan.objective == pytest.approx(0.0, abs=1e-6)
    assert plan.relaxed_objective < -5.0


def test_battery_has_one_direction_at_negative_prices():
    """Proves: a full battery gives 0.81 MWh in one hour at -100 and takes 1 MWh in the next.

    With a load of 1 MW it lets 0.19 and 2 MWh be bought: -219; doing nothing gives -200.
    Sensitivity: -221 if it could do some of both in both hours.
    """
    where = site(battery(capacity=1.0, efficiency=0.9))
    plan = solved(where, outlook([-100.0, -100.0], service=1.0), level=1.0)
    assert plan.objective == pytest.approx(-219.0)
    assert plan.values["battery.discharge"] == pytest.approx([0.81, 0.0])
    assert plan.values["battery.charge"] == pytest.approx([0.0, 1.0])


def test_final_level_has_the_terminal_value():
    """Proves: at a terminal price of 60, a MWh at 50 is bought and kept; at 40 it is not.

    Sensitivity: 0 in both cases if the end level were worth nothing.
    """
    where = site(battery(capacity=1.0))
    assert solved(where, outlook([50.0], terminal=60.0)).objective == pytest.approx(-10.0)
    assert solved(where, outlook([50.0], terminal=40.0)).objective == pytest.approx(0.0)


def test_store_may_start_outside_its_window():
    """Proves: a start beyond the margin is allowed. Sensitivity: infeasible with hard margins."""
    where = site(battery(), margins=site().margins.model_copy(update={"level": 0.1}))
    full, empty = (
        solved(where, outlook([50.0, 50.0], terminal=50.0), level=level) for level in (1.0, 0.0)
    )
    assert full.values["battery.level"].max() <= 4.0 + 1e-9
    assert empty.values["battery.level"].min() >= -1e-9


def test_level_just_beyond_full_is_clipped():
    """Proves: a level 1 % beyond full, as noise causes, is clipped. Sensitivity: infeasible."""
    where = site(battery(), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([50.0]), level=1.01)
    assert plan.values["battery.level"][0] == pytest.approx(4.0)


def reserved(**changes):
    """Return a battery that trades between 1 and 3 of its 4 MWh."""
    return battery().model_copy(update={"reserve": 0.25, "ceiling": 0.75, **changes})


def test_store_below_its_window_is_recharged_first():
    """Proves: of 0 MWh where 1 is kept, a quarter each hour is charged at the least, dear as it is.

    A quarter of 104 + 103 + 102 + 101; then a MWh is bought at 10 and sold at 100: 12.5.
    Sensitivity: moved to 1 MWh it gave at once what it does not have; and a level so far outside
    was refused, so that there was no plan at all.
    """
    where = site(reserved(), connection=grid(export_limit=10.0))
    prices = [104.0, 103.0, 102.0, 101.0, 10.0, 100.0]
    plan = solved(where, outlook(prices), level=-0.5)
    assert plan.values["battery.level"] == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 2.0, 1.0])
    assert plan.objective == pytest.approx(12.5)


def test_store_above_its_window_is_discharged_first():
    """Proves: of 4 MWh where 3 are traded, a quarter an hour is given, though that costs.

    A quarter of 14 + 13 + 12 + 11. Sensitivity: 0 if it could stay, or were taken to be at 3 MWh.
    """
    where = site(reserved(), connection=grid(export_limit=10.0))
    plan = solved(where, outlook([-14.0, -13.0, -12.0, -11.0, -10.0]), level=1.5)
    assert plan.values["battery.level"] == pytest.approx([4.0, 3.75, 3.5, 3.25, 3.0, 3.0])
    assert plan.objective == pytest.approx(12.5)


def test_store_is_recharged_with_the_available_power():
    """Proves: beside 2 MW of racks the connection leaves 0.1 MW, of the 0.25 MW that are meant.

    After four hours it lacks 0.6 of 1 MWh, which is reported. Sensitivity: no plan at all.
    """
    where = site(reserved(), connection=grid(import_limit=2.1))
    plan = solved(where, outlook([100.0] * 4, service=2.0), level=-0.5)
    assert plan.values["battery.level"] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    (violation,) = soft_constraint_report(plan)
    assert violation.target == "return of the store to its window (battery)"
    assert (violation.shortfall, violation.unit) == (pytest.approx(0.6), "MWh")
    assert violation.penalty == pytest.approx(1e4 * (0.15 + 0.3 + 0.45 + 0.6))
    assert violation.payment == 0.0


def test_store_above_its_window_waits_for_load():
    """Proves: racks of 0.1 MW are the only load; 0.6 of 1 MWh of excess are left."""
    where = site(reserved())
    plan = solved(where, outlook([100.0] * 4, service=0.1), level=1.5)
    assert plan.values["battery.level"] == pytest.approx([4.0, 3.9, 3.8, 3.7, 3.6])
    (violation,) = soft_constraint_report(plan)
    assert violation.excess == pytest.approx(0.6)


def test_idle_store_below_its_window_is_allowed():
    """Proves: a battery out of service, with one watt of power left, need not return."""
    where = site(reserved(power=1e-6, standing_loss=0.01))
    assert solved(where, outlook([10.0] * 100), level=-0.25).objective == pytest.approx(0, abs=1e-2)


def test_tank_moves_cooling_to_the_cheap_hour():
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


def exactly(prices, load, of, *, wear, level, export_limit):
    """Return the optimum of a battery beside a load, with binary directions throughout.

    Columns of each hour: charge, discharge, import, export, level, is charging, is importing.
    """
    count, most = len(prices), 10.0
    capacity, power, efficiency = (of[name] for name in ("capacity", "power", "efficiency"))
    cost = np.concatenate([[0.0, wear, price, -price, 0.0, 0.0, 0.0] for price in prices])
    high = np.tile([power, power, most, export_limit, capacity, 1.0, 1.0], count)
    rows, low, top = [], [], []

    def row(terms, least, greatest):
        rows.append(np.zeros(7 * count))
        for place, weight in terms.items():
            rows[-1][place] = weight
        low.append(least)
        top.append(greatest)

    for t in range(count):
        at = 7 * t
        row({at: 1, at + 1: -1, at + 2: -1, at + 3: 1}, -load[t], -load[t])
        before = {at - 3: -1.0} if t else {}
        start = 0.0 if t else level * capacity
        row({at + 4: 1, at: -efficiency, at + 1: 1 / efficiency, **before}, start, start)
        row({at: 1, at + 5: -power}, -np.inf, 0.0)
        row({at + 1: 1, at + 5: power}, -np.inf, power)
        row({at + 2: 1, at + 6: -most}, -np.inf, 0.0)
        row({at + 3: 1, at + 6: export_limit}, -np.inf, export_limit)
    found = milp(
        cost,
        integrality=np.tile([0, 0, 0, 0, 0, 1, 1], count),
        bounds=Bounds(0.0, high),
        constraints=LinearConstraint(np.array(rows), low, top),
        options={"mip_rel_gap": 1e-9},
    )
    return found.fun


@pytest.mark.parametrize("seed", seeds(range(40)))
def test_battery_is_optimal_at_negative_prices(seed):
    """Proves: at prices from -100 to 20, the plan is optimal among those with one direction."""
    rng = np.random.default_rng([seed, 11])
    count = int(rng.integers(2, 7))
    prices, load = rng.uniform(-100.0, 20.0, count).round(), rng.uniform(0.0, 3.0, count).round(1)
    options = {
        "capacity": round(rng.uniform(0.5, 6.0), 1),
        "power": round(rng.uniform(0.3, 3.0), 1),
        "efficiency": float(rng.choice([0.5, 0.8, 0.95])),
    }
    wear, level = float(rng.choice([0.0, 5.0])), round(rng.uniform(), 1)
    export_limit = float(rng.choice([0.0, 1.0, 10.0]))
    plan = solved(
        site(
            battery(wear_price=wear, **options),
            connection=grid(import_limit=10.0, export_limit=export_limit),
        ),
        outlook(prices.tolist(), service=load.tolist()),
        level=level,
    )
    best = exactly(prices, load, options, wear=wear, level=level, export_limit=export_limit)
    assert plan.objective == pytest.approx(best, rel=1e-4, abs=1e-4)


def test_small_battery_does_not_charge_and_discharge():
    where = site(
        battery(capacity=0.04, power=0.04, efficiency=0.5), connection=grid(export_limit=10.0)
    )
    plan = solved(where, outlook([-100.0] * 4), level=1.0)
    ways = plan.values["battery.charge"], plan.values["battery.discharge"]
    assert np.minimum(*ways) == pytest.approx(0.0, abs=1e-5)
    assert plan.objective == pytest.approx(-6.0)  # gives 0.02 once, takes 0.04 twice


def test_self_discharge_is_recharged_at_the_floor():
    """Proves: 10 MWh of which 2 are kept for ride-through, 1 % lost an hour, a week, a dear end:
    what is sold is sold down to 2 MWh, and no further while it rests.

    Sensitivity: 0.94 MWh where what would be left of the start was allowed for.
    """
    lossy = battery(capacity=10.0, power=10.0).model_copy(
        update={"standing_loss": 0.01, "reserve": 0.2}
    )
    where = site(lossy, connection=grid(export_limit=100.0))
    plan = solved(where, outlook([100.0] * 167 + [1000.0]), level=0.375)
    level = plan.values["battery.level"]
    assert level.min() == pytest.approx(2.0)
    assert level[-2:] == pytest.approx([10.0, 2.0])


def test_battery_within_its_margin_keeps_its_level():
    """Proves: at 2.4 MWh, planned down to 2.8 only, it keeps them: 24 kWh are lost an hour."""
    lossy = battery(capacity=10.0, power=10.0).model_copy(
        update={"standing_loss": 0.01, "reserve": 0.2}
    )
    margins = SafetyMargins.model_construct(power=0.0, peak=0.0, temperature=0.0, level=0.1)
    plan = solved(site(lossy, margins=margins), outlook([100.0] * 4), level=0.05)
    assert plan.values["battery.level"] == pytest.approx([2.4] * 5)
    assert plan.objective == pytest.approx(4 * 0.024 * 100.0)


@pytest.mark.parametrize("level", [0.0, 0.05, 0.11])
def test_battery_out_of_service_may_sink_at_its_floor(level):
    """Proves: of 2 to 2.88 MWh, meant to stay above 2.8, it loses a hundredth an hour, all it can.

    Sensitivity: no plan at all, where the watt that is left of it were to charge 20 kW.
    """
    lossy = battery(capacity=10.0, power=1e-6).model_copy(
        update={"standing_loss": 0.01, "reserve": 0.2}
    )
    margins = SafetyMargins.model_construct(power=0.0, peak=0.0, temperature=0.0, level=0.1)
    plan = solved(site(lossy, margins=margins), outlook([100.0] * 4), level=level)
    left = (2.0 + 8.0 * level) * 0.99 ** np.arange(5)
    assert plan.values["battery.level"] == pytest.approx(left, abs=1e-5)


def test_battery_sizing_value_keeps_the_direction():
    """Proves: at -100 EUR/MWh a full battery gives and takes: 90 EUR more for a MWh, 19 for a MW.

    Sensitivity: 2,094 and 1,995 where easing one limit forgot that a battery goes one way.
    """

    def plan(capacity=1.0, power=1.0):
        store = battery(capacity=capacity, power=power, efficiency=0.9)
        ahead = outlook([-100.0, -100.0], service=1.0)
        return solved(site(store, connection=grid(import_limit=100.0)), ahead, level=1.0 / capacity)

    solution = plan()
    worth = {
        one.limit: one.marginal_value for one in limit_values(solution, build_schedule(solution))
    }
    more = 1e-4
    larger = (plan().objective - plan(capacity=1.0 + more).objective) / more
    stronger = (plan().objective - plan(power=1.0 + more).objective) / more
    assert worth["level of the store (battery)"] == pytest.approx(larger, rel=1e-6)
    assert worth["charging (battery)"] == pytest.approx(stronger, rel=1e-6)
    assert (larger, stronger) == pytest.approx((90.0, 19.0))


@pytest.mark.parametrize("sold", [0.0, 0.5])
def test_store_outside_its_window_holds_no_reserve(sold):
    """Proves: 0.1 MW of room bring 0.8 of the 1 MWh that is kept; the FCR sold is reported short.

    Sensitivity: no plan at all; and FCR that nothing stands behind, were that as dear as lateness.
    """
    where = held_by(reserved(), product(), connection=grid(import_limit=2.1))
    plan = solved(where, ahead([100.0] * 8, service=2.0, held=[sold] * 8), level=-0.5)
    assert plan.values["battery.level"] == pytest.approx(0.1 * np.arange(9))
    assert plan.values["battery.capacity_fcr"] == pytest.approx(0.0, abs=1e-6)
    assert plan.values["fcr_reserve.shortfall"] == pytest.approx(sold, abs=1e-6)
