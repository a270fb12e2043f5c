"""How services lay out their answers in JSON; those of weather as models."""

import json
from typing import Annotated, Final, NoReturn

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from telemetry.sources.table import Table, place, refuse
from twin.errors import Fault, SeriesError

type Latitude = Annotated[float, Field(ge=-90.0, le=90.0)]
type Longitude = Annotated[float, Field(ge=-180.0, le=180.0)]
type Elevation = Annotated[float, Field(ge=-500.0, le=9000.0)]
type Entry = float | str | None

LAST: Final = 4_102_444_800
"""2100-01-01 in seconds since 1970; no answer tells of later. [s]"""

_MEND: Final = "write a number or null"
_SHOWN: Final = 40  # letters of a stranger's file that a fault shows


class Hourly(BaseModel):
    """An answer of Open-Meteo: parallel arrays, and their units beside them."""

    latitude: Latitude
    longitude: Longitude
    elevation: Elevation = 0.0
    utc_offset_seconds: Annotated[int, Field(ge=-86_400, le=86_400)] | None = None
    hourly_units: dict[str, str] = Field(default_factory=dict)
    hourly: dict[str, list[Entry]]


class Place(BaseModel):
    """Where PVGIS looked."""

    latitude: Latitude
    longitude: Longitude
    elevation: Elevation = 0.0


class Slope(BaseModel):
    """Inclination of a plane. [deg]"""

    value: float


class Plane(BaseModel):
    """A plane that stands still."""

    slope: Slope


class Mounting(BaseModel):
    """What the irradiance of PVGIS falls on; ``fixed`` is None if it follows the sun."""

    fixed: Plane | None = None


class Inputs(BaseModel):
    """What PVGIS was asked."""

    location: Place
    mounting_system: Mounting = Mounting()


class Outputs(BaseModel):
    """What PVGIS answered: hours of actual years, or of a typical one."""

    hourly: list[dict[str, Entry]] | None = None
    tmy_hourly: list[dict[str, Entry]] | None = None


class Pvgis(BaseModel):
    """An answer of PVGIS: one object an hour, in fixed units."""

    inputs: Inputs
    outputs: Outputs


def numbers(source: str, entries: list[Entry], *, name: str) -> np.ndarray:
    """Return entries as numbers, NaN where there is null.

    Parameters
    ----------
    source
        Name of the file.
    entries
        One a row; rows count from 1.
    name
        What they are, as faults tell it.

    Returns
    -------
    numpy.ndarray
        One number a row.

    Raises
    ------
    SeriesError
        If an entry is a text.
    """
    faults = [
        Fault(place=place(source, row=row, name=name), value=repr(entry), mend=_MEND)
        for row, entry in enumerate(entries, 1)
        if isinstance(entry, str)
    ]
    refuse(source, faults)
    return np.array([np.nan if entry is None else entry for entry in entries], dtype=float)


def table_of(source: str, columns: dict[str, list[str]]) -> Table:
    """Return the table of an answer, which has no lines: its rows are numbered from 1."""
    count = len(next(iter(columns.values())))
    return Table(source=source, columns=columns, lines=np.arange(1, count + 1), decimal=".")


def parsed(source: str, text: str) -> object:
    """Return the JSON of a file; Python's reader takes NaN and half letters, and we do not.

    Raises
    ------
    SeriesError
        If it is none.
    """
    try:
        answer = json.loads(text, parse_constant=_refuse)
        if "\\u" in text:
            json.dumps(answer, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        where, value = f"{source}, row {error.lineno}", error.msg
    except (ValueError, RecursionError) as error:
        where, value = source, str(error)
    else:
        return answer
    raise SeriesError(source, [Fault(place=where, value=value, mend="give whole JSON")])


def unfit(source: str, error: ValidationError) -> SeriesError:
    """Return what is wrong first with an answer that is not laid out as its service does."""
    first = error.errors()[0]
    where = ", ".join([source, ".".join(map(str, first["loc"][:3]))])
    fault = Fault(place=where, value=repr(first["input"])[:_SHOWN], mend=first["msg"])
    return SeriesError(source, [fault])


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no number of JSON"
    raise ValueError(message)
