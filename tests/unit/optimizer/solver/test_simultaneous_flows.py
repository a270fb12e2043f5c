"""What runs in a circle through the connection: netted where that is free, else left to be held."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import account_weights
from optimizer.planner.planner import solve_problem
from optimizer.solver.highs import LpSolver
from optimizer.solver.relaxation_repair import remove_simultaneous_exchange
from tests.support.hand import battery, grid, outlook, problem, site

CIRCLE = 1.5  # [MW]


@pytest.fixture
def plan():
    """Return the model of three hours at 30, 10 and 20 EUR, and its plan: 2, 3 and 1 MW come in."""
    return made()


def made(**weights):
    where = site(battery(), connection=grid(export_limit=5.0))
    ahead = outlook([30.0, 10.0, 20.0], service=2.0, carbon=0.5)
    inputs = build_model_data(problem(where, ahead, **weights))
    arrays = compile_model(signature_of(inputs)).with_parameter_values(parameter_values(inputs))
    answer = LpSolver(arrays, account_weights(inputs.problem.weights)).run()
    return inputs, arrays, answer


def circled(arrays, answer):
    """Return the plan with 1.5 MW more in and out in the second hour."""
    values = answer.values.copy()
    for way in ("import", "export"):
        values[arrays.columns_by_variable[f"grid.{way}_power"][1]] += CIRCLE
    return replace(answer, values=values)


def test_what_costs_nothing_is_netted(plan):
    """Proves: where in costs what out brings, the plan is as it would be without the circle."""
    inputs, arrays, answer = plan
    found = remove_simultaneous_exchange(arrays, inputs, circled(arrays, answer))
    into, out = (
        found.values[arrays.columns_by_variable[f"grid.{way}_power"]]
        for way in ("import", "export")
    )
    assert into == pytest.approx([2.0, 3.0, 1.0])
    assert out == pytest.approx(np.zeros(3))
    assert remove_simultaneous_exchange(arrays, inputs, found) is found


def test_what_is_paid_for_stays():
    """Proves: carbon is paid for what comes in alone, so that such a circle is no rounding."""
    inputs, arrays, answer = made(carbon=1.0)
    wrong = circled(arrays, answer)
    assert remove_simultaneous_exchange(arrays, inputs, wrong) is wrong


def test_a_bound_is_kept(plan):
    """Proves: what must come in is not netted away."""
    inputs, arrays, answer = plan
    wrong, low = circled(arrays, answer), arrays.column_low.copy()
    low[arrays.columns_by_variable["grid.import_power"][1]] = 4.0
    assert remove_simultaneous_exchange(replace(arrays, column_low=low), inputs, wrong) is wrong


def test_a_plan_that_trades_at_one_price_needs_no_second_solve():
    """Proves: nothing has to be held, and nothing comes in that goes out.

    Sensitivity: before, the connection was held in 20 of these hours.
    """
    connection = grid(import_limit=5.0, export_limit=5.0)
    where = site(battery(efficiency=0.9), connection=connection)
    prices = np.random.default_rng(0).uniform(10.0, 90.0, 48)
    found = solve_problem(problem(where, outlook(prices, service=1.0)))
    both = np.minimum(found.values["grid.import_power"], found.values["grid.export_power"])
    assert found.fixed_segments == ()
    assert both.max() == pytest.approx(0.0, abs=1e-9)
