"""Telemetry on quarter-hours: means of valid readings, NaN where too few exist.

Readings of stuck sensors and spikes (a lost bit or a foreign packet) are excluded.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from twin import time_axes, units, variables
from twin.equipment import Equipment, ITHall
from twin.errors import IssueCode, StateError, UnitError, ValidationIssue
from twin.physics import FloatArray, psychrometrics
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.units import QUARTER_HOURS_PER_DAY
from twin.weather import PLAUSIBLE_AIR, Weather

MIN_READING_SHARE: Final = 0.5
"""Share of the usual readings that a quarter-hour needs to be used. [1]"""

VARIABLE_ALIASES: Final = {"hall_air_fan_power": "hall_air_draw"}
"""Simulated variable -> variable that plants meter instead."""

MIN_READINGS_FOR_SPIKES: Final = 10
"""Readings in a quarter-hour from which spikes are searched. [1]"""

MIN_QUARTER_HOURS: Final = QUARTER_HOURS_PER_DAY
"""Quarter-hours that a calibration needs: load and weather have a daily pattern. [1]"""

MAX_QUARTER_HOURS: Final = 10 * 366 * QUARTER_HOURS_PER_DAY
"""Quarter-hours beyond which a time stamp must be wrong: ten years. [1]"""

MIN_STUCK_READINGS: Final = 20
"""Equal readings from which a sensor that hardly repeats itself counts as stuck. [1]"""

MAX_REPEAT_SHARE: Final = 0.1
"""Share of repeated readings up to which a sensor hardly repeats itself. [1]"""

MINUTES_PER_QUARTER: Final = 15

MEASURED_UNIT_ERROR_RATIO: Final = 5.0
"""Power over rating from which a wrong unit is assumed. [1]"""

CONSTANT_SUFFIXES: Final = (
    "_set_point",
    "_request",
    "_applied",
    "_units_on",
    "_available",
    "_status",
    "_enabled",
)
"""Suffixes of variables that stay constant without a new command, and of states."""

MAX_INTERPOLATED_QUARTER_HOURS: Final = 12
"""Longest gap in weather readings that is interpolated: 3 h. [1]"""

MAX_TEMPERATURE_C: Final = 150.0
"""Temperature from which water or air must be in kelvin or degrees Fahrenheit. [degC]"""


class TelemetryHistory:
    """Telemetry of a plant in quarter-hours.

    - ``telemetry``: Variables on ``time``, as from :func:`telemetry.open` or a simulation. With
      ``duration`` a label is the start of its interval, otherwise the time of a reading. Variables
      on ``instant``, the edges of the intervals, are averaged between them.

    - ``time``: Starts of the quarter-hours.
    - ``stuck_counts``, ``outlier_counts``: (variable, machine) -> excluded readings of a stuck
      sensor, and excluded spikes. [1]
    - ``implausible_counts``: Weather variable -> excluded quarter-hours with impossible values. [1]
    - ``has_weather``: Whether the weather was measured in each quarter-hour or at most some hours
      away.

    Raises ``StateError`` if the history is too short or long, has no weather, or has impossible
    values. Raises ``UnitError`` if a variable has a wrong unit.
    """

    def __init__(self, site: Site, telemetry: xr.Dataset) -> None:
        times = np.asarray(telemetry["time"].to_numpy(), dtype="datetime64[us]")
        self.stuck_counts: dict[tuple[str, str], int] = {}
        self.outlier_counts: dict[tuple[str, str], int] = {}
        self.implausible_counts: dict[str, int] = {}
        self._values: dict[tuple[str, str], FloatArray] = {}
        if not len(times):
            raise StateError(site.name, [_empty("time")])
        _check_units(telemetry)
        late = np.timedelta64(0 if "duration" in telemetry else 1, "us")
        minutes = (times - late).astype("datetime64[m]").astype(np.int64)
        first = int(minutes.min()) // MINUTES_PER_QUARTER
        self._places = minutes - first * MINUTES_PER_QUARTER
        self.count = int(self._places.max()) // MINUTES_PER_QUARTER + 1
        if not MIN_QUARTER_HOURS <= self.count <= MAX_QUARTER_HOURS:
            raise StateError(site.name, [_odd_length(self.count, times)])
        start = np.datetime64(0, "us") + first * QUARTER_HOUR
        self.time = time_axes.regular_axes(np.datetime64(start, "us"), self.count)[
            "time"
        ].to_numpy()
        for name, array in telemetry.data_vars.items():
            if array.ndim in {1, 2} and array.dims[0] in {"time", "instant"}:
                self._enter(VARIABLE_ALIASES.get(str(name), str(name)), array)
        wanted = ("air_temperature", "relative_humidity")
        issues = [_empty(name) for name in wanted if np.isnan(self.get(name)).all()]
        issues += self._unit_issues(site)
        StateError.raise_if_any(site.name, issues)
        self.weather = self._weather(site)

    def get(self, name: str, owner: str = "") -> FloatArray:
        """Return the means of a machine's variable; NaN where readings are too few."""
        nothing = np.full(self.count, np.nan)
        return self._values.get((name, owner), nothing)

    def owners(self, name: str) -> list[str]:
        """Return the machines of which a variable was measured."""
        return [owner for word, owner in self._values if word == name]

    def total(self, name: str, machines: Iterable[Equipment]) -> FloatArray:
        """Return the sum of a variable over machines; NaN where one was not measured."""
        found = (self.get(name, machine.name) for machine in machines)
        return sum(found, np.zeros(self.count))

    def _enter(self, name: str, array: xr.DataArray) -> None:
        values = np.asarray(array.to_numpy())
        if values.dtype.kind not in "fiu":
            return
        labels = [""]
        if array.ndim > 1:
            labels = [str(label) for label in array[array.dims[1]].to_numpy()]
        columns = np.atleast_2d(values.T)
        if array.dims[0] == "instant":
            columns = 0.5 * (columns[:, :-1] + columns[:, 1:])
        if columns.shape[-1] != len(self._places):
            return
        for label, column in zip(labels, columns, strict=True):
            known = column.astype(float)
            stuck = _stuck(known) & (not name.endswith(CONSTANT_SUFFIXES))
            if stuck.any():
                self.stuck_counts[name, label] = int(np.count_nonzero(stuck))
            known = np.where(stuck, np.nan, known)
            is_spike = self._spikes(known) & (not name.endswith(CONSTANT_SUFFIXES))
            if is_spike.any():
                self.outlier_counts[name, label] = int(np.count_nonzero(is_spike))
            self._values[name, label] = self._mean(np.where(is_spike, np.nan, known))

    def _spikes(self, column: FloatArray) -> NDArray[np.bool_]:
        """Return which readings are spikes, where there are several a quarter-hour."""
        found = np.zeros(len(column), dtype=bool)
        if len(column) > MIN_READINGS_FOR_SPIKES * self.count:
            order = np.argsort(self._places, kind="stable")
            found[order] = find_spikes(column[order])
        return found

    def _mean(self, column: FloatArray) -> FloatArray:
        """Return the mean of each quarter-hour; NaN where readings are too few.

        Minutes are averaged first: points are sent on change, so busy minutes have more readings.
        """
        is_read = np.isfinite(column)
        size = self.count * MINUTES_PER_QUARTER
        counts = np.bincount(self._places[is_read], minlength=size)
        sums = np.bincount(self._places[is_read], column[is_read], minlength=size)
        with np.errstate(invalid="ignore", divide="ignore"):
            minutes = np.where(counts > 0, sums / counts, 0.0).reshape(-1, MINUTES_PER_QUARTER)
            read = np.count_nonzero(counts.reshape(-1, MINUTES_PER_QUARTER), axis=1)
            usual = np.median(read[read > 0]) if is_read.any() else 1.0
            enough = read >= max(MIN_READING_SHARE * usual, 1.0)
            return np.where(enough, minutes.sum(axis=1) / read, np.nan)

    def _unit_issues(self, site: Site) -> list[ValidationIssue]:
        """Return issues of values that must be in another unit."""
        ratings = {("grid_import_power", ""): site.grid_connection.import_limit}
        ratings |= {("hall_power", hall.name): hall.full_power for hall in site.machines_of(ITHall)}
        issues = []
        for (name, owner), values in self._values.items():
            middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
            low, high = -np.inf, MEASURED_UNIT_ERROR_RATIO * ratings.get((name, owner), np.inf)
            if name.endswith("_temperature"):
                high = MAX_TEMPERATURE_C
            low, high = PLAUSIBLE_AIR.get(name, (low, high))
            if not low <= middle <= high:
                unit = variables.variable_definition(name).unit
                place = f"{name} of {owner}" if owner else name
                expected = f"a plausible value in {unit}"
                if unit == "1":
                    expected = "a share from 0 to 1"
                issues.append(
                    IssueCode.WRONG_UNIT.issue(
                        place, found=f"{middle:.4g}", expected=expected, remedy="convert the unit"
                    )
                )
        return issues

    def _weather(self, site: Site) -> Weather:
        """Return the weather of every quarter-hour; gaps are interpolated, ends are extended."""
        places = np.arange(self.count)
        self.has_weather = np.ones(self.count, dtype=bool)
        rows = {}
        for name, (low, high) in PLAUSIBLE_AIR.items():
            values = self.get(name)
            is_read = (values >= low) & (values <= high)
            left_out = int(np.count_nonzero(np.isfinite(values) & ~is_read))
            if left_out:
                self.implausible_counts[name] = left_out
            if name == "air_pressure" and not is_read.any():
                values = np.full(
                    self.count, float(psychrometrics.standard_pressure(site.elevation))
                )
                is_read = np.ones(self.count, dtype=bool)
            rows[name] = np.interp(places, places[is_read], values[is_read])
            self.has_weather &= ~_in_long_gap(is_read)
        data = {
            name: ("time", row, {"units": unit})
            for (name, row), unit in zip(rows.items(), ("degC", "1", "kPa"), strict=True)
        }
        return Weather.from_dataset(xr.Dataset(data))


def _empty(name: str) -> ValidationIssue:
    return IssueCode.MISSING.issue(
        name, expected="readings in the history", remedy="choose another time"
    )


def _odd_length(count: int, times: NDArray[np.datetime64]) -> ValidationIssue:
    """Return the issue of a history that is too short or too long, with both its ends."""
    first, last = times.min(), times.max()
    return IssueCode.OUT_OF_RANGE.issue(
        "history",
        found=f"{count / 4:g} h from {units.format_minute(first)} to {units.format_minute(last)}",
        expected=f"from {MIN_QUARTER_HOURS / 4:g} to {MAX_QUARTER_HOURS / 4:g} h",
        remedy="choose another time, or correct the time stamps",
    )


def _check_units(telemetry: xr.Dataset) -> None:
    """Check the units of all known variables.

    Raises ``UnitError`` with all wrong units.
    """
    foreign = []
    for name, array in telemetry.data_vars.items():
        wanted = _unit(str(name))
        if wanted is not None and array.attrs.get("units", wanted) != wanted:
            foreign.append(str(name))
    variables.check_variables(telemetry, *foreign)


def _unit(name: str) -> str | None:
    """Return the unit of a variable; None if the variable is unknown."""
    try:
        return variables.variable_definition(name).unit
    except UnitError:
        return None


def _in_long_gap(is_read: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which quarter-hours lie in a gap that is too long to interpolate."""
    places = np.arange(len(is_read))
    before = np.maximum.accumulate(np.where(is_read, places, -1))
    after = np.minimum.accumulate(np.where(is_read, places, len(places))[::-1])[::-1]
    return np.asarray(~is_read & (after - before > MAX_INTERPOLATED_QUARTER_HOURS + 1))


def _stuck(column: FloatArray) -> NDArray[np.bool_]:
    """Return which readings repeat one number too often for a sensor that hardly repeats itself."""
    (where,) = np.nonzero(np.isfinite(column))
    found = np.zeros(len(column), dtype=bool)
    if len(where) <= MIN_STUCK_READINGS:
        return found
    values = column[where]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    lengths = np.diff(np.append(starts, len(values)))
    is_long = np.repeat(lengths >= MIN_STUCK_READINGS, lengths)
    if np.count_nonzero(lengths >= MIN_STUCK_READINGS) > 1 + len(values) // (
        QUARTER_HOURS_PER_DAY * MINUTES_PER_QUARTER
    ):
        return found  # the sensor often repeats itself
    usual = int(np.count_nonzero(~is_long))
    repeats = usual - int(np.count_nonzero(lengths < MIN_STUCK_READINGS))
    if usual and repeats <= MAX_REPEAT_SHARE * usual:
        found[where] = is_long & (values != 0.0)  # zero means off
    return found


def rack_liquid_heat(site: Site, history: TelemetryHistory) -> FloatArray:
    """Return the measured rack power that the coolant absorbs, ``(time,)``. [MW]"""
    halls = site.machines_of(ITHall)
    return np.sum([h.liquid_share * history.get("hall_power", h.name) for h in halls], axis=0)


SPIKE_MEDIAN_READINGS: Final = 5
"""Readings of the running median: two consecutive spikes are possible. [1]"""

SPIKE_SIGMAS: Final = 10.0
"""Usual distances from that median, as standard errors, beyond which a reading is a spike. [1]"""

SPIKE_RANGE_SHARE: Final = 0.25
"""Share of the sensor's range that a spike must exceed too: machines do start. [1]"""

MAX_SPIKE_SHARE: Final = 0.05
"""Share of all readings from which jumps are normal. [1]"""

MAD_TO_STD: Final = 1.4826
"""Standard deviation of a normal error over its median absolute deviation. [1]"""


def find_spikes(values: FloatArray) -> NDArray[np.bool_]:
    """Return which readings of a sensor are spikes.

    Readings are in order of time, a minute apart or less, NaN where missing. [any unit]
    """
    found = np.zeros(len(values), dtype=bool)
    (where,) = np.nonzero(np.isfinite(values))
    if len(where) <= SPIKE_MEDIAN_READINGS:
        return found
    known = values[where]
    around = np.pad(known, SPIKE_MEDIAN_READINGS // 2, mode="edge")
    middle = np.median(sliding_window_view(around, SPIKE_MEDIAN_READINGS), axis=1)
    off = np.abs(known - middle)
    usual = MAD_TO_STD * float(np.median(off))
    low, high = np.quantile(known, [0.05, 0.95]).tolist()
    comes_back = (middle >= low - (high - low)) & (middle <= high + (high - low))
    is_wild = comes_back & (off > max(SPIKE_SIGMAS * usual, SPIKE_RANGE_SHARE * (high - low)))
    if usual > 0.0 and np.count_nonzero(is_wild) <= MAX_SPIKE_SHARE * len(where):
        found[where] = is_wild
    return found
