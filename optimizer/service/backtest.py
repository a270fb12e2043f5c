"""Back-test: run policies in closed loop on a plant that is not what they believe it to be."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.decision import Decision
from optimizer.dispatch import Orders
from optimizer.guard import WHOLE, Guard
from optimizer.hedging import Hedging
from optimizer.policies import Optimal, Policy, View, immediate, scaling, threshold
from optimizer.service.course import course_of, work_of
from optimizer.service.held import hold, plant_of, settled
from optimizer.service.results import Results, Summary
from optimizer.service.setting import Setting
from optimizer.service.settle import Bill, Work, settle
from telemetry.testbed import Plant
from twin import steering
from twin.axes import HOUR, QUARTER
from twin.equipment import HeatReuse
from twin.limits import violations
from twin.run import Key
from twin.site import Site
from twin.workloads.halls import hall_powers
from twin.workloads.queue import Pool, Progress, Queue, advance, open_queue

POLICIES: Final = ("immediate", "threshold", "optimal", "perfect")
"""The usual policies, in the order in which they are run and shown."""

KNOWN: Final = (*POLICIES, "scaling", "cvar")
"""All policies: ``scaling`` is a published rule that follows the carbon of the grid; ``cvar`` is
``optimal`` with scenarios, hedged against the dearest of them."""

HOURS: Final = float(QUARTER / HOUR)

LOOK: Final = 3
"""Minutes between two looks of a guard. [min]"""

type Listener = Callable[[str, int, int, int], None]
"""Told of progress: policy, seed, quarter-hours done, quarter-hours in all."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One policy on one plant.

    Attributes
    ----------
    policy, seed
        Which.
    course
        What happened in quarter-hours: the plant's means, the plan's promises, the queue.
    bill, work, violations
        The settled run, its work, and the violated minutes by limit.
    decisions
        Every decision of a planning policy.
    """

    policy: str
    seed: int
    course: xr.Dataset
    bill: Bill
    work: Work
    violations: xr.DataArray
    decisions: tuple[Decision, ...]

    @property
    def summary(self) -> Summary:
        """The trial in numbers."""
        return Summary.of(self.bill, self.work, int(self.violations.sum()))


def backtest(
    setting: Setting,
    *,
    policies: Sequence[str] = POLICIES,
    seeds: int = 1,
    listen: Listener = lambda *_: None,
    keep: Callable[[Trial], None] = lambda _: None,
    export: Path | None = None,
) -> Results:
    """Run policies on the same plants and compare them.

    Parameters
    ----------
    setting
        Site, world and work.
    policies
        Names of :data:`KNOWN`.
    seeds
        Number of plants, each with its own hidden nature.
    listen
        Told of progress.
    keep
        Given every trial as soon as it is done.
    export
        Folder for the linear model of every decision; none are written without.

    Returns
    -------
    Results
        Summaries by policy.
    """
    began = time.process_time()
    found: dict[str, list[Summary]] = {name: [] for name in policies}
    for seed in range(seeds):
        for name in policies:
            trial = run(setting, name, seed=seed, listen=listen, export=export)
            keep(trial)
            found[name].append(trial.summary)
    world = setting.world
    days = round((world.end - world.start) / np.timedelta64(1, "D"))
    return Results(
        site=setting.site.name,
        start=np.datetime_as_string(world.start, unit="m") + "Z",
        days=days,
        seeds=seeds,
        cpu_s=time.process_time() - began,
        gaps=world.gaps,
        notes=world.notes,
        policies={name: Summary.over(many) for name, many in found.items()},
        by_seed=found,
    )


def run(
    setting: Setting, name: str, *, seed: int, listen: Listener, export: Path | None = None
) -> Trial:
    """Run one policy on one plant from start to end.

    Parameters
    ----------
    setting
        Site, world and work.
    name
        The policy.
    seed
        Seed of the plant.
    listen
        Told of progress.
    export
        Folder for the linear model of every decision, in a folder for policy and plant.

    Returns
    -------
    Trial
        The settled run.
    """
    site, world = setting.site, setting.world
    decisions: list[Decision] = []
    models = export and export / f"{name}_{seed}"
    policy = make_policy(setting, name, decisions.append, export=models)
    plant = plant_of(setting, seed=seed)
    queue = open_queue(Pool.of(site), setting.workload.jobs, world.start)
    service = setting.truth["service_racks"].to_numpy().tolist()
    steps: list[tuple[Queue, Progress]] = []
    for i, racks in enumerate(service):
        orders = policy.orders(View(state=plant.observe(), queue=queue))
        queue, progress = advance(queue, orders.jobs, hours=HOURS, arrivals=setting.workload.jobs)
        hold(plant, decisions, plant.now)
        power = float(progress.work_power.sum())
        points = partial(set_points, site, service_racks=racks, work_power=power)
        follow(plant, orders, policy.guard, points=points)
        steps.append((queue, progress))
        listen(name, seed, i + 1, len(service))
    record = plant.record()
    work = work_of(steps)
    return Trial(
        policy=name,
        seed=seed,
        course=course_of(setting, record, steps=steps, decisions=decisions),
        bill=settle(
            site,
            record,
            world.record,
            work=work,
            peak_power=float(setting.begin["peak_power"]),
            reserves=settled(plant, decisions, setting),
        ),
        work=work,
        violations=violations(site, record),
        decisions=tuple(decisions),
    )


def follow(
    plant: Plant,
    orders: Orders,
    guard: Guard | None,
    *,
    points: Callable[[Orders], Mapping[Key, float]],
) -> None:
    """Let a plant follow orders for a quarter-hour, and what a guard makes of them.

    Parameters
    ----------
    plant
        The plant.
    orders
        Orders at the start of the quarter-hour.
    guard
        What watches it; None if nothing does.
    points
        Orders -> set points of the plant.
    """
    plant.order(points(orders))
    if guard is None:
        plant.advance(WHOLE)
        return
    plant.advance(LOOK)
    for minutes in range(LOOK, WHOLE, LOOK):
        mean, latest = (_net_import(plant, span) for span in (minutes, 1))
        better = guard.look(minutes=minutes, mean=mean, latest=latest)
        if better:
            plant.order(points(better))
        plant.advance(min(LOOK, WHOLE - minutes))


def _net_import(plant: Plant, minutes: int) -> float:
    """Return what the connection's meter says of the last minutes. [MW]"""
    true = plant.truth(minutes)
    return true["grid_import_power", ""] - true["grid_export_power", ""]


def make_policy(
    setting: Setting,
    name: str,
    listen: Callable[[Decision], None],
    *,
    export: Path | None = None,
) -> Policy:
    """Return a policy by its name; one that plans writes its models where it is told to."""
    site, record = setting.site, setting.world.record
    match name:
        case "immediate":
            return immediate(site, record)
        case "threshold":
            return threshold(site, record)
        case "scaling":
            return scaling(site, record)
        case "optimal":
            return Optimal(site, record, workload=setting.workload, listen=listen, export=export)
        case "cvar":
            return Hedging(site, record, workload=setting.workload, listen=listen, export=export)
        case _:
            return Optimal(
                site,
                record,
                workload=setting.workload,
                until=setting.world.end,
                final_price=float(setting.truth["electricity_price"].mean()),
                listen=listen,
                export=export,
            )


def set_points(
    site: Site, orders: Orders, *, service_racks: float, work_power: float
) -> dict[Key, float]:
    """Return orders as set points of the plant.

    Parameters
    ----------
    site
        The site.
    orders
        What a policy wants.
    service_racks
        Racks busy with the service. [1]
    work_power
        Power above idle of the jobs that run. [MW]

    Returns
    -------
    dict
        (name, machine) -> set point. [MW]
    """
    halls = hall_powers(site, work_power=work_power, service_racks=service_racks)
    points: dict[Key, float] = {("hall_power", hall): power for hall, power in halls.items()}
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        for way in ("charge", "discharge"):
            told = getattr(orders, f"{kind}_{way}").get(store.owner, 0.0)
            points[f"{kind}_{way}", store.owner] = told
    for exchange in site.exchanges:
        if exchange.available:
            cap = orders.renewable_cap.get(exchange.owner, np.inf)
            points["renewable_used_power", exchange.owner] = cap
    for pump in site.of(HeatReuse):
        points["heat_reuse_power", pump.name] = orders.heat_reuse_power.get(pump.name, 0.0)
    for word in steering.WORDS:
        points |= {(word, owner): value for owner, value in getattr(orders, word).items()}
    return points
