"""Reserves in the hands of who holds them: power kept free, energy kept behind, work kept ready.

What an activation takes that ends with an interval is the sum of what was held in the intervals
before it, over as many as it can touch; so the power of the past stands in front of that of the
window, and is none. Energy is counted on the careful side: discharge that is stopped spares more
than what is charged stores, so both ways count with the loss of discharging.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer import limits
from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from optimizer.reserves.capacity import column
from optimizer.reserves.capacity import held as sold
from twin.axes import HOUR
from twin.backing import holders
from twin.limits import TRANSITION
from twin.physics import FloatArray
from twin.relations import Store
from twin.reserves import Reserve, is_open, lags, overlap
from twin.walk import TAPER

FADES: Final = TAPER
"""Time constant with which a store's controller lets power fade near an end of its window: what
is sold must be given in full until its time is over. [h]"""

SOON: Final = 1.0
"""Time to the next plan. [h]"""

LAG: Final = 0.5 * TRANSITION / 60.0
"""Time by which what flows into a store lags behind its set point. [h]"""


@dataclass(frozen=True, kw_only=True)
class Held:
    """The products that somebody may hold, and over how many intervals an activation can last."""

    products: tuple[str, ...] = ()
    window: int = 1


def held_by(store: Store, inputs: Inputs) -> Held:
    """Return the products that a store may hold."""
    return held_where(inputs, lambda product: store in holders(inputs.problem.site, product))


def held_where(inputs: Inputs, may: Callable[[Reserve], bool]) -> Held:
    """Return the products that somebody may hold, by a rule that tells which."""
    products = [p for p in inputs.problem.site.reserves.values() if may(p)]
    window = max((lags(inputs.hours, p.duration) for p in products), default=1)
    return Held(products=tuple(p.name for p in products), window=window)


def store_numbers(store: Store, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of what a store may hold; none if it may hold nothing."""
    held, hours, problem = held_by(store, inputs), inputs.hours, inputs.problem
    if not held.products:
        return {}
    found = dict(_window(store, held, inputs)) | {
        "lag_up": np.array(LAG * store.charge_efficiency),
        "lag_down": np.array(LAG / store.discharge_efficiency),
        "fades": FADES / store.discharge_efficiency * _in_use(held, inputs),
    }
    loss, none = 1.0 / store.discharge_efficiency, np.zeros(held.window - 1)
    most = store.charge_limit + store.discharge_limit
    for name in held.products:
        product = problem.site.reserves[name]
        spent = loss * overlap(hours, product.duration, held.window)
        spent[:, -1] += loss * FADES
        behind = loss * (product.duration + FADES)
        found |= {
            f"{name}_most": np.append(none, np.full_like(hours, most)),
            f"{name}_power_up": np.array(product.power_up),
            f"{name}_power_down": np.array(product.power_down),
            f"{name}_spent_up": spent * product.goes_up,
            f"{name}_spent_down": spent * product.goes_down,
            f"{name}_behind_up": np.array(behind * product.goes_up),
            f"{name}_behind_down": np.array(behind * product.goes_down),
            f"{name}_cost": hours * _cost(store, product, inputs),
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
    opens = np.any([is_open(product, instants) for product in products], axis=0)
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


def _in_use(held: Held, inputs: Inputs) -> FloatArray:
    """Return 1 in intervals in which anything is sold or can be, else 0, ``(time,)``."""
    outlook = inputs.problem.outlook
    products = [inputs.problem.site.reserves[name] for name in held.products]
    instants = outlook["instant"].to_numpy()
    found = [is_open(p, instants) | (sold(outlook, p) > 0.0) for p in products]
    return np.asarray(np.any(found, axis=0), dtype=float)


def _cost(store: Store, product: Reserve, inputs: Inputs) -> FloatArray:
    """Return what the expected activation costs a store for each MW in an hour. [EUR MW-1 h-1]

    What is given is bought back, and what is taken saves buying, at the mean price of the horizon
    and with the losses.
    """
    later, whole = later_price(inputs), store.charge_efficiency * store.discharge_efficiency
    received, paid = product.activation_up_price, product.activation_down_price
    income, expense = (settled_price(inputs, price) for price in (received, paid))
    up = product.activation_up * product.goes_up * (later / whole + store.wear_price - income)
    down = product.activation_down * product.goes_down
    return np.asarray(up + down * (expense - whole * (later - store.wear_price)))


def settled_price(inputs: Inputs, own: float | None) -> FloatArray:
    """Return at what price energy of an activation is settled, ``(time,)``. [EUR MWh-1]

    That of its product, or what the meter shows. Network fees are the meter's in any case.
    """
    price = inputs.problem.series("electricity_price")
    return _fees(inputs) + (price if own is None else own)


def later_price(inputs: Inputs) -> float:
    """Return the price of energy with its fees on the mean of the horizon. [EUR MWh-1]"""
    return float(inputs.hours @ settled_price(inputs, None) / inputs.hours.sum())


def _fees(inputs: Inputs) -> FloatArray:
    instants = inputs.problem.outlook["instant"].to_numpy()
    return inputs.problem.site.mean_import_fees(instants)


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
    block.reserve_low, block.reserve_high = table(instant), table(instant)
    block.lag_up, block.lag_down, block.fades = table(), table(), table(time)
    for name in held.products:
        columns(
            block, column(name), block.moments, high=new_table(block, f"{name}_most", block.moments)
        )
        for way in ("up", "down"):
            new_table(block, f"{name}_power_{way}")
            new_table(block, f"{name}_behind_{way}")
            new_table(block, f"{name}_spent_{way}", time, block.window)
        _post(block, name, past, ledger=ledger)
    _keep_power(block, held)
    _keep_energy(block, held)


def _keep_power(block: pyo.Block, held: Held) -> None:
    time, past = block.model().time, held.window - 1

    def kept(way: str) -> Callable[[Any], list[Any]]:
        pairs = [_pair(block, column(name), f"{name}_power_{way}") for name in held.products]
        return lambda t: [power * capacity[t + past] for capacity, power in pairs]

    up, down = kept("up"), kept("down")
    block.power_up = pyo.Constraint(
        time, rule=lambda b, t: added([b.discharge[t] - b.charge[t], *up(t)]) <= b.discharge_limit
    )
    block.power_down = pyo.Constraint(
        time, rule=lambda b, t: added([b.charge[t] - b.discharge[t], *down(t)]) <= b.charge_limit
    )


def _keep_energy(block: pyo.Block, held: Held) -> None:
    """Keep energy for a full activation that begins with an interval, and that ends with it.

    A plant goes over to a new set point slowly: what was charged until an edge is not all there.
    """
    time, past = block.model().time, held.window - 1

    def first(way: str) -> Callable[[Any], Any]:
        pairs = [_pair(block, column(name), f"{name}_behind_{way}") for name in held.products]
        return lambda t: added([energy * capacity[t + past] for capacity, energy in pairs])

    def spent(way: str) -> Callable[[Any], Any]:
        pairs = [_pair(block, column(name), f"{name}_spent_{way}") for name in held.products]
        window = block.window
        return lambda t: added(
            [spent_by(capacity, share, t, window=window) for capacity, share in pairs]
        )

    up, down, ends_up, ends_down = first("up"), first("down"), spent("up"), spent("down")
    block.at_once = pyo.Set(initialize=[0])
    block.first_energy_up = pyo.Constraint(
        block.at_once, rule=lambda b, t: up(t) - b.level[t] <= -1.0 * b.reserve_low[t]
    )
    block.first_energy_down = pyo.Constraint(
        block.at_once, rule=lambda b, t: down(t) + b.level[t] <= b.reserve_high[t]
    )
    if len(time) > 1:
        block.later = pyo.RangeSet(1, len(time) - 1)
        block.energy_up = pyo.Constraint(
            block.later,
            rule=lambda b, t: (
                up(t) - b.level[t] + b.lag_up * b.charge[t - 1] <= -1.0 * b.reserve_low[t]
            ),
        )
        block.energy_down = pyo.Constraint(
            block.later,
            rule=lambda b, t: (
                down(t) + b.level[t] + b.lag_down * b.discharge[t - 1] <= b.reserve_high[t]
            ),
        )
    block.lasts_up = pyo.Constraint(
        time,
        rule=lambda b, t: (
            ends_up(t) - b.level[t + 1] + b.lag_up * b.charge[t] + b.fades[t] * b.discharge[t]
            <= -1.0 * b.reserve_low[t + 1]
        ),
    )
    block.lasts_down = pyo.Constraint(
        time,
        rule=lambda b, t: (
            ends_down(t) + b.level[t + 1] + b.lag_down * b.discharge[t] + b.fades[t] * b.charge[t]
            <= b.reserve_high[t + 1]
        ),
    )


def _post(block: pyo.Block, name: str, past: int, *, ledger: Ledger) -> None:
    """Offer what is held, and pay for its use."""
    time = block.model().time
    capacity, cost = block.component(column(name)), new_table(block, f"{name}_cost", time)
    ledger.offer(name, up=lambda t: capacity[t + past], down=lambda t: capacity[t + past])
    ledger.pay("activation", lambda t: cost[t] * capacity[t + past])


def spent_by(capacity: Any, share: Any, t: Any, *, window: Any) -> Any:
    """Return the energy of an activation of one product that ends with an interval. [MWh]"""
    return sum(share[t, k] * capacity[t + k] for k in window)


def new_table(block: pyo.Block, name: str, *sets: pyo.Set) -> pyo.Param:
    """Declare a parameter under a name that follows from a product's, and return it."""
    block.add_component(name, table(*sets))
    return block.component(name)


def added(parts: list[Any]) -> Any:
    """Return a sum without the builtin, which Pyomo's templates replace."""
    return reduce(add, parts)


def _pair(block: pyo.Block, first: str, second: str) -> tuple[Any, Any]:
    return block.component(first), block.component(second)
