"""The courses that a question may take: other prices, weather, sun, wind and arrivals of work."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.hedge.by_work import by_work
from optimizer.hedge.case import Case
from optimizer.problem import Problem
from optimizer.question.sense import PAUSES
from twin.forecast.outlook import AVAILABLE_POWER, EXTRAPOLATION_RULES
from twin.forecast.scenarios import ForecastErrors, ForecastScenario, forecast_scenarios
from twin.time_axes import HOUR, interval_axes
from twin.units import format_minute
from twin.workload.arrivals import ArrivalRates, ArrivalScenario, expected_arrivals
from twin.workload.flexibility import flexibility_by_scenario
from twin.workload.jobs import ARRIVAL_HISTORY, Jobs
from twin.workload.queue import JobQueue

FINE: Final = 2.0
"""How far ahead courses keep the intervals of the question. [h]"""

HOURLY: Final = 48.0
"""How far ahead they keep hours; from there on every :data:`FEW` hours are one interval. [h]"""

FEW: Final = 4

COUNT: Final = 3
"""Courses that a decision is weighed over. [1]"""

DRAWN: Final = 2
"""For each of them so many are drawn that tell prices and weather apart. [1]"""

SOON: Final = 72.0
"""Time over which the work of courses is told apart. [h]"""

SAME: Final = 1e-6
"""Share of the work by which it differs where it is the same. [1]"""

OTHERS: Final = (
    *("service_racks", "terminal_price", "work_least", "work_most"),
    *("work_racks_limit", *PAUSES),
)
"""Words of a question that are made anew for each course, beside the forecast's."""

_DAY: Final = np.timedelta64(1, "D")


def cases_of(
    problem: Problem,
    record: xr.Dataset,
    *,
    queue: JobQueue,
    past: Jobs,
    errors: ForecastErrors,
    count: int = COUNT,
    seed: int = 0,
) -> list[Case]:
    """Return the courses that a question may take.

    Parameters
    ----------
    problem
        The question, as :func:`optimizer.steering.question` asks it.
    record
        The series of its site; what is unpublished is never looked at.
    queue
        The jobs that have arrived.
    past
        Arrivals of the two weeks before.
    errors
        Errors of past forecasts, kept from question to question.
    count
        How many courses, at most: of :data:`DRAWN` times as many, told apart by prices and weather,
        those that tell the work apart. [1]
    seed
        Of the days whose arrivals come again where the weather's own lies too far back.

    Returns
    -------
    list of Case
        Each with the forecast errors of one past moment and the arrivals of the days that followed
        it; where that is longer ago than arrivals are remembered, of other days, drawn.
    """
    site, axes = problem.site, _axes(problem)
    now = queue.instant

    def draw(most: int) -> list[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]]:
        many = forecast_scenarios(site, record, now, axes=axes, errors=errors, count=most)
        return [
            (one, _arrivals(past, queue, axes=axes, origin=one.origin, seed=seed)) for one in many
        ]

    pairs = _told_apart(draw(DRAWN * count), axes=axes, count=count) or draw(count)
    drawn, works = [one for one, _ in pairs], [work for _, work in pairs]
    share = _share(works, drawn, expected_arrivals(past, queue.pool.kinds, now), axes=axes)
    found = []
    rooms = flexibility_by_scenario(queue, axes, [work.scaled(share) for work in works])
    for one, room in zip(drawn, rooms, strict=True):
        ahead = one.outlook.merge(room)
        others = set(problem.outlook.data_vars) - set(ahead.data_vars)
        asked = replace(problem, outlook=ahead.assign({n: problem.outlook[n] for n in others}))
        name = "the forecast" if np.isnat(one.origin) else f"as after {format_minute(one.origin)}"
        found.append(Case(problem=asked, probability=one.probability, name=name))
    return found


def _axes(problem: Problem) -> xr.Dataset:
    """Return the intervals of the courses: those of the question near, then hours, then longer.

    What is decided later needs no quarter-hours, and each course is solved in a third of the time.
    Where the question holds words that stand on its own intervals, as a position sold, they stay.
    """
    edges = problem.outlook["instant"].to_numpy()
    own = set(problem.outlook.data_vars) - {*EXTRAPOLATION_RULES, AVAILABLE_POWER, *OTHERS}
    if own:
        return interval_axes(edges)
    ahead = (edges - edges[0]) / HOUR
    is_hour = edges == edges.astype("datetime64[h]")
    is_whole = edges.astype("datetime64[h]").astype(np.int64) % FEW == 0
    is_far = is_hour & is_whole & (ahead > HOURLY)
    return interval_axes(edges[(ahead <= FINE) | (is_hour & (ahead <= HOURLY)) | is_far])


def _arrivals(
    past: Jobs, queue: JobQueue, *, axes: xr.Dataset, origin: np.datetime64, seed: int
) -> ArrivalRates | ArrivalScenario:
    """Return the arrivals of one course; the steady stream where none can come again."""
    now, kinds = queue.instant, queue.pool.kinds
    edges = axes["instant"].to_numpy()
    span = edges[-1] - edges[0]
    first = now - ARRIVAL_HISTORY if not len(past) else max(past.arrival[0], now - ARRIVAL_HISTORY)
    lags = [
        lag for lag in range(1, ARRIVAL_HISTORY // _DAY + 1) if span <= lag * _DAY <= now - first
    ]
    if not lags or np.isnat(origin):
        return expected_arrivals(past, kinds, now)
    days = int((now - origin) // _DAY)
    if days not in lags:
        drawn = np.random.default_rng([seed, int(origin.astype("datetime64[D]").astype(np.int64))])
        days = int(drawn.choice(lags))
    return ArrivalScenario.of(past, kinds, now, lag=days * _DAY, span=span)


def _told_apart(
    pairs: Sequence[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]],
    *,
    axes: xr.Dataset,
    count: int,
) -> list[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]]:
    """Return the courses that tell the work of the next days apart, with the probability of all.

    Nothing where the same work comes in all of them, as at the start of a record.
    """
    edges = axes["instant"].to_numpy()
    end = np.array([min((edges[-1] - edges[0]) / HOUR, SOON)])
    work = np.array([float(coming.most(end).sum()) for _, coming in pairs])
    if np.ptp(work) <= SAME * work.max():
        return []
    places, probability = by_work(work, np.array([one.probability for one, _ in pairs]), count)
    found = []
    for place, share in zip(places.tolist(), probability.tolist(), strict=True):
        one, coming = pairs[place]
        found.append((replace(one, probability=share), coming))
    return found


def _share(
    works: Sequence[ArrivalRates | ArrivalScenario],
    drawn: Sequence[ForecastScenario],
    expected: ArrivalRates,
    *,
    axes: xr.Dataset,
) -> float:
    """Return the factor that gives the work of all courses the mean of the two weeks. [1]

    A few days stand for all, and their work may be a fifth more or less.
    """
    edges = axes["instant"].to_numpy()
    end = np.array([(edges[-1] - edges[0]) / HOUR])
    came = [one.probability * work.most(end).sum() for one, work in zip(drawn, works, strict=True)]
    usual, mean = float(expected.most(end).sum()), float(sum(came))
    return usual / mean if mean > 0.0 else 1.0
