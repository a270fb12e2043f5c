"""Telemetry on quarter-hours: means of what was read, and NaN where too little was."""

from typing import Final

import numpy as np
import xarray as xr

from twin import axes
from twin.axes import QUARTER
from twin.errors import Fault, StateError
from twin.physics import FloatArray, atmosphere
from twin.site import Site
from twin.weather import Weather

LEAST_SHARE: Final = 0.5
"""Share of the usual readings that a quarter-hour needs to be used. [1]"""

ALIASES: Final = {"hall_air_fan_power": "hall_air_draw"}
"""Words of a run for what plants meter under another one."""

DAY: Final = 96
"""Quarter-hours of a day. [1]"""


class History:
    """What was read of a plant, in quarter-hours.

    Parameters
    ----------
    site
        The site.
    telemetry
        Words of the vocabulary on ``time``, as :func:`telemetry.open` gives them or a run has them.
        With ``duration`` a label is the start of its interval; without, the moment of a reading.
        What stands on ``instant``, the edges of the intervals, is averaged between them.

    Raises
    ------
    StateError
        If there is not even one whole quarter-hour of weather.
    """

    def __init__(self, site: Site, telemetry: xr.Dataset) -> None:
        times = np.asarray(telemetry["time"].to_numpy(), dtype="datetime64[us]")
        self._labels: dict[str, str] = {}
        self._values: dict[tuple[str, str], FloatArray] = {}
        if not len(times):
            raise StateError(site.name, [_empty("time")])
        late = np.timedelta64(0 if "duration" in telemetry else 1, "us")
        bins = (times - late).astype("datetime64[us]").astype(np.int64) // QUARTER.astype(
            "timedelta64[us]"
        ).astype(np.int64)
        first = int(bins.min())
        self._places, self.count = bins - first, int(bins.max()) - first + 1
        start = np.datetime64(0, "us") + first * QUARTER
        self.time = axes.regular(np.datetime64(start, "us"), self.count)["time"].to_numpy()
        for name, array in telemetry.data_vars.items():
            if array.ndim in {1, 2} and array.dims[0] in {"time", "instant"}:
                self._enter(ALIASES.get(str(name), str(name)), array)
        for name in ("air_temperature", "relative_humidity"):
            if np.isnan(self.get(name)).all():
                raise StateError(site.name, [_empty(name)])
        self.weather = self._weather(site)

    def get(self, name: str, owner: str = "") -> FloatArray:
        """Return the means of a variable of a machine; NaN where it was not read enough."""
        nothing = np.full(self.count, np.nan)
        return self._values.get((name, owner), nothing)

    def owners(self, name: str) -> list[str]:
        """Return the machines of which a variable has been read."""
        return [owner for word, owner in self._values if word == name]

    def total(self, name: str, *, missing: float = np.nan) -> FloatArray:
        """Return the sum of a variable over its machines.

        Parameters
        ----------
        name
            The variable.
        missing
            Stands for all of it, if no machine has it. [as the variable]
        """
        found = [self.get(name, owner) for owner in self.owners(name)]
        return np.sum(found, axis=0) if found else np.full(self.count, missing)

    def _enter(self, name: str, array: xr.DataArray) -> None:
        values = np.asarray(array.to_numpy())
        if values.dtype.kind not in "fiu":
            return
        labels = [str(label) for label in array[array.dims[1]].to_numpy()] if array.ndim > 1 else []
        columns = values.reshape(len(values), -1).T
        if array.dims[0] == "instant":
            columns = 0.5 * (columns[:, :-1] + columns[:, 1:])
        if columns.shape[-1] != len(self._places):
            return
        for label, column in zip(labels or [""], columns, strict=True):
            self._values[name, label] = self._mean(column.astype(float))

    def _mean(self, column: FloatArray) -> FloatArray:
        """Return the mean of each quarter-hour; NaN where readings are scarce."""
        is_read = np.isfinite(column)
        counts = np.bincount(self._places[is_read], minlength=self.count)
        sums = np.bincount(self._places[is_read], column[is_read], minlength=self.count)
        usual = np.median(counts[counts > 0]) if is_read.any() else 1.0
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(counts >= max(LEAST_SHARE * usual, 1.0), sums / counts, np.nan)

    def _weather(self, site: Site) -> Weather:
        """Return the air of every quarter-hour; gaps are bridged, and held at the ends."""
        places = np.arange(self.count)
        rows = {}
        for name in ("air_temperature", "relative_humidity", "air_pressure"):
            values = self.get(name)
            is_read = np.isfinite(values)
            if name == "air_pressure" and not is_read.any():
                values, is_read = self._pressure(site), np.ones(self.count, dtype=bool)
            rows[name] = np.interp(places, places[is_read], values[is_read])
        data = {
            name: ("time", row, {"units": unit})
            for (name, row), unit in zip(rows.items(), ("degC", "1", "kPa"), strict=True)
        }
        return Weather.of(xr.Dataset(data))

    def _pressure(self, site: Site) -> FloatArray:
        return np.full(self.count, float(atmosphere.standard_pressure(site.elevation)))


def _empty(name: str) -> Fault:
    return Fault(place=name, value="", mend="the history has none of it; name another time")
