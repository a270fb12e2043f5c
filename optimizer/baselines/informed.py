"""A policy that is told a part of what is to come: what perfect forecasts of it would be worth."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import xarray as xr

from optimizer.decision import Decision
from optimizer.policies import Optimal, View
from optimizer.problem import Problem
from twin import time_axes
from twin.forecast.outlook import outlook
from twin.site import Site
from twin.workload.flexibility import work_flexibility
from twin.workload.jobs import Workload

JOBS: Final = "jobs"

KNOWLEDGE: Final = {
    "prices": ("electricity_price", "terminal_price", "carbon_intensity"),
    "weather": (
        *("air_temperature", "relative_humidity", "air_pressure", "wind_speed"),
        *("global_irradiance", "renewable_available_power"),
    ),
    JOBS: (),
}
"""What one may be told -> its words in an outlook; carbon goes with the prices."""

INFORMED: Final = {f"optimal+{name}": name for name in KNOWLEDGE}
"""Name of a policy -> what it is told."""


class Informed(Optimal):
    """Plan as the optimum does, but told the truth of the week ahead in one respect.

    No site could: what it saves over the optimum is the most that better forecasts of this are
    worth, and what it leaves to perfect foresight is due to all else.

    Parameters
    ----------
    site, record, workload, listen, export
        As for :class:`optimizer.policies.Optimal`.
    knows
        A key of :data:`KNOWLEDGE`.
    """

    def __init__(
        self,
        site: Site,
        record: xr.Dataset,
        *,
        workload: Workload,
        knows: str,
        listen: Callable[[Decision], None] = lambda _: None,
        export: Path | None = None,
    ) -> None:
        super().__init__(site, record, workload=workload, listen=listen, export=export)
        self._knows = knows

    def _problem(self, view: View, grid: xr.Dataset | None = None) -> Problem:
        problem = super()._problem(view, grid)
        grid = time_axes.interval_axes(time_axes.interval_edges(problem.outlook))
        if self._knows == JOBS:
            room = work_flexibility(view.queue, grid, future=self._workload.jobs)
            rest = problem.outlook.drop_dims("cohort")
            whole = room.merge(rest, compat="override").assign_attrs(rest.attrs)
            return replace(problem, outlook=whole)
        return replace(problem, outlook=self._told(problem.outlook, grid, view))

    def _told(self, ahead: xr.Dataset, grid: xr.Dataset, view: View) -> xr.Dataset:
        """Return an outlook with the truth in the place of forecasts."""
        truth = outlook(self._site, self._record, view.now, axes=grid, foresight=True)
        return ahead.assign({name: truth[name] for name in KNOWLEDGE[self._knows]})
