"""Scenarios: what may come over a horizon, as the forecast of now with the errors of past ones.

Each scenario repeats one past moment whole: the error of price, wind, sun and temperature that the
forecast of that hour turned out to have, quarter-hour by quarter-hour. So they hang together in
time and with one another as they did. All past days count alike: to count young ones or days of the
same kind more was tried on spring and autumn of 2023 and scored no better. A few stand for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin.equipment import Renewable
from twin.forecast.baselines import DAY
from twin.forecast.errors import Block, Errors
from twin.forecast.outlook import labelled
from twin.forecast.quarters import BOUNDS, Quarters, quarters
from twin.forecast.reduce import reduced
from twin.physics import FloatArray
from twin.site import Site

COUNT: Final = 6
"""Scenarios that stand for all. [1]"""

TINY: Final = 1e-9
"""Spread that is none, as that of sun and wind where there are none. [1]"""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One course of the world.

    Attributes
    ----------
    outlook
        As :func:`twin.forecast.outlook.outlook` gives it, on the same axes.
    probability
        How probable it is. [1]
    origin
        Moment whose forecast errors it repeats; NaT if it is the forecast itself.
    """

    outlook: xr.Dataset
    probability: float
    origin: np.datetime64


def scenarios(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    errors: Errors | None = None,
    count: int = COUNT,
) -> tuple[Scenario, ...]:
    """Return what may come over a horizon.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at.
    now
        The moment, UTC.
    axes
        The horizon, from ``now`` or later.
    errors
        The errors of past forecasts, where they are kept from moment to moment.
    count
        How many, at most. [1]

    Returns
    -------
    tuple of Scenario
        Their probabilities add up to 1. Where no past forecast can be looked back at, the forecast
        alone.

    Raises
    ------
    SeriesError
        If the record does not reach the horizon, or holds nothing to forecast from.
    """
    found = quarters(site, record, now, axes=axes)
    kept = Errors(site, record) if errors is None else errors  # an empty one is to be filled
    blocks = kept.before(now, axes)
    if not blocks:
        whole = labelled(site, axes, found, rows=found.rows)
        return (Scenario(outlook=whole, probability=1.0, origin=np.datetime64("NaT", "us")),)
    courses = [erring(site, found, block) for block in blocks]
    places, probability = reduced(
        _points(site, courses, ahead=found.span.stop - found.span.start - DAY),
        np.full(len(blocks), 1.0 / len(blocks)),
        count,
    )
    return tuple(
        Scenario(
            outlook=labelled(site, axes, found, rows=courses[i]),
            probability=float(p),
            origin=blocks[i].origin,
        )
        for i, p in zip(places, probability, strict=True)
    )


def erring(site: Site, found: Quarters, block: Block) -> dict[str, FloatArray]:
    """Return a forecast with the errors of a past one; what is known stays as it is.

    Parameters
    ----------
    site
        The site, for the powers of its renewables.
    found
        The forecast.
    block
        The errors.
    """
    powers = {machine.name: (0.0, machine.power) for machine in site.of(Renewable)}
    bounds = {**BOUNDS, **powers}
    rows = {}
    for name, expected in found.rows.items():
        is_open = np.arange(len(expected)) >= found.ends[name] - found.span.start
        moved = expected + is_open * block.errors[name]
        rows[name] = np.clip(moved, *bounds.get(name, (-np.inf, np.inf)))
    return rows


def _points(site: Site, courses: Sequence[dict[str, FloatArray]], *, ahead: int) -> FloatArray:
    """Return price, sun with wind, and temperature of courses, each in units of its own spread.

    They are means of days: of whole courses nearly all are equally far apart, and the few that are
    kept would then be those in the middle.
    """
    names = [machine.name for machine in site.of(Renewable)]
    power = [sum((course[name] for name in names), np.zeros(ahead + DAY)) for course in courses]
    price = [course["electricity_price"] for course in courses]
    warmth = [course["air_temperature"] for course in courses]
    parts = []
    for many in (price, power, warmth):
        starts = np.arange(0, ahead, DAY)
        part = np.add.reduceat(np.stack(many)[:, :ahead], starts, axis=1)
        parts.append(part / max(float(part.std(axis=0).mean()), TINY))
    return np.concatenate(parts, axis=1)
