"""Scenarios: what may come over a horizon, as the forecast of now with the errors of past ones.

Each scenario repeats one past moment whole: the error of price, wind, sun and temperature that the
forecast of that hour turned out to have, quarter-hour by quarter-hour. So they hang together in
time and with one another as they did. All past days count alike: to count young ones or days of the
same kind more was tried on spring and autumn of 2023 and scored no better. A few stand for all.

How wrong past forecasts were: whole blocks of errors, all words of one moment together.

A block keeps what belongs together together: the errors of one day after the other, and those of
price, wind, sun and temperature at the same time.

Few scenarios for many: those that lie closest to all others, with the others' probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin.equipment import Renewable
from twin.errors import SeriesError
from twin.forecast.history import known_quarters, measured_until
from twin.forecast.outlook import (
    AVAILABLE_POWER,
    EXTRAPOLATION_RULES,
    FORECAST_BOUNDS,
    QUARTERS_PER_DAY,
    ForecastSpan,
    QuarterHourForecast,
    outlook_dataset,
    quarter_hour_forecast,
)
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import HOUR, QUARTER_HOUR, interval_axes

SCENARIO_COUNT: Final = 6
"""Scenarios that stand for all. [1]"""

MIN_SPREAD: Final = 1e-9
"""Spread that is none, as that of sun and wind where there are none. [1]"""


@dataclass(frozen=True, kw_only=True)
class ForecastScenario:
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


ERROR_HISTORY_DAYS: Final = 60
"""Latest days whose forecasts are looked back at. [1]"""


@dataclass(frozen=True, kw_only=True)
class ErrorBlock:
    """The errors of one past forecast over a horizon and the day after it.

    Attributes
    ----------
    origin
        When the forecast was made, or would have been. [UTC]
    start, stop
        Ends of the horizon. [UTC]
    errors
        Word, or name of a renewable, -> what came less what was expected, by quarter-hour, in the
        word's unit. Nothing where a series has a hole.
    """

    origin: np.datetime64
    start: np.datetime64
    stop: np.datetime64
    errors: Mapping[str, FloatArray]

    def select(self, start: np.datetime64, stop: np.datetime64) -> Self:
        """Return the same over a part of the horizon and the day after that."""
        first, last = (
            int((start - self.start) // QUARTER_HOUR),
            -int((self.start - stop) // QUARTER_HOUR),
        )
        rows = slice(first, last + QUARTERS_PER_DAY)
        part = {name: values[rows] for name, values in self.errors.items()}
        return replace(self, start=start, stop=stop, errors=part)


class ForecastErrors:
    """The errors of past forecasts, each worked out once.

    Forecasts of full hours serve all moments until the next: those of each quarter-hour would be
    four times as many to keep, and a few minutes better.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at.

    Attributes
    ----------
    record
        The series; newer ones may take their place.
    """

    def __init__(self, site: Site, record: xr.Dataset) -> None:
        self._site, self.history = site, record
        self._kept: dict[np.datetime64, ErrorBlock] = {}

    def __len__(self) -> int:
        """Return how many past forecasts are kept."""
        return len(self._kept)

    def blocks_before(
        self, now: np.datetime64, axes: xr.Dataset, *, days: int = ERROR_HISTORY_DAYS
    ) -> list[ErrorBlock]:
        """Return the errors of the same hour of past days, the youngest first.

        Parameters
        ----------
        now
            The moment, UTC.
        axes
            The horizon.
        days
            Most days before the moment that are looked at.

        Returns
        -------
        list of ErrorBlock
            Those whose whole course has been measured by now; fewer where the record is short.
        """
        until = min(
            known_quarters(self.history[n], measured_until(now))
            for n in (*EXTRAPOLATION_RULES, AVAILABLE_POWER)
        )
        oldest = _full_hour(now - days * _DAY)
        self._kept = {origin: block for origin, block in self._kept.items() if origin >= oldest}
        edges, found = axes["instant"].to_numpy(), []
        for back in np.arange(1, days + 1) * _DAY:
            start, stop, origin = edges[0] - back, edges[-1] - back, _full_hour(now - back)
            block = self._kept.get(origin)
            if block is None or block.start > start or block.stop < stop:
                then = interval_axes(np.array([_full_hour(start), _full_hour(stop + _ALMOST)]))
                if self._ends(then) > until:
                    continue  # it goes on beyond what is known: perhaps tomorrow
                block = self._kept[origin] = self._block(origin, then)
            if block.errors:
                found.append(block.select(start, stop))
        return found

    def _ends(self, axes: xr.Dataset) -> int:
        """Return the row of the record after the last that a forecast needs; 0 before its first."""
        try:
            return ForecastSpan.from_axes(self.history, axes).stop
        except SeriesError:
            return 0

    def _block(self, origin: np.datetime64, axes: xr.Dataset) -> ErrorBlock:
        """Return what came less what was expected; nothing where a series has a hole.

        Nor where the record held nothing to go by then.
        """
        start, stop = axes["instant"].to_numpy()
        errors = {}
        try:
            seen = quarter_hour_forecast(self._site, self.history, origin, axes=axes)
        except SeriesError:
            return ErrorBlock(origin=origin, start=start, stop=stop, errors={})
        for name, expected in seen.values.items():
            array = (
                self.history[name] if name in EXTRAPOLATION_RULES else self.history[AVAILABLE_POWER]
            )
            series = array if name in EXTRAPOLATION_RULES else array.sel(renewable=name)
            errors[name] = series.to_numpy()[seen.span.start : seen.span.stop] - expected
        is_whole = all(np.isfinite(values).all() for values in errors.values())
        return ErrorBlock(origin=origin, start=start, stop=stop, errors=errors if is_whole else {})


def forecast_scenarios(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    errors: ForecastErrors | None = None,
    count: int = SCENARIO_COUNT,
) -> tuple[ForecastScenario, ...]:
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
    tuple of ForecastScenario
        Their probabilities add up to 1. Where no past forecast can be looked back at, the forecast
        alone.

    Raises
    ------
    SeriesError
        If the record does not reach the horizon, or holds nothing to forecast from.
    """
    found = quarter_hour_forecast(site, record, now, axes=axes)
    kept = (
        ForecastErrors(site, record) if errors is None else errors
    )  # an empty one is to be filled
    blocks = kept.blocks_before(now, axes)
    if not blocks:
        whole = outlook_dataset(site, axes, found, rows=found.values)
        return (
            ForecastScenario(outlook=whole, probability=1.0, origin=np.datetime64("NaT", "us")),
        )
    courses = [with_forecast_errors(site, found, block) for block in blocks]
    places, probability = select_scenarios(
        _points(site, courses, ahead=found.span.stop - found.span.start - QUARTERS_PER_DAY),
        np.full(len(blocks), 1.0 / len(blocks)),
        count,
    )
    return tuple(
        ForecastScenario(
            outlook=outlook_dataset(site, axes, found, rows=courses[i]),
            probability=float(p),
            origin=blocks[i].origin,
        )
        for i, p in zip(places, probability, strict=True)
    )


def with_forecast_errors(
    site: Site, found: QuarterHourForecast, block: ErrorBlock
) -> dict[str, FloatArray]:
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
    powers = {machine.name: (0.0, machine.power) for machine in site.machines_of(Renewable)}
    bounds = {**FORECAST_BOUNDS, **powers}
    rows = {}
    for name, expected in found.values.items():
        is_open = np.arange(len(expected)) >= found.known_ends[name] - found.span.start
        moved = expected + is_open * block.errors[name]
        rows[name] = np.clip(moved, *bounds.get(name, (-np.inf, np.inf)))
    return rows


def _points(site: Site, courses: Sequence[dict[str, FloatArray]], *, ahead: int) -> FloatArray:
    """Return price, sun with wind, and temperature of courses, each in units of its own spread.

    They are means of days: of whole courses nearly all are equally far apart, and the few that are
    kept would then be those in the middle.
    """
    names = [machine.name for machine in site.machines_of(Renewable)]
    power = [
        sum((course[name] for name in names), np.zeros(ahead + QUARTERS_PER_DAY))
        for course in courses
    ]
    price = [course["electricity_price"] for course in courses]
    warmth = [course["air_temperature"] for course in courses]
    parts = []
    for many in (price, power, warmth):
        starts = np.arange(0, ahead, QUARTERS_PER_DAY)
        part = np.add.reduceat(np.stack(many)[:, :ahead], starts, axis=1)
        parts.append(part / max(float(part.std(axis=0).mean()), MIN_SPREAD))
    return np.concatenate(parts, axis=1)


_DAY: Final = np.timedelta64(1, "D")
_ALMOST: Final = HOUR - np.timedelta64(1, "us")


def _full_hour(moment: np.datetime64) -> np.datetime64:
    return np.datetime64(np.datetime64(moment, "h"), "us")


def select_scenarios(
    points: FloatArray, probability: FloatArray, count: int
) -> tuple[NDArray[np.int64], FloatArray]:
    r"""Return which scenarios stand for all, and how probable they are then.

    Parameters
    ----------
    points
        Scenarios, ``(scenario, value)``; their distance is the Euclidean one. [1]
    probability
        Of each scenario; their sum is 1. [1]
    count
        How many are kept, at most. [1]

    Returns
    -------
    tuple
        Positions of those kept, rising, and their probabilities. [1]

    Notes
    -----
    Fast forward selection (Heitsch and Römisch, *Scenario reduction algorithms in stochastic
    programming*, Comput. Optim. Appl. 24, 2003): one after the other that scenario is taken which
    leaves the least :math:`\sum_i p_i \min_j |x_i - x_j|`, the distance between the two measures;
    then everyone left gives its probability to the nearest one kept.
    """
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = np.full(len(points), np.inf)
    kept: list[int] = []
    for _ in range(min(count, len(points))):
        left = probability @ np.minimum(nearest[:, None], apart)
        left[kept] = np.inf
        best = int(np.argmin(left))
        kept.append(best)
        nearest = np.minimum(nearest, apart[best])
    places = np.sort(np.array(kept, dtype=np.int64))
    heir = np.argmin(apart[:, places], axis=1)
    heir[places] = np.arange(len(places))  # twins keep their own
    return places, np.bincount(heir, weights=probability, minlength=len(places)).astype(float)
