"""Infeasible problems: shortage or surplus, binding limits, and a remedy that helps."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import linprog

from optimizer.compiler.arrays import AccountCosts, ModelArrays
from optimizer.diagnostics.infeasibility import ElasticModel
from optimizer.planner import planner
from optimizer.planner.planner import solve_problem
from tests.support import small_days
from tests.support.hand import (
    battery,
    grid,
    machine,
    outlook,
    problem,
    site,
    solved,
    through,
    units,
    unlabelled,
)
from twin.equipment import ITHall
from twin.errors import NoScheduleError

HALF_IN_AIR = ITHall.model_construct(
    name="hall", racks=10, rack_power=1.0, rack_idle_power=0.0, liquid_share=0.5
)


def refused(where, ahead, **settings):
    with pytest.raises(NoScheduleError) as caught:
        solved(where, ahead, **settings)
    return str(caught.value)


def bank(**rules):
    return machine(
        "line", "medium_voltage", draws={"grid": through}, limit=10.0, units=units(**rules)
    )


def test_minimum_load_is_named_with_remedy_of_more_load():
    """Proves: a unit of at least 3 MW over 2 MW of racks is 1 MW too much; its least load holds.

    Sensitivity: "lower the service", which makes it worse, and the feeder as a limit.
    """
    message = refused(
        site(line=bank(count=2, least=3.0, most=5.0)), outlook([20.0] * 3, service=[4.0, 2.0, 4.0])
    )
    assert "medium_voltage is 1 MW too much from 2026-07-01T01:00Z to 2026-07-01T02:00Z" in message
    assert "least load of units that run (line, 3 MW each)\n" in message
    assert (
        "remedy: draw 1 MW more of medium_voltage in these hours, or lower the least load"
        in message
    )
    assert "service" not in message
    assert "feeder" not in message


def test_minimum_run_time_is_named_with_minimum_load():
    """Proves: two units that have just started must stay, 4 MW over 2 MW of racks."""
    message = refused(
        site(line=bank(count=2, least=2.0, most=5.0, min_up_time=3.0)),
        outlook([20.0] * 4, service=2.0),
        past_units={"line": np.array([0.0, 0.0, 2.0])},
    )
    assert "medium_voltage is 2 MW too much" in message
    assert "least load of units that run (line, 2 MW each)" in message
    assert "least time that units stay on (line)" in message


@pytest.mark.parametrize(
    ("rules", "past", "service", "lack", "word"),
    [
        ({"min_down_time": 4.0}, [2.0, 1.0], 6.0, 2.0, "least time that units stay off"),
        (
            {"minimum_restart_time": 4.0, "count": 1},
            [0.0, 1.0, 0.0],
            3.0,
            3.0,
            "between starts of a unit",
        ),
    ],
)
def test_shortage_from_units_kept_off_is_named(rules, past, service, lack, word):
    """Proves: one unit of 4 MW under 6 MW of racks is 2 MW short, none under 3 MW 3 MW.

    Sensitivity: "no carrier is short", and no hour.
    """
    given = {"count": 2, "least": 1.0, "most": 4.0} | rules
    where, ran = site(line=bank(**given)), {"line": np.array(past)}
    message = refused(where, outlook([20.0] * 3, service=service), past_units=ran)
    assert f"medium_voltage is {lack:g} MW short from 2026-07-01T00:00Z to" in message
    assert word in message
    assert f"remedy: lower the service by what {lack:g} MW serve in these hours" in message
    solved(where, outlook([20.0] * 3, service=service - lack), past_units=ran)


def test_less_service_is_the_remedy_despite_minimum_load():
    message = refused(
        site(line=bank(count=2, least=1.0, most=5.0), connection=grid(import_limit=3.0)),
        outlook([20.0], service=5.0),
    )
    assert "remedy: lower the service by what 2 MW serve in these hours, or widen" in message


def test_limit_that_does_not_bind_is_not_named():
    """Proves: the line, which could carry 10 MW, is not named beside an empty battery."""
    store = battery(capacity=2.0, power=2.0)
    message = refused(
        site(store, connection=grid(import_limit=3.0)),
        outlook([20.0] * 4, service=[3.0, 5.0, 5.0, 5.0]),
        level=1.0,
    )
    assert "medium_voltage is 2 MW short from 2026-07-01T02:00Z to 2026-07-01T04:00Z" in message
    assert "level of the store (battery, 2 MWh)" in message
    assert "(grid, 3 MW)" in message
    assert "line" not in message


def test_shortages_of_two_carriers_are_both_named():
    """Proves: a feeder too small and a cooler too small are named together.

    Sensitivity: the first alone, without its amount.
    """
    message = refused(
        site(
            feeder=machine("feeder", "rack", draws={"medium_voltage": through}, limit=4.0),
            cooler=machine("cooler", "air", draws={"medium_voltage": through}, limit=2.5),
        ),
        outlook([20.0] * 2, service=[3.0, 5.0]),
    )
    assert "rack is 1 MW short from 2026-07-01T01:00Z" in message
    assert "air is 2.5 MW short from 2026-07-01T00:00Z" in message


def test_limits_of_all_conflicts_are_named():
    """Proves: the feeder is in the proof, the cooler is not: both are at their maximum.

    Sensitivity: "air is 2.5 MW short" without its limit.
    """
    message = refused(
        site(
            feeder=machine("feeder", "rack", draws={"medium_voltage": through}, limit=4.0),
            cooler=machine("cooler", "air", draws={"medium_voltage": through}, limit=2.5),
        ),
        outlook([20.0] * 2, service=[3.0, 5.0]),
    )
    assert "lower the service by what 2.5 MW of air serve in these hours" in message
    assert "feeder (at most 4 MW)" in message
    assert "cooler (at most 2.5 MW)" in message


def test_remedy_names_the_carrier_with_most_service():
    """Proves: 5 MW of racks draw 5 MW and half as much air; 1 MW too little of air are 2 MW of
    racks, more than the 1.5 MW that the feeder lacks.

    Sensitivity: lowered by the greater number, 1.5 MW, air is short still.
    """
    where = site(
        feeder=machine("feeder", "rack", draws={"medium_voltage": through}, limit=3.5),
        hall=HALF_IN_AIR,
        cooler=machine("cooler", "air", draws={"medium_voltage": through}, limit=1.5),
        liquid=machine("liquid", "liquid", draws={"medium_voltage": through}),
    )
    message = refused(where, outlook([20.0], service=5.0))
    assert "lower the service by what 1 MW of air serve" in message
    solved(where, outlook([20.0], service=5.0 - 2.0))


def test_hours_without_shortage_are_not_named():
    """Proves: of six hours the second, and the fourth and fifth, lack 1 MW and 2 MW."""
    where = site(connection=grid(import_limit=5.0))
    message = refused(where, outlook([20.0] * 6, service=[4.0, 6.0, 4.0, 7.0, 7.0, 4.0]))
    assert (
        "grid is 2 MW short from 2026-07-01T01:00Z to 2026-07-01T02:00Z"
        " and once more until 2026-07-01T05:00Z\n"
    ) in message


def test_one_shortage_names_one_carrier():
    """Proves: racks of 3 MW draw 0.5 + 0.9 * 3 + 0.05 * 9 = 3.65 MW, and lack 2.65 beside 1 MW.

    Sensitivity: 0.14 MW of the racks and 2.48 MW of the grid, in sum a little less; the
    remedy is the larger part.
    """
    message = refused(
        site(
            feeder=machine(
                "feeder",
                "rack",
                draws={"medium_voltage": lambda q: 0.5 + 0.9 * q + 0.05 * q * q},
                limit=4.0,
            ),
            connection=grid(import_limit=1.0),
        ),
        outlook([20.0], service=3.0),
    )
    assert "grid is 2.65 MW short" in message
    assert message.count("MW short") == 1


def test_service_is_no_remedy_where_idle_racks_need_more():
    """Proves: 28 racks that wait give 0.67 MW of heat, and no dry cooler works at 48 degC.

    Sensitivity: "lower the service by what 0.925 MW serve", of which there is none to lower.
    """
    usual = small_days.problem()
    hot = unlabelled(usual.outlook, "air_temperature", np.full(len(usual.interval_hours), 48.0))
    hot = unlabelled(hot, "relative_humidity", np.full(len(usual.interval_hours), 0.4))
    for racks in (usual.service_racks, np.zeros_like(usual.interval_hours)):
        with pytest.raises(NoScheduleError) as caught:
            solve_problem(replace(usual, outlook=unlabelled(hot, "service_racks", racks)))
        message = str(caught.value)
        assert "warm_plant (at most 0 MW)" in message
        assert (
            "remedy: widen one of these limits: without any service it would still be short"
            in message
        )


def test_service_is_no_remedy_where_it_draws_too_little():
    """Proves: with all chillers off for 3 h 26 racks lack 0.64 MW of chilled water, of which they
    draw 0.51 MW: what 0.64 MW serve is more than there is.
    """
    usual = small_days.problem()
    plant = usual.site.equipment["chilled_plant"]
    kept = plant.chillers.model_copy(update={"minimum_up": 1.0, "minimum_down": 3.0})
    own = {**usual.site.equipment, "chilled_plant": plant.model_copy(update={"chillers": kept})}
    ahead = usual.outlook
    for word, value in (
        ("air_temperature", 33.0), ("relative_humidity", 0.7), ("service_racks", 26.0)
    ):  # fmt: skip
        ahead = unlabelled(ahead, word, np.full(len(usual.interval_hours), value))
    empty = unlabelled(usual.state, "tank_level", [0.05])
    with pytest.raises(NoScheduleError, match="least time that units stay off") as caught:
        solve_problem(
            replace(
                usual,
                site=usual.site.with_equipment(own),
                outlook=ahead,
                state=empty,
                past_units={"chilled_plant": np.array([2.0, 2.0, 0.0])},
            )
        )
    assert "lower the service" not in str(caught.value)


def undersized(site):
    """Return a site whose UPS is too small for full halls."""
    return site.with_equipment(
        {**site.equipment, "ups_1": site.equipment["ups_1"].with_values(rating=1.5)}
    )


def test_service_is_the_remedy_where_it_draws_enough():
    """Proves: all racks serve; with 2.1 MW fewer of them the UPS carries the rest."""
    usual = small_days.problem()
    full = unlabelled(usual.outlook, "service_racks", np.full(len(usual.interval_hours), 28.0))
    narrow = replace(usual, outlook=full, site=undersized(usual.site))
    with pytest.raises(NoScheduleError, match=r"lower the service by what 2\.\d+ MW serve"):
        solve_problem(narrow)
    less = np.full(len(usual.interval_hours), 28.0 - 2.35 / (3.696 - 0.672) * 28.0)
    solve_problem(replace(narrow, outlook=unlabelled(full, "service_racks", less)))


def infeasible(seed):
    """Return an infeasible model of random rows, some of them equations."""
    rng = np.random.default_rng(seed)
    rows, columns = 8, 6
    matrix = rng.integers(-2, 3, (rows, columns)).astype(float)
    matrix[:, 0] = np.where(matrix.any(axis=1), matrix[:, 0], 1.0)
    low = rng.integers(-3, 4, rows).astype(float)
    high = np.where(rng.random(rows) < 0.3, low, low + rng.integers(0, 3, rows))
    low = np.where(rng.random(rows) < 0.3, -np.inf, low)
    ceiling = np.where(rng.random(columns) < 0.3, np.inf, 2.0)
    return SimpleNamespace(
        matrix=matrix, low=low, high=high, column_low=np.zeros(columns), column_high=ceiling
    )


def arrays_of(dense):
    rows, columns = dense.matrix.shape
    at = np.nonzero(dense.matrix)
    none = np.empty(0, dtype=np.int32)
    return ModelArrays(
        row_starts=np.searchsorted(at[0], np.arange(rows + 1)).astype(np.int32),
        column_indices=at[1].astype(np.int32),
        matrix_values=dense.matrix[at],
        accounts=AccountCosts(
            account_names=(),
            account_index=none,
            column_index=none,
            cost=np.empty(0),
            constant_cost=np.empty(0),
        ),
        column_low=dense.column_low,
        column_high=dense.column_high,
        row_low=dense.low,
        row_high=dense.high,
        is_integer=np.zeros(columns, dtype=bool),
        interval_of_column=np.zeros(columns, dtype=np.int32),
        columns_by_variable={},
        rows_by_constraint={},
    )


def least_missed(dense, may, rows=None, lower=None, upper=None):
    """Return what equations miss in sum at the least, by another program; of the rest only some is
    kept, all if None.
    """
    count, width = dense.matrix.shape
    kept = np.isin(np.arange(count), np.arange(count) if rows is None else rows) | may
    slack = np.eye(count)[:, may]
    low, high = (np.where(kept, bound, np.nan) for bound in (dense.low, dense.high))
    matrix = np.hstack([dense.matrix, slack, -slack])
    tops, bottoms = np.isfinite(high), np.isfinite(low)
    columns = np.arange(width)
    bounds = [
        (
            low if lower is None or column in lower else None,
            high if upper is None or column in upper else None,
        )
        for column, low, high in zip(columns, dense.column_low, dense.column_high, strict=True)
    ]
    found = linprog(
        np.repeat([0.0, 1.0], [width, 2 * may.sum()]),
        A_ub=np.vstack([matrix[tops], -matrix[bottoms]]),
        b_ub=np.concatenate([high[tops], -low[bottoms]]),
        bounds=[*bounds, *[(0.0, None)] * (2 * may.sum())],
    )
    return found.fun if found.success else None


@pytest.mark.parametrize("seed", range(40))
def test_shortage_is_minimal_and_limits_are_sufficient(seed):
    """Proves: of random models, as another program has it; all that is not named may give way, and
    as much is missed.
    """
    dense = infeasible(seed)
    may = dense.low == dense.high
    lack = ElasticModel(arrays_of(dense), np.flatnonzero(may)).minimise_violations()
    wanted = least_missed(dense, may)
    if wanted is None:
        assert lack is None
        return
    assert np.abs(lack.violations).sum() == pytest.approx(wanted, abs=1e-6)
    causes = (
        np.flatnonzero(marks)
        for marks in (lack.causing_rows, lack.causing_lower_bounds, lack.causing_upper_bounds)
    )
    alone = least_missed(dense, may, *causes)
    assert alone == pytest.approx(wanted, abs=1e-6)


def test_large_problem_is_checked_before_it_is_optimised(monkeypatch):
    """Proves: infeasibility is reported without the optimisation, which takes seconds.

    A small problem is not checked, nor is one that starts from the last plan.
    """
    usual = problem(site(), outlook([10.0], service=5.0))
    warm = planner.solve_problem(usual).warm_start
    monkeypatch.setattr(planner, "is_feasible", lambda _: False)
    planner.solve_problem(usual)
    monkeypatch.setattr(planner, "MIN_ROWS_FOR_FEASIBILITY_CHECK", 1)
    planner.solve_problem(usual, warm)
    with pytest.raises(NoScheduleError):
        planner.solve_problem(usual)
