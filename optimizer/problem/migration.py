"""Migration of work between sites, as seen by one site.

A *route* carries one kind of work. Work that enters it in a block of time leaves the site at a
constant rate, arrives after the transfer time, and must be done within the window of the route.
Sites are coupled by one number for each route and block: sent work less received work.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.physics import FloatArray
from twin.site import Site
from twin.workload.queue import RackPool

MIN_BLOCK_H: Final = 4.0
"""Shortest block of time. [h]"""

INCOMING_SUFFIX: Final = "guest"
"""Suffix of the labels of incoming cohorts."""


@dataclass(frozen=True, kw_only=True)
class MigrationRoute:
    """A route at one site.

    - `can_send`, `can_receive`: whether the site may send work, and whether it may receive work.
    - `transfer_time`: from the sending site to the receiving one. [h]
    - `arrival_to_deadline`: time from arrival to deadline. [h]
    - `job_length`: length of the jobs without cap; limits the racks that work at once. [h]
    - `send_cost`, `host_cost`: cost of data per MWh of sent and of received work. [EUR MWh-1]
    - `fleet_work_per_site_work`: work of the fleet per MWh of the site's racks. [1]
    """

    name: str
    kind: str
    can_send: bool
    can_receive: bool
    transfer_time: float
    arrival_to_deadline: float
    job_length: float
    send_cost: float = 0.0
    host_cost: float = 0.0
    fleet_work_per_site_work: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Migration:
    """The routes of a fleet over a horizon, equal and in the same order at all sites.

    ``block_edges`` are the first interval of each block, and the one after the last.
    ``min_net_work_sent`` and ``max_net_work_sent`` bound the sent less received work of the fleet,
    ``(block, route)``. [MWh]
    """

    migration_routes: tuple[MigrationRoute, ...]
    block_edges: tuple[int, ...]
    min_net_work_sent: FloatArray
    max_net_work_sent: FloatArray

    def with_fixed_net(self, net: FloatArray) -> "Migration":
        """Return the migration with fixed net sent work, ``(block, route)``. [MWh]"""
        return Migration(
            migration_routes=self.migration_routes,
            block_edges=self.block_edges,
            min_net_work_sent=net,
            max_net_work_sent=net,
        )


def open_migration(
    migration_routes: tuple[MigrationRoute, ...], hours: FloatArray, *, block: float = MIN_BLOCK_H
) -> Migration:
    """Return a migration with unbounded net sent work, in blocks of at least ``block`` hours.

    ``hours`` are the lengths of the intervals. [h]
    """
    edges, since = [0], 0.0
    for number, length in enumerate(hours.tolist(), start=1):
        since += length
        if since >= block - 1e-9:
            edges.append(number)
            since = 0.0
    shape = (max(len(edges) - 1, 1), len(migration_routes))
    if len(edges) == 1:
        edges.append(len(hours))
    return Migration(
        migration_routes=migration_routes,
        block_edges=tuple(edges),
        min_net_work_sent=np.full(shape, -np.inf),
        max_net_work_sent=np.full(shape, np.inf),
    )


def outgoing_cohorts(migration: Migration | None, outlook: xr.Dataset) -> tuple[int, ...]:
    """Return the numbers of the cohorts that may leave a site; none without migration."""
    if migration is None:
        return ()
    kinds = {route.kind for route in migration.migration_routes if route.can_send}
    own, incoming = outlook["kind"].to_numpy().tolist(), incoming_cohorts(outlook)
    return tuple(n for n, kind in enumerate(own) if kind in kinds and n not in incoming)


def incoming_cohorts(outlook: xr.Dataset) -> tuple[int, ...]:
    """Return the numbers of the cohorts that come from other sites."""
    labels = outlook["cohort"].to_numpy().tolist()
    return tuple(n for n, label in enumerate(labels) if str(label).endswith(f"/{INCOMING_SUFFIX}"))


def add_incoming_cohorts(
    outlook: xr.Dataset, site: Site, migration_routes: tuple[MigrationRoute, ...]
) -> xr.Dataset:
    """Return an outlook with a cohort ``<route>/guest`` for each route that can host.

    These cohorts have no deadline here and may use all racks.
    """
    hosted = [route for route in migration_routes if route.can_receive]
    if not hosted:
        return outlook
    pool, hours = RackPool.from_site(site), outlook["duration"].to_numpy()
    max_work = np.concatenate([[0.0], np.cumsum(hours)]) * pool.racks * pool.rack_power
    incoming = {
        "work_least": np.zeros_like(max_work),
        "work_most": max_work,
        "work_racks_limit": np.full(len(hours), pool.racks),
        "work_racks_running": np.array(0.0),
        "work_rest": np.array(0.0),
    }
    data = {}
    for name, values in ((name, row) for name, row in incoming.items() if name in outlook):
        own = outlook[name].transpose(..., "cohort")
        more = np.repeat(values[..., None], len(hosted), axis=-1)
        both = np.concatenate([own, more], axis=-1)
        data[name] = own.dims, both
    labels = [
        *outlook["cohort"].to_numpy(),
        *(f"{route.name}/{INCOMING_SUFFIX}" for route in hosted),
    ]
    kinds = [*outlook["kind"].to_numpy(), *(route.kind for route in hosted)]
    coords = {"cohort": labels, "kind": ("cohort", kinds)}
    return variables.tag_dataset(outlook.drop_dims("cohort").assign(data).assign_coords(coords))


def remove_incoming_cohorts(outlook: xr.Dataset) -> xr.Dataset:
    """Return an outlook without the cohorts of :func:`add_incoming_cohorts`."""
    incoming = incoming_cohorts(outlook)
    return outlook.isel(cohort=[n for n in range(outlook.sizes["cohort"]) if n not in incoming])
