"""Scores of scenarios against later measurements: lower is better.

After Gneiting and Raftery, *Strictly proper scoring rules, prediction, and estimation*, J. Am.
Stat. Assoc. 102 (2007), equations 20 and 22.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin.equipment import Renewable
from twin.forecast.forecast_errors import ForecastErrors, forecast_scenarios
from twin.forecast.outlook import AVAILABLE_POWER_VARIABLE, EXTRAPOLATION_RULES, outlook
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import regular_axes

LOW: Final = 0.1
HIGH: Final = 0.9
"""Shares of the quantiles between which eight of ten values should lie. [1]"""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """Means of the scores over all forecasts, in the unit of the variable where none is given.

    Attributes
    ----------
    error
        Mean absolute error of the forecast.
    crps
        Continuous ranked probability score of the scenarios.
    energy
        Energy score of the whole trajectories, for each root of a quarter-hour.
    coverage
        Share of quarter-hours between the quantiles of 10 and 90 %. [1]
    mean_coverage
        Share of horizons whose mean lies between the quantiles of the scenarios' means: too small
        where errors are not correlated in time. [1]
    """

    error: float
    crps: float
    energy: float
    coverage: float
    mean_coverage: float


def skill(
    site: Site,
    record: xr.Dataset,
    moments: Iterable[np.datetime64],
    *,
    hours: int = 48,
    count: int = 6,
) -> dict[str, Skill]:
    """Return the scores of scenarios forecast at some times; known values do not count.

    Parameters
    ----------
    record
        Series of the site, which must extend beyond the times by the horizon.
    moments
        Times of the forecasts. [UTC]
    hours
        Horizon. [h]
    count
        Number of scenarios. [1]

    Returns
    -------
    dict
        Variable, or name of a renewable -> scores.
    """
    errors = ForecastErrors(site, record)
    rows: dict[str, list[tuple[float, ...]]] = {}
    for now in moments:
        axes = regular_axes(now, hours * 4)
        expected_outlook = outlook(site, record, now, axes=axes)
        true_outlook = outlook(site, record, now, axes=axes, has_perfect_foresight=True)
        drawn = forecast_scenarios(site, record, now, axes=axes, errors=errors, count=count)
        probability = np.array([one.probability for one in drawn])
        for name in (
            *EXTRAPOLATION_RULES,
            *(machine.name for machine in site.machines_of(Renewable)),
        ):
            members = np.stack([_trajectory(one.outlook, name) for one in drawn])
            expected, truth = _trajectory(expected_outlook, name), _trajectory(true_outlook, name)
            is_open = ~np.isclose(members, expected, atol=0.0, rtol=0.0).all(axis=0)
            if is_open.any() and np.isfinite(truth).all():
                scored = _scored(members[:, is_open], probability, truth[is_open])
                off = float(np.abs(expected - truth)[is_open].mean())
                rows.setdefault(name, []).append((off, *scored))
    return {
        name: Skill(**dict(zip(Skill.__annotations__, np.mean(many, axis=0).tolist(), strict=True)))
        for name, many in rows.items()
    }


def _trajectory(dataset: xr.Dataset, name: str) -> FloatArray:
    array = (
        dataset[name] if name in dataset else dataset[AVAILABLE_POWER_VARIABLE].sel(renewable=name)
    )
    return array.to_numpy().astype(float)


def _scored(members: FloatArray, probability: FloatArray, truth: FloatArray) -> tuple[float, ...]:
    means, mean = members.mean(axis=1), np.asarray(truth.mean())
    return (
        float(crps(members, probability, truth).mean()),
        energy_score(members, probability, truth) / np.sqrt(len(truth)),
        float(is_covered(members, probability, truth, low=LOW, high=HIGH).mean()),
        float(is_covered(means, probability, mean, low=LOW, high=HIGH)),
    )


def crps(members: FloatArray, probability: FloatArray, truth: FloatArray) -> FloatArray:
    """Return the continuous ranked probability score, :math:`E|X - y| - E|X - X'| / 2`.

    ``members`` is on ``(scenario, ...)``, ``truth`` on ``(...)`` in the same unit. For one scenario
    the score is the absolute error.
    """
    off = np.tensordot(probability, np.abs(members - truth), axes=1)
    distance = np.abs(members[:, None] - members[None])
    spread = np.tensordot(np.outer(probability, probability), distance, axes=2)
    return np.asarray(off - 0.5 * spread)


def energy_score(members: FloatArray, probability: FloatArray, truth: FloatArray) -> float:
    r"""Return the energy score of whole trajectories, :math:`E\|X - y\| - E\|X - X'\| / 2`.

    ``members`` is on ``(scenario, value)``, ``truth`` on ``(value,)`` in the same unit.
    """
    off = probability @ np.linalg.norm(members - truth, axis=1)
    distance = np.linalg.norm(members[:, None] - members[None], axis=2)
    return float(off - 0.5 * probability @ distance @ probability)


def quantile(members: FloatArray, probability: FloatArray, share: float) -> FloatArray:
    """Return the smallest value of scenarios that is not exceeded with a probability."""
    order = np.argsort(members, axis=0, kind="stable")
    reached = np.cumsum(probability[order], axis=0) >= share - 1e-12
    first = np.argmax(reached, axis=0)[None]
    ranked = np.take_along_axis(members, order, axis=0)
    return np.asarray(np.take_along_axis(ranked, first, axis=0)[0])


def is_covered(
    members: FloatArray, probability: FloatArray, truth: FloatArray, *, low: float, high: float
) -> np.ndarray:
    """Return where the truth lies between two quantiles of scenarios, or on one of them."""
    lower, upper = (quantile(members, probability, share) for share in (low, high))
    return np.asarray((lower <= truth) & (truth <= upper))
