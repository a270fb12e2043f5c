"""What each machine may be asked for: the range of outputs that can occur in an interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from optimizer.problem import Problem
from twin.physics import FloatArray
from twin.relations import ENERGY_SIGN, Convert, SetPoints
from twin.weather import Weather
from twin.workloads.queue import Pool

PAD = 0.02
"""Share of a range by which it is widened at both ends. [1]"""

PROBES = np.linspace(0.0, 1.0, 5)
"""Where on the range of outputs draws are asked for, to find theirs. [1]"""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Least and greatest output in every interval, ``(time,)``. [MW]"""

    low: FloatArray
    high: FloatArray

    def at(self, shares: FloatArray) -> FloatArray:
        """Return outputs at shares of the way from low to high, ``(share, time)``. [MW]"""
        return self.low + shares[:, None] * (self.high - self.low)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return ranges one after the other."""
        low, high = zip(*((part.low, part.high) for part in parts), strict=True)
        return cls(low=np.concatenate(low), high=np.concatenate(high))


def reaches(
    problem: Problem, weather: Weather, points: SetPoints | None = None
) -> Mapping[str, Reach]:
    """Return the range of outputs of every conversion of a problem.

    Parameters
    ----------
    problem
        The question.
    weather
        Its outdoor air.
    points
        Set points of the water; by default the declared ones.

    Returns
    -------
    Mapping
        Owner -> range, inside the machine's limit less the margin.

    Notes
    -----
    Demand is followed from the racks to the fence. From all racks waiting to all racks at work,
    widened by what stores and sources may add or take; a machine that is not alone on its carrier
    may stand still.
    """
    site = problem.site
    demand = _demand_of_work(problem)
    for store in site.stores:
        demand[store.carrier] += np.array([[-store.discharge_limit], [store.charge_limit]])
    for exchange in site.exchanges:
        if exchange.carrier != "grid":
            given = np.full_like(problem.hours, exchange.export_limit)
            demand[exchange.carrier] += np.stack([-problem.available(exchange), given])
    found: dict[str, Reach] = {}
    for convert in site.converts:
        found[convert.owner] = reach = _reach(problem, convert, demand, weather)
        draws = convert.at(points).physics(reach.at(PROBES), weather).draws
        for carrier, draw in draws.items():
            demand[carrier] += np.stack([draw.min(axis=0), draw.max(axis=0)])
    return found


def _demand_of_work(problem: Problem) -> dict[str, FloatArray]:
    """Return least and greatest demand by carrier, ``(2, time)``, as the halls make it. [MW]"""
    pool = Pool.of(problem.site)
    busy = np.stack([problem.service, np.full_like(problem.service, pool.racks)])
    racks = pool.racks * pool.rack_idle_power + busy * pool.power(1.0)
    demand = {carrier: np.zeros_like(racks) for carrier in ENERGY_SIGN}
    for work in problem.site.works:
        part = racks * (work.racks / pool.racks)
        demand[work.carrier] += part
        for carrier, share in work.heat.items():
            demand[carrier] += share * part
    return demand


def _reach(
    problem: Problem, convert: Convert, demand: Mapping[str, FloatArray], weather: Weather
) -> Reach:
    limit = np.broadcast_to(convert.limit(weather), problem.hours.shape)
    most = (1.0 - problem.margins.power) * limit
    low, high = demand[convert.output]
    is_alone = sum(other.output == convert.output for other in problem.site.converts) == 1
    pad = PAD * (high - low)
    floor = np.maximum(-_way_back(problem, convert), -most)
    low = np.clip(low - pad if is_alone else floor, floor, most)
    return Reach(low=low, high=np.clip(high + pad, low, most))


def _way_back(problem: Problem, convert: Convert) -> float:
    """Return the power that may flow backwards through a machine, to be sold. [MW]"""
    return sum(e.export_limit for e in problem.site.exchanges if e.carrier == convert.lead)
