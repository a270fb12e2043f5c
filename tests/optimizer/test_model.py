"""From a model to arrays and back: names, places, bounds, accounts; the solver's manners."""

from dataclasses import replace

import numpy as np
import pyomo.environ as pyo
import pytest

from optimizer.build import build
from optimizer.compile import UNUSED, compiled
from optimizer.inputs import inputs_of
from optimizer.objectives import ACCOUNTS
from optimizer.solve import Solver
from tests.math.hand import battery, grid, outlook, problem, site, solved
from twin.errors import SolverError

JOBS = [("batch", [0.0, 1.0, 2.0], [2.0, 2.0, 2.0], 5.0)]
PRICES = dict.fromkeys(ACCOUNTS, 1.0)


@pytest.fixture
def asked():
    where = site(battery(), connection=grid(export_limit=5.0, ramp=0.1, peak_price=7.0))
    return problem(where, outlook([10.0, 30.0, 20.0], service=1.0, jobs=JOBS, carbon=300.0))


@pytest.fixture
def model(asked):
    return build(inputs_of(asked))


def test_arrays_say_what_pyomo_says(model):
    """At a random point every row, bound and account has Pyomo's own value."""
    arrays, rng = compiled(model), np.random.default_rng(0)
    point = rng.normal(size=len(arrays.column_low))
    for variable in model.component_objects(pyo.Var):
        places = arrays.columns[f"{variable.parent_block().local_name}.{variable.local_name}"]
        for column, place in zip(variable.values(), places.flat, strict=True):
            column.set_value(0.0 if place == UNUSED else point[place], skip_validation=True)
            if place != UNUSED and column.ub is not None:
                assert arrays.column_high[place] == column.ub
    for name, cost in arrays.accounts.items():
        account = model.account.component(name)
        assert cost @ point + arrays.offsets[name] == pytest.approx(pyo.value(account.expr))
    for row in model.component_objects(pyo.Constraint):
        places = arrays.rows.get(f"{row.parent_block().local_name}.{row.local_name}", np.array([]))
        for one, place in zip(row.values(), places.flat, strict=True):
            if place == UNUSED:
                continue
            where = slice(arrays.start[place], arrays.start[place + 1])
            body = arrays.value[where] @ point[arrays.index[where]]
            room = (one.uslack(), one.lslack())
            assert arrays.row_high[place] - body == pytest.approx(room[0])
            assert body - arrays.row_low[place] == pytest.approx(room[1])


def test_accounts_stand_in_their_intervals(asked):
    plan = solved(asked.site, asked.outlook)
    bought = plan.values["grid.import_power"] - plan.values["grid.export_power"]
    assert plan.accounts["electricity"] == pytest.approx(bought * [10.0, 30.0, 20.0])
    assert sum(money.sum() for money in plan.accounts.values()) == pytest.approx(plan.objective)
    assert set(plan.accounts) <= set(ACCOUNTS)


def test_duals_are_the_price_of_a_megawatt():
    """One more MW of the racks in an hour costs what the hour costs: 10, 30, 20 EUR."""
    plain = outlook([10.0, 30.0, 20.0], service=1.0)
    plan = solved(site(), plain)
    assert np.abs(plan.duals["balance.rack"]) == pytest.approx([10.0, 30.0, 20.0])
    assert plan.duals["grid.import_power"] == pytest.approx([0.0, 0.0, 0.0])


def test_the_solver_prints_nothing(model, capfd):
    Solver(compiled(model), PRICES).run()
    assert capfd.readouterr() == ("", "")


def test_a_number_that_is_none_never_reaches_the_solver(model):
    arrays = compiled(model)
    broken = replace(arrays, accounts=arrays.accounts | {"wear": arrays.accounts["wear"] + np.nan})
    with pytest.raises(SolverError, match="not a number"):
        Solver(broken, PRICES)


def test_a_price_that_rewards_breaches_without_end_is_an_error(model):
    with pytest.raises(SolverError, match="the solver ended with"):
        Solver(compiled(model), PRICES | {"ramp": -1.0}).run()


def test_the_weight_of_money_scales_all_of_it():
    """What is left is worth money too: with money at 2 and nothing else, twice the objective."""
    ahead = outlook([50.0, 60.0], terminal=70.0)
    once, twice = (solved(site(battery()), ahead, money=money) for money in (1.0, 2.0))
    assert twice.objective == pytest.approx(2.0 * once.objective)
    assert once.objective < 0.0
