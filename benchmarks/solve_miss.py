"""`solve.plan_miss`: how far metered quarter-hours lie from the schedule that partners receive.

A plan holds set points. The plant moves to them in ten minutes, so a schedule states the means that
the meter will show. The share of the connection that a mean quarter-hour lies beside it is `ours`;
beside the set points it is the `limit`.
"""

from functools import cache

import numpy as np

import sites
from benchmarks.bench import Bench, Measured, Place
from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import observe, run_interval
from optimizer.backtesting.reserve_calls import ReserveCaller
from optimizer.backtesting.runner import build_plant, build_policy
from optimizer.inputs.series_files import SeriesFiles, read_run_inputs
from optimizer.planner.decision import Decision
from optimizer.realtime.intra_interval import metered_means
from twin.physics import FloatArray
from twin.variables import net_import

SITE, START = "rhine", "2026-06-16"


@cache
def followed() -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Return set points, schedule and meter of each quarter-hour, and the connection. [MW]"""
    files = SeriesFiles(**{name: sites.series_file(name) for name in ("prices", "weather", "jobs")})
    site = sites.load_site(SITE)
    inputs = read_run_inputs(site, files, start=START, days=1)
    case, decisions = BacktestCase.of(site, inputs, load_scale=0.6), list[Decision]()
    policy = build_policy(case, "deterministic", decisions.append)
    plant, queue = build_plant(case, seed=1), case.queue()
    caller = ReserveCaller(case.site, plant)
    ordered, scheduled, metered = [], [], []
    for _ in range(case.true_series.sizes["time"]):
        now = plant.now
        seen = observe(plant, queue, reserve_caller=caller, decisions=decisions)
        before = float(net_import(seen.state))
        queue, _ = run_interval(case, policy, plant, observation=seen, decisions=decisions)
        step = decisions[-1].schedule.sel(time=now, method="pad")
        ordered.append(float(net_import(step)))
        scheduled.append(float(metered_means(np.array(ordered[-1:]), before=before)[0]))
        metered.append(plant.meter.net)
    connection = case.site.grid_connection.import_limit
    return np.array(ordered), np.array(scheduled), np.array(metered), connection


def _miss(stated: FloatArray, metered: FloatArray, connection: float) -> Measured:
    return Measured(value=float(np.abs(metered - stated)[1:].mean()) / connection)


def ours(_: Place) -> Measured:
    """Return the mean miss of the schedule that partners receive."""
    _, scheduled, metered, connection = followed()
    return _miss(scheduled, metered, connection)


def limit(_: Place) -> Measured:
    """Return the mean miss of the set points."""
    ordered, _, metered, connection = followed()
    return _miss(ordered, metered, connection)


BENCHES = (
    Bench(
        name="solve.plan_miss",
        unit="of the connection",
        ours=ours,
        limit=limit,
        runs=1,
        note=f"a day of {SITE}, policy deterministic, plant 1; limit: set points without the ramp",
    ),
)
