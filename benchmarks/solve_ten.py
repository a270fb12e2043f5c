"""The ten-battery problem of the comparison with peers, by us and by each of them.

Ten equal batteries earn with hourly prices behind one connection that bears less than all of them
together; what they hold at the end is worth nothing. Hours, so that power and energy are the same
number. Ours is a site: a connection, a lossless line, the batteries and a hall that has no work. It
goes the way of every decision, from series and state, checked, to the labelled schedule; peers go
from the same numbers to their own results. Clocks run from the series to the schedule, imports left
out, for all alike, in CPU seconds of all threads.

*From nothing*: no earlier plan; the first problem of a run, which compiles our model, is one of
them. *Next*: the problems after the first, with wholly other prices; ours begins from the plan
before, as it does in service, which the peers do not know how to.
"""

import statistics
from functools import partial

import numpy as np

from benchmarks import peering
from benchmarks.bench import Bench, Measured, Place, cpu
from benchmarks.exporting import export_problem
from benchmarks.solve_bare import Bare
from optimizer.compiler.structure import compile_model
from optimizer.model.model_data import build_model_data
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from optimizer.problem.problem import Problem
from tests.support import hand
from twin.equipment import Battery, GridConnection

HOURS = 672
COUNT = 10
CAPACITY, LEVEL = 2.0, 1.0  # [MWh]
POWER = 0.5  # [MW]
EFFICIENCY = 0.95
FLEET_POWER = 0.4 * COUNT  # [MW]

CASES = 4
"""Problems a run, each with other prices: the first is the one that was agreed. [1]"""


def prices(seed: int, hours: int = HOURS):
    """Return prices with a swing of 96 hours and noise. [EUR MWh-1]"""
    swing = 30.0 * np.cos(2.0 * np.pi * (np.arange(hours) - 76) / 96)
    return 50.0 + swing + np.random.default_rng(seed).normal(0.0, 5.0, hours)


def question(price) -> dict:
    """Return the problem as the peers read it."""
    return {
        "price": list(price),
        "count": COUNT,
        "capacity": CAPACITY,
        "level": LEVEL,
        "power": POWER,
        "efficiency": EFFICIENCY,
        "fleet_power": FLEET_POWER,
    }


def problem(price) -> Problem:
    """Return the problem as our optimiser reads it."""
    batteries = (
        Battery(
            name=f"battery_{number}",
            capacity=f"{CAPACITY} MWh",
            power=f"{POWER} MW",
            charge_efficiency=EFFICIENCY,
            discharge_efficiency=EFFICIENCY,
        )
        for number in range(COUNT)
    )
    limit = f"{FLEET_POWER} MW"
    connection = GridConnection(
        name="grid", import_limit=limit, export_limit=limit, ramp=f"{2.0 * FLEET_POWER} MW/min"
    )
    site = hand.site(*batteries, connection=connection)
    return hand.problem(site, hand.outlook(price), level=LEVEL / CAPACITY)


def ours(place: Place, *, cases: int = CASES, hours: int = HOURS, is_next=False) -> Measured:
    """Decide each problem, from nothing or from the plan before."""
    compile_model.cache_clear()
    seconds, found, last = [], [], None
    for seed in range(cases):
        price = prices(seed, hours)
        with cpu() as clock:
            solution = solve_problem(problem(price), last)
            schedule = build_schedule(solution)
        assert schedule["battery_charge"].shape == (hours, COUNT)
        last = solution.warm_start if is_next else None
        seconds.append(clock.seconds)
        found.append(solution.objective)
        export_problem(place, f"ten_batteries-{seed}-ours", solution.data)
    return _measured(seconds, found, is_next=is_next)


def limit(place: Place, *, cases: int = CASES, hours: int = HOURS) -> Measured:
    """Write each problem into arrays by hand, and solve it."""
    seconds, found = [], []
    for seed in range(cases):
        inputs = build_model_data(problem(prices(seed, hours)))
        with cpu() as clock:
            model = Bare(inputs)
            model.fill(inputs)
            solver = model.solved()
            np.array(solver.getSolution().col_value)
        seconds.append(clock.seconds)
        found.append(solver.getObjectiveValue())
        if place.export:
            solver.writeModel(str(place.export / f"ten_batteries-{seed}-limit.mps"))
    return _measured(seconds, found)


def by(place: Place, peer: str, *, cases=CASES, hours=HOURS, is_next=False) -> Measured:
    """Return what a peer found."""
    _, (script, *words) = PEERS[peer]
    asked = [question(prices(seed, hours)) for seed in range(cases)]
    answer = peering.ask(script, asked, *words, export=place.export)
    return _measured(answer["seconds"], answer["objectives"], is_next=is_next)


def _measured(seconds, found, *, is_next=False) -> Measured:
    figures = {f"objective_{number}": value for number, value in enumerate(found)}
    return Measured(value=statistics.median(seconds[1:] if is_next else seconds), figures=figures)


SAME = "10 batteries x 672 h behind one connection, from prices to schedule"
PEERS = {
    "flexmeasures": (
        "FlexMeasures' device_scheduler as it comes, arrays straight to HiGHS",
        ("ten_flexmeasures",),
    ),
    "flexmeasures_pyomo": (
        "FlexMeasures' device_scheduler by its Pyomo model, with HiGHS",
        ("ten_flexmeasures", "appsi_highs"),
    ),
    "oemof": ("oemof.solph's EnergySystem, Model, HiGHS and Results", ("ten_oemof",)),
}
"""Peer -> what is measured, and the words that ask for it."""


def _row(name: str, *, is_next: bool) -> Bench:
    about, _ = PEERS[name]
    begin = "the next problems, ours from the plan before" if is_next else "each from nothing"
    return Bench(
        name=f"solve.ten_{'next_' if is_next else ''}{name}",
        unit="CPU s",
        ours=partial(ours, is_next=is_next),
        limit=partial(by, peer=name, is_next=is_next),
        note=f"{SAME}; {begin}; limit: {about}",
    )


BENCHES = (
    Bench(
        name="solve.ten_batteries",
        unit="CPU s",
        ours=ours,
        limit=limit,
        note=f"{SAME}; each from nothing; limit: positions counted by hand, arrays, bare solve",
    ),
    *(_row(name, is_next=False) for name in PEERS),
    *(_row(name, is_next=True) for name in ("flexmeasures", "oemof")),
)
