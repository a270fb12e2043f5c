"""Decisions: solve a problem, verify the schedule with the twin, and explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.compiler.arrays import ModelArrays
from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.binding_limits import exceeded_columns, penalty_costs
from optimizer.diagnostics.explanation import explain_schedule
from optimizer.diagnostics.infeasibility import explain_infeasibility
from optimizer.model.components.workload import CREDITED_WORK_COLUMN
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData, build_model_data
from optimizer.model.objective import account_weights
from optimizer.model.rows import ModelSignature
from optimizer.planner.decision import Decision
from optimizer.planner.schedule import build_schedule
from optimizer.problem.checks import unit_counts
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolution, LpSolver, is_feasible
from optimizer.solver.mip import shift_units, solve_unit_commitment, units_on
from optimizer.solver.relaxation_repair import repair_relaxation
from optimizer.solver.reserve_bidding import round_bids
from optimizer.solver.solution import Instants, Solution, WarmStart, shift_basis, values_by_name
from optimizer.verification.verifier import ScheduleVerdict, verify
from twin.argument_checks import check_argument_types
from twin.contingency.contingencies import FailedPart
from twin.contingency.coverage import ContingencyCoverage
from twin.errors import NoScheduleError
from twin.physics import FloatArray
from twin.variables import machine_values

MIN_ROWS_FOR_FEASIBILITY_CHECK: Final = 15_000
"""Rows from which a cold start first checks feasibility. Without costs that takes a tenth of the
time; proving infeasibility with costs can take seconds. [1]
"""

FIXED_WORK_TOLERANCE_MWH: Final = 1e-9
"""Range of credited work below which it is fixed. [MWh]"""


def solve_problem(
    problem: Problem,
    warm_start: WarmStart | None = None,
    *,
    export: Path | None = None,
    first: Mapping[str, FloatArray] | None = None,
) -> Solution:
    """Return the cheapest plan of a problem.

    A warm start is used if its model had the same signature. ``export`` is a file for the linear
    model; ``first`` are first-stage decisions of a stochastic plan. Raises NoScheduleError if no
    plan satisfies every limit. Raises SolverError if the solver fails.
    """
    problem = with_past_units(problem, warm_start)
    model = _compile(problem, warm_start, first or {})
    arrays, prices, instants = model.arrays, model.account_weights, model.instants
    last = model.matching_warm_start
    solver = LpSolver(arrays, prices, basis=shift_basis(last, arrays, instants) if last else None)
    relaxed = _relaxed(model, solver, export)
    basis = solver.basis
    lp_solution = _with_units(model, solver, relaxed=relaxed)
    units = units_on(arrays, lp_solution.values)
    lp_solution = round_bids(solver, arrays, data=model.data, lp_solution=lp_solution)
    lp_solution, fixed = repair_relaxation(solver, arrays, data=model.data, lp_solution=lp_solution)
    lp_solution = _without_penalties(model, solver, lp_solution)
    return Solution(
        data=model.data,
        values=values_by_name(arrays.columns_by_variable, lp_solution.values),
        duals=model.duals(lp_solution),
        accounts=arrays.cost_by_account(lp_solution.values, prices),
        penalties=model.penalties(lp_solution),
        objective=lp_solution.objective,
        relaxed_objective=relaxed.objective,
        fixed_segments=fixed,
        limits=arrays.limits,
        parameter_values=model.parameters,
        warm_start=WarmStart(
            model_signature=model.shape,
            instants=instants,
            basis=basis,
            units_on=units,
            past_units_on=problem.past_units,
        ),
    )


def with_past_units(problem: Problem, warm_start: WarmStart | None) -> Problem:
    """Return the problem with past units of the last plan, where it does not define them."""
    if warm_start is None or not warm_start.units_on:
        return problem
    now, then = problem.outlook["instant"].to_numpy()[:2]
    known = warm_start.limited_to(unit_counts(problem.site))
    return replace(
        problem, past_units={**known.past_units_until(now, then - now), **problem.past_units}
    )


@dataclass(frozen=True, kw_only=True)
class _CompiledProblem:
    """A problem as arrays: ``free_arrays``, and ``arrays`` with first-stage decisions fixed.

    ``matching_warm_start`` is the last warm start, if its model had the same signature.
    """

    data: ModelData
    shape: ModelSignature
    parameters: Mapping[str, FloatArray]
    account_weights: Mapping[str, float]
    instants: Instants
    free_arrays: ModelArrays
    arrays: ModelArrays
    matching_warm_start: WarmStart | None

    def duals(self, lp_solution: LpSolution) -> dict[str, FloatArray]:
        """Return the duals of rows and of the bounds of columns, by name."""
        costs = mask_duals(lp_solution.reduced_costs, self.free_arrays, self.arrays)
        if (done := self.arrays.columns_by_variable.get(CREDITED_WORK_COLUMN)) is not None:
            # work that must be done as it arrives is fixed, and its dual is arbitrary
            is_fixed = (
                self.free_arrays.column_high[done] - self.free_arrays.column_low[done]
                < FIXED_WORK_TOLERANCE_MWH
            )
            costs[done[is_fixed]] = 0.0
        return values_by_name(self.arrays.rows_by_constraint, lp_solution.duals) | values_by_name(
            self.arrays.columns_by_variable, costs
        )

    def penalties(self, lp_solution: LpSolution) -> dict[str, FloatArray]:
        """Return the penalties of exceeded limits by account, ``(time,)``. [EUR]"""
        arrays, steps = self.arrays, len(self.data.interval_hours)
        found: dict[str, FloatArray] = {}
        for name, (account, cost) in penalty_costs(self.data).items():
            if (places := arrays.columns_by_variable.get(name)) is not None and places.size:
                paid = np.broadcast_to(cost, places.shape) * lp_solution.values[places]
                by_step = np.bincount(
                    arrays.interval_of_column[places], weights=paid, minlength=steps
                )
                found[account] = found.get(account, 0.0) + by_step
        return found


def _without_penalties(
    model: _CompiledProblem, solver: LpSolver, lp_solution: LpSolution
) -> LpSolution:
    """Return the plan with duals that contain no penalty: each limit keeps its excess."""
    places = exceeded_columns(model.data, model.arrays.columns_by_variable, lp_solution.values)
    if not len(places):
        return lp_solution
    values = lp_solution.values[places]
    solver.set_column_bounds(places, values, high=values)
    solver.set_costs(places, np.zeros(len(places)))
    found = solver.run()
    if found is None:
        return lp_solution
    costs = found.reduced_costs.copy()
    costs[places] = 0.0
    return replace(lp_solution, duals=found.duals, reduced_costs=costs)


def _compile(
    problem: Problem, warm_start: WarmStart | None, first: Mapping[str, FloatArray]
) -> _CompiledProblem:
    data = build_model_data(problem)
    shape, parameters = signature_of(data), parameter_values(data)
    free = compile_model(shape).with_parameter_values(parameters)
    return _CompiledProblem(
        data=data,
        shape=shape,
        parameters=parameters,
        account_weights=account_weights(problem.weights),
        instants=problem.outlook["instant"].to_numpy(),
        free_arrays=free,
        arrays=fix_first_stage(free, first),
        matching_warm_start=warm_start
        if warm_start is not None and warm_start.model_signature == shape
        else None,
    )


def _relaxed(model: _CompiledProblem, solver: LpSolver, export: Path | None) -> LpSolution:
    """Return the optimum of the relaxation."""
    if export is not None:
        solver.export(export, compile_model(model.shape).column_and_row_names(model.instants))
    is_long = (
        model.matching_warm_start is None
        and len(model.arrays.row_low) >= MIN_ROWS_FOR_FEASIBILITY_CHECK
    )
    found = solver.run() if not is_long or is_feasible(model.arrays) else None
    if found is None:
        raise explain_infeasibility(model.data, model.arrays)
    return found


def _with_units(model: _CompiledProblem, solver: LpSolver, *, relaxed: LpSolution) -> LpSolution:
    """Return the plan with integer units."""
    arrays, fit = model.arrays, model.matching_warm_start
    last = shift_units(arrays, fit, model.instants) if fit else None
    if not arrays.is_integer.any():
        return relaxed
    lp_solution = solve_unit_commitment(
        arrays, model.account_weights, solver, relaxed=relaxed, last=last
    )
    if lp_solution is None:
        raise explain_infeasibility(model.data, solver.current_arrays(arrays))
    return lp_solution


WORK_DERATING_STEPS: Final = (0.8, 0.5, 0.0)
"""Shares of its power that work keeps at each attempt, where a failure would not be survived.
[1]
"""

DISCHARGE_DERATING: Final = 0.95
"""Factor on the discharge at which a tank may just fail: times are computed in coarse steps. [1]"""

MARGIN_GROWTH_FACTOR: Final = 1.5
"""Factor by which the margins grow from one attempt to the next. [1]"""


def decide(
    problem: Problem,
    *,
    previous: Decision | None = None,
    export: Path | None = None,
    first: Mapping[str, FloatArray] | None = None,
    warm_start: WarmStart | None = None,
) -> Decision:
    """Return the best schedule of a problem that the twin verifies as safe.

    Parameters
    ----------
    problem
        The problem.
    previous
        The decision in force, for the explanation of changes and as start.
    export
        File for the linear model of the last attempt, for other solvers.
    first
        First-stage decisions of a stochastic plan.
    warm_start
        Start values, by default those of the previous decision.

    Returns
    -------
    Decision
        The schedule with its verdict and explanation.

    Raises
    ------
    ProblemError
        If an argument has the wrong type.
    NoScheduleError
        If no plan satisfies every limit, or the twin rejects every plan found.
    SolverError
        If the solver fails.
    """
    _check_argument_types(problem, previous, warm_start, first=first, export=export)
    tightened = problem
    warm_start = warm_start or (previous.warm_start if previous else None)
    warm_start = warm_start and warm_start.limited_to(
        unit_counts(problem.site)
    )  # the last plan may belong to another site
    for attempt, share in enumerate((*WORK_DERATING_STEPS, 0.0), start=1):
        solution = solve_problem(tightened, warm_start, export=export, first=first)
        schedule = build_schedule(solution).assign_attrs(problem.outlook.attrs)
        verdict = verify(problem.site, problem.state, schedule)
        if verdict.is_safe:
            last = previous.schedule if previous else None
            explanation = replace(
                explain_schedule(solution, schedule, last),
                failures_reaching_limits=verdict.contingency_coverage.limiting_rows()
                if verdict.contingency_coverage
                else (),
                extra_chiller_texts=[str(called) for called in verdict.banks_with_extra_units],
            )
            return Decision(
                schedule=schedule,
                verdict=verdict,
                explanation=explanation,
                attempts=attempt,
                warm_start=solution.warm_start,
                objective=solution.objective,
                bound=solution.relaxed_objective,
            )
        warm_start = solution.warm_start
        tightened = _tightened(tightened, schedule, verdict, share=share)
    raise _refused(problem, verdict)


def _check_argument_types(
    problem: object, previous: object, warm_start: object, *, first: object, export: object
) -> None:
    others = {
        "previous": (previous, Decision),
        "warm_start": (warm_start, WarmStart),
        "first": (first, Mapping),
        "export": (export, Path),
    }
    given = {name: one for name, one in others.items() if one[0] is not None}
    check_argument_types("decide", problem=(problem, Problem), **given)


def _refused(problem: Problem, verdict: ScheduleVerdict) -> NoScheduleError:
    """Return the error that lists why no plan is safe, and what would help."""
    refusals = "\n".join(f"  {breach}" for breach in verdict.rejection_reasons)
    remedy = "lower the service or the work, or widen these limits"
    if verdict.uncovered_failures:
        required = problem.site.contingency.least_time
        remedy += (
            f"; for failures: lower contingency.least_time ({required:g} s) to the start time of "
            "the standby machines, enlarge the water loop, lower the power of the machine that "
            "fails, or add a spare one"
        )
    return NoScheduleError(
        f"{problem.site.name}: the twin rejects every plan found\n{refusals}\n  remedy: {remedy}"
    )


def _tightened(
    problem: Problem, schedule: xr.Dataset, verdict: ScheduleVerdict, *, share: float
) -> Problem:
    """Return the problem with wider margins, and less work where a failure is not survived.

    Margins answer violated limits. The model contains no failures: where a tank's own failure is
    not survived, its discharge is limited, because the cooling plant has to replace it; for other
    failures, work may use only a share of its planned power in those intervals.
    """
    margins = problem.margins
    if verdict.violations:
        wider = {name: MARGIN_GROWTH_FACTOR * value for name, value in margins.model_dump().items()}
        margins = margins.model_copy(update=wider)
    work_limit = problem.max_work_power.copy()
    discharge_limits = dict(problem.discharge_limits)
    if (coverage := verdict.contingency_coverage) is not None:
        is_tank = np.array([trip.failed_part is FailedPart.TANK for trip in coverage.contingencies])
        if "work_power" in schedule:
            short = np.flatnonzero(coverage.is_uncovered[~is_tank].any(axis=0))
            used = schedule["work_power"].sum("cohort").to_numpy()
            work_limit[short] = np.minimum(work_limit, share * used)[short]
        for row in np.flatnonzero(is_tank & coverage.is_uncovered.any(axis=1)).tolist():
            owner = coverage.contingencies[row].failed_machine
            discharge_limits[owner] = _discharge_limit(
                problem, schedule, coverage, row=row, share=share
            )
    return replace(
        problem,
        site=problem.site.with_margins(margins),
        work_power_limit=work_limit,
        discharge_limits=discharge_limits,
    )


def _discharge_limit(
    problem: Problem, schedule: xr.Dataset, coverage: ContingencyCoverage, *, row: int, share: float
) -> FloatArray:
    """Return the limit of a tank's discharge whose failure, in ``row``, is not survived. [MW]

    The water warms in proportion to the missing cooling. Therefore the planned discharge times the
    available over the required time is survived. The first limit holds in the exposed intervals.
    The second holds in all of them, because the optimum moves the discharge to other intervals. At
    ``share`` 0 the tank is idle.
    """
    owner = coverage.contingencies[row].failed_machine
    store = next(store for store in problem.site.stores if store.owner == owner)
    limit, short = problem.max_discharge(store), np.flatnonzero(coverage.is_uncovered[row])
    planned = machine_values(schedule, "tank_discharge", owner)[short]
    ratio = (
        DISCHARGE_DERATING * coverage.ride_through_minutes[row][short] / coverage.required_minutes
    )
    limit[short] = np.minimum(limit[short], planned * np.minimum(ratio, DISCHARGE_DERATING))
    if share == 0.0:
        return np.zeros_like(limit)
    return limit if share == WORK_DERATING_STEPS[0] else np.full_like(limit, limit.min())


def fix_first_stage(
    arrays: ModelArrays, first: Mapping[str, FloatArray], *, blocks: Sequence[str] = ("",)
) -> ModelArrays:
    """Return a model with the first-stage decisions of a ``TwoStageSolution`` fixed.

    ``blocks`` are the scenarios; an empty one is the model of one site itself.
    """
    if not first:
        return arrays
    low, high = arrays.column_low.copy(), arrays.column_high.copy()
    for name, values in first.items():
        for block in blocks:
            places = arrays.columns_by_variable[f"{block}.{name}" if block else name][: len(values)]
            is_fixed = np.isfinite(values)
            at = places[is_fixed]
            low[at] = high[at] = np.clip(values[is_fixed], low[at], high[at])
    return replace(arrays, column_low=low, column_high=high)


def mask_duals(costs: FloatArray, before: ModelArrays, after: ModelArrays) -> FloatArray:
    """Return reduced costs without those of fixed columns, where no limit binds.

    ``before`` is the model, ``after`` the same with fixed columns.
    """
    is_same = (before.column_low == after.column_low) & (before.column_high == after.column_high)
    return np.where(is_same, costs, 0.0)
