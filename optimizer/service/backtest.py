"""Back-test: run policies in closed loop on a plant that is not what they believe it to be."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from optimizer.decision import Decision
from optimizer.dispatch import Orders
from optimizer.policies import Optimal, Policy, View, immediate, threshold
from optimizer.service.results import Results, Summary
from optimizer.service.settle import Bill, Work, settle
from optimizer.service.world import World
from telemetry.testbed import STEP, Plant, minutes
from twin import axes, state
from twin.axes import HOUR, QUARTER
from twin.equipment import Accelerators
from twin.forecast.outlook import outlook
from twin.forecast.record import WEATHER
from twin.limits import violations
from twin.run import Key
from twin.simulation import simulate
from twin.site import Site
from twin.workloads.jobs import Workload, from_jobs
from twin.workloads.queue import Pool, Progress, Queue, advance, open_queue

POLICIES: Final = ("immediate", "threshold", "optimal", "perfect")
"""All policies, in the order in which they are run and shown."""

HOURS: Final = float(QUARTER / HOUR)

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


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all trials of a back-test share.

    Attributes
    ----------
    site, world, workload
        Where, in which world, with which work.
    surroundings
        Weather and available power in minutes.
    begin
        True state of the plant at the start.
    """

    site: Site
    world: World
    workload: Workload
    surroundings: xr.Dataset
    begin: xr.Dataset

    @classmethod
    def of(cls, site: Site, world: World, *, load_scale: float) -> "Setting":
        """Return the common setting of a site in a world.

        Parameters
        ----------
        site
            The site.
        world
            Prices, carbon, weather and jobs.
        load_scale
            Mean movable work, as a share of all racks at full work. [1]

        Notes
        -----
        The month so far is taken to have peaked at the import of this mean work: neither a free
        peak nor a full connection is given away at the start.
        """
        workload = from_jobs(
            world.jobs,
            site,
            start=world.start,
            end=world.end,
            load_scale=load_scale,
            close=False,
        )
        grid = axes.regular(world.start, int((world.end - world.start) / QUARTER))
        truth = outlook(site, world.record, world.start, grid, foresight=True)
        watched = truth[[*WEATHER, "renewable_available_power"]]
        around = minutes(watched, world.start, STEP * grid.sizes["time"])
        usual = _usual_import(site, truth, load_scale)
        begin = state.rest(site, world.start, peak_power=usual, grid_import_power=usual)
        return cls(site=site, world=world, workload=workload, surroundings=around, begin=begin)


def _usual_import(site: Site, truth: xr.Dataset, load_scale: float) -> float:
    """Return the mean import when the mean work is done evenly. [MW]"""
    pool = Pool.of(site)
    busy = load_scale * pool.racks + truth["service_racks"]
    power = pool.racks * pool.rack_idle_power + busy * float(pool.power(1.0))
    halls = [hall.name for hall in site.of(Accelerators)]
    shares = [hall.racks / pool.racks for hall in site.of(Accelerators)]
    split = power.clip(max=site.racks * pool.rack_power) * xr.DataArray(
        shares, coords={"hall": halls}, dims="hall"
    )
    operation = truth.assign(hall_power=split.assign_attrs(units="MW"))
    calm = state.rest(site, truth["time"].to_numpy()[0])
    return float(simulate(site, calm, operation)["grid_import_power"].mean())


def backtest(
    setting: Setting,
    *,
    policies: Sequence[str] = POLICIES,
    seeds: int = 1,
    listen: Listener = lambda *_: None,
    keep: Callable[[Trial], None] = lambda _: None,
) -> Results:
    """Run policies on the same plants and compare them.

    Parameters
    ----------
    setting
        Site, world and work.
    policies
        Names of :data:`POLICIES`.
    seeds
        Number of plants, each with its own hidden nature.
    listen
        Told of progress.
    keep
        Given every trial as soon as it is done.

    Returns
    -------
    Results
        Summaries by policy.
    """
    began = time.process_time()
    found: dict[str, list[Summary]] = {name: [] for name in policies}
    for seed in range(seeds):
        for name in policies:
            trial = run(setting, name, seed=seed, listen=listen)
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


def run(setting: Setting, name: str, *, seed: int, listen: Listener) -> Trial:
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

    Returns
    -------
    Trial
        The settled run.
    """
    site, world = setting.site, setting.world
    decisions: list[Decision] = []
    policy = make_policy(setting, name, decisions.append)
    plant = Plant(site, setting.surroundings, setting.begin, seed=seed)
    queue = open_queue(Pool.of(site), setting.workload.jobs, world.start)
    service = _service(setting)
    steps: list[tuple[Queue, Progress]] = []
    for i, racks in enumerate(service):
        orders = policy.orders(View(state=plant.observe(), queue=queue))
        queue, progress = advance(queue, orders.jobs, hours=HOURS, arrivals=setting.workload.jobs)
        plant.follow(set_points(site, orders, racks, float(progress.work_power.sum())))
        steps.append((queue, progress))
        listen(name, seed, i + 1, len(service))
    record = plant.record()
    work = _work(steps)
    return Trial(
        policy=name,
        seed=seed,
        course=_course(setting, record, steps, decisions),
        bill=settle(
            site, record, world.record, work, peak_power=float(setting.begin["peak_power"])
        ),
        work=work,
        violations=violations(site, record),
        decisions=tuple(decisions),
    )


def make_policy(setting: Setting, name: str, listen: Callable[[Decision], None]) -> Policy:
    """Return a policy by its name."""
    site, record = setting.site, setting.world.record
    match name:
        case "immediate":
            return immediate(site, record)
        case "threshold":
            return threshold(site, record)
        case "optimal":
            return Optimal(site, record, workload=setting.workload, listen=listen)
        case _:
            truth = record.sel(time=slice(setting.world.start, setting.world.end - QUARTER))
            return Optimal(
                site,
                record,
                workload=setting.workload,
                until=setting.world.end,
                final_price=float(truth["electricity_price"].mean()),
                listen=listen,
            )


def _service(setting: Setting) -> list[float]:
    grid = axes.regular(
        setting.world.start, int((setting.world.end - setting.world.start) / QUARTER)
    )
    truth = outlook(setting.site, setting.world.record, setting.world.start, grid, foresight=True)
    return [float(racks) for racks in truth["service_racks"].to_numpy()]


def set_points(
    site: Site, orders: Orders, service_racks: float, work_power: float
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
    pool = Pool.of(site)
    total = pool.racks * pool.rack_idle_power + work_power
    total += service_racks * float(pool.power(1.0))
    points: dict[Key, float] = {}
    for hall in site.of(Accelerators):
        points["hall_power", hall.name] = total * hall.racks / pool.racks
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        for way in ("charge", "discharge"):
            told = getattr(orders, f"{kind}_{way}").get(store.owner, 0.0)
            points[f"{kind}_{way}", store.owner] = told
    for exchange in site.exchanges:
        if exchange.available:
            cap = orders.renewable_cap.get(exchange.owner, np.inf)
            points["renewable_used_power", exchange.owner] = cap
    return points


def _work(steps: Sequence[tuple[Queue, Progress]]) -> Work:
    """Sum up the work of a run."""
    last = steps[-1][0]
    left = {
        kind.name: float(last.jobs.racks[last.jobs.kind == k] @ last.rest[last.jobs.kind == k])
        * last.pool.rack_power
        for k, kind in enumerate(last.pool.kinds)
    }
    return Work(
        done=sum(float(p.work_done.sum() - p.work_lost.sum()) for _, p in steps),
        left=left,
        lateness=sum(p.lateness for _, p in steps),
        late_energy=sum(p.late_energy for _, p in steps),
    )


def _course(
    setting: Setting,
    record: xr.Dataset,
    steps: Sequence[tuple[Queue, Progress]],
    decisions: Sequence[Decision],
) -> xr.Dataset:
    """Return a run in quarter-hours, with the prices it met and the promises of the plans."""
    grid = axes.regular(setting.world.start, len(steps))
    flows = record[[n for n in record.data_vars if "time" in record[n].dims]]
    stocks = record[[n for n in record.data_vars if "instant" in record[n].dims]]
    means = flows.drop_vars(["duration", "instant"], errors="ignore").coarsen(time=STEP).mean()
    edges = stocks.drop_vars(["time", "duration"], errors="ignore").isel(
        instant=slice(None, None, STEP)
    )
    truth = outlook(setting.site, setting.world.record, setting.world.start, grid, foresight=True)
    means = means.assign_coords(time=grid["time"])
    course = grid.merge(edges).merge(means.drop_vars("time").assign_coords(time=grid["time"]))
    course = course.merge(truth.drop_vars("terminal_price"), compat="override")
    kinds = [kind.name for kind in Pool.of(setting.site).kinds]
    powers = np.stack([p.work_power for _, p in steps])
    backlog = np.array([0.0] + [queue.backlog for queue, _ in steps])
    backlog[0] = backlog[1] + float(steps[0][1].work_done.sum())
    course["work_power"] = (("time", "kind"), powers, {"units": "MW"})
    course["work_backlog"] = ("instant", backlog, {"units": "MWh"})
    course = course.assign_coords(kind=kinds)
    return course.assign(_promises(decisions, course["time"].to_numpy()))


def _promises(decisions: Sequence[Decision], time: np.ndarray) -> Mapping[str, xr.DataArray]:
    """Return what the plan in force at each moment had promised for it."""
    if not decisions:
        return {}
    names = ("grid_import_power", "grid_export_power", "facility_power")
    starts = np.array([d.schedule["time"].to_numpy()[0] for d in decisions])
    current = np.searchsorted(starts, time, side="right") - 1
    found = {name: np.empty(len(time)) for name in names}
    for i, (moment, which) in enumerate(zip(time, current, strict=True)):
        step = decisions[which].schedule.sel(time=moment)
        for name in names:
            found[name][i] = float(step[name])
    return {
        f"plan_{name}": xr.DataArray(values, dims="time", attrs={"units": "MW"})
        for name, values in found.items()
    }
