"""Which jobs must run, which had better, and in what order racks are given out.

Work that may start before a partner's target begins: what is started runs for its least time.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin.site import Site
from twin.time_axes import HOUR
from twin.workload.queue import JobQueue


def must_run(queue: JobQueue, hours: float) -> NDArray[np.bool_]:
    """Return which jobs must run in the coming interval, planned or not.

    Parameters
    ----------
    queue
        The jobs.
    hours
        Length of the interval. [h]

    Returns
    -------
    numpy.ndarray
        True for jobs that would be late if they waited, that a pause would make late, or that
        have not yet run for their minimum.
    """
    young = within_min_runtime(queue)
    spent = queue.is_running & (queue.laxity < hours + queue.kind_values("pause_loss"))
    return (queue.laxity < hours) | young | spent


def within_min_runtime(queue: JobQueue) -> NDArray[np.bool_]:
    """Return which jobs run and have not yet run for their minimum."""
    return np.asarray(queue.is_running & (queue.run_hours < queue.kind_values("minimum_run")))


def at_risk(queue: JobQueue, hours: float) -> NDArray[np.bool_]:
    """Return which jobs would have to run uncapped one day if they waited in the coming interval.

    Parameters
    ----------
    queue
        The jobs.
    hours
        Length of the interval. [h]
    """
    tolerance = queue.kind_values("tolerance")
    return queue.laxity < hours + queue.remaining_hours * tolerance / (1.0 - tolerance)


def priority_order(
    queue: JobQueue, must: NDArray[np.bool_], soon: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Return the jobs, most urgent first.

    Parameters
    ----------
    queue
        The jobs.
    must
        Which must run, by :func:`must_run`.
    soon
        Which had better run, by :func:`due`; by default none.

    Notes
    -----
    First those that have not yet run for their minimum: it is promised, and others may wait. Then
    all that must run, shortest rest first: where not all of them find racks, an hour late costs a
    job its racks, and the weighted sum of completion times is least in the order of work over
    weight, rest times racks over racks [1]_. To finish long ones in time instead holds up many
    short ones. Then those that are due. Then running jobs that a pause throws back, then the
    others, each with the least laxity first.

    .. [1] W. E. Smith, "Various optimizers for single-stage production," Nav. Res. Logist. Q.,
       vol. 3, pp. 59-66, 1956.
    """
    young, costly = (
        within_min_runtime(queue),
        queue.is_running & (queue.kind_values("pause_loss") > 0),
    )
    is_due = np.zeros_like(must) if soon is None else soon
    groups = [young, must, is_due, costly]
    rank = np.select(groups, range(len(groups)), default=len(groups))
    return np.lexsort((np.where(must, queue.remaining_hours, queue.laxity), rank))


def start_limits(site: Site, plan: xr.Dataset, now: np.datetime64) -> dict[str, float]:
    """Return the racks that a plan leaves to a kind in targets before it may pause. [1]

    Parameters
    ----------
    site
        The site.
    plan
        The schedule in force.
    now
        Start of the coming interval. [datetime64, UTC]

    Returns
    -------
    dict
        Kind -> fewest racks planned while a target holds that begins after this interval and
        before a job that starts now has run for its minimum; nothing of kinds without any.
    """
    if "grid_import_target" not in plan:
        return {}
    time = plan["time"].to_numpy()
    is_asked = np.isfinite(plan["grid_import_target"].transpose("time", ...).to_numpy()).any(axis=1)
    racks = plan["work_racks"].sum("level").transpose("time", "cohort").to_numpy()
    found = {}
    for kind in site.work.values():
        ahead = is_asked & (time > now) & (time < now + kind.minimum_run * HOUR)
        if ahead.any():
            mine = plan["kind"].to_numpy() == kind.name
            found[kind.name] = float(racks[ahead][:, mine].sum(axis=1).min())
    return found
