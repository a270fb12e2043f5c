"""Explanation of infeasible problems by an elastic model, whose balances may be violated."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.compiler.structure import compile_model
from optimizer.model.components.converter import CAPACITY_LABELS
from optimizer.model.components.unit_commitment import MIN_OUTPUT_LABEL, RUNNING_OUTPUT_LABEL
from optimizer.model.components.workload import carrier_shares
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData, build_model_data
from optimizer.model.rows import Limit, label_with_owner
from optimizer.model.terminal_value import delivered_cost
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolver, is_feasible
from twin import variables
from twin.errors import NoScheduleError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.units import format_minute
from twin.workload.queue import RackPool

type IntervalNumbers = NDArray[np.int32] | NDArray[np.intp]

SHORTAGE_TOLERANCE_MW: Final = 1e-3
"""Shortage of power that is ignored. [MW]"""

BALANCE_PREFIX: Final = "balance."

RESOLVING_SERVICE_SHARE: Final = 0.9
"""Share of the demand of inference below which less inference surely resolves a shortage. [1]"""

IGNORED_CAPACITY_INCREASE_SHARE: Final = 1e-4
"""Relative increase of capacity that is ignored. [1]"""


@dataclass(frozen=True, kw_only=True)
class CarrierShortage:
    """Shortage of a carrier in each interval, negative for excess, ``(time,)``. [MW]"""

    carrier: str
    shortage: FloatArray

    def describe(self, problem: Problem) -> str:
        """Return the shortage as text."""
        steps = np.flatnonzero(np.abs(self.shortage) > SHORTAGE_TOLERANCE_MW)
        worst = self.shortage[np.abs(self.shortage).argmax()]
        sense = "short" if worst > 0.0 else "too much"
        return f"{self.carrier} is {abs(worst):.3g} MW {sense} {_describe_time(problem, steps)}"


def explain_infeasibility(data: ModelData, arrays: ModelArrays) -> NoScheduleError:
    """Return the error that names the shortage, its time, the limits and the remedies."""
    problem = data.problem
    short, elastic = _shortages(data, _widened(data, arrays))
    causes = [] if elastic is None else list(_causes(arrays, elastic))
    limits = [_describe_limit(data, arrays, limit, hits) for limit, hits in causes]
    has_min_load = any(limit.spec.label == MIN_OUTPUT_LABEL for limit, _ in causes)
    start = format_minute(problem.outlook["instant"].to_numpy()[0])
    message = (
        f"{problem.site.name}, {start}, {problem.interval_hours.sum():g} h: "
        "no schedule keeps every limit\n"
        f"  {'; '.join(one.describe(problem) for one in short) or 'no carrier is short'}\n"
        f"  binding limits: {'; '.join(limits) or 'none identified'}\n"
        f"  remedy: {', or '.join(_remedies(data, short, has_min_load=has_min_load))}"
    )
    return NoScheduleError(message)


def _widened(data: ModelData, arrays: ModelArrays) -> ModelArrays:
    """Return the model with slightly larger machines.

    A machine at full output without any shortage is then not reported as a cause.
    """
    high = arrays.column_high.copy()
    for owner, curve in data.curves.items():
        last = arrays.columns_by_variable[f"{owner}.segment"][:, -1]
        high[last] += IGNORED_CAPACITY_INCREASE_SHARE * (
            curve.min_output + curve.segment_widths.sum(axis=1)
        )
    return replace(arrays, column_high=high)


@dataclass(frozen=True, kw_only=True)
class ElasticSolution:
    """Minimal violation of equations, negative for excess, and its causes.

    ``causing_rows``, and the bounds of columns ``causing_lower_bounds`` and
    ``causing_upper_bounds``, would reduce it where they are marked.
    """

    violations: FloatArray
    causing_rows: BoolArray
    causing_lower_bounds: BoolArray
    causing_upper_bounds: BoolArray


def _shortages(
    data: ModelData, arrays: ModelArrays
) -> tuple[list[CarrierShortage], ElasticSolution | None]:
    """Return shortages of carriers and their causes; nothing if other rows conflict too.

    Units that must stay off may make a minimum output infeasible, which is a shortage too. A
    shortage may be spread over the carriers that a carrier feeds; it is assigned to those whose
    limits cause it.
    """
    every = [name for name in arrays.rows_by_constraint if name.startswith(BALANCE_PREFIX)]
    units = [one.name for one in arrays.limits if one.spec.label == RUNNING_OUTPUT_LABEL]
    for names in (every, [*every, *units] if units else []):
        if not names:
            continue
        elastic_model = ElasticModel(
            arrays, np.concatenate([arrays.rows_by_constraint[name] for name in names])
        )
        elastic = elastic_model.minimise_violations()
        if elastic is not None:
            own = {f"{BALANCE_PREFIX}{carrier}" for carrier in _carriers(data, arrays, elastic)}
            may = np.repeat(
                [name in own or name in units for name in names], len(data.interval_hours)
            )
            is_elsewhere = own and (np.abs(elastic.violations[~may]) > SHORTAGE_TOLERANCE_MW).any()
            fewer = elastic_model.minimise_violations(may) if is_elsewhere else None
            elastic = elastic if fewer is None else fewer
            return list(_short(data, names, elastic)), elastic
    return [], None


def _short(
    data: ModelData, names: list[str], elastic: ElasticSolution
) -> Iterator[CarrierShortage]:
    """Yield shortages and excesses of carriers."""
    outputs = {one.owner: one.output_carrier for one in data.problem.site.conversions}
    found: dict[str, FloatArray] = {}
    for name, missed in zip(names, np.split(elastic.violations, len(names)), strict=True):
        is_balance = name.startswith(BALANCE_PREFIX)
        carrier = name.removeprefix(BALANCE_PREFIX) if is_balance else outputs[name.split(".")[0]]
        found[carrier] = found.get(carrier, 0.0) + (missed if is_balance else -missed)
    for carrier, power in found.items():
        if np.abs(power).max() > SHORTAGE_TOLERANCE_MW:
            yield CarrierShortage(carrier=carrier, shortage=power)


def _carriers(data: ModelData, arrays: ModelArrays, elastic: ElasticSolution) -> set[str]:
    """Return the carriers of the machines whose limits cause the shortage."""
    site = data.problem.site
    gives = {one.owner: one.output_carrier for one in site.conversions}
    gives |= {store.owner: store.carrier for store in site.stores}
    gives |= {exchange.owner: exchange.carrier for exchange in site.exchanges}
    found = {limit.owner for limit, _ in _causes(arrays, elastic)}
    found |= {
        n.partition(".")[0]
        for n, at in arrays.rows_by_constraint.items()
        if elastic.causing_rows[at].any()
    }
    bounds = elastic.causing_lower_bounds | elastic.causing_upper_bounds
    found |= {
        limit.owner
        for limit in arrays.limits
        if not (limit.is_row or limit.spec.label in CAPACITY_LABELS)
        and bounds[arrays.columns_by_variable[limit.name]].any()
    }
    return {gives[owner] for owner in found if owner in gives}


def _remedies(
    data: ModelData, short: list[CarrierShortage], *, has_min_load: bool
) -> Iterator[str]:
    """Yield the remedies of shortages and excesses.

    Less inference helps only if a plan without any exists, because idle racks draw power too.
    """
    lacking = [one for one in short if one.shortage.max() > SHORTAGE_TOLERANCE_MW]
    is_sure = not has_min_load and all(_is_small(data, one) for one in lacking)
    is_enough = is_sure or _has_a_plan_without_service(data)
    if lacking and is_enough:
        dearest = max(lacking, key=lambda one: one.shortage.max() / _service_draw(data, one))
        whose = f" of {dearest.carrier}" if len(lacking) > 1 else ""
        power = f"{dearest.shortage.max():.3g} MW{whose}"
        yield f"lower the service by what {power} serve in these hours"
    most = min(short, key=lambda one: one.shortage.min(), default=None)
    if most is not None and -most.shortage.min() > SHORTAGE_TOLERANCE_MW:
        yield f"draw {-most.shortage.min():.3g} MW more of {most.carrier} in these hours"
        if has_min_load:
            yield "lower the least load of these units"
    if not short:
        yield "lower the service in these hours"
    also = "" if is_enough else ": without any service it would still be short"
    yield f"widen one of these limits{also}"


def _service_draw(data: ModelData, short: CarrierShortage) -> float:
    """Return the draw of a carrier per MW of inference, by mean slopes. [1]"""
    each = delivered_cost({short.carrier: 1.0}, data.problem, data.curves)
    works = data.problem.site.flexible_loads
    draw = sum(each.get(carrier, 0.0) * share for carrier, share in carrier_shares(works).items())
    return max(draw, SHORTAGE_TOLERANCE_MW)


def _is_small(data: ModelData, short: CarrierShortage) -> bool:
    """Return whether inference draws far more of a carrier than its shortage."""
    rack = float(RackPool.from_site(data.problem.site).power_above_idle(1.0))
    draw = RESOLVING_SERVICE_SHARE * (
        _service_draw(data, short) * rack * data.problem.service_racks
    )
    return bool((short.shortage <= np.maximum(draw, SHORTAGE_TOLERANCE_MW)).all())


def _has_a_plan_without_service(data: ModelData) -> bool:
    """Return whether a plan without inference is feasible, at any cost."""
    outlook = data.problem.outlook
    idle = outlook.assign(service_racks=0.0 * outlook["service_racks"])
    idle_problem = replace(data.problem, outlook=variables.tag_dataset(idle))
    other = replace(build_model_data(idle_problem), block=data.block)
    return is_feasible(
        compile_model(signature_of(other)).with_parameter_values(parameter_values(other))
    )


def _causes(arrays: ModelArrays, elastic: ElasticSolution) -> Iterator[tuple[Limit, BoolArray]]:
    """Yield the limits that cause the shortage, with their values that do: bounds, loads, rows."""
    found: set[str] = set()
    for limit in sorted(
        arrays.limits, key=lambda one: (one.is_row, one.spec.label != MIN_OUTPUT_LABEL)
    ):
        if limit.is_row:
            hits = elastic.causing_rows[arrays.rows_by_constraint[limit.name]]
        else:
            at = arrays.columns_by_variable[limit.name]
            hits = (
                elastic.causing_lower_bounds
                if limit.is_lower_bound
                else elastic.causing_upper_bounds
            )[at]
        if limit.spec.label in CAPACITY_LABELS:
            hits[:, :-1] = False
        if limit.spec.label and hits.any() and limit.name not in found:
            found.add(limit.name)
            yield limit, hits


def _describe_limit(data: ModelData, arrays: ModelArrays, limit: Limit, hits: BoolArray) -> str:
    """Return a limit that causes the shortage with its owner and, of a bound, its value."""
    label, unit = limit.spec.label, limit.spec.unit
    if label in CAPACITY_LABELS:
        curve = data.curves[limit.owner]
        most = float((curve.min_output + curve.segment_widths.sum(axis=1))[hits[:, -1]].max())
        return f"{limit.owner} (at most {most:.4g} MW)"
    if label == MIN_OUTPUT_LABEL:
        least = parameter_values(data)[f"{limit.block}.unit_min_output"][hits].max()
        return label_with_owner(label, f"{limit.owner}, {least:.4g} MW each")
    if limit.is_row:
        return limit.label
    bounds = arrays.column_low if limit.is_lower_bound else arrays.column_high
    value = float(bounds[arrays.columns_by_variable[limit.name][hits]].max())
    return label_with_owner(label, f"{limit.owner}, {value:.4g} {unit}".removeprefix(", "))


def _describe_time(problem: Problem, steps: IntervalNumbers) -> str:
    """Return the first period of some intervals, and the number of further ones, as text."""
    instants = problem.outlook["instant"].to_numpy()
    ends = np.flatnonzero(np.diff(steps) > 1)
    first = steps[: ends[0] + 1] if len(ends) else steps
    period = (
        f"from {format_minute(instants[first.min()])} to {format_minute(instants[first.max() + 1])}"
    )
    if not len(ends):
        return period
    times = "once more" if len(ends) == 1 else f"{len(ends)} times more"
    return f"{period} and {times} until {format_minute(instants[steps.max() + 1])}"


MIN_CAUSE_DUAL: Final = 1e-6
"""Dual below which a limit is not a cause. [1]"""


class ElasticModel:
    """A model in which some equations may be violated, at a cost of 1 per unit.

    Nothing else has a cost. By duality, exactly the limits with a dual would reduce the violation,
    so one solve finds the violations and their causes.
    """

    def __init__(self, arrays: ModelArrays, rows: IntArray) -> None:
        self._rows = rows.astype(np.int32)
        self._columns = len(arrays.column_low)
        self._solver = LpSolver(arrays, dict.fromkeys(arrays.accounts.account_names, 0.0))
        self._solver.add_elastic_columns(self._rows)

    def minimise_violations(self, may: BoolArray | None = None) -> ElasticSolution | None:
        """Return the minimal violation; None if other rows conflict.

        ``may`` marks the equations that may be violated; by default all.
        """
        count = len(self._rows)
        if may is not None:
            most = np.tile(np.where(may, np.inf, 0.0), 2)
            places = self._columns + np.arange(2 * count, dtype=np.int32)
            self._solver.set_column_bounds(places, np.zeros(2 * count), high=most)
        found = self._solver.run()
        if found is None:
            return None
        added = found.values[self._columns :].reshape(2, count)
        prices = found.reduced_costs[: self._columns]
        return ElasticSolution(
            violations=np.array([1.0, -1.0]) @ added,
            causing_rows=np.abs(found.duals) > MIN_CAUSE_DUAL,
            causing_lower_bounds=prices > MIN_CAUSE_DUAL,
            causing_upper_bounds=prices < -MIN_CAUSE_DUAL,
        )
