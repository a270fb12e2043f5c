"""Moments of a day of the small site for the service: inputs, problems and later states.

Site, series and jobs are those of :mod:`tests.support.small_days`.
"""

from dataclasses import replace

import numpy as np

from optimizer.planner.planner import decide
from optimizer.problem.problem import build_problem_from_record
from optimizer.service.decision_engine import DecisionEngine, DecisionInputs
from tests.support import small_days
from twin import variables
from twin.site_settings import ScenarioSettings
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.workload.queue import advance_queue

STOCKS = {
    "battery_level": "instant",
    "tank_level": "instant",
    "facility_supply_temperature": "instant",
    "cooling_plant_output": "time",
}


def site():
    return small_days.setting().site


def start():
    return small_days.setting().inputs.start


def calm():
    """Return the state at the start, but with the import of idle halls."""
    begin = small_days.setting().initial_state
    return begin.assign(grid_import_power=begin["grid_import_power"] * 0.0 + 1.2)


def weighing(count):
    """Return the site with a number of scenarios."""
    return site().model_copy(update={"scenarios": ScenarioSettings(count=count)})


def pilot(solver=None, where=None):
    """Return an engine that solves in this process."""
    return DecisionEngine(
        site=where or site(),
        solve_problem=solver or (lambda problem, last: decide(problem, previous=last)),
    )


def observed(state, *, without=(), **values):
    """Return correct readings of a state with idle halls; some silent or changed."""
    seen = state.copy(deep=True).assign_coords(hall=["hall_1", "hall_2"])
    seen["hall_power"] = "hall", np.array([0.5, 0.5])
    for name, value in (dict.fromkeys(without, np.nan) | values).items():
        seen[name] = seen[name] * 0.0 + value
    return variables.tag_dataset(seen)


def facts(state=None, queue=None, *, hold="", **sensors):
    """Return the inputs of a decision: by default at the start of the day."""
    here = small_days.setting()
    state = here.initial_state if state is None else state
    queue = small_days.queue() if queue is None else queue
    return DecisionInputs(
        observed=observed(state, **sensors),
        queue=queue,
        past_jobs=here.workload.past(queue.instant),
        series=here.inputs.series,
        hold_reason=hold,
    )


def asked(state=None, queue=None):
    """Return the problem of a moment: by default the first one."""
    known = facts(state, queue)
    here = small_days.setting()
    return build_problem_from_record(
        here.site,
        known.series,
        here.initial_state if state is None else state,
        queue=known.queue,
        past=known.past_jobs,
    )


def later(state, schedule_replay, quarters=1):
    """Return the state some quarter-hours later, from a replay."""
    reached = state.assign_coords(instant=state["instant"] + quarters * QUARTER_HOUR)
    for name, axis in STOCKS.items():
        place = quarters - (axis == "time")
        reached[name] = schedule_replay[name].isel({axis: place}).reset_coords(drop=True)
    for name in ("grid_import_power", "grid_export_power"):
        value = float(schedule_replay[name][quarters - 1])
        reached[name] = state[name].copy(data=value)
    return reached


def waited(queue, quarters=1, caps=None):
    """Return a queue some quarter-hours later; only jobs with caps run."""
    arrivals = small_days.setting().workload.jobs
    hours = float(quarters * QUARTER_HOUR / HOUR)
    return advance_queue(queue, caps or {}, hours=hours, arrivals=arrivals)[0]


def running(queue, count, *, ran=9.0):
    """Return a queue whose first jobs run."""
    on = np.arange(len(queue.jobs)) < count
    return replace(queue, caps=on.astype(float), run_hours=np.where(on, ran, 0.0))


def pressed(queue, *places):
    """Return a queue in which some jobs must start now to meet their deadlines."""
    due = queue.jobs.deadline.copy()
    length = (queue.remaining_hours * 3.6e9).astype("timedelta64[us]")
    for place in places:
        due[place] = queue.instant + length[place]
    return replace(queue, jobs=replace(queue.jobs, deadline=due))
