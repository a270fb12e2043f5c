"""Scenarios: the present forecast with the errors of past forecasts.

Each scenario repeats one past time whole: the errors of price, wind, sun and temperature of the
forecast made then, by quarter-hour. So the errors keep their correlation in time and between
variables. All past days have the same weight: higher weights for recent days or days of the same
type scored no better on spring and autumn of 2023. A few representative scenarios are selected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from twin.equipment import Renewable
from twin.errors import SeriesError
from twin.forecast.outlook import (
    AVAILABLE_POWER_VARIABLE,
    EXTRAPOLATION_RULES,
    FORECAST_BOUNDS,
    ForecastSpan,
    QuarterHourForecast,
    outlook_dataset,
    quarter_hour_forecast,
)
from twin.forecast.series_record import known_quarter_hour_count, measured_until
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import DAY, HOUR, QUARTER_HOUR, interval_axes
from twin.units import QUARTER_HOURS_PER_DAY

MIN_SPREAD: Final = 1e-9
"""Spread that counts as zero, such as that of sun and wind without renewables. [1]"""


@dataclass(frozen=True, kw_only=True)
class ForecastScenario:
    """One possible future.

    - ``outlook``: See :func:`twin.outlook`, on the same axes.
    - ``probability``: Probability of the scenario. [1]
    - ``repeated_forecast_time``: Time whose forecast errors it repeats; NaT if it is the forecast
      itself.
    """

    outlook: xr.Dataset
    probability: float
    repeated_forecast_time: np.datetime64


ERROR_HISTORY_DAYS: Final = 60
"""Latest days whose forecast errors are used. [1]"""


@dataclass(frozen=True, kw_only=True)
class ErrorBlock:
    """The errors of one past forecast over a horizon and the day after it.

    - ``forecast_time``: Time of the forecast. [UTC]
    - ``start``, ``stop``: Ends of the horizon. [UTC]
    - ``errors``: Variable, or name of a renewable -> measured less forecast, by quarter-hour, in
      the variable's unit. Empty where a series has a gap.
    """

    forecast_time: np.datetime64
    start: np.datetime64
    stop: np.datetime64
    errors: Mapping[str, FloatArray]

    def select(self, start: np.datetime64, stop: np.datetime64) -> Self:
        """Return the errors over a part of the horizon and the day after that part."""
        first, last = (
            int((start - self.start) // QUARTER_HOUR),
            -int((self.start - stop) // QUARTER_HOUR),
        )
        rows = slice(first, last + QUARTER_HOURS_PER_DAY)
        part = {name: values[rows] for name, values in self.errors.items()}
        return replace(self, start=start, stop=stop, errors=part)


class ForecastErrors:
    """The errors of past forecasts, each computed once.

    Forecasts of full hours serve all times until the next. Forecasts of each quarter-hour would
    need four times the memory and be a few minutes better. The record may be replaced by a newer
    one.
    """

    def __init__(self, site: Site, record: xr.Dataset) -> None:
        self._site, self.history = site, record
        self._blocks: dict[np.datetime64, ErrorBlock] = {}

    def __len__(self) -> int:
        """Return the number of stored forecasts."""
        return len(self._blocks)

    def blocks_before(
        self, now: np.datetime64, axes: xr.Dataset, *, days: int = ERROR_HISTORY_DAYS
    ) -> list[ErrorBlock]:
        """Return the errors at the same hour of past days that are fully measured, the latest
        first.

        ``days`` limits how far it looks back; there are fewer where the record is short.
        """
        until = min(
            known_quarter_hour_count(self.history[n], measured_until(now))
            for n in (*EXTRAPOLATION_RULES, AVAILABLE_POWER_VARIABLE)
        )
        oldest = _full_hour(now - days * DAY)
        self._blocks = {origin: block for origin, block in self._blocks.items() if origin >= oldest}
        edges, found = axes["instant"].to_numpy(), []
        for back in np.arange(1, days + 1) * DAY:
            start, stop, origin = edges[0] - back, edges[-1] - back, _full_hour(now - back)
            block = self._blocks.get(origin)
            if block is None or block.start > start or block.stop < stop:
                then = interval_axes(
                    np.array([_full_hour(start), _full_hour(stop + _ALMOST_AN_HOUR)])
                )
                if self._ends(then) > until:
                    continue  # not fully measured yet
                block = self._blocks[origin] = self._block(origin, then)
            if block.errors:
                found.append(block.select(start, stop))
        return found

    def _ends(self, axes: xr.Dataset) -> int:
        """Return the row of the record after the last that a forecast needs; 0 before its first."""
        try:
            return ForecastSpan.from_axes(self.history, axes).end_row
        except SeriesError:
            return 0

    def _block(self, origin: np.datetime64, axes: xr.Dataset) -> ErrorBlock:
        """Return measured less forecast values; none with a gap or without earlier values."""
        start, stop = axes["instant"].to_numpy()
        errors = {}
        try:
            forecast = quarter_hour_forecast(self._site, self.history, origin, axes=axes)
        except SeriesError:
            return ErrorBlock(forecast_time=origin, start=start, stop=stop, errors={})
        for name, expected in forecast.values.items():
            array = (
                self.history[name]
                if name in EXTRAPOLATION_RULES
                else self.history[AVAILABLE_POWER_VARIABLE]
            )
            series = array if name in EXTRAPOLATION_RULES else array.sel(renewable=name)
            errors[name] = (
                series.to_numpy()[forecast.span.first_row : forecast.span.end_row] - expected
            )
        is_whole = all(np.isfinite(values).all() for values in errors.values())
        return ErrorBlock(
            forecast_time=origin, start=start, stop=stop, errors=errors if is_whole else {}
        )


@dataclass(frozen=True, kw_only=True)
class ForecastEnsemble:
    """All scenarios of a horizon: the forecast with the errors of each past forecast.

    - ``times``: Times whose forecast errors they repeat, the latest first; one NaT if there are
      none, for the forecast itself. [UTC]
    - ``points``: Daily means in units of their spread, ``(scenario, value)``. [1]
    - ``trajectories``: Values of each scenario by variable or renewable.
    """

    site: Site
    axes: xr.Dataset
    forecast: QuarterHourForecast
    times: NDArray[np.datetime64]
    points: FloatArray
    trajectories: Sequence[Mapping[str, FloatArray]]

    def __len__(self) -> int:
        """Return the number of scenarios, at least 1."""
        return len(self.times)

    @property
    def means(self) -> FloatArray:
        """Means over the horizon, in units of their spread; ``(scenario, variable)``. [1]"""
        whole = self.points.reshape(len(self), _POINT_VARIABLES, -1).mean(axis=2)
        return np.asarray(whole / np.maximum(whole.std(axis=0), MIN_SPREAD))

    def scenario(self, index: int, probability: float) -> ForecastScenario:
        """Return one scenario, with a probability. [1]"""
        rows = self.trajectories[index]
        return ForecastScenario(
            outlook=outlook_dataset(self.site, self.axes, self.forecast, rows=rows),
            probability=probability,
            repeated_forecast_time=self.times[index],
        )


def forecast_ensemble(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    errors: ForecastErrors | None = None,
) -> ForecastEnsemble:
    """Return all scenarios of a horizon; without past forecasts it is the forecast alone.

    Parameters and errors are those of :func:`forecast_scenarios`.
    """
    found = quarter_hour_forecast(site, record, now, axes=axes)
    stored = ForecastErrors(site, record) if errors is None else errors  # empty ones are filled
    blocks = stored.blocks_before(now, axes)
    trajectories = [with_forecast_errors(site, found, block) for block in blocks]
    ahead = found.span.end_row - found.span.first_row - QUARTER_HOURS_PER_DAY
    return ForecastEnsemble(
        site=site,
        axes=axes,
        forecast=found,
        times=np.array([block.forecast_time for block in blocks] or [np.datetime64("NaT", "us")]),
        points=_points(site, trajectories, ahead=ahead)
        if blocks
        else np.zeros((1, _POINT_VARIABLES)),
        trajectories=trajectories or [found.values],
    )


def forecast_scenarios(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    errors: ForecastErrors | None = None,
    count: int,
) -> tuple[ForecastScenario, ...]:
    """Return the representative scenarios of a horizon; their probabilities add up to 1.

    Without past forecasts it is the forecast alone.

    - ``now``: Time of the forecast, UTC; unpublished values are not used.
    - ``axes``: The horizon, from ``now`` or later.
    - ``errors``: Errors of past forecasts, if they are stored between calls.
    - ``count``: Largest number of scenarios. [1]

    Raises ``SeriesError`` if the record does not cover the horizon, or has nothing to forecast
    from.
    """
    whole = forecast_ensemble(site, record, now, axes=axes, errors=errors)
    places, probability = select_scenarios(
        whole.points, np.full(len(whole), 1.0 / len(whole)), count
    )
    return tuple(
        whole.scenario(place, share)
        for place, share in zip(places.tolist(), probability.tolist(), strict=True)
    )


def with_forecast_errors(
    site: Site, found: QuarterHourForecast, block: ErrorBlock
) -> dict[str, FloatArray]:
    """Return a forecast with the errors of a past one; known values stay."""
    powers = {machine.name: (0.0, machine.power) for machine in site.machines_of(Renewable)}
    bounds = {**FORECAST_BOUNDS, **powers}
    rows = {}
    for name, expected in found.values.items():
        is_open = np.arange(len(expected)) >= found.known_ends[name] - found.span.first_row
        moved = expected + is_open * block.errors[name]
        rows[name] = np.clip(moved, *bounds.get(name, (-np.inf, np.inf)))
    return rows


def _points(site: Site, trajectories: Sequence[dict[str, FloatArray]], *, ahead: int) -> FloatArray:
    """Return price, sun with wind, and temperature of scenarios, each in units of its spread.

    They are daily means. Whole trajectories are nearly equidistant, and the selection would then
    prefer those in the middle.
    """
    names = [machine.name for machine in site.machines_of(Renewable)]
    power = [
        sum((trajectory[name] for name in names), np.zeros(ahead + QUARTER_HOURS_PER_DAY))
        for trajectory in trajectories
    ]
    price = [trajectory["electricity_price"] for trajectory in trajectories]
    warmth = [trajectory["air_temperature"] for trajectory in trajectories]
    parts = []
    for many in (price, power, warmth):
        starts = np.arange(0, ahead, QUARTER_HOURS_PER_DAY)
        part = np.add.reduceat(np.stack(many)[:, :ahead], starts, axis=1)
        parts.append(part / max(float(part.std(axis=0).mean()), MIN_SPREAD))
    return np.concatenate(parts, axis=1)


_POINT_VARIABLES: Final = 3  # price, sun with wind, temperature

_ALMOST_AN_HOUR: Final = HOUR - np.timedelta64(1, "us")


def _full_hour(moment: np.datetime64) -> np.datetime64:
    return np.datetime64(np.datetime64(moment, "h"), "us")


def select_scenarios(
    points: FloatArray, probability: FloatArray, count: int
) -> tuple[NDArray[np.int64], FloatArray]:
    r"""Return the positions of representative scenarios, rising, and their probabilities. [1]

    - ``points``: Scenarios, ``(scenario, value)``, with Euclidean distance. [1]
    - ``probability``: Of each scenario; their sum is 1. [1]
    - ``count``: Largest number of representatives. [1]

    Fast forward selection (Heitsch and Römisch, *Scenario reduction algorithms in stochastic
    programming*, Comput. Optim. Appl. 24, 2003): it adds, one by one, the scenario that minimises
    :math:`\sum_i p_i \min_j |x_i - x_j|`, the distance between the two measures. Then every other
    scenario gives its probability to the nearest representative.
    """
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = np.full(len(points), np.inf)
    selected: list[int] = []
    for _ in range(min(count, len(points))):
        remaining = probability @ np.minimum(nearest[:, None], distance)
        remaining[selected] = np.inf
        best = int(np.argmin(remaining))
        selected.append(best)
        nearest = np.minimum(nearest, distance[best])
    places = np.sort(np.array(selected, dtype=np.int64))
    representative = np.argmin(distance[:, places], axis=1)
    representative[places] = np.arange(len(places))  # equal scenarios keep their own
    return places, np.bincount(representative, weights=probability, minlength=len(places)).astype(
        float
    )
