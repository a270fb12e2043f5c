"""A published rule to compare with: scale each job up where a unit of carbon does most work.

After CarbonScaler (Hanafy, Liang, Bashir, Irwin and Shenoy, *CarbonScaler: leveraging cloud
workload elasticity for optimizing carbon-efficiency*, Proc. ACM Meas. Anal. Comput. Syst. 7, 3,
2023): of all pairs of an interval before the deadline and a step of allocation, those with the most
work per carbon are taken until the job is done, and the plan is made anew as forecasts change. What
is scaled there is the number of servers; gangs keep theirs, so here it is the power cap of their
racks. The rule knows neither prices nor stores, and counts no cost of a pause.
"""

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.policies.price_rules import INTERVAL_TOLERANCE, extend_series, order_work_only
from optimizer.policies.storage_and_renewables import sell_heat
from optimizer.realtime.dispatch import limit_caps
from optimizer.realtime.headroom import Headroom, compute_headroom
from optimizer.realtime.job_priority import must_run, priority_order
from optimizer.realtime.orders import DispatchOrders
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR
from twin.workload.queue import JobQueue

MIN_CARBON_KG_PER_MWH: Final = 1e-3
"""Carbon of a MWh below which all hours are alike. [kg MWh-1]"""


def order_carbonscaler(
    outlook: xr.Dataset, state: xr.Dataset, *, queue: JobQueue, site: Site
) -> DispatchOrders:
    """Return the orders of the rule.

    Parameters
    ----------
    outlook
        ``carbon_intensity`` and ``service_racks`` on equal intervals, the weather and the
        renewables of the first one.
    state
        State of the site.
    queue
        The jobs.
    site
        The site.

    Returns
    -------
    DispatchOrders
        Jobs with their caps; stores rest, all heat is sold that the network takes, and renewables
        are capped at what the site can use and give away.
    """
    outlook = sell_heat(outlook, site)
    room = compute_headroom(site, state, outlook)
    caps, must = _greenest(outlook, queue, room)
    caps = limit_caps(queue, caps, headroom=room, must=must)
    return order_work_only(outlook, queue, caps, site=site, headroom=room)


def _greenest(
    outlook: xr.Dataset, queue: JobQueue, headroom: Headroom
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the caps of the jobs that run now, and which of them cannot be left for later."""
    hours = float(outlook["duration"][0])
    carbon, free = extend_series(outlook, queue, headroom, word="carbon_intensity")
    ends = (queue.jobs.deadline - queue.instant) / HOUR / hours
    must = must_run(queue, hours)
    number = np.arange(len(carbon))
    caps = np.zeros(len(queue.jobs))
    for job in priority_order(queue, must).tolist():
        racks, kind = queue.jobs.racks[job], queue.pool.kinds[queue.jobs.kind_index[job]]
        slots = number[(number + 1 <= ends[job] + INTERVAL_TOLERANCE) & (free >= racks)]
        levels = np.array([kind.least_power, 1.0])
        work = np.asarray(kind.throughput.work(levels)) * hours
        steps = allocate_steps(
            carbon[slots],
            work=np.diff(work, prepend=0.0),
            power=np.diff(queue.pool.power_above_idle(levels), prepend=0.0),
            need=float(queue.remaining_hours[job]),
        )
        taken = slots[steps > 0]
        is_short = (
            not len(slots)
            or work[steps[steps > 0] - 1].sum() < queue.remaining_hours[job] - INTERVAL_TOLERANCE
        )
        must[job] |= is_short
        if (must[job] or 0 in taken) and free[0] >= racks:
            is_full = must[job] or steps[slots == 0].max(initial=0) > 1
            caps[job] = 1.0 if is_full else kind.least_power
            taken = np.union1d(taken, [0])
        free[taken] -= racks
    return caps, must


def allocate_steps(
    carbon: FloatArray, *, work: FloatArray, power: FloatArray, need: float
) -> NDArray[np.int64]:
    """Return how many steps of allocation each interval gets.

    Parameters
    ----------
    carbon
        Carbon of a MWh in each interval, ``(slot,)``. [kg MWh-1]
    work, power
        What each step adds of work and of power, ``(step,)``; the most work for its power first.
    need
        Work to be done, in the unit of ``work``.

    Returns
    -------
    numpy.ndarray
        Steps taken, ``(slot,)``: those with the most work per carbon, the earlier of equal ones,
        until the need is met, or all of them.
    """
    worth = work / power / np.maximum(carbon, MIN_CARBON_KG_PER_MWH)[:, None]
    first = np.argsort(-worth, axis=None, kind="stable")
    slot, step = np.unravel_index(first, worth.shape)
    before = np.cumsum(work[step]) - work[step]
    return np.bincount(slot[before < need - INTERVAL_TOLERANCE], minlength=len(carbon))
