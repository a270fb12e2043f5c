"""Work that leaves a site for others, and work that comes in.

What is sent stops at once to be work that may be done here, and counts as done when it is promised
to be: what is under way is neither. What comes in is a cohort of its own, which must be done within
the window of its lane. Where deadlines would be missed, the guest is late and that is paid here;
when the horizon begins none is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.forms import under_way
from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger, added
from optimizer.question.moves import Moves, coming, moved
from twin.physics import FloatArray


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of the lanes decides which rows and columns there are.

    Attributes
    ----------
    lanes
        Number of lanes.
    starts
        First interval of every block.
    moved, guests
        Cohorts that may leave, and cohorts that come in.
    """

    lanes: int
    starts: tuple[int, ...]
    moved: tuple[int, ...]
    guests: tuple[int, ...]


def shape(moves: Moves, inputs: Inputs) -> Shape:
    """Return the shape of the lanes of a site."""
    outlook = inputs.problem.outlook
    return Shape(
        lanes=len(moves.lanes),
        starts=moves.edges[:-1],
        moved=moved(moves, outlook),
        guests=coming(outlook),
    )


def numbers(moves: Moves, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of the lanes: when what is sent is under way, here and due."""
    own = shape(moves, inputs)
    bounds = {"low": moves.low, "high": moves.high}
    found = {name: np.asarray(values, dtype=float) for name, values in bounds.items()}
    if own.moved:
        found |= under_way.sent_numbers(moves, inputs, own.moved)
    if own.guests:
        found |= under_way.guest_numbers(moves, inputs, own.guests)
        found["late_high"] = np.append(0.0, np.full_like(inputs.hours, np.inf))
    return found


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Write the lanes beside the work of a site.

    Parameters
    ----------
    block
        Empty block; the block ``work`` stands beside it, its moved cohorts without progress.
    shape
        Shape of the lanes.
    ledger
        Where transfers, late guests and guests left undone are paid.
    """
    block.blocks = pyo.Set(initialize=shape.starts)
    block.lanes = pyo.RangeSet(0, shape.lanes - 1)
    block.low, block.high = table(block.blocks, block.lanes), table(block.blocks, block.lanes)
    columns(block, "net", block.blocks, block.lanes, low=block.low, high=block.high)
    if shape.moved:
        _declare_sent(block, shape, ledger)
        _bind_sent(block, block.parent_block().work)
    if shape.guests:
        _declare_guests(block, shape, ledger)
        _bind_guests(block, block.parent_block().work)
    _close(block, shape)


def _declare_sent(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Declare what leaves, and pay for its transfer."""
    time, blocks, lanes = block.model().time, block.blocks, block.lanes
    block.moved = pyo.Set(initialize=shape.moved)
    block.sent_high = table(blocks, block.moved, lanes)
    block.done, block.under_way = table(time, blocks, lanes), table(time, blocks, lanes)
    block.away, block.send_cost, block.speed = (
        table(time, blocks, lanes),
        table(lanes),
        table(lanes),
    )
    columns(block, "sent", blocks, block.moved, lanes, high=block.sent_high)
    ledger.pay_once(
        "transfer",
        lambda: sum(
            block.send_cost[p] * block.sent[k, c, p]
            for k in block.blocks
            for c in block.moved
            for p in block.lanes
        ),
    )


def _bind_sent(block: pyo.Block, own: pyo.Block) -> None:
    """Write what may still be done here of what is not sent."""
    time, moved = block.model().time, block.moved
    block.progress = pyo.Constraint(
        time,
        moved,
        rule=lambda b, t, c: (
            own.met[t + 1, c] - own.late[t + 1, c] - own.met[t, c] + own.late[t, c]
            == own.hours[t] * sum(own.work[c, u] * own.racks[t, c, u] for u in own.caps)
            + sum(b.done[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
        ),
    )
    block.has_left = pyo.Constraint(
        time,
        moved,
        rule=lambda b, t, c: (
            own.met[t + 1, c]
            - own.late[t + 1, c]
            + sum(b.under_way[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
            <= own.most[t + 1, c]
        ),
    )
    block.stays = pyo.Constraint(
        time,
        moved,
        rule=lambda b, t, c: (
            sum(own.racks[t, c, u] for u in own.caps)
            + sum(b.away[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
            <= own.racks_limit[t, c]
        ),
    )


def _declare_guests(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Declare what comes in, and pay for its transfer, lateness and what stays undone of it."""
    time, instant, blocks = block.model().time, block.model().instant, block.blocks
    block.guests = guests = pyo.Set(initialize=shape.guests)
    block.here, block.due = table(time, blocks, guests), table(time, blocks, guests)
    block.present, block.width = table(time, blocks, guests), table(guests)
    block.hours, block.value, block.never = table(time), table(guests), table(guests)
    block.host_cost, block.received_high = table(guests), table(blocks, guests)
    block.hosts, block.late_high = table(guests, block.lanes), table(instant)
    columns(block, "received", blocks, guests, high=block.received_high)
    columns(block, "late", instant, guests, high=block.late_high)
    ledger.pay_once(
        "transfer",
        lambda: sum(
            block.host_cost[g] * block.received[k, g] for k in block.blocks for g in block.guests
        ),
    )
    ledger.pay(
        "lateness",
        lambda t: block.hours[t] * sum(block.late[t + 1, g] for g in block.guests),
    )
    ledger.pay_once(
        "terminal",
        lambda: sum(
            block.value[g] * block.received[k, g] for k in block.blocks for g in block.guests
        ),
    )
    ledger.pay_once("terminal", lambda: -1.0 * sum(block.never[g] for g in block.guests))


def _bind_guests(block: pyo.Block, own: pyo.Block) -> None:
    """Write when guests can be worked on, and by when they must be done."""
    time, guests = block.model().time, block.guests
    block.is_here = pyo.Constraint(
        time,
        guests,
        rule=lambda b, t, g: (
            own.met[t + 1, g] <= sum(b.here[t, k, g] * b.received[k, g] for k in b.blocks)
        ),
    )
    block.is_due = pyo.Constraint(
        time,
        guests,
        rule=lambda b, t, g: (
            own.met[t + 1, g] + b.late[t + 1, g]
            >= sum(b.due[t, k, g] * b.received[k, g] for k in b.blocks)
        ),
    )
    block.has_jobs = pyo.Constraint(
        time,
        guests,
        rule=lambda b, t, g: (
            sum(own.racks[t, g, u] for u in own.caps)
            <= sum(b.present[t, k, g] * b.received[k, g] for k in b.blocks)
            + b.width[g] * b.late[t, g]
        ),
    )


def _close(block: pyo.Block, shape: Shape) -> None:
    """Write what is sent less what is taken in, in work of the fleet."""
    flows: list[Callable[[Any, Any, Any], Any]] = [lambda b, k, p: -1.0 * b.net[k, p]]
    if shape.moved:
        flows.append(lambda b, k, p: sum(b.speed[p] * b.sent[k, c, p] for c in b.moved))
    if shape.guests:
        flows.append(lambda b, k, p: -sum(b.hosts[g, p] * b.received[k, g] for g in b.guests))
    block.settles = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda b, k, p: added([flow(b, k, p) for flow in flows]) == 0.0,
    )
