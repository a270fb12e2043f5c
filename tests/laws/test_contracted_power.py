"""Power beyond a contract: the largest excess of a month, or the root of all squares."""

import numpy as np
import pytest

from tests.laws.test_tariffs import ABOUT, FIRST, MOVABLE, REST, moved, under
from tests.support.hand import START, outlook, solved
from twin import time_axes
from twin.markets.bills import compute_bill
from twin.markets.tariffs import Tariff


@pytest.mark.parametrize(
    ("rule", "price", "cost"),
    [
        ("greatest", 8.0, 48.0),
        ("greatest", 12.0, 50.0),
        ("root_of_squares", 4.0, 48.0),
        ("root_of_squares", 6.0, 50.0),
    ],
)
def test_power_beyond_a_contract_is_priced(rule, price, cost):
    """Proves: 3 MW contracted, 20 and 10 EUR/MWh: the 4th MW at 10 saves 10.

    By its greatest excess it costs its price: 8 are paid, 12 are not. By the root of the squares of
    the four quarter-hours of an hour it costs twice as much: 4 are paid, 6 are not. Sensitivity: by
    that of all eight quarter-hours, 4 would be 11.3 and not paid.
    """
    plan = solved(contract(rule, price), outlook([20.0, 10.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(cost)
    assert plan.accounts.keys() >= {"excess"}


def contract(rule, price, **rules):
    """Return a site with 3 MW contracted all the time."""
    contracted = [{"period": "rest", "power": "3 MW", "price": "9 EUR/MW"}]
    contracted[0]["excess_price"] = f"{price} EUR/MW"
    return under(excess=rule, **{"periods": [REST], "contracted": contracted} | rules)


@pytest.mark.parametrize(("peak", "cost"), [(0.0, 48.0), (3.5, 44.0), (4.0, 40.0), (9.0, 40.0)])
def test_largest_excess_of_a_month_is_paid_once(peak, cost):
    """Proves: where the month has seen 4 MW, the 4th MW costs nothing more: 40. Sensitivity: 48."""
    plan = solved(contract("greatest", 8.0), outlook([20.0, 10.0], jobs=MOVABLE), peak=peak)
    assert plan.objective == pytest.approx(cost)


def test_excess_is_counted_by_month():
    """Proves: July's 4 MW free nothing in August, where the 4th MW costs 8: 48."""
    ahead = moved(outlook([20.0, 10.0], jobs=MOVABLE), time_axes.to_utc("2026-07-31T23:00"))
    assert solved(contract("greatest", 8.0), ahead, peak=4.0).objective == pytest.approx(48.0)


YEARLY = {
    "power_price": "0 EUR/MW", "energy_price": "0 EUR/MWh",
    "power_price_below": "0 EUR/MW", "energy_price_below": "0 EUR/MWh",
}  # fmt: skip


@pytest.mark.parametrize(("start", "cost"), [("2026-01-15T00:00", 40.0), ("2026-07-15", 48.0)])
def test_peak_of_an_earlier_month_pays_no_excess(start, cost):
    """Proves: the year's 4 MW are January's in January; in July they may be of any month."""
    where = contract("greatest", 8.0, utilisation=YEARLY)
    ahead = moved(outlook([20.0, 10.0], jobs=MOVABLE), time_axes.to_utc(start))
    assert solved(where, ahead, peak=4.0).objective == pytest.approx(cost)


def test_peak_of_another_class_pays_no_excess():
    """Proves: after an hour of the first class, whose contract is 9 MW, 4 MW may be of it: 48.

    Sensitivity: at 40 the plan would exceed a contract that nothing has exceeded.
    """
    other = {"period": "first", "power": "9 MW", "price": "9 EUR/MW"}
    rest = {"period": "rest", "power": "3 MW", "price": "9 EUR/MW", "excess_price": "8 EUR/MW"}
    where = contract("greatest", 8.0, periods=[FIRST, REST], contracted=[other, rest])
    ahead = moved(outlook([20.0, 10.0], jobs=MOVABLE), time_axes.to_utc("2026-07-01T02:00"))
    assert solved(where, ahead, peak=4.0).objective == pytest.approx(48.0)


def test_known_squares_of_the_month_count():
    """Proves: beside one quarter-hour of 1 MW, an hour of 1 MW comes to sqrt(5) - 1 = 1.236 MW.

    By tangents 13/6 - 1 = 1.167: at a root of 8/3 the excess is 3/8 of it, where the tangents at
    1/4 and 1/2 meet: 4/3 + 5/2 (2 x 1/2 - 8/3 x 1/4) = 13/6. Sensitivity: 2 on its own.
    """
    ahead = outlook([10.0], service=4.0)
    plan = solved(contract("root_of_squares", 9.0), ahead, peak=4.0)
    assert plan.objective == pytest.approx(40.0 + 9.0 * 7.0 / 6.0)
    assert plan.accounts["excess"].sum() <= 9.0 * (5.0**0.5 - 1.0)
    alone = solved(contract("root_of_squares", 9.0), ahead)
    assert alone.objective == pytest.approx(40.0 + 9.0 * 2.0)


def test_squares_cost_nothing_without_new_excess():
    """Proves: what was paid before is not paid again: 2 MW below the contract cost 20."""
    plan = solved(contract("root_of_squares", 8.0), outlook([10.0], service=2.0), peak=9.0)
    assert plan.objective == pytest.approx(20.0)
    assert plan.accounts["excess"] == pytest.approx([0.0])


LOADS = {
    "one": np.r_[9.0, np.full(95, 2.0)],
    "all": np.full(96, 5.0),
    "two": np.r_[9.0, 6.0, np.full(94, 3.01)],
    "fiftieth": np.r_[8.0, np.full(95, 3.1)],
    "none": np.full(96, 3.0),
} | {f"seed {seed}": np.random.default_rng(seed).uniform(0.0, 10.0, 96) for seed in range(4)}


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("hours", [0.25, 1.0])
def test_root_of_squares_is_close_below_the_bill(load, hours):
    """Proves: for fixed loads, the plan pays between 0.94 and 1 of the bill.

    A day in the first of two classes until 1:00, its 2 MW exceeded too; in the second 3 MW.
    """
    contracted = [
        {"period": name, "power": power, "price": "0 EUR/MW", "excess_price": "100 EUR/MW"}
        for name, power in (("first", "2 MW"), ("rest", "3 MW"))
    ]
    where = contract("root_of_squares", 0.0, periods=[FIRST, REST], contracted=contracted)
    power = LOADS[load]
    plan = solved(where, outlook(np.zeros(96), hours=hours, service=power))
    taken = np.repeat(power, round(4.0 * hours))
    starts = START + np.arange(len(taken)) * time_axes.QUARTER_HOUR
    billed = float(compute_bill(where.tariffs["sample"], starts, taken, time_zone="UTC").total)
    paid = float(plan.accounts["excess"].sum())
    assert paid <= billed + 0.01 * 2.0  # cents of a line
    assert paid >= 0.94 * billed - 0.01 * 2.0


def test_excess_rule_may_change_between_months():
    """Proves: by the greatest excess in July, by squares from August on: 4 MW at 10 in either.

    In July's last hour the 4th MW costs 8, in August's first 2 x 4 = 8: 48 both ways; at 12, or
    at 2 x 6, it is not taken: 50.
    """
    contracted = {"period": "rest", "power": "3 MW", "price": "9 EUR/MW"}
    for prices, (july, august), cost in (
        ([10.0, 20.0], (8.0, 9.0), 48.0),
        ([20.0, 10.0], (9.0, 4.0), 48.0),
        ([10.0, 20.0], (12.0, 4.0), 50.0),
        ([20.0, 10.0], (8.0, 6.0), 50.0),
    ):
        common = {"periods": [REST], **ABOUT}
        first = Tariff.model_validate(
            common
            | {"name": "old", "valid_from": "2026-01-01", "excess": "greatest"}
            | {"contracted": [contracted | {"excess_price": f"{july} EUR/MW"}]}
        )
        later = Tariff.model_validate(
            common
            | {"name": "new", "valid_from": "2026-08-01", "excess": "root_of_squares"}
            | {"contracted": [contracted | {"excess_price": f"{august} EUR/MW"}]}
        )
        where = under().model_copy(update={"tariffs": {"old": first, "new": later}})
        ahead = moved(outlook(prices, jobs=MOVABLE), time_axes.to_utc("2026-07-31T23:00"))
        assert solved(where, ahead).objective == pytest.approx(cost)


def test_each_class_has_its_own_contract():
    """Proves: 1 MW in the cheap first hour, 10 MW in the other: 1 x 10 + 3 x 20 = 70 EUR.

    Sensitivity: 40 under the other's contract, 160 if 3 MW of excess at 40 were bought.
    """
    rules = {
        "excess": "greatest",
        "periods": [FIRST, REST],
        "contracted": [
            {"period": name, "power": power, "price": "0 EUR/MW", "excess_price": "40 EUR/MW"}
            for name, power in (("first", "1 MW"), ("rest", "10 MW"))
        ],
    }
    plan = solved(under(**rules), outlook([10.0, 20.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(70.0)
    assert plan.values["grid.import_power"] == pytest.approx([1.0, 3.0])
