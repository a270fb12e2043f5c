"""Migration of work: work sent, in transit and received, and the balance of routes over sites.

====================  ============  ==========  ===================================================
Name                  Unit          Axes        Meaning
====================  ============  ==========  ===================================================
**Variables**
net                   MWh           b, p        sent less received work of the fleet; low <= net <=
                                                high
sent                  MWh           b, c, p     work sent; 0 <= sent <= sent_high
received              MWh           b, g        work received; 0 <= received <= received_high
late                  MWh           i, g        incoming work overdue; 0 <= late <= late_high (0 at
                                                the start)
**Parameters**
done, under_way       1             t, b, p     share of sent work completed in, and in transit
                                                after, an interval
away                  1/MWh         t, b, p     racks in transit per sent work
here, due             1             t, b, g     share of received work that has arrived, and is due
present, width        1/MWh         t, b, g; g  racks that incoming work, and late work, can use
speed, hosts          1             p; g, p     work of the fleet per MWh of the site
send_cost, host_cost  EUR/MWh       p; g        cost of transfer
value, never          EUR/MWh, EUR  g           cost of work left undone; the part that the block
                                                work counts for bounds
**Constraints** (met, late_own, racks: block ``work``)
progress              MWh           t, c        change of (met - late_own) == hours * sum_u work *
                                                racks + sum_bp done * sent
has_left              MWh           t, c        (met - late_own)[t+1] + sum_bp under_way * sent <=
                                                most[t+1]
stays                 1             t, c        sum_u racks + sum_bp away * sent <= racks_limit
is_here               MWh           t, g        met[t+1] <= sum_b here * received
is_due                MWh           t, g        met[t+1] + late[t+1] >= sum_b due * received
has_jobs              1             t, g        sum_u racks <= sum_b present * received + width *
                                                late[t]
settles               MWh           b, p        sum_c speed * sent - sum_g hosts * received == net
carries               MWh           b, p        sum over sites of net == 0 (block of the fleet)
**Cost**
transfer              EUR                       sum_bcp send_cost * sent + sum_bg host_cost *
                                                received
lateness              MWh h         t           hours * sum_g late[t+1]
terminal              EUR                       sum_bg value * received - sum_g never
====================  ============  ==========  ===================================================

Axes: t interval, i instant, b block of time, c outgoing cohort, g incoming cohort, p route. Sent
work counts as done at its deadline on the route; work in transit is neither pending nor done.
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
    """Everything about the routes of a site that decides its rows and columns.

    Attributes
    ----------
    starts
        First interval of every block of time.
    outgoing, incoming
        Cohorts that may leave, and cohorts that come in.
    """

    migration_routes: int
    starts: tuple[int, ...]
    outgoing: tuple[int, ...]
    incoming: tuple[int, ...]


def signature(migration: Migration, data: ModelData) -> MigrationSignature:
    """Return the signature of the routes of a site."""
    outlook = data.problem.outlook
    return MigrationSignature(
        migration_routes=len(migration.migration_routes),
        starts=migration.edges[:-1],
        outgoing=outgoing_cohorts(migration, outlook),
        incoming=incoming_cohorts(outlook),
    )


def parameters(migration: Migration, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of the routes: when sent work is in transit, arrived and due."""
    own = signature(migration, data)
    bounds = {"low": migration.low, "high": migration.high}
    found = {name: np.asarray(values, dtype=float) for name, values in bounds.items()}
    if own.outgoing:
        found |= outgoing_parameters(migration, data, own.outgoing)
    if own.incoming:
        found |= incoming_parameters(migration, data, own.incoming)
        found["late_high"] = np.append(0.0, np.full_like(data.hours, np.inf))
    return found


def build(block: pyo.Block, signature: MigrationSignature, assembler: ModelAssembler) -> None:
    """Write the routes into their empty block, beside the block ``work`` of the site."""
    block.blocks = pyo.Set(initialize=signature.starts)
    block.lanes = pyo.RangeSet(0, signature.migration_routes - 1)
    block.low, block.high = (
        add_param(block.blocks, block.lanes),
        add_param(block.blocks, block.lanes),
    )
    add_var(block, "net", block.blocks, block.lanes, low=block.low, high=block.high)
    if signature.outgoing:
        _declare_outgoing(block, signature, assembler)
        _constrain_outgoing(block, block.parent_block().work)
    if signature.incoming:
        _declare_incoming(block, signature, assembler)
        _constrain_incoming(block, block.parent_block().work)
    _add_net_balance(block, signature)


def _declare_outgoing(
    block: pyo.Block, signature: MigrationSignature, assembler: ModelAssembler
) -> None:
    """Declare sent work, and post its transfer cost."""
    time, blocks, migration_routes = block.model().time, block.blocks, block.lanes
    block.moved = pyo.Set(initialize=signature.outgoing)
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
    """Limit the local progress to work that is not sent."""
    time, outgoing = block.model().time, block.moved
    block.progress = pyo.Constraint(
        time,
        outgoing,
        rule=lambda b, t, c: (
            own.met[t + 1, c] - own.late[t + 1, c] - own.met[t, c] + own.late[t, c]
            == own.hours[t] * sum(own.work[c, u] * own.racks[t, c, u] for u in own.caps)
            + sum(b.done[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
        ),
    )
    block.has_left = pyo.Constraint(
        time,
        outgoing,
        rule=lambda b, t, c: (
            own.met[t + 1, c]
            - own.late[t + 1, c]
            + sum(b.under_way[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
            <= own.most[t + 1, c]
        ),
    )
    block.stays = pyo.Constraint(
        time,
        outgoing,
        rule=lambda b, t, c: (
            sum(own.racks[t, c, u] for u in own.caps)
            + sum(b.away[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
            <= own.racks_limit[t, c]
        ),
    )


def _declare_incoming(
    block: pyo.Block, signature: MigrationSignature, assembler: ModelAssembler
) -> None:
    """Declare received work, and post its transfer cost, lateness and undone part."""
    time, instant, blocks = block.model().time, block.model().instant, block.blocks
    block.guests = incoming = pyo.Set(initialize=signature.incoming)
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
    """Limit incoming work to its arrival, deadline and racks."""
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


def _add_net_balance(block: pyo.Block, signature: MigrationSignature) -> None:
    """Add the balance of sent and received work, in work of the fleet."""
    flows: list[Callable[[Any, Any, Any], Any]] = [lambda b, k, p: -1.0 * b.net[k, p]]
    if signature.outgoing:
        flows.append(lambda b, k, p: sum(b.speed[p] * b.sent[k, c, p] for c in b.moved))
    if signature.incoming:
        flows.append(lambda b, k, p: -sum(b.hosts[g, p] * b.received[k, g] for g in b.guests))
    block.settles = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda b, k, p: add_terms([flow(b, k, p) for flow in flows]) == 0.0,
    )


class TransitProfile:
    """Progress of the work that enters a route in each block of time."""

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
    migration: Migration, data: ModelData, outgoing: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Return the parameter values of outgoing work; sending is closed for a site that only
    receives.

    Work sent and received at once would be the site's own work with the deadline of the route.
    """
    time, migration_routes = TransitProfile(migration, data), migration.migration_routes
    kinds = data.problem.outlook["kind"].to_numpy()[list(outgoing)]
    rack = RackPool.from_site(data.problem.site).rack_power
    in_transit = np.stack(
        [time.share(0.0) - time.share(completion_delay(route)) for route in migration_routes],
        axis=2,
    )
    done = np.stack(
        [np.diff(time.share(completion_delay(route)), axis=0) for route in migration_routes], axis=2
    )
    lengths = np.array([route.job_length for route in migration_routes])
    ends_in_time = np.stack(
        [time.ends_within_horizon(completion_delay(route)) for route in migration_routes], axis=1
    )
    may_send = np.array(
        [[kind == route.kind and route.can_send for route in migration_routes] for kind in kinds]
    )
    return {
        "done": done,
        "under_way": in_transit[1:],
        "away": _interval_mean(in_transit) / (rack * lengths),
        "sent_high": np.where(
            (ends_in_time & (migration.high > 0.0))[:, None, :] & may_send, np.inf, 0.0
        ),
        "send_cost": np.array([route.send_cost for route in migration_routes]),
        "speed": np.array([route.work_ratio for route in migration_routes]),
    }


def incoming_parameters(
    migration: Migration, data: ModelData, incoming: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Return the parameter values of incoming work; receiving is closed for a site that only
    sends.
    """
    time, problem = TransitProfile(migration, data), data.problem
    hosted = [route for route in migration.migration_routes if route.can_host]
    is_open = migration.low[:, [route.can_host for route in migration.migration_routes]] < 0.0
    most = np.stack([_max_incoming(route, time, data) for route in hosted], axis=1)
    value = workload.parameters(problem.site.flexible_loads, data)["value"][list(incoming)]
    arrived = np.stack([time.share(route.transfer_time) for route in hosted], axis=2)
    due = np.stack([time.share(completion_delay(route)) for route in hosted], axis=2)
    rack = RackPool.from_site(problem.site).rack_power
    width = 1.0 / (rack * np.array([route.job_length for route in hosted]))
    return {
        "here": arrived[1:],
        "due": due[1:],
        "present": _interval_mean(arrived - due) * width,
        "width": width,
        "hours": data.hours,
        "value": value,
        "never": value * problem.series("work_most")[-1, list(incoming)],
        "host_cost": np.array([route.host_cost for route in hosted]),
        "received_high": np.where(is_open, most, 0.0),
        "hosts": np.array(
            [
                [route.work_ratio * (route is one) for one in migration.migration_routes]
                for route in hosted
            ]
        ),
    }


def completion_delay(migration_route: MigrationRoute) -> float:
    """Return the time from entering a route to the deadline. [h]"""
    return migration_route.transfer_time + migration_route.window


def _max_incoming(
    migration_route: MigrationRoute, time: TransitProfile, data: ModelData
) -> FloatArray:
    """Return a bound of the work received in each block: what all racks do until it is due.
    [MWh]
    """
    pool = RackPool.from_site(data.problem.site)
    capacity = pool.racks * pool.rack_power * (time.length + migration_route.window)
    return np.where(time.ends_within_horizon(completion_delay(migration_route)), capacity, 0.0)


def _interval_mean(at_edges: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (at_edges[1:] + at_edges[:-1]))


@dataclass(frozen=True, kw_only=True)
class MigrationBalanceSignature:
    """Everything about the routes of a fleet that decides its rows.

    Attributes
    ----------
    sites
        Names of the sites; the block ``moves`` of each has the same blocks of time and routes.
    starts
        First interval of every block of time.
    """

    sites: tuple[str, ...]
    migration_routes: int
    starts: tuple[int, ...]


def build_migration_balance(
    block: pyo.Block,
    signature: MigrationBalanceSignature,
    _: ModelAssembler,
    *,
    sites: object,  # noqa: ARG001  (there is no cost)
) -> None:
    """Balance sent and received work of every route and block of time."""
    block.blocks = pyo.Set(initialize=signature.starts)
    block.lanes = pyo.RangeSet(0, signature.migration_routes - 1)
    migration = [block.model().component(name).moves for name in signature.sites]
    block.carries = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda _, k, p: add_terms([one.net[k, p] for one in migration]) == 0.0,
    )
