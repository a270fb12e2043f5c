"""Telemetry on quarter-hours: means of what was read, and NaN where too little was.

Readings that jump away and back: a lost bit or a foreign packet, and nothing of the plant.
"""

from collections.abc import Iterable
from typing import Final

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from twin import time_axes, units, variables
from twin.equipment import Equipment, ITHall
from twin.errors import StateError, UnitError, ValidationIssue
from twin.physics import FloatArray, psychrometrics
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.weather import PLAUSIBLE_AIR, Weather

MIN_READING_SHARE: Final = 0.5
"""Share of the usual readings that a quarter-hour needs to be used. [1]"""

VARIABLE_ALIASES: Final = {"hall_air_fan_power": "hall_air_draw"}
"""Words of a run for what plants meter under another one."""

QUARTERS_PER_DAY: Final = 96
"""Quarter-hours of a day. [1]"""

MIN_READINGS_FOR_SPIKES: Final = 10
"""Readings a quarter-hour from which one alone can be told from what is about it. [1]"""

MIN_QUARTERS: Final = QUARTERS_PER_DAY
"""Quarter-hours that a calibration needs: load and weather have a daily course. [1]"""

MAX_QUARTERS: Final = 10 * 366 * QUARTERS_PER_DAY
"""Quarter-hours from which a stamp must be wrong: ten years. [1]"""

STUCK_READINGS: Final = 20
"""Readings with one number from which a sensor that hardly ever repeats itself is stuck. [1]"""

MAX_REPEAT_SHARE: Final = 0.1
"""Share of readings that repeat the one before, up to which that is seldom. [1]"""

MINUTES_PER_QUARTER: Final = 15
"""Minutes of a quarter-hour. [1]"""

UNIT_ERROR_RATIO: Final = 5.0
"""Times the rating from which a power has another unit. [1]"""

CONSTANT_SUFFIXES: Final = (
    "_set_point",
    "_request",
    "_applied",
    "_units_on",
    "_available",
    "_status",
    "_enabled",
)
"""Ends of words that stand still while nobody asks for anything else, and of states."""

MAX_INTERPOLATED_QUARTERS: Final = 12
"""Quarter-hours without a reading of the air over which a straight line is laid: 3 h. [1]"""

MAX_TEMPERATURE_C: Final = 150.0
"""From here water and air are in kelvin or in degrees Fahrenheit. [degC]"""


class TelemetryHistory:
    """What was read of a plant, in quarter-hours.

    Parameters
    ----------
    site
        The site.
    telemetry
        Words of the vocabulary on ``time``, as :func:`telemetry.open` gives them or a run has them.
        With ``duration`` a label is the start of its interval; without, the moment of a reading.
        What stands on ``instant``, the edges of the intervals, is averaged between them.

    Attributes
    ----------
    time
        Starts of the quarter-hours.
    stuck
        (variable, machine) -> readings that were left out, since the sensor stood still. [1]
    wild
        (variable, machine) -> readings that were left out, since they jump away and back. [1]
    impossible
        Word of the weather -> quarter-hours that were left out, since no air is so. [1]
    is_aired
        Whether the air of each quarter-hour was read, or at least some hours before and after it.

    Raises
    ------
    StateError
        If it is too short or long, has no weather, or values that cannot be of this site.
    UnitError
        If a variable is in another unit than that of the vocabulary.
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
        if not MIN_QUARTERS <= self.count <= MAX_QUARTERS:
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
        issues += self._absurd(site)
        if issues:
            raise StateError(site.name, issues)
        self.weather = self._weather(site)

    def get(self, name: str, owner: str = "") -> FloatArray:
        """Return the means of a variable of a machine; NaN where it was not read enough."""
        nothing = np.full(self.count, np.nan)
        return self._values.get((name, owner), nothing)

    def owners(self, name: str) -> list[str]:
        """Return the machines of which a variable has been read."""
        return [owner for word, owner in self._values if word == name]

    def total(self, name: str, machines: Iterable[Equipment]) -> FloatArray:
        """Return the sum of a variable over machines.

        It is NaN where one of them was not read: what nobody meters is not 0.
        """
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
            wild = self._wild(known) & (not name.endswith(CONSTANT_SUFFIXES))
            if wild.any():
                self.outlier_counts[name, label] = int(np.count_nonzero(wild))
            self._values[name, label] = self._mean(np.where(wild, np.nan, known))

    def _wild(self, column: FloatArray) -> NDArray[np.bool_]:
        """Return which readings jump away and back, where there are several a quarter-hour."""
        found = np.zeros(len(column), dtype=bool)
        if len(column) > MIN_READINGS_FOR_SPIKES * self.count:
            order = np.argsort(self._places, kind="stable")
            found[order] = find_spikes(column[order])
        return found

    def _mean(self, column: FloatArray) -> FloatArray:
        """Return the mean of each quarter-hour; NaN where readings are scarce.

        Means of minutes first: points are sent on change, and restless minutes say more often what
        they say.
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

    def _absurd(self, site: Site) -> list[ValidationIssue]:
        """Return faults of values that must be in another unit."""
        most = {("grid_import_power", ""): site.grid.import_limit}
        most |= {("hall_power", hall.name): hall.full_power for hall in site.machines_of(ITHall)}
        issues = []
        for (name, owner), values in self._values.items():
            middle = float(np.nanmedian(values)) if np.isfinite(values).any() else 0.0
            low, high = -np.inf, UNIT_ERROR_RATIO * most.get((name, owner), np.inf)
            if name.endswith("_temperature"):
                high = MAX_TEMPERATURE_C
            low, high = PLAUSIBLE_AIR.get(name, (low, high))
            if not low <= middle <= high:
                unit = variables.variable_definition(name).unit
                place = f"{name} of {owner}" if owner else name
                remedy = f"cannot be in {unit} on this site; convert it"
                if unit == "1":
                    remedy = "must be a share, from 0 to 1; convert it"
                issues.append(ValidationIssue(location=place, found=f"{middle:.4g}", remedy=remedy))
        return issues

    def _weather(self, site: Site) -> Weather:
        """Return the air of every quarter-hour; gaps are bridged, and held at the ends."""
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
            self.has_weather &= ~_far(is_read)
        data = {
            name: ("time", row, {"units": unit})
            for (name, row), unit in zip(rows.items(), ("degC", "1", "kPa"), strict=True)
        }
        return Weather.from_dataset(xr.Dataset(data))


def _empty(name: str) -> ValidationIssue:
    return ValidationIssue(
        location=name, found="", remedy="the history has none of it; name another time"
    )


def _odd_length(count: int, times: NDArray[np.datetime64]) -> ValidationIssue:
    """Return the fault of a history that is too short or too long, with both its ends."""
    first, last = times.min(), times.max()
    span = f"{count / 4:g} h from {units.format_minute(first)} to {units.format_minute(last)}"
    remedy = f"a calibration needs at least {MIN_QUARTERS / 4:g} h; name another time"
    if count > MAX_QUARTERS:
        remedy = "one of these stamps must be wrong; name another time"
    return ValidationIssue(location="history", found=span, remedy=remedy)


def _check_units(telemetry: xr.Dataset) -> None:
    """Refuse variables of the vocabulary in another unit.

    Raises
    ------
    UnitError
        All of them at once.
    """
    foreign = []
    for name, array in telemetry.data_vars.items():
        wanted = _unit(str(name))
        if wanted is not None and array.attrs.get("units", wanted) != wanted:
            foreign.append(str(name))
    variables.check_variables(telemetry, *foreign)


def _unit(name: str) -> str | None:
    """Return the unit of a word of the vocabulary; None of any other word."""
    try:
        return variables.variable_definition(name).unit
    except UnitError:
        return None


def _far(is_read: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which quarter-hours stand in a gap that is too long for a straight line."""
    places = np.arange(len(is_read))
    before = np.maximum.accumulate(np.where(is_read, places, -1))
    after = np.minimum.accumulate(np.where(is_read, places, len(places))[::-1])[::-1]
    return np.asarray(~is_read & (after - before > MAX_INTERPOLATED_QUARTERS + 1))


def _stuck(column: FloatArray) -> NDArray[np.bool_]:
    """Return which readings repeat one number too often, if the sensor hardly ever does."""
    (where,) = np.nonzero(np.isfinite(column))
    found = np.zeros(len(column), dtype=bool)
    if len(where) <= STUCK_READINGS:
        return found
    values = column[where]
    starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    lengths = np.diff(np.append(starts, len(values)))
    is_long = np.repeat(lengths >= STUCK_READINGS, lengths)
    if np.count_nonzero(lengths >= STUCK_READINGS) > 1 + len(values) // (
        QUARTERS_PER_DAY * MINUTES_PER_QUARTER
    ):
        return found  # that is how it is
    usual = int(np.count_nonzero(~is_long))
    repeats = usual - int(np.count_nonzero(lengths < STUCK_READINGS))
    if usual and repeats <= MAX_REPEAT_SHARE * usual:
        found[where] = is_long & (values != 0.0)  # what rests at zero is off
    return found


def rack_liquid_heat(site: Site, history: TelemetryHistory) -> FloatArray:
    """Return the measured power of the racks that goes into their coolant, ``(time,)``. [MW]"""
    halls = site.machines_of(ITHall)
    return np.sum([h.liquid_share * history.get("hall_power", h.name) for h in halls], axis=0)


MEDIAN_WINDOW: Final = 5
"""Readings whose median a reading is held against: two in a row may be wild. [1]"""

SPIKE_SIGMAS: Final = 10.0
"""Usual distances from that median, as standard errors, beyond which a reading is wild. [1]"""

SPIKE_RANGE_SHARE: Final = 0.25
"""Share of what the sensor goes through that it must jump, too: machines do start. [1]"""

MAX_SPIKE_SHARE: Final = 0.05
"""Share of all readings from which jumps are no faults: that is how it is. [1]"""

MAD_TO_STD: Final = 1.4826
"""Standard deviation of a normal error over its median size. [1]"""


def find_spikes(values: FloatArray) -> NDArray[np.bool_]:
    """Return which readings of a sensor, in order of time, are wild.

    Parameters
    ----------
    values
        Readings a minute apart or less; NaN where there is none. [any unit]
    """
    found = np.zeros(len(values), dtype=bool)
    (where,) = np.nonzero(np.isfinite(values))
    if len(where) <= MEDIAN_WINDOW:
        return found
    known = values[where]
    around = np.pad(known, MEDIAN_WINDOW // 2, mode="edge")
    middle = np.median(sliding_window_view(around, MEDIAN_WINDOW), axis=1)
    off = np.abs(known - middle)
    usual = MAD_TO_STD * float(np.median(off))
    low, high = np.quantile(known, [0.05, 0.95]).tolist()
    comes_back = (middle >= low - (high - low)) & (middle <= high + (high - low))
    is_wild = comes_back & (off > max(SPIKE_SIGMAS * usual, SPIKE_RANGE_SHARE * (high - low)))
    if usual > 0.0 and np.count_nonzero(is_wild) <= MAX_SPIKE_SHARE * len(where):
        found[where] = is_wild
    return found
