"""Load targets of partners, and a limit of the connection that is not firm."""

import numpy as np
import pytest

from optimizer.model.formulation import signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import HARD_OBLIGATION_PENALTY
from tests.support.contract_sites import MOVABLE, asked, position, with_target, with_words
from tests.support.hand import battery, grid, outlook, problem, site, solved


def test_target_is_kept_where_cheaper():
    """Proves: 3 MW asked in the cheap hour at 50: 3 MWh at 10 and 1 at 20. Sensitivity: 40."""
    ahead = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 3.0])
    plan = solved(site(asked()), ahead)
    assert plan.objective == pytest.approx(50.0)
    assert plan.values["grid.import_power"] == pytest.approx([1.0, 3.0])
    assert "targets" not in plan.accounts or plan.accounts["targets"] == pytest.approx([0.0, 0.0])


def test_target_is_paid_where_keeping_costs_more():
    """Proves: at 5 EUR/MWh the fourth MWh stays where it is 10 cheaper: 40 + 5.

    Sensitivity: 50 if the target were kept at any price.
    """
    ahead = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 3.0], price=5.0)
    plan = solved(site(asked()), ahead)
    assert plan.objective == pytest.approx(45.0)
    assert plan.accounts["targets"] == pytest.approx([0.0, 5.0])
    assert plan.values["tso.above"] == pytest.approx([0.0, 1.0])


def test_target_below_the_service_is_priced():
    """Proves: a service of 5 MW over 3 MW asked costs 50 + 2 x 50. Sensitivity: infeasible."""
    plan = solved(site(asked()), with_target(outlook([10.0], service=5.0), [3.0]))
    assert plan.objective == pytest.approx(150.0)


def test_infinite_price_acts_as_a_hard_limit():
    """Proves: 5 MW served over 3 MW that must not be exceeded: 2 MWh of violation are reported.

    Sensitivity: infeasible, or no price at all.
    """
    plan = solved(site(asked()), with_target(outlook([10.0], service=5.0), [3.0], price=np.inf))
    assert plan.values["tso.above"] == pytest.approx([2.0])
    assert plan.accounts["targets"] == pytest.approx([2.0 * HARD_OBLIGATION_PENALTY["net_import"]])


def test_target_is_at_least_the_contract_minimum():
    """Proves: 1 MW is asked, 3 MW are the least: 50. Sensitivity: 70 at 1 MW."""
    ahead = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 1.0])
    assert solved(site(asked(least=3.0)), ahead).objective == pytest.approx(50.0)


def test_negative_target_requires_export():
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


def test_unreachable_negative_target_is_priced():
    """Proves: of -2 MW the battery of 1 MW gives one: 5 of wear and 50 for the other MWh."""
    cell, ahead = battery(wear_price=5.0), with_target(outlook([0.0]), [-2.0])
    plan = solved(site(asked(), cell, connection=grid(export_limit=5.0)), ahead, level=1.0)
    assert plan.objective == pytest.approx(55.0)


def test_target_is_kept_at_negative_prices():
    """Proves: -20 for each MWh does not outweigh 50: 3 x -20 + 10. Sensitivity: -80."""
    ahead = with_target(outlook([10.0, -20.0], jobs=MOVABLE), [np.inf, 3.0])
    assert solved(site(asked()), ahead).objective == pytest.approx(-50.0)


def test_quarter_hour_target_is_a_power():
    """Proves: 1 MW above for a quarter-hour is 0.25 MWh: 4 x 0.25 x 10 + 0.25 x 50 = 22.5."""
    ahead = with_target(outlook([10.0], service=4.0, hours=0.25), [3.0])
    assert solved(site(asked()), ahead).objective == pytest.approx(22.5)


def test_tighter_of_two_targets_binds():
    """Proves: 4 and 3 MW asked of one hour: 3 are taken, 50. Sensitivity: 40 under the looser."""
    first = with_target(outlook([20.0, 10.0], jobs=MOVABLE), [np.inf, 4.0])
    both = first.reindex(contract=["tso", "dso"])
    both["grid_import_target"][:, 1] = [np.inf, 3.0]
    both["grid_import_target_price"][:, 1] = 50.0
    assert solved(site(asked(), asked(name="dso")), both).objective == pytest.approx(50.0)


def test_contract_without_targets_changes_nothing():
    ahead = outlook([20.0, 10.0], jobs=MOVABLE)
    plain, contracted = (
        signature_of(build_model_data(problem(where, ahead)))
        for where in (site(), site(asked(), position()))
    )
    assert plain == contracted


def test_limit_that_is_not_firm_is_a_hard_limit():
    """Proves: 3 MW are left of the connection in the cheap hour: 50. Sensitivity: 40."""
    ahead = with_words(outlook([20.0, 10.0], jobs=MOVABLE), grid_import_limit=[np.inf, 3.0])
    plan = solved(site(), ahead)
    assert plan.objective == pytest.approx(50.0)
