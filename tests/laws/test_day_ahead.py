"""Day-ahead positions, their imbalance and intraday trades."""

import pytest

from tests.support.contract_sites import MOVABLE, position, with_words
from tests.support.hand import grid, outlook, site, solved


def in_position(prices, held, *, service=0.0, jobs=(), **imbalance):
    ahead = outlook(prices, service=service, jobs=jobs)
    return with_words(ahead, day_ahead_position=held, position_held=1.0, **imbalance)


def test_matching_position_costs_its_price():
    """Proves: 3 MWh bought at 50 and taken: 150. Sensitivity: 150 plus any imbalance."""
    ahead = in_position([50.0], 3.0, service=3.0)
    assert solved(site(position(imbalance_spread=30.0)), ahead).objective == pytest.approx(150.0)


def test_long_position_is_settled_below_day_ahead():
    """Proves: 4 bought at 50, 3 taken, 1 left at 40: 200 - 40. Sensitivity: 150 without it."""
    imbalance = {"imbalance_short_price": 70.0, "imbalance_long_price": 40.0}
    plan = solved(site(position()), in_position([50.0], 4.0, service=3.0, **imbalance))
    assert plan.objective == pytest.approx(160.0)
    assert plan.accounts["electricity"] == pytest.approx([150.0])
    assert plan.accounts["imbalance"] == pytest.approx([10.0])


def test_short_position_is_settled_above_day_ahead():
    """Proves: 2 bought at 50, 3 taken, 1 short at 70: 170. Sensitivity: 150, or 140 as long."""
    imbalance = {"imbalance_short_price": 70.0, "imbalance_long_price": 40.0}
    plan = solved(site(position()), in_position([50.0], 2.0, service=3.0, **imbalance))
    assert plan.objective == pytest.approx(170.0)


def test_negative_prices_are_settled_alike():
    """Proves: 4 bought at -20, 3 taken, 1 left at -60: -80 + 60. Sensitivity: -60 or -140."""
    imbalance = {"imbalance_short_price": 0.0, "imbalance_long_price": -60.0}
    plan = solved(site(position()), in_position([-20.0], 4.0, service=3.0, **imbalance))
    assert plan.objective == pytest.approx(-20.0)


def test_seller_is_short_if_it_exports_less():
    """Proves: 3 MW sold at 50 and nothing given: -150 + 3 x 80. Sensitivity: 0 or 240."""
    imbalance = {"imbalance_short_price": 80.0, "imbalance_long_price": 20.0}
    where = site(position(), connection=grid(export_limit=5.0))
    plan = solved(where, in_position([50.0], -3.0, **imbalance))
    assert plan.objective == pytest.approx(90.0)


def test_single_imbalance_price_moves_work():
    """Proves: 2 + 2 MWh bought at 50; at imbalance of 70 and 30 all is done in the second hour.

    200 - 2 x 70 + 2 x 30 = 120. Sensitivity: 200 at the position.
    """
    one = [70.0, 30.0]
    imbalance = {"imbalance_short_price": one, "imbalance_long_price": one}
    plan = solved(site(position()), in_position([50.0, 50.0], 2.0, jobs=MOVABLE, **imbalance))
    assert plan.objective == pytest.approx(120.0)
    assert plan.values["grid.import_power"] == pytest.approx([0.0, 4.0])


def test_missing_imbalance_prices_use_the_spread():
    """Proves: 1 MWh short at 50 + 30: 100 + 80; 1 MWh long at 50 - 30: 200 - 20."""
    where = site(position(imbalance_spread=30.0))
    assert solved(where, in_position([50.0], 2.0, service=3.0)).objective == pytest.approx(180.0)
    assert solved(where, in_position([50.0], 4.0, service=3.0)).objective == pytest.approx(180.0)


def test_hours_without_position_cost_the_day_ahead_price():
    """Proves: only the first of two hours is held: 1 MWh long at 20, then 3 at 50.

    200 - 20 + 150 = 330. Sensitivity: 410 if 0 MW were taken for a position.
    """
    ahead = in_position([50.0, 50.0], [4.0, 0.0], service=3.0)
    ahead = with_words(ahead, position_held=[1.0, 0.0])
    plan = solved(site(position(imbalance_spread=30.0)), ahead)
    assert plan.objective == pytest.approx(330.0)


def test_tradable_energy_is_not_imbalance():
    """Proves: an hour ahead 1 MWh is bought at 60 + 2; the gate of the first hour is closed.

    First hour: 100 + 90; second: 100 + 62. Sensitivity: 380 without trades, 324 without a gate.
    """
    market = position(intraday_limit=5.0, intraday_spread=2.0, gate_closure=1.0)
    imbalance = {
        "imbalance_short_price": 90.0, "imbalance_long_price": 10.0, "intraday_price": 60.0,
    }  # fmt: skip
    plan = solved(site(market), in_position([50.0, 50.0], 2.0, service=3.0, **imbalance))
    assert plan.objective == pytest.approx(352.0)
    assert plan.values["market.bought"] == pytest.approx([0.0, 1.0])
    assert plan.accounts["intraday"] == pytest.approx([0.0, 12.0])


def test_surplus_position_is_sold():
    """Proves: 4 bought at 50, 3 taken, 1 sold at 60 - 2: 200 - 58. Sensitivity: 190 as long."""
    market = position(intraday_limit=5.0, intraday_spread=2.0, gate_closure=0.0)
    imbalance = {
        "imbalance_short_price": 90.0, "imbalance_long_price": 10.0, "intraday_price": 60.0,
    }  # fmt: skip
    plan = solved(site(market), in_position([50.0], 4.0, service=3.0, **imbalance))
    assert plan.objective == pytest.approx(142.0)


def test_no_energy_is_bought_only_for_imbalance():
    """Proves: imbalance at 80 over intraday at 60 earns nothing: 100. Sensitivity: 10 at 5 MW."""
    market = position(intraday_limit=5.0, intraday_spread=2.0, gate_closure=0.0)
    imbalance = {
        "imbalance_short_price": 85.0, "imbalance_long_price": 80.0, "intraday_price": 60.0,
    }  # fmt: skip
    plan = solved(site(market), in_position([50.0], 2.0, service=2.0, **imbalance))
    assert plan.objective == pytest.approx(100.0)
    assert plan.values["market.bought"] == pytest.approx([0.0])
