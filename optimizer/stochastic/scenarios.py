"""Scenarios of a problem: generation, reduction and checks.

A scenario has other prices, weather, renewables and arrivals of work than the forecast.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.checks import PREEMPTION_VARIABLES
from optimizer.problem.problem import Problem
from twin.errors import IssueCode, ProblemError, ValidationIssue
from twin.forecast.forecast_errors import (
    ForecastEnsemble,
    ForecastErrors,
    ForecastScenario,
    forecast_ensemble,
    select_scenarios,
)
from twin.forecast.outlook import AVAILABLE_POWER_VARIABLE, EXTRAPOLATION_RULES
from twin.physics import FloatArray
from twin.physics.numerics import IntArray
from twin.site_settings import DEFAULT_SCENARIO_COUNT
from twin.time_axes import DAY, HOUR, interval_axes
from twin.units import format_minute
from twin.workload.arrival_scenarios import ArrivalEnsemble, arrival_ensemble
from twin.workload.cohorts import Arrivals, flexibility_by_scenario
from twin.workload.jobs import Jobs
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

WORK_TOLERANCE_SHARE: Final = 1e-6
"""Relative difference of work that is ignored. [1]"""

BURST_PROBABILITY: Final = 0.15
"""Probability of the group of most work, which one scenario represents. [1]"""

WORK_WEIGHT: Final = 2.0
"""Weight of differences in work between scenarios; those in prices and weather have 1. [1]"""

MAX_WORK_CORRECTION: Final = 2.0
"""Largest factor by which the work of a representative is moved to the mean of its group. [1]"""

SCENARIO_VARIABLES: Final = (
    *("service_racks", "terminal_price", "work_least", "work_most"),
    *("work_racks_limit", *PREEMPTION_VARIABLES),
)
"""Outlook variables that each scenario has of its own, beside those of the forecast."""


@dataclass(frozen=True, kw_only=True)
class ScenarioSet:
    """The scenarios of a decision, from the least work to the most.

    - ``reduction_loss``: Wasserstein distance between all possible futures and the scenarios, as a
      share of the distance to the best single one. [1]
    - ``notices``: What a reader must know about their inputs, such as a short history.
    """

    scenarios: tuple[ScenarioProblem, ...]
    reduction_loss: float
    notices: tuple[str, ...]


def generate_scenarios(
    problem: Problem,
    record: xr.Dataset,
    *,
    queue: JobQueue,
    past: Jobs,
    errors: ForecastErrors,
    count: int = DEFAULT_SCENARIO_COUNT,
) -> ScenarioSet:
    """Return at most ``count`` scenarios of a problem.

    A possible future has the forecast errors of one past moment and the arrivals after it. Where
    one of them is not stored, it is that of another day. Some futures represent all; see
    :func:`reduce_scenarios`. ``past`` are the arrivals of the twelve weeks before; unpublished
    values of ``record`` are not used.
    """
    axes = _axes(problem)
    edges = axes["instant"].to_numpy()
    forecasts = forecast_ensemble(problem.site, record, queue.instant, axes=axes, errors=errors)
    arrivals = arrival_ensemble(past, queue.pool.kinds, queue.instant)
    from_forecast, from_arrivals, probability = _pair(forecasts, arrivals)
    kept = reduce_scenarios(
        forecasts.means[from_forecast],
        arrivals.work[from_arrivals],
        probability,
        count=count,
        source=np.array(from_forecast),
    )
    futures = [
        arrivals.member(from_arrivals[place], edges[-1] - edges[0]).scaled(factor)
        for place, factor in zip(kept.places.tolist(), kept.work_factor.tolist(), strict=True)
    ]
    found = []
    announced = queue.announced_work
    coming: Sequence[Arrivals] = (
        futures if announced is None else announced.in_scenarios(futures, kept.probability)
    )
    flexibility = flexibility_by_scenario(queue, axes, coming)
    for rank, (place, share, room) in enumerate(
        zip(kept.places.tolist(), kept.probability.tolist(), flexibility, strict=True)
    ):
        one = forecasts.scenario(from_forecast[place], share)
        ahead = one.outlook.merge(room)
        others = set(problem.outlook.data_vars) - set(ahead.data_vars)
        case = replace(problem, outlook=ahead.assign({n: problem.outlook[n] for n in others}))
        extreme = {0: "calm: ", len(kept.places) - 1: "burst: "} if kept.differs_in_work else {}
        name = extreme.get(rank, "") + _name(one, arrivals, from_arrivals[place])
        found.append(ScenarioProblem(problem=case, probability=share, name=name))
    notices = (*arrivals.notices, *map(str, announced.notices if announced else ()))
    return ScenarioSet(scenarios=tuple(found), reduction_loss=kept.loss, notices=notices)


def _pair(
    forecasts: ForecastEnsemble, arrivals: ArrivalEnsemble
) -> tuple[list[int], list[int], FloatArray]:
    """Return forecast errors and arrivals of all futures, those after one moment together.

    Each of both is used at least once; probabilities are those of arrivals. [1]
    """
    ago = np.round((arrivals.instant - forecasts.times) / DAY)  # forecasts are of full hours
    by_day = {int(day): place for place, day in enumerate(ago.tolist()) if np.isfinite(day)}
    days = arrivals.days.tolist() or [0] * len(arrivals)
    from_arrivals = list(range(len(arrivals)))
    from_forecast = [by_day.get(day, k % len(forecasts)) for k, day in enumerate(days)]
    unused = sorted(set(range(len(forecasts))) - set(from_forecast))
    from_forecast += unused
    from_arrivals += [k % len(arrivals) for k in range(len(unused))]
    uses = np.bincount(from_arrivals)
    return from_forecast, from_arrivals, (arrivals.probability / uses)[from_arrivals]


def _name(one: ForecastScenario, arrivals: ArrivalEnsemble, member: int) -> str:
    """Return the name of a scenario: what it repeats."""
    forecast = (
        "the forecast"
        if np.isnat(one.repeated_forecast_time)
        else f"as after {format_minute(one.repeated_forecast_time)}"
    )
    if len(arrivals) == 1:
        return forecast
    if not len(arrivals.days):
        return f"{forecast}, arrivals {arrivals.factor[member]:g} of the mean"
    day = arrivals.instant - arrivals.days[member] * DAY
    is_same = abs(day - one.repeated_forecast_time) <= HOUR
    return forecast if is_same else f"{forecast}, arrivals as after {format_minute(day)}"


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


@dataclass(frozen=True, kw_only=True)
class ScenarioReduction:
    """Scenarios that represent many, from the least work to the most.

    - ``places``: Positions of the representatives. [1]
    - ``probability``: Of their groups. [1]
    - ``work_factor``: Factor that gives each the mean work of its group. [1]
    - ``loss``: Distance of all to their representatives, as a share of that to the best single one.
      [1]
    - ``differs_in_work``: Whether the scenarios have different work.
    """

    places: IntArray
    probability: FloatArray
    work_factor: FloatArray
    loss: float
    differs_in_work: bool


def reduce_scenarios(
    points: FloatArray,
    work: FloatArray,
    probability: FloatArray,
    *,
    count: int,
    source: IntArray | None = None,
) -> ScenarioReduction:
    r"""Return at most ``count`` scenarios that represent many.

    - ``points``: Prices and weather, ``(scenario, value)``, in units of their spread. [1]
    - ``work``: Arriving work within some spans, the longest last, ``(scenario, span)``. [h]
    - ``probability``: Of each scenario. [1]
    - ``count``: Largest number of representatives, at least two. [1]
    - ``source``: Past forecast that a scenario repeats. No two representatives repeat the same one
      while others remain: the centre of prices would otherwise stand in each group. [1]

    Notes
    -----
    Scenarios are grouped by work: the mean over spans, each in units of its spread. The group of
    most work has :data:`BURST_PROBABILITY`, the others equal shares of the rest, so the
    representatives keep the quantiles of work. Fast forward selection
    (:func:`twin.forecast.forecast_errors.select_scenarios`) then selects one of each group, by
    prices, weather and work together, and a group gives its probability to its representative. The
    loss is the mean distance to the representatives, which bounds the Wasserstein distance. Where
    all have the same work, groups are those of fast forward selection alone.
    """
    mean = probability @ work
    spread = np.sqrt(probability @ (work - mean) ** 2)
    relative = (work - mean) / np.maximum(spread, WORK_TOLERANCE_SHARE * np.maximum(mean, 1e-9))
    differs = bool((spread > WORK_TOLERANCE_SHARE * mean).any())
    joint = np.hstack(
        [
            points / np.sqrt(points.shape[1]),
            WORK_WEIGHT * differs * relative / np.sqrt(work.shape[1]),
        ]
    )
    distance = np.linalg.norm(joint[:, None] - joint, axis=2)
    if differs:
        group = _groups_by_work(relative.mean(axis=1), probability, count)
        places = _select_from_groups(distance, probability, group, source)
    else:
        places, _ = select_scenarios(joint, probability, count)
        group = np.argmin(distance[:, places], axis=1)
        group[places] = np.arange(len(places))  # equal scenarios keep their own
    share = np.bincount(group, weights=probability)
    group_work = np.bincount(group, weights=probability * work[:, -1]) / share
    factor = group_work / np.maximum(work[places, -1], 1e-9) if differs else np.ones(len(places))
    single = float((probability @ distance).min())
    return ScenarioReduction(
        places=places,
        probability=share / share.sum(),
        work_factor=np.clip(factor, 1.0 / MAX_WORK_CORRECTION, MAX_WORK_CORRECTION),
        loss=float(probability @ distance[np.arange(len(group)), places[group]])
        / max(single, 1e-12),
        differs_in_work=differs,
    )


def _select_from_groups(
    distance: FloatArray, probability: FloatArray, group: IntArray, source: IntArray | None
) -> IntArray:
    """Return the position of one scenario of each group, by fast forward selection."""
    nearest = np.full(len(group), np.inf)
    places = np.full(group.max() + 1, -1)
    is_repeated = np.zeros(len(group), dtype=bool)
    while (places < 0).any():
        remaining = probability @ np.minimum(nearest[:, None], distance)
        is_open = places[group] < 0
        is_new = is_open & ~is_repeated
        best = int(np.argmin(np.where(is_new if is_new.any() else is_open, remaining, np.inf)))
        places[group[best]] = best
        nearest = np.minimum(nearest, distance[best])
        if source is not None:
            is_repeated |= source == source[best]
    return places


def _groups_by_work(severity: FloatArray, probability: FloatArray, count: int) -> IntArray:
    """Return the group of each scenario, of rising work; the last is the burst.

    ``severity`` is the work of each scenario, in any unit.
    """
    order = np.argsort(severity, kind="stable")
    ranked = np.arange(len(order))
    if len(order) > count:
        middle = np.cumsum(probability[order]) - 0.5 * probability[order]
        edges = np.linspace(0.0, 1.0 - BURST_PROBABILITY, count)[1:]
        ranked = np.searchsorted(edges, middle, side="right")
        ranked[0], ranked[-1] = 0, count - 1
        ranked = np.unique(ranked, return_inverse=True)[1]
    group = np.empty(len(order), dtype=np.int64)
    group[order] = ranked
    return group


MIN_SCENARIOS: Final = 2
"""Smallest number of scenarios. [1]"""


@dataclass(frozen=True, kw_only=True)
class ScenarioInputs:
    """Information from which scenarios are drawn; ``past_jobs`` are the arrivals of the twelve
    weeks before.

    The service process holds it, so it loads no solver. Unpublished values of ``record`` are not
    used.
    """

    record: xr.Dataset
    queue: JobQueue
    past_jobs: Jobs
