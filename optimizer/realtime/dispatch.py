"""From a plan by kind of work to orders by job: started, paused, capped; gangs run whole."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.realtime.headroom import Headroom
from optimizer.realtime.job_priority import at_risk, must_run, priority_order
from optimizer.realtime.orders import COPIED_FLOWS, DispatchOrders, caps_by_job, curtail_export
from twin.physics import FloatArray
from twin.variables import values_by_machine
from twin.workload.queue import JobQueue, caps_below_limit, running_power, sustained_power

START_SHARE: Final = 0.5
"""Share of a waiting gang that the plan must still call for to start it. [1]"""

CONTINUE_SHARE: Final = 0.25
"""Share of a running gang that the plan must still call for to keep it. [1]"""

RACK_POWER_TOLERANCE: Final = 1e-6
"""Racks, and power, that are none. [1; MW]"""


def dispatch_jobs(
    interval: xr.Dataset, queue: JobQueue, *, headroom: Headroom, carry: Mapping[str, float]
) -> tuple[DispatchOrders, dict[str, float]]:
    """Return the orders that come closest to a plan for the coming interval.

    Parameters
    ----------
    interval
        One interval of a schedule: ``work_racks(cohort, level)``, ``work_power(cohort)``, the
        stores' charge and discharge, ``heat_reuse_power``, ``renewable_used_power``,
        ``renewable_available_power``, ``grid_import_power``, ``grid_export_power``.
    queue
        The jobs at its start.
    headroom
        What the site leaves for work; never exceeded.
    carry
        Kind -> work that rounding to whole gangs has left over so far. [MWh]

    Returns
    -------
    tuple of DispatchOrders and dict
        The orders, and the new carry.

    Notes
    -----
    Jobs that must run, or are due while they still can be capped, come first, planned or not; then
    the rest of the planned racks is given out by :func:`priority_order`. A gang is started if the
    plan calls for half of it, kept if for a quarter; what is left over is carried on, up to the
    widest gang. As much of a kind runs as reserves count on, whatever is left over: only what runs
    can stop. One cap a kind brings the power to the plan; jobs that cannot wait run uncapped.
    """
    hours = float(interval["duration"])
    names = [kind.name for kind in queue.pool.kinds]
    planned, power = _planned(interval, names)
    per_rack = queue.pool.rack_power * hours
    wanted = planned + np.array([carry.get(name, 0.0) for name in names]) / per_rack
    must = must_run(queue, hours)
    held = np.array([headroom.committed_work.get(name, 0.0) for name in names])
    kept = planned * held / np.maximum(power, RACK_POWER_TOLERANCE)
    soon = at_risk(queue, hours)
    most = np.array([headroom.start_limits.get(name, np.inf) for name in names])
    on = _select_jobs(queue, wanted, must, soon=soon, kept=kept, most=most, racks=headroom.racks)
    caps = _caps(queue, on, planned, power=power, uncapped=queue.laxity < hours)
    caps = limit_caps(queue, caps, headroom=headroom, must=must)
    used = _by_kind(queue, np.where(caps > 0, queue.jobs.racks, 0.0))
    most, least = _widest_gang(queue, caps == 0), -_widest_gang(queue, caps > 0)
    left = np.clip(wanted - used, least, most) * per_rack
    room = headroom.import_power(sustained_power(queue, caps, hours)) + headroom.export_limit
    flows = _flows(interval)
    sun = curtail_export(interval, flows.get("battery_discharge", {}), room)
    orders = DispatchOrders(jobs=caps_by_job(queue, caps), renewable_cap=sun, **flows)
    return orders, dict(zip(names, left.tolist(), strict=True))


def limit_caps(
    queue: JobQueue, caps: FloatArray, *, headroom: Headroom, must: NDArray[np.bool_]
) -> FloatArray:
    """Return caps that keep the headroom's power.

    Parameters
    ----------
    queue
        The jobs.
    caps
        Cap of each job, 0 for those that wait. [1]
    headroom
        What the site leaves for work.
    must
        Which must run: they alone may raise the peak.

    Returns
    -------
    numpy.ndarray
        Caps, lowered as far as each kind tolerates; then the laxest jobs are dropped. [1]

    Notes
    -----
    What runs may go on under its caps, whatever the water is: only what is above them rises.
    """
    caps = caps_below_limit(queue, caps, headroom.peak_safe_power, fixed=must)
    risen = running_power(queue, queue.caps) + headroom.max_load_step
    most = min(headroom.work_power, risen)
    return caps_below_limit(queue, caps, most, fixed=np.zeros_like(must))


def _planned(interval: xr.Dataset, names: list[str]) -> tuple[FloatArray, FloatArray]:
    """Return the racks and the power above idle planned for each kind.

    Jobs that were expected count: those that came since the plan was made take their place.
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
    soon: NDArray[np.bool_],
    kept: FloatArray,
    most: FloatArray,
    racks: float,
) -> NDArray[np.bool_]:
    """Return which jobs run, the most urgent first, on no more racks than are free.

    Of each kind that reserves count on as much as is kept comes before all that can wait. None
    that can wait starts beyond the most of its kind that may still run when a target begins.
    """
    left, least, most = wanted.copy(), kept - RACK_POWER_TOLERANCE, most.copy()
    on = np.zeros(len(queue.jobs), dtype=bool)
    order = priority_order(queue, must, soon).tolist()
    for is_kept in (True, False) if (least > 0.0).any() else (False,):
        for job in order:
            width, kind = queue.jobs.racks[job], queue.jobs.kind_index[job]
            share = CONTINUE_SHARE if queue.is_running[job] else START_SHARE
            calls = left[kind] if queue.is_running[job] else min(left[kind], most[kind])
            called = least[kind] > 0.0 if is_kept else calls >= share * width
            if (must[job] or soon[job] or called) and width <= racks and not on[job]:
                on[job] = True
                racks -= width
                left[kind] -= width
                least[kind] -= width
                most[kind] -= width
    return on


def _caps(
    queue: JobQueue,
    on: NDArray[np.bool_],
    planned: FloatArray,
    *,
    power: FloatArray,
    uncapped: NDArray[np.bool_],
) -> FloatArray:
    """Return the cap of each job: one a kind, 1 for the pressed.

    It brings the power to the plan where more racks run than planned. Where fewer do, they keep the
    planned cap: to burn the power of the others on them would be work at a worse price. But while
    pressed jobs wait for racks, those that run in place of planned ones of another kind have the
    power of these: capped they would hold back all that wait.
    """
    pool, racks = queue.pool, queue.jobs.racks
    caps = np.where(on, 1.0, 0.0)
    if (uncapped & ~on).any():
        power = power + _reassigned_power(_by_kind(queue, np.where(on, racks, 0.0)), planned, power)
    for k, kind in enumerate(pool.kinds):
        mine = on & (queue.jobs.kind_index == k)
        free = mine & ~uncapped
        if not free.any():
            continue
        pressed = float(racks[mine & uncapped].sum())
        over = max(float(racks[free].sum()), planned[k] - pressed)
        each = (
            power[k] - pressed * float(pool.power_above_idle(1.0))
        ) / over + pool.rack_idle_power
        caps[free] = np.clip(each / pool.rack_power, kind.min_power_share, 1.0)
    return caps


def _reassigned_power(ran: FloatArray, planned: FloatArray, power: FloatArray) -> FloatArray:
    """Return the power of planned racks that do not run, by the kind that runs in their place.

    Parameters
    ----------
    ran, planned
        Racks that run and that were to run, by kind. [1]
    power
        What the planned ones were to draw above idle, by kind. [MW]
    """
    more, fewer = np.maximum(ran - planned, 0.0), np.maximum(planned - ran, 0.0)
    free = float(fewer @ (power / np.maximum(planned, RACK_POWER_TOLERANCE)))
    return np.asarray(
        free * more / max(float(more.sum()), float(fewer.sum()), RACK_POWER_TOLERANCE)
    )


def _by_kind(queue: JobQueue, values: FloatArray) -> FloatArray:
    return np.bincount(queue.jobs.kind_index, weights=values, minlength=len(queue.pool.kinds))


def _widest_gang(queue: JobQueue, which: NDArray[np.bool_]) -> FloatArray:
    """Return the racks of the widest of some jobs, for each kind."""
    widest = np.zeros(len(queue.pool.kinds))
    np.maximum.at(widest, queue.jobs.kind_index[which], queue.jobs.racks[which])
    return widest


def _flows(interval: xr.Dataset) -> dict[str, dict[str, float]]:
    """Return the flows of stores and heat pumps, as the plan has them."""
    return {name: values_by_machine(interval, name) for name in COPIED_FLOWS if name in interval}
