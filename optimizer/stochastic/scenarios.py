"""The courses that a question may take: other prices, weather, sun, wind and arrivals of work.

One course of the world among others, and what they must share to be decided for at once.

Few courses for several, told apart by the work that comes in them.

What is known beside a question, from which the courses are drawn that it may take.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.problem.problem import Problem
from optimizer.problem.validation import PREEMPTION_VARIABLES
from twin.errors import ProblemError, ValidationIssue
from twin.forecast.outlook import AVAILABLE_POWER, EXTRAPOLATION_RULES
from twin.forecast.scenarios import ForecastErrors, ForecastScenario, forecast_scenarios
from twin.physics import FloatArray
from twin.time_axes import HOUR, interval_axes
from twin.units import format_minute
from twin.workload.arrivals import ArrivalRates, ArrivalScenario, expected_arrivals
from twin.workload.flexibility import flexibility_by_scenario
from twin.workload.jobs import ARRIVAL_HISTORY, Jobs
from twin.workload.queue import JobQueue

PROBABILITY_TOLERANCE: Final = 1e-9
"""How far probabilities may be from a sum of 1. [1]"""


@dataclass(frozen=True, kw_only=True)
class ScenarioProblem:
    """One course of the world.

    Attributes
    ----------
    problem
        What would be asked if it were known to come.
    probability
        How probable it is. [1]
    name
        What it is called among people.
    """

    problem: Problem
    probability: float
    name: str


def check_scenarios(scenarios: Sequence[ScenarioProblem]) -> None:
    """Refuse cases that one decision cannot be made for.

    Parameters
    ----------
    scenarios
        Courses of one site from one state, over the same intervals.

    Raises
    ------
    ProblemError
        If there are too few, their probabilities are none, or they do not belong together.
    """
    faults = list(_find_probability_issues(scenarios))
    for case in scenarios[1:]:
        faults += _find_mismatches(case, scenarios[0])
    if faults:
        source = "scenarios"
        raise ProblemError(source, faults)


def _find_probability_issues(scenarios: Sequence[ScenarioProblem]) -> Iterator[ValidationIssue]:
    """Yield what is no probability, and what they add up to."""
    total = sum(case.probability for case in scenarios)
    wrong = [
        case for case in scenarios if not 0.0 <= case.probability <= 1.0 + PROBABILITY_TOLERANCE
    ]
    if len(scenarios) < MIN_SCENARIOS:
        remedy = "two at least; what is known to come is decided without"
        yield ValidationIssue(location="scenarios", found=str(len(scenarios)), remedy=remedy)
    elif not wrong and abs(total - 1.0) > PROBABILITY_TOLERANCE:
        yield ValidationIssue(
            location="scenarios, probability", found=f"{total:g}", remedy="must add up to 1"
        )
    for case in wrong:
        place = f"scenarios, {case.name}, probability"
        yield ValidationIssue(
            location=place, found=f"{case.probability:g}", remedy="must be from 0 to 1"
        )


def _find_mismatches(case: ScenarioProblem, first: ScenarioProblem) -> Iterator[ValidationIssue]:
    """Yield what keeps a case from being a course of the same site from the same state."""
    own, other = case.problem, first.problem
    weights = ", ".join(f"{name} {weight:g}" for name, weight in own.weights.items())
    same = {
        "site": (own.site is other.site or own.site == other.site, own.site.name),
        "weights": (own.weights == other.weights, weights),
        "state": (own.state.equals(other.state), ""),
        "past_units": (_past_units(own) == _past_units(other), ""),
        "intervals": (own.outlook["instant"].equals(other.outlook["instant"]), ""),
    }
    for what, (is_same, value) in same.items():
        if not is_same:
            place = f"scenarios, {case.name}, {what}"
            remedy = f"must be the {what} of {first.name}: one decision is for all of them"
            yield ValidationIssue(location=place, found=value, remedy=remedy)


def _past_units(problem: Problem) -> dict[str, list[float]]:
    return {owner: np.asarray(ran).tolist() for owner, ran in problem.past_units.items()}


FINE_PERIOD_H: Final = 2.0
"""How far ahead courses keep the intervals of the question. [h]"""

HOURLY_PERIOD_H: Final = 48.0
"""How far ahead they keep hours; from there on every :data:`FEW` hours are one interval. [h]"""

LATE_INTERVAL_H: Final = 4

DEFAULT_SCENARIO_COUNT: Final = 3
"""Courses that a decision is weighed over. [1]"""

DRAWS_PER_SCENARIO: Final = 2
"""For each of them so many are drawn that tell prices and weather apart. [1]"""

WORK_COMPARISON_H: Final = 72.0
"""Time over which the work of courses is told apart. [h]"""

WORK_TOLERANCE_SHARE: Final = 1e-6
"""Share of the work by which it differs where it is the same. [1]"""

SCENARIO_VARIABLES: Final = (
    *("service_racks", "terminal_price", "work_least", "work_most"),
    *("work_racks_limit", *PREEMPTION_VARIABLES),
)
"""Words of a question that are made anew for each course, beside the forecast's."""

_DAY: Final = np.timedelta64(1, "D")


def generate_scenarios(
    problem: Problem,
    record: xr.Dataset,
    *,
    queue: JobQueue,
    past: Jobs,
    errors: ForecastErrors,
    count: int = DEFAULT_SCENARIO_COUNT,
    seed: int = 0,
) -> list[ScenarioProblem]:
    """Return the courses that a question may take.

    Parameters
    ----------
    problem
        The question, as :func:`optimizer.problem.problem.build_problem` asks it.
    record
        The series of its site; what is unpublished is never looked at.
    queue
        The jobs that have arrived.
    past
        Arrivals of the two weeks before.
    errors
        Errors of past forecasts, kept from question to question.
    count
        How many courses, at most: of :data:`DRAWS_PER_SCENARIO` times as many, told apart by prices
        and weather, those that tell the work apart. [1]
    seed
        Of the days whose arrivals come again where the weather's own lies too far back.

    Returns
    -------
    list of ScenarioProblem
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

    pairs = _select_by_work(draw(DRAWS_PER_SCENARIO * count), axes=axes, count=count) or draw(count)
    drawn, works = [one for one, _ in pairs], [work for _, work in pairs]
    share = _work_scaling(works, drawn, expected_arrivals(past, queue.pool.kinds, now), axes=axes)
    found = []
    rooms = flexibility_by_scenario(queue, axes, [work.scaled(share) for work in works])
    for one, room in zip(drawn, rooms, strict=True):
        ahead = one.outlook.merge(room)
        others = set(problem.outlook.data_vars) - set(ahead.data_vars)
        asked = replace(problem, outlook=ahead.assign({n: problem.outlook[n] for n in others}))
        name = "the forecast" if np.isnat(one.origin) else f"as after {format_minute(one.origin)}"
        found.append(ScenarioProblem(problem=asked, probability=one.probability, name=name))
    return found


def _axes(problem: Problem) -> xr.Dataset:
    """Return the intervals of the courses: those of the question near, then hours, then longer.

    What is decided later needs no quarter-hours, and each course is solved in a third of the time.
    Where the question holds words that stand on its own intervals, as a position sold, they stay.
    """
    edges = problem.outlook["instant"].to_numpy()
    own = set(problem.outlook.data_vars) - {
        *EXTRAPOLATION_RULES,
        AVAILABLE_POWER,
        *SCENARIO_VARIABLES,
    }
    if own:
        return interval_axes(edges)
    ahead = (edges - edges[0]) / HOUR
    is_hour = edges == edges.astype("datetime64[h]")
    is_whole = edges.astype("datetime64[h]").astype(np.int64) % LATE_INTERVAL_H == 0
    is_far = is_hour & is_whole & (ahead > HOURLY_PERIOD_H)
    return interval_axes(
        edges[(ahead <= FINE_PERIOD_H) | (is_hour & (ahead <= HOURLY_PERIOD_H)) | is_far]
    )


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
    return ArrivalScenario.from_past(past, kinds, now, lag=days * _DAY, span=span)


def _select_by_work(
    pairs: Sequence[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]],
    *,
    axes: xr.Dataset,
    count: int,
) -> list[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]]:
    """Return the courses that tell the work of the next days apart, with the probability of all.

    Nothing where the same work comes in all of them, as at the start of a record.
    """
    edges = axes["instant"].to_numpy()
    end = np.array([min((edges[-1] - edges[0]) / HOUR, WORK_COMPARISON_H)])
    work = np.array([float(coming.max_work(end).sum()) for _, coming in pairs])
    if np.ptp(work) <= WORK_TOLERANCE_SHARE * work.max():
        return []
    places, probability = reduce_scenarios(
        work, np.array([one.probability for one, _ in pairs]), count
    )
    found = []
    for place, share in zip(places.tolist(), probability.tolist(), strict=True):
        one, coming = pairs[place]
        found.append((replace(one, probability=share), coming))
    return found


def _work_scaling(
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
    came = [
        one.probability * work.max_work(end).sum() for one, work in zip(drawn, works, strict=True)
    ]
    usual, mean = float(expected.max_work(end).sum()), float(sum(came))
    return usual / mean if mean > 0.0 else 1.0


def reduce_scenarios(
    work: FloatArray, probability: FloatArray, count: int
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return which courses stand for all, and how probable they are then.

    Parameters
    ----------
    work
        What comes in each course. [any unit]
    probability
        Of each; their sum is 1. [1]
    count
        How many are kept, at most; two or more. [1]

    Returns
    -------
    tuple
        Positions of those kept, from the least work to the most, and their probabilities. [1]

    Notes
    -----
    The one with most work stands for itself: a burst is what has to be ready for. The others are
    parted by rank into groups of like number, and of each group the one nearest to its mean stands
    for all.
    """
    order = np.argsort(work, kind="stable")
    if len(order) <= count:
        return order, probability[order]
    groups = [*np.array_split(order[:-1], count - 1), order[-1:]]
    shares = np.array([probability[group].sum() for group in groups])
    means = [float(np.average(work[group], weights=probability[group])) for group in groups]
    kept = [
        group[np.argmin(np.abs(work[group] - mean))]
        for group, mean in zip(groups, means, strict=True)
    ]
    return np.array(kept, dtype=np.int64), shares


MIN_SCENARIOS: Final = 2
"""Fewest courses that there is anything to weigh between. [1]"""


@dataclass(frozen=True, kw_only=True)
class ScenarioInputs:
    """What is known at a moment; it goes to the solver's process, so nothing in it loads a solver.

    Attributes
    ----------
    record
        Series of the site; what is unpublished is never looked at.
    queue
        The jobs that have arrived.
    past
        Arrivals of the two weeks before.
    """

    record: xr.Dataset
    queue: JobQueue
    past: Jobs
