"""Work that leaves a site for others, and work that comes in.

What is sent stops at once to be work that may be done here, and counts as done when it is promised
to be: what is under way is neither. What comes in is a cohort of its own, which must be done within
the window of its lane. Where deadlines would be missed, the guest is late and that is paid here;
when the horizon begins none is.

The numbers of work that moves: when what a lane takes up has left, is here, and is due.

What couples the sites of a fleet: what some send by a lane, others take in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_terms, add_var
from optimizer.model.components import workload
from optimizer.model.model_data import ModelData
from optimizer.problem.migration import (
    Migration,
    MigrationRoute,
    incoming_cohorts,
    outgoing_cohorts,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.workload.queue import RackPool


@dataclass(frozen=True, kw_only=True)
class MigrationSignature:
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


def signature(moves: Migration, inputs: ModelData) -> MigrationSignature:
    """Return the shape of the lanes of a site."""
    outlook = inputs.problem.outlook
    return MigrationSignature(
        lanes=len(moves.lanes),
        starts=moves.edges[:-1],
        moved=outgoing_cohorts(moves, outlook),
        guests=incoming_cohorts(outlook),
    )


def parameters(moves: Migration, inputs: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of the lanes: when what is sent is under way, here and due."""
    own = signature(moves, inputs)
    bounds = {"low": moves.low, "high": moves.high}
    found = {name: np.asarray(values, dtype=float) for name, values in bounds.items()}
    if own.moved:
        found |= outgoing_parameters(moves, inputs, own.moved)
    if own.guests:
        found |= incoming_parameters(moves, inputs, own.guests)
        found["late_high"] = np.append(0.0, np.full_like(inputs.hours, np.inf))
    return found


def build(block: pyo.Block, shape: MigrationSignature, ledger: ModelAssembler) -> None:
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
    block.low, block.high = (
        add_param(block.blocks, block.lanes),
        add_param(block.blocks, block.lanes),
    )
    add_var(block, "net", block.blocks, block.lanes, low=block.low, high=block.high)
    if shape.moved:
        _declare_outgoing(block, shape, ledger)
        _constrain_outgoing(block, block.parent_block().work)
    if shape.guests:
        _declare_incoming(block, shape, ledger)
        _constrain_incoming(block, block.parent_block().work)
    _add_net_balance(block, shape)


def _declare_outgoing(block: pyo.Block, shape: MigrationSignature, ledger: ModelAssembler) -> None:
    """Declare what leaves, and pay for its transfer."""
    time, blocks, lanes = block.model().time, block.blocks, block.lanes
    block.moved = pyo.Set(initialize=shape.moved)
    block.sent_high = add_param(blocks, block.moved, lanes)
    block.done, block.under_way = add_param(time, blocks, lanes), add_param(time, blocks, lanes)
    block.away, block.send_cost, block.speed = (
        add_param(time, blocks, lanes),
        add_param(lanes),
        add_param(lanes),
    )
    add_var(block, "sent", blocks, block.moved, lanes, high=block.sent_high)
    ledger.pay_once(
        "transfer",
        lambda: sum(
            block.send_cost[p] * block.sent[k, c, p]
            for k in block.blocks
            for c in block.moved
            for p in block.lanes
        ),
    )


def _constrain_outgoing(block: pyo.Block, own: pyo.Block) -> None:
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


def _declare_incoming(block: pyo.Block, shape: MigrationSignature, ledger: ModelAssembler) -> None:
    """Declare what comes in, and pay for its transfer, lateness and what stays undone of it."""
    time, instant, blocks = block.model().time, block.model().instant, block.blocks
    block.guests = guests = pyo.Set(initialize=shape.guests)
    block.here, block.due = add_param(time, blocks, guests), add_param(time, blocks, guests)
    block.present, block.width = add_param(time, blocks, guests), add_param(guests)
    block.hours, block.value, block.never = add_param(time), add_param(guests), add_param(guests)
    block.host_cost, block.received_high = add_param(guests), add_param(blocks, guests)
    block.hosts, block.late_high = add_param(guests, block.lanes), add_param(instant)
    add_var(block, "received", blocks, guests, high=block.received_high)
    add_var(block, "late", instant, guests, high=block.late_high)
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


def _constrain_incoming(block: pyo.Block, own: pyo.Block) -> None:
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


def _add_net_balance(block: pyo.Block, shape: MigrationSignature) -> None:
    """Write what is sent less what is taken in, in work of the fleet."""
    flows: list[Callable[[Any, Any, Any], Any]] = [lambda b, k, p: -1.0 * b.net[k, p]]
    if shape.moved:
        flows.append(lambda b, k, p: sum(b.speed[p] * b.sent[k, c, p] for c in b.moved))
    if shape.guests:
        flows.append(lambda b, k, p: -sum(b.hosts[g, p] * b.received[k, g] for g in b.guests))
    block.settles = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda b, k, p: add_terms([flow(b, k, p) for flow in flows]) == 0.0,
    )


class TransitProfile:
    """When what enters a lane in each block of time has come how far.

    Parameters
    ----------
    moves
        The lanes.
    inputs
        The problem.
    """

    def __init__(self, moves: Migration, inputs: ModelData) -> None:
        self._edges = np.concatenate([[0.0], np.cumsum(inputs.hours)])
        blocks = np.array(moves.edges)
        self._begin, self._end = self._edges[blocks[:-1]], self._edges[blocks[1:]]

    @property
    def length(self) -> FloatArray:
        """Lengths of the blocks. [h]"""
        return np.asarray(self._end - self._begin)

    def share(self, delay: float) -> FloatArray:
        """Return the share of each block that entered a delay [h] ago, ``(instant, block)``. [1]"""
        since = self._edges[:, None] - delay - self._begin
        return np.asarray(np.clip(since / self.length, 0.0, 1.0))

    def fits(self, delay: float) -> BoolArray:
        """Return the blocks whose last work ends a delay [h] later within the horizon."""
        return np.asarray(self._end + delay <= self._edges[-1] + 1e-9)


def outgoing_parameters(
    moves: Migration, inputs: ModelData, moved: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Return the numbers of what leaves; nothing where a site is only to take in.

    What it sent and took in at once would be its own work, which waits and is due by the lane.

    Parameters
    ----------
    moves
        The lanes.
    inputs
        The problem.
    moved
        Cohorts that may leave.
    """
    time, lanes = TransitProfile(moves, inputs), moves.lanes
    kinds = inputs.problem.outlook["kind"].to_numpy()[list(moved)]
    rack = RackPool.of(inputs.problem.site).rack_power
    gone = np.stack(
        [time.share(0.0) - time.share(completion_delay(lane)) for lane in lanes], axis=2
    )
    done = np.stack([np.diff(time.share(completion_delay(lane)), axis=0) for lane in lanes], axis=2)
    lengths = np.array([lane.job_length for lane in lanes])
    fits = np.stack([time.fits(completion_delay(lane)) for lane in lanes], axis=1)
    takes = np.array([[kind == lane.kind and lane.may_send for lane in lanes] for kind in kinds])
    return {
        "done": done,
        "under_way": gone[1:],
        "away": _interval_mean(gone) / (rack * lengths),
        "sent_high": np.where((fits & (moves.high > 0.0))[:, None, :] & takes, np.inf, 0.0),
        "send_cost": np.array([lane.send_cost for lane in lanes]),
        "speed": np.array([lane.speed for lane in lanes]),
    }


def incoming_parameters(
    moves: Migration, inputs: ModelData, guests: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Return the numbers of what comes in; nothing where a site is only to send.

    Parameters
    ----------
    moves
        The lanes.
    inputs
        The problem.
    guests
        Cohorts that come in, one for each lane that may bring work.
    """
    time, problem = TransitProfile(moves, inputs), inputs.problem
    hosted = [lane for lane in moves.lanes if lane.may_host]
    is_open = moves.low[:, [lane.may_host for lane in moves.lanes]] < 0.0
    most = np.stack([_max_incoming(lane, time, inputs) for lane in hosted], axis=1)
    value = workload.parameters(problem.site.works, inputs)["value"][list(guests)]
    here = np.stack([time.share(lane.transfer_time) for lane in hosted], axis=2)
    due = np.stack([time.share(completion_delay(lane)) for lane in hosted], axis=2)
    rack = RackPool.of(problem.site).rack_power
    width = 1.0 / (rack * np.array([lane.job_length for lane in hosted]))
    return {
        "here": here[1:],
        "due": due[1:],
        "present": _interval_mean(here - due) * width,
        "width": width,
        "hours": inputs.hours,
        "value": value,
        "never": value * problem.series("work_most")[-1, list(guests)],
        "host_cost": np.array([lane.host_cost for lane in hosted]),
        "received_high": np.where(is_open, most, 0.0),
        "hosts": np.array([[lane.speed * (lane is one) for one in moves.lanes] for lane in hosted]),
    }


def completion_delay(lane: MigrationRoute) -> float:
    """Return the time from entering a lane to being done. [h]"""
    return lane.transfer_time + lane.window


def _max_incoming(lane: MigrationRoute, time: TransitProfile, inputs: ModelData) -> FloatArray:
    """Return the most that may come in each block: what all racks do until it is due. [MWh]"""
    pool = RackPool.of(inputs.problem.site)
    could = pool.racks * pool.rack_power * (time.length + lane.window)
    return np.where(time.fits(completion_delay(lane)), could, 0.0)


def _interval_mean(at_edges: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (at_edges[1:] + at_edges[:-1]))


@dataclass(frozen=True, kw_only=True)
class MigrationBalanceSignature:
    """What of a fleet decides which rows and columns there are.

    Attributes
    ----------
    sites
        Names of the sites; each has the block ``moves``, with the same blocks of time and lanes.
    lanes
        Number of lanes.
    starts
        First interval of every block of time.
    """

    sites: tuple[str, ...]
    lanes: int
    starts: tuple[int, ...]


def build_migration_balance(
    block: pyo.Block,
    shape: MigrationBalanceSignature,
    _: ModelAssembler,
    *,
    sites: object,  # noqa: ARG001  (it pays nothing)
) -> None:
    """Let every lane carry in each block as much as is sent.

    Parameters
    ----------
    block
        Empty block.
    shape
        Shape of the fleet.
    sites
        Ledgers of the sites; what is moved is paid there.
    """
    block.blocks = pyo.Set(initialize=shape.starts)
    block.lanes = pyo.RangeSet(0, shape.lanes - 1)
    moves = [block.model().component(name).moves for name in shape.sites]
    block.carries = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda _, k, p: add_terms([one.net[k, p] for one in moves]) == 0.0,
    )
