"""Growth of a fleet: 4, 8, 16 and 32 sites that share work, coordinated by prices.

Measured is all from the sites' questions to an exchange that is settled within 0.1 % of the least
that the fleet can cost; the run fails if it is not. That least lies below what one model of all
sites finds, so the gap to it bounds the gap to the model. For four sites the limit is that model,
whose cost must be the same within 0.1 %; for more it is what four sites take, site for site.
"""

from functools import partial

from benchmarks.bench import Bench, Measured, Place, cpu
from benchmarks.solve_cycle import elsewhere
from benchmarks.solve_wide import TWO_DAYS, Wide
from optimizer.compiler.structure import compile_model
from optimizer.fleet.executor import LocalExecutor
from optimizer.fleet.planner import solve_monolithic
from optimizer.fleet.price_coordination import COORDINATION_GAP, coordinate_by_prices
from optimizer.model.model_data import build_model_data
from optimizer.problem.problem import Problem

FEW = 4
"""Sites of the fleet that others are held against. [1]"""

COUNTS = (4, 8, 16, 32)

type Horizon = tuple[tuple[float, float], ...]


def made(count: int, horizon: Horizon) -> tuple[Problem, ...]:
    """Return the questions of a fleet."""
    return Wide(count, horizon).problems()


def by_prices(_: Place, *, count: int, horizon: Horizon = TWO_DAYS) -> Measured:
    """Settle by prices, each site by its own model."""
    problems = elsewhere(made, count, horizon)
    compile_model.cache_clear()
    with cpu() as clock:
        found = coordinate_by_prices(LocalExecutor(problems))
    assert found.gap <= COORDINATION_GAP, f"{found.gap:.2e} after {found.rounds} rounds"
    figures = {"cost": found.cost} if count == FEW else {}
    return Measured(value=clock.seconds, cost=clock.seconds / count, figures=figures)


def few(place: Place, *, horizon: Horizon = TWO_DAYS) -> Measured:
    """Settle four sites by prices."""
    found = by_prices(place, count=FEW, horizon=horizon)
    return Measured(value=found.value, cost=found.value / FEW)


def as_one(_: Place, *, count: int = FEW, horizon: Horizon = TWO_DAYS) -> Measured:
    """Solve all sites in one model."""
    problems = elsewhere(made, count, horizon)
    with cpu() as clock:
        found = solve_monolithic([build_model_data(problem) for problem in problems])
    return Measured(
        value=clock.seconds, cost=clock.seconds / count, figures={"cost": found.objective}
    )


BENCHES = tuple(
    Bench(
        name=f"solve.fleet_{count}",
        unit="CPU s",
        ours=partial(by_prices, count=count),
        limit=as_one if count == FEW else few,
        runs=1,
        tolerance=COORDINATION_GAP,
        note=f"{count} sites x 120 steps x 12 kinds that share two of them, by prices, within 0.1 %"
        " of a bound below one model; "
        + (
            "limit: that model, its cost the same within 0.1 %"
            if count == FEW
            else "limit: 4 sites by prices; ratio: CPU for each site over theirs"
        ),
    )
    for count in COUNTS
)
