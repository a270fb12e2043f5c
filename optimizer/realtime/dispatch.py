"""Dispatch a plan by kind of work to single jobs: which start, pause or are capped.

A gang of racks runs as a whole. Jobs take racks in the order of their urgency.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.realtime.orders import COPIED_FLOWS, DispatchOrders, caps_by_job, curtail_export
from optimizer.realtime.workload_headroom import Headroom
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR
from twin.variables import values_by_machine
from twin.workload.queue import JobQueue, caps_below_limit, running_power, sustained_power

MIN_PLANNED_GANG_SHARE_TO_START: Final = 0.5
"""Share of a waiting gang that the plan must require to start it. [1]"""

MIN_PLANNED_GANG_SHARE_TO_CONTINUE: Final = 0.25
"""Share of a running gang that the plan must require to continue it. [1]"""

RACK_POWER_TOLERANCE: Final = 1e-6
"""Racks, or power, treated as zero. [1; MW]"""


def dispatch_jobs(
    interval: xr.Dataset, queue: JobQueue, *, headroom: Headroom, carry: Mapping[str, float]
) -> tuple[DispatchOrders, dict[str, float]]:
    """Return the orders closest to a plan for the coming interval, and the new carry.

    Jobs that must run, or that are at risk, come first; the other planned racks are given out by
    :func:`priority_order`. A gang starts if the plan requires half of it and continues for a
    quarter; the difference is carried on, up to the widest gang. At least as much of a kind runs as
    reserves count on. One cap per kind brings the power to the plan; jobs that must run are
    uncapped.

    - `interval`: one interval of a schedule: ``work_racks(cohort, level)``, ``work_power(cohort)``,
      the storage flows, ``heat_reuse_power``, ``renewable_used_power``,
      ``renewable_available_power``, ``grid_import_power``, ``grid_export_power``.
    - `headroom`: racks and power that work may use; never exceeded.
    - `carry`: Kind -> work not yet dispatched because gangs run as a whole. [MWh]
    """
    hours = float(interval["duration"])
    # mean racks of each job that runs uncapped from now; after its end they idle until the next
    mean_racks = queue.jobs.racks * np.minimum(queue.remaining_hours / hours, 1.0)
    names = [kind.name for kind in queue.pool.kinds]
    planned, power = _planned(interval, names)
    per_rack = queue.pool.rack_power * hours
    wanted = planned + np.array([carry.get(name, 0.0) for name in names]) / per_rack
    must = must_run(queue, hours)
    committed = np.array([headroom.reserve_committed_power.get(name, 0.0) for name in names])
    required = planned * committed / np.maximum(power, RACK_POWER_TOLERANCE)
    on = _select_jobs(
        queue,
        wanted,
        must,
        urgent=must_run_uncapped_if_delayed(queue, hours),
        required=required,
        headroom=headroom,
        mean_racks=mean_racks,
    )
    caps = _caps(queue, on, planned, power=power, hours=hours, mean_racks=mean_racks)
    caps = limit_caps(queue, caps, headroom=headroom, must=must)
    used = _by_kind(queue, np.where(caps > 0, mean_racks, 0.0))
    widest_waiting, widest_running = _widest_gang(queue, caps == 0), _widest_gang(queue, caps > 0)
    left = np.clip(wanted - used, -widest_running, widest_waiting) * per_rack
    room = headroom.net_import_at(sustained_power(queue, caps, hours)) + headroom.export_limit
    flows = _flows(interval)
    renewable_caps = curtail_export(interval, flows.get("battery_discharge", {}), room)
    orders = DispatchOrders(jobs=caps_by_job(queue, caps), renewable_cap=renewable_caps, **flows)
    return orders, dict(zip(names, left.tolist(), strict=True))


def limit_caps(
    queue: JobQueue, caps: FloatArray, *, headroom: Headroom, must: NDArray[np.bool_]
) -> FloatArray:
    """Return caps within the headroom: as deep as each kind tolerates, then jobs are paused. [1]

    Jobs with the most laxity are paused first. Running jobs may continue under their caps whatever
    the water temperature: only an increase is limited.

    - `caps`: cap of each job, 0 for jobs that wait. [1]
    - `must`: jobs that must run; only they may raise the billing peak.
    """
    caps = caps_below_limit(queue, caps, headroom.max_work_power_within_peak, fixed=must)
    step_limit = running_power(queue, queue.caps) + headroom.max_load_step
    limit = min(headroom.max_work_power, step_limit)
    return caps_below_limit(queue, caps, limit, fixed=np.zeros_like(must))


def _planned(interval: xr.Dataset, names: list[str]) -> tuple[FloatArray, FloatArray]:
    """Return the planned racks and power above idle [MW] of each kind.

    Expected jobs count: jobs that arrived since the plan was made take their place.
    """
    racks = interval["work_racks"].sum("level").to_numpy()
    power = interval["work_power"].to_numpy()
    mine = np.array([interval["kind"].to_numpy() == name for name in names])
    return mine @ racks, mine @ power


def _select_jobs(
    queue: JobQueue,
    wanted: FloatArray,
    must: NDArray[np.bool_],
    *,
    urgent: NDArray[np.bool_],
    required: FloatArray,
    headroom: Headroom,
    mean_racks: FloatArray,
) -> NDArray[np.bool_]:
    """Return which jobs run, the most urgent first, on no more racks than are free.

    The racks that reserves require of a kind come before all jobs that can wait. No job that can
    wait starts beyond the limit of its kind before a target.
    """
    left, racks, limits = (
        wanted.copy(),
        headroom.available_racks,
        headroom.rack_limits_before_target,
    )
    required_left = required - RACK_POWER_TOLERANCE
    startable = np.array([limits.get(kind.name, np.inf) for kind in queue.pool.kinds])
    on = np.zeros(len(queue.jobs), dtype=bool)
    order = priority_order(queue, must, urgent).tolist()
    for is_required in (True, False) if (required_left > 0.0).any() else (False,):
        for job in order:
            width, kind = queue.jobs.racks[job], queue.jobs.kind_index[job]
            share = (
                MIN_PLANNED_GANG_SHARE_TO_CONTINUE
                if queue.is_running[job]
                else MIN_PLANNED_GANG_SHARE_TO_START
            )
            demand = left[kind] if queue.is_running[job] else min(left[kind], startable[kind])
            is_called = required_left[kind] > 0.0 if is_required else demand >= share * width
            if (must[job] or urgent[job] or is_called) and width <= racks and not on[job]:
                on[job] = True
                racks -= width
                left[kind] -= mean_racks[job]
                required_left[kind] -= width
                startable[kind] -= width
    return on


def _caps(
    queue: JobQueue,
    on: NDArray[np.bool_],
    planned: FloatArray,
    *,
    power: FloatArray,
    hours: float,
    mean_racks: FloatArray,
) -> FloatArray:
    """Return the cap of each job: one per kind, 1 for jobs that must run.

    It brings the power to the plan where more racks run than planned. Where less run, they keep
    the planned cap, since their extra work would cost more. While urgent jobs wait for racks, jobs
    that run in place of planned ones of another kind get the power of these, so that racks are free
    sooner.
    """
    pool = queue.pool
    uncapped = queue.laxity < hours
    caps = np.where(on, 1.0, 0.0)
    if (uncapped & ~on).any():
        power = power + _reassigned_power(
            _by_kind(queue, np.where(on, mean_racks, 0.0)), planned, power
        )
    for k, kind in enumerate(pool.kinds):
        mine = on & (queue.jobs.kind_index == k)
        free = mine & ~uncapped
        if not free.any():
            continue
        uncapped_racks = float(mean_racks[mine & uncapped].sum())
        capped = max(float(mean_racks[free].sum()), planned[k] - uncapped_racks)
        each = (
            power[k] - uncapped_racks * float(pool.power_above_idle(1.0))
        ) / capped + pool.rack_idle_power
        caps[free] = np.clip(each / pool.rack_power, kind.min_power_share, 1.0)
    return caps


def _reassigned_power(ran: FloatArray, planned: FloatArray, power: FloatArray) -> FloatArray:
    """Return the power [MW] of planned racks that do not run, by the kind running instead."""
    more, less = np.maximum(ran - planned, 0.0), np.maximum(planned - ran, 0.0)
    free = float(less @ (power / np.maximum(planned, RACK_POWER_TOLERANCE)))
    return np.asarray(free * more / max(float(more.sum()), float(less.sum()), RACK_POWER_TOLERANCE))


def _by_kind(queue: JobQueue, values: FloatArray) -> FloatArray:
    return np.bincount(queue.jobs.kind_index, weights=values, minlength=len(queue.pool.kinds))


def _widest_gang(queue: JobQueue, which: NDArray[np.bool_]) -> FloatArray:
    """Return the racks of the widest of some jobs, for each kind."""
    widest = np.zeros(len(queue.pool.kinds))
    np.maximum.at(widest, queue.jobs.kind_index[which], queue.jobs.racks[which])
    return widest


def _flows(interval: xr.Dataset) -> dict[str, dict[str, float]]:
    """Return the storage and heat pump flows of the plan."""
    return {name: values_by_machine(interval, name) for name in COPIED_FLOWS if name in interval}


def must_run(queue: JobQueue, hours: float) -> NDArray[np.bool_]:
    """Return which jobs must run in the coming interval of some hours [h], planned or not.

    These jobs would be late if they waited, would be late after a pause, or are within their
    minimum run time.
    """
    in_min_runtime = within_min_runtime(queue)
    cannot_pause = queue.is_running & (queue.laxity < hours + queue.kind_values("pause_loss"))
    return (queue.laxity < hours) | in_min_runtime | cannot_pause


def within_min_runtime(queue: JobQueue) -> NDArray[np.bool_]:
    """Return which running jobs have not yet run for their minimum time."""
    return np.asarray(queue.is_running & (queue.run_hours < queue.kind_values("minimum_run")))


def must_run_uncapped_if_delayed(queue: JobQueue, hours: float) -> NDArray[np.bool_]:
    """Return which jobs could not be capped later if they waited for the interval. [h]"""
    tolerance = queue.kind_values("tolerance")
    return queue.laxity < hours + queue.remaining_hours * tolerance / (1.0 - tolerance)


def priority_order(
    queue: JobQueue, must: NDArray[np.bool_], urgent: NDArray[np.bool_] | None = None
) -> NDArray[np.intp]:
    """Return the jobs, most urgent first.

    First jobs within their minimum run time; then jobs that must run, shortest remainder first;
    then jobs at risk (`urgent`); then running jobs with a pause loss; then the others. The last
    three groups are in order of laxity. Shortest first minimises the weighted sum of completion
    times where racks are too few and each late hour is weighted by racks [1]_.

    .. [1] W. E. Smith, "Various optimizers for single-stage production," Nav. Res. Logist. Q.,
       vol. 3, pp. 59-66, 1956.
    """
    in_min_runtime = within_min_runtime(queue)
    costly = queue.is_running & (queue.kind_values("pause_loss") > 0)
    is_due = np.zeros_like(must) if urgent is None else urgent
    groups = [in_min_runtime, must, is_due, costly]
    rank = np.select(groups, range(len(groups)), default=len(groups))
    return np.lexsort((np.where(must, queue.remaining_hours, queue.laxity), rank))


def rack_limits_before_target(site: Site, plan: xr.Dataset, now: np.datetime64) -> dict[str, float]:
    """Return the racks up to which jobs of each kind may start before a coming load target. [1]

    A job that starts now runs for its minimum time. The limit is the fewest racks planned during
    targets that begin after this interval and before that time ends; kinds without one are left
    out.
    """
    if "grid_import_target" not in plan:
        return {}
    time = plan["time"].to_numpy()
    targeted = np.isfinite(plan["grid_import_target"].transpose("time", ...).to_numpy()).any(axis=1)
    racks = plan["work_racks"].sum("level").transpose("time", "cohort").to_numpy()
    found = {}
    for kind in site.work.values():
        ahead = targeted & (time > now) & (time < now + kind.minimum_run * HOUR)
        if ahead.any():
            mine = plan["kind"].to_numpy() == kind.name
            found[kind.name] = float(racks[ahead][:, mine].sum(axis=1).min())
    return found
