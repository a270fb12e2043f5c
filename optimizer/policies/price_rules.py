"""Two rules to compare with: everything at once, and the cheapest hours that are known."""

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.policies.storage_and_renewables import order_storage, renewable_caps, sell_heat
from optimizer.realtime.dispatch import limit_caps
from optimizer.realtime.headroom import Headroom, compute_headroom
from optimizer.realtime.job_priority import must_run, priority_order
from optimizer.realtime.orders import DispatchOrders, caps_by_job
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR
from twin.variables import values_by_machine
from twin.workload.queue import JobQueue, running_power, sustained_power

RULE_DAY_H: Final = 24.0
"""Prices of this span are repeated where none are known yet. [h]"""

BUSY_RACK_SHARE: Final = 0.8
"""Share of the racks that jobs are laid on in hours to come; the rest awaits new jobs. [1]"""

SCARCE_RACK_SHARE: Final = 0.65
"""Work due by some deadline, as a share of the rack-hours till then, at which caps cost too much:
racks are scarcer than power. [1]"""

INTERVAL_TOLERANCE: Final = 1e-6
"""Part of an interval that counts as nothing. [1]"""

RULE_HORIZON_H: Final = 96.0
"""How far ahead jobs are laid on hours. [h]"""


def order_immediate(
    outlook: xr.Dataset, state: xr.Dataset, *, queue: JobQueue, site: Site
) -> DispatchOrders:
    """Return the orders of who never waits: all jobs uncapped, first come, first served.

    Parameters
    ----------
    outlook
        What is known ahead: ``service_racks``, the weather and the renewables.
    state
        State of the site.
    queue
        The jobs.
    site
        The site.

    Returns
    -------
    DispatchOrders
        Jobs only; stores rest. A job that does not fit lets later ones pass, one that runs goes
        on; renewables are capped at what the site can use and give away; all heat is sold that
        the network takes.
    """
    outlook = sell_heat(outlook, site)
    room = compute_headroom(site, state, outlook)
    racks, caps = room.racks, np.zeros(len(queue.jobs))
    for job in np.lexsort((queue.jobs.arrival, ~queue.is_running)).tolist():
        if queue.jobs.racks[job] <= racks:
            racks -= queue.jobs.racks[job]
            caps[job] = 1.0
    caps = limit_caps(queue, caps, headroom=room, must=np.ones(len(caps), dtype=bool))
    return order_work_only(outlook, queue, caps, site=site, headroom=room)


def order_work_only(
    outlook: xr.Dataset, queue: JobQueue, caps: FloatArray, *, site: Site, headroom: Headroom
) -> DispatchOrders:
    """Return the orders of who steers jobs only: stores rest, and nothing follows a price.

    Parameters
    ----------
    outlook
        The weather, the renewables and the heat that is sold in the first interval.
    queue
        The jobs.
    caps
        Cap of each job, 0 for those that wait. [1]
    site
        The site.
    headroom
        What it leaves for work.
    """
    lasting = sustained_power(queue, caps, float(outlook["duration"][0]))
    cap = renewable_caps(outlook, site, site_power=headroom.site_power(lasting))
    sold = _first_heat_power(outlook)
    return DispatchOrders(jobs=caps_by_job(queue, caps), renewable_cap=cap, heat_reuse_power=sold)


def order_cheapest_hours(
    outlook: xr.Dataset, state: xr.Dataset, *, queue: JobQueue, site: Site, caps_work: bool = True
) -> DispatchOrders:
    """Return the orders of a good simple rule: work and stores follow the known prices.

    Parameters
    ----------
    outlook
        What is known ahead: ``electricity_price`` and ``service_racks`` on equal intervals, the
        weather and the renewables of the first one.
    state
        State of the site.
    queue
        The jobs.
    site
        The site.
    caps_work
        Whether power is capped where time allows it. The rule as the fair comparison words it
        speaks of hours only; that which caps is harder to beat.

    Returns
    -------
    DispatchOrders
        Jobs with their caps, stores, renewables curtailed where power is worth nothing, and heat
        sold where it brings more than the power that lifts it costs.

    Notes
    -----
    The most urgent jobs choose first: each takes the cheapest intervals before its deadline on
    which racks are free, with power that does not raise the peak of the billing period. It runs
    as far capped as its kind tolerates, unless the intervals do not suffice, it cannot wait,
    racks are scarce, or power costs nothing. A running job is paused only if the wait saves more
    than the work that the pause loses. Stores follow
    :func:`optimizer.policies.storage_and_renewables.order_storage`.
    """
    outlook = sell_heat(outlook, site, follow_price=True)
    room = compute_headroom(site, state, outlook)
    paid = _with_network_price(outlook, site)
    caps, must = _cheapest_hours(paid, queue, room, caps_work=caps_work)
    caps = limit_caps(queue, caps, headroom=room, must=must)
    power = running_power(queue, caps)
    spare = room.peak_safe_power - power
    flows, charge = order_storage(paid, state, site=site, headroom=room, spare=spare)
    lasting = sustained_power(queue, caps, float(outlook["duration"][0]))
    low, high = (room.site_power(drawn) + charge for drawn in (lasting, power))
    cap = renewable_caps(outlook, site, site_power=low, full_power=high)
    heat = _first_heat_power(outlook)
    return DispatchOrders(
        jobs=caps_by_job(queue, caps), renewable_cap=cap, heat_reuse_power=heat, **flows
    )


def _with_network_price(outlook: xr.Dataset, site: Site) -> xr.Dataset:
    """Return what is known, with the price as it is where the tariff's time classes count."""
    fees = site.billing_rules.mean_energy_prices(outlook["instant"].to_numpy())
    return outlook.assign(electricity_price=outlook["electricity_price"] + fees)


def _first_heat_power(outlook: xr.Dataset) -> dict[str, float]:
    """Return the heat that is sold in the first interval. [MW]"""
    name = "heat_reuse_power"
    return values_by_machine(outlook[[name]].isel(time=0), name) if name in outlook else {}


def _cheapest_hours(
    outlook: xr.Dataset, queue: JobQueue, headroom: Headroom, *, caps_work: bool
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the caps of the jobs that run now, and which of them cannot be left for later."""
    hours = float(outlook["duration"][0])
    price, free = extend_series(outlook, queue, headroom, word="electricity_price")
    order = np.argsort(price, kind="stable")
    ends = (queue.jobs.deadline - queue.instant) / HOUR / hours
    must = must_run(queue, hours)
    fast, slow = _counts(queue, hours)
    is_calm = caps_work and price[0] > 0 and _load(queue, free, hours) < SCARCE_RACK_SHARE
    may_cap = (queue.laxity >= hours) & is_calm
    least, loss = queue.kind_values("min_power_share"), queue.kind_values("pause_loss")
    caps = np.zeros(len(queue.jobs))
    for job in priority_order(queue, must).tolist():
        racks = queue.jobs.racks[job]
        slots = order[(order + 1 <= ends[job] + INTERVAL_TOLERANCE) & (free[order] >= racks)]
        is_capped = may_cap[job] and slow[job] < len(slots)
        need = slow[job] if is_capped else fast[job]
        must[job] |= len(slots) < need
        slots = slots[:need]
        runs = must[job] or 0 in slots
        if not runs and queue.is_running[job]:
            wait = price[: slots.min()] - price[slots[-1]]
            runs = wait.sum() * hours < loss[job] * price[slots].mean()
        if runs and free[0] >= racks:
            caps[job] = least[job] if is_capped else 1.0
            slots = np.append(slots[slots > 0][: need - 1], 0)
        free[slots] -= racks
    return caps, must


def extend_series(
    outlook: xr.Dataset, queue: JobQueue, headroom: Headroom, *, word: str
) -> tuple[FloatArray, FloatArray]:
    """Return what a word is, and the racks free for work, as far ahead as jobs may wait.

    Parameters
    ----------
    outlook
        The word and ``service_racks`` on equal intervals; beyond them the last day is repeated.
    queue
        The jobs.
    headroom
        What the site leaves for work now.
    word
        What rules go by: a price, or the carbon of a MWh.
    """
    value, hours = outlook[word].to_numpy(), float(outlook["duration"][0])
    service = outlook["service_racks"].to_numpy()
    count, day = len(value), round(RULE_DAY_H / hours)
    furthest = float(np.max((queue.jobs.deadline - queue.instant) / HOUR, initial=hours))
    missing = int(min(furthest, RULE_HORIZON_H) / hours) - count
    if missing > 0:
        beyond = value[-day:] if count >= day else value.mean()
        value = np.append(value, np.resize(beyond, missing))
        service = np.append(service, np.resize(service[-day:], missing))
    free = BUSY_RACK_SHARE * np.minimum(
        queue.pool.racks - service,
        headroom.peak_safe_power / float(queue.pool.power_above_idle(1.0)),
    )
    free[0] = headroom.racks
    return value, free


def _load(queue: JobQueue, free: FloatArray, hours: float) -> float:
    """Return the work due by a deadline as a share of the rack-hours till then, at its greatest."""
    first = np.argsort(queue.jobs.deadline, kind="stable")
    due = np.cumsum((queue.jobs.racks * queue.remaining_hours)[first])
    until = (queue.jobs.deadline[first] - queue.instant) / HOUR / hours
    room = np.interp(until, np.arange(len(free) + 1), np.append(0.0, np.cumsum(free) * hours))
    return float(np.max(due / np.maximum(room, INTERVAL_TOLERANCE), initial=0.0, where=until > 1.0))


def _counts(queue: JobQueue, hours: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how many intervals each job needs, uncapped and at its deepest cap."""
    rates = [float(k.throughput.work(k.min_power_share)) for k in queue.pool.kinds]
    rate = np.array(rates)[queue.jobs.kind_index]
    fast = np.ceil(queue.remaining_hours / hours - INTERVAL_TOLERANCE).astype(np.int64)
    slow = np.ceil(queue.remaining_hours / rate / hours - INTERVAL_TOLERANCE).astype(np.int64)
    return np.maximum(fast, 1), np.maximum(slow, 1)
