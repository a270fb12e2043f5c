"""Promises: load targets, a day-ahead position and its imbalance, budgets, matched hours."""

import numpy as np
import pytest

from optimizer.build import shape_of
from optimizer.inputs import inputs_of
from tests.math.hand import battery, grid, machine, outlook, problem, site, solved, through
from twin import vocabulary
from twin.equipment.contracts import (
    CarbonBudget,
    DayAhead,
    HourlyMatching,
    LoadTargetContract,
    WaterBudget,
)
from twin.promises import HARD

MOVABLE = [("batch", [0.0, 4.0], [4.0, 4.0], 10.0)]
"""4 MWh that may be done in either of two hours."""
YEAR = 8760.0


def asked(**changes):
    given = {"name": "tso", "up_price": 50.0, **changes}
    return LoadTargetContract.model_construct(**given)


def with_target(ahead, target, *, price=50.0, contract="tso"):
    """Return an outlook with what a partner asks."""
    words = {
        "grid_import_target": np.asarray(target, float)[:, None],
        "grid_import_target_price": np.full((len(target), 1), price),
    }
    found = {name: (("time", "contract"), values) for name, values in words.items()}
    return vocabulary.tag_all(ahead.assign(found).assign_coords(contract=[contract]))


def with_words(ahead, **words):
    found = {
        name: ("time", np.broadcast_to(np.asarray(values, float), ahead.sizes["time"]))
        for name, values in words.items()
    }
    return vocabulary.tag_all(ahead.assign(found))


def position(**changes):
    given = {"name": "market", "intraday_limit": 0.0, **changes}
    return DayAhead.model_construct(**given)


# --- load targets


def test_a_target_is_kept_where_that_is_cheaper():
    """Proves: 3 MW asked in the cheap hour at 50: 3 MWh at 10 and 1 at 20. Sensitivity: 40."""
    ahead = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 3.0])
    plan = solved(site(asked()), ahead)
    assert plan.objective == pytest.approx(50.0)
    assert plan.values["grid.import_power"] == pytest.approx([1.0, 3.0])
    assert "targets" not in plan.accounts or plan.accounts["targets"] == pytest.approx([0.0, 0.0])


def test_a_target_that_costs_less_than_to_keep_it_is_paid():
    """Proves: at 5 EUR/MWh the fourth MWh stays where it is 10 cheaper: 40 + 5.

    Sensitivity: 50 if the target were kept at any price.
    """
    ahead = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 3.0], price=5.0)
    plan = solved(site(asked()), ahead)
    assert plan.objective == pytest.approx(45.0)
    assert plan.accounts["targets"] == pytest.approx([0.0, 5.0])
    assert plan.values["tso.above"] == pytest.approx([0.0, 1.0])


def test_a_target_below_what_must_be_served_is_paid_not_infeasible():
    """Proves: a service of 5 MW over 3 MW asked costs 50 + 2 x 50. Sensitivity: infeasible."""
    plan = solved(site(asked()), with_target(outlook([10.0], service=5.0), [3.0]))
    assert plan.objective == pytest.approx(150.0)


def test_an_infinite_price_is_hard_as_far_as_it_can_be():
    """Proves: 5 MW served over 3 MW that must not be exceeded: 2 MWh of breach are told.

    Sensitivity: infeasible, or no price at all.
    """
    plan = solved(site(asked()), with_target(outlook([10.0], service=5.0), [3.0], price=np.inf))
    assert plan.values["tso.above"] == pytest.approx([2.0])
    assert plan.accounts["targets"] == pytest.approx([2.0 * HARD["net_import"]])


def test_no_target_goes_below_the_least_of_its_contract():
    """Proves: 1 MW is asked, 3 MW are the least: 50. Sensitivity: 70 at 1 MW."""
    ahead = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 1.0])
    assert solved(site(asked(least=3.0)), ahead).objective == pytest.approx(50.0)


def test_a_target_below_zero_asks_for_export():
    """Proves: -2 MW asked at 50: the battery gives 2 MWh at a wear of 5 each: 10.

    Sensitivity: nothing is given, and nothing paid, if the target were taken for 0; 100 if it were
    paid. With 1 MW at the least, there is nothing to give.
    """
    cell = battery(power=2.0, wear_price=5.0)
    ahead = with_target(outlook([0.0]), [-2.0])
    connection = grid(export_limit=5.0)
    plan = solved(site(asked(), cell, connection=connection), ahead, level=1.0)
    assert plan.values["grid.export_power"] == pytest.approx([2.0])
    assert plan.objective == pytest.approx(10.0)
    assert plan.accounts["targets"] == pytest.approx([0.0])
    firm = solved(site(asked(least=1.0), cell, connection=connection), ahead, level=1.0)
    assert firm.objective == pytest.approx(0.0)


def test_a_target_below_zero_that_cannot_be_kept_is_paid():
    """Proves: of -2 MW the battery of 1 MW gives one: 5 of wear and 50 for the other MWh."""
    cell, ahead = battery(wear_price=5.0), with_target(outlook([0.0]), [-2.0])
    plan = solved(site(asked(), cell, connection=grid(export_limit=5.0)), ahead, level=1.0)
    assert plan.objective == pytest.approx(55.0)


def test_a_target_is_kept_at_negative_prices():
    """Proves: -20 for each MWh does not outweigh 50: 3 x -20 + 10. Sensitivity: -80."""
    ahead = with_target(outlook([10.0, -20.0], jobs=MOVABLE), [np.inf, 3.0])
    assert solved(site(asked()), ahead).objective == pytest.approx(-50.0)


def test_a_target_of_quarter_hours_is_a_power():
    """Proves: 1 MW above for a quarter-hour is 0.25 MWh: 4 x 0.25 x 10 + 0.25 x 50 = 22.5."""
    ahead = with_target(outlook([10.0], service=4.0, hours=0.25), [3.0])
    assert solved(site(asked()), ahead).objective == pytest.approx(22.5)


def test_of_two_partners_the_tighter_binds():
    """Proves: 4 and 3 MW asked of one hour: 3 are taken, 50. Sensitivity: 40 under the looser."""
    first = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 4.0])
    both = first.reindex(contract=["tso", "dso"])
    both["grid_import_target"][:, 1] = [np.inf, 3.0]
    both["grid_import_target_price"][:, 1] = 50.0
    assert solved(site(asked(), asked(name="dso")), both).objective == pytest.approx(50.0)


def test_a_contract_without_words_leaves_the_model_as_it_is():
    ahead = outlook([20.0, 10.0], jobs=MOVABLE)
    plain, contracted = (
        shape_of(inputs_of(problem(where, ahead))) for where in (site(), site(asked(), position()))
    )
    assert plain == contracted


# --- a position


def in_position(prices, held, *, service=0.0, jobs=(), **words):
    ahead = outlook(prices, service=service, jobs=jobs)
    return with_words(ahead, day_ahead_position=held, position_held=1.0, **words)


def test_a_position_that_fits_costs_its_price():
    """Proves: 3 MWh bought at 50 and taken: 150. Sensitivity: 150 plus any imbalance."""
    ahead = in_position([50.0], 3.0, service=3.0)
    assert solved(site(position(imbalance_spread=30.0)), ahead).objective == pytest.approx(150.0)


def test_to_be_long_is_settled_below_the_day_ahead_price():
    """Proves: 4 bought at 50, 3 taken, 1 left at 40: 200 - 40. Sensitivity: 150 without it."""
    words = {"imbalance_short_price": 70.0, "imbalance_long_price": 40.0}
    plan = solved(site(position()), in_position([50.0], 4.0, service=3.0, **words))
    assert plan.objective == pytest.approx(160.0)
    assert plan.accounts["electricity"] == pytest.approx([150.0])
    assert plan.accounts["imbalance"] == pytest.approx([10.0])


def test_to_be_short_is_settled_above_it():
    """Proves: 2 bought at 50, 3 taken, 1 short at 70: 170. Sensitivity: 150, or 140 as long."""
    words = {"imbalance_short_price": 70.0, "imbalance_long_price": 40.0}
    plan = solved(site(position()), in_position([50.0], 2.0, service=3.0, **words))
    assert plan.objective == pytest.approx(170.0)


def test_negative_prices_are_settled_alike():
    """Proves: 4 bought at -20, 3 taken, 1 left at -60: -80 + 60. Sensitivity: -60 or -140."""
    words = {"imbalance_short_price": 0.0, "imbalance_long_price": -60.0}
    plan = solved(site(position()), in_position([-20.0], 4.0, service=3.0, **words))
    assert plan.objective == pytest.approx(-20.0)


def test_a_site_that_sold_is_short_if_it_gives_less():
    """Proves: 3 MW sold at 50 and nothing given: -150 + 3 x 80. Sensitivity: 0 or 240."""
    words = {"imbalance_short_price": 80.0, "imbalance_long_price": 20.0}
    where = site(position(), connection=grid(export_limit=5.0))
    plan = solved(where, in_position([50.0], -3.0, **words))
    assert plan.objective == pytest.approx(90.0)


def test_one_price_of_imbalance_moves_work_to_where_it_is_low():
    """Proves: 2 + 2 MWh bought at 50; at imbalance of 70 and 30 all is done in the second hour.

    200 - 2 x 70 + 2 x 30 = 120. Sensitivity: 200 at the position.
    """
    one = [70.0, 30.0]
    words = {"imbalance_short_price": one, "imbalance_long_price": one}
    plan = solved(site(position()), in_position([50.0, 50.0], 2.0, jobs=MOVABLE, **words))
    assert plan.objective == pytest.approx(120.0)
    assert plan.values["grid.import_power"] == pytest.approx([0.0, 4.0])


def test_without_prices_imbalance_is_worse_by_its_spread():
    """Proves: 1 MWh short at 50 + 30: 100 + 80; 1 MWh long at 50 - 30: 200 - 20."""
    where = site(position(imbalance_spread=30.0))
    assert solved(where, in_position([50.0], 2.0, service=3.0)).objective == pytest.approx(180.0)
    assert solved(where, in_position([50.0], 4.0, service=3.0)).objective == pytest.approx(180.0)


def test_hours_without_a_position_cost_the_day_ahead_price():
    """Proves: only the first of two hours is held: 1 MWh long at 20, then 3 at 50.

    200 - 20 + 150 = 330. Sensitivity: 410 if 0 MW were taken for a position.
    """
    ahead = in_position([50.0, 50.0], [4.0, 0.0], service=3.0)
    ahead = with_words(ahead, position_held=[1.0, 0.0])
    plan = solved(site(position(imbalance_spread=30.0)), ahead)
    assert plan.objective == pytest.approx(330.0)


def test_what_can_be_traded_is_no_imbalance():
    """Proves: an hour ahead 1 MWh is bought at 60 + 2; the gate of the first hour is closed.

    First hour: 100 + 90; second: 100 + 62. Sensitivity: 380 without trades, 324 without a gate.
    """
    market = position(intraday_limit=5.0, intraday_spread=2.0, gate_closure=1.0)
    words = {
        "imbalance_short_price": 90.0, "imbalance_long_price": 10.0, "intraday_price": 60.0,
    }  # fmt: skip
    plan = solved(site(market), in_position([50.0, 50.0], 2.0, service=3.0, **words))
    assert plan.objective == pytest.approx(352.0)
    assert plan.values["market.bought"] == pytest.approx([0.0, 1.0])
    assert plan.accounts["intraday"] == pytest.approx([0.0, 12.0])


def test_what_is_too_much_is_sold():
    """Proves: 4 bought at 50, 3 taken, 1 sold at 60 - 2: 200 - 58. Sensitivity: 190 as long."""
    market = position(intraday_limit=5.0, intraday_spread=2.0, gate_closure=0.0)
    words = {
        "imbalance_short_price": 90.0, "imbalance_long_price": 10.0, "intraday_price": 60.0,
    }  # fmt: skip
    plan = solved(site(market), in_position([50.0], 4.0, service=3.0, **words))
    assert plan.objective == pytest.approx(142.0)


def test_nobody_buys_only_to_be_long():
    """Proves: imbalance at 80 over intraday at 60 earns nothing: 100. Sensitivity: 10 at 5 MW."""
    market = position(intraday_limit=5.0, intraday_spread=2.0, gate_closure=0.0)
    words = {
        "imbalance_short_price": 85.0, "imbalance_long_price": 80.0, "intraday_price": 60.0,
    }  # fmt: skip
    plan = solved(site(market), in_position([50.0], 2.0, service=2.0, **words))
    assert plan.objective == pytest.approx(100.0)
    assert plan.values["market.bought"] == pytest.approx([0.0])


# --- a limit that is not firm


def test_a_limit_that_is_not_firm_holds_hard():
    """Proves: 3 MW are left of the connection in the cheap hour: 50. Sensitivity: 40."""
    ahead = with_words(outlook([20.0, 10.0], jobs=MOVABLE), grid_import_limit=[np.inf, 3.0])
    plan = solved(site(), ahead)
    assert plan.objective == pytest.approx(50.0)


# --- budgets and matched hours


def test_a_carbon_budget_is_kept_by_the_horizon_as_a_whole():
    """Proves: of 1000 kg, 1 of 4 MWh goes to the clean hour: 30 + 20; (100 + 3 x 300) kg.

    Sensitivity: 40 without a budget.
    """
    budget = CarbonBudget.model_construct(name="cap", amount=1000.0 * YEAR / 2.0, price=1.0)
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=[100.0, 300.0])
    plan = solved(site(budget), ahead)
    assert plan.objective == pytest.approx(50.0)
    assert plan.values["cap.above"] == pytest.approx([0.0])


def test_what_is_beyond_a_budget_is_paid():
    """Proves: all in the clean hour, 400 kg of 200 at 0.5: 80 + 100. Sensitivity: 40 or none."""
    budget = CarbonBudget.model_construct(name="cap", amount=200.0 * YEAR / 2.0, price=0.5)
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=[100.0, 300.0])
    plan = solved(site(budget), ahead)
    assert plan.objective == pytest.approx(180.0)
    assert plan.values["cap.above"] == pytest.approx([200.0])
    assert sum(plan.accounts["budgets"]) == pytest.approx(100.0)


def test_a_budget_by_the_day_is_kept_each_day():
    """Proves: 72 of 96 MWh fit the second, cheap day at 1 kg each; 24 go to the first.

    24 x 20 + 72 x 10 = 1200. Sensitivity: 960 with a budget of the whole horizon.
    """
    budget = CarbonBudget.model_construct(
        name="cap", amount=72.0 * 365.0, price=100.0, window="day"
    )
    jobs = [("batch", [0.0, 96.0], [96.0, 96.0], 10.0)]
    ahead = outlook([20.0, 10.0], jobs=jobs, carbon=1.0, hours=24.0)
    assert solved(site(budget), ahead).objective == pytest.approx(1200.0)
    whole = budget.model_copy(update={"window": "horizon"})
    assert solved(site(whole), ahead).objective == pytest.approx(960.0)


def test_a_water_budget_moves_work_to_dry_hours():
    """Proves: cooling draws 1 m3/MWh; 2 of 4 m3 are free, 3 EUR/m3 beyond: 40 + 6."""
    thirsty = machine(
        "cooler", "air", draws={"medium_voltage": lambda q: 0.0 * q, "water": through}
    )
    budget = WaterBudget.model_construct(name="well", amount=2.0 * YEAR / 2.0, price=3.0)
    plan = solved(site(budget, cooler=thirsty), outlook([20.0, 10.0], jobs=MOVABLE))
    assert plan.objective == pytest.approx(46.0)


def test_unmatched_hours_emit_with_the_residual_mix():
    """Proves: 3 MW are matched; the fourth MWh goes to the other hour: 50, and no carbon.

    Sensitivity: 40 + 0.1 x 500 x 1 = 90 if it stayed, 40 without matching.
    """
    ppa = HourlyMatching.model_construct(name="ppa", band_power=3.0, residual_intensity=500.0)
    connection = grid().model_copy(update={"carbon": "matched"})
    ahead = outlook([20.0, 10.0], jobs=MOVABLE, carbon=300.0)
    plan = solved(site(ppa, connection=connection), ahead, carbon=0.1)
    assert plan.objective == pytest.approx(50.0)
    assert plan.accounts["carbon"] == pytest.approx([0.0, 0.0])


def test_a_profile_is_matched_hour_by_hour():
    """Proves: 4 MWh are matched over the day, none in the hour of use: 2 x 500 kg at 0.1, + 20.

    Sensitivity: 20 if matched by the year.
    """
    ppa = HourlyMatching.model_construct(name="ppa", band_power=0.0, residual_intensity=500.0)
    connection = grid().model_copy(update={"carbon": "matched"})
    ahead = with_words(outlook([10.0, 10.0], service=[2.0, 0.0]), matched_power=[0.0, 4.0])
    plan = solved(site(ppa, connection=connection), ahead, carbon=0.1)
    assert plan.objective == pytest.approx(120.0)
    assert plan.accounts["carbon"] == pytest.approx([100.0, 0.0])
