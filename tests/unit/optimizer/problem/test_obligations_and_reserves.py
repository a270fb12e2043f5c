"""Invalid contracts are refused before a model is built, by name and time."""

import numpy as np
import pytest

from optimizer.diagnostics.binding_limits import soft_constraint_report
from optimizer.model.objective import HARD_OBLIGATION_PENALTY
from optimizer.planner.planner import decide
from optimizer.problem.problem import Problem
from optimizer.realtime.workload_headroom import compute_headroom
from tests.support import small_days
from tests.support.contract_sites import asked, position, with_target, with_words
from tests.support.hand import grid, outlook, problem, site, solved
from twin.errors import IssueCode, ProblemError
from twin.markets.contracts import HourlyMatching

PRICES = [50.0, 40.0]


def refused(where, ahead):
    with pytest.raises(ProblemError) as caught:
        problem(where, ahead)
    return str(caught.value)


@pytest.mark.parametrize(
    ("target", "price", "expected"),
    [
        ([3.0, np.nan], 50.0, "grid_import_target, 2026-07-01T01:00Z, tso = nan"),
        ([3.0, -np.inf], 50.0, "grid_import_target, 2026-07-01T01:00Z, tso = -inf"),
        ([3.0, 100.5], 50.0, "grid_import_target, 2026-07-01T01:00Z, tso = 100.5"),
        ([-1.0, 3.0], 50.0, "grid_import_target, 2026-07-01T00:00Z, tso = -1"),
        ([3.0, 3.0], 1e9, "grid_import_target_price, 2026-07-01T00:00Z, tso = 1e+09"),
        ([3.0, 3.0], np.nan, "grid_import_target_price"),
        ([3.0, 3.0], -5.0, "tso, 2026-07-01T00:00Z = -5"),
    ],
)
def test_invalid_target_is_refused(target, price, expected):
    shown = refused(site(asked()), with_target(outlook(PRICES), target, price=price))
    assert expected in shown.replace('"', "")


def test_contract_missing_from_the_outlook_is_refused():
    ahead = with_target(outlook(PRICES), [3.0, 3.0], contract="other")
    assert "contract, tso" in refused(site(asked()), ahead)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"day_ahead_position": [1.0, 100.5]}, "day_ahead_position, 2026-07-01T01:00Z = 100.5"),
        ({"day_ahead_position": [-0.5, 1.0]}, "day_ahead_position, 2026-07-01T00:00Z = -0.5"),
        ({"day_ahead_position": [1.0, np.nan]}, "day_ahead_position, 2026-07-01T01:00Z = nan"),
        ({"day_ahead_position": [1.0, np.inf]}, "day_ahead_position, 2026-07-01T01:00Z = inf"),
        ({"position_held": [1.0, 0.5]}, "position_held, 2026-07-01T01:00Z = 0.5"),
        (
            {"imbalance_short_price": [90.0, 1e9]},
            "imbalance_short_price, 2026-07-01T01:00Z = 1e+09",
        ),
        ({"intraday_price": [np.nan, 1.0]}, "intraday_price"),
        ({"grid_import_limit": [5.0, -1.0]}, "grid_import_limit, 2026-07-01T01:00Z = -1"),
        ({"grid_import_limit": [5.0, 101.0]}, "grid_import_limit, 2026-07-01T01:00Z = 101"),
        ({"matched_power": [5.0, -1.0]}, "matched_power, 2026-07-01T01:00Z = -1"),
    ],
)
def test_invalid_market_is_refused(words, expected):
    plain = {"day_ahead_position": 1.0, "position_held": 1.0}
    shown = refused(site(position()), with_words(outlook(PRICES), **(plain | words)))
    assert expected in shown.replace('"', "")


def test_imbalance_that_earns_both_ways_is_refused():
    words = {
        "day_ahead_position": 1.0,
        "position_held": 1.0,
        "imbalance_short_price": [60.0, 30.0],
        "imbalance_long_price": [40.0, 45.0],
    }
    message = refused(site(position()), with_words(outlook(PRICES), **words))
    assert "market, 2026-07-01T01:00Z" in message
    assert "-15 EUR/MWh" in message
    assert IssueCode.INCONSISTENT in message


def test_incompatible_contracts_are_refused():
    ppa = HourlyMatching.model_construct(name="ppa", band_power=1.0, residual_intensity=300.0)
    assert "equipment.grid, carbon = average" in refused(site(ppa), outlook(PRICES))
    matched = grid().model_copy(update={"carbon": "matched"})
    assert "equipment.grid, carbon = matched" in refused(site(connection=matched), outlook(PRICES))
    assert "equipment.other" in refused(site(position(), position(name="other")), outlook(PRICES))


def test_cost_of_a_missed_target_is_listed():
    """3 MW asked, 5 served in both hours, at 50 EUR/MWh: 2 MWh each, 200 EUR."""
    plan = solved(site(asked()), with_target(outlook(PRICES, service=5.0), [3.0, 3.0]))
    (one,) = soft_constraint_report(plan)
    assert one.as_json() == {
        "target": "load target of a partner (tso)",
        "from": "2026-07-01T00:00Z",
        "to": "2026-07-01T01:00Z",
        "above": 4.0,
        "below": 0.0,
        "unit": "MWh",
        "paid_eur": 200.0,
        "penalty_eur": 0.0,
        "is_hard": False,
    }


def test_broken_hard_target_is_listed():
    ahead = with_target(outlook([10.0], service=5.0), [3.0], price=np.inf)
    plan = solved(site(asked()), ahead)
    (one,) = soft_constraint_report(plan)
    assert one.is_hard
    assert (one.excess, one.payment) == (pytest.approx(2.0), 0.0)
    assert one.penalty == pytest.approx(2.0 * HARD_OBLIGATION_PENALTY["net_import"])


def test_penalty_of_a_hard_target_is_in_no_account_and_no_price():
    """Proves: 5 MWh at 10 EUR cost 50 EUR, though 2 MWh exceed the target of 3 MWh.

    Sensitivity: 60,050 EUR with the penalty, and a dual of 30,010 EUR/MWh at the bus.
    """
    ahead = with_target(outlook([10.0], service=5.0), [3.0], price=np.inf)
    plan = solved(site(asked()), ahead)
    paid = {name: money.sum() for name, money in plan.payments.items()}
    assert sum(paid.values()) == pytest.approx(50.0)
    assert paid["targets"] == pytest.approx(0.0)
    assert plan.penalties["targets"].sum() == pytest.approx(plan.objective - 50.0)
    assert max(np.abs(duals).max(initial=0.0) for duals in plan.duals.values()) < 1000.0


def test_imbalance_revenue_is_listed_as_negative_cost():
    """4 bought at 50, 3 taken, 1 left at 70: 20 EUR more than it cost."""
    words = {
        "day_ahead_position": 4.0,
        "position_held": 1.0,
        "imbalance_short_price": 70.0,
        "imbalance_long_price": 70.0,
    }
    (one,) = soft_constraint_report(
        solved(site(position()), with_words(outlook([50.0], service=3.0), **words))
    )
    assert (one.target, one.shortfall, one.payment) == ("day-ahead position (market)", 1.0, -20.0)


def test_broken_ramp_is_listed():
    where = site(connection=grid(ramp=1.0 / 36.0))
    (one,) = soft_constraint_report(solved(where, outlook([10.0], service=9.0)))
    assert (one.excess, one.unit) == (pytest.approx(8.0), "MW")


def test_kept_target_is_not_listed():
    assert (
        soft_constraint_report(
            solved(site(asked()), with_target(outlook(PRICES, service=2.0), [3, 3]))
        )
        == ()
    )


def test_real_site_keeps_a_target_and_its_limits():
    """The site serves and works at about 3 MW; 2.5 MW are asked for two hours from the third on."""
    before = small_days.problem()
    plain = decide(before).schedule["grid_import_power"].to_numpy()
    time = before.outlook["time"].to_numpy()
    window = (time >= time[0] + np.timedelta64(2, "h")) & (time < time[0] + np.timedelta64(4, "h"))
    most = before.site.grid_connection.import_limit
    wanted = 0.9 * float(plain[window].min())
    ahead = with_target(before.outlook, np.where(window, wanted, most), price=2000.0)
    where = before.site.with_equipment({**before.site.equipment, "tso": asked(up_price=2000.0)})
    asked_for = Problem(where, before.state, ahead)
    decision = decide(asked_for)
    assert decision.verdict.is_safe
    assert decision.schedule["grid_import_power"].to_numpy()[window].max() <= wanted + 1e-6
    assert plain[window].max() > wanted + 0.01
    assert [one.target for one in decision.explanation.soft_constraints] == []
    limited = before.outlook.assign(
        grid_import_limit=ahead["grid_import_target"].sel(contract="tso")
    )
    limited["grid_import_limit"].attrs["units"] = "MW"
    curtailed = decide(Problem(before.site, before.state, limited.drop_vars("contract")))
    held = curtailed.schedule["grid_import_power"].to_numpy()[window].max()
    assert held <= wanted * (1.0 - before.margins.power) + 1e-6


def test_dispatch_keeps_a_target_like_a_peak():
    """A month that peaked at 4.5 MW leaves 3 MW to a partner who asks for them, or the plan."""
    where, state = small_days.problem().site, small_days.problem().state
    state = state.assign(peak_power=state["peak_power"] * 0.0 + 4.5)
    state["peak_power"].attrs["units"] = "MW"
    ahead = small_days.problem().outlook
    asked_for = with_target(ahead, [3.0] * ahead.sizes["time"])
    assert compute_headroom(where, state, ahead).max_uncharged_import == 4.5
    assert compute_headroom(where, state, asked_for).max_uncharged_import == 3.0
    planned = asked_for.assign(grid_import_power=("time", np.full(ahead.sizes["time"], 3.2)))
    assert compute_headroom(where, state, planned).max_uncharged_import == 3.2
    loose = with_target(ahead, [4.7] * ahead.sizes["time"])
    assert compute_headroom(where, state, loose).max_uncharged_import == 4.5


def test_peak_without_a_charge_is_not_kept():
    """Proves: a month that peaked at 0.5 MW holds work back only where a peak has a price.

    Sensitivity: 0.5 MW without a price too, and work waits for nothing.
    """
    asked = small_days.problem()
    state = asked.state.assign(peak_power=asked.state["peak_power"] * 0.0 + 0.5)
    state["usual_power"] = state["peak_power"]
    found = [
        compute_headroom(
            asked.site.with_parameters("grid_1", peak_price=price), state, asked.outlook
        )
        for price in (1300.0, 0.0)
    ]
    assert [one.max_uncharged_import for one in found] == [0.5, np.inf]
    assert (
        found[0].max_work_power_within_peak
        < found[1].max_work_power_within_peak
        == found[1].max_work_power
    )
