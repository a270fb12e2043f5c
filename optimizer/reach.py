"""What each machine may be asked for: the range of outputs that can occur, and what it draws there.

The physics is asked once for each machine: from what it draws follows what those behind it may be
asked for, and :mod:`optimizer.curves` lays its lines over the same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from optimizer.problem import Problem
from twin.physics import FloatArray
from twin.relations import ENERGY_SIGN, FEEDS, Convert, SetPoints
from twin.site import Site
from twin.weather import Weather
from twin.workloads.queue import Pool

PAD: Final = 0.02
"""Share of a range by which it is widened at both ends. [1]"""

BEYOND: Final = 0.01
"""Share by which a machine bears more than may be sold through it. [1]"""

SAMPLES: Final = np.array([0.0, 0.02, *np.linspace(0.0, 1.0, 13)[1:-1], 0.98, 1.0])
"""Where on the range of outputs the physics is asked, closer at the ends. [1]"""

PROBES: Final = np.flatnonzero(np.isin(SAMPLES, np.linspace(0.0, 1.0, 5)))
"""Samples from which the range of what a machine draws is told."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What a machine may be asked for.

    Attributes
    ----------
    low, high
        Least and greatest output in every interval, ``(time,)``. [MW]
    draws
        Carrier -> draw at :attr:`outputs`, ``(sample, time)``. [MW; m3 h-1 for water]
    """

    low: FloatArray
    high: FloatArray
    draws: Mapping[str, FloatArray]

    @classmethod
    def of(
        cls,
        convert: Convert,
        weather: Weather,
        *,
        low: FloatArray,
        high: FloatArray,
        points: SetPoints | None = None,
    ) -> Self:
        """Return a range with what the physics says of it.

        Parameters
        ----------
        convert
            The conversion.
        weather
            Outdoor air on ``time``.
        low, high
            Least and greatest output, ``(time,)``. [MW]
        points
            Set points of the water; by default the declared ones.
        """
        first, again = _alike(low, high, weather) if points is None else (slice(None),) * 2
        outputs = _between(low[first], high[first])
        draws = convert.at(points).physics(outputs, weather.take(first)).draws
        every = {c: np.broadcast_to(draws[c], outputs.shape)[:, again] for c in convert.draws}
        return cls(low=low, high=high, draws=every)

    @property
    def outputs(self) -> FloatArray:
        """Outputs at :data:`SAMPLES` of the range, ``(sample, time)``. [MW]"""
        return _between(self.low, self.high)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return ranges of one conversion one after the other."""
        low, high = zip(*((part.low, part.high) for part in parts), strict=True)
        draws = {
            carrier: np.concatenate([part.draws[carrier] for part in parts], axis=1)
            for carrier in parts[0].draws
        }
        return cls(low=np.concatenate(low), high=np.concatenate(high), draws=draws)


def _alike(
    low: FloatArray, high: FloatArray, weather: Weather
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return intervals that differ, and which of them each interval is like."""
    rows = np.stack([low, high, *(getattr(weather, field.name) for field in fields(weather))])
    _, first, again = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    return first, again.ravel()


def _between(low: FloatArray, high: FloatArray) -> FloatArray:
    return low + SAMPLES[:, None] * (high - low)


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
        low, high = _range(problem, convert, demand, weather)
        reach = Reach.of(convert, weather, low=low, high=high, points=points)
        for carrier, draws in reach.draws.items():
            probed = draws[PROBES]
            demand[carrier] += np.stack([probed.min(axis=0), probed.max(axis=0)])
        found[convert.owner] = reach
    return found


def _demand_of_work(problem: Problem) -> dict[str, FloatArray]:
    """Return least and greatest demand by carrier, ``(2, time)``, as the halls make it. [MW]"""
    pool = Pool.of(problem.site)
    busy = np.stack([problem.service, np.full_like(problem.service, pool.racks)])
    racks = pool.draw(busy)
    demand = {carrier: np.zeros_like(racks) for carrier in ENERGY_SIGN}
    for work in problem.site.works:
        part = racks * (work.racks / pool.racks)
        demand[work.carrier] += part
        for carrier, share in work.heat.items():
            demand[carrier] += share * part
    return demand


def _range(
    problem: Problem, convert: Convert, demand: Mapping[str, FloatArray], weather: Weather
) -> tuple[FloatArray, FloatArray]:
    """Return least and greatest output that can occur, ``(time,)``. [MW]"""
    limit = np.broadcast_to(convert.limit(weather), problem.hours.shape)
    most = (1.0 - problem.margins.power) * limit
    low, high = demand[convert.output]
    is_alone = sum(other.output == convert.output for other in problem.site.converts) == 1
    pad = PAD * (high - low)
    floor = np.maximum(-_way_back(problem.site, convert, weather), -most)
    low = np.clip(low - pad if is_alone else floor, floor, most)
    return low, np.clip(high + pad, low, most)


def _way_back(site: Site, convert: Convert, weather: Weather) -> FloatArray:
    """Return the power that may flow backwards through a machine, to be sold, ``(time,)``. [MW]

    That of all machines on the way to the connection and of their losses, which what stands behind
    them bears, and a little more: what may be sold shall bind there, and at no machine before.
    """
    given = np.zeros(len(weather))
    if convert.output not in FEEDS:
        return given
    given += sum(e.export_limit for e in site.exchanges if e.carrier == convert.lead)
    for other in site.converts:
        if other.output == convert.lead:
            given += _way_back(site, other, weather)
    lost = convert.physics(-given, weather).draws[convert.lead] + given
    return np.asarray((1.0 + BEYOND) * (given + lost))
