"""Movable work: racks by cohort and cap, preemption losses, and reserves provided by work.

=================================  ===============  =======  =======================================
Name                               Unit             Axes     Meaning
=================================  ===============  =======  =======================================
**Variables**
racks                              1                t, c, u  racks of a cohort at a cap; 0 <= racks
                                                             <= racks_high
used_power                         MW               t        power of work above idle; 0 <=
                                                             used_power <= max_work_power
work_credited                      MWh              i, c     work done plus work overdue; min_work
                                                             <= work_credited <= max_work
work_overdue                       MWh              i, c     work overdue; 0 <= work_overdue <=
                                                             min_work
paused_racks                       1                t, g     racks paused before their jobs ended;
                                                             >= 0
capacity_<product>                 MW               m, c     reserve capacity; 0 <= capacity <=
                                                             <product>_most
**Parameters**
work, power                        MW               c, u     work rate and power above idle of a
                                                             rack
hours                              h                t        length of the interval
min_work, max_work                 MWh              i, c     work due, and work that has arrived
racks_limit, free_racks            1                t, c; t  racks that the jobs can use; racks
                                                             without inference
value                              EUR/MWh          c        cost of work left undone
running                            1                g        racks that run before the horizon
continuing_share                   1                t, c     share of racks whose jobs continue
                                                             after the interval
pause_cost                         EUR              g        cost of pausing a rack
work_per_power, preemption_energy  MWh/MWh, MWh/MW  c        work per energy; work lost per power
                                                             when paused
<product>_spent_up                 h                t, w     energy per capacity, for activations
                                                             that end with t
<carrier>_share, <carrier>_always  1, MW            -; t     draw per power above idle; draw of idle
                                                             racks and inference
**Constraints**
progress                           MWh              t, c     work_credited[t+1] - work_overdue[t+1]
                                                             - work_credited[t] + work_overdue[t] ==
                                                             hours * sum_u work * racks
power_balance                      MW               t        used_power == sum_cu power * racks
cohort_racks                       1                t, c     sum_u racks <= racks_limit
site_racks                         1                t        sum_cu racks <= free_racks
pauses_<g>                         1                t > 0    sum_cu continuing_share[t-1] *
                                                             racks[t-1] - sum_cu racks[t] <=
                                                             paused_racks[t]
pauses_first_<g>                   1                t = 0    running - sum_cu racks[0] <=
                                                             paused_racks[0]
stoppable_power                    MW               t, c     sum power_up * capacity <= sum_u power
                                                             * racks
deferral_limit                     MWh              t, c     sum_w spent_up * work_per_power *
                                                             capacity + sum preemption_energy *
                                                             capacity <= work_credited[t+1] -
                                                             min_work[t+1]
**Demand, offer and cost**
<carrier>                          MW               t        always + share * used_power
<product>                          MW               t        sum_c capacity (upward)
lateness                           MWh h            t        hours * sum_c work_overdue[t+1]
waiting                            MWh h            t        hours * sum_c (max_work -
                                                             work_credited)[t+1]
terminal                           EUR                       sum_c value * (max_work - work_credited
                                                             + work_overdue)[end] + sum_tg
                                                             pause_cost * paused_racks
activation                         EUR              t        sum_c cost * capacity
=================================  ===============  =======  =======================================

Axes: t interval, i instant, c cohort, u cap, g kind of work with pause loss, m interval with past
ones in front, w interval of an activation; sums without index run over the products.

Each cap is an exact point of the throughput curve, so that power and work always belong together.
Of racks of a cohort with :math:`r` hours to run on average, the share :math:`h/r` ends in :math:`h`
hours; fewer racks than that are pauses. A pause costs as much as the same work left undone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import (
    ModelAssembler,
    add_intervals,
    add_params,
    add_rows,
    add_terms,
    add_var,
)
from optimizer.model.components.reserve_product import (
    ReserveEligibility,
    eligibility,
    mean_energy_price,
    settlement_price,
)
from optimizer.model.model_data import CAP_LEVEL_COUNT, ModelData, cap_levels
from optimizer.model.rows import RowSpec, reserve_column_name, share_where_positive
from optimizer.problem.checks import PREEMPTION_VARIABLES
from optimizer.problem.migration import incoming_cohorts, outgoing_cohorts
from optimizer.problem.obligations_and_reserves import eligible_work
from twin.feasibility.reserve_activation import activation_overlap
from twin.physics import FloatArray
from twin.relations import FlexibleLoad
from twin.site_settings import WorkKind
from twin.workload.cohorts import EXPECTED_COHORT_SUFFIX
from twin.workload.queue import RackPool

CREDITED_WORK_COLUMN: Final = "work.work_credited"
"""Name of the column of credited work in a model of one site."""

ARRIVED_WORK_LABEL: Final = "work that has arrived"

MAX_TRUSTED_DUAL_EUR: Final = 1000.0
"""Dual above which a limit of work is reported without one. Where jobs must run as they arrive,
arrivals, deadlines and racks coincide, and duals are arbitrary. Limits of arrivals and of racks of
jobs are always reported without a dual. [EUR per its unit]
"""

WORK_LIMIT_SPEC: Final = RowSpec(owner="", max_trusted_dual=MAX_TRUSTED_DUAL_EUR)
"""A limit of work, which belongs to no machine."""

JOB_RACKS_SPEC: Final = RowSpec(
    label="racks that the waiting jobs can use", unit="rack", owner="", max_trusted_dual=0.0
)

type CohortGroups = tuple[tuple[int, ...], ...]
"""For each kind of work with pause loss, the numbers of its cohorts."""


@dataclass(frozen=True, kw_only=True)
class WorkloadSignature:
    """Everything about the work of a site that decides its rows and columns.

    ``carriers`` are electricity and cooling. ``outgoing_cohorts`` cohorts may leave the site;
    :mod:`optimizer.model.components.migration` writes their progress. ``preemptible_cohorts`` are
    the cohorts of kinds with pause loss.
    """

    cohort_count: int
    carriers: tuple[str, ...]
    reserve_eligibility: ReserveEligibility
    outgoing_cohorts: tuple[int, ...] = ()
    preemptible_cohorts: CohortGroups = ()


def signature(works: Sequence[FlexibleLoad], data: ModelData) -> WorkloadSignature:
    """Return the signature of the work of all halls, which share it."""
    return WorkloadSignature(
        cohort_count=data.problem.outlook.sizes["cohort"],
        carriers=tuple(carrier_shares(works)),
        reserve_eligibility=work_eligibility(data),
        outgoing_cohorts=outgoing_cohorts(data.problem.migration, data.problem.outlook),
        preemptible_cohorts=cohorts_by_kind(data),
    )


def parameters(works: Sequence[FlexibleLoad], data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of the work: its bounds, caps, and the draw of racks."""
    problem, pool = data.problem, RackPool.from_site(data.problem.site)
    kinds = [problem.site.work[str(name)] for name in problem.outlook["kind"].to_numpy()]
    caps = [(kind, cap_levels(kind)) for kind in kinds]
    shape = (-1, CAP_LEVEL_COUNT)
    power = np.array([pool.power_above_idle(levels) for _, levels in caps]).reshape(shape)
    done = np.array([kind.throughput.throughput_at(levels) for kind, levels in caps])
    work = pool.rack_power * done.reshape(shape)
    limit = problem.series("work_racks_limit")
    is_other = np.diff(power, axis=1, append=np.inf) > 0.0  # a kind without tolerance has one cap
    always = pool.total_power(problem.service_racks)
    later = sum(data.terminal_value.get(c, 0.0) * x for c, x in carrier_shares(works).items())
    value = later * (power / work).min(axis=1)
    found = {
        "work": work,
        "power": power,
        "hours": data.interval_hours,
        "value": value,
        "racks_limit": limit,
        "racks_high": limit[:, :, None] * is_other,
        "free_racks": problem.site.rack_count - problem.service_racks,
        "max_work_power": problem.max_work_power,
        "min_work": problem.series("work_least"),
        "max_work": problem.series("work_most"),
    }
    for carrier, share in carrier_shares(works).items():
        found[f"{carrier}_share"], found[f"{carrier}_always"] = np.array(share), share * always
    found |= _preemption_parameters(data, kinds, value)
    return found | _load_reserve_parameters(data, kinds, power=power, work=work)


def build(block: pyo.Block, signature: WorkloadSignature, assembler: ModelAssembler) -> None:
    """Write the work into its empty block and post draws, lateness, waiting and undone work."""
    model = block.model()
    block.cohorts = pyo.RangeSet(0, signature.cohort_count - 1)
    block.caps = pyo.RangeSet(0, CAP_LEVEL_COUNT - 1)
    _declare(block)
    _constrain(block, signature)
    for carrier in signature.carriers:
        _post(block, carrier, assembler)
    assembler.add_cost(
        "lateness",
        lambda t: block.hours[t] * sum(block.work_overdue[t + 1, c] for c in block.cohorts),
    )
    assembler.add_cost(
        "waiting",
        lambda t: (
            block.hours[t]
            * sum(block.max_work[t + 1, c] - block.work_credited[t + 1, c] for c in block.cohorts)
        ),
    )
    end = model.instant.last()
    assembler.add_fixed_cost(
        "terminal",
        lambda: sum(
            block.value[c]
            * (block.max_work[end, c] - block.work_credited[end, c] + block.work_overdue[end, c])
            for c in block.cohorts
        ),
    )
    build_load_reserve(block, signature.reserve_eligibility, assembler)
    build_preemption(block, signature.preemptible_cohorts, assembler)


def _declare(block: pyo.Block) -> None:
    """Declare parameters, racks, power and credited work."""
    time, instant, cohorts = block.model().time, block.model().instant, block.cohorts
    add_params(block, "work power", cohorts, block.caps)
    add_params(block, "value", cohorts)
    add_params(block, "hours free_racks max_work_power", time)
    add_params(block, "racks_limit", time, cohorts)
    add_params(block, "racks_high", time, cohorts, block.caps)
    add_params(block, "min_work max_work", instant, cohorts)
    racks = replace(JOB_RACKS_SPEC, change_per_unit=share_where_positive("racks_high"))
    add_var(block, "racks", time, cohorts, block.caps, high=block.racks_high, upper=racks)
    failures = replace(WORK_LIMIT_SPEC, label="work with which single failures are endured")
    add_var(block, "used_power", time, high=block.max_work_power, upper=failures)
    arrived = replace(WORK_LIMIT_SPEC, label=ARRIVED_WORK_LABEL, unit="MWh", max_trusted_dual=0.0)
    add_var(
        block,
        "work_credited",
        instant,
        cohorts,
        low=block.min_work,
        high=block.max_work,
        # work that has arrived by the end does not change
        upper=replace(
            arrived, change_per_unit=lambda of: np.arange(len(of("max_work")), 0, -1) > 1
        ),
        lower=replace(WORK_LIMIT_SPEC, label="deadlines of the work", unit="MWh"),
    )
    add_var(block, "work_overdue", instant, cohorts, high=block.min_work)


def _constrain(block: pyo.Block, signature: WorkloadSignature) -> None:
    """Add the rows of progress, power and racks."""
    model, local = block.model(), block.cohorts
    if signature.outgoing_cohorts:
        others = [c for c in range(signature.cohort_count) if c not in signature.outgoing_cohorts]
        block.local = local = pyo.Set(initialize=others)
    if len(local):
        block.progress = pyo.Constraint(
            model.time,
            local,
            rule=lambda b, t, c: (
                b.work_credited[t + 1, c]
                - b.work_overdue[t + 1, c]
                - b.work_credited[t, c]
                + b.work_overdue[t, c]
                == b.hours[t] * sum(b.work[c, u] * b.racks[t, c, u] for u in b.caps)
            ),
        )
    block.power_balance = pyo.Constraint(
        model.time,
        rule=lambda b, t: (
            b.used_power[t]
            == sum(b.power[c, u] * b.racks[t, c, u] for c in b.cohorts for u in b.caps)
        ),
    )
    block.cohort_racks = add_rows(
        model.time,
        block.cohorts,
        rule=lambda b, t, c: sum(b.racks[t, c, u] for u in b.caps) <= b.racks_limit[t, c],
        spec=JOB_RACKS_SPEC,
    )
    block.site_racks = add_rows(
        model.time,
        rule=lambda b, t: (
            sum(b.racks[t, c, u] for c in b.cohorts for u in b.caps) <= b.free_racks[t]
        ),
        spec=replace(WORK_LIMIT_SPEC, label="racks of the site", unit="rack"),
    )


def _post(block: pyo.Block, carrier: str, assembler: ModelAssembler) -> None:
    """Post the draw of a carrier by all racks."""
    (always,) = add_params(block, f"{carrier}_always", block.model().time)
    (share,) = add_params(block, f"{carrier}_share")
    assembler.add_demand(carrier, lambda t: always[t] + share * block.used_power[t])


def carrier_shares(works: Sequence[FlexibleLoad]) -> dict[str, float]:
    """Return the draw of each carrier per power of racks, halls weighted by racks. [1]"""
    racks = sum(work.racks for work in works)
    found: dict[str, float] = {}
    for work in works:
        for carrier, share in {work.carrier: 1.0, **work.heat_shares}.items():
            found[carrier] = found.get(carrier, 0.0) + share * work.racks / racks
    return found


def cohorts_by_kind(data: ModelData) -> CohortGroups:
    """Return the cohorts of each kind with pause loss, if the outlook describes pauses."""
    outlook = data.problem.outlook
    if PREEMPTION_VARIABLES[0] not in outlook:
        return ()
    names = outlook["kind"].to_numpy()
    kinds = [kind for kind in data.problem.site.work.values() if kind.pause_loss > 0.0]
    found = (np.flatnonzero(names == kind.name).tolist() for kind in kinds)
    return tuple(tuple(some) for some in found if some)


def _preemption_parameters(
    data: ModelData, kinds: Sequence[WorkKind], value: FloatArray
) -> dict[str, FloatArray]:
    """Return the parameter values of preemption; empty if no kind has pause loss.

    ``value`` is the cost of work left undone, by cohort. [EUR MWh-1]
    """
    problem, groups = data.problem, cohorts_by_kind(data)
    if not groups:
        return {}
    rack = RackPool.from_site(problem.site).rack_power
    cost = [value[some[0]] * rack * kinds[some[0]].pause_loss for some in groups]
    running = problem.series("work_racks_running")
    ended = data.interval_hours[:, None] / np.maximum(problem.series("work_rest"), 1e-9)
    return {
        "running": np.array([running[list(some)].sum() for some in groups]),
        "continuing_share": 1.0 - np.minimum(ended, 1.0),
        "pause_cost": np.array(cost),
    }


def build_preemption(block: pyo.Block, groups: CohortGroups, assembler: ModelAssembler) -> None:
    """Add pauses and the cost of the work that they lose."""
    if not groups:
        return
    time = block.model().time
    block.preemptible_kinds = pyo.RangeSet(0, len(groups) - 1)
    add_params(block, "running pause_cost", block.preemptible_kinds)
    add_params(block, "continuing_share", time, block.cohorts)
    block.later = add_intervals(range(1, len(time)))
    add_var(block, "paused_racks", time, block.preemptible_kinds)
    for number, some in enumerate(groups):
        _add_pause_rows(block, number, some)
    assembler.add_cost(
        "terminal",
        lambda t: sum(
            block.pause_cost[k] * block.paused_racks[t, k] for k in block.preemptible_kinds
        ),
    )


def _add_pause_rows(block: pyo.Block, number: int, some: tuple[int, ...]) -> None:
    """Add the rows of one kind: racks that stop before their jobs end are paused."""
    cohorts, first = pyo.Set(initialize=some), block.model().time.first()
    block.add_component(f"cohorts_{number}", cohorts)
    block.add_component(
        f"pauses_first_{number}",
        pyo.Constraint(
            rule=lambda b: (
                -1.0 * sum(b.racks[first, c, u] for c in cohorts for u in b.caps)
                - b.paused_racks[first, number]
                <= -1.0 * b.running[number]
            )
        ),
    )
    if not len(block.later):
        return
    block.add_component(
        f"pauses_{number}",
        pyo.Constraint(
            block.later,
            rule=lambda b, t: (
                sum(
                    b.continuing_share[t - 1, c] * b.racks[t - 1, c, u]
                    for c in cohorts
                    for u in b.caps
                )
                - sum(b.racks[t, c, u] for c in cohorts for u in b.caps)
                - b.paused_racks[t, number]
                <= 0.0
            ),
        ),
    )


def work_eligibility(data: ModelData) -> ReserveEligibility:
    """Return the products that work may provide."""
    return eligibility(data, lambda product: bool(eligible_work(data.problem.site, product)))


def _load_reserve_parameters(
    data: ModelData, kinds: Sequence[WorkKind], *, power: FloatArray, work: FloatArray
) -> dict[str, FloatArray]:
    """Return the parameter values of reserves provided by work; empty if there are none.

    Work that has not arrived provides nothing, because nothing could stop; neither does migrating
    work, which other sites count on. Deferred work is bought later, at the mean price of the
    horizon, together with the work that the pause loses. ``power`` and ``work`` are those of a
    rack, ``(cohort, cap)``.
    """
    eligible, hours, problem = work_eligibility(data), data.interval_hours, data.problem
    if not eligible.products:
        return {}
    outlook = problem.outlook
    may_stop = np.array(
        [not str(c).endswith(EXPECTED_COHORT_SUFFIX) for c in outlook["cohort"].to_numpy()]
    )
    may_stop[[*outgoing_cohorts(problem.migration, outlook), *incoming_cohorts(outlook)]] = False
    full = problem.series("work_racks_limit") * power[:, CAP_LEVEL_COUNT - 1]
    none = np.zeros((eligible.overlapped_interval_count - 1, len(kinds)))
    later = mean_energy_price(data)
    loss = np.array([kind.pause_loss for kind in kinds])
    rate = (work / power).max(axis=1)
    found = {"work_per_power": rate, "preemption_energy": rate * loss}
    for name in eligible.products:
        product = problem.site.reserves[name]
        may = may_stop & np.array([kind in eligible_work(problem.site, product) for kind in kinds])
        income = settlement_price(data, product.activation_up_price)
        net = (1.0 + loss / product.duration) * later - income[:, None]
        found |= {
            f"{name}_most": np.concatenate([none, full * may]),
            f"{name}_power_up": np.array(product.power_up),
            f"{name}_spent_up": activation_overlap(
                hours, product.duration, eligible.overlapped_interval_count
            ),
            f"{name}_cost": hours[:, None] * product.activation_up * net,
        }
    return found


def build_load_reserve(
    block: pyo.Block, eligible: ReserveEligibility, assembler: ModelAssembler
) -> None:
    """Add columns, rows and costs of the reserves that work may provide."""
    if not eligible.products:
        return
    time, past = block.model().time, eligible.overlapped_interval_count - 1
    block.intervals_with_past = with_past = add_intervals(range(-past, len(time)))
    block.window = pyo.RangeSet(-past, 0)
    add_params(block, "work_per_power preemption_energy", block.cohorts)
    for name in eligible.products:
        (most,) = add_params(block, f"{name}_most", with_past, block.cohorts)
        add_var(block, reserve_column_name(name), with_past, block.cohorts, high=most)
        add_params(block, f"{name}_power_up")
        add_params(block, f"{name}_spent_up", time, block.window)
        add_params(block, f"{name}_cost", time, block.cohorts)
        assembler.add_reserve(name, up=_total(block, name))
        assembler.add_cost("activation", _total(block, name, block.component(f"{name}_cost")))
    _add_limits(block, eligible.products)


def _total(block: pyo.Block, product: str, weight: pyo.Param | None = None) -> Callable[[Any], Any]:
    """Return the capacity of a product over all cohorts, weighted by a parameter if given."""
    capacity, cohorts = block.component(reserve_column_name(product)), block.cohorts
    if weight is None:
        return lambda t: sum(capacity[t, c] for c in cohorts)
    return lambda t: sum(weight[t, c] * capacity[t, c] for c in cohorts)


def _add_limits(block: pyo.Block, products: Sequence[str]) -> None:
    """Limit capacity to running work, and its deferral to work ahead of its deadline."""
    time = block.model().time
    capacities = [block.component(reserve_column_name(p)) for p in products]
    powers = [block.component(f"{p}_power_up") for p in products]
    spent = [_spent(block, product) for product in products]

    def deferred(b: pyo.Block, t: Any, c: Any) -> Any:
        lost = [b.preemption_energy[c] * capacity[t, c] for capacity in capacities]
        return add_terms([*(part(t, c) for part in spent), *lost])

    block.stoppable_power = add_rows(
        time,
        block.cohorts,
        rule=lambda b, t, c: (
            add_terms([p * q[t, c] for p, q in zip(powers, capacities, strict=True)])
            - sum(b.power[c, u] * b.racks[t, c, u] for u in b.caps)
            <= 0.0
        ),
        spec=replace(WORK_LIMIT_SPEC, label="work that runs and may stop for reserves"),
    )
    block.deferral_limit = add_rows(
        time,
        block.cohorts,
        rule=lambda b, t, c: (
            deferred(b, t, c) - b.work_credited[t + 1, c] <= -1.0 * b.min_work[t + 1, c]
        ),
        spec=replace(
            WORK_LIMIT_SPEC, label="deadlines of work that may stop for reserves", unit="MWh"
        ),
    )


def _spent(block: pyo.Block, product: str) -> Callable[[Any, Any], Any]:
    """Return the work that activations of a product defer which end with an interval."""
    capacity, share = (
        block.component(reserve_column_name(product)),
        block.component(f"{product}_spent_up"),
    )
    rate, window = block.work_per_power, block.window
    return lambda t, c: sum(share[t, k] * rate[c] * capacity[t + k, c] for k in window)
