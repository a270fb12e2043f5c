"""Scenarios of a problem: generation, reduction and checks.

A scenario has other prices, weather, renewables and arrivals of work than the forecast.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from optimizer.problem.checks import PREEMPTION_VARIABLES
from optimizer.problem.problem import Problem
from twin.errors import IssueCode, ProblemError, ValidationIssue
from twin.forecast.forecast_errors import ForecastErrors, ForecastScenario, forecast_scenarios
from twin.forecast.outlook import AVAILABLE_POWER_VARIABLE, EXTRAPOLATION_RULES
from twin.physics import FloatArray
from twin.time_axes import DAY, HOUR, interval_axes
from twin.units import format_minute
from twin.workload.arrival_forecast import ArrivalRates, ArrivalScenario, expected_arrivals
from twin.workload.cohorts import Arrivals, flexibility_by_scenario
from twin.workload.jobs import ARRIVAL_HISTORY, Jobs
from twin.workload.queue import JobQueue

PROBABILITY_TOLERANCE: Final = 1e-9
"""Allowed difference of the sum of probabilities from 1. [1]"""


@dataclass(frozen=True, kw_only=True)
class ScenarioProblem:
    """One scenario: the problem if it were known, its probability and its name."""

    problem: Problem
    probability: float
    name: str


def check_scenarios(scenarios: Sequence[ScenarioProblem]) -> None:
    """Check that scenarios share site, state and intervals, and that probabilities are valid.

    Raises ProblemError if they do not, or there are too few.
    """
    issues = list(_find_probability_issues(scenarios))
    for case in scenarios[1:]:
        issues += _find_mismatches(case, scenarios[0])
    ProblemError.raise_if_any("scenarios", issues)


def _find_probability_issues(scenarios: Sequence[ScenarioProblem]) -> Iterator[ValidationIssue]:
    """Yield invalid probabilities."""
    total = sum(case.probability for case in scenarios)
    wrong = [
        case for case in scenarios if not 0.0 <= case.probability <= 1.0 + PROBABILITY_TOLERANCE
    ]
    if len(scenarios) < MIN_SCENARIOS:
        yield IssueCode.MISSING.issue(
            "scenarios",
            found=str(len(scenarios)),
            expected="at least two",
            remedy="add scenarios, or decide without any",
        )
    elif not wrong and abs(total - 1.0) > PROBABILITY_TOLERANCE:
        yield IssueCode.INCONSISTENT.issue(
            "scenarios, probability",
            found=f"{total:g}",
            expected="a sum of 1",
            remedy="scale the probabilities",
        )
    for case in wrong:
        yield IssueCode.OUT_OF_RANGE.issue(
            f"scenarios, {case.name}, probability",
            found=f"{case.probability:g}",
            expected="a number from 0 to 1",
            remedy="change the probability",
        )


def _find_mismatches(case: ScenarioProblem, first: ScenarioProblem) -> Iterator[ValidationIssue]:
    """Yield differences of a scenario in site, weights, state, past units or intervals."""
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
            yield IssueCode.INCONSISTENT.issue(
                f"scenarios, {case.name}, {what}",
                found=value,
                expected=f"the {what} of {first.name}, as one decision is for all scenarios",
                remedy="use the same problem",
            )


def _past_units(problem: Problem) -> dict[str, list[float]]:
    return {owner: np.asarray(ran).tolist() for owner, ran in problem.past_units.items()}


FINE_PERIOD_H: Final = 2.0
"""Period in which scenarios have the intervals of the problem. [h]"""

HOURLY_PERIOD_H: Final = 48.0
"""Period in which they have at least hours; later intervals have :data:`LATE_INTERVAL_H`. [h]"""

LATE_INTERVAL_H: Final = 4  # interval after the hourly period

DEFAULT_SCENARIO_COUNT: Final = 3
"""Number of scenarios of a decision. [1]"""

DRAWN_SCENARIOS_PER_USED_ONE: Final = 2
"""Number of scenarios drawn by prices and weather, per scenario used. [1]"""

WORK_COMPARISON_H: Final = 72.0
"""Period in which the work of scenarios is compared. [h]"""

WORK_TOLERANCE_SHARE: Final = 1e-6
"""Relative difference of work that is ignored. [1]"""

SCENARIO_VARIABLES: Final = (
    *("service_racks", "terminal_price", "work_least", "work_most"),
    *("work_racks_limit", *PREEMPTION_VARIABLES),
)
"""Outlook variables that each scenario has of its own, beside those of the forecast."""


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
    """Return at most ``count`` scenarios of a problem.

    Each scenario has the forecast errors of one past moment, and the arrivals of the days after it;
    if those are no longer stored, of other days, drawn with ``seed``. Scenarios are selected by
    work from :data:`DRAWN_SCENARIOS_PER_USED_ONE` times as many that differ in prices and weather.
    ``past`` are the arrivals of the two weeks before; unpublished values of ``record`` are not
    used.
    """
    site, axes = problem.site, _axes(problem)
    now = queue.instant

    def draw(number: int) -> list[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]]:
        drawn = forecast_scenarios(site, record, now, axes=axes, errors=errors, count=number)
        return [
            (one, _arrivals(past, queue, axes=axes, origin=one.repeated_forecast_time, seed=seed))
            for one in drawn
        ]

    pairs = _select_by_work(
        draw(DRAWN_SCENARIOS_PER_USED_ONE * count), axes=axes, count=count
    ) or draw(count)
    drawn, works = [one for one, _ in pairs], [work for _, work in pairs]
    share = _work_scaling(works, drawn, expected_arrivals(past, queue.pool.kinds, now), axes=axes)
    found = []
    scaled, announced = [work.scaled(share) for work in works], queue.announced_work
    probability = np.array([one.probability for one in drawn])
    coming: Sequence[Arrivals] = (
        scaled if announced is None else announced.in_scenarios(scaled, probability)
    )
    flexibility = flexibility_by_scenario(queue, axes, coming)
    for one, room in zip(drawn, flexibility, strict=True):
        ahead = one.outlook.merge(room)
        others = set(problem.outlook.data_vars) - set(ahead.data_vars)
        case = replace(problem, outlook=ahead.assign({n: problem.outlook[n] for n in others}))
        name = (
            "the forecast"
            if np.isnat(one.repeated_forecast_time)
            else f"as after {format_minute(one.repeated_forecast_time)}"
        )
        found.append(ScenarioProblem(problem=case, probability=one.probability, name=name))
    return found


def _axes(problem: Problem) -> xr.Dataset:
    """Return the intervals of scenarios: those of the problem at first, then hours, then longer
    ones.

    Later decisions need no quarter-hours, and each scenario solves in a third of the time. Outlooks
    with further variables, such as a sold position, keep their intervals.
    """
    edges = problem.outlook["instant"].to_numpy()
    own = set(problem.outlook.data_vars) - {
        *EXTRAPOLATION_RULES,
        AVAILABLE_POWER_VARIABLE,
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
    """Return the arrivals of one scenario; the expected ones if no past ones are available."""
    now, kinds = queue.instant, queue.pool.kinds
    edges = axes["instant"].to_numpy()
    span = edges[-1] - edges[0]
    first = now - ARRIVAL_HISTORY if not len(past) else max(past.arrival[0], now - ARRIVAL_HISTORY)
    lags = [lag for lag in range(1, ARRIVAL_HISTORY // DAY + 1) if span <= lag * DAY <= now - first]
    if not lags or np.isnat(origin):
        return expected_arrivals(past, kinds, now)
    days = int((now - origin) // DAY)
    if days not in lags:
        drawn = np.random.default_rng([seed, int(origin.astype("datetime64[D]").astype(np.int64))])
        days = int(drawn.choice(lags))
    return ArrivalScenario.from_past(past, kinds, now, lag=days * DAY, span=span)


def _select_by_work(
    pairs: Sequence[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]],
    *,
    axes: xr.Dataset,
    count: int,
) -> list[tuple[ForecastScenario, ArrivalRates | ArrivalScenario]]:
    """Return scenarios that differ in the work of the next days, with their probabilities.

    Return nothing if all have the same work, as at the start of a record.
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
    """Return the factor that gives the work of all scenarios the mean of the two weeks. [1]

    A few days represent all, and their work may differ by a fifth.
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
    """Return representative scenarios, from the least work to the most, and their probabilities.
    [1]

    The scenario with the most work represents itself, because a plan must survive bursts. The
    others are grouped by rank, and the one nearest to its group's mean represents it. There are at
    most ``count`` representatives, at least two. [1]
    """
    order = np.argsort(work, kind="stable")
    if len(order) <= count:
        return order, probability[order]
    groups = [*np.array_split(order[:-1], count - 1), order[-1:]]
    shares = np.array([probability[group].sum() for group in groups])
    means = [float(np.average(work[group], weights=probability[group])) for group in groups]
    representatives = [
        group[np.argmin(np.abs(work[group] - mean))]
        for group, mean in zip(groups, means, strict=True)
    ]
    return np.array(representatives, dtype=np.int64), shares


MIN_SCENARIOS: Final = 2
"""Smallest number of scenarios. [1]"""


@dataclass(frozen=True, kw_only=True)
class ScenarioInputs:
    """Information from which scenarios are drawn; ``past_jobs`` are the arrivals of the two weeks
    before.

    The service process holds it, so it loads no solver. Unpublished values of ``record`` are not
    used.
    """

    record: xr.Dataset
    queue: JobQueue
    past_jobs: Jobs
