"""Price rules and CarbonScaler: simple policies with which the optimiser is compared.

- immediate: every job at once and uncapped;
- cheapest hours: work and storage follow the published prices;
- CarbonScaler (Hanafy et al., Proc. ACM Meas. Anal. Comput. Syst. 7, 3, 2023): of all pairs of an
  interval before the deadline and a scaling step, take those with the most work per carbon until
  the job is done. The publication scales servers; here a gang keeps its racks and the power cap is
  scaled. The rule knows neither prices nor storage, and ignores pause losses.
"""

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.policies.storage_and_renewables import order_storage, renewable_caps, sell_heat
from optimizer.realtime.dispatch import limit_caps, must_run, priority_order
from optimizer.realtime.orders import DispatchOrders, caps_by_job
from optimizer.realtime.workload_headroom import Headroom, compute_headroom
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR
from twin.variables import values_by_machine
from twin.workload.queue import JobQueue, running_power, sustained_power

REPEATED_PRICES_H: Final = 24.0
"""Length of the known prices that is repeated where none are published yet. [h]"""

LATER_PLANNABLE_RACK_SHARE: Final = 0.8
"""Share of the racks that a rule reserves in later hours; the remainder is for new jobs. [1]"""

MAX_DUE_WORK_SHARE_WITH_CAPS: Final = 0.65
"""Work due by a deadline per rack-hour until then, from which jobs run uncapped. [1]"""

INTERVAL_TOLERANCE: Final = 1e-6
"""Fraction of an interval that is treated as zero. [1]"""

RULE_HORIZON_H: Final = 96.0
"""Horizon over which a rule assigns jobs to intervals. [h]"""

CARBON_FLOOR_KG_PER_MWH: Final = 1e-3
"""Carbon intensity below which intervals count as equal. [kg MWh-1]"""


def order_immediate(
    outlook: xr.Dataset, state: xr.Dataset, *, queue: JobQueue, site: Site
) -> DispatchOrders:
    """Return the orders that start every job at once and uncapped, in order of arrival.

    A job that does not fit lets later ones pass, and a running job continues. Storage is idle. Heat
    reuse takes all that the network accepts; renewables are capped at what the site can use or
    export. `outlook` holds ``service_racks``, the weather and the renewables.
    """
    outlook = sell_heat(outlook, site)
    headroom = compute_headroom(site, state, outlook)
    racks, caps = headroom.available_racks, np.zeros(len(queue.jobs))
    for job in np.lexsort((queue.jobs.arrival, ~queue.is_running)).tolist():
        if queue.jobs.racks[job] <= racks:
            racks -= queue.jobs.racks[job]
            caps[job] = 1.0
    caps = limit_caps(queue, caps, headroom=headroom, must=np.ones(len(caps), dtype=bool))
    return order_work_only(outlook, queue, caps, site=site, headroom=headroom)


def order_work_only(
    outlook: xr.Dataset, queue: JobQueue, caps: FloatArray, *, site: Site, headroom: Headroom
) -> DispatchOrders:
    """Return orders for jobs at given caps [1]; storage idles and prices are ignored."""
    sustained = sustained_power(queue, caps, float(outlook["duration"][0]))
    cap = renewable_caps(outlook, site, site_power=headroom.site_power_at(sustained))
    sold = _first_heat_power(outlook)
    return DispatchOrders(jobs=caps_by_job(queue, caps), renewable_cap=cap, heat_reuse_power=sold)


def order_cheapest_hours(
    outlook: xr.Dataset, state: xr.Dataset, *, queue: JobQueue, site: Site, caps_work: bool = True
) -> DispatchOrders:
    """Return the orders of the price rule: work and storage follow the published prices.

    The most urgent jobs choose first: each takes the cheapest intervals before its deadline that
    have free racks and do not raise the billing peak. A job runs at the deepest cap that its kind
    tolerates, unless the intervals do not suffice, it must run now, racks are scarce, or power
    costs nothing. A running job is paused only if waiting saves more than the pause loses. Storage
    follows :func:`optimizer.policies.storage_and_renewables.order_storage`. Renewables are
    curtailed where power has no value. Heat is sold where it earns more than its electricity costs.

    - `outlook`: ``electricity_price`` and ``service_racks`` on equal intervals; weather and
      renewables of the first one.
    - `caps_work`: whether jobs are capped where time allows it, which is harder to beat.
    """
    outlook = sell_heat(outlook, site, follow_price=True)
    headroom = compute_headroom(site, state, outlook)
    paid = _with_network_price(outlook, site)
    caps, must_run_now = _cheapest_hour_caps(paid, queue, headroom, caps_work=caps_work)
    caps = limit_caps(queue, caps, headroom=headroom, must=must_run_now)
    power = running_power(queue, caps)
    spare = headroom.max_work_power_within_peak - power
    flows, charge = order_storage(paid, state, site=site, headroom=headroom, spare=spare)
    sustained = sustained_power(queue, caps, float(outlook["duration"][0]))
    low, high = (headroom.site_power_at(work) + charge for work in (sustained, power))
    cap = renewable_caps(outlook, site, site_power=low, full_power=high)
    heat = _first_heat_power(outlook)
    return DispatchOrders(
        jobs=caps_by_job(queue, caps), renewable_cap=cap, heat_reuse_power=heat, **flows
    )


def _with_network_price(outlook: xr.Dataset, site: Site) -> xr.Dataset:
    """Return the outlook with the network charges of the tariff added to the price."""
    fees = site.billing_rules.mean_energy_prices(outlook["instant"].to_numpy())
    return outlook.assign(electricity_price=outlook["electricity_price"] + fees)


def _first_heat_power(outlook: xr.Dataset) -> dict[str, float]:
    """Return the heat sold by each heat pump in the first interval. [MW]"""
    name = "heat_reuse_power"
    return values_by_machine(outlook[[name]].isel(time=0), name) if name in outlook else {}


def _cheapest_hour_caps(
    outlook: xr.Dataset, queue: JobQueue, headroom: Headroom, *, caps_work: bool
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the caps of the jobs that run now, and which of them must not wait."""
    hours = float(outlook["duration"][0])
    price, free = extend_series(outlook, queue, headroom, variable="electricity_price")
    order = np.argsort(price, kind="stable")
    ends = (queue.jobs.deadline - queue.instant) / HOUR / hours
    must_run_now = must_run(queue, hours)
    fast, slow = _interval_counts(queue, hours)
    has_spare_racks = (
        caps_work
        and price[0] > 0
        and _due_work_share(queue, free, hours) < MAX_DUE_WORK_SHARE_WITH_CAPS
    )
    may_cap = (queue.laxity >= hours) & has_spare_racks
    min_power, loss = queue.kind_values("min_power_share"), queue.kind_values("pause_loss")
    caps = np.zeros(len(queue.jobs))
    for job in priority_order(queue, must_run_now).tolist():
        racks = queue.jobs.racks[job]
        slots = order[(order + 1 <= ends[job] + INTERVAL_TOLERANCE) & (free[order] >= racks)]
        is_capped = may_cap[job] and slow[job] < len(slots)
        need = slow[job] if is_capped else fast[job]
        must_run_now[job] |= len(slots) < need
        slots = slots[:need]
        runs = must_run_now[job] or 0 in slots
        if not runs and queue.is_running[job]:
            wait = price[: slots.min()] - price[slots[-1]]
            runs = wait.sum() * hours < loss[job] * price[slots].mean()
        if runs and free[0] >= racks:
            caps[job] = min_power[job] if is_capped else 1.0
            slots = np.append(slots[slots > 0][: need - 1], 0)
        free[slots] -= racks
    return caps, must_run_now


def extend_series(
    outlook: xr.Dataset, queue: JobQueue, headroom: Headroom, *, variable: str
) -> tuple[FloatArray, FloatArray]:
    """Return a price or carbon series and the racks free for work, as far ahead as jobs may wait.

    Beyond the end of `outlook`, which has equal intervals, the last day is repeated.
    """
    value, hours = outlook[variable].to_numpy(), float(outlook["duration"][0])
    service = outlook["service_racks"].to_numpy()
    count, day = len(value), round(REPEATED_PRICES_H / hours)
    last_deadline = float(np.max((queue.jobs.deadline - queue.instant) / HOUR, initial=hours))
    missing = int(min(last_deadline, RULE_HORIZON_H) / hours) - count
    if missing > 0:
        beyond = value[-day:] if count >= day else value.mean()
        value = np.append(value, np.resize(beyond, missing))
        service = np.append(service, np.resize(service[-day:], missing))
    free = LATER_PLANNABLE_RACK_SHARE * np.minimum(
        queue.pool.racks - service,
        headroom.max_work_power_within_peak / float(queue.pool.power_above_idle(1.0)),
    )
    free[0] = headroom.available_racks
    return value, free


def _due_work_share(queue: JobQueue, free: FloatArray, hours: float) -> float:
    """Return the largest work due by a deadline per rack-hour until then. [1]"""
    first = np.argsort(queue.jobs.deadline, kind="stable")
    due = np.cumsum((queue.jobs.racks * queue.remaining_hours)[first])
    hours_left = (queue.jobs.deadline[first] - queue.instant) / HOUR / hours
    capacity = np.interp(
        hours_left, np.arange(len(free) + 1), np.append(0.0, np.cumsum(free) * hours)
    )
    return float(
        np.max(due / np.maximum(capacity, INTERVAL_TOLERANCE), initial=0.0, where=hours_left > 1.0)
    )


def _interval_counts(queue: JobQueue, hours: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many intervals each job needs uncapped and at its deepest cap."""
    rates = [float(k.throughput.throughput_at(k.min_power_share)) for k in queue.pool.kinds]
    rate = np.array(rates)[queue.jobs.kind_index]
    fast = np.ceil(queue.remaining_hours / hours - INTERVAL_TOLERANCE).astype(np.int64)
    slow = np.ceil(queue.remaining_hours / rate / hours - INTERVAL_TOLERANCE).astype(np.int64)
    return np.maximum(fast, 1), np.maximum(slow, 1)


def order_carbonscaler(
    outlook: xr.Dataset, state: xr.Dataset, *, queue: JobQueue, site: Site
) -> DispatchOrders:
    """Return the orders of CarbonScaler; storage idles, and all possible heat is sold.

    `outlook` holds ``carbon_intensity`` and ``service_racks`` on equal intervals, and the weather
    and renewables of the first one.
    """
    outlook = sell_heat(outlook, site)
    headroom = compute_headroom(site, state, outlook)
    caps, must_run_now = _lowest_carbon_caps(outlook, queue, headroom)
    caps = limit_caps(queue, caps, headroom=headroom, must=must_run_now)
    return order_work_only(outlook, queue, caps, site=site, headroom=headroom)


def _lowest_carbon_caps(
    outlook: xr.Dataset, queue: JobQueue, headroom: Headroom
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the caps of the jobs that run now, and which of them must not wait."""
    hours = float(outlook["duration"][0])
    carbon, free = extend_series(outlook, queue, headroom, variable="carbon_intensity")
    ends = (queue.jobs.deadline - queue.instant) / HOUR / hours
    must_run_now = must_run(queue, hours)
    number = np.arange(len(carbon))
    caps = np.zeros(len(queue.jobs))
    for job in priority_order(queue, must_run_now).tolist():
        racks, kind = queue.jobs.racks[job], queue.pool.kinds[queue.jobs.kind_index[job]]
        slots = number[(number + 1 <= ends[job] + INTERVAL_TOLERANCE) & (free >= racks)]
        levels = np.array([kind.min_power_share, 1.0])
        work = np.asarray(kind.throughput.throughput_at(levels)) * hours
        steps = allocate_scaling_steps(
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
        must_run_now[job] |= is_short
        if (must_run_now[job] or 0 in taken) and free[0] >= racks:
            is_full = must_run_now[job] or steps[slots == 0].max(initial=0) > 1
            caps[job] = 1.0 if is_full else kind.min_power_share
            taken = np.union1d(taken, [0])
        free[taken] -= racks
    return caps, must_run_now


def allocate_scaling_steps(
    carbon: FloatArray, *, work: FloatArray, power: FloatArray, need: float
) -> NDArray[np.int64]:
    """Return how many scaling steps each interval gets, ``(slot,)``.

    Steps with the most work per carbon come first, the earlier of equal ones, until `need` is met.

    - `carbon`: carbon intensity of each interval, ``(slot,)``. [kg MWh-1]
    - `work`, `power`: work and power that each step adds, ``(step,)``; the most efficient step
      first.
    - `need`: work to be done, in the unit of `work`.
    """
    work_per_carbon = work / power / np.maximum(carbon, CARBON_FLOOR_KG_PER_MWH)[:, None]
    order = np.argsort(-work_per_carbon, axis=None, kind="stable")
    slot, step = np.unravel_index(order, work_per_carbon.shape)
    before = np.cumsum(work[step]) - work[step]
    return np.bincount(slot[before < need - INTERVAL_TOLERANCE], minlength=len(carbon))
