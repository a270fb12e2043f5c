"""`solve.plan_miss`: how far metered quarter-hours lie from the plan, and what the ramp explains.

A plan holds means of quarter-hours. The plant moves to new set points in ten minutes, so the mean
of the first quarter-hour lacks a third of the step. The limit is the miss that remains where this
lag is counted in the plan. Both are shares of the connection.
"""

from functools import cache

import numpy as np

from benchmarks.bench import Bench, Measured, Place
from optimizer.backtesting.closed_loop import observe, run_interval
from optimizer.backtesting.reserve_calls import ReserveCaller
from optimizer.backtesting.runner import build_plant, build_policy
from optimizer.planner.decision import Decision
from optimizer.realtime.intra_interval import mean_ramp_fraction
from tests.support import small_days
from twin.physics import FloatArray
from twin.time_axes import METERING_PERIOD_MIN
from twin.variables import net_import

HOURS = 18


@cache
def followed() -> tuple[FloatArray, FloatArray, float]:
    """Return planned and metered net import of each quarter-hour, and the connection. [MW]"""
    case, decisions = small_days.setting(HOURS), list[Decision]()
    policy = build_policy(case, "deterministic", decisions.append)
    plant, queue = build_plant(case, seed=1), case.queue()
    caller = ReserveCaller(case.site, plant)
    planned, metered = [], []
    for _ in range(case.actual.sizes["time"]):
        now = plant.now
        seen = observe(plant, queue, reserve_caller=caller, decisions=decisions)
        queue, _ = run_interval(case, policy, plant, observation=seen, decisions=decisions)
        step = decisions[-1].schedule.sel(time=now, method="pad")
        planned.append(float(net_import(step)))
        metered.append(plant.meter.net)
    return np.array(planned), np.array(metered), case.site.grid_connection.import_limit


def ours(_: Place) -> Measured:
    """Return the mean miss of the plan."""
    planned, metered, connection = followed()
    return Measured(value=float(np.abs(metered - planned)[1:].mean()) / connection)


def limit(_: Place) -> Measured:
    """Return the mean miss of the plan with the lag of the plant."""
    planned, metered, connection = followed()
    lag = (1.0 - mean_ramp_fraction(METERING_PERIOD_MIN)) * np.diff(planned)
    return Measured(value=float(np.abs(metered[1:] - planned[1:] + lag).mean()) / connection)


BENCHES = (
    Bench(
        name="solve.plan_miss",
        unit="of the connection",
        ours=ours,
        limit=limit,
        runs=1,
        note=f"{HOURS} h of the small site, policy deterministic, plant 1; limit: with the lag",
    ),
)
