"""Reserves in the hands of who holds them: power kept free, energy kept behind, work kept ready.

What an activation takes that ends with an interval is the sum of what was held in the intervals
before it, over as many as it can touch; so the power of the past stands in front of that of the
window, and is none. Energy is counted on the careful side: discharge that is stopped spares more
than what is charged stores, so both ways count with the loss of discharging.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer import limits
from optimizer.forms.behind import keep_for_begun, keep_for_ended
from optimizer.forms.held import Held, endings_of, held_by, new_table, pair
from optimizer.forms.settled import activation_cost
from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger, added
from optimizer.reserves.capacity import column
from optimizer.reserves.capacity import held as sold
from twin.feasibility.reserve_activation import activation_overlap
from twin.markets.reserve_products import ReserveProduct, is_gate_open
from twin.physics import FloatArray
from twin.relations import Store
from twin.simulation.integration import STORAGE_TAPER_TIME_H
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.time_axes import HOUR

FADES: Final = STORAGE_TAPER_TIME_H
"""Time constant with which a store's controller lets power fade near an end of its window: what
is sold must be given in full until its time is over. [h]"""

SOON: Final = 1.0
"""Time to the next plan. [h]"""

UNBACKED: Final = 10.0
"""How much dearer it is to lack energy behind reserves than to come back late: as there are at the
least 0.2 MWh behind a MW (:data:`FADES`), that beats the price of telling that it is not held. [1]
"""

LAG: Final = 0.5 * SET_POINT_TRANSITION_MIN / 60.0
"""Time by which what flows into a store lags behind its set point. [h]"""


def store_numbers(store: Store, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of what a store may hold; none if it may hold nothing."""
    held, hours, problem = held_by(store, inputs), inputs.hours, inputs.problem
    if not held.products:
        return {}
    window = _window(store, held, inputs)
    until = endings_of(inputs, held.products)
    loss, none = 1.0 / store.discharge_efficiency, np.zeros(held.window - 1)
    products = [problem.site.reserves[name] for name in held.products]
    found = dict(window) | dict(_ends(store, held, inputs, window))
    for way, lagged in (("up", store.charge_efficiency), ("down", loss)):
        mine = [p for p in products if (p.goes_up if way == "up" else p.goes_down)]
        found[f"lag_{way}"] = np.array(LAG * lagged * bool(mine))
        found[f"fades_{way}"] = FADES * loss * _in_use(mine, inputs)
    may = np.all(limits.ways(store, problem), axis=0)
    most = may * (store.charge_limit + store.discharge_limit)
    for name in held.products:
        product = problem.site.reserves[name]
        spent = loss * activation_overlap(hours, product.duration, held.window, until=until)
        spent[..., -1] += loss * FADES * np.isfinite(until)
        behind = loss * (product.duration + FADES)
        found |= {
            f"{name}_most": np.append(none, most),
            f"{name}_power_up": np.array(product.power_up),
            f"{name}_power_down": np.array(product.power_down),
            f"{name}_spent_up": spent * product.goes_up,
            f"{name}_spent_down": spent * product.goes_down,
            f"{name}_behind_up": np.array(behind * product.goes_up),
            f"{name}_behind_down": np.array(behind * product.goes_down),
            f"{name}_cost": hours * activation_cost(store, product, inputs),
        }
    return found


def _window(store: Store, held: Held, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the levels between which energy counts: less the margin where more can be sold.

    What is sold already may use half of the margin by the next plan, and all of it until then: it
    was kept for it. No promise is broken to win a margin back. A store that starts outside may stay
    there, and holds nothing.
    """
    problem, instants = inputs.problem, inputs.problem.outlook["instant"].to_numpy()
    products = [problem.site.reserves[name] for name in held.products]
    opens = np.any([is_gate_open(product, instants) for product in products], axis=0)
    margin = store.margin(problem.margins.level)
    later = (instants - instants[0]) / HOUR >= SOON
    is_open_at = np.append(opens, False) | np.append(False, opens)
    low, high = limits.levels(store, problem)
    start = problem.level(store)
    now = {p.name: float(sold(problem.outlook, p)[0]) * p.duration for p in products}
    behind, room = (
        sum(now[p.name] * way for p, way in ways) / store.discharge_efficiency
        for ways in ([(p, p.goes_up) for p in products], [(p, p.goes_down) for p in products])
    )
    spare = (start - store.low - behind, store.high - start - room)
    under, over = (
        np.where(is_open_at, margin, later * min(max(left, 0.0), 0.5 * margin)) for left in spare
    )
    return {
        "reserve_low": np.minimum(store.low + under, np.append(start, low)),
        "reserve_high": np.maximum(store.high - over, np.append(start, high)),
    }


def _ends(
    store: Store, held: Held, inputs: Inputs, window: Mapping[str, FloatArray]
) -> Mapping[str, FloatArray]:
    """Return where the levels at the endings lie between those at the edges, and their bounds.

    Where an interval has fewer endings than others, the rows left over bind nothing, wherever the
    store stands: one that is drained, or out of service, may lie below its window.
    """
    start, (least, most) = inputs.problem.level(store), limits.bounds(store, inputs.problem)
    bottom, top = min(store.low, start, least.min()), max(store.high, start, most.max())
    until, hours = endings_of(inputs, held.products), inputs.hours[:, None]
    is_there = np.isfinite(until)
    after = np.where(is_there, until, hours) / hours
    before = 1.0 - after
    free = (store.charge_limit + store.discharge_limit) * (LAG + FADES) / store.discharge_efficiency
    low, high = (
        before * window[name][:-1, None] + after * window[name][1:, None]
        for name in ("reserve_low", "reserve_high")
    )
    return {
        "before": before,
        "after": after,
        "ends_low": np.where(is_there, low, bottom - free),
        "ends_high": np.where(is_there, high, top + free),
    }


def _in_use(products: Sequence[ReserveProduct], inputs: Inputs) -> FloatArray:
    """Return 1 in intervals in which one of the products is sold or can be, else 0, ``(time,)``."""
    outlook, found = inputs.problem.outlook, np.zeros(len(inputs.hours), dtype=bool)
    instants = outlook["instant"].to_numpy()
    for product in products:
        found |= is_gate_open(product, instants) | (sold(outlook, product) > 0.0)
    return found.astype(float)


def hold_by_store(block: pyo.Block, held: Held, ledger: Ledger) -> None:
    """Let a store hold reserves.

    Parameters
    ----------
    block
        Block of the store, its flows and levels written.
    held
        What it may hold; if nothing, nothing is written.
    ledger
        Where capacity is offered, and its use is paid.
    """
    if not held.products:
        return
    time, instant, past = block.model().time, block.model().instant, held.window - 1
    block.moments, block.window = pyo.RangeSet(0, past + len(time) - 1), pyo.RangeSet(0, past)
    block.endings = pyo.RangeSet(0, held.endings - 1)
    block.reserve_low, block.reserve_high = table(instant), table(instant)
    for word in ("before", "after", "ends_low", "ends_high"):
        new_table(block, word, time, block.endings)
    block.lag_up, block.lag_down = table(), table()
    block.fades_up, block.fades_down = table(time), table(time)
    for name in held.products:
        columns(
            block, column(name), block.moments, high=new_table(block, f"{name}_most", block.moments)
        )
        for way in ("up", "down"):
            new_table(block, f"{name}_power_{way}")
            new_table(block, f"{name}_behind_{way}")
            new_table(block, f"{name}_spent_{way}", time, block.endings, block.window)
        _post(block, name, past, ledger=ledger)
    _keep_power(block, held)
    if block.component("astray") is not None:
        _may_lack(block, ledger)
    keep_for_begun(block, held)
    keep_for_ended(block, held)


def _keep_power(block: pyo.Block, held: Held) -> None:
    time, past = block.model().time, held.window - 1

    def kept(way: str) -> Callable[[Any], list[Any]]:
        pairs = [pair(block, column(name), f"{name}_power_{way}") for name in held.products]
        return lambda t: [power * capacity[t + past] for capacity, power in pairs]

    up, down = kept("up"), kept("down")
    block.power_up = pyo.Constraint(
        time, rule=lambda b, t: added([b.discharge[t] - b.charge[t], *up(t)]) <= b.discharge_limit
    )
    block.power_down = pyo.Constraint(
        time, rule=lambda b, t: added([b.charge[t] - b.discharge[t], *down(t)]) <= b.charge_limit
    )


def _may_lack(block: pyo.Block, ledger: Ledger) -> None:
    """Let a store on its way back be late here too, at a price at which it holds nothing then."""
    columns(block, "unbacked", block.model().time)
    ledger.pay("return", lambda t: UNBACKED * block.astray_cost[t] * block.unbacked[t])


def _post(block: pyo.Block, name: str, past: int, *, ledger: Ledger) -> None:
    """Offer what is held, and pay for its use."""
    time = block.model().time
    capacity, cost = block.component(column(name)), new_table(block, f"{name}_cost", time)
    ledger.offer(name, up=lambda t: capacity[t + past], down=lambda t: capacity[t + past])
    ledger.pay("activation", lambda t: cost[t] * capacity[t + past])
