"""Histories of a site that matches its file: a calibration must find no change."""

import numpy as np

from twin import time_axes, variables
from twin.equipment import ITHall
from twin.simulation import state
from twin.simulation.simulate import simulate

NOISE = 0.003
"""Standard error of what is read of powers, a share; as calibration guesses at first."""


def operation_of(site, *, days=2):
    """Return the operation of some days: weather and load have a daily course, and another."""
    count = 96 * days
    operation = time_axes.regular_axes(time_axes.to_utc("2026-06-10"), count)
    k = np.arange(count)
    day = np.sin(k * 2.0 * np.pi / 96.0)
    operation["air_temperature"] = "time", 15.0 + 10.0 * day + 3.0 * np.sin(0.05 * k)
    operation["relative_humidity"] = "time", 0.6 + 0.2 * np.cos(0.07 * k)
    operation["air_pressure"] = "time", np.full(count, 100.0)
    halls = site.machines_of(ITHall)
    idle, full = (np.array([getattr(h, f"{x}_power") for h in halls]) for x in ("idle", "full"))
    use = (0.5 + 0.4 * np.sin(0.13 * k) * np.cos(0.017 * k))[:, None]
    operation = operation.assign_coords(hall=[hall.name for hall in halls])
    operation["hall_power"] = ("time", "hall"), idle + use * (full - idle)
    operation["accelerator_utilisation"] = ("time", "hall"), use + 0.0 * idle
    return variables.tag_dataset(operation)


def history_of(site, operation, *, noise=0.0, seed=0):
    """Return what an operation made of a site, with the errors of its power meters."""
    begin = state.initial_state(site, operation["time"].to_numpy()[0])
    read = simulate(site, begin, operation).merge(operation, compat="override").copy(deep=True)
    rng = np.random.default_rng(seed)
    for name in read.data_vars:
        if noise and read[name].attrs.get("units") == "MW":
            read[name] *= 1.0 + noise * rng.standard_normal(read[name].shape)
    return read
