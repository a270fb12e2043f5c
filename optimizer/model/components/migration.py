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
    migration_routes
        Number of lanes.
    starts
        First interval of every block.
    outgoing, incoming
        Cohorts that may leave, and cohorts that come in.
    """

    migration_routes: int
    starts: tuple[int, ...]
    outgoing: tuple[int, ...]
    incoming: tuple[int, ...]


def signature(migration: Migration, data: ModelData) -> MigrationSignature:
    """Return the shape of the lanes of a site."""
    outlook = data.problem.outlook
    return MigrationSignature(
        migration_routes=len(migration.migration_routes),
        starts=migration.edges[:-1],
        outgoing=outgoing_cohorts(migration, outlook),
        incoming=incoming_cohorts(outlook),
    )


def parameters(migration: Migration, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of the lanes: when what is sent is under way, here and due."""
    own = signature(migration, data)
    bounds = {"low": migration.low, "high": migration.high}
    found = {name: np.asarray(values, dtype=float) for name, values in bounds.items()}
    if own.outgoing:
        found |= outgoing_parameters(migration, data, own.outgoing)
    if own.incoming:
        found |= incoming_parameters(migration, data, own.incoming)
        found["late_high"] = np.append(0.0, np.full_like(data.hours, np.inf))
    return found


def build(block: pyo.Block, shape: MigrationSignature, assembler: ModelAssembler) -> None:
    """Write the lanes beside the work of a site.

    Parameters
    ----------
    block
        Empty block; the block ``work`` stands beside it, its moved cohorts without progress.
    shape
        Shape of the lanes.
    assembler
        Where transfers, late guests and guests left undone are paid.
    """
    block.blocks = pyo.Set(initialize=shape.starts)
    block.lanes = pyo.RangeSet(0, shape.migration_routes - 1)
    block.low, block.high = (
        add_param(block.blocks, block.lanes),
        add_param(block.blocks, block.lanes),
    )
    add_var(block, "net", block.blocks, block.lanes, low=block.low, high=block.high)
    if shape.outgoing:
        _declare_outgoing(block, shape, assembler)
        _constrain_outgoing(block, block.parent_block().work)
    if shape.incoming:
        _declare_incoming(block, shape, assembler)
        _constrain_incoming(block, block.parent_block().work)
    _add_net_balance(block, shape)


def _declare_outgoing(
    block: pyo.Block, shape: MigrationSignature, assembler: ModelAssembler
) -> None:
    """Declare what leaves, and pay for its transfer."""
    time, blocks, migration_routes = block.model().time, block.blocks, block.lanes
    block.moved = pyo.Set(initialize=shape.outgoing)
    block.sent_high = add_param(blocks, block.moved, migration_routes)
    block.done, block.under_way = (
        add_param(time, blocks, migration_routes),
        add_param(time, blocks, migration_routes),
    )
    block.away, block.send_cost, block.speed = (
        add_param(time, blocks, migration_routes),
        add_param(migration_routes),
        add_param(migration_routes),
    )
    add_var(block, "sent", blocks, block.moved, migration_routes, high=block.sent_high)
    assembler.add_fixed_cost(
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


def _declare_incoming(
    block: pyo.Block, shape: MigrationSignature, assembler: ModelAssembler
) -> None:
    """Declare what comes in, and pay for its transfer, lateness and what stays undone of it."""
    time, instant, blocks = block.model().time, block.model().instant, block.blocks
    block.guests = incoming = pyo.Set(initialize=shape.incoming)
    block.here, block.due = add_param(time, blocks, incoming), add_param(time, blocks, incoming)
    block.present, block.width = add_param(time, blocks, incoming), add_param(incoming)
    block.hours, block.value, block.never = (
        add_param(time),
        add_param(incoming),
        add_param(incoming),
    )
    block.host_cost, block.received_high = add_param(incoming), add_param(blocks, incoming)
    block.hosts, block.late_high = add_param(incoming, block.lanes), add_param(instant)
    add_var(block, "received", blocks, incoming, high=block.received_high)
    add_var(block, "late", instant, incoming, high=block.late_high)
    assembler.add_fixed_cost(
        "transfer",
        lambda: sum(
            block.host_cost[g] * block.received[k, g] for k in block.blocks for g in block.guests
        ),
    )
    assembler.add_cost(
        "lateness",
        lambda t: block.hours[t] * sum(block.late[t + 1, g] for g in block.guests),
    )
    assembler.add_fixed_cost(
        "terminal",
        lambda: sum(
            block.value[g] * block.received[k, g] for k in block.blocks for g in block.guests
        ),
    )
    assembler.add_fixed_cost("terminal", lambda: -1.0 * sum(block.never[g] for g in block.guests))


def _constrain_incoming(block: pyo.Block, own: pyo.Block) -> None:
    """Write when guests can be worked on, and by when they must be done."""
    time, incoming = block.model().time, block.guests
    block.is_here = pyo.Constraint(
        time,
        incoming,
        rule=lambda b, t, g: (
            own.met[t + 1, g] <= sum(b.here[t, k, g] * b.received[k, g] for k in b.blocks)
        ),
    )
    block.is_due = pyo.Constraint(
        time,
        incoming,
        rule=lambda b, t, g: (
            own.met[t + 1, g] + b.late[t + 1, g]
            >= sum(b.due[t, k, g] * b.received[k, g] for k in b.blocks)
        ),
    )
    block.has_jobs = pyo.Constraint(
        time,
        incoming,
        rule=lambda b, t, g: (
            sum(own.racks[t, g, u] for u in own.caps)
            <= sum(b.present[t, k, g] * b.received[k, g] for k in b.blocks)
            + b.width[g] * b.late[t, g]
        ),
    )


def _add_net_balance(block: pyo.Block, shape: MigrationSignature) -> None:
    """Write what is sent less what is taken in, in work of the fleet."""
    flows: list[Callable[[Any, Any, Any], Any]] = [lambda b, k, p: -1.0 * b.net[k, p]]
    if shape.outgoing:
        flows.append(lambda b, k, p: sum(b.speed[p] * b.sent[k, c, p] for c in b.moved))
    if shape.incoming:
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

    def __init__(self, migration: Migration, data: ModelData) -> None:
        self._edges = np.concatenate([[0.0], np.cumsum(data.hours)])
        blocks = np.array(migration.edges)
        self._begin, self._end = self._edges[blocks[:-1]], self._edges[blocks[1:]]

    @property
    def length(self) -> FloatArray:
        """Lengths of the blocks. [h]"""
        return np.asarray(self._end - self._begin)

    def share(self, delay: float) -> FloatArray:
        """Return the share of each block that entered a delay [h] ago, ``(instant, block)``. [1]"""
        since = self._edges[:, None] - delay - self._begin
        return np.asarray(np.clip(since / self.length, 0.0, 1.0))

    def ends_within_horizon(self, delay: float) -> BoolArray:
        """Return the blocks whose last work ends a delay [h] later within the horizon."""
        return np.asarray(self._end + delay <= self._edges[-1] + 1e-9)


def outgoing_parameters(
    migration: Migration, data: ModelData, moved: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Return the numbers of what leaves; nothing where a site is only to take in.

    What it sent and took in at once would be its own work, which waits and is due by the lane.

    Parameters
    ----------
    migration
        The lanes.
    data
        The problem.
    moved
        Cohorts that may leave.
    """
    time, migration_routes = TransitProfile(migration, data), migration.migration_routes
    kinds = data.problem.outlook["kind"].to_numpy()[list(moved)]
    rack = RackPool.from_site(data.problem.site).rack_power
    gone = np.stack(
        [time.share(0.0) - time.share(completion_delay(lane)) for lane in migration_routes], axis=2
    )
    done = np.stack(
        [np.diff(time.share(completion_delay(lane)), axis=0) for lane in migration_routes], axis=2
    )
    lengths = np.array([lane.job_length for lane in migration_routes])
    fits = np.stack(
        [time.ends_within_horizon(completion_delay(lane)) for lane in migration_routes], axis=1
    )
    takes = np.array(
        [[kind == lane.kind and lane.can_send for lane in migration_routes] for kind in kinds]
    )
    return {
        "done": done,
        "under_way": gone[1:],
        "away": _interval_mean(gone) / (rack * lengths),
        "sent_high": np.where((fits & (migration.high > 0.0))[:, None, :] & takes, np.inf, 0.0),
        "send_cost": np.array([lane.send_cost for lane in migration_routes]),
        "speed": np.array([lane.work_ratio for lane in migration_routes]),
    }


def incoming_parameters(
    migration: Migration, data: ModelData, incoming: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Return the numbers of what comes in; nothing where a site is only to send.

    Parameters
    ----------
    migration
        The lanes.
    data
        The problem.
    incoming
        Cohorts that come in, one for each lane that may bring work.
    """
    time, problem = TransitProfile(migration, data), data.problem
    hosted = [lane for lane in migration.migration_routes if lane.can_host]
    is_open = migration.low[:, [lane.can_host for lane in migration.migration_routes]] < 0.0
    most = np.stack([_max_incoming(lane, time, data) for lane in hosted], axis=1)
    value = workload.parameters(problem.site.flexible_loads, data)["value"][list(incoming)]
    here = np.stack([time.share(lane.transfer_time) for lane in hosted], axis=2)
    due = np.stack([time.share(completion_delay(lane)) for lane in hosted], axis=2)
    rack = RackPool.from_site(problem.site).rack_power
    width = 1.0 / (rack * np.array([lane.job_length for lane in hosted]))
    return {
        "here": here[1:],
        "due": due[1:],
        "present": _interval_mean(here - due) * width,
        "width": width,
        "hours": data.hours,
        "value": value,
        "never": value * problem.series("work_most")[-1, list(incoming)],
        "host_cost": np.array([lane.host_cost for lane in hosted]),
        "received_high": np.where(is_open, most, 0.0),
        "hosts": np.array(
            [
                [lane.work_ratio * (lane is one) for one in migration.migration_routes]
                for lane in hosted
            ]
        ),
    }


def completion_delay(migration_route: MigrationRoute) -> float:
    """Return the time from entering a lane to being done. [h]"""
    return migration_route.transfer_time + migration_route.window


def _max_incoming(
    migration_route: MigrationRoute, time: TransitProfile, data: ModelData
) -> FloatArray:
    """Return the most that may come in each block: what all racks do until it is due. [MWh]"""
    pool = RackPool.from_site(data.problem.site)
    could = pool.racks * pool.rack_power * (time.length + migration_route.window)
    return np.where(time.ends_within_horizon(completion_delay(migration_route)), could, 0.0)


def _interval_mean(at_edges: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (at_edges[1:] + at_edges[:-1]))


@dataclass(frozen=True, kw_only=True)
class MigrationBalanceSignature:
    """What of a fleet decides which rows and columns there are.

    Attributes
    ----------
    sites
        Names of the sites; each has the block ``moves``, with the same blocks of time and lanes.
    migration_routes
        Number of lanes.
    starts
        First interval of every block of time.
    """

    sites: tuple[str, ...]
    migration_routes: int
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
    block.lanes = pyo.RangeSet(0, shape.migration_routes - 1)
    migration = [block.model().component(name).moves for name in shape.sites]
    block.carries = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda _, k, p: add_terms([one.net[k, p] for one in migration]) == 0.0,
    )
