"""Energy behind the reserves of a store, for uses that begin with an interval or end in one."""

from collections.abc import Callable
from typing import Any

import pyomo.environ as pyo

from optimizer.forms.held import Held, pair
from optimizer.ledger import added
from optimizer.reserves.capacity import column


def keep_for_begun(block: pyo.Block, held: Held) -> None:
    """Keep energy for a full activation that begins with an interval.

    A plant goes over to a new set point slowly: what was charged until an edge is not all there.
    """
    time, past = block.model().time, held.window - 1

    def first(way: str) -> Callable[[Any], Any]:
        pairs = [pair(block, column(name), f"{name}_behind_{way}") for name in held.products]
        return lambda t: added([energy * capacity[t + past] for capacity, energy in pairs])

    up, down, late = first("up"), first("down"), _late(block)
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
                added([up(t), b.lag_up * b.charge[t - 1] - b.level[t], *late(t - 1)])
                <= -1.0 * b.reserve_low[t]
            ),
        )
        block.energy_down = pyo.Constraint(
            block.later,
            rule=lambda b, t: (
                added([down(t), b.level[t] + b.lag_down * b.discharge[t - 1], *late(t - 1)])
                <= b.reserve_high[t]
            ),
        )


def keep_for_ended(block: pyo.Block, held: Held) -> None:
    """Keep energy for full activations of all products that end together, anywhere they may.

    Levels are straight between the edges of the plan and the endings, so nothing lies beyond.
    """
    time, moments = block.model().time, block.endings

    def spent(way: str) -> Callable[[Any, Any], Any]:
        pairs = [pair(block, column(name), f"{name}_spent_{way}") for name in held.products]
        return lambda t, i: added(
            [
                sum(share[t, i, k] * capacity[t + k] for k in block.window)
                for capacity, share in pairs
            ]
        )

    up, down, late = spent("up"), spent("down"), _late(block)

    def level(t: int, i: int) -> Any:
        return block.before[t, i] * block.level[t] + block.after[t, i] * block.level[t + 1]

    block.lasts_up = pyo.Constraint(
        time,
        moments,
        rule=lambda b, t, i: (
            added([up(t, i) - level(t, i), b.lag_up * b.charge[t], *late(t)])
            + b.fades_up[t] * b.discharge[t]
            <= -1.0 * b.ends_low[t, i]
        ),
    )
    block.lasts_down = pyo.Constraint(
        time,
        moments,
        rule=lambda b, t, i: (
            added([down(t, i) + level(t, i), b.lag_down * b.discharge[t], *late(t)])
            + b.fades_down[t] * b.charge[t]
            <= b.ends_high[t, i]
        ),
    )


def _late(block: pyo.Block) -> Callable[[Any], list[Any]]:
    """Return the energy that a store on its way back may lack behind what it holds, if any."""
    unbacked = block.component("unbacked")
    return lambda t: [] if unbacked is None else [-1.0 * unbacked[t]]
