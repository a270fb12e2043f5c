"""Work that may move: racks by cohort, cap and interval; work done by the instants.

Racks run at a few caps, each an exact point of the throughput curve, so that power and work always
belong together and no price can make the model burn power without working. What is *met* is the
work done, and the work late, which is owed: it lies between what must and what can be done by then,
as a bound of a column; what has been done is met less late.

What pauses lose: work since the last checkpoint, done once more after the horizon.

Racks that a kind of work runs fewer than in the interval before were paused, less those whose jobs
have ended meanwhile: of racks of a cohort that have :math:`r` hours to run on average, :math:`h/r`
in :math:`h` hours. Which of a kind's jobs give way is for the dispatch. What is lost costs what
work left undone costs, so no price can make a plan pause for its own sake.

Reserves in the hands of work: what runs and can stop, and what a stop puts off.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_terms, add_var
from optimizer.model.components.reserve_product import (
    ReserveEligibility,
    add_named_param,
    eligibility,
    mean_energy_price,
    settlement_price,
)
from optimizer.model.model_data import CAP_LEVEL_COUNT, ModelData, cap_levels
from optimizer.model.rows import reserve_column
from optimizer.problem.contracts import eligible_work
from optimizer.problem.migration import incoming_cohorts, outgoing_cohorts
from optimizer.problem.validation import PREEMPTION_VARIABLES
from twin.feasibility.reserve_activation import activation_overlap
from twin.physics import FloatArray
from twin.relations import FlexibleLoad
from twin.workload.flexibility import EXPECTED_COHORT_SUFFIX
from twin.workload.queue import RackPool

CREDITED_WORK_COLUMN: Final = "work.met"
"""Name of the work met in a model of one site."""

type CohortGroups = tuple[tuple[int, ...], ...]
"""For each kind of work that loses by a pause the numbers of its cohorts."""


@dataclass(frozen=True, kw_only=True)
class WorkloadSignature:
    """What of the work decides which rows and columns there are.

    Attributes
    ----------
    cohorts
        Number of cohorts.
    carriers
        What racks draw: electricity, and the cooling that carries it away.
    reserves
        Reserves that work may hold.
    outgoing
        Cohorts that may leave the site; their progress is written by
        :mod:`optimizer.model.components.migration`.
    preemptible
        Cohorts of the kinds that lose by a pause.
    """

    cohorts: int
    carriers: tuple[str, ...]
    reserves: ReserveEligibility
    outgoing: tuple[int, ...] = ()
    preemptible: CohortGroups = ()


def signature(works: Sequence[FlexibleLoad], data: ModelData) -> WorkloadSignature:
    """Return the shape of the work of all halls, which share it."""
    return WorkloadSignature(
        cohorts=data.problem.outlook.sizes["cohort"],
        carriers=tuple(carrier_shares(works)),
        reserves=work_eligibility(data),
        outgoing=outgoing_cohorts(data.problem.migration, data.problem.outlook),
        preemptible=cohorts_by_kind(data),
    )


def parameters(works: Sequence[FlexibleLoad], data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of the work: its envelope, caps, and what racks draw at each."""
    problem, pool = data.problem, RackPool.from_site(data.problem.site)
    kinds = [problem.site.work[str(name)] for name in problem.outlook["kind"].to_numpy()]
    power = np.array([pool.power_above_idle(cap_levels(kind)) for kind in kinds]).reshape(
        -1, CAP_LEVEL_COUNT
    )
    done = np.array([kind.throughput.work(cap_levels(kind)) for kind in kinds]).reshape(
        -1, CAP_LEVEL_COUNT
    )
    work = pool.rack_power * done
    limit = problem.series("work_racks_limit")
    is_other = np.diff(power, axis=1, append=np.inf) > 0.0  # a kind that tolerates nothing has one
    always = pool.total_power(problem.service_racks)
    value = _worth(works, data) * (power / work).min(axis=1)
    found = {
        "work": work,
        "power": power,
        "hours": data.hours,
        "value": value,
        "racks_limit": limit,
        "racks_high": limit[:, :, None] * is_other,
        "racks_left": problem.site.racks - problem.service_racks,
        "used_most": problem.max_work_power,
        "least": problem.series("work_least"),
        "most": problem.series("work_most"),
    }
    for carrier, share in carrier_shares(works).items():
        found[f"{carrier}_share"], found[f"{carrier}_always"] = np.array(share), share * always
    return found | dict(load_reserve_parameters(data)) | dict(preemption_parameters(data, value))


def build(block: pyo.Block, shape: WorkloadSignature, assembler: ModelAssembler) -> None:
    """Write the work into one block.

    Parameters
    ----------
    block
        Empty block.
    shape
        Its shape.
    assembler
        Where power, heat, lateness and undone work are posted.
    """
    model = block.model()
    block.cohorts = pyo.RangeSet(0, shape.cohorts - 1)
    block.caps = pyo.RangeSet(0, CAP_LEVEL_COUNT - 1)
    _declare(block)
    _bind(block, shape)
    for carrier in shape.carriers:
        _post(block, carrier, assembler)
    assembler.add_cost(
        "lateness",
        lambda t: block.hours[t] * sum(block.late[t + 1, c] for c in block.cohorts),
    )
    end = model.instant.last()
    assembler.add_fixed_cost(
        "terminal",
        lambda: sum(
            block.value[c] * (block.most[end, c] - block.met[end, c] + block.late[end, c])
            for c in block.cohorts
        ),
    )
    build_load_reserve(block, shape.reserves, assembler)
    build_preemption(block, shape.preemptible, assembler)


def _declare(block: pyo.Block) -> None:
    """Declare racks, what they draw, work met and work late."""
    time, instant = block.model().time, block.model().instant
    block.work, block.value = add_param(block.cohorts, block.caps), add_param(block.cohorts)
    block.power = add_param(block.cohorts, block.caps)
    block.hours, block.racks_left, block.used_most = (
        add_param(time),
        add_param(time),
        add_param(time),
    )
    block.racks_limit = add_param(time, block.cohorts)
    block.racks_high = add_param(time, block.cohorts, block.caps)
    block.least, block.most = add_param(instant, block.cohorts), add_param(instant, block.cohorts)
    add_var(block, "racks", time, block.cohorts, block.caps, high=block.racks_high)
    add_var(block, "used_power", time, high=block.used_most)
    add_var(block, "met", instant, block.cohorts, low=block.least, high=block.most)
    add_var(block, "late", instant, block.cohorts, high=block.least)


def _bind(block: pyo.Block, shape: WorkloadSignature) -> None:
    """Write the rows that bind them."""
    model, at_home = block.model(), block.cohorts
    if shape.outgoing:
        others = [c for c in range(shape.cohorts) if c not in shape.outgoing]
        block.at_home = at_home = pyo.Set(initialize=others)
    if len(at_home):
        block.progress = pyo.Constraint(
            model.time,
            at_home,
            rule=lambda b, t, c: (
                b.met[t + 1, c] - b.late[t + 1, c] - b.met[t, c] + b.late[t, c]
                == b.hours[t] * sum(b.work[c, u] * b.racks[t, c, u] for u in b.caps)
            ),
        )
    block.uses = pyo.Constraint(
        model.time,
        rule=lambda b, t: (
            b.used_power[t]
            == sum(b.power[c, u] * b.racks[t, c, u] for c in b.cohorts for u in b.caps)
        ),
    )
    block.within_jobs = pyo.Constraint(
        model.time,
        block.cohorts,
        rule=lambda b, t, c: sum(b.racks[t, c, u] for u in b.caps) <= b.racks_limit[t, c],
    )
    block.within_site = pyo.Constraint(
        model.time,
        rule=lambda b, t: (
            sum(b.racks[t, c, u] for c in b.cohorts for u in b.caps) <= b.racks_left[t]
        ),
    )


def _post(block: pyo.Block, carrier: str, assembler: ModelAssembler) -> None:
    """Post what all racks draw of a carrier."""
    always, share = add_param(block.model().time), add_param()
    block.add_component(f"{carrier}_always", always)
    block.add_component(f"{carrier}_share", share)
    assembler.add_demand(carrier, lambda t: always[t] + share * block.used_power[t])


def carrier_shares(works: Sequence[FlexibleLoad]) -> dict[str, float]:
    """Return what a MW of the halls' racks draws of each carrier, halls weighted by racks. [1]

    Parameters
    ----------
    works
        The halls.
    """
    racks = sum(work.racks for work in works)
    found: dict[str, float] = {}
    for work in works:
        for carrier, share in {work.carrier: 1.0, **work.heat}.items():
            found[carrier] = found.get(carrier, 0.0) + share * work.racks / racks
    return found


def _worth(works: Sequence[FlexibleLoad], data: ModelData) -> float:
    """Return the cost of a MWh of the racks after the horizon, cooling included. [EUR MWh-1]"""
    return sum(
        data.terminal_value.get(c, 0.0) * share for c, share in carrier_shares(works).items()
    )


def cohorts_by_kind(data: ModelData) -> CohortGroups:
    """Return the cohorts of the kinds that lose by a pause, where the outlook tells of it."""
    outlook = data.problem.outlook
    if PREEMPTION_VARIABLES[0] not in outlook:
        return ()
    names = outlook["kind"].to_numpy()
    kinds = [kind for kind in data.problem.site.work.values() if kind.pause_loss > 0.0]
    found = (np.flatnonzero(names == kind.name).tolist() for kind in kinds)
    return tuple(tuple(some) for some in found if some)


def preemption_parameters(data: ModelData, value: FloatArray) -> Mapping[str, FloatArray]:
    """Return the numbers of pauses; none if nothing is lost by one.

    Parameters
    ----------
    data
        The numbers of the model.
    value
        Cost of work left undone, by cohort. [EUR MWh-1]
    """
    problem, groups = data.problem, cohorts_by_kind(data)
    if not groups:
        return {}
    names = problem.outlook["kind"].to_numpy()
    loss = np.array([problem.site.work[str(names[some[0]])].pause_loss for some in groups])
    value = np.array([value[some[0]] for some in groups])
    running = problem.series("work_racks_running")
    ended = data.hours[:, None] / np.maximum(problem.series("work_rest"), 1e-9)
    return {
        "running": np.array([running[list(some)].sum() for some in groups]),
        "staying": 1.0 - np.minimum(ended, 1.0),
        "pause_cost": value * RackPool.from_site(problem.site).rack_power * loss,
    }


def build_preemption(block: pyo.Block, groups: CohortGroups, assembler: ModelAssembler) -> None:
    """Write pauses beside the racks of the work, and pay for what they lose.

    Parameters
    ----------
    block
        Block of the work, its racks declared.
    groups
        Cohorts of the kinds that lose by a pause; if none, nothing is written.
    assembler
        Where the work that is lost is paid.
    """
    if not groups:
        return
    time = block.model().time
    block.tied = pyo.RangeSet(0, len(groups) - 1)
    block.running, block.pause_cost = add_param(block.tied), add_param(block.tied)
    block.staying = add_param(time, block.cohorts)
    block.later = pyo.Set(initialize=[t for t in time if t > time.first()])
    add_var(block, "paused_racks", time, block.tied)
    for number, some in enumerate(groups):
        _pause(block, number, some)
    assembler.add_cost(
        "terminal",
        lambda t: sum(block.pause_cost[k] * block.paused_racks[t, k] for k in block.tied),
    )


def _pause(block: pyo.Block, number: int, some: tuple[int, ...]) -> None:
    """Write the rows of one kind: racks that stop before their jobs have ended are paused."""
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
                sum(b.staying[t - 1, c] * b.racks[t - 1, c, u] for c in cohorts for u in b.caps)
                - sum(b.racks[t, c, u] for c in cohorts for u in b.caps)
                - b.paused_racks[t, number]
                <= 0.0
            ),
        ),
    )


def work_eligibility(data: ModelData) -> ReserveEligibility:
    """Return the products that work may hold."""
    return eligibility(data, lambda product: bool(eligible_work(data.problem.site, product)))


def load_reserve_parameters(data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of what work may hold; none if it may hold nothing.

    Work that has not arrived holds nothing: there is nothing yet that could stop; nor does work
    that may move or has come from elsewhere, which others count on. What is put off is bought
    later, at the mean price of the horizon, and what the pause loses once more.
    """
    held, hours, problem = work_eligibility(data), data.hours, data.problem
    if not held.products:
        return {}
    pool, outlook = RackPool.from_site(problem.site), problem.outlook
    kinds = [problem.site.work[str(name)] for name in outlook["kind"].to_numpy()]
    is_here = np.array(
        [not str(c).endswith(EXPECTED_COHORT_SUFFIX) for c in outlook["cohort"].to_numpy()]
    )
    is_here[[*outgoing_cohorts(problem.migration, outlook), *incoming_cohorts(outlook)]] = False
    power = np.array([pool.power_above_idle(cap_levels(kind)) for kind in kinds])
    work = pool.rack_power * np.array([kind.throughput.work(cap_levels(kind)) for kind in kinds])
    full = problem.series("work_racks_limit") * power[:, CAP_LEVEL_COUNT - 1]
    none = np.zeros((held.window - 1, len(kinds)))
    later = mean_energy_price(data)
    loss = np.array([kind.pause_loss for kind in kinds])
    rate = (work / power).max(axis=1)
    found = {"rate": rate, "lost": rate * loss}
    for name in held.products:
        product = problem.site.reserves[name]
        may = is_here & np.array([kind in eligible_work(problem.site, product) for kind in kinds])
        income = settlement_price(data, product.activation_up_price)
        net = (1.0 + loss / product.duration) * later - income[:, None]
        found |= {
            f"{name}_most": np.concatenate([none, full * may]),
            f"{name}_power_up": np.array(product.power_up),
            f"{name}_spent_up": activation_overlap(hours, product.duration, held.window),
            f"{name}_cost": hours[:, None] * product.activation_up * net,
        }
    return found


def build_load_reserve(
    block: pyo.Block, eligibility: ReserveEligibility, assembler: ModelAssembler
) -> None:
    """Let work hold reserves.

    Parameters
    ----------
    block
        Block of the work, its racks and what they have done written.
    eligibility
        What it may hold; if nothing, nothing is written.
    assembler
        Where capacity is offered, and its use is paid.
    """
    if not eligibility.products:
        return
    time, past = block.model().time, eligibility.window - 1
    block.moments, block.window = pyo.RangeSet(0, past + len(time) - 1), pyo.RangeSet(0, past)
    block.rate, block.lost = add_param(block.cohorts), add_param(block.cohorts)
    for name in eligibility.products:
        most = add_named_param(block, f"{name}_most", block.moments, block.cohorts)
        add_var(block, reserve_column(name), block.moments, block.cohorts, high=most)
        add_named_param(block, f"{name}_power_up")
        add_named_param(block, f"{name}_spent_up", time, block.window)
        add_named_param(block, f"{name}_cost", time, block.cohorts)
        assembler.add_reserve(name, up=_sum(block, block.component(reserve_column(name)), past))
        assembler.add_cost("activation", _paid(block, name, past))
    _add_limits(block, eligibility)


def _add_limits(block: pyo.Block, eligibility: ReserveEligibility) -> None:
    """Keep what is held below what runs, and what it puts off within what is ahead of its time."""
    time, past, products = block.model().time, eligibility.window - 1, eligibility.products

    def kept(t: Any, c: Any) -> list[Any]:
        parts = [
            (block.component(f"{p}_power_up"), block.component(reserve_column(p))) for p in products
        ]
        return [power * capacity[t + past, c] for power, capacity in parts]

    def lost(t: Any, c: Any) -> list[Any]:
        return [block.lost[c] * block.component(reserve_column(p))[t + past, c] for p in products]

    spent = [_spent(block, product) for product in products]
    block.stops = pyo.Constraint(
        time,
        block.cohorts,
        rule=lambda b, t, c: (
            add_terms(kept(t, c)) - sum(b.power[c, u] * b.racks[t, c, u] for u in b.caps) <= 0.0
        ),
    )
    block.puts_off = pyo.Constraint(
        time,
        block.cohorts,
        rule=lambda b, t, c: (
            add_terms([*(part(t, c) for part in spent), *lost(t, c)]) - b.met[t + 1, c]
            <= -1.0 * b.least[t + 1, c]
        ),
    )


def _spent(block: pyo.Block, product: str) -> Callable[[Any, Any], Any]:
    """Return the work that an activation of a product puts off that ends with an interval."""
    capacity, share = (
        block.component(reserve_column(product)),
        block.component(f"{product}_spent_up"),
    )
    rate, window = block.rate, block.window
    return lambda t, c: sum(share[t, k] * rate[c] * capacity[t + k, c] for k in window)


def _sum(block: pyo.Block, capacity: Any, past: int) -> Callable[[Any], Any]:
    return lambda t: sum(capacity[t + past, c] for c in block.cohorts)


def _paid(block: pyo.Block, name: str, past: int) -> Callable[[Any], Any]:
    capacity, cost = block.component(reserve_column(name)), block.component(f"{name}_cost")
    return lambda t: sum(cost[t, c] * capacity[t + past, c] for c in block.cohorts)
