"""Read PVGIS answers: hours of actual years, or a typical year."""

from typing import Final

import numpy as np
import pandas as pd

from telemetry.sources.answers import Entry, Pvgis, numbers
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

_ON_PLANE: Final = ("Gb(i)", "Gd(i)", "Gr(i)")
"""Beam, diffuse and reflected irradiance on the plane, which the service gives instead of G(i)."""


def read_pvgis(source: str, answer: Pvgis) -> Record:
    """Return the weather of a PVGIS answer.

    Parameters
    ----------
    source
        Name of the file.
    answer
        With ``outputs.hourly`` (actual) or ``outputs.tmy_hourly`` (typical).

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
    rows = answer.outputs.tmy_hourly or answer.outputs.hourly or []
    is_typical = answer.outputs.tmy_hourly is not None
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [row.get(key) for row in rows] for key in keys}
    stamps = _stamps(source, columns)
    values = {
        name: factor * numbers(source, columns[key], name=key)
        for key, (name, factor) in _NAMES.items()
        if key in columns
    }
    if "global_irradiance" not in values:
        values |= _on_the_ground(source, answer, columns=columns)
    moments = pd.DatetimeIndex(stamps)
    hours = hour_of_year(
        month=moments.month.to_numpy(), day=moments.day.to_numpy(), hour=moments.hour.to_numpy()
    )
    return Record(
        source=source,
        lines=np.arange(1, len(rows) + 1),
        stamps=None if is_typical else stamps,
        hours=hours if is_typical else None,
        values=values,
        latitude=answer.inputs.location.latitude,
        longitude=answer.inputs.location.longitude,
        elevation=answer.inputs.location.elevation,
    )


def _stamps(source: str, columns: dict[str, list[Entry]]) -> np.ndarray:
    name = "time(UTC)" if "time(UTC)" in columns else "time"
    texts = [str(entry) for entry in columns.get(name, [])]
    parsed = pd.to_datetime(pd.Series(texts, dtype="str"), format="%Y%m%d:%H%M", errors="coerce")
    faults = [
        Fault(
            place=place(source, row=row + 1, name=name),
            value=repr(texts[row]),
            mend="write a time as in 20230101:0010",
        )
        for row in np.flatnonzero(parsed.isna().to_numpy())
    ]
    if not texts:
        found = ", ".join(columns)
        faults = [Fault(place=f"{source}, columns", value=found, mend="no column of times")]
    refuse(source, faults)
    return np.asarray(parsed.dt.floor("h").to_numpy(), dtype="datetime64[us]")


def _on_the_ground(
    source: str, answer: Pvgis, *, columns: dict[str, list[Entry]]
) -> dict[str, np.ndarray]:
    """Return the horizontal irradiance from that on a plane, which must lie flat."""
    parts = ["G(i)"] if "G(i)" in columns else [key for key in _ON_PLANE if key in columns]
    if not parts:
        return {}
    plane = answer.inputs.mounting_system.fixed
    if plane is None or plane.slope.value != 0.0:
        value = "a plane that turns" if plane is None else f"slope {plane.slope.value:g}"
        mend = "the irradiance is on an inclined plane; ask PVGIS for a fixed one with angle=0"
        raise SeriesError(
            source, [Fault(place=f"{source}, mounting_system", value=value, mend=mend)]
        )
    sums = np.sum([numbers(source, columns[key], name=key) for key in parts], axis=0)
    return {"global_irradiance": np.asarray(sums)}
