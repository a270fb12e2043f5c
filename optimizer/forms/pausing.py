"""Reserves in the hands of work: what runs and can stop, and what a stop puts off."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.held import Held, held_where, new_table
from optimizer.forms.settled import later_price, settled_price
from optimizer.forms.table import columns, table
from optimizer.inputs import CAPS, Inputs, caps
from optimizer.ledger import Ledger, added
from optimizer.question.moves import coming, moved
from optimizer.reserves.capacity import column, load
from twin.feasibility.reserve_activation import activation_overlap
from twin.physics import FloatArray
from twin.workload.flexibility import EXPECTED_COHORT_SUFFIX
from twin.workload.queue import RackPool


def held_by_work(inputs: Inputs) -> Held:
    """Return the products that work may hold."""
    return held_where(inputs, lambda product: bool(load(inputs.problem.site, product)))


def work_numbers(inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of what work may hold; none if it may hold nothing.

    Work that has not arrived holds nothing: there is nothing yet that could stop; nor does work
    that may move or has come from elsewhere, which others count on. What is put off is bought
    later, at the mean price of the horizon, and what the pause loses once more.
    """
    held, hours, problem = held_by_work(inputs), inputs.hours, inputs.problem
    if not held.products:
        return {}
    pool, outlook = RackPool.of(problem.site), problem.outlook
    kinds = [problem.site.work[str(name)] for name in outlook["kind"].to_numpy()]
    is_here = np.array(
        [not str(c).endswith(EXPECTED_COHORT_SUFFIX) for c in outlook["cohort"].to_numpy()]
    )
    is_here[[*moved(problem.moves, outlook), *coming(outlook)]] = False
    power = np.array([pool.power(caps(kind)) for kind in kinds])
    work = pool.rack_power * np.array([kind.throughput.work(caps(kind)) for kind in kinds])
    full = problem.series("work_racks_limit") * power[:, CAPS - 1]
    none = np.zeros((held.window - 1, len(kinds)))
    later = later_price(inputs)
    loss = np.array([kind.pause_loss for kind in kinds])
    rate = (work / power).max(axis=1)
    found = {"rate": rate, "lost": rate * loss}
    for name in held.products:
        product = problem.site.reserves[name]
        may = is_here & np.array([kind in load(problem.site, product) for kind in kinds])
        income = settled_price(inputs, product.activation_up_price)
        net = (1.0 + loss / product.duration) * later - income[:, None]
        found |= {
            f"{name}_most": np.concatenate([none, full * may]),
            f"{name}_power_up": np.array(product.power_up),
            f"{name}_spent_up": activation_overlap(hours, product.duration, held.window),
            f"{name}_cost": hours[:, None] * product.activation_up * net,
        }
    return found


def hold_by_work(block: pyo.Block, held: Held, ledger: Ledger) -> None:
    """Let work hold reserves.

    Parameters
    ----------
    block
        Block of the work, its racks and what they have done written.
    held
        What it may hold; if nothing, nothing is written.
    ledger
        Where capacity is offered, and its use is paid.
    """
    if not held.products:
        return
    time, past = block.model().time, held.window - 1
    block.moments, block.window = pyo.RangeSet(0, past + len(time) - 1), pyo.RangeSet(0, past)
    block.rate, block.lost = table(block.cohorts), table(block.cohorts)
    for name in held.products:
        most = new_table(block, f"{name}_most", block.moments, block.cohorts)
        columns(block, column(name), block.moments, block.cohorts, high=most)
        new_table(block, f"{name}_power_up")
        new_table(block, f"{name}_spent_up", time, block.window)
        new_table(block, f"{name}_cost", time, block.cohorts)
        ledger.offer(name, up=_sum(block, block.component(column(name)), past))
        ledger.pay("activation", _paid(block, name, past))
    _keep(block, held)


def _keep(block: pyo.Block, held: Held) -> None:
    """Keep what is held below what runs, and what it puts off within what is ahead of its time."""
    time, past, products = block.model().time, held.window - 1, held.products

    def kept(t: Any, c: Any) -> list[Any]:
        parts = [(block.component(f"{p}_power_up"), block.component(column(p))) for p in products]
        return [power * capacity[t + past, c] for power, capacity in parts]

    def lost(t: Any, c: Any) -> list[Any]:
        return [block.lost[c] * block.component(column(p))[t + past, c] for p in products]

    spent = [_spent(block, product) for product in products]
    block.stops = pyo.Constraint(
        time,
        block.cohorts,
        rule=lambda b, t, c: (
            added(kept(t, c)) - sum(b.power[c, u] * b.racks[t, c, u] for u in b.caps) <= 0.0
        ),
    )
    block.puts_off = pyo.Constraint(
        time,
        block.cohorts,
        rule=lambda b, t, c: (
            added([*(part(t, c) for part in spent), *lost(t, c)]) - b.met[t + 1, c]
            <= -1.0 * b.least[t + 1, c]
        ),
    )


def _spent(block: pyo.Block, product: str) -> Callable[[Any, Any], Any]:
    """Return the work that an activation of a product puts off that ends with an interval."""
    capacity, share = block.component(column(product)), block.component(f"{product}_spent_up")
    rate, window = block.rate, block.window
    return lambda t, c: sum(share[t, k] * rate[c] * capacity[t + k, c] for k in window)


def _sum(block: pyo.Block, capacity: Any, past: int) -> Callable[[Any], Any]:
    return lambda t: sum(capacity[t + past, c] for c in block.cohorts)


def _paid(block: pyo.Block, name: str, past: int) -> Callable[[Any], Any]:
    capacity, cost = block.component(column(name)), block.component(f"{name}_cost")
    return lambda t: sum(cost[t, c] * capacity[t + past, c] for c in block.cohorts)
