"""Work that may move between sites, as one of them sees it.

A *lane* carries work of one kind. What enters it in a block of time leaves the site at an even
rate, arrives somewhere after the transfer time, and is promised to be done within the lane's window
after that. Where it goes is settled for the lane as a whole, so that sites meet in one number for
each lane and block: what they send less what they take in.
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
"""Shortest time over which a lane settles what it carries. [h]"""

INCOMING_SUFFIX: Final = "guest"
"""End of the labels of cohorts that a site takes in."""


@dataclass(frozen=True, kw_only=True)
class MigrationRoute:
    """A lane at one site.

    Attributes
    ----------
    name, kind
        The lane, and the kind of work it carries.
    can_send, can_host
        Whether work may leave the site by it, and whether the site may take work in.
    transfer_time
        From the site that sends to the one that works. [h]
    window
        Within which work that has arrived is done. [h]
    job_length
        Length of its jobs, uncapped: no more racks work at once than there are jobs. [h]
    send_cost, host_cost
        Cost of the data for each MWh of work that leaves, and that comes in. [EUR MWh-1]
    work_ratio
        Work of the fleet in a MWh of the site's racks. [1]
    """

    name: str
    kind: str
    can_send: bool
    can_host: bool
    transfer_time: float
    window: float
    job_length: float
    send_cost: float = 0.0
    host_cost: float = 0.0
    work_ratio: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Migration:
    """The lanes of a site over a horizon.

    Attributes
    ----------
    migration_routes
        The lanes of the fleet, the same at all sites and in the same order.
    edges
        Number of the first interval of each block, and of the one after the last.
    low, high
        Bounds of what is sent less what is taken in, ``(block, lane)``, in work of the fleet. [MWh]
    """

    migration_routes: tuple[MigrationRoute, ...]
    edges: tuple[int, ...]
    low: FloatArray
    high: FloatArray

    def with_fixed_net(self, net: FloatArray) -> "Migration":
        """Return the same with what is sent less what is taken in settled, ``(block, lane)``."""
        return Migration(
            migration_routes=self.migration_routes, edges=self.edges, low=net, high=net
        )


def open_migration(
    migration_routes: tuple[MigrationRoute, ...], hours: FloatArray, *, block: float = MIN_BLOCK_H
) -> Migration:
    """Return the lanes of a site, what they carry left open.

    Parameters
    ----------
    migration_routes
        The lanes.
    hours
        Lengths of the intervals. [h]
    block
        Shortest length of a block. [h]
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
        edges=tuple(edges),
        low=np.full(shape, -np.inf),
        high=np.full(shape, np.inf),
    )


def outgoing_cohorts(migration: Migration | None, outlook: xr.Dataset) -> tuple[int, ...]:
    """Return the numbers of the cohorts that may leave a site; none of a site that is alone.

    Parameters
    ----------
    migration
        Its lanes, or None.
    outlook
        What it expects.
    """
    if migration is None:
        return ()
    kinds = {lane.kind for lane in migration.migration_routes if lane.can_send}
    own, incoming = outlook["kind"].to_numpy().tolist(), incoming_cohorts(outlook)
    return tuple(n for n, kind in enumerate(own) if kind in kinds and n not in incoming)


def incoming_cohorts(outlook: xr.Dataset) -> tuple[int, ...]:
    """Return the numbers of the cohorts that come from other sites."""
    labels = outlook["cohort"].to_numpy().tolist()
    return tuple(n for n, label in enumerate(labels) if str(label).endswith(f"/{INCOMING_SUFFIX}"))


def add_incoming_cohorts(
    outlook: xr.Dataset, site: Site, migration_routes: tuple[MigrationRoute, ...]
) -> xr.Dataset:
    """Return an outlook with a cohort for the work that comes by each lane.

    Parameters
    ----------
    outlook
        What a site expects.
    site
        The site.
    migration_routes
        Its lanes; those by which nothing may come get no cohort.

    Returns
    -------
    xarray.Dataset
        With cohorts ``<lane>/guest`` that must do nothing and may do what all racks can.
    """
    hosted = [lane for lane in migration_routes if lane.can_host]
    if not hosted:
        return outlook
    pool, hours = RackPool.from_site(site), outlook["duration"].to_numpy()
    could = np.concatenate([[0.0], np.cumsum(hours)]) * pool.racks * pool.rack_power
    incoming = {
        "work_least": np.zeros_like(could),
        "work_most": could,
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
    labels = [*outlook["cohort"].to_numpy(), *(f"{lane.name}/{INCOMING_SUFFIX}" for lane in hosted)]
    kinds = [*outlook["kind"].to_numpy(), *(lane.kind for lane in hosted)]
    coords = {"cohort": labels, "kind": ("cohort", kinds)}
    return variables.tag_dataset(outlook.drop_dims("cohort").assign(data).assign_coords(coords))


def remove_incoming_cohorts(outlook: xr.Dataset) -> xr.Dataset:
    """Return an outlook without the cohorts that :func:`add_incoming_cohorts` gave it."""
    incoming = incoming_cohorts(outlook)
    return outlook.isel(cohort=[n for n in range(outlook.sizes["cohort"]) if n not in incoming])
