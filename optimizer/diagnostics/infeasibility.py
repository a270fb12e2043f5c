"""Explanation of infeasible problems by an elastic model, whose balances may be violated."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.compiler.structure import compile_model
from optimizer.diagnostics.binding import owner_of_block
from optimizer.model.components.workload import carrier_shares
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import ModelData, build_model_data, delivered_cost
from optimizer.model.rows import LOWER_BOUND_LABELS, ROW_LABELS
from optimizer.problem.problem import Problem
from optimizer.solver.highs import LpSolution, LpSolver, is_feasible
from twin import variables
from twin.errors import NoScheduleError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.units import format_minute
from twin.workload.queue import RackPool

type IntervalNumbers = NDArray[np.int32] | NDArray[np.intp]

SHORTAGE_TOLERANCE_MW: Final = 1e-3
"""Shortage of power that is ignored. [MW]"""

COLUMN_UNITS: Final[Mapping[str, str]] = {"level": "MWh", "work_credited": "MWh", "racks": "racks"}
"""Units of columns that are not powers."""

BALANCE_PREFIX: Final = "balance."

MAX_OUTPUT_SUFFIX: Final = ".max_output"
"""Suffix of rows that limit output to that of the running units."""

SEGMENT_COLUMN: Final = "segment"
"""Column of the output of a machine by segment."""

LEVEL_COLUMN: Final = "level"

SERVICE_SHARE: Final = 0.9
"""Share of the demand of inference below which less inference surely resolves a shortage. [1]"""

CAPACITY_WIDENING: Final = 1e-4
"""Relative increase of capacity that is ignored. [1]"""

MIN_OUTPUT_ROW: Final = "min_output"
"""Row of the minimum load of units."""


@dataclass(frozen=True, kw_only=True)
class CarrierShortage:
    """Shortage of a carrier in each interval, negative for excess, ``(time,)``. [MW]"""

    carrier: str
    power: FloatArray

    def describe(self, problem: Problem) -> str:
        """Return the shortage as text."""
        steps = np.flatnonzero(np.abs(self.power) > SHORTAGE_TOLERANCE_MW)
        worst = self.power[np.abs(self.power).argmax()]
        sense = "short" if worst > 0.0 else "too much"
        return f"{self.carrier} is {abs(worst):.3g} MW {sense} {_describe_time(problem, steps)}"


def explain_infeasibility(data: ModelData, arrays: ModelArrays) -> NoScheduleError:
    """Return the error that names the shortage, its time, the limits and the remedies."""
    problem = data.problem
    short, elastic = _shortages(data, _widened(data, arrays))
    loads, limits = [], []
    if elastic is not None:
        loads = list(_min_output_limits(arrays, elastic))
        limits = [
            *_limits(data, arrays, elastic),
            *loads,
            *_rows(_names(arrays.rows, elastic.rows)),
        ]
    start = format_minute(problem.outlook["instant"].to_numpy()[0])
    message = (
        f"{problem.site.name}, {start}, {problem.hours.sum():g} h: no schedule keeps every limit\n"
        f"  {'; '.join(one.describe(problem) for one in short) or 'no carrier is short'}\n"
        f"  binding limits: {'; '.join(limits) or 'none identified'}\n"
        f"  remedy: {', or '.join(_remedies(data, short, loads))}"
    )
    return NoScheduleError(message)


def _widened(data: ModelData, arrays: ModelArrays) -> ModelArrays:
    """Return the model with slightly larger machines.

    A machine at full output without any shortage is then not reported as a cause.
    """
    high = arrays.column_high.copy()
    for owner, curve in data.curves.items():
        last = arrays.columns[f"{owner}.segment"][:, -1]
        high[last] += CAPACITY_WIDENING * (curve.low + curve.width.sum(axis=1))
    return replace(arrays, column_high=high)


@dataclass(frozen=True, kw_only=True)
class ElasticSolution:
    """Minimal violation of equations, negative for excess, and its causes.

    ``rows``, and lower and upper bounds of columns ``low`` and ``high``, would reduce it if
    relaxed.
    """

    violations: FloatArray
    rows: IntArray
    low: IntArray
    high: IntArray


def _shortages(
    data: ModelData, arrays: ModelArrays
) -> tuple[list[CarrierShortage], ElasticSolution | None]:
    """Return shortages of carriers and their causes; nothing if other rows conflict too.

    Units that must stay off may make a minimum output infeasible, which is a shortage too. A
    shortage may be spread over the carriers that a carrier feeds; it is assigned to those whose
    limits cause it.
    """
    every = [name for name in arrays.rows if name.startswith(BALANCE_PREFIX)]
    units = [name for name in arrays.rows if name.endswith(MAX_OUTPUT_SUFFIX)]
    for names in (every, [*every, *units] if units else []):
        if not names:
            continue
        elastic_model = ElasticModel(arrays, np.concatenate([arrays.rows[name] for name in names]))
        elastic = elastic_model.minimise_violations()
        if elastic is not None:
            own = {f"{BALANCE_PREFIX}{carrier}" for carrier in _carriers(data, arrays, elastic)}
            may = np.repeat([name in own or name in units for name in names], len(data.hours))
            is_elsewhere = own and (np.abs(elastic.violations[~may]) > SHORTAGE_TOLERANCE_MW).any()
            fewer = elastic_model.minimise_violations(may) if is_elsewhere else None
            elastic = elastic if fewer is None else fewer
            return list(_short(data, names, elastic)), elastic
    return [], None


def _short(
    data: ModelData, names: list[str], elastic: ElasticSolution
) -> Iterator[CarrierShortage]:
    """Yield shortages and excesses of carriers."""
    outputs = {one.owner: one.output for one in data.problem.site.conversions}
    found: dict[str, FloatArray] = {}
    for name, missed in zip(names, np.split(elastic.violations, len(names)), strict=True):
        is_balance = name.startswith(BALANCE_PREFIX)
        carrier = name.removeprefix(BALANCE_PREFIX) if is_balance else outputs[name.split(".")[0]]
        found[carrier] = found.get(carrier, 0.0) + (missed if is_balance else -missed)
    for carrier, power in found.items():
        if np.abs(power).max() > SHORTAGE_TOLERANCE_MW:
            yield CarrierShortage(carrier=carrier, power=power)


def _carriers(data: ModelData, arrays: ModelArrays, elastic: ElasticSolution) -> set[str]:
    """Return the carriers of the machines whose limits cause the shortage."""
    site = data.problem.site
    gives = {one.owner: one.output for one in site.conversions}
    gives |= {store.owner: store.carrier for store in site.stores}
    gives |= {exchange.owner: exchange.carrier for exchange in site.exchanges}
    columns = np.concatenate([elastic.low, elastic.high])
    found = {name.partition(".")[0] for name in _names(arrays.rows, elastic.rows)}
    for name in _names(arrays.columns, columns):
        owner, _, word = name.partition(".")
        is_end = word == SEGMENT_COLUMN and np.isin(arrays.columns[name][:, -1], elastic.high).any()
        found |= {owner} if is_end or (word != SEGMENT_COLUMN and word in ROW_LABELS) else set()
    return {gives[owner] for owner in found if owner in gives}


def _remedies(data: ModelData, short: list[CarrierShortage], loads: list[str]) -> Iterator[str]:
    """Yield the remedies of shortages and excesses.

    Less inference helps only if a plan without any exists, because idle racks draw power too.
    """
    lacking = [one for one in short if one.power.max() > SHORTAGE_TOLERANCE_MW]
    is_sure = not loads and all(_is_small(data, one) for one in lacking)
    is_enough = is_sure or _has_a_plan_without_service(data)
    if lacking and is_enough:
        dearest = max(lacking, key=lambda one: one.power.max() / _service_draw(data, one))
        whose = f" of {dearest.carrier}" if len(lacking) > 1 else ""
        power = f"{dearest.power.max():.3g} MW{whose}"
        yield f"lower the service by what {power} serve in these hours"
    most = min(short, key=lambda one: one.power.min(), default=None)
    if most is not None and -most.power.min() > SHORTAGE_TOLERANCE_MW:
        yield f"draw {-most.power.min():.3g} MW more of {most.carrier} in these hours"
        if loads:
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
    pool = RackPool.from_site(data.problem.site)
    draw = (
        _service_draw(data, short) * float(pool.power_above_idle(1.0)) * data.problem.service_racks
    )
    return bool((short.power <= np.maximum(SERVICE_SHARE * draw, SHORTAGE_TOLERANCE_MW)).all())


def _has_a_plan_without_service(data: ModelData) -> bool:
    """Return whether a plan without inference is feasible, at any cost."""
    outlook = data.problem.outlook
    idle = outlook.assign(service_racks=0.0 * outlook["service_racks"])
    idle_problem = replace(data.problem, outlook=variables.tag_dataset(idle))
    other = replace(build_model_data(idle_problem), block=data.block)
    return is_feasible(compile_model(signature_of(other)).arrays(parameter_values(other)))


def _limits(data: ModelData, arrays: ModelArrays, elastic: ElasticSolution) -> Iterator[str]:
    """Yield the bounds that cause the shortage, each with its owner and value."""
    for name, at in arrays.columns.items():
        owner, _, word = name.partition(".")
        hits = np.isin(at, elastic.high)
        if word == SEGMENT_COLUMN and hits[:, -1].any():
            curve = data.curves[owner]
            most = float((curve.low + curve.width.sum(axis=1))[hits[:, -1]].max())
            yield f"{owner} (at most {most:.4g} MW)"
        elif word in ROW_LABELS and word != SEGMENT_COLUMN and hits.any():
            most = float(arrays.column_high[at[hits]].max())
            yield f"{ROW_LABELS[word]} ({owner}, {most:.4g} {COLUMN_UNITS.get(word, 'MW')})"
        elif word == LEVEL_COLUMN and (hits := np.isin(at, elastic.low)).any():
            least = float(arrays.column_low[at[hits]].max())
            yield f"{LOWER_BOUND_LABELS[word]} ({owner}, {least:.4g} {COLUMN_UNITS[word]})"


def _min_output_limits(arrays: ModelArrays, elastic: ElasticSolution) -> Iterator[str]:
    """Yield the minimum loads that cause the shortage, each with its owner and value."""
    for name, at in arrays.rows.items():
        owner, _, word = name.partition(".")
        rows = at[np.isin(at, elastic.rows)]
        if word == MIN_OUTPUT_ROW and len(rows):
            units = arrays.columns[f"{owner}.on"]
            of = np.concatenate([np.arange(*arrays.start[row : row + 2]) for row in rows])
            least = arrays.value[of][np.isin(arrays.index[of], units)].max()
            yield f"{ROW_LABELS[word]} ({owner}, {least:.4g} MW each)"


def _rows(names: Iterable[str]) -> Iterator[str]:
    """Yield labels of other rows that cause the shortage, each with its owner."""
    for name in names:
        owner, _, word = name.partition(".")
        if word in ROW_LABELS and word != MIN_OUTPUT_ROW:
            yield f"{ROW_LABELS[word]} ({owner_of_block(owner)})"


def _names(places: Mapping[str, IntArray], wanted: IntArray) -> list[str]:
    """Return the names that have some of the positions."""
    return [name for name, at in places.items() if np.isin(at, wanted).any()]


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


DUAL_TOLERANCE: Final = 1e-6
"""Dual below which a limit is not a cause. [1]"""


class ElasticModel:
    """A model in which some equations may be violated, at a cost of 1 per unit.

    Nothing else has a cost. By duality, exactly the limits with a dual would reduce the violation,
    so one solve finds the violations and their causes.
    """

    def __init__(self, arrays: ModelArrays, rows: IntArray) -> None:
        self._rows = rows.astype(np.int32)
        self._columns = len(arrays.column_low)
        self._solver = LpSolver(arrays, dict.fromkeys(arrays.accounts.names, 0.0))
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
        return None if found is None else self._elastic_solution(found)

    def _elastic_solution(self, found: LpSolution) -> ElasticSolution:
        added = found.values[self._columns :].reshape(2, len(self._rows))
        prices = found.reduced_costs[: self._columns]
        return ElasticSolution(
            violations=np.array([1.0, -1.0]) @ added,
            rows=np.flatnonzero(np.abs(found.duals) > DUAL_TOLERANCE).astype(np.int32),
            low=np.flatnonzero(prices > DUAL_TOLERANCE).astype(np.int32),
            high=np.flatnonzero(prices < -DUAL_TOLERANCE).astype(np.int32),
        )
