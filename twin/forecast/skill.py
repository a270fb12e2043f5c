"""How good scenarios are: scored against what came, moment by moment."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin.equipment import Renewable
from twin.forecast.outlook import AVAILABLE_POWER, EXTRAPOLATION_RULES, outlook
from twin.forecast.scenarios import SCENARIO_COUNT, ForecastErrors, forecast_scenarios
from twin.forecast.scores import crps, energy_score, is_covered
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import regular_axes

LOW: Final = 0.1
HIGH: Final = 0.9
"""Shares of the quantiles between which eight of ten values should lie. [1]"""


@dataclass(frozen=True, kw_only=True)
class Skill:
    """What scenarios of one word are worth, means over all moments.

    Attributes
    ----------
    error
        Mean absolute error of the forecast, in the word's unit.
    crps
        Continuous ranked probability score of the scenarios, in the same unit.
    energy
        Energy score of their whole course, for each root of a quarter-hour, in the same unit.
    coverage
        Share of quarter-hours between the quantiles of 10 and 90 %. [1]
    mean_coverage
        Share of horizons whose mean lies between the quantiles of the scenarios' means: too small
        where errors do not hang together in time. [1]
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
    count: int = SCENARIO_COUNT,
) -> dict[str, Skill]:
    """Return the scores of scenarios made at some moments.

    Parameters
    ----------
    site
        The site.
    record
        Its series, which go on beyond the moments by the hours at least.
    moments
        When they are made. [UTC]
    hours
        How far they look. [h]
    count
        How many there are. [1]

    Returns
    -------
    dict
        Word, or name of a renewable, -> scores; what is known at a moment does not count.
    """
    errors = ForecastErrors(site, record)
    rows: dict[str, list[tuple[float, ...]]] = {}
    for now in moments:
        axes = regular_axes(now, hours * 4)
        told = outlook(site, record, now, axes=axes)
        came = outlook(site, record, now, axes=axes, has_perfect_foresight=True)
        drawn = forecast_scenarios(site, record, now, axes=axes, errors=errors, count=count)
        probability = np.array([one.probability for one in drawn])
        for name in (
            *EXTRAPOLATION_RULES,
            *(machine.name for machine in site.machines_of(Renewable)),
        ):
            members = np.stack([_course(one.outlook, name) for one in drawn])
            expected, truth = _course(told, name), _course(came, name)
            is_open = ~np.isclose(members, expected, atol=0.0, rtol=0.0).all(axis=0)
            if is_open.any() and np.isfinite(truth).all():
                scored = _scored(members[:, is_open], probability, truth[is_open])
                off = float(np.abs(expected - truth)[is_open].mean())
                rows.setdefault(name, []).append((off, *scored))
    return {
        name: Skill(**dict(zip(Skill.__annotations__, np.mean(many, axis=0).tolist(), strict=True)))
        for name, many in rows.items()
    }


def _course(courses: xr.Dataset, name: str) -> FloatArray:
    array = courses[name] if name in courses else courses[AVAILABLE_POWER].sel(renewable=name)
    return array.to_numpy().astype(float)


def _scored(members: FloatArray, probability: FloatArray, truth: FloatArray) -> tuple[float, ...]:
    means, mean = members.mean(axis=1), np.asarray(truth.mean())
    return (
        float(crps(members, probability, truth).mean()),
        energy_score(members, probability, truth) / np.sqrt(len(truth)),
        float(is_covered(members, probability, truth, low=LOW, high=HIGH).mean()),
        float(is_covered(means, probability, mean, low=LOW, high=HIGH)),
    )
