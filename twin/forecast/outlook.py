"""The outlook: known and forecast values over a horizon, from what is known now.

A series is extrapolated from the same hours of its latest days, corrected by the latest deviation.
All series are on quarter-hours. The result is deterministic and uses nothing after the given time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.argument_checks import check_argument_types
from twin.equipment import Photovoltaic, Renewable, WindFarm
from twin.errors import IssueCode, SeriesError
from twin.forecast.series_record import (
    AXIS_EXTENSION,
    MEASURED_VARIABLES,
    NOT_GIVEN,
    known_quarter_hour_count,
    measured_until,
)
from twin.markets.contracts import PRICE_PUBLICATION_TOLERANCE, prices_published_until
from twin.physics import FloatArray
from twin.site import Site
from twin.site_settings import InferenceService
from twin.time_axes import QUARTER_HOUR, regrid
from twin.units import MAX_CARBON_INTENSITY_KG_MWH, QUARTER_HOURS_PER_DAY, format_minute
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
        Its series, see :func:`twin.series_history`.
    now
        Time of the forecast, UTC.
    axes
        The horizon, from ``now`` or later; see :func:`twin.horizon_axes`.
    has_perfect_foresight
        Whether all of the record is known: for the benchmark of perfect foresight and for the true
        weather of a plant.

    Returns
    -------
    xarray.Dataset
        On ``axes``: ``electricity_price``, ``carbon_intensity``, the weather,
        ``renewable_available_power(time, renewable)``, ``service_racks``, and the scalar
        ``terminal_price``. ``attrs["prices_known_until"]`` is the end of the known prices;
        ``attrs["degraded"]`` names series that end early, or is empty; ``attrs["not_given"]`` is
        there if zeros stand for a carbon intensity that nobody gave; ``attrs["site"]`` and
        ``attrs["site_digest"]`` state the site.

    Raises
    ------
    ProblemError
        If an argument has the wrong type.
    SeriesError
        If the record does not cover the horizon, or has nothing to forecast from.

    Notes
    -----
    Known are the published prices (to the end of the local day, and from the time of
    :data:`~twin.markets.contracts.PRICE_PUBLICATION_TIMES` on to the end of tomorrow) and
    the measurements up to the last full hour. Everything else is extrapolated by
    :data:`EXTRAPOLATION_RULES`.

    The terminal price is the mean of the 24 hours after the horizon. Remaining work or cooling
    could choose cheaper hours, but each deferral narrows the choice of the others. A cheaper value
    deferred work until it had to run in the most expensive hours.
    """
    check_argument_types(
        "outlook",
        site=(site, Site),
        record=(record, xr.Dataset),
        now=(now, np.datetime64),
        axes=(axes, xr.Dataset),
    )
    found = quarter_hour_forecast(site, record, now, axes=axes, foresight=has_perfect_foresight)
    expected = outlook_dataset(site, axes, found, rows=found.values)
    marks = {name: record.attrs[name] for name in (NOT_GIVEN,) if name in record.attrs}
    return expected.assign_attrs(marks)


@dataclass(frozen=True, kw_only=True)
class QuarterHourForecast:
    """Values of every variable on the quarter-hours of a horizon and of the day after it.

    - ``span``: Their position in the record.
    - ``values``: Variable, or name of a renewable -> values, in the variable's unit.
    - ``known_ends``: The same -> row of the record after the known values.
    - ``expected_ends``: The same -> row up to which they should be known.
    """

    span: "ForecastSpan"
    values: dict[str, FloatArray]
    known_ends: dict[str, int]
    expected_ends: dict[str, int]


def outlook_dataset(
    site: Site, axes: xr.Dataset, found: QuarterHourForecast, *, rows: Mapping[str, FloatArray]
) -> xr.Dataset:
    """Return trajectories on quarter-hours, of a forecast or a scenario, as an outlook."""
    span = found.span
    whole = {**rows, "service_racks": service_racks(site.service, span.local[span.first_row :])}
    means = regrid(np.stack(list(whole.values())), span.edges, span.horizon_edges)
    result = _dataset(site, axes, dict(zip(whole, means, strict=True)))
    result["terminal_price"] = ((), whole["electricity_price"][-QUARTER_HOURS_PER_DAY:].mean())
    return variables.tag_dataset(result.assign_attrs(_attributes(found), **site.identity))


def service_racks(service: InferenceService, local: np.ndarray) -> FloatArray:
    """Return the racks that the inference service occupies at local wall times. [1]

    The week is a closed polyline through the shares of its 168 hours, each at the hour's start.
    Weekends have ``weekend_share`` of a working day.
    """
    days = np.array([1.0] * 5 + [service.weekend_share] * 2)
    week = np.outer(days, service.daily_shape).ravel()
    monday = np.datetime64("1970-01-05")
    hour = ((local - monday) / np.timedelta64(1, "h")) % len(week)
    shares = np.interp(hour, np.arange(len(week)), week, period=len(week))
    return np.asarray(service.racks * shares)


def _attributes(found: QuarterHourForecast) -> dict[str, str]:
    """Return where the known prices end, and which series end early."""
    span, ends = found.span, found.known_ends
    early = [
        name
        for name in EXTRAPOLATION_RULES
        if ends[name] < min(found.expected_ends[name], span.end_row - QUARTER_HOURS_PER_DAY)
    ]
    words = (f"{name}: nothing from {span.stamp(ends[name])} on, so forecast" for name in early)
    return {
        "prices_known_until": span.stamp(ends["electricity_price"]),
        "degraded": "; ".join(words),
    }


def _dataset(site: Site, axes: xr.Dataset, means: dict[str, FloatArray]) -> xr.Dataset:
    """Return means with labels, renewables on their own axis."""
    names = [machine.name for machine in site.machines_of(Renewable)]
    powers = [means.pop(name) for name in names]
    stacked = np.stack(powers, axis=-1) if powers else np.empty((axes.sizes["time"], 0))
    return xr.Dataset(
        {name: ("time", values) for name, values in means.items()}
        | {"renewable_available_power": (("time", "renewable"), stacked)},
        coords=axes[["time", "duration", "instant"]].coords
        | {"renewable": np.array(names, dtype=np.str_)},
    )


DAYS_PER_WEEK: Final = 7

FIRST_SATURDAY: Final = np.datetime64("1970-01-03")

OTHER_DAY_TYPE_WEIGHT: Final = 1e-6
"""Weight of a day of the other type; it matters only where no day of the same type is known."""

DEVIATION_RATIO_BOUNDS: Final = (0.3, 3.0)
"""Bounds of a scaled deviation, so that a dim dawn does not give a tenfold noon."""


@dataclass(frozen=True, kw_only=True)
class ExtrapolationRule:
    """How a quantity is extrapolated.

    - ``averaged_days``: Latest days in the mean.
    - ``daily_weight_factor``: Weight of a day over that of the next later one. [1]
    - ``is_hourly``: Whether each hour comes from the same local hour; otherwise all come from the
      mean of the days.
    - ``matches_day_type``: Whether working days come from working days, and weekends from weekends.
    - ``deviation_window``: Latest time whose deviation from this rule is carried on, 1 or more. [h]
    - ``deviation_decay_time``: Time in which that deviation decays to 1/e. [h]
    - ``deviation_is_ratio``: Whether the deviation is a ratio, not a difference.
    """

    averaged_days: int
    deviation_window: int
    deviation_decay_time: float
    daily_weight_factor: float = 1.0
    is_hourly: bool = True
    matches_day_type: bool = False
    deviation_is_ratio: bool = False


def extrapolate(
    past: FloatArray, local: np.ndarray, *, rule: ExtrapolationRule, ahead: np.ndarray
) -> FloatArray:
    r"""Return an extrapolation of a series, one value for each quarter-hour of ``ahead``.

    - ``past``: Known quarter-hours, oldest first; NaN where unknown.
    - ``local``: Local wall time of each of them. [datetime64]
    - ``ahead``: Local wall times of the quarter-hours that follow without a gap. [datetime64]

    With :math:`a(t)` the weighted mean of the same local hours of the latest known days, and
    :math:`d` the mean deviation of the latest known values from the :math:`a` of the days before
    them, the forecast after a lead :math:`l` is :math:`a(t) + d \exp(-l / m)`. It follows summer
    time: 08:00 comes from 08:00, 23 or 25 hours before. Without any known value the result is NaN.
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
    if rule.deviation_is_ratio:
        whole = expected[is_seen].sum()
        ratio = actual[is_seen].sum() / whole if whole > 0.0 else 1.0
        return np.asarray(base * (1.0 + (np.clip(ratio, *DEVIATION_RATIO_BOUNDS) - 1.0) * fade))
    return np.asarray(base + (actual[is_seen] - expected[is_seen]).mean() * fade)


def _analogue(
    past: FloatArray, local: np.ndarray, rule: ExtrapolationRule, *, wanted: np.ndarray
) -> FloatArray:
    """Return the mean of the latest known days at the same local hour, or of all their hours."""
    known = len(past)
    if not known:
        return np.full(len(wanted), np.nan)
    if not rule.is_hourly:
        stretch = past[-rule.averaged_days * QUARTER_HOURS_PER_DAY :]
        stretch = stretch[np.isfinite(stretch)]
        return np.full(len(wanted), stretch.mean() if len(stretch) else np.nan)
    ages = np.arange(rule.averaged_days)[:, None]
    rows = _same_hour(local, wanted, ages)
    values = past[np.maximum(rows, 0)]
    weights = rule.daily_weight_factor**ages * ((rows >= 0) & np.isfinite(values))
    if rule.matches_day_type:
        is_alike = _is_weekend(local[np.maximum(rows, 0)]) == _is_weekend(wanted)
        weights = weights * np.where(is_alike, 1.0, OTHER_DAY_TYPE_WEIGHT)
    total = weights.sum(axis=0)
    known_values = np.where(weights > 0.0, values, 0.0)
    return np.asarray((weights * known_values).sum(axis=0) / np.where(total > 0.0, total, np.nan))


def _same_hour(local: np.ndarray, wanted: np.ndarray, ages: np.ndarray) -> np.ndarray:
    """Return the rows of the same local hour some days before the latest known day."""
    known = len(local)
    lead = np.arange(len(wanted))
    days = lead // QUARTER_HOURS_PER_DAY + 1 + ages
    rows = known + lead - days * QUARTER_HOURS_PER_DAY
    seen = np.clip(rows, 0, known - 1)
    shift = wanted - days * np.timedelta64(1, "D") - (local[seen] + (rows - seen) * QUARTER_HOUR)
    rows = rows + shift // QUARTER_HOUR
    return np.asarray(np.where(rows >= known, rows - QUARTER_HOURS_PER_DAY, rows))


def _is_weekend(local: np.ndarray) -> np.ndarray:
    """Return whether times are on Saturdays or Sundays."""
    return np.asarray(
        (local - FIRST_SATURDAY) % np.timedelta64(DAYS_PER_WEEK, "D") < np.timedelta64(2, "D")
    )


EXTRAPOLATION_RULES: Final = {
    "electricity_price": ExtrapolationRule(
        averaged_days=28,
        daily_weight_factor=0.9,
        matches_day_type=True,
        deviation_window=12,
        deviation_decay_time=48.0,
    ),
    "carbon_intensity": ExtrapolationRule(
        averaged_days=28,
        daily_weight_factor=0.9,
        matches_day_type=True,
        deviation_window=2,
        deviation_decay_time=48.0,
    ),
    "air_temperature": ExtrapolationRule(
        averaged_days=3, deviation_window=1, deviation_decay_time=24.0
    ),
    "relative_humidity": ExtrapolationRule(
        averaged_days=5, deviation_window=1, deviation_decay_time=12.0
    ),
    "air_pressure": ExtrapolationRule(
        averaged_days=1, is_hourly=False, deviation_window=1, deviation_decay_time=48.0
    ),
    "wind_speed": ExtrapolationRule(
        averaged_days=7, is_hourly=False, deviation_window=1, deviation_decay_time=24.0
    ),
    "global_irradiance": ExtrapolationRule(
        averaged_days=7, deviation_window=2, deviation_decay_time=4.0, deviation_is_ratio=True
    ),
}
"""Rule of each variable.

Price and carbon: of a few dozen rules tried on 2022 in four zones, among the smallest mean errors
over the week ahead and over its first two days (ADR 021). Weather: the smallest mean errors over
48 h on DE-LU, 2023. Pressure, which that file lacks, is an assumption.
"""

RULES_BY_RENEWABLE: Final[dict[type[Renewable], ExtrapolationRule]] = {
    Photovoltaic: EXTRAPOLATION_RULES["global_irradiance"],
    WindFarm: EXTRAPOLATION_RULES["wind_speed"],
}
"""The power of a renewable is extrapolated like the weather that drives it."""

AVAILABLE_POWER_VARIABLE: Final = "renewable_available_power"
"""Variable of the renewables' power in the record."""

FORECAST_BOUNDS: Final = {
    **PLAUSIBLE_AIR,
    "relative_humidity": (0.0, 1.0),
    "wind_speed": (0.0, np.inf),
    "global_irradiance": (0.0, np.inf),
    "carbon_intensity": (0.0, MAX_CARBON_INTENSITY_KG_MWH),
}
"""Bounds of forecast values, in the variable's unit."""


def quarter_hour_forecast(
    site: Site,
    record: xr.Dataset,
    now: np.datetime64,
    *,
    axes: xr.Dataset,
    foresight: bool = False,
) -> QuarterHourForecast:
    """Return known and forecast values on quarter-hours; renewables in MW.

    Raises ``SeriesError`` if the record does not cover the horizon, or has nothing to forecast
    from.
    """
    span = ForecastSpan.from_axes(record, axes)
    known_counts = _known_counts(site, record, now, foresight=foresight)
    rows, ends = {}, {}
    for name, rule in EXTRAPOLATION_RULES.items():
        series = record[name].to_numpy()
        values, ends[name] = span.values(series, rule, name=name, expected_end=known_counts[name])
        rows[name] = np.clip(values, *FORECAST_BOUNDS.get(name, (-np.inf, np.inf)))
    for machine in site.machines_of(Renewable):
        rule = next(r for kind, r in RULES_BY_RENEWABLE.items() if isinstance(machine, kind))
        series = record[AVAILABLE_POWER_VARIABLE].sel(renewable=machine.name).to_numpy()
        name, known_counts[machine.name] = machine.name, known_counts[AVAILABLE_POWER_VARIABLE]
        values, ends[name] = span.values(
            series, rule, name=name, expected_end=known_counts[AVAILABLE_POWER_VARIABLE]
        )
        rows[name] = np.clip(values, 0.0, machine.power)
    if not foresight:  # published prices may arrive late
        due = prices_published_until(
            now - PRICE_PUBLICATION_TOLERANCE, site.resolved_market_time_zone
        )
        name = "electricity_price"
        known_counts[name] = min(known_counts[name], known_quarter_hour_count(record[name], due))
    return QuarterHourForecast(span=span, values=rows, known_ends=ends, expected_ends=known_counts)


@dataclass(frozen=True, kw_only=True)
class ForecastSpan:
    """The quarter-hours of a record for a horizon and the day after it.

    - ``first_row``, ``end_row``: First row and the one after the last.
    - ``local``: Local time of all rows up to ``end_row``.
    - ``edges``, ``horizon_edges``: Edges of these quarter-hours, and of the horizon.
    """

    first_row: int
    end_row: int
    local: np.ndarray
    edges: np.ndarray
    horizon_edges: np.ndarray

    @classmethod
    def from_axes(cls, record: xr.Dataset, axes: xr.Dataset) -> "ForecastSpan":
        """Return the span of a horizon in a record."""
        first, wanted = record["time"].to_numpy()[0], axes["instant"].to_numpy()
        start = int((wanted[0] - first) // QUARTER_HOUR)
        stop = int(-((first - wanted[-1]) // QUARTER_HOUR)) + QUARTER_HOURS_PER_DAY
        if start < 0 or stop > record.sizes["time"]:
            last = record["instant"].to_numpy()[-1] - AXIS_EXTENSION
            covered = f"{format_minute(first)} to {format_minute(last)}"
            raise SeriesError.single(
                "outlook",
                IssueCode.OUT_OF_RANGE,
                f"horizon from {format_minute(wanted[0])} to {format_minute(wanted[-1])}",
                expected=f"a horizon within the series, {covered}",
                remedy="choose another time or give longer series",
            )
        edges = first + np.arange(start, stop + 1) * QUARTER_HOUR
        local = record["local_time"].to_numpy()[:stop]
        return cls(first_row=start, end_row=stop, local=local, edges=edges, horizon_edges=wanted)

    def values(
        self, series: FloatArray, rule: ExtrapolationRule, *, name: str, expected_end: int
    ) -> tuple[FloatArray, int]:
        """Return the known values of the span, extended by forecast, and the row of their end."""
        end = min(expected_end, self.end_row)
        missing = np.flatnonzero(np.isnan(series[self.first_row : end]))
        if len(missing):
            end = self.first_row + int(missing[0])
        finite = np.flatnonzero(np.isfinite(series[:end]))
        end = int(finite[-1]) + 1 if len(finite) else 0
        ahead = extrapolate(series[:end], self.local[:end], rule=rule, ahead=self.local[end:])
        whole = np.concatenate(
            [series[self.first_row : end], ahead[max(self.first_row - end, 0) :]]
        )
        if not np.isfinite(whole).all():
            raise SeriesError.single(
                "outlook",
                IssueCode.TIME_GAP,
                f"{name} from {self.stamp(max(end, self.first_row))}",
                expected="values on the days before",
                remedy="give longer series",
            )
        return whole, end

    def stamp(self, row: int) -> str:
        """Return the time of a row of the record as text."""
        return format_minute(self.edges[0] + (row - self.first_row) * QUARTER_HOUR)


def _known_counts(
    site: Site, record: xr.Dataset, now: np.datetime64, *, foresight: bool
) -> dict[str, int]:
    """Return how many quarter-hours of each variable are known."""
    until = dict.fromkeys((*MEASURED_VARIABLES, AVAILABLE_POWER_VARIABLE), measured_until(now))
    until["electricity_price"] = prices_published_until(now, site.resolved_market_time_zone)
    if foresight:
        return dict.fromkeys(until, record.sizes["time"])
    return {name: known_quarter_hour_count(record[name], moment) for name, moment in until.items()}
