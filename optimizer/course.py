"""Net import over a plan, and what the connection leaves beside it."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import xarray as xr

from twin import time_axes
from twin.feasibility.connection import IMPORT_LIMIT
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.simulation import limits
from twin.site import Site
from twin.time_axes import HOUR
from twin.variables import net_import

SUSTAINED: Final = 1.0
"""How long what is offered can be kept. [h]"""

LEAST: Final = 1e-3
"""Power below which nothing is offered [MW], and time that is none. [h]"""


TARGET: Final = "grid_import_target"
"""Word of a schedule for the most net import that partners want."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """A plan on its axes.

    Attributes
    ----------
    edges
        Of its intervals, from the start. [h]
    net, before
        Net import of each interval, and when the first begins. [MW]
    low, high
        Limits of the connection, and the least that partners want as the most, less the site's
        margin. [MW]
    """

    edges: FloatArray
    net: FloatArray
    before: float
    low: float
    high: FloatArray

    @classmethod
    def of(cls, site: Site, schedule: xr.Dataset, *, before: float | None) -> Self:
        """Return the course of a plan; without what was before, it begins as it goes on."""
        edges = (time_axes.interval_edges(schedule) - schedule["time"].to_numpy()[0]) / HOUR
        net = net_import(schedule).to_numpy()
        keep = site.margins.power * site.grid.import_limit
        most = np.full(len(net), site.grid.import_limit)
        if IMPORT_LIMIT in schedule:  # the connection is not firm
            most = np.minimum(most, schedule[IMPORT_LIMIT].to_numpy())
        if TARGET in schedule:  # what one partner wants below, no other is offered above
            most = np.minimum(most, schedule[TARGET].min("contract").to_numpy())
        return cls(
            edges=np.asarray(edges, dtype=float),
            net=net,
            before=float(net[0]) if before is None else before,
            low=-max(site.grid.export_limit - keep, 0.0),
            high=most - keep,
        )

    def within(self, step: int) -> BoolArray:
        """Return which intervals touch the hour that begins with one."""
        return self.between(self.edges[step], self.edges[step] + SUSTAINED)

    def between(self, begin: float, end: float) -> BoolArray:
        """Return which intervals touch a span. [h]"""
        return np.asarray((self.edges[:-1] < end - LEAST) & (self.edges[1:] > begin + LEAST))

    @property
    def falling(self) -> FloatArray:
        """How far net import could be lowered, by the connection alone. [MW]"""
        return np.maximum(self.net - self.low, 0.0)

    @property
    def rising(self) -> FloatArray:
        """How far net import could be raised, by the connection and targets alone. [MW]"""
        return np.maximum(self.high - self.net, 0.0)

    def ramps(self, ramp: float) -> tuple[FloatArray, FloatArray]:
        """Return how fast net import may fall and rise beside what the plan does. [MW min-1]

        The plan turns towards an interval as it begins, towards its first from what was before.

        Parameters
        ----------
        ramp
            Most that the connection allows either way. [MW min-1]
        """
        minutes = 60.0 * np.diff(self.edges)
        over = np.minimum(minutes, limits.SET_POINT_TRANSITION_MIN * minutes / 15.0)
        begins = np.diff(self.net, prepend=self.before) / over
        ends = np.append(begins[1:], 0.0)
        falls = np.maximum(-np.minimum(begins, ends), 0.0)
        rises = np.maximum(np.maximum(begins, ends), 0.0)
        return np.maximum(ramp - falls, 0.0), np.maximum(ramp - rises, 0.0)
