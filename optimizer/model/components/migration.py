"""Migration of work: work sent, in transit and received, and the balance of routes over sites.

========================  ============  ==========  ================================================
Name                      Unit          Axes        Meaning
========================  ============  ==========  ================================================
**Variables**
net                       MWh           b, p        sent less received work of the fleet; low <= net
                                                    <= high
sent                      MWh           b, c, p     work sent; 0 <= sent <= sent_high
received                  MWh           b, g        work received; 0 <= received <= received_high
work_overdue              MWh           i, g        incoming work overdue; 0 <= work_overdue <=
                                                    late_high (0 at the start)
**Parameters**
done, share_in_transit    1             t, b, p     share of sent work completed in, and in transit
                                                    after, an interval
racks_in_transit          1/MWh         t, b, p     racks in transit per sent work
share_arrived, due        1             t, b, g     share of received work that has arrived, and is
                                                    due
present, width            1/MWh         t, b, g; g  racks that incoming work, and overdue work, can
                                                    use
speed, route_of_cohort    1             p; g, p     work of the fleet per MWh of the site
send_cost, host_cost      EUR/MWh       p; g        cost of transfer
value, undelivered_value  EUR/MWh, EUR  g           cost of work left undone; the part that the
                                                    block work counts for bounds
**Constraints** (work_credited, overdue_own, racks: block ``work``)
progress                  MWh           t, c        change of (work_credited - overdue_own) == hours
                                                    * sum_u work * racks + sum_bp done * sent
credited_work_limit       MWh           t, c        (work_credited - overdue_own)[t+1] + sum_bp
                                                    share_in_transit * sent <= max_work[t+1]
remaining_racks           1             t, c        sum_u racks + sum_bp racks_in_transit * sent <=
                                                    racks_limit
arrival_limit             MWh           t, g        work_credited[t+1] <= sum_b share_arrived *
                                                    received
incoming_deadline         MWh           t, g        work_credited[t+1] + work_overdue[t+1] >= sum_b
                                                    due * received
incoming_racks            1             t, g        sum_u racks <= sum_b present * received + width
                                                    * work_overdue[t]
net_balance               MWh           b, p        sum_c speed * sent - sum_g route_of_cohort *
                                                    received == net
migration_balance         MWh           b, p        sum over sites of net == 0 (block of the fleet)
**Cost**
transfer                  EUR                       sum_bcp send_cost * sent + sum_bg host_cost *
                                                    received
lateness                  MWh h         t           hours * sum_g work_overdue[t+1]
terminal                  EUR                       sum_bg value * received - sum_g
                                                    undelivered_value
========================  ============  ==========  ================================================

Axes: t interval, i instant, b block of time, c outgoing cohort, g incoming cohort, p route. Sent
work counts as done at its deadline on the route; work in transit is neither pending nor done.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_intervals, add_params, add_terms, add_var
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

    ``block_starts`` are the first intervals of the blocks of time.
    """

    route_count: int
    block_starts: tuple[int, ...]
    outgoing_cohorts: tuple[int, ...]
    incoming_cohorts: tuple[int, ...]


def signature(migration: Migration, data: ModelData) -> MigrationSignature:
    """Return the signature of the routes of a site."""
    outlook = data.problem.outlook
    return MigrationSignature(
        route_count=len(migration.migration_routes),
        block_starts=migration.block_edges[:-1],
        outgoing_cohorts=outgoing_cohorts(migration, outlook),
        incoming_cohorts=incoming_cohorts(outlook),
    )


def parameters(migration: Migration, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of the routes: when sent work is in transit, arrived and due."""
    own = signature(migration, data)
    bounds = {"low": migration.min_net_work_sent, "high": migration.max_net_work_sent}
    found = {name: np.asarray(values, dtype=float) for name, values in bounds.items()}
    if own.outgoing_cohorts:
        found |= outgoing_parameters(migration, data, own.outgoing_cohorts)
    if own.incoming_cohorts:
        found |= incoming_parameters(migration, data, own.incoming_cohorts)
        found["late_high"] = np.append(0.0, np.full_like(data.interval_hours, np.inf))
    return found


def build(block: pyo.Block, signature: MigrationSignature, assembler: ModelAssembler) -> None:
    """Write the routes into their empty block, beside the block ``work`` of the site."""
    block.blocks = add_intervals(signature.block_starts)
    block.lanes = pyo.RangeSet(0, signature.route_count - 1)
    add_params(block, "low high", block.blocks, block.lanes)
    add_var(block, "net", block.blocks, block.lanes, low=block.low, high=block.high)
    if signature.outgoing_cohorts:
        _send(block, signature, assembler)
    if signature.incoming_cohorts:
        _receive(block, signature, assembler)
    _add_net_balance(block, signature)


def _send(block: pyo.Block, signature: MigrationSignature, assembler: ModelAssembler) -> None:
    """Declare sent work, post its cost, and limit the local progress to work that is not sent."""
    time, blocks, routes = block.model().time, block.blocks, block.lanes
    block.outgoing = pyo.Set(initialize=signature.outgoing_cohorts)
    add_params(block, "sent_high", blocks, block.outgoing, routes)
    add_params(block, "done share_in_transit racks_in_transit", time, blocks, routes)
    add_params(block, "send_cost speed", routes)
    add_var(block, "sent", blocks, block.outgoing, routes, high=block.sent_high)
    assembler.add_fixed_cost(
        "transfer",
        lambda: sum(
            block.send_cost[p] * block.sent[k, c, p]
            for k in block.blocks
            for c in block.outgoing
            for p in block.lanes
        ),
    )
    own, outgoing = block.parent_block().work, block.outgoing
    block.progress = pyo.Constraint(
        time,
        outgoing,
        rule=lambda b, t, c: (
            own.work_credited[t + 1, c]
            - own.work_overdue[t + 1, c]
            - own.work_credited[t, c]
            + own.work_overdue[t, c]
            == own.hours[t] * sum(own.work[c, u] * own.racks[t, c, u] for u in own.caps)
            + sum(b.done[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
        ),
    )
    block.credited_work_limit = pyo.Constraint(
        time,
        outgoing,
        rule=lambda b, t, c: (
            own.work_credited[t + 1, c]
            - own.work_overdue[t + 1, c]
            + sum(b.share_in_transit[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
            <= own.max_work[t + 1, c]
        ),
    )
    block.remaining_racks = pyo.Constraint(
        time,
        outgoing,
        rule=lambda b, t, c: (
            sum(own.racks[t, c, u] for u in own.caps)
            + sum(b.racks_in_transit[t, k, p] * b.sent[k, c, p] for k in b.blocks for p in b.lanes)
            <= own.racks_limit[t, c]
        ),
    )


def _receive(block: pyo.Block, signature: MigrationSignature, assembler: ModelAssembler) -> None:
    """Declare received work, post its cost, and limit it to its arrival, deadline and racks."""
    time, instant, blocks = block.model().time, block.model().instant, block.blocks
    block.incoming = incoming = pyo.Set(initialize=signature.incoming_cohorts)
    add_params(block, "share_arrived due present", time, blocks, incoming)
    add_params(block, "width value undelivered_value host_cost", incoming)
    add_params(block, "hours", time)
    add_params(block, "received_high", blocks, incoming)
    add_params(block, "route_of_cohort", incoming, block.lanes)
    add_params(block, "late_high", instant)
    add_var(block, "received", blocks, incoming, high=block.received_high)
    add_var(block, "work_overdue", instant, incoming, high=block.late_high)
    assembler.add_fixed_cost(
        "transfer",
        lambda: sum(
            block.host_cost[g] * block.received[k, g] for k in block.blocks for g in block.incoming
        ),
    )
    assembler.add_cost(
        "lateness",
        lambda t: block.hours[t] * sum(block.work_overdue[t + 1, g] for g in block.incoming),
    )
    assembler.add_fixed_cost(
        "terminal",
        lambda: sum(
            block.value[g] * block.received[k, g] for k in block.blocks for g in block.incoming
        ),
    )
    assembler.add_fixed_cost(
        "terminal", lambda: -1.0 * sum(block.undelivered_value[g] for g in block.incoming)
    )
    own = block.parent_block().work
    block.arrival_limit = pyo.Constraint(
        time,
        incoming,
        rule=lambda b, t, g: (
            own.work_credited[t + 1, g]
            <= sum(b.share_arrived[t, k, g] * b.received[k, g] for k in b.blocks)
        ),
    )
    block.incoming_deadline = pyo.Constraint(
        time,
        incoming,
        rule=lambda b, t, g: (
            own.work_credited[t + 1, g] + b.work_overdue[t + 1, g]
            >= sum(b.due[t, k, g] * b.received[k, g] for k in b.blocks)
        ),
    )
    block.incoming_racks = pyo.Constraint(
        time,
        incoming,
        rule=lambda b, t, g: (
            sum(own.racks[t, g, u] for u in own.caps)
            <= sum(b.present[t, k, g] * b.received[k, g] for k in b.blocks)
            + b.width[g] * b.work_overdue[t, g]
        ),
    )


def _add_net_balance(block: pyo.Block, signature: MigrationSignature) -> None:
    """Add the balance of sent and received work, in work of the fleet."""
    flows: list[Callable[[Any, Any, Any], Any]] = [lambda b, k, p: -1.0 * b.net[k, p]]
    if signature.outgoing_cohorts:
        flows.append(lambda b, k, p: sum(b.speed[p] * b.sent[k, c, p] for c in b.outgoing))
    if signature.incoming_cohorts:
        flows.append(
            lambda b, k, p: -sum(b.route_of_cohort[g, p] * b.received[k, g] for g in b.incoming)
        )
    block.net_balance = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda b, k, p: add_terms([flow(b, k, p) for flow in flows]) == 0.0,
    )


class TransitProfile:
    """Progress of the work that enters a route in each block of time."""

    def __init__(self, migration: Migration, data: ModelData) -> None:
        self._edges = np.concatenate([[0.0], np.cumsum(data.interval_hours)])
        blocks = np.array(migration.block_edges)
        self._begin, self._end = self._edges[blocks[:-1]], self._edges[blocks[1:]]

    @property
    def block_lengths(self) -> FloatArray:
        """Lengths of the blocks. [h]"""
        return np.asarray(self._end - self._begin)

    def share(self, delay: float) -> FloatArray:
        """Return the share of each block that entered a delay [h] ago, ``(instant, block)``. [1]"""
        since = self._edges[:, None] - delay - self._begin
        return np.asarray(np.clip(since / self.block_lengths, 0.0, 1.0))

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
        "share_in_transit": in_transit[1:],
        "racks_in_transit": _interval_mean(in_transit) / (rack * lengths),
        "sent_high": np.where(
            (ends_in_time & (migration.max_net_work_sent > 0.0))[:, None, :] & may_send, np.inf, 0.0
        ),
        "send_cost": np.array([route.send_cost for route in migration_routes]),
        "speed": np.array([route.fleet_work_per_site_work for route in migration_routes]),
    }


def incoming_parameters(
    migration: Migration, data: ModelData, incoming: tuple[int, ...]
) -> dict[str, FloatArray]:
    """Return the parameter values of incoming work; receiving is closed for a site that only
    sends.
    """
    time, problem = TransitProfile(migration, data), data.problem
    hosted = [route for route in migration.migration_routes if route.can_receive]
    is_open = (
        migration.min_net_work_sent[:, [route.can_receive for route in migration.migration_routes]]
        < 0.0
    )
    most = np.stack([_max_incoming(route, time, data) for route in hosted], axis=1)
    value = workload.parameters(problem.site.flexible_loads, data)["value"][list(incoming)]
    arrived = np.stack([time.share(route.transfer_time) for route in hosted], axis=2)
    due = np.stack([time.share(completion_delay(route)) for route in hosted], axis=2)
    rack = RackPool.from_site(problem.site).rack_power
    width = 1.0 / (rack * np.array([route.job_length for route in hosted]))
    return {
        "share_arrived": arrived[1:],
        "due": due[1:],
        "present": _interval_mean(arrived - due) * width,
        "width": width,
        "hours": data.interval_hours,
        "value": value,
        "undelivered_value": value * problem.series("work_most")[-1, list(incoming)],
        "host_cost": np.array([route.host_cost for route in hosted]),
        "received_high": np.where(is_open, most, 0.0),
        "route_of_cohort": np.array(
            [
                [
                    route.fleet_work_per_site_work * (route is one)
                    for one in migration.migration_routes
                ]
                for route in hosted
            ]
        ),
    }


def completion_delay(migration_route: MigrationRoute) -> float:
    """Return the time from entering a route to the deadline. [h]"""
    return migration_route.transfer_time + migration_route.arrival_to_deadline


def _max_incoming(
    migration_route: MigrationRoute, time: TransitProfile, data: ModelData
) -> FloatArray:
    """Return a bound of the work received in each block: what all racks do until it is due.
    [MWh]
    """
    pool = RackPool.from_site(data.problem.site)
    capacity = (
        pool.racks * pool.rack_power * (time.block_lengths + migration_route.arrival_to_deadline)
    )
    return np.where(time.ends_within_horizon(completion_delay(migration_route)), capacity, 0.0)


def _interval_mean(at_edges: FloatArray) -> FloatArray:
    return np.asarray(0.5 * (at_edges[1:] + at_edges[:-1]))


@dataclass(frozen=True, kw_only=True)
class MigrationBalanceSignature:
    """Everything about the routes of a fleet that decides its rows.

    The block ``migration`` of each site has the same blocks of time and routes.
    """

    sites: tuple[str, ...]
    route_count: int
    starts: tuple[int, ...]


def build_migration_balance(
    block: pyo.Block,
    signature: MigrationBalanceSignature,
    _: ModelAssembler,
    *,
    sites: object,  # noqa: ARG001  (there is no cost)
) -> None:
    """Balance sent and received work of every route and block of time."""
    block.blocks = add_intervals(signature.starts)
    block.lanes = pyo.RangeSet(0, signature.route_count - 1)
    migration = [block.model().component(name).migration for name in signature.sites]
    block.migration_balance = pyo.Constraint(
        block.blocks,
        block.lanes,
        rule=lambda _, k, p: add_terms([one.net[k, p] for one in migration]) == 0.0,
    )
