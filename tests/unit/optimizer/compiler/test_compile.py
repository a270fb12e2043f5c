"""From a model to arrays: equal to Pyomo's own compiler to the last bit."""

import numpy as np
import pyomo.environ as pyo
import pytest
from pyomo.core.base import constraint
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler

from optimizer.compiler.structure import TemplateReader, compile_model, templatised_rules
from optimizer.model.assembler import add_param
from optimizer.model.formulation import build_model, parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import WEIGHT_OF_ACCOUNT
from tests.laws.test_contracted_power import contract
from tests.laws.test_tariffs import TAXES
from tests.support import small_days
from tests.support.contract_sites import asked, position, with_target, with_words
from tests.support.hand import battery, grid, outlook, problem, site, source, tank
from twin.errors import SolverError
from twin.markets.contracts import CarbonBudget, HourlyMatching, WaterBudget

SUM_TOLERANCE = 1e-13
"""Relative rounding of a sum over all intervals."""

JOBS = [("batch", [0.0, 1.0, 2.0], [2.0, 2.0, 2.0], 5.0), ("batch", [0.0, 0.0, 0.0], [1, 2, 3], 4)]


@pytest.fixture
def inputs():
    connection = grid(export_limit=5.0, ramp=0.1, peak_price=7.0)
    where = site(battery(), tank(capacity=3.0, power=1.0), source(), connection=connection)
    ahead = outlook([10.0, 30.0, 20.0], service=1.0, jobs=JOBS, carbon=300.0, sun=[1.0, 2.0, 3.0])
    return build_model_data(problem(where, ahead))


@pytest.fixture
def promised():
    """Return inputs of a site with all kinds of contracts."""
    contracts = (
        asked(),
        position(intraday_limit=2.0),
        CarbonBudget.model_construct(name="cap", amount=1e6, price=0.1, window="day"),
        WaterBudget.model_construct(name="well", amount=1e3, price=1.0),
        HourlyMatching.model_construct(name="ppa", band_power=1.0, residual_intensity=500.0),
    )
    connection = grid(export_limit=5.0).model_copy(update={"carbon": "matched"})
    ahead = outlook([10.0, 30.0, 20.0], service=1.0, jobs=JOBS, carbon=300.0)
    words = {"day_ahead_position": 1.0, "position_held": 1.0, "intraday_price": 30.0}
    ahead = with_words(with_target(ahead, [3.0, 2.0, 3.0]), **words)
    return build_model_data(problem(site(*contracts, connection=connection), ahead))


@pytest.fixture
def contracted():
    """Return inputs of a site under a tariff, whose excess counts by the root of squares."""
    where = contract("root_of_squares", 8.0, taxes=TAXES)
    return build_model_data(problem(where, outlook([10.0, 30.0, 20.0], jobs=JOBS), peak=4.0))


def drawn(numbers, rng):
    """Return other numbers of the same shapes; none is zero, since Pyomo drops zeros."""
    return {
        name: rng.uniform(0.5, 9.5, size=values.shape) * rng.choice([-1.0, 1.0], size=values.shape)
        for name, values in numbers.items()
    }


def set_parameters(model, numbers):
    """Set the parameters and bounds of a model, so that it is an ordinary Pyomo model."""
    for parameter in model.component_objects(pyo.Param):
        given = numbers[parameter.name].ravel().tolist()
        parameter.store_values(dict(zip(parameter.index_set(), given, strict=True)))
    for variable in model.component_objects(pyo.Var):
        for index in variable.index_set():
            variable[index].setlb(bound_at(variable.low, index))
            variable[index].setub(bound_at(variable.high, index))
            first = index[0] if isinstance(index, tuple) else index
            if variable.integer_count and first < variable.integer_count:
                variable[index].domain = pyo.Integers


def bound_at(bound, index):
    """Return a bound at an index of its variable."""
    if isinstance(bound, float):
        return bound
    indices = index if isinstance(index, tuple) else (index,)
    leading = indices[: bound.dim()]
    return float(pyo.value(bound[leading[0] if len(leading) == 1 else leading or None]))


def as_pyomo_says(shape, numbers):
    """Return matrix, bounds of rows, costs, constants and bounds of columns by Pyomo's compiler.

    Rules are written out: of templates it lost the factor before a sum (6.10.1, objectives).
    """
    model = build_model(shape)
    set_parameters(model, numbers)
    declared = [column for v in model.component_objects(pyo.Var) for column in v.values()]
    form = LinearStandardFormCompiler().write(
        model, mixed_form=True, set_sense=None, column_order=declared
    )
    place = {id(column): i for i, column in enumerate(declared)}
    at = [place[id(column)] for column in form.columns]
    dense = np.zeros((len(form.rows), len(declared)))
    dense[:, at] = form.A.toarray()
    costs = np.zeros((len(form.objectives), len(declared)))
    costs[:, at] = form.c.toarray()
    kept = {id(row.constraint): i for i, row in enumerate(form.rows)}
    rows = [kept[id(row)] for c in model.component_objects(pyo.Constraint) for row in c.values()]
    sense = np.array([row.bound_type for row in form.rows])
    low = np.where(sense <= 0, form.rhs, -np.inf)[rows]
    high = np.where(sense >= 0, form.rhs, np.inf)[rows]
    bounds = np.array([(c.lb, c.ub) for c in declared], dtype=float)
    bounds[:, 0] = np.where(np.isnan(bounds[:, 0]), -np.inf, bounds[:, 0])
    bounds[:, 1] = np.where(np.isnan(bounds[:, 1]), np.inf, bounds[:, 1])
    return dense[rows], low, high, costs, form.c_offset, bounds


def dense(arrays):
    found = np.zeros((len(arrays.row_low), len(arrays.column_low)))
    row = np.repeat(np.arange(len(arrays.row_low)), np.diff(arrays.row_starts))
    np.add.at(found, (row, arrays.column_indices), arrays.matrix_values)
    return found


@pytest.mark.parametrize("given", ["inputs", "promised", "contracted"])
@pytest.mark.parametrize("seed", range(5))
def test_arrays_equal_a_fresh_compile(request, given, seed):
    """Proves: matrix, bounds and costs are equal to the last bit, on random numbers.

    Constants are sums over all intervals, which the two add in different orders.
    """
    inputs = request.getfixturevalue(given)
    shape = signature_of(inputs)
    numbers = drawn(parameter_values(inputs), np.random.default_rng(seed))
    arrays = compile_model(shape).with_parameter_values(numbers)
    rows, low, high, costs, offset, bounds = as_pyomo_says(shape, numbers)
    np.testing.assert_array_equal(dense(arrays), rows)
    np.testing.assert_array_equal(arrays.row_low, low)
    np.testing.assert_array_equal(arrays.row_high, high)
    np.testing.assert_array_equal(arrays.column_low, bounds[:, 0])
    np.testing.assert_array_equal(arrays.column_high, bounds[:, 1])
    book = arrays.accounts
    paid = np.zeros_like(costs)
    paid[book.account_index, book.column_index] = book.cost
    np.testing.assert_array_equal(paid, costs)
    np.testing.assert_allclose(book.constant_cost, offset, rtol=SUM_TOLERANCE, atol=0.0)
    assert set(book.account_names) <= set(WEIGHT_OF_ACCOUNT)


def test_real_site_compiles_as_in_pyomo():
    """Proves the same for a site with all kinds of machines, on its own numbers."""
    inputs = build_model_data(small_days.problem(4))
    shape, numbers = signature_of(inputs), parameter_values(inputs)
    arrays = compile_model(shape).with_parameter_values(numbers)
    rows, low, high, costs, offset, bounds = as_pyomo_says(shape, numbers)
    np.testing.assert_array_equal(dense(arrays), rows)
    np.testing.assert_array_equal(arrays.row_low, low)
    np.testing.assert_array_equal(arrays.row_high, high)
    np.testing.assert_array_equal(arrays.column_low, bounds[:, 0])
    np.testing.assert_array_equal(arrays.column_high, bounds[:, 1])
    np.testing.assert_allclose(arrays.accounts.constant_cost, offset, rtol=SUM_TOLERANCE, atol=0.0)
    weights = dict.fromkeys(arrays.accounts.account_names, 1.0)
    paid, _ = arrays.accounts.weighted_column_costs(weights, len(arrays.column_low))
    np.testing.assert_allclose(paid, costs.sum(axis=0), rtol=1e-15)


def test_structure_is_compiled_once(inputs):
    assert compile_model(signature_of(inputs)) is compile_model(signature_of(inputs))


def test_data_of_another_shape_is_refused(inputs):
    structure, numbers = compile_model(signature_of(inputs)), parameter_values(inputs)
    with pytest.raises(SolverError, match=r"battery\.wear: expected .* numbers of shape"):
        structure.with_parameter_values(numbers | {"battery.wear": np.zeros(7)})
    with pytest.raises(SolverError, match=r"battery\.wear"):
        structure.with_parameter_values(numbers | {"battery.wear": np.full(3, np.nan)})
    with pytest.raises(SolverError, match=r"missing or unknown sea\.salt"):
        structure.with_parameter_values(numbers | {"sea.salt": np.zeros(3)})


def test_pyomo_is_left_unchanged():
    with templatised_rules():
        assert constraint.TEMPLATIZE_CONSTRAINTS
    assert not constraint.TEMPLATIZE_CONSTRAINTS


def read(declare):
    """Return what reads a model of three intervals that a function fills."""
    with templatised_rules():
        model = pyo.ConcreteModel()
        model.time = pyo.RangeSet(0, 2)
        model.x = pyo.Var(model.time, dense=False)
        model.p = add_param(model.time)
        declare(model)
        return TemplateReader(model)


def rows(rule):
    return lambda model: setattr(model, "row", pyo.Constraint(model.time, rule=rule))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (lambda m, t: next(m.x[s] for s in m.time) <= m.p[t], "not a template"),
        (lambda m, t: m.x[t] / m.p[t] <= 1.0, "not a sum or product"),
        (lambda m, t: m.x[t] * m.x[t] <= 1.0, "a product of two variables"),
        (lambda m, t: m.p[t] * m.p[t] * m.p[t] * m.x[t] <= 1.0, "a term with 3 parameters"),
        (lambda m, t: (0.0, m.x[t], m.p[t]), "with one bound"),
        (
            lambda m, t: sum(n * m.x[s] for n in (1,) for s in m.time) <= m.p[t],
            "an index without a set",
        ),
    ],
)
def test_rule_that_is_no_template_is_refused(rule, expected):
    """Proves: a rule that Pyomo would expand or truncate silently is refused."""
    with pytest.raises(TypeError, match=expected):
        read(rows(rule)).read_matrix()
