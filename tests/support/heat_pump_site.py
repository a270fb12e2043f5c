"""The small site with a heat pump, and a problem for it."""

from dataclasses import replace
from functools import cache

import numpy as np

import sites
from optimizer.backtesting.case import BacktestCase
from optimizer.inputs.series_files import read_run_inputs
from optimizer.planner.planner import decide
from optimizer.problem.problem import Problem
from tests.support import small_days
from twin import time_axes
from twin.equipment import HeatReuse
from twin.forecast.outlook import outlook
from twin.workload.arrival_forecast import expected_arrivals
from twin.workload.cohorts import work_flexibility
from twin.workload.queue import RackPool, open_queue

PUMP = {
    "name": "pump",
    "rated_heat": "1 MW",
    "lorenz_efficiency": 0.5,
    "approach": "6 K",
    "minimum_part_load": 0.1,
    "source_inlet_temperature": "48 degC",
    "source_outlet_temperature": "38 degC",
    "return_temperature": "47 degC",
    "supply_temperature": "80 degC",
    "contract_power": "1 MW",
    "base_share": 0.2,
    "heating_limit": "20 degC",
    "design_temperature": "-10 degC",
    "heat_price": "25 EUR/MWh",
}
HUNGRY = {"rated_heat": "200 MW", "contract_power": "200 MW", "base_share": 1.0}
"""A network that would take more heat than there is."""


def heated(**changed):
    """Return the small site with a heat pump."""
    small = sites.load_site("small")
    pump = HeatReuse.model_validate(PUMP | changed)
    return small.with_equipment({**small.equipment, "pump": pump})


def problem(**changed):
    """Return the question of the small day."""
    usual = small_days.problem()
    return Problem(heated(**changed), usual.state, usual.outlook)


@cache
def large_problem():
    """Return the question of the synthetic day for a whole gigafactory, over four hours."""
    site = sites.load_site("baltica")
    world = read_run_inputs(site, small_days.files(), start=small_days.START, days=1)
    here, pool = BacktestCase.of(site, world, load_scale=0.6), RackPool.from_site(site)
    grid = time_axes.horizon_axes(world.start, [(4, 15.0)])
    queue = open_queue(pool, here.workload.jobs, world.start)
    expected = expected_arrivals(here.workload.past(world.start), pool.kinds, world.start)
    ahead = outlook(site, world.series, world.start, axes=grid)
    return Problem(
        site, here.initial_state, ahead.merge(work_flexibility(queue, grid, expected=expected))
    )


def at_price(question, price):
    """Return a question at one price of electricity."""
    usual = question.outlook["electricity_price"]
    flat = usual.copy(data=np.full(usual.shape, price))
    return replace(question, outlook=question.outlook.assign(electricity_price=flat))


def at_pump(question, **changed):
    """Return a question to the gigafactory with another heat pump."""
    return replace(question, site=question.site.with_parameters("heat_pump_1", **changed))


@cache
def decision():
    return decide(problem())


def setting(hours):
    return replace(small_days.setting(hours), site=heated())
