"""The outlook: what is known or expected over a horizon, from nothing but what is known now.

Continue a series from its own past: same hours of the latest days, corrected by what is new.

All series stand on quarter-hours. Deterministic, and blind to everything after the past handed in.

The quarter-hours behind an outlook: what is known of each word, and what continues it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.declarations import InferenceService
from twin.equipment import Photovoltaic, Renewable, WindFarm
from twin.errors import SeriesError, ValidationIssue
from twin.forecast.history import (
    AXIS_EXTENSION,
    MEASURED_VARIABLES,
    known_quarters,
    measured_until,
    published_until,
)
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import QUARTER_HOUR, regrid
from twin.units import MAX_CARBON_INTENSITY_KG_MWH, format_minute
from twin.validation import check_argument_types
from twin.weather import PLAUSIBLE_AIR


def outlook(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    has_perfect_foresight: bool = False,
) -> xr.Dataset:
    """Return prices, carbon, weather, renewables and service over a horizon.

    Parameters
    ----------
    site
        The site.
    record
        Its series, as :func:`twin.forecast.history.series_history` makes them.
    now
        The moment, UTC.
    axes
        The horizon, from ``now`` or later; see :func:`twin.time_axes.horizon_axes`.
    has_perfect_foresight
        Know all of the record, whatever ``now`` is: for the yardstick of perfect foresight and
        for the true weather of a plant.

    Returns
    -------
    xarray.Dataset
        On ``axes``: ``electricity_price``, ``carbon_intensity``, the weather,
        ``renewable_available_power(time, renewable)``, ``service_racks``, and the scalar
        ``terminal_price``. ``attrs["prices_known_until"]`` is the end of the known prices;
        ``attrs["degraded"]`` says what should be known and is not, or is empty.

    Raises
    ------
    ProblemError
        If anything is of another kind.
    SeriesError
        If the record does not reach the horizon, or holds nothing to forecast from.

    Notes
    -----
    Known are the published prices (to the end of the local day, from 12:45 to the end of
    tomorrow) and what was measured up to the last full hour. Everything else is continued from
    that by :data:`twin.forecast.outlook.EXTRAPOLATION_RULES`.

    The terminal price is the mean of the 24 hours after the horizon. Work or cooling left over
    could choose cheaper hours, but each put off narrows the choice of the others; a cheaper value
    was tried and led to work put off until it had to run in the dearest hours.
    """
    check_argument_types(
        "outlook",
        site=(site, Site),
        record=(record, xr.Dataset),
        now=(now, np.datetime64),
        axes=(axes, xr.Dataset),
    )
    found = quarter_hour_forecast(site, record, now, axes=axes, foresight=has_perfect_foresight)
    return outlook_dataset(site, axes, found, rows=found.values)


@dataclass(frozen=True, kw_only=True)
class QuarterHourForecast:
    """Values of every word on the quarter-hours of a horizon and of the day after it.

    Attributes
    ----------
    span
        Where they stand in the record.
    values
        Word, or name of a renewable, -> values, in the word's unit.
    known_ends
        The same -> row of the record where the known ones end.
    expected_ends
        The same -> row up to which they should be known.
    """

    span: "ForecastSpan"
    values: dict[str, FloatArray]
    known_ends: dict[str, int]
    expected_ends: dict[str, int]


def outlook_dataset(
    site: Site, axes: xr.Dataset, found: QuarterHourForecast, *, rows: Mapping[str, FloatArray]
) -> xr.Dataset:
    """Return courses on quarter-hours as an outlook.

    Parameters
    ----------
    site
        The site.
    axes
        The horizon.
    found
        What is known and forecast of it.
    rows
        The courses: those of ``found``, or one of the others that may come.

    Returns
    -------
    xarray.Dataset
        As :func:`outlook` tells.
    """
    span = found.span
    whole = {**rows, "service_racks": service_racks(site.service, span.local[span.start :])}
    means = regrid(np.stack(list(whole.values())), span.edges, span.horizon_edges)
    result = _dataset(site, axes, dict(zip(whole, means, strict=True)))
    result["terminal_price"] = ((), whole["electricity_price"][-QUARTERS_PER_DAY:].mean())
    return variables.tag_dataset(result.assign_attrs(_notes(found)))


def service_racks(service: InferenceService, local: np.ndarray) -> FloatArray:
    """Return the racks that the inference service keeps busy.

    Parameters
    ----------
    service
        The service.
    local
        Local wall times. [datetime64]

    Returns
    -------
    numpy.ndarray
        Racks at these times. [1]

    Notes
    -----
    The week is a closed polyline through the shares of its 168 hours, each at the hour's start;
    weekends have ``weekend_share`` of a working day.
    """
    days = np.array([1.0] * 5 + [service.weekend_share] * 2)
    week = np.outer(days, service.daily_shape).ravel()
    monday = np.datetime64("1970-01-05")
    hour = ((local - monday) / np.timedelta64(1, "h")) % len(week)
    shares = np.interp(hour, np.arange(len(week)), week, period=len(week))
    return np.asarray(service.racks * shares)


def _notes(found: QuarterHourForecast) -> dict[str, str]:
    """Return where the known prices end, and which words end before they should."""
    span, ends = found.span, found.known_ends
    lacking = [
        name
        for name in EXTRAPOLATION_RULES
        if ends[name] < min(found.expected_ends[name], span.stop - QUARTERS_PER_DAY)
    ]
    words = (f"{name}: nothing from {span.stamp(ends[name])} on, so forecast" for name in lacking)
    return {
        "prices_known_until": span.stamp(ends["electricity_price"]),
        "degraded": "; ".join(words),
    }


def _dataset(site: Site, axes: xr.Dataset, means: dict[str, FloatArray]) -> xr.Dataset:
    """Return means with labels, those of the renewables on an axis of their own."""
    names = [machine.name for machine in site.machines_of(Renewable)]
    powers = [means.pop(name) for name in names]
    stacked = np.stack(powers, axis=-1) if powers else np.empty((axes.sizes["time"], 0))
    return xr.Dataset(
        {name: ("time", values) for name, values in means.items()}
        | {"renewable_available_power": (("time", "renewable"), stacked)},
        coords=axes[["time", "duration", "instant"]].coords
        | {"renewable": np.array(names, dtype=np.str_)},
    )


QUARTERS_PER_DAY: Final = 96
"""Quarter-hours of a day."""

DAYS_PER_WEEK: Final = 7
"""Days of a week."""

FIRST_SATURDAY: Final = np.datetime64("1970-01-03")
"""The first one that clocks count."""

OTHER_DAY_WEIGHT: Final = 1e-6
"""Weight of a day of the other kind: it counts only where no day of the same kind is known."""

RATIO_BOUNDS: Final = (0.3, 3.0)
"""Bounds of a scaled deviation, so that a dim dawn does not promise a tenfold noon."""


@dataclass(frozen=True, kw_only=True)
class ExtrapolationRule:
    """How a quantity is continued.

    Attributes
    ----------
    days
        Latest days that count.
    daily_weight_factor
        Weight of a day beside the next younger one. [1]
    is_hourly
        Each hour from the same local hour; otherwise all from the mean of the days.
    matches_day_type
        Working days from working days, weekends from weekends.
    deviation_window
        Latest stretch whose deviation from this rule is carried on, 1 or more. [h]
    deviation_decay_time
        Time in which that deviation fades to 1/e. [h]
    is_scaled
        The deviation is a ratio, not a difference.
    """

    days: int
    deviation_window: int
    deviation_decay_time: float
    daily_weight_factor: float = 1.0
    is_hourly: bool = True
    matches_day_type: bool = False
    is_scaled: bool = False


def extrapolate(
    past: FloatArray, local: np.ndarray, *, rule: ExtrapolationRule, ahead: np.ndarray
) -> FloatArray:
    r"""Return what a series may be in the quarter-hours ahead.

    Parameters
    ----------
    past
        The known quarter-hours, oldest first; NaN where nothing is known.
    local
        Local wall time of each of them. [datetime64]
    rule
        How to continue.
    ahead
        Local wall times of the quarter-hours that follow the past without a hole. [datetime64]

    Returns
    -------
    numpy.ndarray
        One value for each quarter-hour of ``ahead``; NaN where the past holds nothing to go by.

    Notes
    -----
    With :math:`a(t)` the weighted mean of the same local hours of the latest known days, and
    :math:`d` the mean deviation of the latest known values from the :math:`a` of the days before
    them, the forecast after a lead :math:`l` is :math:`a(t) + d \exp(-l / m)`. Summer time is
    heeded: 08:00 follows 08:00, be it 23 or 25 hours before.
    """
    known = len(past)
    recent = min(rule.deviation_window * 4, known)
    base = _analogue(past, local, rule, wanted=ahead)
    before = known - recent
    expected = _analogue(past[:before], local[:before], rule, wanted=local[before:])
    actual = past[before:]
    is_seen = np.isfinite(actual) & np.isfinite(expected)
    fade = np.exp(-(np.arange(len(ahead)) + 0.5) / (4.0 * rule.deviation_decay_time))
    if not is_seen.any():
        return base
    if rule.is_scaled:
        whole = expected[is_seen].sum()
        ratio = actual[is_seen].sum() / whole if whole > 0.0 else 1.0
        return np.asarray(base * (1.0 + (np.clip(ratio, *RATIO_BOUNDS) - 1.0) * fade))
    return np.asarray(base + (actual[is_seen] - expected[is_seen]).mean() * fade)


def _analogue(
    past: FloatArray, local: np.ndarray, recipe: ExtrapolationRule, *, wanted: np.ndarray
) -> FloatArray:
    """Return the mean of the latest known days at the same local hour, or of all their hours."""
    known = len(past)
    if not known:
        return np.full(len(wanted), np.nan)
    if not recipe.is_hourly:
        stretch = past[-recipe.days * QUARTERS_PER_DAY :]
        stretch = stretch[np.isfinite(stretch)]
        return np.full(len(wanted), stretch.mean() if len(stretch) else np.nan)
    ages = np.arange(recipe.days)[:, None]
    rows = _same_hour(local, wanted, ages)
    values = past[np.maximum(rows, 0)]
    weights = recipe.daily_weight_factor**ages * ((rows >= 0) & np.isfinite(values))
    if recipe.matches_day_type:
        is_alike = _is_weekend(local[np.maximum(rows, 0)]) == _is_weekend(wanted)
        weights = weights * np.where(is_alike, 1.0, OTHER_DAY_WEIGHT)
    total = weights.sum(axis=0)
    held = np.where(weights > 0.0, values, 0.0)
    return np.asarray((weights * held).sum(axis=0) / np.where(total > 0.0, total, np.nan))


def _same_hour(local: np.ndarray, wanted: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Return the rows of the same local hour, on the latest known day and so many days before."""
    known = len(local)
    lead = np.arange(len(wanted))
    days = lead // QUARTERS_PER_DAY + 1 + ages
    rows = known + lead - days * QUARTERS_PER_DAY
    seen = np.clip(rows, 0, known - 1)
    shift = wanted - days * np.timedelta64(1, "D") - (local[seen] + (rows - seen) * QUARTER_HOUR)
    rows = rows + shift // QUARTER_HOUR
    return np.asarray(np.where(rows >= known, rows - QUARTERS_PER_DAY, rows))


def _is_weekend(local: np.ndarray) -> np.ndarray:
    """Tell Saturdays and Sundays."""
    return np.asarray(
        (local - FIRST_SATURDAY) % np.timedelta64(DAYS_PER_WEEK, "D") < np.timedelta64(2, "D")
    )


EXTRAPOLATION_RULES: Final = {
    "electricity_price": ExtrapolationRule(
        days=28,
        daily_weight_factor=0.9,
        matches_day_type=True,
        deviation_window=12,
        deviation_decay_time=48.0,
    ),
    "carbon_intensity": ExtrapolationRule(
        days=28,
        daily_weight_factor=0.9,
        matches_day_type=True,
        deviation_window=2,
        deviation_decay_time=48.0,
    ),
    "air_temperature": ExtrapolationRule(days=3, deviation_window=1, deviation_decay_time=24.0),
    "relative_humidity": ExtrapolationRule(days=5, deviation_window=1, deviation_decay_time=12.0),
    "air_pressure": ExtrapolationRule(
        days=1, is_hourly=False, deviation_window=1, deviation_decay_time=48.0
    ),
    "wind_speed": ExtrapolationRule(
        days=7, is_hourly=False, deviation_window=1, deviation_decay_time=24.0
    ),
    "global_irradiance": ExtrapolationRule(
        days=7, deviation_window=2, deviation_decay_time=4.0, is_scaled=True
    ),
}
"""How each word is continued.

Price and carbon: of a few dozen tried on 2022 in four zones, among the least mean errors over the
week ahead and over its first two days (ADR 021). Weather: of a few dozen tried on DE-LU, 2023, the
least mean errors over 48 h; pressure, which that file lacks: judged.
"""

RULES_BY_RENEWABLE: Final[dict[type[Renewable], ExtrapolationRule]] = {
    Photovoltaic: EXTRAPOLATION_RULES["global_irradiance"],
    WindFarm: EXTRAPOLATION_RULES["wind_speed"],
}
"""The power of a machine is continued like the weather that drives it."""

AVAILABLE_POWER: Final = "renewable_available_power"
"""What the record calls the power of the renewables."""

FORECAST_BOUNDS: Final = {
    **PLAUSIBLE_AIR,
    "relative_humidity": (0.0, 1.0),
    "wind_speed": (0.0, np.inf),
    "global_irradiance": (0.0, np.inf),
    "carbon_intensity": (0.0, MAX_CARBON_INTENSITY_KG_MWH),
}
"""What a forecast cannot leave, in the word's unit."""


def quarter_hour_forecast(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    foresight: bool = False,
) -> QuarterHourForecast:
    """Return what is known and what is forecast, on quarter-hours.

    Parameters
    ----------
    site
        The site.
    record
        Its series, as :func:`twin.forecast.history.series_history` makes them.
    now
        The moment, UTC.
    axes
        The horizon, from ``now`` or later.
    foresight
        Know all of the record.

    Returns
    -------
    QuarterHourForecast
        The words of :data:`EXTRAPOLATION_RULES` and the power of every renewable. [MW]

    Raises
    ------
    SeriesError
        If the record does not reach the horizon, or holds nothing to forecast from.
    """
    span = ForecastSpan.from_axes(record, axes)
    seen = _seen(site, record, now, foresight=foresight)
    rows, ends = {}, {}
    for name, recipe in EXTRAPOLATION_RULES.items():
        series = record[name].to_numpy()
        values, ends[name] = span.values(series, recipe, name=name, expected_end=seen[name])
        rows[name] = np.clip(values, *FORECAST_BOUNDS.get(name, (-np.inf, np.inf)))
    for machine in site.machines_of(Renewable):
        recipe = next(r for kind, r in RULES_BY_RENEWABLE.items() if isinstance(machine, kind))
        series = record[AVAILABLE_POWER].sel(renewable=machine.name).to_numpy()
        name, seen[machine.name] = machine.name, seen[AVAILABLE_POWER]
        values, ends[name] = span.values(
            series, recipe, name=name, expected_end=seen[AVAILABLE_POWER]
        )
        rows[name] = np.clip(values, 0.0, machine.power)
    return QuarterHourForecast(span=span, values=rows, known_ends=ends, expected_ends=seen)


@dataclass(frozen=True, kw_only=True)
class ForecastSpan:
    """The quarter-hours of a record that a horizon needs, the day after it among them.

    Attributes
    ----------
    start, stop
        First row and the one after the last.
    local
        Local time of all rows up to ``stop``.
    edges, horizon_edges
        Edges of these quarter-hours, and of the horizon.
    """

    start: int
    stop: int
    local: np.ndarray
    edges: np.ndarray
    horizon_edges: np.ndarray

    @classmethod
    def from_axes(cls, record: xr.Dataset, axes: xr.Dataset) -> "ForecastSpan":
        """Find the horizon in the record."""
        first, wanted = record["time"].to_numpy()[0], axes["instant"].to_numpy()
        start = int((wanted[0] - first) // QUARTER_HOUR)
        stop = int(-((first - wanted[-1]) // QUARTER_HOUR)) + QUARTERS_PER_DAY
        if start < 0 or stop > record.sizes["time"]:
            last = record["instant"].to_numpy()[-1] - AXIS_EXTENSION
            place = f"horizon from {format_minute(wanted[0])} to {format_minute(wanted[-1])}"
            covered = f"{format_minute(first)} to {format_minute(last)}"
            remedy = f"the series cover {covered}; ask within, or give longer ones"
            raise SeriesError("outlook", [ValidationIssue(location=place, found="", remedy=remedy)])
        edges = first + np.arange(start, stop + 1) * QUARTER_HOUR
        local = record["local_time"].to_numpy()[:stop]
        return cls(start=start, stop=stop, local=local, edges=edges, horizon_edges=wanted)

    def values(
        self, series: FloatArray, recipe: ExtrapolationRule, *, name: str, expected_end: int
    ) -> tuple[FloatArray, int]:
        """Return the known values of the span, continued by forecast, and where the known end."""
        end = min(expected_end, self.stop)
        blank = np.flatnonzero(np.isnan(series[self.start : end]))
        if len(blank):
            end = self.start + int(blank[0])
        finite = np.flatnonzero(np.isfinite(series[:end]))
        end = int(finite[-1]) + 1 if len(finite) else 0
        ahead = extrapolate(series[:end], self.local[:end], rule=recipe, ahead=self.local[end:])
        whole = np.concatenate([series[self.start : end], ahead[max(self.start - end, 0) :]])
        if not np.isfinite(whole).all():
            place = f"{name} from {self.stamp(max(end, self.start))}"
            remedy = "the days before hold nothing to forecast from; give longer series"
            raise SeriesError("outlook", [ValidationIssue(location=place, found="", remedy=remedy)])
        return whole, end

    def stamp(self, row: int) -> str:
        """Return the time of a row of the record, for people."""
        return format_minute(self.edges[0] + (row - self.start) * QUARTER_HOUR)


def _seen(site: Site, record: xr.Dataset, now: np.datetime64, *, foresight: bool) -> dict[str, int]:
    """Return how many quarter-hours of each variable are known."""
    until = dict.fromkeys((*MEASURED_VARIABLES, AVAILABLE_POWER), measured_until(now))
    until["electricity_price"] = published_until(now, site.market_zone)
    if foresight:
        return dict.fromkeys(until, record.sizes["time"])
    return {name: known_quarters(record[name], moment) for name, moment in until.items()}
