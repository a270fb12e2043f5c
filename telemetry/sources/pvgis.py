"""Read PVGIS answers: hours of actual years, or a typical year."""

from typing import Any, Final

import numpy as np
import pandas as pd

from telemetry.sources.record import Record
from telemetry.sources.table import place, refuse
from telemetry.sources.typical import hour_of_year
from twin.errors import Fault, SeriesError

_NAMES: Final[dict[str, tuple[str, float]]] = {
    "T2m": ("air_temperature", 1.0),
    "RH": ("relative_humidity", 0.01),
    "SP": ("air_pressure", 0.001),
    "WS10m": ("wind_speed", 1.0),
    "G(h)": ("global_irradiance", 1.0),
}
"""Our name and the factor to our unit; PVGIS fixes its units (degC, %, Pa, m/s, W/m2)."""

_TYPICAL: Final = "tmy_hourly"


def read_pvgis(source: str, answer: dict[str, Any]) -> Record:
    """Return the weather of a PVGIS answer in JSON.

    Parameters
    ----------
    source
        Name of the file.
    answer
        Parsed JSON with ``outputs.hourly`` (actual) or ``outputs.tmy_hourly`` (typical).

    Returns
    -------
    Record
        In UTC.

    Raises
    ------
    SeriesError
        If a time or value cannot be read, or the irradiance is that of an inclined plane.

    Notes
    -----
    Times are UTC; their minutes tell when the satellite looked (or where in the hour ERA5's mean
    lies), so each row belongs to the hour it stands in. The hourly tool gives irradiance on a
    plane: it is the horizontal one only at slope 0.

    References
    ----------
    .. [1] European Commission, Joint Research Centre, "PVGIS user manual," 2024.
    """
    outputs, location = answer["outputs"], answer["inputs"]["location"]
    is_typical = _TYPICAL in outputs
    frame = pd.DataFrame(outputs[_TYPICAL if is_typical else "hourly"])
    lines = np.arange(1, len(frame) + 1)
    stamps = _hours(source, frame, lines)
    if "G(h)" not in frame:
        frame = frame.assign(**_horizontal(source, answer, frame))
    values = {
        name: factor * _numbers(source, frame[key], lines)
        for key, (name, factor) in _NAMES.items()
        if key in frame
    }
    moments = pd.DatetimeIndex(stamps)
    hours = hour_of_year(moments.month.to_numpy(), moments.day.to_numpy(), moments.hour.to_numpy())
    return Record(
        source=source,
        lines=lines,
        stamps=None if is_typical else stamps,
        hours=hours if is_typical else None,
        values=values,
        latitude=float(location["latitude"]),
        longitude=float(location["longitude"]),
        elevation=float(location.get("elevation") or 0.0),
    )


def _hours(source: str, frame: pd.DataFrame, lines: np.ndarray) -> np.ndarray:
    column = next((name for name in ("time(UTC)", "time") if name in frame), None)
    if column is None:
        mend = "no column of times; wanted is time or time(UTC)"
        found = ", ".join(frame.columns)
        raise SeriesError(source, [Fault(place=f"{source}, columns", value=found, mend=mend)])
    parsed = pd.to_datetime(frame[column], format="%Y%m%d:%H%M", errors="coerce")
    faults = [
        Fault(
            place=place(source, lines[row], column),
            value=repr(frame[column][row]),
            mend="write a time as in 20230101:0010",
        )
        for row in np.flatnonzero(parsed.isna().to_numpy())
    ]
    refuse(source, faults)
    return parsed.dt.floor("h").to_numpy().astype("datetime64[us]")


def _horizontal(source: str, answer: dict[str, Any], frame: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the horizontal irradiance from that on a plane, which must lie flat."""
    parts = [key for key in ("Gb(i)", "Gd(i)", "Gr(i)") if key in frame]
    if "G(i)" not in frame and not parts:
        return {}
    mounting = answer["inputs"].get("mounting_system", {})
    slope = mounting.get("fixed", {}).get("slope", {}).get("value")
    if slope is None or float(slope) != 0.0:
        mend = "the irradiance is on an inclined plane; ask PVGIS for a fixed one with angle=0"
        raise SeriesError(
            source, [Fault(place=f"{source}, mounting_system", value=f"slope {slope}", mend=mend)]
        )
    return {"G(h)": frame["G(i)"] if "G(i)" in frame else frame[parts].sum(axis=1)}


def _numbers(source: str, column: pd.Series, lines: np.ndarray) -> np.ndarray:
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    is_bad = np.isnan(values) & column.notna().to_numpy()
    faults = [
        Fault(
            place=place(source, lines[row], str(column.name)),
            value=repr(column[row]),
            mend="write a number or null",
        )
        for row in np.flatnonzero(is_bad)
    ]
    refuse(source, faults)
    return values
