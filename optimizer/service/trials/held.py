"""Reserves of a back-test: a plant that answers the grid, what it holds, and what is settled."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from optimizer.reserves.sold import sold
from optimizer.service.trials.caller import called_by
from optimizer.service.trials.course import Promise
from optimizer.service.trials.setting import Setting
from telemetry.simulator.plant import SimulatedFacility
from telemetry.simulator.reserve_activation import ReserveFacility, reserve_calls
from twin import time_axes, variables
from twin.simulation.limits import count_violations
from twin.site import Site

WORDS = ("reserve_capacity", "reserve_shortfall", "reserve_price", "reserve_excused")
"""What of a schedule is settled."""


def plant_of(setting: Setting, *, seed: int) -> SimulatedFacility:
    """Return the plant of a back-test; of a site with reserves one that the grid calls.

    Parameters
    ----------
    setting
        Site and world.
    seed
        Seed of the plant and of the calls, which come as often as the products expect.
    """
    site = setting.site
    if not site.reserves:
        return SimulatedFacility(site, setting.surroundings, setting.begin, seed=seed)
    plant = ReserveFacility(site, setting.surroundings, setting.begin, seed=seed)
    signals = reserve_calls(site.reserves, setting.surroundings.sizes["time"], seed=seed)
    plant.listen(signals, by_order=called_by(site))
    return plant


def hold(plant: SimulatedFacility, decisions: Sequence[Promise], now: np.datetime64) -> None:
    """Let a plant hold what the plan in force promises for a quarter-hour; a rule promises none.

    Parameters
    ----------
    plant
        From :func:`plant_of`.
    decisions
        All so far.
    now
        Start of the quarter-hour. [datetime64, UTC]
    """
    if not isinstance(plant, ReserveFacility) or not decisions:
        return
    step = decisions[-1].schedule["battery_reserve"].sel(time=now, method="pad")
    plant.hold(
        {
            (str(name), str(battery)): float(step.sel(product=name, battery=battery))
            for name in step["product"].to_numpy()
            for battery in step["battery"].to_numpy()
        }
    )


def broken(plant: SimulatedFacility, site: Site) -> xr.DataArray:
    """Return the violations of a run, as :func:`twin.count_violations` does, calls of the grid
    exempt.
    """
    called = plant.spared() if isinstance(plant, ReserveFacility) else 0.0
    return count_violations(site, plant.record(), called=called)


def settled(
    plant: SimulatedFacility, decisions: Sequence[Promise], setting: Setting
) -> xr.Dataset | None:
    """Return what was held and called in each quarter-hour of a run; None if nothing could be.

    A rule holds nothing: what a file says was sold is missing from it throughout.

    Parameters
    ----------
    plant
        The plant after its run.
    decisions
        Every decision; none of a rule.
    setting
        Site and world.
    """
    if not isinstance(plant, ReserveFacility):
        return None
    called = plant.called()
    if not decisions:
        return _missing(setting, called.sizes["time"])
    time = called["time"].to_numpy()
    starts = [decision.start for decision in decisions]
    current = np.searchsorted(starts, time, side="right") - 1
    steps = [
        decisions[which].schedule[[*WORDS]].sel(time=moment, method="pad")
        for moment, which in zip(time, current, strict=True)
    ]
    grid = time_axes.regular_axes(setting.world.start, len(time))
    held = xr.concat(steps, "time", coords="minimal", compat="override", join="exact")
    bare = held[[*WORDS]].drop_vars([n for n in held.coords if n not in {"time", "product"}])
    found = grid.merge(bare.assign_coords(time=time)).merge(called, compat="override")
    paid = found["reserve_capacity"] + found["reserve_excused"]
    return found.assign(reserve_capacity=paid).drop_vars("reserve_excused")


def _missing(setting: Setting, count: int) -> xr.Dataset | None:
    """Return what was sold in the first quarter-hours, none of it held; None if nothing was."""
    world, grid = setting.world, time_axes.regular_axes(setting.world.start, count)
    known = sold(setting.site, world.record, world.start, axes=grid, foresight=True)
    if "reserve_held" not in known:
        return None
    short = known["reserve_held"]
    none = xr.zeros_like(short)
    words = {"reserve_capacity": none, "reserve_shortfall": short, "reserve_price": none}
    return variables.tag_dataset(
        grid.merge({name: one.drop_attrs() for name, one in words.items()})
    )
