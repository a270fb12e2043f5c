"""Laws of a plan: looser limits never cost more, and the order of machines has no effect."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.planner.planner import solve_problem
from tests.support import small_days

HOURS = 24
NOTHING = 1e-7
"""Relative tolerance of objectives. [1]"""


@pytest.fixture(
    scope="module", params=[pytest.param(1.0, marks=pytest.mark.slow), -0.4], ids=["dear", "free"]
)
def day(request):
    """Return the problem of a day, with inverted prices for the second parameter.

    Nothing is kept of a store's window but its reserve: a margin is a share of it, so that a larger
    store keeps more.
    """
    problem = small_days.problem(HOURS)
    prices = problem.outlook["electricity_price"]
    turned = prices.mean() + request.param * (prices - prices.mean())
    outlook = problem.outlook.assign(electricity_price=turned)
    site = problem.site.with_margins(problem.margins.model_copy(update={"level": 0.0}))
    return replace(problem, site=site, outlook=outlook)


def costs(day, machine, sizes):
    """Return what the day costs with a machine of each of several sizes."""
    sites = [day.site.with_parameters(machine, **size) for size in sizes]
    return np.array([solve_problem(replace(day, site=site)).objective for site in sites])


def sizes(word, *values):
    """Return the replaced parameters of each size."""
    return [{word: value} for value in values]


@pytest.mark.parametrize(
    ("machine", "grown"),
    [
        ("battery_1", sizes("power", 0.4, 0.8, 1.1, 1.6)),
        ("battery_1", [{"capacity": c, "reserve": 0.32 / c} for c in (1.6, 2.0, 4.0)]),
        ("battery_1", sizes("ceiling", 0.8, 0.9, 1.0)),
        ("tank_1", sizes("power", 0.1, 0.2, 0.3, 0.6)),
        ("tank_1", sizes("volume", 120.0, 240.0, 480.0)),
        ("grid_1", sizes("import_limit", 3.0, 3.5, 4.0, 5.0)),
        ("grid_1", sizes("export_limit", 0.0, 0.1, 0.4, 2.0)),
        ("grid_1", sizes("ramp", 0.1, 0.2, 0.4)),
    ],
    ids=lambda value: next(iter(value[0])) if isinstance(value, list) else value,
)
def test_larger_store_or_looser_limit_never_costs_more(day, machine, grown):
    """Proves: each step of size costs as much or less, to a part in ten million.

    Sensitivity: where the lines of a transformer lay on what its batteries may ask for, a larger
    battery bent them and cost up to 7e-4 more.
    """
    found = costs(day, machine, grown)
    assert (np.diff(found) <= NOTHING * abs(found[0])).all(), found


def test_order_of_machines_changes_nothing(day):
    """Proves: a site that lists its machines in reverse order has the same cost."""
    site = day.site.with_equipment(dict(reversed(day.site.equipment.items())))
    state = day.state.isel(circuit=slice(None, None, -1))
    here, there = solve_problem(day), solve_problem(replace(day, site=site, state=state))
    assert there.objective == pytest.approx(here.objective, rel=NOTHING)
