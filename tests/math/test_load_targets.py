"""Load targets of partners, and a limit of the connection that is not firm."""

import numpy as np
import pytest

from optimizer.model.formulation import signature_of
from optimizer.model.model_data import build_model_data
from tests.math.hand import battery, grid, outlook, problem, site, solved
from tests.math.promises import MOVABLE, asked, position, with_target, with_words
from twin.relations import HARD_OBLIGATION_PENALTY


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
    assert plan.accounts["targets"] == pytest.approx([2.0 * HARD_OBLIGATION_PENALTY["net_import"]])


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
        signature_of(build_model_data(problem(where, ahead)))
        for where in (site(), site(asked(), position()))
    )
    assert plain == contracted


def test_a_limit_that_is_not_firm_holds_hard():
    """Proves: 3 MW are left of the connection in the cheap hour: 50. Sensitivity: 40."""
    ahead = with_words(outlook([20.0, 10.0], jobs=MOVABLE), grid_import_limit=[np.inf, 3.0])
    plan = solved(site(), ahead)
    assert plan.objective == pytest.approx(50.0)
